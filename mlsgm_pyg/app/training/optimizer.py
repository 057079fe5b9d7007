"""What is trained, how fast, and the learning rate of every step."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from omegaconf import DictConfig


def trained_parts(model: torch.nn.Module, options: DictConfig) -> dict[tuple[float, bool], list[torch.nn.Parameter]]:
    """What is trained, by the factor of its learning rate and whether its weights decay; the head's comes first."""
    parts: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = 1.0
            if name.startswith('backbone.'):
                factor = options.backbone_lr_factor
            elif name.startswith('csac.classifier.'):
                factor = options.csac_lr_factor
            parts.setdefault((factor, options.decay_all or parameter.dim() > 1), []).append(parameter)
    return dict(sorted(parts.items(), key=lambda part: (part[0][0] != 1.0, not part[0][1])))


def build_schedule(
    optimizer: torch.optim.Optimizer, options: DictConfig, total: int, per_epoch: float
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate of every step, so that a checkpoint at any step says where it stands."""
    if options.schedule == 'onecycle':
        rates = [group['lr'] for group in optimizer.param_groups]
        climb = options.warmup or 0.3
        if climb * total == 1:  # The climb is over at the first step: torch would divide by its length, 0.
            climb *= 1 - 1e-9
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=total, pct_start=climb)
    return torch.optim.lr_scheduler.LambdaLR(optimizer, schedule(options, total, per_epoch))


def schedule(options: DictConfig, total: int, per_epoch: float) -> Callable[[int], float]:
    """Step -> factor of the learning rate: a linear climb over the warm-up, then constant, steps or a cosine."""
    climb = round(options.warmup * total)

    def factor(step: int) -> float:
        if step < climb:
            return (step + 1) / climb
        if options.schedule == 'step':
            epoch = step / per_epoch
            passed = sum(epoch >= milestone for milestone in options.milestones)
            return 0.1 ** (passed if options.milestones else int(epoch / options.step_epochs))
        if options.schedule == 'cosine':
            return 0.5 * (1 + math.cos(math.pi * (step - climb) / max(total - climb, 1)))
        return 1.0

    return factor

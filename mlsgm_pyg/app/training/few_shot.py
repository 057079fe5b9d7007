"""Few-shot, stage two: what learns novel classes from a few examples, on the maps of stage one's frozen backbone.

Three methods see the same examples: `ml_sgm` starts from what stage one learned, `scratch` is the same head without it,
`linear` is a linear classifier on the averaged maps. With `model.evidence` nothing of `ml_sgm` but CSAC's rows of the
novel classes is learned, as `linear` learns them and in part (`task.discriminant`) from how the examples differ from
the photographs of training. Each has its own rate, steps, windows and dropout; like the rates, they are to be chosen on
a held-out part (`data.dev`), never on the test images. CSAC's classifier learns at its part of the rate
(`optimizer.csac_lr_factor`), as in stage one.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from mlsgm_pyg import models
from mlsgm_pyg.app.training.frozen_maps import FrozenMaps, joined
from mlsgm_pyg.app.training.module import LOSS_OPTIONS, crop, model_options
from mlsgm_pyg.app.training.optimizer import trained_parts
from mlsgm_pyg.datasets.sampling import generator, limit_indices, mix
from mlsgm_pyg.losses import build_loss
from mlsgm_pyg.models import MLSGM, Output
from mlsgm_pyg.statistics import label_ratio

#: Photographs that a novel label's evidence is brought to scale on, and that its examples are told from.
BACKGROUND = 256
SHRINKAGE = 0.1  # Of each channel's variance towards the mean one.
BUILT = ('name', 'backbone', 'weights', 'last_stride')  # Options of the model that came with stage one.


class Learner:
    """Learns novel classes from examples, and scores the test images.

    Args:
        config (DictConfig): The whole config.
        base (MLSGM): The model of stage one.
        words (Tensor): Word vectors of the novel classes [C, F].
        maps (FrozenMaps): Maps of its backbone.
    """

    def __init__(self, config: DictConfig, base: MLSGM, words: Tensor, maps: FrozenMaps):
        self.config, self.base, self.words, self.maps = config, base, words, maps
        self.pooled: list[dict[str, Tensor]] = []

    def run(self, method: str, feature: Tensor, y: Tensor, seed: int) -> tuple[torch.nn.Module, dict[str, Any]]:
        """The trained model of one method, and its scores of the test images (:mod:`mlsgm_pyg.app.results.scores`)."""
        model = self.train(method, feature, y, seed)
        return model, self.score({method: model})[0][method]

    def train(self, method: str, feature: Tensor, y: Tensor, seed: int) -> torch.nn.Module:
        """The trained model of one method.

        Args:
            method (str): 'ml_sgm', 'scratch' or 'linear'.
            feature (Tensor): The examples' maps under V views [V, n, D', h, w].
            y (Tensor): Their labels [n, C].
            seed (int): Of new weights, order, mirroring and dropout.
        """
        task = self.config.task
        with torch.random.fork_rng():
            torch.manual_seed(mix(seed, 8))
            if method == 'linear':
                return self._linear(feature, y, seed)
            if method == 'ml_sgm' and self.base.ilms.evidence:
                return self._told(feature, y, seed)
            if method == 'ml_sgm':
                model, least = self.carried(), self.config.features.crop
                groups, steps = self._groups(model), task.ml_sgm_steps
            else:
                model, least = self._new(task.scratch_dropout), _either(task.scratch_crop, self.config.features.crop)
                parts = trained_parts(model, self.config.optimizer).items()
                groups = [{'params': params, 'lr': task.scratch_lr * factor} for (factor, _), params in parts]
                steps = task.scratch_steps
            self._fit(model, model.head, groups, (steps, least), feature, y, seed)
        return model.eval()

    def carried(self) -> MLSGM:
        """A model of the novel classes that starts from stage one's.

        Raises:
            ValueError: If the config's model is not of the sizes of stage one's.
        """
        model = self._new()
        models.carry_over(model, self.base, self.config.task.classifier)
        return model

    def _new(self, dropout: float | None = None) -> MLSGM:
        options = {key: value for key, value in model_options(self.config.model).items() if key not in BUILT}
        options['feature_dropout'] = _either(dropout, options['feature_dropout'])
        model = MLSGM(self.base.backbone, self.words, **options).to(self.maps.device)
        model.backbone.freeze()
        return model

    def _groups(self, model: MLSGM) -> list[dict[str, Any]]:
        """CSAC's new classifier, and what was carried over with a rate of its own or, at 0, not at all."""
        task = self.config.task
        new = list(model.csac.classifier.parameters())
        known = {id(p) for p in new}
        old = [p for key, p in model.named_parameters() if id(p) not in known and not key.startswith('backbone.')]
        groups = [{'params': new, 'lr': task.ml_sgm_lr * self.config.optimizer.csac_lr_factor}]
        if task.carried_lr_factor == 0:
            for p in old:
                p.requires_grad_(False)
            return groups
        return [*groups, {'params': old, 'lr': task.ml_sgm_lr * task.carried_lr_factor}]

    def _told(self, feature: Tensor, y: Tensor, seed: int) -> MLSGM:
        """Stage one's graph as it is: what is new to it stands on its edges, as the evidence of a CSAC whose rows are
        those that 'linear' learns, with a part of `task.discriminant` in them, brought to the scale of stage one's:
        over photographs of training a novel label's evidence has the mean and the spread of a base label's."""
        linear, model = self._linear(feature, y, seed)[-1], self.carried()
        seen, part = self.background.mean((2, 3)), self.config.task.discriminant
        with torch.no_grad():
            known = self.base.csac(self.background).logits
            spread = known.std(0, correction=0).mean()
            rows = unit_spread(linear.weight, seen)
            if part:
                rows = unit_spread(rows.lerp(unit_spread(discriminant(feature, y, seen), seen), part), seen)
            rows = rows * (spread if spread > 0 else 1)
            model.csac.classifier.weight.copy_(rows[:, :, None, None])
            model.csac.classifier.bias.copy_(known.mean() - rows @ seen.mean(0))
        return model.eval()

    @functools.cached_property
    def background(self) -> Tensor:
        """Maps of training images, whatever they show, at most :data:`BACKGROUND`, averaged: [n, D', 1, 1]."""
        number = len(self.maps.train.y)
        chosen = limit_indices(number, min(BACKGROUND, number))
        bad = set(self.maps.unreadable(chosen))
        maps = [self.maps.examples([i])[0][0] for i in chosen if i not in bad]
        return torch.cat([one.float().mean((2, 3), keepdim=True) for one in maps])

    def _linear(self, feature: Tensor, y: Tensor, seed: int) -> torch.nn.Module:
        task = self.config.task
        classifier = torch.nn.Linear(feature.size(2), y.size(1), device=feature.device)
        torch.nn.init.zeros_(classifier.weight)
        torch.nn.init.zeros_(classifier.bias)
        dropout = torch.nn.Dropout(_either(task.linear_dropout, self.config.model.feature_dropout))
        model = torch.nn.Sequential(dropout, classifier)
        groups, how = (
            [{'params': list(model.parameters()), 'lr': task.linear_lr}],
            (task.linear_steps, task.linear_crop),
        )
        self._fit(model, lambda x: Output(model(x.mean((2, 3)))), groups, how, feature, y, seed)
        return model.eval()

    def _fit(
        self,
        model: torch.nn.Module,
        forward: Callable[[Tensor], Output],
        groups: list[dict[str, Any]],
        how: tuple[int, float],
        feature: Tensor,
        y: Tensor,
        seed: int,
    ) -> None:
        """AdamW along half a cosine for some steps; each sees all examples, or a batch of them, under random views and
        through a random window of at least some part of the maps' sides (0: whole maps)."""
        config, draw, (steps, least) = self.config, generator(seed, 9), how
        options = {key: config.loss[key] for key in LOSS_OPTIONS[config.task.loss]}
        criterion = build_loss(config.task.loss, label_ratio(y.cpu()), **options).to(feature.device)
        optimizer = torch.optim.AdamW(groups, weight_decay=config.task.decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 0.5 * (1 + math.cos(math.pi * t / steps)))
        clip = config.trainer.get('gradient_clip_val')
        trained = [p for group in groups for p in group['params']]
        model.train()
        for _ in range(steps):
            some = torch.randperm(len(y), generator=draw)[: config.data.batch_size]
            view = torch.randint(feature.size(0), (len(some),), generator=draw)
            maps = feature[view, some].float()
            output = forward(crop(maps, least) if least else maps)
            loss = criterion(output.logits if output.graph_logits is None else output.graph_logits, y[some])
            if output.csac_logits is not None and config.loss.csac_loss_weight > 0:
                loss = loss + config.loss.csac_loss_weight * criterion(output.csac_logits, y[some])
            optimizer.zero_grad()
            loss.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(trained, clip)
            optimizer.step()
            schedule.step()

    @torch.no_grad()
    def score(self, trained: dict[str, torch.nn.Module]) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
        """Every model's scores of the test images, whose maps are read once for all of them, and the seconds that each
        model took itself. The averaged maps, for 'linear', are kept."""
        heads = {method: model for method, model in trained.items() if method != 'linear'}
        parts: dict[str, list] = {method: [] for method in trained}
        seconds, pooled = dict.fromkeys(trained, 0.0), []
        with ExitStack() as scopes:
            for model in heads.values():
                scopes.enter_context(model.fixed_labels())
            for batch in self.maps.batches() if heads or not self.pooled else ():
                feature = batch.pop('feature')
                if not self.pooled:
                    pooled.append(batch | {'feature': feature.mean((2, 3))})
                for method, model in heads.items():
                    started = time.perf_counter()
                    out = model.head(feature)
                    found = {name: out.score(name).cpu() for name in model.score_names}
                    parts[method].append((batch, found, out.instances.ptr.diff()))
                    seconds[method] += time.perf_counter() - started
        self.pooled = self.pooled or pooled
        if 'linear' in trained:
            parts['linear'] = [(batch, {'logits': trained['linear'](batch['feature'])}, 0) for batch in self.pooled]
        return {method: joined(found) for method, found in parts.items()}, seconds


def _either(own: float | None, usual: float) -> float:
    return usual if own is None else own


def discriminant(feature: Tensor, y: Tensor, seen: Tensor) -> Tensor:
    """Rows of the linear discriminant of each label's examples against photographs of any kind, of which it takes the
    mean and each channel's variance (and :data:`SHRINKAGE` of the mean variance, for channels that hardly vary): with
    a few examples better than what heeds all covariances.

    Args:
        feature (Tensor): The examples' maps under V views [V, n, D', h, w].
        y (Tensor): Their labels [n, C].
        seen (Tensor): Averaged maps of the photographs [N, D'].
    """
    x, shows = feature.float().mean((0, 3, 4)), (y == 1).float().T
    centre = shows @ x / shows.sum(1, keepdim=True).clamp(min=1)
    variance = seen.var(0, correction=0)
    return (centre - seen.mean(0)) / (variance + SHRINKAGE * variance.mean()).clamp(min=1e-12)


def unit_spread(rows: Tensor, seen: Tensor) -> Tensor:
    """A linear layer's rows [C, D'], scaled so that over some images' averaged maps their scores' deviation is 1."""
    return rows / (seen @ rows.T).std(0, correction=0).clamp(min=1e-6)[:, None]

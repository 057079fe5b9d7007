"""One experiment as a LightningModule: model, loss, optimiser, evaluation, and what its checkpoints carry."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import lightning
import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch_geometric.data import HeteroData

from experiments import graphs, model_card
from experiments.common.errors import ConfigError
from experiments.config.load import plain
from experiments.data import none_read
from experiments.features import crop
from experiments.scores import Scores, evaluate, mean_over_sizes
from experiments.start import start_from
from mlsgm_pyg import checkpoint, models
from mlsgm_pyg.datasets.sampling import mix
from mlsgm_pyg.losses import build_loss
from mlsgm_pyg.models import Output, blend
from mlsgm_pyg.models.output import BLEND
from mlsgm_pyg.saved import check_types
from mlsgm_pyg.semantics import word_vectors
from mlsgm_pyg.statistics import co_occurrence, label_ratio

BUILT = ('name', 'backbone', 'weights', 'last_stride')  # What every model is built from, beside its own options.
LOSS_OPTIONS = {
    'weighted_bce': ('beta',),
    'partial_bce': ('alpha', 'theta', 'mu'),
    'asymmetric_focal': ('gamma_pos', 'gamma_neg', 'margin'),
}
LOGGED = ('mAP', 'CF1', 'OF1', 'top3_CF1', 'top3_OF1')


class Recognition(lightning.LightningModule):
    """Trains and evaluates one model on images, cached feature maps or stored graphs.

    Args:
        config (DictConfig): The whole config.
        class_names (list[str]): The C class names.
        y (Tensor): Labels of the training images [n, C]; Eq. 16's ratio and the labels' co-occurrence are theirs.
    """

    def __init__(self, config: DictConfig, class_names: list[str], y: Tensor):
        super().__init__()
        self.config = config
        self.class_names = list(class_names)
        self.model_options = model_options(config.model)
        needs = models.arguments(config.model.name)
        self.words = word_vectors(class_names, config.semantics.source) if 'word_vectors' in needs else None
        together = co_occurrence(y) if 'co_occurrence' in needs else None
        from_elsewhere = config.graphs.store or config.init
        options = self.model_options | ({'weights': 'none'} if from_elsewhere else {})
        self.model = models.build(
            **options, num_labels=len(class_names), word_vectors=self.words, co_occurrence=together
        )
        if config.init:
            start_from(self.model, self.model_options, class_names, config.init)
        if config.graphs.store:
            graphs.adopt(self.model, self.model_options, class_names, config.graphs.csac)
        elif config.model.freeze_backbone:
            self.model.backbone.freeze()
        elif config.model.hold_norms:
            self.model.backbone.hold_norms()
        if config.model.compile and isinstance(self.model, models.MLSGM):
            self.model.compile_dense()
        options = {key: config.loss[key] for key in LOSS_OPTIONS[config.loss.name]}
        self.loss = build_loss(config.loss.name, label_ratio(y), **options)
        self.score_names = list(getattr(self.model, 'score_names', ['logits']))
        self.reported = config.model.score if 'score' in self.model_options else self.score_names[0]
        sizes = max(len(config.data.test_sizes), 1)
        self.scores = torch.nn.ModuleList(Scores(self.score_names, len(class_names)) for _ in range(sizes))
        self.last_scores: dict[str, Any] = {}
        self.card = model_card.begin(config, self.class_names, y, self.model)
        self.skipped: set[tuple[str, int]] = set()
        self.evaluation = ExitStack()
        self.last_loss: Tensor | None = None
        self.fitted = 0.5  # The weight of the score 'blend'.

    def forward(self, batch: dict[str, Any] | HeteroData) -> Output:
        if isinstance(batch, HeteroData):
            return graphs.match(self.model, batch)
        if 'feature' not in batch:
            return self.model(batch['image'])
        feature = batch['feature'].to(next(self.model.parameters()).dtype)  # Maps may be stored in half precision.
        least = self.config.features.crop
        return self.model.head(crop(feature, least) if self.training and least else feature)

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        if batch_idx == 0:  # A resumed run draws alike; at the epoch's start its loader may have drawn already.
            torch.manual_seed(mix(self.config.seed, self.current_epoch, self.global_rank, 5))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor | None:
        self.skipped |= {('train', i) for i in _skipped(batch)}
        if len(batch['y']) == 0:
            return self._no_loss()
        batch, targets = mixed(batch, self.config.data.mixup)
        output = self(batch)
        trained = output.logits if output.graph_logits is None else output.graph_logits
        loss = sum(share * self.loss(trained, y) for share, y in targets)
        csac_learns = output.csac_logits is not None and output.csac_logits.requires_grad
        if csac_learns and self.config.loss.csac_loss_weight > 0:
            csac_loss = sum(share * self.loss(output.csac_logits, y) for share, y in targets)
            self.log('csac_loss', csac_loss, batch_size=len(batch['y']))
            loss = loss + self.config.loss.csac_loss_weight * csac_loss
        self.log('loss', loss, prog_bar=True, batch_size=len(batch['y']))
        self.last_loss = loss.detach()
        return loss

    def on_validation_epoch_start(self) -> None:
        if self.has_diverged():  # Once an epoch: a GPU need not wait at every step.
            raise ConfigError(self.not_finite('loss'))
        self.evaluation.enter_context(self.model.fixed_labels())  # After averaged weights took their place.
        if self.reported == BLEND:
            self._fit_blend()

    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        self.skipped |= {('test', i) for i in _skipped(batch)}
        if len(batch['y']) == 0:
            return
        output = self(batch)
        found = output.instances
        counts = torch.zeros(len(batch['y'])) if found is None else found.ptr.diff()
        logits = {name: output.logits if name == 'logits' else output.score(name) for name in self.score_names}
        self.scores[dataloader_idx].update(batch['index'], batch['y'], logits, counts.to(self.device))

    def _fit_blend(self) -> None:
        """Fits the weight of the score 'blend' on the images that `data.tune` keeps from training."""
        parts = []
        for batch in self.trainer.datamodule.tune_dataloader():
            if len(batch['y']):
                output = self(self.trainer.strategy.batch_to_device(batch))
                parts.append((output.graph_logits, output.csac_logits, batch['y']))
        if not parts:
            raise ConfigError(none_read("the part of the training images that 'data.tune' takes"))
        graph, csac, y = (torch.cat([value.cpu() for value in values]) for values in zip(*parts))
        try:
            self.fitted = blend.fit(graph, csac, y)
        except ValueError as error:
            raise ConfigError(f'{error}: take a larger data.tune (it is {self.config.data.tune:g})') from error
        self.model.blend.fill_(self.fitted)

    def _no_loss(self) -> Tensor | None:
        """A batch of which no image could be read: no step; beside other processes, a step without a gradient."""
        if self.trainer.world_size == 1:
            return None
        return sum(0.0 * parameter.sum() for parameter in self.parameters() if parameter.requires_grad)

    def on_validation_epoch_end(self) -> None:
        self.evaluation.close()
        if self.trainer.world_size == 1 and not self.scores[0].rows:
            raise ConfigError(none_read(self.trainer.datamodule.part_name('test')))
        self.last_scores = mean_over_sizes([scores.compute() for scores in self.scores])
        for scores in self.scores:
            scores.reset()
        self._check_scores()
        values = {}
        by_score = {name: self.evaluate(self.last_scores, name) for name in self.score_names}
        images = len(self.last_scores['index'])
        found = model_card.evaluation(self.config, by_score, self.reported, images, self.current_epoch + 1)
        self.card['evaluation'] = found  # Of the very weights that a checkpoint of this epoch holds.
        for name, metrics in by_score.items():
            if name == self.reported:
                values |= {key: metrics[key] for key in LOGGED}
            if name != 'logits':
                values[f'{name}_mAP'] = metrics['mAP']
        if self.reported == BLEND:
            self.model.blend.fill_(self.fitted)  # Of the weights that train, too, where averaged ones were evaluated.
            values['blend'] = self.fitted
            self.card['evaluation']['blend'] = round(self.fitted, 2)
        values['instances'] = self.last_scores['instances'].mean()
        for key, value in values.items():
            self.log(key, float(value), prog_bar=key == 'mAP', sync_dist=True)

    def has_diverged(self) -> bool:
        """Whether the last loss or a weight is not finite."""
        values = [*self.model.parameters(), *([] if self.last_loss is None else [self.last_loss])]
        return not all(bool(value.isfinite().all()) for value in values)

    def not_finite(self, what: str) -> str:
        """What is said when training has diverged."""
        told = f'the {what} is not finite in epoch {self.current_epoch + 1}'
        return f'{told}: take a smaller optimizer.lr (it is {self.config.optimizer.lr:g}), and --again'

    def _check_scores(self) -> None:
        """That there is something to evaluate, and that it was computed."""
        part = self.trainer.datamodule.part_name('test')
        if len(self.last_scores['index']) == 0:
            raise ConfigError(none_read(part))
        if not (self.last_scores['y'] == 1).any():
            raise ConfigError(f'no image of {part} that can be read shows any class: nothing to evaluate')
        if any(np.isnan(self.last_scores[name]).any() for name in self.score_names):
            raise ConfigError(self.not_finite('score of some images'))

    def evaluate(self, scores: dict[str, Any], name: str) -> dict[str, Any]:
        return evaluate(scores, name, self.class_names, self.config.metrics.ap, self.config.metrics.top3)

    def configure_optimizers(self) -> dict[str, Any]:
        options = self.config.optimizer
        groups = [
            {'params': params, 'lr': options.lr * factor, 'weight_decay': options.weight_decay * decays}
            for (factor, decays), params in trained_parts(self.model, options).items()
        ]
        if options.name == 'sgd':
            optimizer = torch.optim.SGD(groups, options.lr, momentum=options.momentum)
        else:
            fused = self.trainer.precision == '32-true'  # In mixed precision Lightning cannot clip a fused step.
            optimizer = torch.optim.AdamW(groups, options.lr, fused=fused)
        total = max(int(self.trainer.estimated_stepping_batches), 1)
        scheduler = build_schedule(optimizer, options, total, total / max(self.trainer.max_epochs or 1, 1))
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': scheduler, 'interval': 'step'}}

    def on_load_checkpoint(self, state: dict[str, Any]) -> None:
        try:
            check_types(self, state['state_dict'])
        except ValueError as error:
            raise ConfigError(f'{self.trainer.ckpt_path} is damaged: {error}; --again starts over') from error

    def on_save_checkpoint(self, state: dict[str, Any]) -> None:
        card = self.card | {'date': model_card.now()}
        state[checkpoint.KEY] = checkpoint.pack(
            self.model_options, self.class_names, self.words, plain(self.config), card
        )


def _skipped(batch: dict[str, Any] | HeteroData) -> list[int]:
    """The images that were found unreadable in a batch."""
    return batch.get('skipped', []) if isinstance(batch, dict) else []


def mixed(batch: dict[str, Any], alpha: float) -> tuple[dict[str, Any], list[tuple[float, Tensor]]]:
    """Mixup (Zhang et al., 2018): every image of a batch, or its map, mixed with another one of it.

    The loss is the same mixture of the losses of both images' labels, so that a label that is unknown in one of them
    counts with the other's share.

    Args:
        batch (dict): With :obj:`image` or :obj:`feature`, and :obj:`y` [B, C].
        alpha (float): The share of the one is drawn from Beta(alpha, alpha), once a batch; 0: no mixing.

    Returns:
        The batch, and the targets with the share that each has in the loss.
    """
    if alpha == 0:
        return batch, [(1.0, batch['y'])]
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    order = torch.randperm(len(batch['y']), device=batch['y'].device)
    key = 'feature' if 'feature' in batch else 'image'
    x = batch[key] / 255 if batch[key].dtype == torch.uint8 else batch[key].float()
    return batch | {key: torch.lerp(x[order], x, share)}, [(share, batch['y']), (1 - share, batch['y'][order])]


def model_options(config: DictConfig) -> dict[str, Any]:
    """The arguments of :func:`mlsgm_pyg.models.build` in a config's `model` section."""
    takes = (*BUILT, *models.arguments(config.name))
    return {key: value for key, value in OmegaConf.to_container(config).items() if key in takes}


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

"""One experiment as a LightningModule: model, loss, optimiser, evaluation, and what its checkpoints carry."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any

import lightning
import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch_geometric.data import HeteroData

from mlsgm_pyg import checkpoint, decisions, models
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.config.load import plain
from mlsgm_pyg.app.config.options import LOSS_OPTIONS
from mlsgm_pyg.app.data import graph_store
from mlsgm_pyg.app.data.parts import none_read
from mlsgm_pyg.app.results import decided, model_card
from mlsgm_pyg.app.results.scores import Scores, evaluate, mean_over_sizes
from mlsgm_pyg.app.training.optimizer import build_schedule, trained_parts
from mlsgm_pyg.app.training.run_log import Evaluation, RunLog
from mlsgm_pyg.app.training.start import start_from
from mlsgm_pyg.datasets.sampling import mix
from mlsgm_pyg.decisions import Decisions
from mlsgm_pyg.losses import build_loss
from mlsgm_pyg.models import Output, blend
from mlsgm_pyg.models.output import BLEND, blended
from mlsgm_pyg.saved import check_types
from mlsgm_pyg.semantics import word_vectors
from mlsgm_pyg.statistics import co_occurrence, label_ratio

BUILT = ('name', 'backbone', 'weights', 'last_stride')  # What every model is built from, beside its own options.
LOGGED = ('mAP', 'CF1', 'OF1', 'top3_CF1', 'top3_OF1')


class Recognition(lightning.LightningModule):
    """Trains and evaluates one model on images, cached feature maps or stored graphs. Eq. 16's ratio and the labels'
    co-occurrence are those of the training images' labels y [n, C]; the log takes the evaluations, and the images that
    cannot be read."""

    def __init__(self, config: DictConfig, class_names: list[str], y: Tensor, log: RunLog | None = None):
        super().__init__()
        self.config = config
        self.run_log = log or RunLog()
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
            graph_store.adopt(self.model, self.model_options, class_names, config.graphs.csac)
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
        self.card = model_card.begin(config, self.class_names, y, self.model)
        self.evaluation = ExitStack()
        self.last_loss: Tensor | None = None
        self.fitted = 0.5  # The weight of the score 'blend'.
        self.tune_scores: dict[str, np.ndarray] | None = None  # Of the images that `data.tune` keeps from training,
        self.decisions: Decisions | None = None  # and what was fitted on them.

    def forward(self, batch: dict[str, Any] | HeteroData) -> Output:
        if isinstance(batch, HeteroData):
            return graph_store.match(self.model, batch)
        if 'feature' not in batch:
            return self.model(batch['image'])
        feature = batch['feature'].to(next(self.model.parameters()).dtype)  # Maps may be stored in half precision.
        least = self.config.features.crop
        return self.model.head(crop(feature, least) if self.training and least else feature)

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        if batch_idx == 0:  # A resumed run draws alike; at the epoch's start its loader may have drawn already.
            torch.manual_seed(mix(self.config.seed, self.current_epoch, self.global_rank, 5))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor | None:
        self.run_log.unread |= {('train', i) for i in _skipped(batch)}
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
        if self.trainer.datamodule.parts.tune:
            self.tune_scores = self._score_tune()

    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        self.run_log.unread |= {('test', i) for i in _skipped(batch)}
        if len(batch['y']) == 0:
            return
        self._score(self.scores[dataloader_idx], batch)

    def _score(self, scores: Scores, batch: dict[str, Any] | HeteroData) -> None:
        output = self(batch)
        found = output.instances
        counts = torch.zeros(len(batch['y'])) if found is None else found.ptr.diff()
        logits = {name: output.logits if name == 'logits' else output.score(name) for name in self.score_names}
        scores.update(batch['index'], batch['y'], logits, counts.to(self.device))

    def _score_tune(self) -> dict[str, np.ndarray]:
        """Scores the images that `data.tune` keeps from training, and fits the weight of the score 'blend' on them."""
        sizes = []
        for loader in self.trainer.datamodule.tune_dataloaders():
            scores = Scores(self.score_names, len(self.class_names)).to(self.device)
            for batch in loader:
                if len(batch['y']):
                    self._score(scores, self.trainer.strategy.batch_to_device(batch))
            self._check_any(scores, "the part of the training images that 'data.tune' takes")
            sizes.append(scores.compute())
        if self.reported == BLEND:
            self._fit_blend(sizes[0])
            sizes = [found | {BLEND: blended(found['graph'], found['csac'], self.fitted)} for found in sizes]
        return mean_over_sizes(sizes)

    def _check_any(self, scores: Scores, part: str) -> None:
        if self.trainer.world_size == 1 and not scores.rows:
            raise ConfigError(none_read(part))

    def _fit_blend(self, found: dict[str, np.ndarray]) -> None:
        graph, csac, y = (torch.from_numpy(found[key]) for key in ('graph', 'csac', 'y'))
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
        self._check_any(self.scores[0], self.trainer.datamodule.parts.name('test'))
        found = mean_over_sizes([scores.compute() for scores in self.scores])
        for scores in self.scores:
            scores.reset()
        self._check_scores(found)
        last = self.run_log.last = self.evaluate(found, self.tune_scores)
        self.decisions = last.decisions
        about = model_card.evaluation(
            self.config, last.metrics, self.reported, len(found['index']), self.current_epoch + 1
        )
        about['decisions'] = last.decided
        self.card['evaluation'] = about  # Of the very weights that a checkpoint of this epoch holds.
        values = {}
        for name, metrics in last.metrics.items():
            if name == self.reported:
                values |= {key: metrics[key] for key in LOGGED}
            if name != 'logits':
                values[f'{name}_mAP'] = metrics['mAP']
        if self.reported == BLEND:
            self.model.blend.fill_(self.fitted)  # Of the weights that train, too, where averaged ones were evaluated.
            values['blend'] = self.fitted
            about['blend'] = round(self.fitted, 2)
        values['instances'] = found['instances'].mean()
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

    def _check_scores(self, found: dict[str, np.ndarray]) -> None:
        """That there is something to evaluate, and that it was computed."""
        part = self.trainer.datamodule.parts.name('test')
        if len(found['index']) == 0:
            raise ConfigError(none_read(part))
        if not (found['y'] == 1).any():
            raise ConfigError(f'no image of {part} that can be read shows any class: nothing to evaluate')
        if any(np.isnan(found[name]).any() for name in self.score_names):
            raise ConfigError(self.not_finite('score of some images'))

    def evaluate(self, found: dict[str, np.ndarray], fit: dict[str, np.ndarray] | None = None) -> Evaluation:
        """The metrics of every score, and with the scores of a part to fit on, decisions and what they come to."""
        how = (self.class_names, self.config.metrics.ap, self.config.metrics.top3)
        metrics = {name: evaluate(found, name, *how) for name in self.score_names}
        if fit is None:
            return Evaluation(found, metrics)
        try:
            fitted = decisions.fit(fit[self.reported], fit['y'], self.class_names)
        except ValueError as error:
            raise ConfigError(f'{error}: take a larger data.tune (it is {self.config.data.tune:g})') from error
        told = decided.figures(fitted, found, self.reported)
        return Evaluation(found, metrics, fit, fitted, told | {'images': len(fit['index'])})

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
        kept = state[checkpoint.KEY].get('decisions')  # An epoch without an evaluation keeps those of the last one.
        self.decisions = None if kept is None else Decisions.of(kept)

    def on_train_start(self) -> None:
        for parameter, state in (pair for one in self.trainer.optimizers for pair in one.state.items()):
            for name, value in state.items():  # Torch's kernels take any shape, and end the process.
                if name != 'step' and value is not None and getattr(value, 'shape', None) != parameter.shape:
                    told = f"{self.trainer.ckpt_path} is damaged: an optimizer's '{name}' does not fit its parameter"
                    raise ConfigError(f'{told} of shape {list(parameter.shape)}; --again starts over')

    def on_save_checkpoint(self, state: dict[str, Any]) -> None:
        card = self.card | {'date': model_card.now()}
        state[checkpoint.KEY] = checkpoint.pack(
            self.model_options, self.class_names, self.words, plain(self.config), card, self.decisions
        )


def _skipped(batch: dict[str, Any] | HeteroData) -> list[int]:
    """The images that were found unreadable in a batch."""
    return batch.get('skipped', []) if isinstance(batch, dict) else []


def mixed(batch: dict[str, Any], alpha: float) -> tuple[dict[str, Any], list[tuple[float, Tensor]]]:
    """Mixup (Zhang et al., 2018): every image of a batch, or its map, mixed with another one of it, by a share from
    Beta(alpha, alpha), drawn once a batch. Gives the batch, and the targets with the share that each has in the loss.

    The loss is the same mixture of the losses of both images' labels, so that a label that is unknown in one of them
    counts with the other's share.
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


def crop(maps: Tensor, least: float) -> Tensor:
    """A random window of the maps :obj:`[B, D', h, w]`, one for the batch: what is left of the paper's random crop.

    Each side keeps at least the fraction :obj:`least`, in (0, 1]; all sizes, and all places of one, are as likely.
    """
    for dim in (2, 3):
        size = maps.size(dim)
        side = int(torch.randint(math.ceil(least * size), size + 1, ()))
        maps = maps.narrow(dim, int(torch.randint(size - side + 1, ())), side)
    return maps

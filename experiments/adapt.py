"""Few-shot, stage two: what learns novel classes from a few examples, on the maps of stage one's frozen backbone.

Three methods see the same examples: `ml_sgm` starts from what stage one learned, `scratch` is the same head without it,
`linear` is a linear classifier on the averaged maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from experiments import features
from experiments.data import Part, build_parts
from experiments.module import LOSS_OPTIONS, model_options
from mlsgm_pyg import models
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.datasets.sampling import generator, mix
from mlsgm_pyg.losses import build_loss, label_ratio
from mlsgm_pyg.models import MLSGM, Output
from mlsgm_pyg.models.output import SCORES

BUILT = ('name', 'backbone', 'weights', 'last_stride')  # Options of the model that came with stage one.


class FrozenMaps:
    """A fixed backbone's maps of the images with the labels of the novel classes, computed once and kept on disk.

    Args:
        config (DictConfig): The whole config.
        backbone (Backbone): The backbone after stage one.

    Attributes:
        train, test (Part): The images that examples are drawn from, and those that are evaluated.
    """

    def __init__(self, config: DictConfig, backbone: Backbone):
        self.config, self.backbone = config, backbone.freeze()
        self.train, self.test = build_parts(config.data, config.task, novel=True)
        self.device = next(backbone.parameters()).device
        view = config.data.test_view
        self.views = [view, f'{view}_flip'] if config.features.flip else [view]
        self.stores = {view: self._open(self.train, view) for view in self.views}
        store = self._open(self.test, view)
        self._fill(store, self.test, view, self.test.rows)
        self.test_maps = features.FeatureDataset([store], self.test.rows, self.test.y)

    def examples(self, chosen: list[int]) -> tuple[Tensor, Tensor, list[str]]:
        """The maps [V, n, D', h, w] of some training images under all views, float16, their labels and their names;
        without images that cannot be read."""
        rows = [self.train.rows[i] for i in chosen]
        for view, store in self.stores.items():
            self._fill(store, self.train, view, rows)
        unreadable = set(self.stores[self.views[0]].skipped(rows))
        left = [i for i, row in zip(chosen, rows) if row not in unreadable]
        rows = np.asarray([self.train.rows[i] for i in left], dtype=np.int64)
        maps = torch.stack([torch.from_numpy(store.read(rows)) for store in self.stores.values()])
        return maps.to(self.device), self.train.y[left].to(self.device), [self.train.files[i] for i in left]

    def batches(self) -> Iterator[dict[str, Tensor]]:
        """The test images' maps: dict(feature [B, D', h, w], y, index)."""
        size, total = self.config.data.eval_batch_size, len(self.test_maps)
        for start in range(0, total, size):
            batch = self.test_maps.__getitems__(list(range(start, min(start + size, total))))
            yield batch | {'feature': batch['feature'].to(self.device).float()}

    def _open(self, part: Part, view: str) -> features.FeatureStore:
        size, folder = self.config.data.image_size, self.config.features.dir
        return features.open_store(self.backbone, part.source, view, size, folder)

    def _fill(self, store: features.FeatureStore, part: Part, view: str, rows: list[int]) -> None:
        options = self.config.data
        how = {'num_workers': options.num_workers, 'on_error': options.on_error}
        features.fill(store, self.backbone, part.source, rows, view, options.image_size, **how)


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

    def run(self, method: str, feature: Tensor, y: Tensor, seed: int) -> tuple[torch.nn.Module, dict[str, np.ndarray]]:
        """The trained model of one method, and its scores of the test images as in :mod:`experiments.scores`.

        Args:
            method (str): 'ml_sgm', 'scratch' or 'linear'.
            feature (Tensor): The examples' maps under V views [V, n, D', h, w].
            y (Tensor): Their labels [n, C].
            seed (int): Of new weights, order, mirroring and dropout.
        """
        with torch.random.fork_rng():
            torch.manual_seed(mix(seed, 8))
            if method == 'linear':
                return self._linear(feature, y, seed)
            model = self._carried() if method == 'ml_sgm' else self._new()
            task = self.config.task
            if method == 'ml_sgm':
                groups, steps = self._groups(model), task.ml_sgm_steps
            else:
                head = [p for key, p in model.named_parameters() if not key.startswith('backbone.')]
                groups, steps = [{'params': head, 'lr': task.scratch_lr}], task.scratch_steps
            self._fit(model, model.head, groups, steps, feature, y, seed)
        return model, self._score(model.eval())

    def _new(self) -> MLSGM:
        options = {key: value for key, value in model_options(self.config.model).items() if key not in BUILT}
        model = MLSGM(self.base.backbone, self.words, **options).to(self.maps.device)
        model.backbone.freeze()
        return model

    def _carried(self) -> MLSGM:
        model = self._new()
        models.carry_over(model, self.base, self.config.task.classifier)
        return model

    def _groups(self, model: MLSGM) -> list[dict[str, Any]]:
        """CSAC's new classifier, and what was carried over with a rate of its own or, at 0, not at all."""
        task = self.config.task
        new = list(model.csac.parameters())
        known = {id(p) for p in new}
        old = [p for key, p in model.named_parameters() if id(p) not in known and not key.startswith('backbone.')]
        groups = [{'params': new, 'lr': task.ml_sgm_lr}]
        if task.carried_lr_factor == 0:
            for p in old:
                p.requires_grad_(False)
            return groups
        return [*groups, {'params': old, 'lr': task.ml_sgm_lr * task.carried_lr_factor}]

    def _linear(self, feature: Tensor, y: Tensor, seed: int) -> tuple[torch.nn.Module, dict[str, np.ndarray]]:
        task = self.config.task
        classifier = torch.nn.Linear(feature.size(2), y.size(1), device=feature.device)
        torch.nn.init.zeros_(classifier.weight)
        torch.nn.init.zeros_(classifier.bias)
        model = torch.nn.Sequential(torch.nn.Dropout(self.config.model.feature_dropout), classifier)
        groups = [{'params': list(model.parameters()), 'lr': task.linear_lr}]
        self._fit(model, lambda x: Output(model(x.mean((2, 3)))), groups, task.linear_steps, feature, y, seed)
        if not self.pooled:
            self.pooled = [batch | {'feature': batch['feature'].mean((2, 3))} for batch in self.maps.batches()]
        with torch.no_grad():
            parts = [(batch, {'logits': model.eval()(batch['feature'])}, 0) for batch in self.pooled]
        return model, _joined(parts)

    def _fit(
        self,
        model: torch.nn.Module,
        forward: Callable[[Tensor], Output],
        groups: list[dict[str, Any]],
        steps: int,
        feature: Tensor,
        y: Tensor,
        seed: int,
    ) -> None:
        """AdamW along half a cosine; each step sees all examples, or a batch of them, under random views."""
        config, draw = self.config, generator(seed, 9)
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
            output = forward(features.crop(maps, config.features.crop) if config.features.crop else maps)
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
    def _score(self, model: MLSGM) -> dict[str, np.ndarray]:
        parts = []
        with model.fixed_labels():
            for batch in self.maps.batches():
                out = model.head(batch.pop('feature'))
                parts.append((batch, {name: out.score(name) for name in SCORES}, out.instances.ptr.diff()))
        return _joined(parts)


def _joined(parts: list[tuple[dict[str, Tensor], dict[str, Tensor], Tensor | int]]) -> dict[str, np.ndarray]:
    """Batches with their scores and numbers of instances, as one table of scores."""
    found = {key: torch.cat([batch[key] for batch, *_ in parts]).numpy() for key in ('index', 'y')}
    counts = [torch.as_tensor(count).expand(len(batch['y'])).cpu() for batch, _, count in parts]
    scores = {name: torch.cat([part[name].cpu() for _, part, _ in parts]).double().numpy() for name in parts[0][1]}
    return found | {'instances': torch.cat(counts).numpy()} | scores

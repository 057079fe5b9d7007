"""Few-shot, stage two: the maps of stage one's frozen backbone, of the examples and of the test images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from mlsgm_pyg.app.data import feature_store
from mlsgm_pyg.app.data.parts import build_parts
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.datasets import LabelledImages


class FrozenMaps:
    """The maps of stage one's fixed backbone, of the images with the labels of the novel classes, computed once and
    kept on disk: all test images, and of the others those that are drawn as examples (the files are sparse: the rest
    takes no room)."""

    def __init__(self, config: DictConfig, backbone: Backbone):
        self.config, self.backbone = config, backbone.freeze()
        self.train, self.test = build_parts(config.data, config.task, novel=True)
        self.device = next(backbone.parameters()).device
        view = config.data.test_view
        self.views = [view, f'{view}_flip'] if config.features.flip else [view]
        options, wanted = config.features, [(self.test.source, self.test.rows, view)]
        self.opened = feature_store.FeatureStores(backbone, config.data.image_size, options.dir, options.engine, wanted)
        self.stores = {view: self.opened.open(self.train.source, view) for view in self.views}
        self.test_maps: feature_store.FeatureDataset | None = None

    def examples(self, chosen: list[int]) -> tuple[Tensor, Tensor, list[str]]:
        """The maps [V, n, D', h, w] of some training images under all views, float16, their labels and their names."""
        self._fill_examples(chosen)
        rows = np.asarray([self.train.rows[i] for i in chosen], dtype=np.int64)
        maps = torch.stack([torch.from_numpy(store.read(rows)) for store in self.stores.values()])
        return maps.to(self.device), self.train.y[chosen].to(self.device), [self.train.files[i] for i in chosen]

    def unreadable(self, chosen: list[int]) -> list[int]:
        """Those of some training images that turn out not to be readable (with data.on_error=skip)."""
        self._fill_examples(chosen)
        bad = {row for store in self.stores.values() for row in store.skipped([self.train.rows[i] for i in chosen])}
        return [i for i in chosen if self.train.rows[i] in bad]

    def fill_test(self) -> None:
        """Computes the maps of the test images that are not there yet."""
        view = self.views[0]
        self._fill(self.test.source, [view], self.test.rows)
        store = self.opened.open(self.test.source, view)
        self.test_maps = feature_store.FeatureDataset([store], self.test.rows, self.test.y)

    def batches(self) -> Iterator[dict[str, Tensor]]:
        """The test images' maps: dict(feature [B, D', h, w], y, index)."""
        if self.test_maps is None:
            self.fill_test()
        size, total = self.config.data.eval_batch_size, len(self.test_maps)
        for start in range(0, total, size):
            batch = self.test_maps.__getitems__(list(range(start, min(start + size, total))))
            yield batch | {'feature': batch['feature'].to(self.device).float()}

    def _fill_examples(self, chosen: list[int]) -> None:
        self._fill(self.train.source, self.views, [self.train.rows[i] for i in chosen])

    def _fill(self, source: LabelledImages, views: list[str], rows: list[int]) -> None:
        self.opened.fill(source, rows, views, self.config.data.num_workers, self.config.data.on_error)


def joined(parts: list[tuple[dict[str, Tensor], dict[str, Tensor], Tensor | int]]) -> dict[str, np.ndarray]:
    """Batches with their scores and numbers of instances, as one table of scores."""
    found = {key: torch.cat([batch[key] for batch, *_ in parts]).numpy() for key in ('index', 'y')}
    counts = [torch.as_tensor(count).expand(len(batch['y'])).cpu() for batch, _, count in parts]
    scores = {name: torch.cat([part[name].cpu() for _, part, _ in parts]).double().numpy() for name in parts[0][1]}
    return found | {'instances': torch.cat(counts).numpy()} | scores

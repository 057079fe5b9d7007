"""The images, cached maps or stored graphs of one run, in an order that depends on (seed, epoch, image) only."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import lightning
import torch
import torch_geometric.loader
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.progress import track
from mlsgm_pyg.app.common.signals import end_with_parent
from mlsgm_pyg.app.common.text import counted
from mlsgm_pyg.app.data import feature_store, graph_store
from mlsgm_pyg.app.data.parts import Part, Parts, none_read
from mlsgm_pyg.datasets import EpochSampler, ImageDataset, Subset, build_view, collate
from mlsgm_pyg.models import ImageModel


class Order(EpochSampler):
    """The order of an epoch; tells the data set which epoch it is."""

    def __init__(self, data: Dataset, **kwargs):
        self.data = data
        super().__init__(len(data), **kwargs)

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.data.set_epoch(epoch)


class DataModule(lightning.LightningDataModule):
    """The loaders of a run. Processes share the images among them; each image is evaluated once. The model makes the
    cached maps and the stored graphs."""

    def __init__(self, config: DictConfig, parts: Parts, model: ImageModel | None = None):
        super().__init__()
        self.config, self.parts, self.model = config, parts, model
        self.first_epoch = 0
        self.other_sizes: list[Dataset] = []  # The evaluated images at the second and further test sizes.

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps; it is written when an epoch ends."""
        return {'finished_epochs': self.trainer.current_epoch + 1, 'trained_on': self.parts.trained_on}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.first_epoch = state['finished_epochs']

    def prepare_data(self) -> None:
        """Fills the stores of maps and graphs, in one process a machine."""
        wanted = self._wanted()
        if self.config.graphs.store:
            wanted = [pair for pair in wanted if not self._has_graphs(*pair)]
        if self.config.features.cache:
            options = self.config.data
            for part, pairs in groupby(wanted, itemgetter(0)):
                views = [view for _, view in pairs]
                self.stores.fill(part.source, part.rows, views, options.num_workers, options.on_error)
        if self.config.graphs.store:
            for part, view in wanted:
                graph_store.write(self._graph_path(part, view), self._model(), self._map_batches(part, view))

    def setup(self, stage: str) -> None:
        train, test = self._views()
        parts, view = self.parts, self.config.data.test_view
        self.train_data = self._data(parts.train, train, self.config.data.train_view)
        sizes = self.config.data.test_sizes or [None]
        self.test_data, *self.other_sizes = (self._data(parts.test, test, view, size) for size in sizes)
        if parts.tune:
            self.tune_data = [self._data(parts.tune, test, view, size) for size in sizes]
        for part, data in (('train', self.train_data), ('test', self.test_data)):
            if len(data) == 0:  # Stores are without the images that cannot be read.
                raise ConfigError(none_read(parts.name(part)))

    def _data(self, part: Part, fixed: list[str], view: str, size: int | None = None) -> Dataset:
        """One part as it is read: its graphs or maps under fixed views, or its images under any view."""
        seed, options = self.config.seed, self.config.data
        if self.config.graphs.store:
            paths, assign = [self._graph_path(part, view) for view in fixed], self._model().ilms.assign
            return graph_store.EpochGraphs(
                [graph_store.GraphDataset(path, assign) for path in paths], len(part.rows), seed
            )
        if self.config.features.cache:
            return feature_store.FeatureDataset(
                [self.stores.open(part.source, view) for view in fixed], part.rows, part.y, seed
            )
        return ImageDataset(Subset(*part), build_view(view, size or options.image_size), seed, options.on_error)

    def train_dataloader(self) -> DataLoader:
        order = Order(self.train_data, seed=self.config.seed, window=self.config.data.window)
        order.set_epoch(self.first_epoch)  # Worker processes start before Lightning says the epoch of a resumed run.
        return self._loader(self.train_data, order, self.config.data.batch_size)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        loaders = self._evaluated([self.test_data, *self.other_sizes])
        return loaders if len(loaders) > 1 else loaders[0]

    def tune_dataloaders(self) -> list[DataLoader]:
        """The images that `data.tune` keeps from training, at each size, as those that are evaluated."""
        return self._evaluated(self.tune_data)

    def _evaluated(self, sizes: list[Dataset]) -> list[DataLoader]:
        """This process's share of some images, at each of some sizes."""
        mine = range(self.trainer.global_rank, len(sizes[0]), self.trainer.world_size)
        mine = mine or range(1)  # More processes than images: the first once more, it counts once.
        return [self._loader(data, mine, self.config.data.eval_batch_size) for data in sizes]

    def skipped(self) -> set[tuple[str, int]]:
        """The images that are known not to be readable, by part; the rest is found out while reading."""
        parts = ('train', self.train_data), ('test', self.test_data)
        return {(name, i) for name, data in parts for i in getattr(data, 'skipped', ())}

    def file(self, part: str, index: int) -> str:
        """The name of image :obj:`index` of the part 'train' or 'test'."""
        return getattr(self.parts, part).files[index]

    def _loader(self, data: Dataset, order: EpochSampler | range, batch_size: int) -> DataLoader:
        if isinstance(data, graph_store.EpochGraphs):
            pin = torch.cuda.is_available()
            return torch_geometric.loader.DataLoader(data, batch_size, sampler=order, pin_memory=pin)
        if isinstance(data, feature_store.FeatureDataset):  # Whole batches come from the memory map.
            return DataLoader(data, batch_size, sampler=order, collate_fn=_whole)
        workers = self.config.data.num_workers
        how = {'num_workers': workers, 'persistent_workers': workers > 0, 'pin_memory': torch.cuda.is_available()}
        return DataLoader(data, batch_size, sampler=order, collate_fn=collate, worker_init_fn=end_with_parent, **how)

    def _views(self) -> tuple[list[str], list[str]]:
        """The fixed views of a training image, plain and mirrored, and of a test image."""
        view = self.config.data.test_view
        return [view, f'{view}_flip'] if self.config.features.flip else [view], [view]

    def _wanted(self) -> list[tuple[Part, str]]:
        """Every part under each of its fixed views."""
        (train, test), parts = self._views(), self.parts
        wanted = [(parts.train, train), (parts.test, test), *([(parts.tune, test)] if parts.tune else [])]
        return [(part, view) for part, views in wanted for view in views]

    @cached_property
    def stores(self) -> feature_store.FeatureStores:
        """The backbone's maps; each store is opened once a run."""
        options, wanted = self.config.features, [(part.source, part.rows, view) for part, view in self._wanted()]
        engine = options.engine if options.cache else 'torch'  # Of graphs without cached maps.
        return feature_store.FeatureStores(
            self._model().backbone, self.config.data.image_size, options.dir, engine, wanted
        )

    def _graph_path(self, part: Part, view: str) -> Path:
        maps = self.stores.fingerprint(part.source, view)
        return graph_store.store_path(self._model(), *part, maps, self.config.features.cache, self.config.features.dir)

    def _has_graphs(self, part: Part, view: str) -> bool:
        """Whether a file has the graphs of all images that can be read; with data.on_error=raise, of all images."""
        path = self._graph_path(part, view)
        if not path.is_file():
            return False
        left_out = graph_store.left_out(path, len(part.rows))
        return not left_out or self.config.data.on_error == 'skip' and not any(map(part.is_readable, left_out))

    def _map_batches(self, part: Part, view: str) -> Iterator[dict[str, Tensor]]:
        """The backbone's maps of the images that can be read: dict(feature, y, index)."""
        options, model = self.config.data, self._model()
        device = self.trainer.strategy.root_device
        if self.config.features.cache:
            data = feature_store.FeatureDataset([self.stores.open(part.source, view)], part.rows, part.y)
            loader = DataLoader(data, options.eval_batch_size, collate_fn=_whole)
        else:
            data = ImageDataset(Subset(*part), build_view(view, options.image_size), on_error=options.on_error)
            how = {'num_workers': options.num_workers, 'worker_init_fn': end_with_parent}
            loader = DataLoader(data, options.eval_batch_size, collate_fn=collate, **how)
        about = f'Graphs ({view}, {counted(len(data), "image")})'
        for batch in track(loader, about, len(data), lambda batch: len(batch['index'])):
            if len(batch['index']):
                with torch.no_grad():
                    maps = batch['feature'] if 'feature' in batch else model.features(batch['image'].to(device))
                yield {'feature': maps.to(device), 'y': batch['y'], 'index': batch['index']}

    def _model(self) -> ImageModel:
        return self.model.to(self.trainer.strategy.root_device)


def _whole(batch: dict) -> dict:
    """The collation of what is a batch already."""
    return batch

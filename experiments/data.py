"""The images or cached feature maps of one run, in an order that depends on (seed, epoch, image) only."""

from __future__ import annotations

from typing import NamedTuple

import lightning
import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from experiments import features
from mlsgm_pyg import datasets
from mlsgm_pyg.datasets import EpochSampler, ImageDataset, LabelledImages, Subset, build_view, collate


class Part(NamedTuple):
    """Some images of a data set: what is trained on, or what is evaluated."""

    source: LabelledImages
    rows: list[int]

    @property
    def y(self) -> Tensor:
        return self.source.y[torch.tensor(self.rows, dtype=torch.long)]

    @property
    def files(self) -> list[str]:
        return [self.source.files[i] for i in self.rows]


def build_source(config: DictConfig, split: str) -> LabelledImages:
    """One split of the data set that a config's `data` section names."""
    if config.name == 'csv':
        return datasets.CsvDataset(config.root, split, config.labels, config.images, missing=config.on_error)
    if config.name == 'voc2007':
        return datasets.Voc2007(config.root, split, difficult=config.difficult, download=config.download)
    number = config.num_images if split == 'train' else config.test_images
    options = {'num_images': number, 'size': config.scene_size}
    return datasets.Digits(split, **{key: value for key, value in options.items() if value})


def build_parts(config: DictConfig) -> tuple[Part, Part]:
    """The images that are trained on and those that are evaluated; the split is the same for every seed of a run."""
    train = build_source(config, config.train_split)
    if config.dev > 0:
        rows, held_out = datasets.dev_split(len(train), config.dev)
        test = train
    else:
        test = build_source(config, config.test_split)
        rows, held_out = list(range(len(train))), list(range(len(test)))
    test_limit = config.limit if config.test_limit is None else config.test_limit
    parts = (train, rows, config.limit), (test, held_out, test_limit)
    return tuple(
        Part(source, [rows[i] for i in datasets.limit_indices(len(rows), limit or None)])
        for source, rows, limit in parts
    )


class Order(EpochSampler):
    """The order of an epoch; tells the data set which epoch it is."""

    def __init__(self, data: Dataset, **kwargs):
        self.data = data
        super().__init__(len(data), **kwargs)

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.data.set_epoch(epoch)


class DataModule(lightning.LightningDataModule):
    """The loaders of a run. Processes share the images among them; each image is evaluated once.

    Args:
        config (DictConfig): The whole config.
    """

    def __init__(self, config: DictConfig):
        super().__init__()
        self.config = config
        self.train_part, self.test_part = build_parts(config.data)
        self.class_names = self.train_part.source.class_names
        self.first_epoch = 0

    def state_dict(self) -> dict[str, int]:
        return {'finished_epochs': self.trainer.current_epoch + 1}  # Checkpoints are written when an epoch ends.

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.first_epoch = state['finished_epochs']

    def prepare_data(self) -> None:
        """Fills the feature stores, in one process a machine."""
        if self.config.features.cache:
            for part, store, view in self._stores():
                options = self.config.data
                how = {'num_workers': options.num_workers, 'on_error': options.on_error}
                features.fill(store, self._backbone(), part.source, part.rows, view, options.image_size, **how)

    def setup(self, stage: str) -> None:
        seed, options = self.config.seed, self.config.data
        if self.config.features.cache:
            *train, test = [store for _, store, _ in self._stores()]
            self.train_data = self._feature_data(train, self.train_part, seed)
            self.test_data = self._feature_data([test], self.test_part, seed)
        else:
            sources = [Subset(*part) for part in (self.train_part, self.test_part)]
            views = [build_view(view, options.image_size) for view in (options.train_view, options.test_view)]
            self.train_data, self.test_data = (
                ImageDataset(source, view, seed, options.on_error) for source, view in zip(sources, views)
            )

    def train_dataloader(self) -> DataLoader:
        order = Order(self.train_data, seed=self.config.seed)
        order.set_epoch(self.first_epoch)  # Worker processes start before Lightning says the epoch of a resumed run.
        return self._loader(self.train_data, order, self.config.data.batch_size)

    def val_dataloader(self) -> DataLoader:
        mine = range(self.trainer.global_rank, len(self.test_data), self.trainer.world_size)
        return self._loader(self.test_data, mine, self.config.data.eval_batch_size)

    def _loader(self, data: Dataset, order: EpochSampler | range, batch_size: int) -> DataLoader:
        if isinstance(data, features.FeatureDataset):  # Whole batches come from the memory map.
            return DataLoader(data, batch_size, sampler=order, collate_fn=lambda batch: batch)
        workers, pin = self.config.data.num_workers, torch.cuda.is_available()
        return DataLoader(data, batch_size, sampler=order, collate_fn=collate, num_workers=workers, pin_memory=pin)

    def _stores(self) -> list[tuple[Part, features.FeatureStore, str]]:
        options = self.config.data
        views = [options.test_view, f'{options.test_view}_flip'] if self.config.features.flip else [options.test_view]
        wanted = [*((self.train_part, view) for view in views), (self.test_part, options.test_view)]
        folder, backbone = self.config.features.dir, self._backbone()
        return [
            (part, features.open_store(backbone, part.source, view, options.image_size, folder), view)
            for part, view in wanted
        ]

    def _feature_data(self, stores: list[features.FeatureStore], part: Part, seed: int) -> features.FeatureDataset:
        keep = ~np.isin(part.rows, stores[0].skipped(part.rows))
        rows = np.asarray(part.rows)[keep]
        return features.FeatureDataset(stores, rows, part.y[torch.from_numpy(keep)], seed)

    def _backbone(self) -> torch.nn.Module:
        return self.trainer.lightning_module.model.backbone.to(self.trainer.strategy.root_device)

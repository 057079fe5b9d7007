"""The images, cached maps or stored graphs of one run, in an order that depends on (seed, epoch, image) only."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
import torch_geometric.loader
from omegaconf import DictConfig
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from experiments import features, graphs, trained_on
from experiments.common.errors import ConfigError
from experiments.common.text import counted
from mlsgm_pyg import datasets
from mlsgm_pyg.datasets import EpochSampler, ImageDataset, ImageError, LabelledImages, Subset, build_view, collate

TUNE_SEED = 1  # Of the draw of `data.tune`; `data.dev`'s is 0.


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

    def is_readable(self, index: int) -> bool:
        """Whether image :obj:`index` of these can be read."""
        try:
            self.source.image(self.rows[index])
        except ImageError:
            return False
        return True


def build_source(config: DictConfig, split: str) -> LabelledImages:
    """One split of the data set that a config's `data` section names."""
    missing, verify = config.on_error, config.verify
    match config.name:
        case 'csv':
            return datasets.CsvDataset(config.root, split, config.labels, config.images, missing=missing)
        case 'voc2007':
            return datasets.Voc2007(config.root, split, config.difficult, config.download, missing, verify)
        case 'voc2012':
            return datasets.Voc2012(config.root, split, config.difficult, config.download, missing, verify)
        case 'coco':
            return datasets.Coco(config.root, split, config.images_without_labels, missing, verify)
        case 'nus_wide':
            return datasets.NusWide(config.root, split, missing, verify)
        case 'vg':
            classes = {'num_classes': config.vg_classes, 'by': config.vg_by, 'lists': config.vg_lists}
            return datasets.VisualGenome(config.root, split, **classes, missing=missing, verify=verify)
    number = config.num_images if split == 'train' else config.test_images
    options = {'num_images': number, 'size': config.scene_size}
    return datasets.Digits(split, **{key: value for key, value in options.items() if value})


def build_parts(
    config: DictConfig, task: DictConfig | None = None, novel: bool = False, tuned: bool = False
) -> tuple[Part, Part]:
    """The images that are trained on and those that are evaluated; the split is the same for every seed of a run.

    Labels are hidden from training alone, and before a held-out or a limited part is taken, so that no part's mask
    depends on another option. Few-shot parts have the base classes alone, or with :obj:`novel` the novel ones. With
    :obj:`tuned` the first part is what `data.tune` keeps from training.
    """
    train = build_source(config, config.train_split)
    if config.dev > 0:
        rows, held_out = datasets.dev_split(len(train), config.dev)
        test = train
    else:
        test = build_source(config, config.test_split)
        rows, held_out = list(range(len(train))), list(range(len(test)))
    if config.tune > 0:
        rows = [rows[i] for i in datasets.dev_split(len(rows), config.tune, TUNE_SEED)[tuned]]
    if task is not None and task.name == 'partial':
        train = datasets.hide_labels(train, task.known, task.mask_seed)
    if task is not None and task.name == 'few_shot':
        base, names = split_classes(train.class_names, task)
        if task.novel_images == 'drop' and not novel:
            without = set(datasets.without_classes(train, names))
            rows = [i for i in rows if i in without]
        train, test = (datasets.select_classes(source, names if novel else base) for source in (train, test))
    test_limit = config.limit if config.test_limit is None else config.test_limit
    parts = (train, rows, config.limit), (test, held_out, test_limit)
    return tuple(
        Part(source, [rows[i] for i in datasets.limit_indices(len(rows), limit or None)])
        for source, rows, limit in parts
    )


def split_classes(class_names: list[str], task: DictConfig) -> tuple[list[str], list[str]]:
    """The base and the novel classes of a few-shot task."""
    novel = task.novel or datasets.draw_novel(class_names, task.num_novel, task.novel_seed)
    return datasets.split_classes(class_names, novel)


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
        self.train_part, self.test_part = build_parts(config.data, config.task)
        self.class_names = self.train_part.source.class_names
        self.tune_part = None
        if config.model.score == 'blend' and config.model.name == 'ml_sgm':
            self.tune_part, _ = build_parts(config.data, config.task, tuned=True)
        self.first_epoch = 0
        self.other_sizes: list[Dataset] = []  # The evaluated images at the second and further test sizes.

    @cached_property
    def trained_on(self) -> dict[str, Any]:
        """What tells these images and labels from others."""
        return trained_on.describe(self.train_part, self.test_part)

    def check(self) -> None:
        """Raises:
        ConfigError: If there is nothing to train on or to evaluate.
        """
        train, test = self.part_name('train'), self.part_name('test')
        if not self.train_part.rows:
            raise ConfigError(f'there is no image in {train}: nothing to train on')
        if not self.test_part.rows:
            raise ConfigError(f'there is no image in {test}: nothing to evaluate')
        if not (self.train_part.y >= 0).any():
            raise ConfigError(f'no image of {train} has a known label: nothing to train on')
        if self.tune_part and not (self.tune_part.y == 1).any():
            told = f"of '{self.config.data.train_split}' no image that data.tune takes is known to show a class"
            raise ConfigError(
                f'{told}: the blend cannot be fitted; take a larger one (it is {self.config.data.tune:g})'
            )
        if not (self.test_part.y == 1).any():
            raise ConfigError(f'no image of {test} shows any class: nothing to evaluate')

    def part_name(self, part: str) -> str:
        """What a message calls the part 'train' or 'test'."""
        options = self.config.data
        if part == 'train':
            return f"'{options.train_split}'"
        return f"the held-out part of '{options.train_split}'" if options.dev > 0 else f"'{options.test_split}'"

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps; it is written when an epoch ends."""
        return {'finished_epochs': self.trainer.current_epoch + 1, 'trained_on': self.trained_on}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.first_epoch = state['finished_epochs']

    def prepare_data(self) -> None:
        """Fills the stores of maps and graphs, in one process a machine."""
        wanted = self._wanted()
        if self.config.graphs.store:
            wanted = [pair for pair in wanted if not self._has_graphs(*pair)]
        if self.config.features.cache:
            options = self.config.data
            how = {'num_workers': options.num_workers, 'on_error': options.on_error}
            for part, view in wanted:
                store = self._store(part, view)
                features.fill(store, self._backbone(), part.source, part.rows, view, options.image_size, **how)
        if self.config.graphs.store:
            for part, view in wanted:
                graphs.write(self._graph_path(part, view), self._model(), self._map_batches(part, view))

    def setup(self, stage: str) -> None:
        train, test = self._views()
        self.train_data = self._data(self.train_part, train, self.config.data.train_view)
        sizes = self.config.data.test_sizes or [None]
        view = self.config.data.test_view
        self.test_data, *self.other_sizes = (self._data(self.test_part, test, view, size) for size in sizes)
        if self.tune_part:
            self.tune_data = self._data(self.tune_part, test, view)
        for part, data in (('train', self.train_data), ('test', self.test_data)):
            if len(data) == 0:  # Stores are without the images that cannot be read.
                raise ConfigError(none_read(self.part_name(part)))

    def _data(self, part: Part, fixed: list[str], view: str, size: int | None = None) -> Dataset:
        """One part as it is read: its graphs or maps under fixed views, or its images under any view."""
        seed, options = self.config.seed, self.config.data
        if self.config.graphs.store:
            paths, assign = [self._graph_path(part, view) for view in fixed], self._model().ilms.assign
            return graphs.EpochGraphs([graphs.GraphDataset(path, assign) for path in paths], len(part.rows), seed)
        if self.config.features.cache:
            return features.FeatureDataset([self._store(part, view) for view in fixed], part.rows, part.y, seed)
        return ImageDataset(Subset(*part), build_view(view, size or options.image_size), seed, options.on_error)

    def train_dataloader(self) -> DataLoader:
        order = Order(self.train_data, seed=self.config.seed)
        order.set_epoch(self.first_epoch)  # Worker processes start before Lightning says the epoch of a resumed run.
        return self._loader(self.train_data, order, self.config.data.batch_size)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        mine = range(self.trainer.global_rank, len(self.test_data), self.trainer.world_size)
        mine = mine or range(1)  # More processes than images: the first once more, it counts once.
        size = self.config.data.eval_batch_size
        loaders = [self._loader(data, mine, size) for data in (self.test_data, *self.other_sizes)]
        return loaders if len(loaders) > 1 else loaders[0]

    def tune_dataloader(self) -> DataLoader:
        """The images that `data.tune` keeps from training, as those that are evaluated."""
        return self._loader(self.tune_data, range(len(self.tune_data)), self.config.data.eval_batch_size)

    def skipped(self) -> set[tuple[str, int]]:
        """The images that are known not to be readable, by part; the rest is found out while reading."""
        parts = ('train', self.train_data), ('test', self.test_data)
        return {(name, i) for name, data in parts for i in getattr(data, 'skipped', ())}

    def file(self, part: str, index: int) -> str:
        """The name of image :obj:`index` of the part 'train' or 'test'."""
        return {'train': self.train_part, 'test': self.test_part}[part].files[index]

    def _loader(self, data: Dataset, order: EpochSampler | range, batch_size: int) -> DataLoader:
        if isinstance(data, graphs.EpochGraphs):
            pin = torch.cuda.is_available()
            return torch_geometric.loader.DataLoader(data, batch_size, sampler=order, pin_memory=pin)
        if isinstance(data, features.FeatureDataset):  # Whole batches come from the memory map.
            return DataLoader(data, batch_size, sampler=order, collate_fn=_whole)
        workers = self.config.data.num_workers
        how = {'num_workers': workers, 'persistent_workers': workers > 0, 'pin_memory': torch.cuda.is_available()}
        return DataLoader(data, batch_size, sampler=order, collate_fn=collate, **how)

    def _views(self) -> tuple[list[str], list[str]]:
        """The fixed views of a training image, plain and mirrored, and of a test image."""
        view = self.config.data.test_view
        return [view, f'{view}_flip'] if self.config.features.flip else [view], [view]

    def _wanted(self) -> list[tuple[Part, str]]:
        """Every part under each of its fixed views."""
        train, test = self._views()
        wanted = [(self.train_part, train), (self.test_part, test)]
        wanted += [(self.tune_part, test)] if self.tune_part else []
        return [(part, view) for part, views in wanted for view in views]

    def _store(self, part: Part, view: str) -> features.FeatureStore:
        size, folder = self.config.data.image_size, self.config.features.dir
        return features.open_store(self._backbone(), part.source, view, size, folder)

    def _graph_path(self, part: Part, view: str) -> Path:
        cached, size = self.config.features.cache, self.config.data.image_size
        return graphs.store_path(self._model(), *part, view, size, cached, self.config.features.dir)

    def _has_graphs(self, part: Part, view: str) -> bool:
        """Whether a file has the graphs of all images that can be read; with data.on_error=raise, of all images."""
        path = self._graph_path(part, view)
        if not path.is_file():
            return False
        left_out = graphs.left_out(path, len(part.rows))
        return not left_out or self.config.data.on_error == 'skip' and not any(map(part.is_readable, left_out))

    def _map_batches(self, part: Part, view: str) -> Iterator[dict[str, Tensor]]:
        """The backbone's maps of the images that can be read: dict(feature, y, index)."""
        options, model = self.config.data, self._model()
        device = self.trainer.strategy.root_device
        if self.config.features.cache:
            data = features.FeatureDataset([self._store(part, view)], part.rows, part.y)
            loader = DataLoader(data, options.eval_batch_size, collate_fn=_whole)
        else:
            data = ImageDataset(Subset(*part), build_view(view, options.image_size), on_error=options.on_error)
            loader = DataLoader(data, options.eval_batch_size, collate_fn=collate, num_workers=options.num_workers)
        for batch in track(loader, f'Graphs ({view}, {counted(len(data), "image")})'):
            if len(batch['index']):
                with torch.no_grad():
                    maps = batch['feature'] if 'feature' in batch else model.features(batch['image'].to(device))
                yield {'feature': maps.to(device), 'y': batch['y'], 'index': batch['index']}

    def _model(self) -> torch.nn.Module:
        return self.trainer.lightning_module.model.to(self.trainer.strategy.root_device)

    def _backbone(self) -> torch.nn.Module:
        return self._model().backbone


def none_read(part: str) -> str:
    return f'no image of {part} can be read: nothing to train on or to evaluate'


def _whole(batch: dict) -> dict:
    """The collation of what is a batch already."""
    return batch

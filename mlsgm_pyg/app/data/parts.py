"""The images of a run: which part of a data set is trained on, and which is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from mlsgm_pyg import datasets
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.data import changes
from mlsgm_pyg.datasets import ImageError, LabelledImages
from mlsgm_pyg.datasets.shards import INDEX

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
        case 'csv' if (index := Path(config.root, config.labels)).name == INDEX:
            return datasets.Shards(index.parent, split, missing)
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
    own = fit_split(config, train)
    if own and tuned:
        whole = {'train_split': own, 'test_split': own, 'dev': 0, 'tune': 0}
        return build_parts(OmegaConf.merge(config, whole), task, novel)
    if config.dev > 0:
        rows, held_out = datasets.dev_split(len(train), config.dev)
        test = train
    else:
        test = build_source(config, config.test_split)
        rows, held_out = list(range(len(train))), list(range(len(test)))
    if config.tune > 0 and not own:
        if len(rows) < 2:
            raise ConfigError(
                f"'{config.train_split}' needs at least 2 images, of which data.tune takes one (got {len(rows)})"
            )
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


def fit_split(config: DictConfig, train: LabelledImages) -> str:
    """The part of a label file that `data.tune` means: `fit`, or `val` where it is not what is evaluated; empty where
    there is none, and a part of the training images is taken."""
    splits = getattr(train, 'splits', []) if config.tune > 0 else []
    taken = (config.train_split, config.test_split)
    return next((name for name in ('fit', 'val') if name in splits and name not in taken), '')


def split_classes(class_names: list[str], task: DictConfig) -> tuple[list[str], list[str]]:
    """The base and the novel classes of a few-shot task."""
    novel = task.novel or datasets.draw_novel(class_names, task.num_novel, task.novel_seed)
    return datasets.split_classes(class_names, novel)


@dataclass(frozen=True)
class Parts:
    """The images of one run: what is trained on, what is evaluated, and what thresholds, and the weight of the score
    'blend', are fitted on."""

    config: DictConfig
    train: Part
    test: Part
    tune: Part | None = None

    @classmethod
    def read(cls, config: DictConfig) -> Parts:
        """Those of a whole config."""
        tune = build_parts(config.data, config.task, tuned=True)[0] if config.data.tune > 0 else None
        return cls(config.data, *build_parts(config.data, config.task), tune)

    @property
    def class_names(self) -> list[str]:
        return self.train.source.class_names

    @cached_property
    def trained_on(self) -> dict[str, Any]:
        """What tells these images and labels from others."""
        parts = {'train': self.train, 'test': self.test}
        return changes.describe(self.class_names, **{key: (part.files, part.y) for key, part in parts.items()})

    def check(self) -> None:
        """Refuses images of which there is nothing to train on or to evaluate."""
        train, test = self.name('train'), self.name('test')
        if not self.train.rows:
            raise ConfigError(f'there is no image in {train}: nothing to train on')
        if not self.test.rows:
            raise ConfigError(f'there is no image in {test}: nothing to evaluate')
        if not (self.train.y >= 0).any():
            raise ConfigError(f'no image of {train} has a known label: nothing to train on')
        if self.tune and not (self.tune.y == 1).any():
            if own := fit_split(self.config, self.train.source):
                raise ConfigError(f"no image of '{own}' is known to show a class: thresholds cannot be fitted")
            told = f"of '{self.config.train_split}' no image that data.tune takes is known to show a class"
            raise ConfigError(f'{told}: thresholds cannot be fitted; take a larger one (it is {self.config.tune:g})')
        if not (self.test.y == 1).any():
            raise ConfigError(f'no image of {test} shows any class: nothing to evaluate')

    def name(self, part: str) -> str:
        """What a message calls the part 'train' or 'test'."""
        options = self.config
        if part == 'train':
            return f"'{options.train_split}'"
        return f"the held-out part of '{options.train_split}'" if options.dev > 0 else f"'{options.test_split}'"


def none_read(part: str) -> str:
    return f'no image of {part} can be read: nothing to train on or to evaluate'

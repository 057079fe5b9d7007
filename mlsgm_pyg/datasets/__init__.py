"""Data sets of labelled images.

What is named here is loaded when it is first asked for: one data set does not load the others.
"""
# ruff: noqa: F401

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # The table below for type checkers.
    from mlsgm_pyg.datasets.base import ImageDataset, LabelledImages, Relabelled, Subset, collate
    from mlsgm_pyg.datasets.coco import Coco
    from mlsgm_pyg.datasets.csv import CsvDataset
    from mlsgm_pyg.datasets.digits import Digits
    from mlsgm_pyg.datasets.few_shot import (
        COCO_NOVEL,
        draw_novel,
        draw_shots,
        select_classes,
        split_classes,
        without_classes,
    )
    from mlsgm_pyg.datasets.images import MAX_PIXELS, ImageError, Picture, as_picture, read_image, read_picture
    from mlsgm_pyg.datasets.nus_wide import NusWide
    from mlsgm_pyg.datasets.partial import hide_labels
    from mlsgm_pyg.datasets.sampling import EpochSampler, dev_split, limit_indices
    from mlsgm_pyg.datasets.shards import Shards, write_shards
    from mlsgm_pyg.datasets.transforms import VIEWS, build_view
    from mlsgm_pyg.datasets.visual_genome import VisualGenome
    from mlsgm_pyg.datasets.voc import Voc2007, Voc2012

_NAMES = {
    'base': 'ImageDataset LabelledImages Relabelled Subset collate',
    'coco': 'Coco',
    'csv': 'CsvDataset',
    'digits': 'Digits',
    'few_shot': 'COCO_NOVEL draw_novel draw_shots select_classes split_classes without_classes',
    'images': 'MAX_PIXELS ImageError Picture as_picture read_image read_picture',
    'nus_wide': 'NusWide',
    'partial': 'hide_labels',
    'sampling': 'EpochSampler dev_split limit_indices',
    'shards': 'Shards write_shards',
    'transforms': 'VIEWS build_view',
    'visual_genome': 'VisualGenome',
    'voc': 'Voc2007 Voc2012',
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = globals()[name] = getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Data sets of labelled images."""

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
from mlsgm_pyg.datasets.transforms import VIEWS, build_view
from mlsgm_pyg.datasets.visual_genome import VisualGenome
from mlsgm_pyg.datasets.voc import Voc2007, Voc2012

__all__ = [
    'COCO_NOVEL',
    'MAX_PIXELS',
    'VIEWS',
    'Coco',
    'CsvDataset',
    'Digits',
    'EpochSampler',
    'ImageDataset',
    'ImageError',
    'LabelledImages',
    'NusWide',
    'Picture',
    'Relabelled',
    'Subset',
    'VisualGenome',
    'Voc2007',
    'Voc2012',
    'as_picture',
    'build_view',
    'collate',
    'dev_split',
    'draw_novel',
    'draw_shots',
    'hide_labels',
    'limit_indices',
    'read_image',
    'read_picture',
    'select_classes',
    'split_classes',
    'without_classes',
]

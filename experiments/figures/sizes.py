"""The sizes of ML-SGM under a config, read off a model that is never trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mlsgm_pyg import models
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.data.parts import build_source
from mlsgm_pyg.app.results.run import Run
from mlsgm_pyg.app.training.module import BUILT, model_options
from mlsgm_pyg.backbone import build_backbone
from mlsgm_pyg.datasets import coco, nus_wide, voc
from mlsgm_pyg.semantics import word_vectors

NAMES = {'coco': coco.NAMES, 'voc2007': voc.NAMES, 'voc2012': voc.NAMES, 'nus_wide': nus_wide.CONCEPTS}
KUMO = 50  # Numbers a word.
PARTS = {  # What the picture shows, and where it is in the model.
    'backbone': 'backbone',
    'reduce': 'csac.reduce',
    'csac': 'csac.classifier',
    'encoder': 'ilms.encoder',
    'blocks': 'ilms.blocks',
    'decoder': 'ilms.decoder',
}


class Sizes(NamedTuple):
    """What the picture of the architecture says."""

    backbone: str
    image_size: int
    feature: tuple[int, int, int]  # Channels, height and width of the backbone's map.
    channels: int  # D, of the reduced map; the backbone's where it is not reduced.
    labels: int
    words: int  # Numbers of a word vector.
    gamma: float
    max_instances: int
    k: int
    label_graph: str
    encoder: tuple[int, ...]
    blocks: tuple[int, ...]
    decoder: int
    parameters: dict[str, int]  # By part, and of each block as 'blocks.0'.


def of_words(words: list[str]) -> Sizes:
    """Of a row with options, or of a run directory."""
    first = Path(words[0])
    if (first / 'config.yaml').is_file():
        config = configs.from_file(first / 'config.yaml')
        labels = len(Run.read(first).class_names)
    else:
        row = [word for word in words if '=' not in word]
        if len(row) != 1:
            raise ConfigError(f'the architecture is of one row or run directory (got {" ".join(words)})')
        config = configs.load(row[0], [word for word in words if '=' in word])
        labels = number_of_labels(config)
    return of_config(config, labels, word_size(config, labels))


def of_config(config: Any, labels: int, words: int) -> Sizes:
    """Of a config with so many labels, and numbers a word vector."""
    model = config.model
    if model.name != 'ml_sgm':
        raise ConfigError(f'the picture is of the architecture of ml_sgm (got model.name={model.name})')
    options = {key: value for key, value in model_options(model).items() if key not in BUILT}
    size = config.data.image_size
    with torch.device('meta'):  # The largest part has shapes alone.
        backbone = build_backbone(model.backbone, 'none', model.last_stride).eval()
        feature = backbone(torch.zeros(1, 3, size, size, dtype=torch.uint8))
    built = models.MLSGM(backbone, torch.zeros(labels, words), **options | {'label_graph': 'complete'})
    parts = {name: built.get_submodule(path) for name, path in PARTS.items()}
    parts['decoder'] = torch.nn.ModuleList([parts['decoder'], built.ilms.deep])  # Their scores are added.
    parts |= {f'blocks.{i}': block for i, block in enumerate(built.ilms.blocks)}
    return Sizes(
        backbone=model.backbone,
        image_size=size,
        feature=tuple(feature.shape[1:]),
        channels=built.csac.out_channels,
        labels=labels,
        words=words,
        gamma=model.gamma,
        max_instances=model.max_instances,
        k=model.k,
        label_graph=model.label_graph if model.label_graph == 'complete' else f'{model.label_k} nearest by word',
        encoder=tuple(model.encoder_channels),
        blocks=tuple(model.block_channels),
        decoder=model.decoder_channels,
        parameters={name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
    )


def number_of_labels(config: Any) -> int:
    """C of the data set that a config names; where only its files say so, they must be there."""
    data = config.data
    if data.name in NAMES:
        return len(NAMES[data.name])
    if data.name == 'vg':
        return data.vg_classes
    if data.name == 'digits':
        return 10
    try:
        return len(build_source(data, data.train_split).class_names)
    except (ValueError, OSError) as error:
        raise ConfigError(
            f'the number of labels is in the data set, which is not there ({error}): data.root=PATH'
        ) from error


def word_size(config: Any, labels: int) -> int:
    """Numbers of a word vector, from the vectors where they are there, else from the file's name."""
    source = config.semantics.source
    if source in ('onehot', 'kumo'):
        return labels if source == 'onehot' else KUMO
    named = re.search(r'(\d+)d\b', Path(source).name)
    if named:
        return int(named[1])
    names = NAMES.get(config.data.name)
    if names is None:
        names = build_source(config.data, config.data.train_split).class_names
    try:
        return word_vectors(names, source).size(1)
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error

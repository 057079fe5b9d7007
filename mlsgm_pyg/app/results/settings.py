"""A config in words: what ran on which data, and what of it is not the row's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.config.words import ELSEWHERE, SOURCES, differences, written

SEEDS = ('seed', 'init')  # In which the runs of one group differ.
SAID = (  # Told in words of their own.
    'data.image_size', 'data.test_sizes', 'data.test_split', 'data.difficult', 'model.backbone',
    'model.freeze_backbone', 'model.score', 'metrics.ap', 'select', 'task.shots', 'task.draws', 'task.methods',
)  # fmt: skip


def setting_of(options: dict[str, Any]) -> str:
    """The backbone and the pixels of training and testing, in words."""
    model, sizes = options['model'], resolution(options)
    backbone = ('frozen ' if model.get('freeze_backbone') else '') + model['backbone']
    tested = ' and '.join(map(str, sizes[1:]))
    return f'{backbone}, {sizes[0]} px' + (f', tested at {tested}' if set(sizes) != {sizes[0]} else '')


def changed(options: dict[str, Any], idle: tuple[str, ...] = ()) -> str:
    """The options that are not the row's, but those that are told in words, and those that begin so."""
    found = differences(options)
    return ''.join(
        f', {key}={written(key, value)}' for key, value in found.items() if key not in SAID and not key.startswith(idle)
    )


def data_of(options: dict[str, Any]) -> str:
    """A data set's name; of a `csv` data set, its folder's, marked where it could be taken for a data set."""
    data = options['data']
    if data['name'] == 'vg':
        return f'vg{data["vg_classes"]}'
    if data['name'] != 'csv':
        return data['name']
    name = Path(data['root']).name or 'csv'
    return f'{name} (csv)' if name in ('coco', 'digits', 'nus_wide', 'vg200', 'vg500', 'voc2007', 'voc2012') else name


def resolution(options: dict[str, Any]) -> tuple[int, ...]:
    """Pixels in training and in testing."""
    data = options['data']
    return data['image_size'], *(data.get('test_sizes') or [data['image_size']])


def counting(options: dict[str, Any]) -> dict[str, Any]:
    """`section.option` -> value of the options that numbers depend on, whatever folder the files lie in."""
    out = {key: value for key, value in configs.flat(options).items() if key not in ELSEWHERE}
    source = out.get('semantics.source')
    if source is not None and source not in SOURCES:
        out['semantics.source'] = Path(source).name
    return out


def identity(options: dict[str, Any], apart: tuple[str, ...] = SEEDS) -> str:
    """What the runs of one group share, whatever else they may differ in: the name, the data, and every option that
    numbers depend on and that is not at its default; of those that there are no more, what was on."""
    usual = configs.defaults()
    own = {'name': options.get('name')} | counting(options)
    found = {key: value for key, value in own.items() if (value != usual[key] if key in usual else value)}
    kept = {key: value for key, value in found.items() if key not in apart}
    return json.dumps([data_of(options), kept], sort_keys=True)

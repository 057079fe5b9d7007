"""Finished runs as rows of a comparison: grouped over their seeds, and what sets one row apart from another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.common.errors import ConfigError, nearest
from experiments.config import load as configs
from experiments.config.words import ELSEWHERE, SOURCES, written
from experiments.finished import data_of, read_run
from mlsgm_pyg import models

NEEDED = ('name', 'seed', 'metrics', 'config', 'score', 'ap', 'top3', 'evaluated_on', 'seconds', 'parameters')
BUILT = ('name', 'backbone', 'weights', 'last_stride', 'freeze_backbone')  # Options of every model.
PARTS = {'csac': 'CSAC', 'instance_graph': 'instance graph', 'label_graph': 'label graph', 'matches': 'matching edges'}
RUNGS = {  # The parts of Table VII's rows.
    frozenset(): 1,
    frozenset({'csac'}): 2,
    frozenset({'csac', 'instance_graph'}): 3,
    frozenset({'label_graph'}): 4,
    frozenset({'instance_graph', 'label_graph'}): 5,
    frozenset({'csac', 'instance_graph', 'label_graph'}): 6,
    frozenset(PARTS): 7,
}


@dataclass
class Row:
    """Runs that differ in their seed only, as their result.json has them, by rising seed, with their `folder`."""

    runs: list[dict[str, Any]]
    label: str = ''
    left_out: list[str] = field(default_factory=list)  # Folders of runs of a seed that is there, with other numbers.

    @property
    def config(self) -> dict[str, Any]:
        return self.runs[0]['config']

    @property
    def name(self) -> str:
        return self.runs[0]['name']

    @property
    def seeds(self) -> list[int]:
        return [run['seed'] for run in self.runs]

    @property
    def parts(self) -> frozenset[str] | None:
        """What it has of ML-SGM's parts; None of a model that Table VII does not have."""
        model = self.config['model']
        if model['name'] == 'ablation':
            return frozenset(model['parts'])
        return {'baseline': frozenset(), 'ml_sgm': frozenset(PARTS)}.get(model['name'])


def collect(folders: Iterable[Path]) -> tuple[list[Row], list[str]]:
    """The rows of all finished runs in some folders, in their order, and what was left out, in words.

    Raises:
        FileNotFoundError: If a folder is not there or holds no finished run.
        ConfigError: If a file is not what a run leaves: that of a folder itself, or all that there are. Another one is
            left out.
    """
    groups: dict[str, Row] = {}
    notes: list[str] = []
    for folder in folders:
        found = sorted(folder.rglob('result.json'))
        if not found:
            raise FileNotFoundError(f"'{folder}' holds no finished run: there is no result.json in it")
        for path in found:
            try:
                out = read_run(path, NEEDED) | {'folder': str(path.parent)}
            except ConfigError as error:
                if path.parent == folder or len(found) == 1:
                    raise
                notes.append(f'left out: {error}')
                continue
            row = groups.setdefault(_identity(out['config']), Row([]))
            there = next((run for run in row.runs if run['seed'] == out['seed']), None)
            if there is None:
                row.runs.append(out)
            elif there['metrics'] != out['metrics']:
                row.left_out.append(out['folder'])
    for row in groups.values():
        row.runs.sort(key=lambda run: run['seed'])
    if not groups:
        raise ConfigError(f'there is no finished run; {"; ".join(notes)}')
    return _named(list(groups.values())), notes


def find(rows: Sequence[Row], name: str) -> Row:
    """The row of a label or name.

    Raises:
        ConfigError: If there is none, or several have this name.
    """
    found = [row for row in rows if name == row.label] or [row for row in rows if name == row.name]
    if not found:
        raise ConfigError(f"no row is called '{name}': {nearest(name, [row.label for row in rows])}")
    if len(found) > 1:
        raise ConfigError(f"several rows are called '{name}': {'; '.join(row.label for row in found)}")
    return found[0]


def protocol(row: Row) -> dict[str, Any]:
    """What rows must share for their numbers to mean the same: data set, classes, images, and how they are scored."""
    out, config = row.runs[0], row.config
    return {
        'data set': data_of(config),
        'classes': ', '.join(out['metrics']['AP']),
        'evaluated on': out['evaluated_on'],
        'images': out.get('images', {}).get('test'),
        'AP': out['ap'],
        'top 3': out['top3'],
        'difficult objects': out.get('difficult'),
    }


def apart(row: Row, reference: Row) -> str:
    """Why a row's numbers do not mean what the reference's do; empty where they do."""
    mine, theirs = protocol(row), protocol(reference)
    told = []
    for key, value in mine.items():
        if value == theirs[key]:
            continue
        told.append('other classes' if key == 'classes' else f'{key}: {value}, not {theirs[key]}')
    return '; '.join(told)


def beside(row: Row, reference: Row) -> dict[str, tuple[Any, Any]]:
    """The options that differ beside the model: option -> the row's value and the reference's.

    Options of the model count where both models take them.
    """
    mine, theirs = _leaves(row.config), _leaves(reference.config)
    taken = [set(BUILT).union(_arguments(one.config['model']['name'])) for one in (row, reference)]
    out = {}
    for key in mine.keys() & theirs.keys():
        section, _, name = key.partition('.')
        of_model = section == 'model' and name
        if key == 'model.name' or (of_model and not all(name in options for options in taken)):
            continue
        if mine[key] != theirs[key]:
            out[key] = mine[key], theirs[key]
    return dict(sorted(out.items()))


def ladder(rows: Sequence[Row], reference: Row) -> tuple[list[Row], list[str]]:
    """The rows of Table VII in its order, where some row is an ablation, and what had to be decided.

    Of several rows with the same parts, that with the fewest other options than the reference is taken.
    """
    rungs: dict[int, list[Row]] = {}
    for row in rows:
        rung = None if row.parts is None or apart(row, reference) else RUNGS.get(row.parts)
        if rung:
            rungs.setdefault(rung, []).append(row)
    notes = []
    if not any(row.config['model']['name'] == 'ablation' for found in rungs.values() for row in found):
        return [], notes
    steps = []
    for rung, found in sorted(rungs.items()):
        best = reference if reference in found else min(found, key=lambda row: len(beside(row, reference)))
        steps.append(best)
        if len(found) > 1:
            labels = ', '.join(row.label for row in found if row is not best)
            notes.append(f'row {rung} of Table VII is {best.label} here, not {labels} (--ladder names others)')
    return steps, notes


def change(after: Row, before: Row) -> str:
    """What a step of a ladder adds and takes away."""
    if after.parts is None or before.parts is None:
        return ''
    added = [f'+ {word}' for part, word in PARTS.items() if part in after.parts - before.parts]
    removed = [f'- {word}' for part, word in PARTS.items() if part in before.parts - after.parts]
    return ', '.join(added + removed)


def _identity(config: dict[str, Any]) -> str:
    """All that the runs of a row share."""
    defaults = _leaves(configs.plain(configs.default()))
    changed = {key: value for key, value in _leaves(config).items() if value != defaults.get(key)}
    return json.dumps([config.get('name'), data_of(config), changed], sort_keys=True)


def _leaves(config: dict[str, Any]) -> dict[str, Any]:
    """The options that numbers depend on, whatever folder the files lie in."""
    out = {key: value for key, value in configs.flat(config).items() if key not in ELSEWHERE}
    source = out.get('semantics.source')
    if source is not None and source not in SOURCES:
        out['semantics.source'] = Path(source).name
    return out


def _arguments(name: str) -> list[str]:
    return models.arguments(name) if name in models.MODELS else []


def _named(rows: list[Row]) -> list[Row]:
    """Labels: the run's name, and where several rows share it, the options in which they differ."""
    for row in rows:
        same = [_leaves(other.config) for other in rows if other.name == row.name]
        keys = sorted({key for one in same for key in one if any(one.get(key) != other.get(key) for other in same)})
        own = _leaves(row.config)
        told = ', '.join(f'{key}={written(key, own[key])}' for key in keys if key in own)
        row.label = f'{row.name} ({told})' if told else row.name
    labels = [row.label for row in rows]
    for row in rows:
        if labels.count(row.label) > 1:  # They differ in the data set's folder alone.
            row.label = f'{row.label} on {data_of(row.config)}'
    return rows

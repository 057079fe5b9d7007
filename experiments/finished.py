"""Finished runs, from run directories and from the small files of `results/`, by what they may be compared with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from experiments.common.errors import ConfigError
from experiments.common.files import read_json
from experiments.common.text import mean_sd
from experiments.config import load as configs
from experiments.config.words import differences, written

NEEDED = ('seed', 'metrics', 'config.row')  # Of result.json.
MAPPINGS = ('config', 'metrics', 'metrics.AP')  # What must hold names, where it is needed.
SAME = ('seed', 'task.known', 'init')  # Runs of one group may differ here.
SAID = (  # Told in words of their own.
    'data.image_size', 'data.test_sizes', 'data.test_split', 'data.difficult', 'model.backbone',
    'model.freeze_backbone', 'model.score', 'metrics.ap', 'select', 'task.shots', 'task.draws', 'task.methods',
)  # fmt: skip


@dataclass
class Run:
    """One finished run."""

    seed: int
    metrics: dict[str, Any]
    command: str
    config: dict[str, Any]
    score: str = ''
    evaluated_on: str = ''

    @property
    def task(self) -> str:
        return self.config.get('task', {}).get('name', 'full')

    @property
    def known(self) -> float:
        return self.config.get('task', {}).get('known', 1.0)

    @property
    def is_trial(self) -> bool:
        """Whether it saw, or was evaluated on, a part of the images only."""
        data, trainer = self.config['data'], self.config.get('trainer', {})
        limits = [data.get('dev'), data.get('limit'), data.get('test_limit')]
        return any(limits) or any(key.startswith('limit_') for key in trainer)


@dataclass
class Group:
    """Runs that differ in their seed, or in the proportion of known labels, only."""

    runs: list[Run]

    @property
    def config(self) -> dict[str, Any]:
        return self.runs[0].config

    @property
    def task(self) -> str:
        return self.runs[0].task

    @property
    def row(self) -> str:
        return self.config['row']

    @property
    def data(self) -> str:
        return data_of(self.config)

    @property
    def seeds(self) -> list[int]:
        return sorted({run.seed for run in self.runs})

    @property
    def resolution(self) -> tuple[int, ...]:
        return resolution(self.config)

    @property
    def setting(self) -> str:
        """The backbone, pixels, evaluated score, what is not the row's, and seeds, in words."""
        score = '' if self.runs[0].score in ('logits', '') else f', {self.runs[0].score} score'
        seeds = f'{len(self.seeds)} seeds' if len(self.seeds) > 1 else f'seed {self.seeds[0]}'
        return f'{setting_of(self.config)}{score}{self._protocol()}{changed(self.config)}, {seeds}'

    @property
    def fingerprint(self) -> str:
        """The hash in the name of its first run's folder."""
        return configs.fingerprint(self.config)

    def _protocol(self) -> str:
        """What was evaluated otherwise than usual."""
        config, where = self.config, self.runs[0].evaluated_on
        said = [f'on {where}' if where not in ('', 'test', 'val') else '']
        said.append('11-point AP' if config['metrics']['ap'] == 'interpolated_11' else '')
        said.append('best epoch' if config['select'] == 'best' else '')
        is_voc, difficult = config['data']['name'].startswith('voc'), config['data']['difficult']
        said.append(f'difficult: {difficult}' if is_voc and difficult != 'ignore' else '')
        return ''.join(f', {word}' for word in said if word)

    def value(self, metric: str, known: float | None = None) -> tuple[float, float | None] | None:
        """Mean and standard deviation over the seeds of a metric, 'AP.' and a class for its AP; None if there is none.

        Args:
            metric (str): Its name in `metrics`.
            known (float, optional): Of the runs with this proportion of known labels alone.
        """
        runs = self.runs if known is None else [run for run in self.runs if abs(run.known - known) < 1e-9]
        return mean_sd(_look_up(run.metrics, metric) for run in runs)


def setting_of(config: dict[str, Any]) -> str:
    """The backbone and the pixels of training and testing, in words."""
    model, sizes = config['model'], resolution(config)
    backbone = ('frozen ' if model.get('freeze_backbone') else '') + model['backbone']
    tested = ' and '.join(map(str, sizes[1:]))
    return f'{backbone}, {sizes[0]} px' + (f', tested at {tested}' if set(sizes) != {sizes[0]} else '')


def changed(config: dict[str, Any]) -> str:
    """The options that are not the row's, but those that are told in words."""
    found = differences(config)
    return ''.join(f', {key}={written(key, value)}' for key, value in found.items() if key not in SAID)


def data_of(config: dict[str, Any]) -> str:
    """A data set's name; of a `csv` data set, its folder's, marked where it could be taken for a data set."""
    data = config['data']
    if data['name'] == 'vg':
        return f'vg{data["vg_classes"]}'
    if data['name'] != 'csv':
        return data['name']
    name = Path(data['root']).name or 'csv'
    return f'{name} (csv)' if name in ('coco', 'digits', 'nus_wide', 'vg200', 'vg500', 'voc2007', 'voc2012') else name


def collect(runs: Iterable[Path], results: Path | None) -> tuple[list[Group], int, list[str]]:
    """The groups of all finished runs; how many runs were left out because they saw a part of the images only; and, in
    words, which because their files are damaged.

    Args:
        runs (iterable of Path): Run directories, or folders that hold some.
        results (Path, optional): A folder of what `python -m experiments.summary` wrote.

    Raises:
        FileNotFoundError: If one of the folders is not there.
    """
    groups: dict[str, dict[tuple[int, float], Run]] = {}
    trials, notes = 0, []
    for run in _all(runs, results, notes):
        if run.is_trial:
            trials += 1
            continue
        members = groups.setdefault(_identity(run.config), {})
        members.setdefault((run.seed, run.known), run)  # The same run may lie in both places.
    found = [Group(sorted(members.values(), key=lambda run: (run.known, run.seed))) for members in groups.values()]
    return found, trials, notes


def is_of(group: Group, words: str) -> bool:
    """Whether a group is of the row that `python -m experiments.run` with these words would give, with its task and
    pixels, whatever its other options."""
    row, *overrides = shlex.split(words)
    if group.row != row or not configs.is_row(row):
        return False
    task, pixels = _usual(row, tuple(overrides))
    return group.task == task and group.resolution == pixels


@lru_cache
def _usual(row: str, overrides: tuple[str, ...]) -> tuple[str, tuple[int, ...]]:
    config = configs.plain(configs.load(row, overrides))
    return config['task']['name'], resolution(config)


def matches(group: Group, words: str) -> bool:
    """Whether a group is what `python -m experiments.run` with these words would give, with no other option; seeds,
    proportions of known labels and places may be others."""
    if not is_of(group, words):
        return False
    return not differences(group.config, tuple(shlex.split(words)[1:])).keys() - {'task.known'}


def resolution(config: dict[str, Any]) -> tuple[int, ...]:
    """Pixels in training and in testing."""
    data = config['data']
    return data['image_size'], *(data.get('test_sizes') or [data['image_size']])


def _all(folders: Iterable[Path], results: Path | None, notes: list[str]) -> Iterator[Run]:
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder of runs '{folder}'")
        for _, out in readable(sorted(folder.rglob('result.json')), notes, partial(read_run, needed=NEEDED)):
            yield _run(out, out)
    if results is not None:
        if not results.is_dir():
            raise FileNotFoundError(f"there is no folder of results '{results}'")
        for _, out in readable(sorted(results.glob('*.json')), notes):
            if isinstance(out, dict) and 'config' in out and 'runs' in out:
                yield from (_run(out, one) for one in out['runs'] if 'metrics' in one)


def read_run(path: Path, needed: Iterable[str]) -> dict[str, Any]:
    """The content of a result.json.

    Args:
        path (Path): The file.
        needed (iterable of str): What it must hold, 'key' or 'key.key'.

    Raises:
        ConfigError: If it is not JSON or lacks some of that; with its name.
    """
    out = read_json(path)
    lacking = [key for key in needed if not _has(out, key)]
    if lacking:
        raise ConfigError(f"'{path}' is not what a run leaves: it lacks {', '.join(lacking)}")
    return out


def _has(values: Any, key: str) -> bool:
    for part in key.split('.'):
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return isinstance(values, dict) or key not in MAPPINGS


def readable(
    paths: Iterable[Path], notes: list[str], read: Callable[[Path], Any] = read_json
) -> Iterator[tuple[Path, Any]]:
    """Those of some files that can be read, with their contents; a note of each other one."""
    for path in paths:
        try:
            yield path, read(path)
        except ConfigError as error:
            notes.append(f'left out: {error}')


def _run(shared: dict[str, Any], one: dict[str, Any]) -> Run:
    where = {key: shared.get(key) or '' for key in ('score', 'evaluated_on')}
    return Run(one['seed'], one['metrics'], one.get('command') or '', shared['config'], **where)


def _identity(config: dict[str, Any]) -> str:
    """Every option that is not at its default, but those in which the runs of a group differ."""
    usual = configs.defaults()
    changed = {key: value for key, value in configs.flat(config).items() if value != usual.get(key)}
    return json.dumps({key: value for key, value in changed.items() if key not in SAME}, sort_keys=True)


def _look_up(values: Any, key: str) -> Any:
    for part in key.split('.', 1) if key.startswith('AP.') else key.split('.'):
        values = values.get(part) if isinstance(values, dict) else None
    return values

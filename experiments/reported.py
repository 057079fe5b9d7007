"""What a report reads: a finished run, the run that it is held against, the paper's row that it stands for."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from experiments import paper
from experiments import scores as score_files
from experiments.bootstrap import same_images
from experiments.common.errors import ConfigError
from experiments.config import load as configs
from experiments.finished import Group, Run, data_of, is_of, read_run

BASELINE = 'baseline'  # The value of model.name.
NEEDED = ('name', 'seed', 'score', 'ap', 'top3', 'metrics', 'images', 'config', 'evaluated_on')  # Of result.json.


@dataclass
class Reported:
    """A finished run, with its scores where they are still there.

    Attributes:
        out (dict): Its result.json.
        folder (Path): Its directory.
        scores (dict, optional): What scores.npz holds.
        missing (list[str]): What is gone, in words.
    """

    out: dict[str, Any]
    folder: Path
    scores: dict[str, np.ndarray] | None = None
    missing: list[str] = field(default_factory=list)

    @property
    def config(self) -> dict[str, Any]:
        return self.out['config']

    @property
    def name(self) -> str:
        return self.out['name']

    @property
    def class_names(self) -> list[str]:
        return list(self.out['metrics']['AP'])

    @cached_property
    def logits(self) -> np.ndarray:
        """The score that the run reports, [n, C]."""
        return self.scores[self.out['score']]

    @cached_property
    def p(self) -> np.ndarray:
        return expit(self.logits)

    @property
    def y(self) -> np.ndarray:
        return self.scores['y']

    @property
    def history(self) -> list[dict[str, Any]]:
        """One dictionary an epoch."""
        return self.out.get('history') or _history(self.folder / 'metrics.csv')

    def same_images(self, other: Reported) -> bool:
        """Whether both were evaluated on the same images with the same labels, as far as what is left can tell."""
        if self.scores is not None and other.scores is not None:
            return same_images(self.scores, other.scores)
        return self.class_names == other.class_names and _tested_on(self) == _tested_on(other)


def load(folder: Path) -> Reported:
    """Reads a run directory.

    Raises:
        ConfigError: If there is no finished run in it.
    """
    out = _result(folder)
    found = Reported(out, folder)
    try:
        scores = score_files.load_run(folder)
        _check(scores, found)
        found.scores = scores
    except score_files.NotComparable as error:
        found.missing.append(f'Curves, calibration, labels and pictures are left out, as {error}.')
    return found


def _result(folder: Path) -> dict[str, Any]:
    path = folder / 'result.json'
    if not path.is_file():
        unfinished = (folder / 'config.yaml').is_file()
        told = 'is not finished (python -m experiments.run --resume)' if unfinished else 'is not the directory of a run'
        raise ConfigError(f"'{folder}' {told}: it has no result.json")
    return read_run(path, NEEDED)


def find_baseline(run: Reported) -> Reported | None:
    """The finished baseline run beside a run that was evaluated on the same images: of the same task, the same seed if
    there is one, and the fewest other options."""
    if run.config['model']['name'] == BASELINE:
        return None
    found = []
    for path in sorted(run.folder.resolve().parent.parent.glob('*/*/result.json')):
        try:
            other = Reported(_result(path.parent), path.parent)
        except ConfigError:
            continue  # It is another's to report.
        if other.config['model']['name'] != BASELINE or _task(other) != _task(run):
            continue
        other = load(path.parent)  # Its scores may be many.
        if not run.same_images(other):
            continue
        mine, theirs = configs.flat(run.config), configs.flat(other.config)
        apart = sum(
            theirs.get(key) != value
            for key, value in mine.items()
            if key != 'data.root' and not key.startswith('model.')
        )
        found.append((other.out['seed'] != run.out['seed'], apart, str(path), other))
    return min(found)[-1] if found else None


@dataclass(frozen=True)
class PaperRow:
    """What the paper has for a run: metric -> value, `AP.class` for the AP of a class."""

    table: str
    method: str
    values: dict[str, float]


def paper_rows(run: Reported) -> list[PaperRow]:
    """The rows of the paper's tables that a run stands for: its data set, task and pixels."""
    out = run.out
    group = Group([Run(out['seed'], out['metrics'], '', run.config)])
    found = []
    for table in paper.load().values():
        for section in table.sections:
            if section.data != data_of(run.config) or table.task not in ('full', 'partial'):
                continue
            keys = dict(zip(section.columns, [f'AP.{name}' for name in section.classes]))
            for row in section.rows:
                if not row.fill or not is_of(group, row.fill):
                    continue
                values = {keys.get(column, column): value for column, value in row.values.items() if value is not None}
                if table.task == 'partial':
                    known = f'{100 * group.runs[0].known:g}'
                    values = {'mAP': values[known]} if known in values else {}
                if values:
                    found.append(PaperRow(table.title, row.name, values))
    return found


def _check(scores: dict[str, np.ndarray], run: Reported) -> None:
    """Raises:
    NotComparable: If the scores are not those that result.json is about."""
    path = run.folder / 'scores.npz'
    lacking = [key for key in ('index', 'y', run.out['score']) if key not in scores]
    if lacking:
        raise score_files.NotComparable(f"'{path}' lacks '{lacking[0]}'")
    shape = scores['y'].shape
    if shape != scores[run.out['score']].shape or shape[1:] != (len(run.class_names),):
        told = f'{len(run.class_names)} classes (got {list(shape)})'
        raise score_files.NotComparable(f"'{path}' does not hold labels and scores of {told}")


def _task(run: Reported) -> tuple:
    task = run.config.get('task', {})
    return tuple(str(task.get(key)) for key in ('name', 'known', 'mask_seed', 'novel', 'num_novel', 'novel_seed'))


def _tested_on(run: Reported) -> dict[str, Any]:
    kept = ('name', 'labels', 'test_split', 'train_split', 'dev', 'limit', 'test_limit', 'difficult', 'test_images')
    return {key: run.config['data'].get(key) for key in kept} | {'data': data_of(run.config)}


def _history(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(newline='') as file:
            rows = list(csv.DictReader(file))
        return [{key: float(value) for key, value in row.items() if value} for row in rows]
    except (OSError, ValueError):
        return []

"""Finished few-shot experiments (`few_shot.json`) as lines of the paper's Table VI."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.novel.results import FEW_SHOT, read_few_shot
from experiments.paper.match import shared_words
from experiments.paper.published import Section
from experiments.paper.tables import Line, told_apart
from mlsgm_pyg.app.common.files import read_json
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.config.words import differences
from mlsgm_pyg.app.results.groups import Group, walk
from mlsgm_pyg.app.results.run import is_trial
from mlsgm_pyg.app.results.settings import changed, data_of, setting_of

RUN = 'python -m experiments.few_shot'
METHODS = {'linear': 'linear classifier, same maps', 'scratch': 'same head without stage one'}


@dataclass
class FewShot:
    """One finished experiment: every method over all draws."""

    out: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> FewShot:
        """Reads a few_shot.json."""
        return cls(read_few_shot(path))

    @classmethod
    def of_results(cls, path: Path) -> FewShot | None:
        """Reads a file of `results/`; None where it is of another kind."""
        out = read_json(path)
        return cls(read_few_shot(path)) if isinstance(out, dict) and out.get('task') == 'few_shot' else None

    @property
    def config(self) -> dict[str, Any]:
        return self.out['config']

    @property
    def data(self) -> str:
        return data_of(self.config)

    @property
    def novel(self) -> list[str]:
        return self.out['classes']['novel']

    @property
    def shots(self) -> list[str]:
        return [str(point['shots']) for point in self.out['summary']]

    def lines(self) -> list[Line]:
        """One line a method: mean and standard deviation over the draws."""
        lines: dict[str, Line] = {}
        for point in self.out['summary']:
            for method, found in point['methods'].items():
                draws = len(found['values'])
                setting = f'{self.setting(found)}, {len(self.novel)} novel classes, {draws} draws'
                name = f'{self.out["name"]}: {METHODS.get(method, method)}'
                line = lines.setdefault(method, Line('ours', name, setting, {}))
                line.values[str(point['shots'])] = found['mAP'], found['std'] if draws > 1 else None
        return list(lines.values())

    def setting(self, found: dict[str, Any]) -> str:
        """The backbone, pixels, evaluated score and images of a method, and what is not the row's, in words."""
        score, where = found.get('score', ''), self.out.get('evaluated_on', '')
        said = [setting_of(self.config)]
        said += [f'{score} score'] if score not in ('', 'logits') else []
        said += [f'on {where}'] if where not in ('', 'test', 'val') else []
        return ', '.join(said) + changed(self.config)

    @property
    def fingerprint(self) -> str:
        """Tells apart what reads alike."""
        return hashlib.sha256(json.dumps([self.config, self.novel], sort_keys=True).encode()).hexdigest()[:8]


def lines_of(mine: list[FewShot]) -> list[Line]:
    """The lines of several experiments; those that read alike get a hash of their options."""
    return told_apart([(line, one.fingerprint) for one in mine for line in one.lines()])


def collect(folders: Sequence[Path], results: Path | None) -> tuple[list[FewShot], int, list[str]]:
    """All few-shot experiments under some folders of runs and in a folder of results, each once; how many were left out
    because they saw a part of the images only; and, in words, which because their files are damaged."""
    notes: list[str] = []
    every = [*walk(folders, notes, f'**/{FEW_SHOT}', FewShot.read)]
    every += [*walk([results], notes, '*.json', FewShot.of_results)] if results else []
    found, trials = {}, 0
    for one in filter(None, every):
        if is_trial(one.config):
            trials += 1
        else:
            found.setdefault(json.dumps([one.config, one.out['summary']], sort_keys=True), one)
    return list(found.values()), trials, notes


def columns_of(section: Section, mine: list[FewShot]) -> list[str]:
    """The paper's numbers of shots, and further ones that it does not have."""
    further = {number for one in mine for number in one.shots} - set(section.columns)
    return [*section.columns, *sorted(further, key=int)]


def missing(words: str, mine: list[FewShot], columns: Iterable[str]) -> str | None:
    """The command that fills a row of the paper, unless an experiment without other options has all of it."""
    row, *options = shlex.split(words)
    given = ('task=few_shot', *options)
    task = configs.load(row, given).task
    for one in mine:
        same = sorted(one.novel) == sorted(task.novel) if task.novel else len(one.novel) == task.num_novel
        if same and one.config['row'] == row and not _others(one.config, given):
            points = {str(point['shots']): point['methods'].get('ml_sgm', {}) for point in one.out['summary']}
            if all(len(points.get(column, {}).get('values', [])) >= task.draws for column in columns):
                return None
    return f'{RUN} {shlex.join([row, *options])}'


def _others(config: dict[str, Any], given: tuple[str, ...]) -> set[str]:
    """The options, beside those that say what was drawn, that are not the row's."""
    drawn = {'task.shots', 'task.draws', 'task.methods', 'task.novel', 'task.num_novel', 'task.novel_seed', 'task.name'}
    return differences(config, given).keys() - drawn


def could_be(data: str, groups: list[Group], mine: list[FewShot]) -> list[tuple[str, str]]:
    """For own data with runs on all labels: the few-shot row of their row, or a fifth of the classes as novel ones, as
    the paper's 16 of 80."""
    out = {}
    for group in groups:
        if not configs.is_row(group.row):
            continue
        options = shared_words(group.options)
        classes = group.runs[0].class_names
        number, row = round(len(classes) / 5), f'{group.row}_few_shot'
        is_model = group.options['model']['name'] == 'ml_sgm' and group.options['semantics']['source'] != 'onehot'
        if group.task == 'full' and is_model and number > 0 and not mine:
            has_row = configs.is_row(row) and set(configs.load(row).task.novel) <= set(classes)
            words = [row, *options] if has_row else [group.row, *options, f'task.num_novel={number}']
            out[group.row] = f'{RUN} {shlex.join(words)}'
    return [(f'Table VI, {data}, {row}', command) for row, command in out.items()]

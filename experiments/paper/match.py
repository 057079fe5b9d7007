"""Which rows of the paper's tables a run stands for."""

from __future__ import annotations

import shlex
from functools import lru_cache
from pathlib import Path
from typing import Any

from experiments.paper import published
from mlsgm_pyg.app.common.files import read_json, write_json
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.config.words import differences, words_of
from mlsgm_pyg.app.results.run import FILE, Run
from mlsgm_pyg.app.results.schema import PaperRow
from mlsgm_pyg.app.results.settings import data_of, resolution

DROPPED = ('seeds=', 'seed=', 'task=', 'task.', 'name=')  # Options of a run that another task's does not share.


def is_of(run: Run, words: str) -> bool:
    """Whether a run is of the row that `python -m experiments.run` with these words would give, with its task and
    pixels, whatever its other options."""
    row, *overrides = shlex.split(words)
    if run.row != row or not configs.is_row(row):
        return False
    return (run.task, resolution(run.options)) == _usual(row, tuple(overrides))


def matches(run: Run, words: str) -> bool:
    """Whether a run is what `python -m experiments.run` with these words would give, with no other option; seeds,
    proportions of known labels and places may be others."""
    if not is_of(run, words):
        return False
    return not differences(run.options, tuple(shlex.split(words)[1:])).keys() - {'task.known'}


def shared_words(options: dict[str, Any]) -> list[str]:
    """The options in words that runs of the same row under another task, or proportion of known labels, share."""
    return [word for word in words_of(options)[1:] if not word.startswith(DROPPED)]


def paper_rows(run: Run) -> list[PaperRow]:
    """The rows of the paper's tables that a run stands for: its data set, task and pixels."""
    found = []
    for table in published.load().values():
        for section in table.sections:
            if section.data != data_of(run.options) or table.task not in ('full', 'partial'):
                continue
            keys = dict(zip(section.columns, [f'AP.{name}' for name in section.classes]))
            for row in section.rows:
                if not row.fill or not is_of(run, row.fill):
                    continue
                values = {keys.get(column, column): value for column, value in row.values.items() if value is not None}
                if table.task == 'partial':
                    known = f'{100 * run.known:g}'
                    values = {'mAP': values[known]} if known in values else {}
                if values:
                    found.append({'table': table.title, 'method': row.name, 'values': values})
    return found


def note_rows(folder: Path) -> None:
    """Writes the rows of the paper that a finished run stands for into its result.json, where reports find them."""
    run = Run.read(folder)
    if (rows := paper_rows(run)) != run.result['paper']:
        write_json(folder / FILE, read_json(folder / FILE) | {'paper': rows})


@lru_cache
def _usual(row: str, overrides: tuple[str, ...]) -> tuple[str, tuple[int, ...]]:
    config = configs.plain(configs.load(row, overrides))
    return config['task']['name'], resolution(config)

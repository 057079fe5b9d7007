"""Sweeps, few-shot and zero-shot experiments as the small files of `results/`, and as the tables of docs/results.md."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.novel import shot_tables
from experiments.novel.results import FEW_SHOT, ZERO_SHOT, read_few_shot, read_zero_shot
from experiments.sweeps import tables as sweep_tables
from mlsgm_pyg.app.common.files import read_json

FOLDERS = ('runs_dir', 'features.dir')  # Options of a command that say where, not what.


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """The name and the small form of what `experiments.sweep`, `experiments.few_shot` or `experiments.zero_shot`
    wrote."""
    out = read_json(path)
    if is_sweep(out):
        return path.stem, portable(out)
    if path.name == FEW_SHOT or is_few_shot(out):
        out = read_few_shot(path)
        draws = [made | {'methods': _short(made['methods'])} for made in out['draws']]
        return f'{out["name"]}-{path.parent.name}', portable(out | {'draws': draws})
    if path.name == ZERO_SHOT or is_zero_shot(out):
        return f'{out["name"]}-{path.parent.name}', portable(read_zero_shot(path))
    raise ValueError(f"'{path}' is neither a sweep nor a few_shot.json or zero_shot.json: a run is named by its folder")


def _short(methods: dict[str, Any]) -> dict[str, Any]:
    """A draw's numbers without those of every class."""
    return {name: {key: value for key, value in found.items() if key != 'AP'} for name, found in methods.items()}


def is_sweep(out: Any) -> bool:
    return isinstance(out, dict) and {'points', 'average', 'swept'} <= set(out)


def is_few_shot(out: Any) -> bool:
    return isinstance(out, dict) and out.get('task') == 'few_shot' and {'summary', 'draws'} <= set(out)


def is_zero_shot(out: Any) -> bool:
    return isinstance(out, dict) and out.get('task') == 'zero_shot' and {'methods', 'chance'} <= set(out)


def portable(value: Any, key: str = '') -> Any:
    """The same without this machine's folders: an absolute path is its last part in 'PATH', in commands, too."""
    if isinstance(value, dict):
        return {name: portable(part, name) for name, part in value.items()}
    if isinstance(value, list):
        return [portable(part) for part in value]
    if not isinstance(value, str):
        return value
    if key == 'command':
        return shlex.join(_word(word) for word in shlex.split(value) if not _is_folder(word))
    if key in ('runs_dir', 'dir') and Path(value).is_absolute():
        return ''
    return _path(value)


def _word(word: str) -> str:
    key, equals, value = word.partition('=')
    return f'{key}={_path(value)}' if equals else _path(word)


def _path(value: str) -> str:
    if Path(value).is_absolute():
        return f'PATH/{Path(value).name}'
    return re.sub(r"(?<=')/[^']*/(?=[^'/]+')", 'PATH/', value)  # In a sentence, between quotes.


def _is_folder(word: str) -> bool:
    key, _, value = word.partition('=')
    return key in FOLDERS and Path(value).is_absolute()


def markdown(out: dict[str, Any]) -> str:
    """The table of a sweep, a few-shot or a zero-shot experiment; nothing of anything else."""
    if is_sweep(out):
        found = sweep_tables.table(out, count=False)
    elif is_few_shot(out):
        found = shot_tables.few_shot(out)
    elif is_zero_shot(out):
        found = shot_tables.zero_shot(out)
    else:
        return ''
    return found.markdown(' --- ')


def sweeps(found: Iterable[dict[str, Any]]) -> str:
    """All sweeps of a folder of results, one table each."""
    blocks = []
    for out in found:
        seeds = sorted({seed for point in out['points'] for runs in point['runs'].values() for seed in runs['seeds']})
        told = f'mAP on `{out["evaluated_on"]}`, {_seeds(seeds)}; intervals over images.'
        blocks.append(f'{told}\n\n{markdown(out)}\n\n{facts(out["made_by"], [out["command"]])}')
    return '\n\n'.join(blocks) or 'No finished sweeps yet.'


def few_shots(found: Iterable[dict[str, Any]]) -> str:
    """All few-shot experiments of a folder of results, one table each."""
    blocks = []
    for out in found:
        classes = out['classes']
        told = (
            f'`{out["name"]}`: mAP of {len(classes["novel"])} novel classes ({", ".join(classes["novel"])}) on '
            f'`{out["evaluated_on"]}`, {len(classes["base"])} base classes; mean ± standard deviation over draws '
            '(their number), intervals over draws.'
        )
        commands = [by['command'] for by in out.get('made_by', [])] or [out['command']]
        blocks.append(f'{told}\n\n{markdown(out)}\n\n{facts([out], commands)}')
    return '\n\n'.join(blocks) or 'No finished few-shot experiments yet.'


def zero_shots(found: Iterable[dict[str, Any]]) -> str:
    """All zero-shot experiments of a folder of results, one table each."""
    blocks = []
    for out in found:
        unseen, seen = out['classes']['unseen'], out['classes']['seen']
        near = '; '.join(f'{name}: {shot_tables.weights(found)}' for name, found in out['nearest'].items())
        told = (
            f'`{out["name"]}`: {len(unseen)} labels that were never trained ({", ".join(unseen)}) beside {len(seen)} '
            f'trained ones on `{out["evaluated_on"]}`; {_seeds(out["seeds"])}, intervals over images. '
            f'Nearest by word: {near}.'
        )
        commands = [one['command'] for one in out['stage_one'] if 'command' in one] + [out['command']]
        blocks.append(f'{told}\n\n{markdown(out)}\n\n{facts([out], commands)}')
    return '\n\n'.join(blocks) or 'No finished zero-shot experiments yet.'


def facts(made_by: Iterable[dict[str, Any]], commands: Iterable[str], names: Iterable[str] = ()) -> str:
    """The hardware, the versions and the commands behind a table; with names, which rows each machine made."""
    lines: dict[str, list[str]] = {}
    for by, name in itertools.zip_longest(made_by, names):
        versions = ', '.join(f'{key} {value}' for key, value in by['versions'].items())
        line = f'{by["hardware"]["device"]}, {by["hardware"]["cores"]} cores; {versions}.'
        lines.setdefault(line, []).append(f'`{name}`')
    if names and len(lines) > 1:
        told = [f'- {", ".join(dict.fromkeys(rows))}: {line}' for line, rows in lines.items()]
    else:
        told = list(lines)
    return '\n'.join([*told, '', '```bash', *dict.fromkeys(commands), '```'])


def _seeds(seeds: list[int]) -> str:
    if len(seeds) == 1:
        return f'seed {seeds[0]}'
    return f'mean ± standard deviation over seeds {", ".join(map(str, seeds))}'

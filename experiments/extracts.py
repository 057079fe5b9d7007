"""Sweeps, few-shot and zero-shot experiments as the small files of `results/`, and as the README's tables."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.common.files import read_json
from experiments.common.text import interval, mean_sd, spread
from experiments.results.novel import FEW_SHOT, ZERO_SHOT, read_few_shot, read_zero_shot
from experiments.show_unseen import METHODS

FOLDERS = ('runs_dir', 'features.dir')  # Options of a command that say where, not what.


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """The name and the small form of what `experiments.sweep`, `experiments.few_shot` or `experiments.zero_shot` wrote.

    Raises:
        ValueError: If the file holds neither.
    """
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


def sweep_table(out: dict[str, Any]) -> str:
    """A line a point, then the average, in Markdown."""
    first, *others = out['rows']
    keys = [key.removeprefix('task.') for key in out['swept']]
    head = [*keys, *(f'`{row}`' for row in out['rows']), *(f'gain over `{row}` [95 % interval]' for row in others)]
    lines = [head, ['---'] * len(head)]
    for point in out['points']:
        values = [f'{value:g}' if isinstance(value, float) else str(value) for value in point['values'].values()]
        cells = [spread(mean_sd(point['runs'][row]['mAP'])) for row in out['rows']]
        lines.append([*values, *cells, *(interval(point['gains'].get(other)) for other in others)])
    average = out['average']
    cells = [f'{average["mAP"][row]:.2f}' for row in out['rows']]
    gains = [interval(average['gains'].get(other)) for other in others]
    lines.append(['average', *[''] * (len(keys) - 1), *cells, *gains])
    return _markdown(lines)


def few_shot_table(out: dict[str, Any]) -> str:
    """A line for each number of examples: every method's mean and spread, and the paired differences, in Markdown."""
    methods = list(dict.fromkeys(method for point in out['summary'] for method in point['methods']))
    first = out['first']
    others = [method for method in methods if method != first]
    head = ['examples', *(f'`{m}`' for m in methods), *(f'`{first}` - `{m}` [95 % interval]' for m in others)]
    lines = [head, ['---'] * len(head)]
    for point in out['summary']:
        cells = [over_draws(point['methods'].get(method)) for method in methods]
        gains = point['gains'] if next(iter(point['methods'])) == first else {}
        lines.append([str(point['shots']), *cells, *(paired_told(gains.get(other)) for other in others)])
    return _markdown(lines)


def zero_shot_table(out: dict[str, Any]) -> str:
    """A line for each method, and one for chance, in Markdown."""
    head = ['scores of the unseen labels', 'unseen, mAP', 'seen, mAP', 'harmonic mean']
    head += ['unseen, over the score of the nearest label [95 % interval]']
    lines = [head, ['---'] * len(head)]
    for method, found in out['methods'].items():
        cells = [spread(mean_sd(found[part]['values'])) for part in ('unseen', 'seen', 'harmonic')]
        lines.append([METHODS[method], *cells, interval(out['gains'].get(method))])
    lines.append(['chance', *(f'{out["chance"][part]:.2f}' for part in ('unseen', 'seen')), '', ''])
    return _markdown(lines)


def sweeps(found: Iterable[dict[str, Any]]) -> str:
    """All sweeps of a folder of results, one table each."""
    blocks = []
    for out in found:
        seeds = sorted({seed for point in out['points'] for runs in point['runs'].values() for seed in runs['seeds']})
        told = f'mAP on `{out["evaluated_on"]}`, {_seeds(seeds)}; intervals over images.'
        blocks.append(f'{told}\n\n{sweep_table(out)}\n\n{facts(out["made_by"], [out["command"]])}')
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
        blocks.append(f'{told}\n\n{few_shot_table(out)}\n\n{facts([out], commands)}')
    return '\n\n'.join(blocks) or 'No finished few-shot experiments yet.'


def zero_shots(found: Iterable[dict[str, Any]]) -> str:
    """All zero-shot experiments of a folder of results, one table each."""
    blocks = []
    for out in found:
        unseen, seen = out['classes']['unseen'], out['classes']['seen']
        near = '; '.join(f'{name}: {_near(found)}' for name, found in out['nearest'].items())
        told = (
            f'`{out["name"]}`: {len(unseen)} labels that were never trained ({", ".join(unseen)}) beside {len(seen)} '
            f'trained ones on `{out["evaluated_on"]}`; {_seeds(out["seeds"])}, intervals over images. '
            f'Nearest by word: {near}.'
        )
        commands = [one['command'] for one in out['stage_one'] if 'command' in one] + [out['command']]
        blocks.append(f'{told}\n\n{zero_shot_table(out)}\n\n{facts([out], commands)}')
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


def _markdown(lines: list[list[str]]) -> str:
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def over_draws(found: dict[str, Any] | None) -> str:
    """Mean, deviation and number of draws; nothing where there is none."""
    return f'{spread((found["mAP"], found["std"]))} ({len(found["values"])})' if found else ''


def paired_told(found: dict[str, Any] | None) -> str:
    """A paired difference with its interval and in how many draws the first was ahead; nothing where there is none."""
    return f'{interval(found)}, ahead in {found["ahead"]} of {found["draws"]}' if found else ''


def _near(found: dict[str, float]) -> str:
    return ', '.join(f'{name} {weight:.2f}' for name, weight in found.items())


TABLES = ((is_sweep, sweep_table), (is_few_shot, few_shot_table), (is_zero_shot, zero_shot_table))

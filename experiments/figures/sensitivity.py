"""Figure 8: how mAP depends on gamma, the number of blocks, their width, beta, k of kNN and the threshold of the boxes.

    python -m experiments.figure 8 coco18 data.root=PATH                what is finished, and the commands for the rest
    python -m experiments.figure 8 coco18 data.root=PATH seeds=0,1 --run --jobs 2         trains what is missing, first
    python -m experiments.figure 8 coco18 model.gamma=0.1,0.3,0.5 --parameters gamma      other values, one parameter
    python -m experiments.figure 8 runs/sweeps/NAME.json ...                              any finished sweeps

Each parameter takes four values beside which all is as the row has it; points are means over the seeds, bars span them.
Blocks go on as the row's first block and end with its last. The width is that of messages and blocks, scaled together.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import plan, processes
from experiments.figures.page import PALE, Page
from experiments.figures.parameters import PARAMETERS, Parameter, sweeps_of
from experiments.plan import Planned
from experiments.sweeps import curve
from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import read_json
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.results.run import FILE, Run

COLOURS = ('#c62828', '#1f4fbf', '#2e7d32', '#8e24aa')
PANEL, HEIGHT, COLUMNS = 2.7, 2.35, 3


class Panel(NamedTuple):
    """One picture: mAP of each seed at each value, for each row."""

    name: str
    title: str
    ticks: list[str]
    rows: dict[str, list[list[float]]]  # Row -> mAP of the seeds at each value; empty where nothing is finished.
    own: int | None = None  # The place of the row's own value.
    evaluated_on: str = ''


def arguments(parser: argparse.ArgumentParser) -> None:
    help = 'a row and its options as in experiments.run, or JSON files of sweeps'
    parser.add_argument('words', nargs='+', metavar='ROW | key=value | FILE', help=help)
    parser.add_argument('--parameters', nargs='+', metavar='NAME', help=f'of {", ".join(PARAMETERS)} (default: all)')
    parser.add_argument('--run', action='store_true', help='train what is missing')
    parser.add_argument('--jobs', type=int, default=1, metavar='N', help='so many runs at a time (default: 1)')


def make(args: argparse.Namespace) -> Iterator[tuple[str, Figure]]:
    if args.jobs < 1:
        raise ConfigError(f'--jobs must be at least 1 (got {args.jobs})')
    if any(word.endswith('.json') for word in args.words):
        panels = [of_sweep(Path(word)) for word in args.words]
    else:
        sweeps = sweeps_of(args.words, args.parameters)
        if args.run:
            _run(sweeps, args.jobs)
        panels = [read(name, words) for name, words in sweeps.items()]
    panels = [panel for panel in panels if any(any(values) for values in panel.rows.values())]
    for panel in panels:
        yield f'figure8-{panel.name}', draw([panel])
    if len(panels) > 1:
        yield 'figure8', draw(panels)


def _run(sweeps: dict[str, list[str]], jobs: int) -> None:
    """Trains what is missing; says how long that took."""
    from experiments.sweeps import run as sweep  # Lightning takes seconds: finished sweeps are drawn without it.

    start, planned = time.monotonic(), [run for words in sweeps.values() for run in planned_of(words)]
    wanted = {configs.run_dir(config): (config, command) for _, config, command in planned}
    missing = sum(not (folder / FILE).is_file() for folder in wanted)
    if jobs > 1:
        processes.train_all(list(wanted.values()), jobs)
    for words in sweeps.values():
        sweep.run(planned_of(words), cli.typed('python -m experiments.sweep', words), together='--together' in words)
    minutes = (time.monotonic() - start) / 60
    print(
        f'Figure 8: {len(sweeps)} parameters, {len(wanted)} runs, {missing} of them trained now in {minutes:.1f} '
        f'minutes of wall time ({jobs} at a time, {os.cpu_count()} cores)'
    )


def planned_of(words: list[str]) -> list[Planned]:
    return plan.plan([word for word in words if word != '--together'], '--together' in words)


def read(name: str, words: list[str]) -> Panel:
    """What is finished of a parameter's sweep; prints the command for what is not."""
    planned, parameter = planned_of(words), PARAMETERS[name]
    key = parameter.options[0]
    values = list(dict.fromkeys(found[key] for found, *_ in planned))
    kept = _kept(planned)
    points: list[list[float]] = [[] for _ in values]
    lacking, evaluated = 0, ''
    for found, config, _ in planned:
        out = _result(config) or kept.get((json_key(found), config.seed))
        if out is None:
            lacking += 1
            continue
        evaluated = out['evaluated_on']
        points[values.index(found[key])].append(out['mAP'])
    if lacking:
        command = cli.typed('python -m experiments.sweep', words)
        print(f'{name}: {lacking} of {len(planned)} runs are missing:\n  {command}')
    row = planned[0][1].row
    usual = configs.load(
        row, [word for word in words[1:] if '=' in word and word.partition('=')[0] not in parameter.options]
    )
    own = plan.value_of(usual, key)
    place = values.index(own) if own in values else None
    return Panel(name, parameter.title, [parameter.shown(value) for value in values], {row: points}, place, evaluated)


def _result(config: Any) -> dict[str, Any] | None:
    folder = configs.run_dir(config)
    return Run.read(folder).result if (folder / FILE).is_file() else None


def json_key(values: dict[str, Any]) -> tuple:
    return tuple(sorted((key, str(value)) for key, value in values.items()))


def _kept(planned: list[Planned]) -> dict[tuple, dict[str, Any]]:
    """The results that the sweep's own JSON file holds, by values and seed: it may be all that is left of its runs."""
    row, swept = planned[0][1].row, list(planned[0][0])
    path = Path(planned[0][1].runs_dir) / 'sweeps' / curve.file_name(row, swept, [config for _, config, _ in planned])
    if not path.is_file():
        return {}
    out = read_json(path)
    return {
        (json_key(point['values']), seed): {'mAP': mean, 'evaluated_on': out['evaluated_on']}
        for point in out['points']
        for seed, mean in zip(point['runs'][row]['seeds'], point['runs'][row]['mAP'])
    }


def of_sweep(path: Path) -> Panel:
    """The picture of any sweep over one option, or over several that change together."""
    if not path.is_file():
        raise ConfigError(f"there is no sweep '{path}'")
    out = read_json(path)
    if not (isinstance(out, dict) and {'swept', 'points', 'rows'} <= out.keys()):
        raise ConfigError(f"'{path}' is not what experiments.sweep writes: it lacks swept, points or rows")
    key, *others = out['swept']
    if others and not out.get('together'):
        raise ConfigError(f"a picture is of one parameter, '{path}' is a grid of {', '.join(out['swept'])}")
    names = [name for name, parameter in PARAMETERS.items() if list(parameter.options) == list(out['swept'])]
    parameter = PARAMETERS[names[0]] if names else Parameter(key, (key,), list)
    rows = {row: [point['runs'][row]['mAP'] for point in out['points']] for row in out['rows']}
    ticks = [parameter.shown(point['values'][key]) for point in out['points']]
    return Panel(names[0] if names else key, parameter.title, ticks, rows, None, out['evaluated_on'])


def draw(panels: list[Panel]) -> Figure:
    columns = min(COLUMNS, len(panels))
    page = Page(columns * PANEL + 0.1, -(-len(panels) // columns) * HEIGHT + 0.1)
    every = [value for panel in panels for points in panel.rows.values() for seeds in points for value in seeds]
    margin = 0.12 * (max(every) - min(every)) or 1.0
    for place, panel in enumerate(panels):
        left, top = 0.1 + PANEL * (place % columns), 0.1 + HEIGHT * (place // columns)
        axes = page.axes(left + 0.5, top + 0.25, PANEL - 0.65, HEIGHT - 0.8)
        mark = f'({chr(97 + place)}) ' if len(panels) > 1 else ''
        axes.set_title(f'{mark}{panel.title}', fontsize=9, loc='left')
        axes.set_ylim(min(every) - margin, max(every) + margin)
        _curves(axes, panel)
    return page.figure


def _curves(axes: Axes, panel: Panel) -> None:
    for colour, (row, points) in zip(COLOURS * len(panel.rows), panel.rows.items()):
        there = [place for place, seeds in enumerate(points) if seeds]
        means = [statistics.mean(points[place]) for place in there]
        below = [mean - min(points[place]) for mean, place in zip(means, there)]
        above = [max(points[place]) - mean for mean, place in zip(means, there)]
        axes.errorbar(
            there, means, (below, above), color=colour, marker='o', markersize=4, linewidth=1.2, capsize=3, label=row
        )
        for place in there:
            if len(points[place]) > 1:
                axes.plot([place] * len(points[place]), points[place], '.', color=colour, markersize=3, alpha=0.5)
    if panel.own is not None:
        axes.axvline(panel.own, color=PALE, linewidth=0.8, linestyle=':', zorder=0)
    axes.set_xticks(range(len(panel.ticks)), panel.ticks)
    axes.set_xlim(-0.4, len(panel.ticks) - 0.6)
    axes.set_xlabel(f'{panel.title}; dotted: the row’s own' if panel.own is not None else panel.title, fontsize=7)
    axes.set_ylabel(f'mAP ({panel.evaluated_on}, %)', fontsize=7)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25, linewidth=0.5)
    if len(panel.rows) > 1:
        axes.legend(fontsize=6.5, frameon=False)

"""The first part of a report: what ran and how to run it again, metrics beside others', learning curves."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments import analysis, charts
from experiments.bootstrap import FIGURES, NotComparable, Resamples
from experiments.common.errors import ConfigError
from experiments.common.text import counted
from experiments.config.words import differences, words_of, written
from experiments.finished import setting_of
from experiments.page import Cell, Column, Markup, command, facts, join, note, number, table, tag
from experiments.reported import PaperRow, Reported

METRICS = {key: key.replace('top3_', 'top-3 ') for key in FIGURES}
CELLS = 10**8  # Resamples times images times classes: some seconds.


def title(run: Reported) -> str:
    return f'{run.name}, seed {run.out["seed"]}'


def about(run: Reported) -> str:
    """What ran, in one line."""
    out, task = run.out, run.config.get('task', {})
    told = {'partial': f', {100 * task.get("known", 1):g} % of the labels known', 'few_shot': ', base classes alone'}
    images = f'{counted(out["images"]["test"], "image")} ({out["evaluated_on"]})'
    return (
        f'{run.config["model"]["name"]}, {setting_of(run.config)}{told.get(task.get("name"), "")}, tested on {images}'
    )


def overview(run: Reported, against: Reported | None, rows: Sequence[PaperRow], missing: Sequence[str]) -> Markup:
    """What ran, how to run it again, the metrics beside the baseline's and the paper's, learning curves."""
    parts = [note(told) for told in missing]
    parts += [_tiles(run, against), _gain(run, against)]
    sides = ('Metrics', _metrics(run, against, rows)), ('Learning curves', _learning(run, against))
    parts.append(tag('div', *(tag('div', tag('h2', head), side) for head, side in sides), class_='columns'))
    parts += [tag('h2', 'Run it again'), _again(run)]
    return join(parts)


def _tiles(run: Reported, against: Reported | None) -> Markup:
    tiles = []
    for key in ('mAP', 'CF1', 'OF1'):
        value, other = run.out['metrics'][key], against.out['metrics'].get(key) if against else None
        beside = None
        if other is not None and value is not None:
            beside = tag('span', signed(value - other), f' against {against.name}')
        tiles.append(_tile(number(value, 2), METRICS[key], beside))
    if run.scores is not None:
        tiles.append(_tile(f'{analysis.calibration(run.p, run.y).error:.3f}', 'calibration error'))
    if 'instances_per_image' in run.out and run.out['instances_per_image']:
        tiles.append(_tile(number(run.out['instances_per_image'], 2), 'instances an image'))
    return tag('div', *tiles, class_='tiles')


def _tile(value: str, name: str, beside: Markup | None = None) -> Markup:
    return tag('div', tag('span', name), tag('b', value), beside, class_='tile')


def _gain(run: Reported, against: Reported | None) -> Markup | None:
    """The difference in mAP with its interval, where both have scores of the same images."""
    if against is None or run.scores is None or against.scores is None:
        return None
    resamples = int(np.clip(CELLS / max(run.y.size, 1), 100, 1000))
    sides = [[one.out | {'folder': str(one.folder), 'scores': one.scores, 'seed': None}] for one in (run, against)]
    try:
        found = Resamples(resamples).gain(*sides)  # Of any two seeds: the line names them.
    except NotComparable as error:
        return tag('p', f'No interval of the difference: {error}.')
    gain, low, high = (number(found[key], 2, signed=True) for key in ('difference', 'low', 'high'))
    return tag(
        'p',
        f'Difference in mAP to {title(against)}: {gain}, 95 % interval [{low}, {high}] (paired bootstrap over '
        f'{counted(found["images"], "image")}, {resamples:,} resamples).',
    )


def _metrics(run: Reported, against: Reported | None, rows: Sequence[PaperRow]) -> Markup:
    columns = [Column('percent'), Column(run.name, 2)]
    columns += [Column(f'{against.name}, seed {against.out["seed"]}', 2), Column('difference', 2)] if against else []
    columns += [Column(f'paper, {row.table}: {row.method}', 1) for row in rows]
    body = []
    for key, name in METRICS.items():
        value, other = run.out['metrics'][key], against.out['metrics'].get(key) if against else None
        line: list[Any] = [name, value]
        if against:
            apart = None if value is None or other is None else value - other
            line += [other, Cell(signed(apart), apart)]
        body.append(line + [row.values.get(key) for row in rows])
    others = [f'{name} {value:.2f}' for name, value in run.out.get('mAP_by_score', {}).items()]
    kinds = f'mAP by score: {", ".join(others)}; reported is {run.out["score"]}. ' if len(others) > 1 else ''
    rest = {
        'threshold': 'top-3: the three highest labels of at least 0.5.',
        'plain': 'top-3: the three highest labels.',
    }
    ap = run.out['ap'].replace('_', '-')
    said = f'{kinds}AP {ap}; labels count from a probability of 0.5 on; {rest.get(run.out["top3"], "")}'
    return join([table(columns, body, filter=False), tag('p', said, class_='soft')])


def _learning(run: Reported, against: Reported | None) -> Markup:
    history = run.history
    if not history:
        return note('There is no history of epochs any more (metrics.csv).')
    kinds = [key for key in history[-1] if key.endswith('_mAP')]  # One a score; a model with one score has none.
    named = {key: key.removesuffix('_mAP') for key in kinds} if len(kinds) > 1 else {'mAP': run.name}
    series = [_series(name, history, key) for key, name in named.items()]
    if against and against.history:
        series.append(_series(against.name, against.history, 'mAP'))
    drawn = [charts.lines('mAP by epoch', series, ('epoch', 'mAP'), whole_x=True)]
    losses = [_series(one.name, one.history, 'loss') for one in (run, against) if one and one.history]
    losses = [line for line in losses if any(value is not None for value in line.y)]
    drawn += [charts.lines('Training loss by epoch', losses, ('epoch', 'loss'), whole_x=True)] if losses else []
    return join(drawn)


def _series(name: str, history: list[dict[str, Any]], key: str) -> charts.Line:
    return charts.Line(name, [row['epoch'] + 1 for row in history], [row.get(key) for row in history])


def _again(run: Reported) -> Markup:
    out = run.out
    try:
        again = ' '.join(['python -m experiments.run', *map(shlex.quote, words_of(run.config)), f'seed={out["seed"]}'])
        apart = differences(run.config)
    except ConfigError:  # The row is not there any more.
        again, apart = out.get('command') or '', {}
    hardware, seconds, images = out.get('hardware', {}), out.get('seconds', {}), out.get('images', {})
    device = [hardware.get('device'), f'{hardware["cores"]} cores' if hardware.get('cores') else None]
    device += [f'{hardware["processes"]} processes' if hardware.get('processes', 1) > 1 else None]
    parameters, labels = out.get('parameters', {}), out.get('labels', {})
    pairs = [
        ('row', run.config['row']),
        ('options beside the row', join([_option(*pair) for pair in apart.items()], ' ') or 'none'),
        ('typed', tag('code', out['command']) if out.get('command') not in (None, '', again) else None),
        ('commit', out.get('commit')),
        ('hardware', ', '.join(filter(None, device))),
        ('versions', ', '.join(f'{key} {value}' for key, value in out.get('versions', {}).items())),
        ('time', _time(seconds)),
        ('parameters', f'{parameters["trained"]:,} trained of {parameters["all"]:,}' if parameters else None),
        ('images', ', '.join(f'{count:,} {part}' for part, count in images.items())),
        ('labels', f'{labels["known"]:,} of {labels["all"]:,} known in training' if labels else None),
        ('skipped', f'{counted(len(out["skipped"]), "image")} that could not be read' if out.get('skipped') else None),
        ('folder', str(run.folder)),
    ]
    return join([command(again) if again else None, facts(pairs)])


def _option(key: str, value: Any) -> Markup:
    return tag('code', f'{key}={written(key, value)}')


def _time(seconds: dict[str, float]) -> str | None:
    if not seconds:
        return None
    return f'{seconds["total"]:,.0f} s, {seconds["epoch"]:,.1f} s an epoch, {1000 * seconds["step"]:,.0f} ms a step'


def signed(value: float | None, digits: int = 2) -> Markup | str:
    """A difference, coloured by its sign."""
    if value is None:
        return '–'
    return tag('span', number(value, digits, signed=True), class_='good' if value > 0 else 'bad' if value < 0 else None)

"""The first part of a report: what ran and how to run it again, metrics beside others', learning curves."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.markup import Markup, join, number, tag
from mlsgm_pyg.app.common.text import counted
from mlsgm_pyg.app.config.words import differences, words_of, written
from mlsgm_pyg.app.drawing import charts
from mlsgm_pyg.app.reports.page import Cell, Column, Table, metric, signed, template
from mlsgm_pyg.app.results import analysis
from mlsgm_pyg.app.results.bootstrap import NotComparable, Resamples
from mlsgm_pyg.app.results.decided import said as decisions_said
from mlsgm_pyg.app.results.run import Run
from mlsgm_pyg.app.results.schema import FIGURES, IN_WORDS, NAMES, has_top3
from mlsgm_pyg.app.results.settings import setting_of

ECE = 'expected calibration error: how far probabilities are, on average, from how often labels given them are there'
CELLS = 10**8  # Resamples times images times classes: some seconds.


def about(run: Run) -> str:
    """What ran, in one line."""
    out = run.result
    told = {'partial': f', {100 * run.known:g} % of the labels known', 'few_shot': ', base classes alone'}
    images = f'{counted(out["images"]["test"], "image")} ({out["evaluated_on"]})'
    return f'{run.options["model"]["name"]}, {setting_of(run.options)}{told.get(run.task, "")}, tested on {images}'


class Tile(NamedTuple):
    """A number that stands out."""

    name: Markup | str
    value: str
    beside: Markup | None = None


def overview(
    run: Run, against: Run | None, missing: Sequence[str], apart: dict[str, Any] | str | None = None
) -> Markup:
    """What ran, how to run it again, the metrics beside the baseline's and the paper's, learning curves."""
    metrics, said = _metrics(run, against, apart)
    again, facts = _again(run)
    return template('overview').overview(
        missing=missing,
        tiles=_tiles(run, against, apart),
        gain=_gain(against, apart),
        metrics=metrics,
        said=said,
        curves=_learning(run, against),
        words=IN_WORDS,
        again=again,
        facts=facts,
    )


def _tiles(run: Run, against: Run | None, apart: dict[str, Any] | str | None) -> list[Tile]:
    tiles = []
    for key in ('mAP', 'CF1', 'OF1'):
        value, other = run.result['metrics'][key], against.result['metrics'][key] if against else None
        beside = None
        if other is not None and value is not None:
            beside = tag('span', signed(value - other, 2, _interval(apart, key)), f' against {against.name}')
        tiles.append(Tile(metric(key), number(value, 2), beside))
    if run.has_scores:
        tiles.append(
            Tile(tag('abbr', 'calibration error', title=ECE), f'{analysis.calibration(run.p, run.y).error:.3f}')
        )
    if run.result['instances_per_image']:
        tiles.append(Tile('instances an image', number(run.result['instances_per_image'], 2)))
    return tiles


def paired(run: Run, against: Run | None) -> dict[str, Any] | str | None:
    """The differences of all metrics with intervals (:meth:`mlsgm_pyg.app.results.bootstrap.Resamples.paired`), or why
    there are none; None where there is nothing to compare with."""
    if against is None or not run.has_scores or not against.has_scores:
        return None
    resamples = int(np.clip(CELLS / max(run.y.size, 1), 100, 1000))
    sides = [[one.result | {'scores': one.scores, 'seed': None}] for one in (run, against)]
    try:
        return Resamples(resamples).paired(*sides)  # Of any two seeds: the line names them.
    except NotComparable as error:
        return f'No interval of the difference: {error}.'


def _gain(against: Run | None, apart: dict[str, Any] | str | None) -> str | None:
    """The difference in mAP with its interval, in words."""
    if apart is None or isinstance(apart, str):
        return apart
    gain, low, high = (number(apart['metrics']['mAP'][key], 2, signed=True) for key in ('difference', 'low', 'high'))
    return (
        f'Difference in mAP to {against.title}: {gain}, 95 % interval [{low}, {high}] (paired bootstrap over '
        f'{counted(apart["images"], "image")}, {apart["resamples"]:,} resamples). Differences are coloured where their '
        'interval excludes 0.'
    )


def _interval(apart: dict[str, Any] | str | None, key: str) -> dict[str, float] | None:
    return apart['metrics'][key] if isinstance(apart, dict) else None


def _metrics(run: Run, against: Run | None, apart: dict[str, Any] | str | None) -> tuple[Table, str]:
    columns = [Column('percent'), Column(run.name, 2)]
    columns += [Column(against.title, 2), Column('difference', 2)] if against else []
    columns += [Column(f'paper, {row["table"]}: {row["method"]}', 1) for row in run.result['paper']]
    body = []
    with_top3 = has_top3(run.class_names)
    for key in FIGURES if with_top3 else FIGURES[:7]:
        value, other = run.result['metrics'][key], against.result['metrics'][key] if against else None
        line: list[Any] = [Cell(metric(key), NAMES[key]), value]
        if against:
            gain = None if value is None or other is None else value - other
            line += [other, Cell(signed(gain, 2, _interval(apart, key)), gain)]
        body.append(line + [row['values'].get(key) for row in run.result['paper']])
    others = [f'{name} {value:.2f}' for name, value in run.result['mAP_by_score'].items() if value is not None]
    kinds = f'mAP by score: {", ".join(others)}; reported is {run.result["score"]}. ' if len(others) > 1 else ''
    rest = {
        'threshold': 'top-3: the three highest labels of at least 0.5.',
        'plain': 'top-3: the three highest labels.',
    }
    ap = run.result['ap'].replace('_', '-')
    said = f'{kinds}AP {ap}; labels count from a probability of 0.5 on; {rest.get(run.result["top3"], "") * with_top3}'
    if decided := run.result['decisions']:
        fitted = ', '.join(f'{key} {number(decided["metrics"][key], 2)}' for key in ('CF1', 'OF1'))
        said = f'{said} At the fitted thresholds: {fitted}. {decisions_said(decided)}'
    return Table(columns, body, filter=False), said


def _learning(run: Run, against: Run | None) -> list[Markup]:
    history = run.history
    if not history:
        return []
    kinds = [key for key in history[-1] if key.endswith('_mAP')]  # One a score; a model with one score has none.
    named = {key: key.removesuffix('_mAP') for key in kinds} if len(kinds) > 1 else {'mAP': run.name}
    series = [_series(name, history, key) for key, name in named.items()]
    if against and against.history:
        series.append(_series(against.name, against.history, 'mAP'))
    drawn = [charts.lines('mAP by epoch', series, ('epoch', 'mAP'), whole_x=True)]
    loss = _series(run.name, history, 'loss')  # Another model's is of another objective.
    has_loss = any(value is not None for value in loss.y)
    return drawn + (
        [charts.lines('Training loss by epoch', [loss], ('epoch', 'loss'), whole_x=True)] if has_loss else []
    )


def _series(name: str, history: list[dict[str, Any]], key: str) -> charts.Line:
    return charts.Line(name, [row['epoch'] + 1 for row in history], [row.get(key) for row in history])


def _again(run: Run) -> tuple[str, list[tuple[str, Any]]]:
    """The command, and facts about the run."""
    out = run.result
    try:
        words = [*words_of(run.options), f'seed={out["seed"]}']
        again = f'{_door(out["command"])} {shlex.join(words)}'
        apart = differences(run.options)
    except ConfigError:  # The row is not there any more.
        again, apart = out['command'], {}
    hardware, parameters, labels = out['hardware'], out['parameters'], out['labels']
    device = [hardware['device'], f'{hardware["cores"]} cores' if hardware['cores'] else None]
    device += [f'{hardware["processes"]} processes' if hardware['processes'] > 1 else None]
    options = [tag('code', f'{key}={written(key, value)}') for key, value in apart.items()]
    pairs = [
        ('row', run.row),
        ('options beside the row', join(options, ' ') or 'none'),
        ('typed', tag('code', out['command']) if out['command'] not in ('', again) else None),
        ('commit', out['commit']),
        ('hardware', ', '.join(filter(None, device))),
        ('versions', ', '.join(f'{key} {value}' for key, value in out['versions'].items())),
        ('time', _time(out['seconds'])),
        ('parameters', f'{parameters["trained"]:,} trained of {parameters["all"]:,}'),
        ('images', ', '.join(f'{count:,} {part}' for part, count in out['images'].items())),
        ('labels', f'{labels["known"]:,} of {labels["all"]:,} known in training' if labels else None),
        ('skipped', f'{counted(len(out["skipped"]), "image")} that could not be read' if out['skipped'] else None),
        ('folder', str(run.folder)),
    ]
    return again, pairs


def _door(typed: str) -> str:
    """The command that takes a row and options: the one that the run was made by, which is there."""
    return 'python -m experiments.run' if 'experiments.' in typed else 'mlsgm train --row'


def _time(seconds: dict[str, float]) -> str:
    return f'{seconds["total"]:,.0f} s, {seconds["epoch"]:,.1f} s an epoch, {1000 * seconds["step"]:,.0f} ms a step'

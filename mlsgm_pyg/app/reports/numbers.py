"""The parts of a report that come from scores: classes, curves, calibration, labels that come together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mlsgm_pyg.app.common.markup import Markup, number, tag
from mlsgm_pyg.app.common.text import counted
from mlsgm_pyg.app.drawing import charts
from mlsgm_pyg.app.reports.page import Cell, Column, Item, Table, signed, template
from mlsgm_pyg.app.results import analysis
from mlsgm_pyg.app.results.run import Run

HEAT = 30  # Classes in a picture of co-occurrence.
PAIRS = 100


def classes(run: Run, against: Run | None, apart: Sequence[dict[str, float] | None] = ()) -> Markup:
    """Every class: its AP as a bar with the baseline's as a mark, how often it is there, predicted, right. Differences
    are coloured by their intervals, in the order of the classes."""
    ap, theirs = run.result['metrics']['AP'], against.result['metrics']['AP'] if against else {}
    noted = (row for row in run.result['paper'] if any(key.startswith('AP.') for key in row['values']))
    paper = next(noted, None)
    columns = [Column('class'), Column('AP', 1, 'average precision in percent; the mark is the compared run')]
    columns += (
        [Column(against.name, 1, 'its AP'), Column('gain', 1, 'coloured where its 95 % interval excludes 0')]
        if against
        else []
    )
    columns += [Column(f'paper, {paper["table"]}', 1)] if paper else []
    if run.has_scores:
        columns += [Column('positive', None, 'images that show it'), Column('predicted', None, 'probability >= 0.5')]
        columns += [Column('precision', 1), Column('recall', 1), Column('F1', 1)]
        columns += [Column('calibration error', 3, 'expected calibration error of this class')]
        found = analysis.counts(run.p, run.y)
    if decided := run.result['decisions']:
        columns += [Column('threshold', 2, 'from which on the label is kept; * that of all labels together')]
        columns += [Column('fitted on', None, 'images that show it, of those that thresholds are fitted on')]
    body = []
    for i, (name, value) in enumerate(ap.items()):
        other = theirs.get(name)
        row: list[Any] = [name, Cell(template('numbers').bar(value, other, number(value, 1)), value)]
        row += [other, _gain(value, other, apart[i] if apart else None)] if against else []
        row += [paper['values'].get(f'AP.{name}')] if paper else []
        if run.has_scores:
            row += _rates(*(int(column[i]) for column in found[1:]))
            row.append(analysis.calibration(run.p[:, i], run.y[:, i]).error)
        if decided:
            one = decided['classes'][name]
            row += [Cell(f'{one["threshold"]:.2f}{"*" * one["is_pooled"]}', one['threshold']), one['positives']]
        body.append(row)
    return template('numbers').classes(Table(columns, body, filter=True))


class SmallCurve(NamedTuple):
    """A class's precision by recall."""

    name: str
    ap: str
    chart: Markup


def precision_recall(run: Run, against: Run | None) -> Markup:
    """One small chart a class: precision by recall, beside the compared run's."""
    both = against is not None and against.has_scores
    items = []
    for i, name in enumerate(run.class_names):
        curve = analysis.precision_recall_curve(run.logits[:, i], run.y[:, i])
        if curve is None:
            continue
        series = [charts.Line(run.name, *analysis.thinned(curve))]
        ap = run.result['metrics']['AP'][name]
        if both and name in against.class_names:
            j = against.class_names.index(name)
            other = analysis.precision_recall_curve(against.logits[:, j], against.y[:, j])
            series += [charts.Line(against.name, *analysis.thinned(other))] if other else []
        items.append(Item(_small_curve(name, series, curve, ap), name, {}, {'ap': -_or(ap, 0), 'name': i}))
    return template('numbers').precision_recall(
        left_out=[name for name, value in run.result['metrics']['AP'].items() if value is None],
        legend=charts.legend([run.name, against.name]) if both else None,
        curves=items,
    )


class Side(NamedTuple):
    """How far a run's probabilities can be taken at their word."""

    title: str
    error: float
    by_class: float
    labels: int
    chart: Markup
    bins: Table


def calibration(run: Run, against: Run | None) -> Markup:
    """How far probabilities can be taken at their word."""
    sides = [_side(one) for one in (run, against) if one is not None and one.has_scores]
    return template('numbers').calibration(bins=analysis.BINS, sides=sides)


def _side(run: Run) -> Side:
    found = analysis.calibration(run.p, run.y)
    by_class = [analysis.calibration(run.p[:, i], run.y[:, i]).error for i in range(run.p.shape[1])]
    chart = charts.reliability(f'Reliability of {run.title}', found.confidence, found.frequency, found.count)
    return Side(run.title, found.error, float(np.mean(by_class)), int(found.count.sum()), chart, _bins(found))


def labels(run: Run) -> Markup:
    """Which labels come together in the data, and in what is predicted."""
    known, names = run.y >= 0, run.class_names
    data = analysis.together(run.y == 1, known)
    found = analysis.together(run.p >= run.limits, known)
    often = np.argsort(-np.diag(data.number), kind='stable')[:HEAT]
    often = np.sort(often).tolist()
    drawn = []
    for head, side in (('In the data', data), ('In the predictions', found)):
        told = [[_pair(names[i], names[j], side, i, j) for j in often] for i in often]
        rate = [[float(side.rate[i, j]) for j in often] for i in often]
        chart = charts.heat(f'Labels that come together: {head.lower()}', rate, [names[i] for i in often], told)
        drawn.append((head, chart))
    pairs = _pairs(names, data, found)
    return template('numbers').labels(
        part=f', the {HEAT} most frequent classes' if len(names) > HEAT else '',
        charts=drawn,
        told=f'The {len(pairs.rows)} that come together most often, in the data or in the predictions.',
        pairs=pairs,
    )


def _gain(value: float | None, other: float | None, found: dict[str, float] | None) -> Cell:
    gain = None if value is None or other is None else value - other
    return Cell(signed(gain, 1, found), gain)


def _rates(positive: int, predicted: int, right: int) -> list[Any]:
    """Positive, predicted, precision, recall and F1 in percent."""
    precision = 100 * right / predicted if predicted else None
    recall = 100 * right / positive if positive else None
    f1 = 200 * right / (positive + predicted) if positive else None
    return [positive, predicted, precision, recall, f1]


def _small_curve(name: str, series: list[charts.Line], curve: analysis.Curve, ap: float | None) -> SmallCurve:
    frame = charts.Frame((0, 1), (0, 1), ('recall', 'precision'), (260, 200))
    drawn = [frame.line(zip(line.x, line.y), **charts.style(i)) for i, line in reversed([*enumerate(series)])]
    if curve.at_half:
        x, y = frame.at(*curve.at_half)
        drawn.append(tag('circle', cx=f'{x:.1f}', cy=f'{y:.1f}', r=4.5, fill='var(--a)'))
    return SmallCurve(name, number(ap, 1), frame.svg(f'Precision by recall of {name}, AP {number(ap, 1)}', *drawn))


def _bins(found: analysis.Calibration) -> Table:
    edges = np.linspace(0, 1, len(found.count) + 1)
    rows = [
        [
            Cell(f'{low:.2f} to {high:.2f}', float(low)),
            int(n),
            *(None if math.isnan(v) else 100 * float(v) for v in pair),
        ]
        for low, high, n, pair in zip(edges, edges[1:], found.count, zip(found.confidence, found.frequency))
    ]
    columns = [Column('probability'), Column('labels'), Column('mean, %', 1), Column('there, %', 1)]
    return Table(columns, rows, filter=False)


def _pair(row: str, column: str, side: analysis.Together, i: int, j: int) -> str:
    if i == j:
        return f'{row}: {counted(int(side.number[i, i]), "image")}'
    rate = side.rate[i, j]
    return f'{column} where {row} is: ' + (f'{100 * rate:.1f} %' if math.isfinite(rate) else f'no {row}')


def _pairs(names: list[str], data: analysis.Together, found: analysis.Together) -> Table:
    """Pairs by how often they come together in either."""
    either = np.maximum(data.number, found.number)
    np.fill_diagonal(either, 0)
    i, j = np.nonzero(either)
    order = np.argsort(-either[i, j], kind='stable')[:PAIRS]
    rows = []
    for a, b in zip(i[order].tolist(), j[order].tolist()):
        rates = [None if math.isnan(side.rate[a, b]) else 100 * float(side.rate[a, b]) for side in (data, found)]
        apart = None if None in rates else rates[1] - rates[0]
        rows.append([names[a], names[b], int(data.number[a, b]), int(found.number[a, b]), *rates, apart])
    columns = [Column('where there is'), Column('there is'), Column('images'), Column('predicted in')]
    columns += [Column('data, %', 1), Column('predicted, %', 1), Column('difference', 1)]
    return Table(columns, rows, filter=True)


def _or(value: float | None, other: float) -> float:
    return other if value is None else value

"""A comparison as one self-contained page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlsgm_pyg.app.common.markup import Markup, signs, tag
from mlsgm_pyg.app.common.text import counted, interval
from mlsgm_pyg.app.drawing.charts import forest
from mlsgm_pyg.app.reports.page import Cell, Column, Page, Table, template
from mlsgm_pyg.app.results.comparison_tables import intervals_told, options_told, over_seeds, speed_told
from mlsgm_pyg.app.results.schema import FIGURES, NAMES

ABOUT = {
    'mAP': 'Mean average precision over the classes that have a positive.',
    'CP': 'Precision, the mean over classes.',
    'CR': 'Recall, the mean over classes.',
    'OP': 'Precision over all labels.',
    'OR': 'Recall over all labels.',
}
Found = dict[str, Any]


def write(summary: dict[str, Any], path: Path) -> None:
    """Writes the page whole or not at all."""
    build(summary).write(path)


def build(summary: dict[str, Any]) -> Page:
    """The page of what :func:`mlsgm_pyg.app.results.comparison.summarise` gives."""
    about = summary['protocol']
    rows = summary['rows']
    images = counted(about['images'], 'image') if about['images'] else '? images'
    page = Page(
        f'{counted(len(rows), "row")} on {about["data set"]}',
        f'Evaluated on {about["evaluated on"]}, {images}, {counted(len(rows[0]["AP"]), "class", "classes")}, '
        f'{about["AP"]} AP, top 3 by {about["top 3"]}. Reference: {summary["reference"]}.',
    )
    page.tab('Rows', _rows(summary))
    page.tab('Differences', _differences(summary))
    if summary['steps']:
        page.tab('Ladder', _ladder(summary))
    page.tab('Classes', _classes(summary))
    page.tab('Costs', _costs(summary))
    page.tab('How', _how(summary))
    return page


def _rows(summary: dict[str, Any]) -> Markup:
    columns = [Column('row'), Column('seeds'), *_metrics()]
    body = [
        [row['label'], ', '.join(map(str, row['seeds'])), *(_over(row['metrics'][key]) for key in FIGURES)]
        for row in summary['rows']
    ]
    gains = {found['rows'][1]: found['metrics']['mAP'] for found in summary['against']}
    others = [row['label'] for row in summary['rows'] if row['label'] != summary['reference']]
    title = f'mAP of {summary["reference"]} minus that of each other row'
    return template('comparison').rows(
        table=Table(columns, body, 'Percent, mean ± standard deviation over seeds.', filter=False),
        title=title,
        chart=forest([(label, gains.get(label)) for label in others], title) if gains else None,
        remarks=_remarks(summary),
    )


def _remarks(summary: dict[str, Any]) -> Markup:
    told = [
        f'{a} and {b}: no difference, as {one["why"]}.' for one in summary['not_compared'] for a, b in [one['rows']]
    ]
    told += [f'{text[:1].upper()}{text[1:]}.' for text in summary['notes']]
    return template('comparison').remarks(' '.join(intervals_told(summary)), told)


def _differences(summary: dict[str, Any]) -> Markup:
    rows = [[found['rows'][1], *_intervals(found)] for found in summary['against']]
    caption = f'{summary["reference"]} minus each other row, with 95 % intervals; coloured where 0 is outside.'
    table = Table([Column('row'), *_metrics()], rows, caption, filter=False) if rows else None
    return template('comparison').differences(table, _remarks(summary))


def _ladder(summary: dict[str, Any]) -> Markup:
    names = [f'{found["rows"][0]}: {found.get("change") or "after " + found["rows"][1]}' for found in summary['steps']]
    title = 'mAP of each row minus that of the one before'
    rows = [[name, *_intervals(found)] for name, found in zip(names, summary['steps'])]
    return template('comparison').ladder(
        order=summary['ladder'],
        title=title,
        chart=forest([(name, found['metrics']['mAP']) for name, found in zip(names, summary['steps'])], title),
        table=Table([Column('step'), *_metrics()], rows, 'All metrics, with 95 % intervals.', filter=False),
    )


def _metrics() -> list[Column]:
    return [Column(NAMES[key], 2, ABOUT.get(key, '')) for key in FIGURES]


def _intervals(found: Found) -> list[Cell]:
    return [_interval(found['metrics'][key]) for key in FIGURES]


def _interval(one: dict[str, float] | None) -> Cell:
    """A difference and its interval, coloured where it is clear."""
    if one is None:
        return Cell(None, None)
    kind = 'good' if one['low'] > 0 else 'bad' if one['high'] < 0 else None
    return Cell(tag('span', signs(interval(one)), class_=kind), one['difference'])


def _over(value: dict[str, Any], digits: int = 2, scale: float = 1) -> Cell:
    if value['mean'] is None:
        return Cell(None, None)
    return Cell(over_seeds(value, digits, scale), value['mean'] * scale)


def _classes(summary: dict[str, Any]) -> Markup:
    rows, against = summary['rows'], summary['against']
    names = list(dict.fromkeys(name for row in rows for name in row['AP']))
    columns = [Column('class'), *(Column(row['label'], 2) for row in rows)]
    nothing = {'mean': None, 'sd': None}
    body = [[name, *(_over(row['AP'].get(name, nothing)) for row in rows)] for name in names]
    table = Table(columns, body, 'Average precision of every class, percent, mean ± standard deviation over seeds.')
    body = [[name, *(_interval(found['classes'].get(name)) for found in against)] for name in names]
    columns = [Column('class'), *(Column(f'against {found["rows"][1]}') for found in against)]
    caption = 'Differences in average precision, with 95 % intervals; coloured where 0 is outside.'
    return template('comparison').classes(
        table=table,
        reference=summary['reference'],
        differences=Table(columns, body, caption) if against else None,
        charts=[_by_class(found) for found in (*against, *summary['steps'])],
    )


def _by_class(found: Found) -> tuple[str, Markup]:
    """A chart of all classes, the most gained on top, and its title."""
    title = f'{found["rows"][0]} minus {found["rows"][1]}, class by class'
    there = [(name, one) for name, one in found['classes'].items() if one is not None]
    return title, forest(sorted(there, key=lambda one: -one[1]['difference']), title)


def _costs(summary: dict[str, Any]) -> Markup:
    speed = summary.get('speed', {}).get('rows', {})
    columns = [
        Column('row'),
        Column('trained parameters'),
        Column('parameters'),
        Column('training, s', 0, 'The whole run, evaluations included; on cached maps where features.cache is on.'),
        Column('an epoch, s', 1),
        Column('ms an image', 2, 'Of the training steps alone.'),
        Column('instances an image', 1),
        Column('images a second', 1, 'From pixels to scores.'),
        Column('GMAC an image', 3, 'Convolutions and matrix products.'),
        Column('of the head', 3, 'What comes after the backbone.'),
        Column('once a batch', 3, 'What depends on the labels alone, computed once for all images.'),
    ]
    body = []
    for row in summary['rows']:
        found, seconds = speed.get(row['label'], {}), row['seconds']
        counted = [found[key] / 1e9 if found else None for key in ('macs', 'head_macs', 'label_macs')]
        body.append([
            row['label'], row['parameters']['trained'], row['parameters']['all'], _over(seconds['total'], 0),
            _over(seconds['epoch'], 1), _over(seconds['image'], 2, 1000), _over(row['instances_per_image'], 1),
            found.get('images_per_second'), *counted,
        ])  # fmt: skip
    return template('comparison').costs(
        table=Table(columns, body, filter=False), speed=list(speed_told(summary)), machines=_machines(summary['rows'])
    )


def _machines(rows: Sequence[dict[str, Any]]) -> list[str]:
    made = [by['hardware'] for row in rows for by in row['made_by']]
    return list(dict.fromkeys(f'{one["device"]}, {one["cores"]} cores, {one["threads"]} threads' for one in made))


def _how(summary: dict[str, Any]) -> Markup:
    rows, options = summary['rows'], None
    if summary['beside']:
        body = [[label, options_told(differ)] for label, differ in summary['beside'].items()]
        options = Table(['row', f'differs from {summary["reference"]}, whose value is in parentheses'], body)
    versions = {json.dumps(by['versions'], sort_keys=True) for row in rows for by in row['made_by']}
    return template('comparison').how(
        command=summary.get('command', ''),
        options=options,
        runs=[_made(row) for row in rows],
        machines=list(enumerate(_machines(rows), 1)),
        versions=[json.loads(one).items() for one in sorted(versions)],
    )


def _made(row: dict[str, Any]) -> dict[str, Any]:
    """How a row's runs were made."""
    facts = [
        ('model', row['model']),
        ('score', row['score']),
        ('seeds', ', '.join(map(str, row['seeds']))),
        ('training images', row['train_images']),
        ('made', ', '.join(f'{by["runs"]} at commit {by["commit"]}' for by in row['made_by'])),
        ('folders', ', '.join(row['folders'])),
    ]
    return {'label': row['label'], 'facts': facts, 'commands': row['commands']}

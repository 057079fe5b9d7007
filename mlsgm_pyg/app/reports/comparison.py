"""A comparison as one self-contained page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlsgm_pyg.app.common.markup import Markup, number, signs, tag
from mlsgm_pyg.app.common.text import clear, counted, limits
from mlsgm_pyg.app.drawing.charts import forest
from mlsgm_pyg.app.reports.page import Cell, Column, Page, Table, template
from mlsgm_pyg.app.results import comparison_tables as words
from mlsgm_pyg.app.results.schema import ABOUT, FIGURES, IN_WORDS, NAMES, has_top3

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
        f'{about["AP"].replace("_", "-")} AP. Reference: {summary["reference"]}.',
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
    lines = [([row['label'], words.seeds_told(row)], row['metrics']) for row in summary['rows']]
    gains = {found['rows'][1]: found['metrics']['mAP'] for found in summary['against']}
    others = [row['label'] for row in summary['rows'] if row['label'] != summary['reference']]
    title = f'mAP of {summary["reference"]} minus that of each other row'
    return template('comparison').rows(
        tables=_tables(summary, ['row', 'seeds'], lines, _over, 'Percent, mean ± standard deviation over seeds'),
        words=IN_WORDS,
        answer=signs(words.answer(summary)),
        title=title,
        chart=forest([(label, gains.get(label)) for label in others], title) if gains else None,
        remarks=_remarks(summary),
    )


def _remarks(summary: dict[str, Any]) -> Markup:
    told = [
        f'{a} and {b}: no difference, as {one["why"]}.' for one in summary['not_compared'] for a, b in [one['rows']]
    ]
    told += [f'{text[:1].upper()}{text[1:]}.' for text in summary['notes']]
    return template('comparison').remarks(' '.join(words.intervals_told(summary)), told)


def _differences(summary: dict[str, Any]) -> Markup:
    rows = [([found['rows'][1]], found['metrics']) for found in summary['against']]
    caption = f'{summary["reference"]} minus each other row, with 95 % intervals, coloured where 0 is outside'
    tables = _tables(summary, ['row'], rows, _interval, caption) if rows else []
    return template('comparison').differences(tables, IN_WORDS, _remarks(summary))


def _ladder(summary: dict[str, Any]) -> Markup:
    names = [f'{found["rows"][0]}: {found.get("change") or "after " + found["rows"][1]}' for found in summary['steps']]
    title = 'mAP of each row minus that of the one before'
    rows = [([name], found['metrics']) for name, found in zip(names, summary['steps'])]
    return template('comparison').ladder(
        order=summary['ladder'],
        title=title,
        chart=forest([(name, found['metrics']['mAP']) for name, found in zip(names, summary['steps'])], title),
        tables=_tables(summary, ['step'], rows, _interval, 'With 95 % intervals'),
    )


def _tables(
    summary: Found,
    heads: list[str],
    rows: list[tuple[list[str], Found]],
    cell: Callable[[Any], Cell],
    caption: str,
) -> list[Table]:
    """All metrics of rows, those among the three highest labels apart: so wide is a page."""
    out = []
    for keys, told in ((FIGURES[:7], 'all labels'), (FIGURES[7:], 'the three highest labels of each image')):
        columns = [*heads, *(Column(NAMES[key], 2, ABOUT[key]) for key in keys)]
        body = [[*first, *(cell(metrics[key]) for key in keys)] for first, metrics in rows]
        out.append(Table(columns, body, f'{caption}: {told}.', filter=False))
    return out if has_top3(summary['rows'][0]['AP']) else out[:1]


def _interval(one: dict[str, float] | None) -> Cell:
    """A difference and its interval, coloured where it is clear."""
    if one is None:
        return Cell(None, None)
    shown = [number(one['difference'], 2, signed=True), tag('small', signs(limits(one)))]
    return Cell(tag('span', *shown, class_=clear(one)), one['difference'])


def _over(value: dict[str, Any], digits: int = 2, scale: float = 1) -> Cell:
    if value['mean'] is None:
        return Cell(None, None)
    return Cell(words.over_seeds(value, digits, scale), value['mean'] * scale)


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
        Column(
            'training, s', 0, 'The whole run, evaluations included, on whatever else the machine did; on cached maps.'
        ),
        Column('an epoch, s', 1),
        Column('instances an image', 1),
    ]
    if speed:
        columns += [
            Column('images a second', 1, 'From pixels to scores.'),
            Column('GMAC an image', 3, 'Billions of multiply-adds: convolutions and matrix products.'),
            Column('of the head', 3, 'What comes after the backbone.'),
            Column('once a batch', 3, 'What depends on the labels alone, computed once for all images.'),
        ]
    body = []
    for row in summary['rows']:
        found, seconds = speed.get(row['label'], {}), row['seconds']
        macs = [found[key] / 1e9 if found else None for key in ('macs', 'head_macs', 'label_macs')]
        body.append([
            row['label'], row['parameters']['trained'], row['parameters']['all'], _over(seconds['total'], 0),
            _over(seconds['epoch'], 1), _over(row['instances_per_image'], 1),
            *([found.get('images_per_second'), *macs] if speed else []),
        ])  # fmt: skip
    return template('comparison').costs(
        table=Table(columns, body, filter=False),
        speed=list(words.speed_told(summary)),
        machines=_machines(summary['rows']),
    )


def _machines(rows: Sequence[dict[str, Any]]) -> list[str]:
    made = [by['hardware'] for row in rows for by in row['made_by']]
    return list(dict.fromkeys(f'{one["device"]}, {one["cores"]} cores, {one["threads"]} threads' for one in made))


def _how(summary: dict[str, Any]) -> Markup:
    rows, options = summary['rows'], None
    if summary['beside']:
        body = [[label, words.options_told(differ)] for label, differ in summary['beside'].items()]
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
        ('seeds', words.seeds_told(row)),
        ('training images', row['train_images']),
        ('made', ', '.join(f'{by["runs"]} at commit {by["commit"]}' for by in row['made_by'])),
        ('folders', ', '.join(row['folders'])),
    ]
    return {'label': row['label'], 'facts': facts, 'commands': row['commands']}

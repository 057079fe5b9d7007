"""A comparison on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from experiments.bootstrap import SIX
from experiments.common.text import interval, spread
from experiments.config.words import written

SHOWN = ('mAP', 'CF1', 'OF1')  # Of the differences; the page and the JSON file have all.


def text(summary: dict[str, Any]) -> None:
    """Prints tables as wide as their columns, and what must be said."""
    reference = summary['reference']
    about = summary['protocol']
    _print(_metrics(summary, '', f'All labels at probability >= 0.5 ({about["data set"]}, {about["evaluated on"]})'))
    _print(_metrics(summary, 'top3_', f'Among the three highest ({about["top 3"]})'))
    if summary['against']:
        _print(_differences(f'{reference} minus', summary['against'], lambda found: found['rows'][1]))
    if summary['steps']:
        told = [f'{found["rows"][0]} ({found["change"]})' for found in summary['steps']]
        steps = dict(zip(map(id, summary['steps']), told))
        _print(_differences('Each step minus the one before', summary['steps'], lambda found: steps[id(found)]))
    _print(_costs(summary))
    _say(_remarks(summary))


def over_seeds(value: dict[str, Any] | None, digits: int = 2, scale: float = 1) -> str:
    """A mean and, of several seeds, the standard deviation."""
    if value is None or value['mean'] is None:
        return '-'
    return spread((value['mean'] * scale, value['sd'] and value['sd'] * scale), digits)


def classes_told(found: dict[str, Any]) -> str:
    """For how many classes a difference is clear, and where it is the largest."""
    there = {name: one for name, one in found['classes'].items() if one is not None}
    higher, lower = (sum(sign * one[end] > 0 for one in there.values()) for sign, end in ((1, 'low'), (-1, 'high')))
    ends = sorted(there, key=lambda name: there[name]['difference'])
    most = [f'{name} {there[name]["difference"]:+.1f}' for name in dict.fromkeys((ends[-1], ends[0]))]
    return f'{higher} higher, {lower} lower of {len(there)}; {", ".join(most)}'


def _metrics(summary: dict[str, Any], prefix: str, title: str) -> Table:
    keys = [f'{prefix}{key}' for key in SIX]
    keys = keys if prefix else ['mAP', *keys]
    table = _table(title, 'row', 'seeds', *(key.removeprefix('top3_') for key in keys))
    for row in summary['rows']:
        seeds = ', '.join(map(str, row['seeds']))
        table.add_row(row['label'], seeds, *(over_seeds(row['metrics'][key]) for key in keys))
    return table


def _differences(title: str, found: Sequence[dict[str, Any]], label: Any) -> Table:
    table = _table(f'{title} [95 % interval]', 'row', *SHOWN, 'classes by AP')
    for one in found:
        table.add_row(label(one), *(interval(one['metrics'][key]) or '-' for key in SHOWN), classes_told(one))
    return table


def _costs(summary: dict[str, Any]) -> Table:
    speed = summary.get('speed', {}).get('rows', {})
    columns = (
        'row',
        'trained',
        'parameters',
        'training s',
        'ms an image',
        'instances',
        'images/s',
        'GMAC',
        'of the head',
    )
    table = _table('Costs', *columns)
    for row in summary['rows']:
        parameters, seconds, found = row['parameters'], row['seconds'], speed.get(row['label'], {})
        measured = [
            f'{found["images_per_second"]:,.1f}' if found else '-',
            *(f'{found[key] / 1e9:,.3f}' if found else '-' for key in ('macs', 'head_macs')),
        ]
        table.add_row(
            row['label'],
            f'{parameters["trained"]:,}',
            f'{parameters["all"]:,}',
            over_seeds(seconds['total'], 0),
            over_seeds(seconds['image'], 2, 1000),
            over_seeds(row['instances_per_image'], 1),
            *measured,
        )
    return table


def _remarks(summary: dict[str, Any]) -> Iterable[str]:
    yield from intervals_told(summary)
    for one in summary['not_compared']:
        yield f'{one["rows"][0]} - {one["rows"][1]}: no difference, as {one["why"]}'
    for label, differ in summary['beside'].items():
        yield f'{label} differs from {summary["reference"]} beside its model: {options_told(differ)}'
    for note in summary['notes']:
        yield note[:1].upper() + note[1:] + '.'
    yield from speed_told(summary)


def intervals_told(summary: dict[str, Any]) -> Iterable[str]:
    """What a spread and an interval are."""
    yield '±: standard deviation over seeds.'
    for first in (*summary['against'], *summary['steps'])[:1]:
        yield (
            f'Intervals: 95 %, paired bootstrap over {first["images"]:,} images, {first["resamples"]:,} resamples, '
            'the mean of the seeds that both rows have.'
        )


def options_told(differ: dict[str, dict[str, Any]]) -> str:
    """Options and, in parentheses, the reference's."""
    return ', '.join(
        f'{key}={written(key, one["here"])} ({written(key, one["reference"])})' for key, one in differ.items()
    )


def speed_told(summary: dict[str, Any]) -> Iterable[str]:
    """How images a second were measured, and why there are none of some rows."""
    found = summary.get('speed')
    if not found:
        yield 'Images a second and multiply-adds: --speed measures them.'
        return
    hardware = found['hardware']
    batches = ' and '.join(map(str, sorted({one['batch'] for one in found['rows'].values()})))
    yield (
        f'Images a second: {hardware["device"]}, {hardware["threads"]} threads, {batches} of the evaluation images at '
        'a time, from pixels to scores, the models in turns; what depends on the labels alone is computed once. '
        'GMAC: multiply-adds an image of convolutions and matrix products, counted likewise.'
    )
    for label, why in found['without'].items():
        yield f'{label}: not measured, as {why}'


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify='left', box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        table.add_column(column, justify='left' if i == 0 else 'right', no_wrap=True)
    return table


def _print(table: Table) -> None:
    """As wide as it is: a terminal may scroll."""
    wide = Console(width=10_000)
    needed = Measurement.get(wide, wide.options, table).maximum
    Console(width=max(needed, len(str(table.title)) + 2), soft_wrap=True, highlight=False, markup=False).print(table)


def _say(lines: Iterable[str]) -> None:
    print('\n'.join(lines))

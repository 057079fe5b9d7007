"""A comparison in tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlsgm_pyg.app.common.tables import Table
from mlsgm_pyg.app.common.text import clear, interval, spread
from mlsgm_pyg.app.config.words import written
from mlsgm_pyg.app.results.schema import IN_WORDS, SIX, has_top3

SHOWN = ('mAP', 'CF1', 'OF1')  # Of the differences; the page and the JSON file have all.


def tables(summary: dict[str, Any]) -> list[Table]:
    """Metrics, differences and costs, where there are any; below the last what must be said."""
    about = summary['protocol']
    out = [_metrics(summary, '', f'All labels at probability >= 0.5 ({about["data set"]}, {about["evaluated on"]})')]
    if has_top3(summary['rows'][0]['AP']):
        out.append(_metrics(summary, 'top3_', f'Among the three highest ({about["top 3"]})'))
    if summary['against']:
        against = [(found['rows'][1], found) for found in summary['against']]
        out.append(_differences(f'{summary["reference"]} minus', against))
    if summary['steps']:
        steps = [(f'{found["rows"][0]} ({found["change"]})', found) for found in summary['steps']]
        out.append(_differences('Each step minus the one before', steps))
    return [*out, _costs(summary)]


def over_seeds(value: dict[str, Any] | None, digits: int = 2, scale: float = 1) -> str:
    """A mean and, of several seeds, the standard deviation."""
    if value is None or value['mean'] is None:
        return '-'
    return spread((value['mean'] * scale, value['sd'] and value['sd'] * scale), digits)


def seeds_told(row: dict[str, Any]) -> str:
    """How many seeds a row has, and which: '2 (0 and 1)', '1 (seed 0)'."""
    *others, last = map(str, row['seeds'])
    return f'{len(row["seeds"])} ({", ".join(others)} and {last})' if others else f'1 (seed {last})'


def answer(summary: dict[str, Any]) -> str:
    """What the differences in mAP come to, in a sentence: ahead, behind or level."""
    told = []
    for one in summary['against']:
        found = one['metrics']['mAP']
        low, high = sorted(abs(found[end]) for end in ('low', 'high'))
        side = {'good': 'ahead of', 'bad': 'behind'}.get(clear(found))
        level = f'level with {one["rows"][1]} ({found["low"]:+.1f} to {found["high"]:+.1f})'
        told.append(f'{side} {one["rows"][1]} by {low:.1f} to {high:.1f}' if side else level)
    return f'In mAP, {summary["reference"]} is {"; ".join(told)}.' if told else ''


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
    table = Table(title, ('row', 'seeds', *(key.removeprefix('top3_') for key in keys)))
    for row in summary['rows']:
        table.rows.append([row['label'], seeds_told(row), *(over_seeds(row['metrics'][key]) for key in keys)])
    return table


def _differences(title: str, found: Iterable[tuple[str, dict[str, Any]]]) -> Table:
    rows = [
        (label, *(interval(one['metrics'][key]) or '-' for key in SHOWN), classes_told(one)) for label, one in found
    ]
    return Table(f'{title} [95 % interval]', ('row', *SHOWN, 'classes by AP'), rows)


def _costs(summary: dict[str, Any]) -> Table:
    speed = summary.get('speed', {}).get('rows', {})
    columns = ['row', 'trained', 'parameters', 'training s', 'instances']
    columns += ['images/s', 'GMAC', 'of the head'] if speed else []
    table = Table('Costs', columns, notes=list(_remarks(summary)))
    for row in summary['rows']:
        parameters, seconds, found = row['parameters'], row['seconds'], speed.get(row['label'], {})
        measured = [
            f'{found["images_per_second"]:,.1f}' if found else '-',
            *(f'{found[key] / 1e9:,.3f}' if found else '-' for key in ('macs', 'head_macs')),
        ]
        cells = [
            row['label'],
            parameters['trained'],
            parameters['all'],
            over_seeds(seconds['total'], 0),
            over_seeds(row['instances_per_image'], 1),
        ]
        table.rows.append(cells + (measured if speed else []))
    return table


def _remarks(summary: dict[str, Any]) -> Iterable[str]:
    yield IN_WORDS
    yield from filter(None, [answer(summary)])
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

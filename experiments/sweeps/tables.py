"""A sweep as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from experiments.sweeps import tuning
from mlsgm_pyg.app.common.tables import Table
from mlsgm_pyg.app.common.text import interval, mean_sd, spread


def table(out: dict[str, Any], count: bool = True) -> Table:
    """A line a point, then the average; each mean may say of how many seeds it is."""
    first, *others = out['rows']
    keys = [key.removeprefix('task.') for key in out['swept']]
    gains = [f'gain over `{row}` [95 % interval]' for row in others]
    notes = ['± is over seeds, an interval the 95 % of a paired bootstrap over images.']
    notes += dict.fromkeys([*_without(out), *tuning.told(out.get('best', {}), out['evaluated_on'])])
    table = Table(f'mAP ({out["evaluated_on"]})', [*keys, *(f'`{row}`' for row in out['rows']), *gains], notes=notes)
    for point in out['points']:
        values = [f'{value:g}' if isinstance(value, float) else str(value) for value in point['values'].values()]
        cells = [_over_seeds(point['runs'][row]['mAP'], count) for row in out['rows']]
        table.rows.append([*values, *cells, *(interval(point['gains'].get(other)) for other in others)])
    average, blank = out['average'], [''] * (len(keys) - 1)
    cells = [f'{average["mAP"][row]:.2f}' for row in out['rows']]
    gains = [interval(average['gains'].get(other)) for other in others]
    table.rows += [[], ['average', *blank, *cells, *gains]]
    return table


def _over_seeds(values: list[float], count: bool) -> str:
    return spread(mean_sd(values)) + (f' ({len(values)})' if count and len(values) > 1 else '')


def _without(out: dict[str, Any]) -> Iterator[str]:
    """Why there is no gain, a line each."""
    for point in out['points']:
        at = ', '.join(f'{key}={value}' for key, value in point['values'].items())
        for other, why in point.get('without_gain', {}).items():
            yield f'{out["rows"][0]} - {other} at {at}: no gain, as {why}'

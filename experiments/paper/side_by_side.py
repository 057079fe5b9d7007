"""Rows that one command trained, side by side: a table, gains over the others, and what a newcomer should know."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from rich.console import Console

from mlsgm_pyg.app.common.files import read_json
from mlsgm_pyg.app.common.tables import Table
from mlsgm_pyg.app.common.text import interval, limits, mean_sd, spread
from mlsgm_pyg.app.results.bootstrap import NotComparable, Resamples

RESULTS = Path(__file__).parents[2] / 'results'
Groups = dict[str, list[dict[str, Any]]]  # Name of some runs -> what their result.json holds.


def compare(groups: Groups, console: Console | None = None) -> list[dict[str, Any]]:
    """Prints rows with mean and spread over their seeds, and the first against each other with a paired bootstrap."""
    columns = ('row', 'seeds', 'mAP', 'CF1', 'OF1', 'top-3 CF1', 'top-3 OF1', 'other scores, mAP', 'seconds')
    table = Table('', columns)
    comparisons = []
    for name, runs in groups.items():
        values = [[run['metrics'][key] for run in runs] for key in ('mAP', 'CF1', 'OF1', 'top3_CF1', 'top3_OF1')]
        kinds = [kind for kind in runs[0]['mAP_by_score'] if kind != runs[0]['score']]
        others = [f'{kind} {spread(mean_sd(run["mAP_by_score"].get(kind) for run in runs))}' for kind in kinds]
        seconds = spread(mean_sd(run['seconds']['total'] for run in runs), 0)
        seeds = ', '.join(str(run['seed']) for run in runs)
        cells = [spread(mean_sd(column)) for column in values]
        table.rows.append((name, seeds, *cells, '\n'.join(others), seconds))
    first, *rest = groups
    samples = Resamples()
    for other in rest:
        try:
            found = samples.gain(groups[first], groups[other])
        except NotComparable as error:
            table.notes.append(f'{first} - {other}: no interval, as {error}')
            continue
        comparisons.append({'rows': [first, other], **found})
        table.notes.append(
            f'{first} - {other}: {found["difference"]:+.2f} mAP, 95 % interval {limits(found)} (paired bootstrap over '
            f'{found["images"]} images, {found["resamples"]} resamples, '
            f'mean of seeds {", ".join(map(str, found["seeds"]))})'
        )
    table.print(console)
    return comparisons


def in_words(groups: Groups, comparisons: list[dict[str, Any]]) -> list[str]:
    """What a newcomer should know of some runs: who is ahead, what several seeds gave, and what to do next."""
    out = []
    for found in comparisons:
        (first, other), between = found['rows'], limits(found)
        if found['low'] <= 0 <= found['high']:
            told = f'{first} and {other} are level: the interval {between} of their difference holds 0.'
        else:
            ahead, behind = (first, other) if found['difference'] > 0 else (other, first)
            gain = f'by {abs(found["difference"]):.2f} mAP, and the interval {between} of the difference is clear of 0'
            told = f'{ahead} is ahead of {behind} {gain}.'
        out.append(told)
        seeds = {run['seed'] for run in groups[first]}
        kept = _kept(first) if other == f'{first}_baseline' else None
        if kept is not None and len(seeds) < len(kept['seeds']):
            out.append(
                f'One seed says little. Seeds {", ".join(map(str, kept["seeds"]))} gave {interval(kept)} mAP over the '
                f'baseline (results/{first}.json).'
            )
    last = next(iter(groups.values()))[0]
    out.append(f'Next: mlsgm report {shlex.quote(last["folder"])}   what it sees, in the browser')
    out.append('      mlsgm train FOLDER   your own photographs (README)')
    return out


def _kept(name: str) -> dict[str, Any] | None:
    """The gain over its baseline that the clone's results/ have of a row."""
    try:
        return read_json(RESULTS / f'{name}.json')['against_baseline']
    except (OSError, ValueError, KeyError):
        return None

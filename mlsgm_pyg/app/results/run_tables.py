"""What runs come to, on a terminal: the table of one, and the comparison of several."""

from __future__ import annotations

import shlex
from typing import Any

from rich.console import Console

from mlsgm_pyg.app.common.tables import Table
from mlsgm_pyg.app.common.text import counted, limits, mean_sd, some, spread
from mlsgm_pyg.app.results import scores as score_files
from mlsgm_pyg.app.results.bootstrap import SIX, Resamples


def show(out: dict[str, Any], console: Console | None = None) -> None:
    """Prints one run: AP of every class, then the six metrics for all labels and the top 3."""
    for table in tables(out):
        table.print(console)


def tables(out: dict[str, Any]) -> tuple[Table, Table]:
    """One run: AP of every class, and the six metrics for all labels and the top 3."""
    title = f'{out["name"]}, seed {out["seed"]}: AP ({out["ap"]}, {out["score"]} score, {out["evaluated_on"]})'
    values = out['metrics']['AP'] | {'mAP': out['mAP']}
    if len(values) > 12:  # Too wide: one class a line.
        aps = Table(title, ('class', 'AP'), [(name, _number(value)) for name, value in values.items()])
    else:
        aps = Table(title, list(values), [[_number(value) for value in values.values()]], left=0)
    six = [
        ('all', *(_number(out['metrics'][key]) for key in SIX)),
        (f'top-3 ({out["top3"]})', *(_number(out['metrics'][f'top3_{key}']) for key in SIX)),
    ]
    folder = shlex.quote(out['folder'])
    notes = [_facts(out), f'mlsgm predict {folder} PHOTOGRAPHS --draw drawn', f'mlsgm report {folder}']
    return aps, Table('Labels at probability >= 0.5, and among the three highest', ('', *SIX), six, notes)


def compare(groups: dict[str, list[dict[str, Any]]], console: Console | None = None) -> dict[str, Any]:
    """Prints rows with mean and spread over their seeds, and the first against each other with a paired bootstrap."""
    columns = ('row', 'seeds', 'mAP', 'CF1', 'OF1', 'top-3 CF1', 'top-3 OF1', 'other scores, mAP', 'seconds')
    table = Table('', columns)
    summary: dict[str, Any] = {'rows': {}, 'comparisons': []}
    for name, runs in groups.items():
        values = [[run['metrics'][key] for run in runs] for key in ('mAP', 'CF1', 'OF1', 'top3_CF1', 'top3_OF1')]
        kinds = [kind for kind in runs[0]['mAP_by_score'] if kind != runs[0]['score']]
        others = [f'{kind} {spread(mean_sd(run["mAP_by_score"].get(kind) for run in runs))}' for kind in kinds]
        seconds = spread(mean_sd(run['seconds']['total'] for run in runs), 0)
        seeds = ', '.join(str(run['seed']) for run in runs)
        cells = [spread(mean_sd(column)) for column in values]
        table.rows.append((name, seeds, *cells, '\n'.join(others), seconds))
        summary['rows'][name] = {'seeds': [run['seed'] for run in runs], 'mAP': values[0]}
    first, *rest = groups
    samples = Resamples()
    for other in rest:
        try:
            found = samples.gain(groups[first], groups[other])
        except score_files.NotComparable as error:
            table.notes.append(f'{first} - {other}: no interval, as {error}')
            continue
        summary['comparisons'].append({'rows': [first, other], **found})
        table.notes.append(
            f'{first} - {other}: {found["difference"]:+.2f} mAP, 95 % interval {limits(found)} (paired bootstrap over '
            f'{found["images"]} images, {found["resamples"]} resamples, '
            f'mean of seeds {", ".join(map(str, found["seeds"]))})'
        )
    table.print(console)
    return summary


def _facts(out: dict[str, Any]) -> str:
    others = '  '.join(f'{name} {spread(mean_sd([value]))}' for name, value in out['mAP_by_score'].items())
    seconds, parameters = out['seconds'], out['parameters']
    epoch = "the last epoch's" if out['select'] == 'last' else "the best epoch's"
    unread = out.get('skipped') or []
    told = f'{counted(len(unread), "image")} could not be read: {some(unread)}\n' if unread else ''
    return (
        f'mAP by score: {others} ({epoch}; best epoch {spread(mean_sd([out["best_epoch_mAP"]]))})\n'
        f'{out["instances_per_image"]:.2f} instances an image, {parameters["trained"]:,} of {parameters["all"]:,} '
        f'parameters trained, {seconds["total"]:.0f} s ({seconds["epoch"]:.1f} s an epoch, '
        f'{1000 * seconds["step"]:.0f} ms a step)\n{told}{out["folder"]}'
    )


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.1f}'

"""What a run comes to, on a terminal."""

from __future__ import annotations

import shlex
from typing import Any

from rich.console import Console

from mlsgm_pyg.app.common.tables import Table
from mlsgm_pyg.app.common.text import counted, decimal, mean_sd, some, spread
from mlsgm_pyg.app.results.schema import IN_WORDS, SIX, has_top3


def show(out: dict[str, Any], console: Console | None = None) -> None:
    """Prints one run: AP of every class, then the six metrics for all labels and the top 3."""
    for table in tables(out):
        table.print(console)


def tables(out: dict[str, Any]) -> tuple[Table, Table]:
    """One run: AP of every class, and the six metrics for all labels, at fitted thresholds and, from ten classes on,
    for the top 3."""
    title = f'{out["name"]}, seed {out["seed"]}: AP ({out["ap"]}, {out["score"]} score, {out["evaluated_on"]})'
    values = out['metrics']['AP'] | {'mAP': out['mAP']}
    if len(values) > 12:  # Too wide: one class a line.
        aps = Table(title, ('class', 'AP'), [(name, decimal(value)) for name, value in values.items()])
    else:
        aps = Table(title, list(values), [[decimal(value) for value in values.values()]], left=0)
    six, among = [('all', *(decimal(out['metrics'][key]) for key in SIX))], ''
    if told := out.get('decisions'):
        six.append(('fitted', *(decimal(told['metrics'][key]) for key in SIX)))
        among = ', at fitted thresholds'
    if has_top3(out['metrics']['AP']):
        six.append((f'top-3 ({out["top3"]})', *(decimal(out['metrics'][f'top3_{key}']) for key in SIX)))
        among += ', and among the three highest'
    folder = shlex.quote(out['folder'])
    notes = [IN_WORDS, _facts(out), f'mlsgm predict {folder} PHOTOGRAPHS --draw drawn', f'mlsgm report {folder}']
    return aps, Table(f'Labels at probability >= 0.5{among}', ('', *SIX), six, notes)


def _facts(out: dict[str, Any]) -> str:
    others = '  '.join(f'{name} {spread(mean_sd([value]))}' for name, value in out['mAP_by_score'].items())
    seconds, parameters = out['seconds'], out['parameters']
    epoch = "the last epoch's" if out['select'] == 'last' else "the best epoch's"
    unread = out.get('skipped') or []
    lost = f'{counted(len(unread), "image")} could not be read: {some(unread)}\n' if unread else ''
    told, ece = out.get('decisions'), ''
    if told:
        before, after = (f'{told["ece"][key]:.3f}' for key in ('before', 'after'))
        ece = f'calibration error {before}, at the fitted temperature {told["temperature"]:.2f} {after}\n'
    return (
        f'mAP by score: {others} ({epoch}; best epoch {spread(mean_sd([out["best_epoch_mAP"]]))})\n'
        f'{out["instances_per_image"]:.2f} instances an image, {parameters["trained"]:,} of {parameters["all"]:,} '
        f'parameters trained, {seconds["total"]:.0f} s ({seconds["epoch"]:.1f} s an epoch, '
        f'{1000 * seconds["step"]:.0f} ms a step)\n{ece}{lost}{out["folder"]}'
    )

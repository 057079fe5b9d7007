"""What a sweep on a held-out part of the training images chooses: each row's best options, of equally many trials."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence
from typing import Any

from mlsgm_pyg.app.config.words import words_of, written

HELD_OUT = ('data.dev', 'data.limit', 'data.test_limit')  # What a trial has and the run that is reported has not.


def best(points: Sequence[dict[str, Any]], groups: Sequence[dict[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """Row -> its best values by mAP on the held-out part, how many trials there were, and the command of the whole run;
    of the points of a sweep and, a point each, row -> the results of its runs.

    Empty where images were not held out: what is chosen on the images that are reported is no result.
    """
    out: dict[str, Any] = {}
    if not all(_is_held_out(run) for group in groups for runs in group.values() for run in runs):
        return out
    for row in groups[0]:
        means = [statistics.mean(run['mAP'] for run in group[row]) for group in groups]
        at = max(range(len(means)), key=means.__getitem__)
        command = shlex.join(['python', '-m', 'experiments.run', *_whole(groups[at][row][0]['config'])])
        out[row] = {'trials': len(means), 'values': points[at]['values'], 'mAP': means[at], 'command': command}
    return out


def told(found: dict[str, Any], evaluated_on: str) -> list[str]:
    """The choice in words, a line a row."""
    lines = []
    for row, one in found.items():
        values = ' '.join(f'{key}={written(key, value)}' for key, value in one['values'].items())
        lines.append(f'{row}: best of {one["trials"]} trials on {evaluated_on}: {values} ({one["mAP"]:.2f} mAP)')
        lines.append(f'  {one["command"]}')
    return lines


def _is_held_out(run: dict[str, Any]) -> bool:
    return run.get('config', {}).get('data', {}).get('dev', 0) > 0


def _whole(config: dict[str, Any]) -> list[str]:
    """The words of the same run on all images."""
    return [word for word in words_of(config) if not word.startswith(tuple(f'{key}=' for key in (*HELD_OUT, 'name')))]

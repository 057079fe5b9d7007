"""What a newcomer should know of some runs: who is ahead, what several seeds gave, and what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from mlsgm_pyg.app.common.files import read_json
from mlsgm_pyg.app.common.text import interval, limits

RESULTS = Path(__file__).resolve().parents[1] / 'results'


def in_words(groups: dict[str, list[dict[str, Any]]], comparisons: list[dict[str, Any]]) -> list[str]:
    """Lines on runs by name, and the differences between them."""
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

"""What a sweep comes to: every point with its seeds, gains with their intervals, the average, and a picture."""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from experiments.sweeps import tuning
from mlsgm_pyg.app.common.machine import made_by
from mlsgm_pyg.app.config.load import fingerprint
from mlsgm_pyg.app.results.bootstrap import NotComparable, Resamples, check_same_images, interval

Groups = dict[str, list[dict[str, Any]]]  # Row -> the results of its runs, by rising seed.
SHARED = ('score', 'ap', 'evaluated_on', 'select')


def summarise(swept: Sequence[str], points: dict[tuple, Groups]) -> dict[str, Any]:
    """All numbers of a sweep, as its JSON file has them.

    A row's average is that of its points' means over seeds. The first row's gains come with a paired bootstrap over
    images, on the seeds that both rows have: at every point, and of the average where all points have the same images.
    Where there can be none, `without_gain` says why.
    """
    rows = list(next(iter(points.values())))
    out: dict[str, Any] = {'rows': rows, 'swept': {key: [] for key in swept}, 'points': []}
    samples = Resamples()
    for values, groups in points.items():
        pairs = {other: (groups[rows[0]], groups[other]) for other in rows[1:]}
        gains, without = samples.gains(pairs)
        runs = {row: _numbers(outs) for row, outs in groups.items()}
        out['points'].append({'values': dict(values), 'runs': runs, 'gains': gains, 'without_gain': without})
        for key, value in values:
            out['swept'][key] += [value] if value not in out['swept'][key] else []
    means = {row: _average([point['runs'][row]['mAP'] for point in out['points']]) for row in rows}
    out['average'] = {'mAP': means, 'gains': _average_gains(rows, list(points.values()), samples)}
    out['best'] = tuning.best(out['points'], list(points.values()))
    first = next(iter(next(iter(points.values())).values()))[0]
    every = [made for groups in points.values() for outs in groups.values() for made in outs]
    return out | {key: first[key] for key in SHARED} | {'made_by': made_by(every)}


def _numbers(outs: list[dict[str, Any]]) -> dict[str, Any]:
    kinds = outs[0]['mAP_by_score']
    return {
        'name': outs[0]['name'],
        'score': outs[0]['score'],
        'seeds': [out['seed'] for out in outs],
        'mAP': [out['mAP'] for out in outs],
        'mAP_by_score': {kind: [out['mAP_by_score'][kind] for out in outs] for kind in kinds},
        'labels': outs[0].get('labels'),
        'seconds': [out['seconds']['total'] for out in outs],
    }


def _average(values: list[list[float]]) -> float:
    return statistics.mean(statistics.mean(seeds) for seeds in values)


def _average_gains(rows: list[str], points: list[Groups], samples: Resamples) -> dict[str, Any]:
    """The mean over the points, in each resample, of the first row's gain."""
    out = {}
    for other in rows[1:]:
        with suppress(NotComparable):
            pairs = (samples.difference(groups[rows[0]], groups[other], ('mAP',)) for groups in points)
            found, counted = zip(*pairs)
            for one in found:
                check_same_images(found[0], one)
            average = interval(np.mean([one['mAP'] for one in found], axis=0))
            out[other] = average | {key: counted[0][key] for key in ('resamples', 'images')}
    return out


def file_name(row: str, swept: Sequence[str], configs: Sequence[Any]) -> str:
    """The file of a sweep: the first row, the options, and a hash of all its runs' options but the seed."""
    digest = hashlib.sha256(json.dumps(sorted({f'{c.row} {fingerprint(c)}' for c in configs})).encode()).hexdigest()
    return re.sub(r'[^\w.+-]+', '-', f'{row}-{"-".join(swept)}-{digest[:8]}.json')


def draw(summary: dict[str, Any], path: Path) -> None:
    """A curve a row over the first option's values, and one for each combination of the others; bars span the seeds."""
    from matplotlib.figure import Figure

    key, *rest = summary['swept']
    along, rest = (rest, []) if summary.get('together') else ([], rest)
    x = summary['swept'][key]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in x)
    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.subplots()
    lines: dict[str, list[tuple]] = {}
    for point in summary['points']:
        values = point['values']
        for row in summary['rows']:
            label = ', '.join([row, *(f'{other}={values[other]}' for other in rest)])
            runs = point['runs'][row]['mAP']
            mean = statistics.mean(runs)
            where = values[key] if numeric else x.index(values[key])
            lines.setdefault(label, []).append((where, mean, mean - min(runs), max(runs) - mean))
    for label, found in lines.items():
        at, mean, below, above = zip(*sorted(found))
        axes.errorbar(at, mean, yerr=(below, above), marker='o', markersize=4, capsize=3, label=label)
    if not numeric:
        axes.set_xticks(range(len(x)), [str(value) for value in x])
    elif min(x) > 0 and max(x) >= 50 * min(x):
        axes.set_xscale('log')
    axes.set_xlabel(' and '.join([key, *along]))
    axes.set_ylabel(f'mAP ({summary["evaluated_on"]}, %)')
    axes.grid(alpha=0.3)
    axes.legend(fontsize='small')
    figure.savefig(path, dpi=150)

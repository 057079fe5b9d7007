"""What a comparison of finished runs comes to: metrics, paired differences, steps of a ladder, costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.bootstrap import FIGURES, NotComparable, Resamples
from experiments.common.machine import made_by
from experiments.common.text import counted, mean_sd
from experiments.grouping import Row, apart, beside, change, protocol

FEW = 30  # Resamples of fewer images say little.


def summarise(
    rows: Sequence[Row], reference: Row, steps: Sequence[Row] = (), samples: Resamples | None = None
) -> dict[str, Any]:
    """All numbers of a comparison, as its JSON file has them.

    Args:
        rows (sequence of Row): What is compared.
        reference (Row): The one that all others are compared with.
        steps (sequence of Row): A ladder, each of whose rows is compared with the one before. (default: none)
        samples (Resamples, optional): Where resampled metrics come from. (default: 1,000 resamples)
    """
    samples = samples or Resamples()
    others = [row for row in rows if row is not reference]
    against, without = _pairs([(reference, other) for other in others], samples)
    climbed, without_step = _pairs(list(zip(steps[1:], steps)), samples)
    for (after, before), found in zip(zip(steps[1:], steps), climbed):
        if found is not None:
            found['change'] = change(after, before)
    differ = {row.label: _told(beside(row, reference)) for row in others}
    return {
        'reference': reference.label,
        'protocol': protocol(reference),
        'rows': [_row(row) for row in rows],
        'against': [found for found in against if found],
        'ladder': [row.label for row in steps],
        'steps': [found for found in climbed if found],
        'not_compared': without + without_step,
        'beside': {label: found for label, found in differ.items() if found},
        'notes': _notes(rows),
    }


def _row(row: Row) -> dict[str, Any]:
    metrics = {key: _over([run['metrics'].get(key) for run in row.runs]) for key in FIGURES}
    classes = {
        name: _over([run['metrics']['AP'].get(name) for run in row.runs]) for name in row.runs[0]['metrics']['AP']
    }
    first = row.runs[0]
    kinds = {kind for run in row.runs for kind in run.get('mAP_by_score', {})}
    return {
        'label': row.label,
        'name': row.name,
        'row': row.config['row'],
        'model': row.config['model']['name'],
        'seeds': row.seeds,
        'score': first['score'],
        'protocol': protocol(row),
        'metrics': metrics,
        'AP': classes,
        'mAP_by_score': {kind: _over([run['mAP_by_score'].get(kind) for run in row.runs]) for kind in sorted(kinds)},
        'parameters': first['parameters'],
        'instances_per_image': _over([run.get('instances_per_image') or None for run in row.runs]),
        'train_images': first.get('images', {}).get('train'),
        'seconds': {key: _over([run['seconds'].get(key) for run in row.runs]) for key in ('total', 'epoch', 'image')},
        'made_by': made_by(row.runs) if all('hardware' in run for run in row.runs) else [],
        'commands': list(dict.fromkeys(run.get('command') or '' for run in row.runs)),
        'folders': [run['folder'] for run in row.runs],
    }


def _over(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and standard deviation over seeds, and the values; None where there is nothing."""
    mean, deviation = mean_sd(values) or (None, None)
    return {'mean': mean, 'sd': deviation, 'values': list(values)}


def _pairs(
    pairs: Sequence[tuple[Row, Row]], samples: Resamples
) -> tuple[list[dict[str, Any] | None], list[dict[str, Any]]]:
    """The first row's gain of each pair, None where there can be none, and why."""
    out, without = [], []
    for one, other in pairs:
        labels = [one.label, other.label]
        try:
            why = apart(other, one)
            if why:
                raise NotComparable(f'they are not evaluated alike ({why})')
            found = samples.paired(one.runs, other.runs)
        except NotComparable as error:
            without.append({'rows': labels, 'why': str(error)})
            out.append(None)
            continue
        found['classes'] = dict(zip(one.runs[0]['metrics']['AP'], found['classes'], strict=True))
        out.append({'rows': labels} | found)
    return out, without


def _told(differ: dict[str, tuple[Any, Any]]) -> dict[str, dict[str, Any]]:
    return {key: {'here': mine, 'reference': theirs} for key, (mine, theirs) in differ.items()}


def _notes(rows: Sequence[Row]) -> list[str]:
    """What must be known to read the numbers."""
    notes = []
    images = [row.runs[0].get('images', {}).get('test') or FEW for row in rows]
    if min(images) < FEW:
        notes.append(f'an evaluation of {counted(min(images), "image")} says little, whatever its interval')
    single = [row.label for row in rows if len(row.runs) == 1]
    if single:
        notes.append(
            f'one seed only, so no spread: {", ".join(single)}; an interval over images says nothing about seeds'
        )
    best = [row.label for row in rows if row.runs[0].get('select') == 'best']
    if best:
        notes.append(f'the best epoch by the evaluation itself, which is optimistic: {", ".join(best)}')
    for row in rows:
        notes += [f'{folder} repeats a seed of {row.label}, with other numbers: left out' for folder in row.left_out]
    partial = [row.label for row in rows if any(run.get('skipped') for run in row.runs)]
    if partial:
        notes.append(f'images that could not be read were left out: {", ".join(partial)}')
    return notes

"""What a comparison of finished runs comes to: metrics, paired differences, steps of a ladder, costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlsgm_pyg import models
from mlsgm_pyg.app.common.machine import made_by
from mlsgm_pyg.app.common.text import counted, mean_sd
from mlsgm_pyg.app.results import speed
from mlsgm_pyg.app.results.answer import FEW
from mlsgm_pyg.app.results.bootstrap import NotComparable, Resamples
from mlsgm_pyg.app.results.groups import Group, collect, find
from mlsgm_pyg.app.results.schema import FIGURES
from mlsgm_pyg.app.results.settings import counting

BUILT = ('name', 'backbone', 'weights', 'last_stride', 'freeze_backbone')  # Options of every model.
PARTS = {'csac': 'CSAC', 'instance_graph': 'instance graph', 'label_graph': 'label graph', 'matches': 'matching edges'}
RUNGS = {  # The parts of Table VII's rows.
    frozenset(): 1,
    frozenset({'csac'}): 2,
    frozenset({'csac', 'instance_graph'}): 3,
    frozenset({'label_graph'}): 4,
    frozenset({'instance_graph', 'label_graph'}): 5,
    frozenset({'csac', 'instance_graph', 'label_graph'}): 6,
    frozenset(PARTS): 7,
}


def compare(
    runs: Sequence[str | Path],
    reference: str | None = None,
    ladder: Sequence[str] | None = None,
    resamples: int = 1000,
    timed: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """All numbers of finished runs side by side.

    Args:
        runs (sequence of str or Path): Their folders, or folders that hold some.
        reference (str, optional): The row that every other one is compared with. (default: the first)
        ladder (sequence of str, optional): Rows of which each is compared with the one before. (default: those of an
            ablation, see :func:`ladder_of`)
        resamples (int): Of the bootstrap. (default: :obj:`1000`)
        timed (dict, optional): `batch`, `rounds` and `device` with which the models are timed, too.

    Raises:
        FileNotFoundError, ConfigError: If there is no finished run, or none of such a name.
    """
    rows, left_out = collect([Path(folder) for folder in runs])
    first = find(rows, reference) if reference else rows[0]
    steps, told = ([find(rows, name) for name in ladder], []) if ladder else ladder_of(rows, first)
    summary = summarise(rows, first, steps, Resamples(resamples))
    summary['notes'] += left_out + told
    if timed:
        summary['speed'] = speed.timed(rows, **timed)
    return summary


def summarise(
    rows: Sequence[Group], reference: Group, steps: Sequence[Group] = (), samples: Resamples | None = None
) -> dict[str, Any]:
    """All numbers of a comparison, as its JSON file has them.

    Args:
        rows (sequence of Group): What is compared.
        reference (Group): The one that all others are compared with.
        steps (sequence of Group): A ladder, each of whose rows is compared with the one before. (default: none)
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


def protocol(row: Group) -> dict[str, Any]:
    """What rows must share for their numbers to mean the same: data set, classes, images, and how they are scored."""
    out = row.runs[0].result
    return {
        'data set': row.data,
        'classes': ', '.join(row.runs[0].class_names),
        'evaluated on': out['evaluated_on'],
        'images': out['images']['test'],
        'AP': out['ap'],
        'top 3': out['top3'],
        'difficult objects': out['difficult'],
    }


def apart(row: Group, reference: Group) -> str:
    """Why a row's numbers do not mean what the reference's do; empty where they do."""
    mine, theirs = protocol(row), protocol(reference)
    told = []
    for key, value in mine.items():
        if value == theirs[key]:
            continue
        told.append('other classes' if key == 'classes' else f'{key}: {value}, not {theirs[key]}')
    return '; '.join(told)


def beside(row: Group, reference: Group) -> dict[str, tuple[Any, Any]]:
    """The options that differ beside the model: option -> the row's value and the reference's.

    Options of the model count where both models take them.
    """
    mine, theirs = counting(row.options), counting(reference.options)
    taken = [set(BUILT).union(_arguments(one.options['model']['name'])) for one in (row, reference)]
    out = {}
    for key in mine.keys() & theirs.keys():
        section, _, name = key.partition('.')
        of_model = section == 'model' and name
        if key == 'model.name' or (of_model and not all(name in options for options in taken)):
            continue
        if mine[key] != theirs[key]:
            out[key] = mine[key], theirs[key]
    return dict(sorted(out.items()))


def ladder_of(rows: Sequence[Group], reference: Group) -> tuple[list[Group], list[str]]:
    """The rows of Table VII in its order, where some row is an ablation, and what had to be decided.

    Of several rows with the same parts, that with the fewest other options than the reference is taken.
    """
    rungs: dict[int, list[Group]] = {}
    for row in rows:
        rung = None if parts(row) is None or apart(row, reference) else RUNGS.get(parts(row))
        if rung:
            rungs.setdefault(rung, []).append(row)
    notes = []
    if not any(row.options['model']['name'] == 'ablation' for found in rungs.values() for row in found):
        return [], notes
    steps = []
    for rung, found in sorted(rungs.items()):
        best = reference if reference in found else min(found, key=lambda row: len(beside(row, reference)))
        steps.append(best)
        if len(found) > 1:
            labels = ', '.join(row.label for row in found if row is not best)
            notes.append(f'row {rung} of Table VII is {best.label} here, not {labels} (--ladder names others)')
    return steps, notes


def change(after: Group, before: Group) -> str:
    """What a step of a ladder adds and takes away."""
    now, then = parts(after), parts(before)
    if now is None or then is None:
        return ''
    added = [f'+ {word}' for part, word in PARTS.items() if part in now - then]
    removed = [f'- {word}' for part, word in PARTS.items() if part in then - now]
    return ', '.join(added + removed)


def parts(row: Group) -> frozenset[str] | None:
    """What a row has of ML-SGM's parts; None of a model that Table VII does not have."""
    model = row.options['model']
    if model['name'] == 'ablation':
        return frozenset(model['parts'])
    return {'baseline': frozenset(), 'ml_sgm': frozenset(PARTS)}.get(model['name'])


def _row(row: Group) -> dict[str, Any]:
    outs = row.results
    first = outs[0]
    metrics = {key: _over([out['metrics'][key] for out in outs]) for key in FIGURES}
    classes = {name: _over([out['metrics']['AP'].get(name) for out in outs]) for name in first['metrics']['AP']}
    kinds = {kind for out in outs for kind in out['mAP_by_score']}
    return {
        'label': row.label,
        'name': row.name,
        'row': row.row,
        'model': row.options['model']['name'],
        'seeds': row.seeds,
        'score': first['score'],
        'protocol': protocol(row),
        'metrics': metrics,
        'AP': classes,
        'mAP_by_score': {kind: _over([out['mAP_by_score'].get(kind) for out in outs]) for kind in sorted(kinds)},
        'parameters': first['parameters'],
        'instances_per_image': _over([out['instances_per_image'] or None for out in outs]),
        'train_images': first['images']['train'],
        'seconds': {key: _over([out['seconds'][key] for out in outs]) for key in ('total', 'epoch', 'image')},
        'made_by': made_by(outs),
        'commands': list(dict.fromkeys(out['command'] for out in outs)),
        'folders': [out['folder'] for out in outs],
    }


def _over(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and standard deviation over seeds, and the values; None where there is nothing."""
    mean, deviation = mean_sd(values) or (None, None)
    return {'mean': mean, 'sd': deviation, 'values': list(values)}


def _pairs(
    pairs: Sequence[tuple[Group, Group]], samples: Resamples
) -> tuple[list[dict[str, Any] | None], list[dict[str, Any]]]:
    """The first row's gain of each pair, None where there can be none, and why."""
    out, without = [], []
    for one, other in pairs:
        labels = [one.label, other.label]
        try:
            why = apart(other, one)
            if why:
                raise NotComparable(f'they are not evaluated alike ({why})')
            found = samples.paired(one.results, other.results)
        except NotComparable as error:
            without.append({'rows': labels, 'why': str(error)})
            out.append(None)
            continue
        found['classes'] = dict(zip(one.runs[0].class_names, found['classes'], strict=True))
        out.append({'rows': labels} | found)
    return out, without


def _told(differ: dict[str, tuple[Any, Any]]) -> dict[str, dict[str, Any]]:
    return {key: {'here': mine, 'reference': theirs} for key, (mine, theirs) in differ.items()}


def _notes(rows: Sequence[Group]) -> list[str]:
    """What must be known to read the numbers."""
    notes = []
    images = [row.runs[0].result['images']['test'] or FEW for row in rows]
    if min(images) < FEW:
        notes.append(f'an evaluation of {counted(min(images), "image")} says little, whatever its interval')
    single = [row.label for row in rows if len(row.runs) == 1]
    if single:
        notes.append(
            f'one seed only, so no spread: {", ".join(single)}; an interval over images says nothing about seeds'
        )
    best = [row.label for row in rows if row.runs[0].result['select'] == 'best']
    if best:
        notes.append(f'the best epoch by the evaluation itself, which is optimistic: {", ".join(best)}')
    for row in rows:
        notes += [f'{folder} repeats a seed of {row.label}, with other numbers: left out' for folder in row.left_out]
    partial = [row.label for row in rows if any(run.result['skipped'] for run in row.runs)]
    if partial:
        notes.append(f'images that could not be read were left out: {", ".join(partial)}')
    return notes


def _arguments(name: str) -> list[str]:
    return models.arguments(name) if name in models.MODELS else []

"""The one answer of training: which of two models is better on these photographs, and which one is taken."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

from mlsgm_pyg.app.common.errors import Gone
from mlsgm_pyg.app.common.files import replacing, write_json
from mlsgm_pyg.app.common.tables import Table
from mlsgm_pyg.app.common.text import counted, decimal, some
from mlsgm_pyg.app.results.bootstrap import NotComparable, Resamples
from mlsgm_pyg.app.results.groups import ANSWER, MODEL
from mlsgm_pyg.app.results.run import FIT, Run

NAMES = {'ml_sgm': 'ML-SGM', 'baseline': 'the linear baseline'}
FEW = 30  # An interval over fewer photographs says little.
MOST_CLASSES = 20  # Of a table on a terminal.


def settle(ours: Run, baseline: Run) -> dict[str, Any]:
    """Decides between ML-SGM and its baseline, evaluated on the same photographs, and keeps the answer above both.

    What differs is told of the photographs that neither saw; the choice is made on those that thresholds are fitted on:
    the baseline is taken where it is ahead there with its whole interval. `model.ckpt` is then the chosen one's, and
    stands for both wherever a RUN is asked for.
    """
    samples = Resamples()
    runs = {'ml_sgm': ours, 'baseline': baseline}
    gains = {'test': None, 'fit': None}
    for part, (mine, theirs) in {'test': (ours.result, baseline.result), 'fit': (_fit(ours), _fit(baseline))}.items():
        try:
            if mine and theirs:
                gains[part] = samples.gain([mine], [theirs])
        except NotComparable:
            continue
    is_behind = gains['fit'] is not None and gains['fit']['high'] is not None and gains['fit']['high'] < 0
    chosen = 'baseline' if is_behind else 'ml_sgm'
    place = ours.folder.parents[1]
    out = {
        'chosen': chosen,
        'folders': {name: str(run.folder.relative_to(place)) for name, run in runs.items()},
        'mAP': {name: run.result['mAP'] for name, run in runs.items()},
        'images': ours.result['images']['test'],
        'gain': gains['test'],
        'gain_on_fit': gains['fit'],
    }
    with replacing(place / MODEL) as spare:
        shutil.copyfile(runs[chosen].checkpoint, spare)
    write_json(place / ANSWER, out)
    return out


def table(ours: Run, baseline: Run) -> Table:
    """AP of every class, and their mean, of both."""
    first, second = (run.result['metrics'] for run in (ours, baseline))
    names = list(first['AP']) if len(first['AP']) <= MOST_CLASSES else []
    rows = [(name, decimal(first['AP'][name]), decimal(second['AP'].get(name))) for name in names]
    number = sum(value is not None for value in first['AP'].values())  # A class that nothing shows has none.
    rows.append((f'mean of {counted(number, "class", "classes")}', decimal(first['mAP']), decimal(second['mAP'])))
    about = ours.result
    title = f'Average precision, percent, on {counted(about["images"]["test"], "photograph")} ({about["evaluated_on"]})'
    unread = about['skipped']
    notes = [f'{counted(len(unread), "photograph")} could not be read: {some(unread)}'] if unread else []
    return Table(title, ('', 'ML-SGM', 'baseline'), rows, notes)


def sentences(out: dict[str, Any], place: Path) -> str:
    """The answer in words, and what to type next."""
    chosen = out['chosen']
    other = 'baseline' if chosen == 'ml_sgm' else 'ml_sgm'
    lines = [_compared(out), _taken(out, place / out['folders'][other]), '']
    run = shlex.quote(str(place))
    return '\n'.join([*lines, f'mlsgm predict {run} PHOTOGRAPHS --draw drawn', f'mlsgm report {run}'])


def _fit(run: Run) -> dict[str, Any] | None:
    """A run's result as it would be on the photographs that thresholds are fitted on; None where none were kept."""
    try:
        scores = run.fit_scores
    except Gone as gone:
        raise Gone(f'{gone}; --again trains it once more') from gone
    return scores and run.result | {'folder': str(run.folder / FIT), 'scores': scores}


def _compared(out: dict[str, Any]) -> str:
    ours, theirs, gain = out['mAP']['ml_sgm'], out['mAP']['baseline'], out['gain']
    seen = f'on {counted(out["images"], "photograph")} that neither saw'
    if gain is None or gain['low'] is None:
        return (
            f'ML-SGM has {ours:.1f} mAP and the linear baseline {theirs:.1f} {seen}; they cannot be compared further.'
        )
    low, high = gain['low'], gain['high']
    few = f' So few photographs say little: fewer than {FEW}.' if out['images'] < FEW else ''
    if low <= 0 <= high:
        told = f'from {abs(low):.1f} behind to {high:.1f} ahead, 95 % interval'
        return f'ML-SGM and the linear baseline are level: {ours:.1f} and {theirs:.1f} mAP {seen} ({told}).{few}'
    first, second = ('ML-SGM', 'the linear baseline') if low > 0 else ('The linear baseline', 'ML-SGM')
    least, most = sorted((abs(low), abs(high)))
    more, less = (ours, theirs) if low > 0 else (theirs, ours)
    told = f'by {least:.1f} to {most:.1f} points (95 % interval)'
    return f'{first} is ahead of {second} {told}: {more:.1f} against {less:.1f} mAP {seen}.{few}'


def _taken(out: dict[str, Any], other: Path) -> str:
    folder = shlex.quote(str(other))
    if out['chosen'] == 'ml_sgm':
        return f'Taken: ML-SGM, which draws boxes. (The linear baseline, without boxes: {folder})'
    gain = out['gain_on_fit']
    told = (
        f'{abs(gain["high"]):.1f} to {abs(gain["low"]):.1f} points on the {gain["images"]:,} photographs kept to choose'
    )
    return f'Taken: the linear baseline, ahead by {told}. It draws no boxes; ML-SGM, which does: {folder}'

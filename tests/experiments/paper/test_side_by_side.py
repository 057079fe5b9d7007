"""Rows that were trained by one command: who is ahead, and what a newcomer is told."""

from pathlib import Path

import numpy as np

from experiments.paper import side_by_side
from mlsgm_pyg.app.results import scores as score_files
from mlsgm_pyg.app.results.bootstrap import Resamples
from tests.app.results.test_run_tables import text


def test_rows_are_compared_by_mean_spread_and_interval(trained, tmp_path):
    def runs(name, shift):
        out = []
        for seed in (0, 1):
            kept = dict(np.load(Path(trained['folder']) / 'scores.npz'))
            kept['graph'] = kept['graph'] + shift * kept['y'] * (seed + 1)
            folder = tmp_path / f'{name}{seed}'
            folder.mkdir()
            score_files.save(folder / 'scores.npz', kept)
            metrics = trained['metrics'] | {'mAP': 60.0 + seed + 10 * shift}
            out.append(trained | {'name': name, 'seed': seed, 'folder': str(folder), 'metrics': metrics})
        return out

    groups = {'ours': runs('ours', 1.0), 'theirs': runs('theirs', 0.0)}
    shown = text(side_by_side.compare, groups)
    assert '70.50 ± 0.71' in shown and '60.50 ± 0.71' in shown
    found = Resamples().gain(*groups.values())
    assert f'ours - theirs: {found["difference"]:+.2f} mAP, 95 % interval [{found["low"]:+.2f}' in shown
    assert found['low'] > 0


def test_a_newcomer_is_told_who_is_ahead_and_what_is_next(tmp_path, monkeypatch):
    def found(difference, low, high, rows=('digits', 'digits_baseline')):
        return [{'rows': list(rows), 'difference': difference, 'low': low, 'high': high}]

    groups = {name: [{'seed': 0, 'folder': f'runs/{name}/seed0'}] for name in ('digits', 'digits_baseline')}
    kept = {'seeds': [0, 1, 2], 'difference': -0.94, 'low': -1.67, 'high': -0.15}
    monkeypatch.setattr(side_by_side, '_kept', lambda name: kept)
    level, seeds, *rest = side_by_side.in_words(groups, found(-0.3, -1.2, 0.4))
    assert level == 'digits and digits_baseline are level: the interval [-1.20, +0.40] of their difference holds 0.'
    assert seeds.startswith('One seed says little. Seeds 0, 1, 2 gave -0.94 [-1.67, -0.15] mAP over the baseline')
    assert 'mlsgm report runs/digits/seed0' in rest[0] and 'mlsgm train FOLDER' in rest[1]
    behind = side_by_side.in_words(groups, found(-0.9, -1.6, -0.1))[0]
    assert behind.startswith('digits_baseline is ahead of digits by 0.90 mAP, and the interval [-1.60, -0.10]')
    monkeypatch.undo()
    assert side_by_side._kept('digits')['difference'] and side_by_side._kept('own') is None
    own = side_by_side.in_words({'own': groups['digits']}, found(1, 0.5, 2, ('own', 'x')))
    assert own[0].startswith('own is ahead of x by 1.00') and not any('Seeds' in line for line in own)

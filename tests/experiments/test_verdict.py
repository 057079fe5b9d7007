"""What a newcomer is told after a run."""

from experiments import verdict


def test_a_newcomer_is_told_who_is_ahead_and_what_is_next(tmp_path, monkeypatch):
    def found(difference, low, high, rows=('digits', 'digits_baseline')):
        return [{'rows': list(rows), 'difference': difference, 'low': low, 'high': high}]

    groups = {name: [{'seed': 0, 'folder': f'runs/{name}/seed0'}] for name in ('digits', 'digits_baseline')}
    kept = {'seeds': [0, 1, 2], 'difference': -0.94, 'low': -1.67, 'high': -0.15}
    monkeypatch.setattr(verdict, '_kept', lambda name: kept)
    level, seeds, *rest = verdict.in_words(groups, found(-0.3, -1.2, 0.4))
    assert level == 'digits and digits_baseline are level: the interval [-1.20, +0.40] of their difference holds 0.'
    assert seeds.startswith('One seed says little. Seeds 0, 1, 2 gave -0.94 [-1.67, -0.15] mAP over the baseline')
    assert 'mlsgm report runs/digits/seed0' in rest[0] and 'mlsgm train FOLDER' in rest[1]
    behind = verdict.in_words(groups, found(-0.9, -1.6, -0.1))[0]
    assert behind.startswith('digits_baseline is ahead of digits by 0.90 mAP, and the interval [-1.60, -0.10]')
    monkeypatch.undo()
    own = verdict.in_words({'own': groups['digits']}, found(1, 0.5, 2, ('own', 'x')))
    assert own[0].startswith('own is ahead of x by 1.00') and not any('Seeds' in line for line in own)

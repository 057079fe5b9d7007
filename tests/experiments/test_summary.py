import json

import numpy as np
import pytest

from experiments import scores, summary


def write_run(folder, name, seed, logits, y, score, row=None, task=None):
    """A finished run with some scores, as experiments.run leaves it."""
    folder.mkdir(parents=True)
    found = {'index': np.arange(len(y)), 'instances': np.zeros(len(y)), 'y': y, score: logits}
    scores.save(folder / 'scores.npz', found)
    metrics = scores.evaluate(found, score, ['a', 'b'], 'non_interpolated', 'threshold')
    out = dict.fromkeys((*summary.KEPT, *summary.SHARED, 'versions'), None)
    out |= {
        'name': name,
        'seed': seed,
        'mAP': metrics['mAP'],
        'metrics': metrics,
        'mAP_by_score': {score: metrics['mAP']},
    }
    out |= {'score': score, 'ap': 'non_interpolated', 'config': {'row': row or name}, 'versions': {'torch': '2'}}
    out |= {'seconds': {'image': 0.025}, 'hardware': {'device': 'cpu', 'cores': 2}, 'command': f'run {name}'}
    if task:
        out['task'] = out['config']['task'] = task
    (folder / 'result.json').write_text(json.dumps(out))


@pytest.fixture
def runs(tmp_path):
    y = np.random.default_rng(0).integers(0, 2, (40, 2))
    noise = np.random.default_rng(1).normal(size=(4, 40, 2))
    for seed in (0, 1):
        write_run(tmp_path / 'runs' / 'row' / f'seed{seed}', 'row', seed, y + 0.1 * noise[seed], y, 'graph')
        write_run(
            tmp_path / 'runs' / 'row_baseline' / f'seed{seed}', 'row_baseline', seed, noise[seed + 2], y, 'logits'
        )
    (tmp_path / 'README.md').write_text(f'before\n{summary.START}\nold\n{summary.END}\nafter\n')
    return tmp_path


def test_runs_become_results_and_a_table(runs, capsys):
    assert summary.main([str(runs / 'runs'), '--root', str(runs)]) == 0
    row = json.loads((runs / 'results' / 'row.json').read_text())
    baseline = json.loads((runs / 'results' / 'row_baseline.json').read_text())
    assert [run['seed'] for run in row['runs']] == [0, 1] and baseline['against_baseline'] is None
    gain = row['against_baseline']
    means = [np.mean([run['mAP'] for run in part['runs']]) for part in (row, baseline)]
    assert gain['difference'] == pytest.approx(means[0] - means[1]) and gain['low'] < gain['difference'] < gain['high']
    text = (runs / 'README.md').read_text()
    assert text.startswith('before\n') and text.endswith('after\n') and 'old' not in text
    assert f'| `row` | 0, 1 | {means[0]:.2f} ± ' in text and 'run row_baseline' in text
    assert '| `row_baseline` | 0, 1 |' in capsys.readouterr().out
    (runs / 'results' / 'sweep.json').write_text('{"points": []}')  # Not a row.
    assert summary.main(['--root', str(runs)]) == 0  # From the files alone: the same page.
    assert (runs / 'README.md').read_text() == text


def test_nothing_found_names_the_folder(runs, tmp_path, capsys):
    assert summary.main([str(tmp_path / 'none')]) == 2
    assert "none' holds no finished run: there is no result.json in it" in capsys.readouterr().err


def test_runs_that_differ_in_more_than_their_seed_are_not_averaged(runs, capsys):
    path = runs / 'runs' / 'row' / 'seed1' / 'result.json'
    path.write_text(path.read_text().replace('"row": "row"', '"row": "row", "ema": 0.9'))
    assert summary.main([str(runs / 'runs'), '--root', str(runs)]) == 2
    assert "the runs of 'row' differ in more than their seed" in capsys.readouterr().err


def test_the_readme_is_what_its_results_say():
    text = (summary.ROOT / 'README.md').read_text()
    assert text == summary.readme(text, summary.load(summary.ROOT / 'results'))
    with pytest.raises(ValueError, match=r'README.md must hold the marks'):
        summary.readme('nothing here', {})


def test_partial_runs_meet_the_baseline_with_as_many_labels(tmp_path):
    """Rows of several known parts beside full ones, among them runs from before there were tasks."""
    y = np.random.default_rng(0).integers(0, 2, (40, 2))
    full = {'name': 'full', 'known': 1.0, 'mask_seed': 0}
    for number, (row, score) in enumerate((('row', 'graph'), ('row_baseline', 'logits'))):
        for known in (0.1, 0.2):
            name, task = f'{row}_partial_{known}', {'name': 'partial', 'known': known, 'mask_seed': 0}
            noise = np.random.default_rng([number, int(10 * known)]).normal(size=y.shape)
            write_run(tmp_path / 'runs' / name / 'seed0', name, 0, noise, y, score, row, task)
        write_run(tmp_path / 'runs' / row / 'seed0', row, 0, y + 0.1, y, score, row, full if number else None)
    groups = summary.collect([tmp_path / 'runs'])
    found = {name: summary.baseline_of(name, groups) for name in groups}
    assert {name: runs and runs[0]['name'] for name, runs in found.items()} == {
        'row': 'row_baseline', 'row_baseline': None,
        'row_partial_0.1': 'row_baseline_partial_0.1', 'row_baseline_partial_0.1': None,
        'row_partial_0.2': 'row_baseline_partial_0.2', 'row_baseline_partial_0.2': None,
    }  # fmt: skip
    del groups['row_baseline_partial_0.1']
    assert summary.baseline_of('row_partial_0.1', groups) is None  # Never the full labels' baseline.

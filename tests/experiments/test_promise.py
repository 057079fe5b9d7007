"""The first table: every regime's gain from the runs' own scores, and what was not run is named."""

import json

import pytest

from experiments import promise
from experiments.summary import PROMISE, README, ROOT, by_name, promise_table
from mlsgm_pyg.app.common.files import read_json
from mlsgm_pyg.app.results.bootstrap import Resamples
from tests.app.finished_runs import finish


@pytest.fixture
def runs(tmp_path):
    for seed in (0, 1):
        for i, name in enumerate(('photos_baseline', 'photos_mlp', 'photos_add_gcn', 'photos')):
            row = 'coco18' if name == 'photos' else 'coco18_baseline'
            finish(tmp_path / 'runs', row, f'name={name}', seed=seed, lift=0.2 * i)
    finish(tmp_path / 'runs', 'digits')  # Without a baseline it is no regime.
    marks = '\n'.join(PROMISE)
    (tmp_path / 'README.md').write_text(f'before\n{marks}\n')
    return tmp_path


def test_a_regime_is_its_runs_against_their_baseline_and_the_better_peer(runs, capsys):
    assert promise.main([str(runs / 'runs'), '--root', str(runs)]) == 0
    (row,) = json.loads((runs / 'results' / 'promise.json').read_text())
    groups, _ = by_name([runs / 'runs'])
    gain = Resamples().paired(groups['photos'].results, groups['photos_baseline'].results)['metrics']['mAP']
    assert row['regime'] == 'coco18_100' and row['seeds'] == [0, 1]
    assert (row['gain'], row['low'], row['high']) == (gain['difference'], gain['low'], gain['high'])
    peers = {kind: promise.mean(groups[f'photos_{kind}'], [0, 1]) for kind in ('mlp', 'add_gcn')}
    assert row['peer_score'] == peers[row['peer']] == max(peers.values()) and row['peer'] == 'add_gcn'
    assert row['ours'] - row['baseline'] == pytest.approx(row['gain'], abs=1e-6)
    assert '| coco18_100 |' in (runs / 'README.md').read_text()
    assert 'not run: digits, coco18_50, ' in capsys.readouterr().out


def test_the_readme_is_what_its_results_say():
    table = promise_table(read_json(ROOT / 'results' / 'promise.json')).markdown()
    assert f'{PROMISE[0]}\n{table}\n{PROMISE[1]}' in (ROOT / README).read_text()


def test_draws_are_a_regime_a_number_of_shots():
    gain = {'difference': 1.5, 'low': 0.5, 'high': 2.5, 'draws': 30}
    point = {
        'shots': 5,
        'first': 'ml_sgm',
        'gains': {'linear': gain},
        'methods': {'ml_sgm': {'mAP': 33.5}, 'linear': {'mAP': 32.0}},
    }
    out = {'summary': [point], 'config': {'seed': 0}, 'command': 'python -m experiments.few_shot photos_few_shot'}
    assert promise.rows_of({}, out | {'name': 'coco18_few_shot'}) == []
    out['name'] = 'photos_few_shot'
    (row,) = promise.rows_of({}, out)
    assert row['regime'] == 'few_shot_5' and row['gain'] == 1.5 and row['metric'].endswith('30 draws')


def test_nothing_to_promise_is_said(runs, capsys):
    assert promise.main([str(runs / 'runs' / 'digits'), '--root', str(runs)]) == 2
    assert 'none of these runs is of a regime that experiments/promise.py names' in capsys.readouterr().err

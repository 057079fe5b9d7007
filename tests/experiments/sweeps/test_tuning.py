"""Equal tuning: the best of equally many trials on held-out images, and the command of the run that is reported."""

import json

import pytest

from experiments import run, sweep
from experiments.sweeps import tuning
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.training import train


@pytest.fixture
def trials(monkeypatch):
    """Runs that take no time: the baseline likes high rates, ML-SGM low ones and dropout."""

    def fake(config, again=False, command=''):
        rate, drop = config.optimizer.lr, config.model.feature_dropout
        value = 50 + 1000 * rate if config.model.name == 'baseline' else 60 - 1000 * rate + 10 * drop
        out = {'name': config.name, 'seed': config.seed, 'mAP': value + config.seed, 'mAP_by_score': {'logits': value}}
        out |= {'score': 'logits', 'ap': 'non_interpolated', 'select': 'last', 'commit': 'c', 'versions': {}}
        out |= {'evaluated_on': '0.1 of train' if config.data.dev else 'val', 'hardware': {}, 'seconds': {'total': 1.0}}
        return out | {'config': configs.plain(config), 'folder': str(configs.run_dir(config))}

    monkeypatch.setattr(train, 'run', fake)


WORDS = ['coco18', 'coco18_baseline', 'optimizer.lr=1e-3,2e-3,3e-3', 'model.feature_dropout=0,0.5', 'data.limit=1500']


@pytest.mark.slow
def test_each_row_has_its_best_of_as_many_trials(trials, tmp_path, capsys):
    folder = f'runs_dir={tmp_path / "runs"}'
    assert sweep.main([*WORDS, 'data.dev=0.1', 'seeds=0,1', 'optimizer.ema_epochs=0.5', folder]) == 0
    shown = capsys.readouterr().out
    (path,) = (tmp_path / 'runs').glob('sweeps/*.json')
    best = json.loads(path.read_text())['best']
    assert best['coco18']['values'] == {'optimizer.lr': 0.001, 'model.feature_dropout': 0.5}
    assert best['coco18']['mAP'] == pytest.approx(64.5) and best['coco18']['trials'] == 6  # The mean of both seeds.
    assert best['coco18_baseline']['values']['optimizer.lr'] == 0.003 and best['coco18_baseline']['trials'] == 6
    told = 'coco18: best of 6 trials on 0.1 of train: optimizer.lr=0.001 model.feature_dropout=0.5 (64.50 mAP)'
    assert told in shown and best['coco18']['command'] in shown
    (again,) = run.configurations(best['coco18']['command'].split()[3:])
    wanted = ['optimizer.lr=1e-3', 'model.feature_dropout=0.5', 'optimizer.ema_epochs=0.5', folder]
    assert configs.plain(again) == configs.plain(configs.load('coco18', wanted))  # All images, evaluated on val.


@pytest.mark.slow
def test_nothing_is_chosen_on_the_images_that_are_reported(trials, tmp_path, capsys):
    assert sweep.main([*WORDS, f'runs_dir={tmp_path / "runs"}']) == 0
    assert 'best of' not in capsys.readouterr().out
    (path,) = (tmp_path / 'runs').glob('sweeps/*.json')
    assert json.loads(path.read_text())['best'] == {}


def test_the_first_of_equally_good_trials_is_the_best():
    config = configs.plain(configs.load('coco18', ['data.dev=0.1']))
    groups = [{'coco18': [{'mAP': value, 'config': config}]} for value in (1.0, 2.0, 2.0)]
    points = [{'values': {'optimizer.ema_epochs': value}} for value in (0.1, 0.2, 0.3)]
    found = tuning.best(points, groups)
    assert found['coco18']['values'] == {'optimizer.ema_epochs': 0.2} and tuning.told({}, 'val') == []

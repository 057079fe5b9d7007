"""What is not the row's, and the words that give a config again."""

import pytest

from experiments import run
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.config.words import differences, words_of

GIVEN = [
    ['coco18'],
    ['coco18', 'data.root=a folder', 'optimizer.lr=0.00001', 'features.flip=false', 'name=mine'],
    ['coco18', 'data.test_limit=5', 'model.block_channels=64,32', 'data.root="yes"', 'trainer.max_epochs=1'],
    ['voc2007_448_576', 'data.test_sizes=[448,640]'],
    ['voc2007_448_576', 'data.test_sizes=[]'],
    ['voc2007', 'task=partial', 'task.known=0.3', 'task.mask_seed=2'],
    ['voc2007', 'task=partial', 'task.known=0.3', 'loss.name=weighted_bce', 'name=1e-3'],
    ['coco', 'task=few_shot', 'task.novel=stop sign,dog', 'task.shots=2'],
    ['coco', 'task=few_shot', 'task.num_novel=7', 'task.methods=linear'],
    ['coco_few_shot', 'task.novel=dog', 'seed=3'],
]


@pytest.mark.parametrize('given', GIVEN)
def test_the_words_give_the_config_again(given):
    config = configs.load(given[0], given[1:])
    row, *options = words_of(configs.plain(config))
    assert configs.load(row, [*options, f'seed={config.seed}']) == config


def test_options_that_are_gone_are_left_out():
    config = configs.plain(configs.load('digits', ['optimizer.lr=0.5']))
    config['task']['weight_decay'] = 1e-4  # Of runs of an earlier version.
    assert words_of(config) == ['digits', 'optimizer.lr=0.5']
    assert differences(config) == {'optimizer.lr': 0.5}
    config['task']['ml_sgm_lr'] = 1e-3  # Another task's, of a time with another default.
    assert words_of(config) == ['digits', 'optimizer.lr=0.5']


def test_what_differs():
    config = configs.plain(configs.load('voc2007', ['model.gamma=0.3', 'seed=4', 'semantics.source=some.npz']))
    assert differences(config) == {'model.gamma': 0.3}
    assert differences(config, ('model.gamma=0.3',)) == {}
    del config['task'], config['data']['test_sizes']  # Of a time before these were there.
    assert differences(config) == {'model.gamma': 0.3}
    assert differences(config | {'row': 'gone', 'semantics': {'source': 'onehot'}}) == {}
    assert differences(config | {'semantics': {'source': 'onehot'}})['semantics.source'] == 'onehot'
    partial = configs.plain(configs.load('voc2007', ['task=partial', 'task.known=0.3', 'task.mask_seed=1']))
    assert differences(partial) == {'task.mask_seed': 1}


def test_a_resumed_run_says_what_it_was_started_with(tmp_path, monkeypatch):
    from omegaconf import OmegaConf

    config = configs.load('digits', ['seed=2', 'optimizer.lr=0.5'])
    OmegaConf.save(config, tmp_path / 'config.yaml')
    seen = []
    monkeypatch.setattr(run, '_train', lambda configs, again, command, folder: seen.append(command) or 0)
    assert run.main(['--resume', str(tmp_path)]) == 0
    assert seen == ['python -m experiments.run digits optimizer.lr=0.5 seed=2']

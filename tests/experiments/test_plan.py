"""Which runs some words ask for: rows, seeds, and options of several values."""

import shlex

import pytest

from experiments import plan
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.config import load as configs

TENTHS = [f'{i / 10:g}' for i in range(1, 10)]


def test_without_a_name_it_is_digits_and_its_baseline():
    found = plan.configurations(['seeds=0,1'])
    assert [(c.row, c.seed) for c in found] == [
        ('digits', 0), ('digits', 1), ('digits_baseline', 0), ('digits_baseline', 1),
    ]  # fmt: skip


def test_options_with_commas_are_a_grid():
    words = [
        'coco18',
        'task=partial',
        'task.known=0.1,0.2',
        'seeds=0,1',
        'model.block_channels=8,8',
        'optimizer.ema_epochs=0.5',
    ]
    rest, swept = plan.grid(words)
    assert rest == ['coco18', 'task=partial', 'seeds=0,1', 'model.block_channels=8,8', 'optimizer.ema_epochs=0.5']
    assert swept == {'task.known': ['0.1', '0.2']}


def test_the_plan_is_every_combination_one_seed_after_the_other():
    words = ['coco18', 'coco18_baseline', 'task=partial', f'task.known={",".join(TENTHS)}', 'seeds=0,1']
    planned = plan.plan(words)
    assert len(planned) == 2 * 9 * 2
    assert [config.seed for _, config, _ in planned] == [0] * 18 + [1] * 18
    assert [config.row for _, config, _ in planned[:4]] == ['coco18', 'coco18_baseline'] * 2
    assert [values['task.known'] for values, *_ in planned[:18:2]] == [float(value) for value in TENTHS]
    _, config, command = planned[1]
    assert config.name == 'coco18_baseline_partial_0.1' and config.loss.name == 'partial_bce'
    assert command == 'python -m experiments.run coco18_baseline task=partial task.known=0.1 seed=0'


@pytest.mark.parametrize(
    'words',
    [
        ['coco18', 'coco18_baseline', 'task=partial', 'task.known=0.1,0.2', 'optimizer.lr=1e-3,2e-3', 'data.root=a b'],
        ['coco18', 'model.gamma=0.1,0.2', 'model.pooling=mean,sum', 'seeds=3,4'],
    ],
)
def test_a_printed_command_makes_the_same_run(words):
    planned = plan.plan(words)
    for _, config, command in planned:
        (alone,) = plan.configurations(shlex.split(command)[3:])
        assert configs.run_dir(alone) == configs.run_dir(config) and configs.plain(alone) == configs.plain(config)
    assert len({configs.run_dir(config) for _, config, _ in planned}) == len(planned)


def test_a_value_that_the_row_has_anyway_is_the_rows_own_run():
    names = [config.name for _, config, _ in plan.plan(['coco18', 'model.gamma=0.2,0.3'])]
    assert names == ['coco18', 'coco18_gamma_0.3']


def test_lists_in_brackets_are_swept():
    words = ['coco18', 'model.block_channels=[256], [128,256]', 'model.box_threshold=0.2,0.4']
    assert plan.grid(words)[1] == {
        'model.block_channels': ['[256]', '[128,256]'],
        'model.box_threshold': ['0.2', '0.4'],
    }
    planned = plan.plan(words)
    assert [(list(config.model.block_channels), config.model.box_threshold) for _, config, _ in planned] == [
        ([256], 0.2), ([256], 0.4), ([128, 256], 0.2), ([128, 256], 0.4)
    ]  # fmt: skip
    values, config, command = planned[3]
    assert values == {'model.block_channels': '[128,256]', 'model.box_threshold': 0.4}
    assert config.name == 'coco18_block_channels_128-256_box_threshold_0.4'
    (alone,) = plan.configurations(shlex.split(command)[3:])
    assert configs.plain(alone) == configs.plain(config)


def test_options_that_change_together():
    words = ['coco18', 'model.hidden_channels=128,256', 'model.block_channels=[128,128],[256,256]']
    planned = plan.plan(words, together=True)
    assert [(c.model.hidden_channels, list(c.model.block_channels)) for _, c, _ in planned] == [
        (128, [128, 128]), (256, [256, 256])
    ]  # fmt: skip
    assert [c.name for _, c, _ in planned] == ['coco18_hidden_channels_128_block_channels_128-128', 'coco18']
    with pytest.raises(ConfigError, match=r'take as many values each \(got 2 of model.hidden_channels, 3 of m'):
        plan.plan([*words[:2], 'model.gamma=0.1,0.2,0.3'], together=True)
    with pytest.raises(ConfigError, match=r'stand in brackets each, such as \[8\],\[8,8\] \(got model.blo'):
        plan.plan(['coco18', 'model.block_channels=8,[8,8]'])

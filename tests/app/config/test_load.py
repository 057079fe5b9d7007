"""Options: defaults, rows on top of rows, and errors that say what was meant."""

from typing import get_type_hints

import lightning
import pytest
from omegaconf import OmegaConf

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.config.validate import check_trainer
from mlsgm_pyg.datasets import COCO_NOVEL


def test_every_row_loads_and_its_trainer_options_exist():
    known = get_type_hints(lightning.Trainer.__init__)
    for row, about in configs.rows().items():
        config = configs.load(row)
        check_trainer(config, known)
        assert config.name == config.row == row
        assert len(about) > 20, f'{row}.yaml must say in its first line what it is'


def test_a_row_inherits_from_its_base_and_the_command_line_wins():
    base, row = configs.load('coco18'), configs.load('coco18_baseline', ['optimizer.lr=0.5'])
    assert row.model.name == 'baseline' and base.model.name == 'ml_sgm'
    assert row.model.feature_channels == base.model.feature_channels == 512
    assert row.optimizer.lr == 0.5
    assert row.trainer.max_epochs == 6 and row.trainer.gradient_clip_val == 10.0  # One from the row, one the default.


def test_the_paper_rows_hold_the_papers_numbers():  # Section IV-C.
    config = configs.load('voc2007')
    assert (config.data.image_size, config.data.train_view) == (448, 'train')
    assert (config.model.feature_channels, config.model.gamma, list(config.model.block_channels)) == (
        1024,
        0.5,
        [512, 256],
    )
    optimizer = config.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.momentum) == ('sgd', 0.01, 0.9)
    assert (optimizer.weight_decay, optimizer.schedule, optimizer.step_epochs) == (1e-4, 'step', 30)
    assert (config.loss.name, config.loss.beta) == ('weighted_bce', 0.0)


def test_a_task_brings_its_loss_unless_one_is_named_beside_it():
    assert configs.load('voc2007').loss.name == 'weighted_bce'
    assert configs.load('voc2007', ['task=partial']).loss.name == 'partial_bce'  # Whatever the row has.
    assert configs.load('coco18_baseline', ['task.name=partial', 'task.known=0.1']).loss.name == 'partial_bce'
    assert configs.load('voc2007', ['task=partial', 'loss.name=weighted_bce']).loss.name == 'weighted_bce'
    partial = configs.load('coco18', ['loss.name=partial_bce'])
    assert partial.loss.name == 'partial_bce' and partial.task.name == 'full'


def test_the_few_shot_rows_hold_the_papers_classes():
    assert list(configs.load('coco_few_shot').task.novel) == list(COCO_NOVEL)
    assert configs.load('vg500_few_shot').task.num_novel == 100
    for row in ('coco_few_shot', 'vg500_few_shot'):
        task = configs.load(row).task
        assert (list(task.shots), task.loss, configs.load(row).loss.name) == (
            [1, 5],
            'asymmetric_focal',
            'weighted_bce',
        )


def test_partial_runs_have_names_of_their_own():
    names = [
        configs.load(row, ['task=partial', *more]).name
        for row, more in (
            ('coco18', ['task.known=0.1']),
            ('coco18_baseline', ['task.known=0.10']),
            ('coco18', []),
            ('coco18', ['task.known=0.1', 'task.mask_seed=3']),
            ('coco18', ['task.known=0.1', 'name=mine']),
        )
    ]
    assert names == [
        'coco18_partial_0.1', 'coco18_baseline_partial_0.1', 'coco18_partial_1', 'coco18_partial_0.1_mask3', 'mine',
    ]  # fmt: skip


def test_a_task_changes_the_fingerprint_and_the_name_of_the_usual_loss_does_not():
    plain, named = (configs.load('coco18', options) for options in ([], ['loss.name=weighted_bce']))
    assert configs.fingerprint(plain) == configs.fingerprint(named)
    partial = [configs.fingerprint(configs.load('coco18', ['task=partial', f'task.known={k}'])) for k in (0.1, 0.2)]
    assert len({*partial, configs.fingerprint(plain)}) == 3


@pytest.mark.parametrize(
    ('row', 'override', 'message'),
    [
        ('coc18', '', "unknown experiment 'coc18': did you mean 'coco18'?"),
        ('digits', 'optimiser.lr=1', "unknown option 'optimiser' in the command line: did you mean 'optimizer'?"),
        ('digits', 'model.gama=1', "unknown option 'model.gama' in the command line: did you mean 'model.gamma'?"),
        ('digits', 'model.lr=1', "unknown option 'model.lr' in the command line: did you mean 'optimizer.lr'?"),
        (
            'digits',
            'features.name=1',
            "unknown option 'features.name' in the command line: did you mean 'data.name' or 'task.name' or .*'?",
        ),
        ('digits', 'optimizer.lr=fast', "'optimizer.lr' in the command line must be float (got 'fast')"),
        ('digits', 'data.limit=1.5', "'data.limit' in the command line must be int (got 1.5)"),
        ('digits', 'data=3', "'data' in the command line must hold name, root, labels, images, .* (got 3)"),
        ('digits', 'model.pooling=max', "'model.pooling' must be one of mean, sum (got 'max')"),
        (
            'digits',
            'features.cache=true',
            "'features.cache' keeps a fixed backbone's maps: it needs model.freeze_backbone=true",
        ),
        ('digits', 'features.crop=0.5', "'features.crop' takes windows of cached maps: it needs features.cache=true"),
        ('coco18', 'features.crop=2', "'features.crop' is a fraction of the maps' sides in [0, 1] (got 2.0)"),
        ('digits', 'optimizer.warmup=1', "'optimizer.warmup' is a fraction of all steps in [0, 1) (got 1.0)"),
        ('digits', 'data.dev=2', "'data.dev' is a fraction of the training images in [0, 1) (got 2.0)"),
        (
            'digits',
            'data.test_sizes=448,448',
            "'data.test_sizes' are different sides in pixels (got [448, 448])",
        ),
        (
            'coco18',
            'data.test_sizes=448',
            "'data.test_sizes' tests on images: not with features.cache, graphs.store or task=few_shot",
        ),
        ('digits', 'task=parttial', "'task.name' must be one of full, partial, few_shot (got 'parttial')"),
        ('digits', 'task.known=0', "'task.known' is the part of the labels that is known, in (0, 1] (got 0.0)"),
        ('digits', 'task.known=1.5', "'task.known' is the part of the labels that is known, in (0, 1] (got 1.5)"),
        ('digits', 'task.known=0.5', "'task.known' needs task=partial (got task=full)"),
        ('digits', 'task.shots=3', "'task.shots' needs task=few_shot (got task=full)"),
        (
            'digits',
            'task=few_shot',
            'task=few_shot needs the novel classes: task.novel=a,b,c or, to draw some, task.num_novel=N',
        ),
        ('coco18_few_shot', 'task.shots=0', "'task.shots' must be at least 1 (got [0])"),
        ('coco18_few_shot', 'task.shots=5,5', "'task.shots' takes at least one value, each once (got [5, 5])"),
        ('coco18_few_shot', 'task.draws=0', "'task.draws' must be at least 1 (got 0)"),
        ('coco18_few_shot', 'task.num_novel=2', 'task=few_shot needs the novel classes: .* task.num_novel=N'),
        ('coco18_few_shot', 'task.methods=liner', "'task.methods' has no 'liner': did you mean 'linear'?"),
        (
            'digits',
            'ema=1',
            "'ema' in the command line is gone: optimizer.ema_epochs=N averages over N epochs (got ema=1)",
        ),
        ('digits', 'optimizer.ema_epochs=-1', "'optimizer.ema_epochs' must be at least 0 (got -1.0)"),
        ('digits', 'data.mixup=-1', "'data.mixup' must be at least 0 (got -1.0)"),
        ('digits', 'data.tune=1', "'data.tune' is a fraction of the training images in [0, 1) (got 1.0)"),
        ('digits', 'graphs.store=true', "'graphs.store' needs the checkpoint of a trained model: graphs.csac=PATH"),
        ('digits', 'trainer.max_epoch=1', "unknown option 'trainer.max_epoch': did you mean 'trainer.max_epochs'?"),
        ('digits', 'trainer.logger=1', "'trainer.logger' is set by the experiment itself"),
        ('digits', 'trainer=[1]', "'trainer' in the command line must be dict[str, Any] (got [1])"),
        ('digits', 'name=a: b', "'name' in the command line must be str (got {'a': 'b'})"),
        ('digits', 'data.limit={a: 1}', "'data.limit' in the command line must be int (got {'a': 1})"),
        ('digits', 'name=[', "'name' in the command line is not valid YAML, .*: quote a text (got [)"),
        ('digits', 'name={a', "'name' in the command line is not valid YAML, .*: quote a text (got {a)"),
        ('digits', 'name=${x}', "'name' in the command line: Interpolation key 'x' not found"),
        ('digits', 'name=???', "'name' in the command line: Missing mandatory value: name"),
        ('digits', 'seeds=', "'seeds' in the command line needs at least one seed: seeds=0,1,2 (got none)"),
        ('digits', 'name=\udced', r"'name' in the command line is not valid YAML: quote a text (got \udced)"),
        ('digits', f'optimizer.lr={10**400}', f"'optimizer.lr' in the command line must be float (got 1{'0' * 98}…)"),
        ('digits', f'name={"[" * 999}', "'name' in the command line is not valid YAML, more than 100 levels: .*"),
        ('digits', 'name=../x', "'name' is a folder in 'runs_dir', such as a/b (got '../x')"),
        ('digits', 'name=/x', "'name' is a folder in 'runs_dir', such as a/b (got '/x')"),
        ('digits', 'name="\\e"', "'name' is a folder in 'runs_dir', such as a/b (got '\\x1b')"),
        ('digits', 'data.root="\\0"', "'data.root' in the command line must be str (got '\\x00')"),
        ('digits', 'model.gamma=nan', "'model.gamma' must be a number, at most 1.79769e+308 (got nan)"),
        ('digits', f'data.num_workers={10**30}', "'data.num_workers' must be a number, at most 1000 (got 10.*"),
        ('digits', 'model.compile=2', "'model.compile' in the command line must be bool (got 2)"),
        ('digits', 'seeds={a: 1}', "'seeds' in the command line must be list[int] (got [{'a': 1}])"),
        ('digits', 'model.name=null', "'model.name' in the command line must be str (got None)"),
        ('digits', 'model.name=3', "'model.name' must be one of ml_sgm, baseline, .* (got '3')"),
        ('coco18_few_shot', 'task.unseen_maps=none,x', "'task.unseen_maps' has no 'x': there are nearest, none"),
        ('digits', 'seeds=0,-1', "'seeds' must be at least 0 (got [0, -1])"),
        ('digits', 'seed=-1', "'seed' must be at least 0 (got -1)"),
        ('digits', 'data.batch_size=0', "'data.batch_size' must be at least 1 (got 0)"),
        ('digits', 'data.image_size=0', "'data.image_size' must be at least 1 (got 0)"),
        ('digits', 'data.num_workers=-1', "'data.num_workers' must be at least 0 (got -1)"),
        ('digits', 'data.limit=-1', "'data.limit' must be at least 0 (got -1)"),
        ('digits', 'data.test_limit=-1', "'data.test_limit' must be at least 0 (got -1)"),
        ('digits', 'model.hidden_channels=0', "'model.hidden_channels' must be at least 1 (got 0)"),
        ('digits', 'model.max_instances=-1', "'model.max_instances' must be at least 0 (got -1)"),
        ('digits', 'model.block_channels=8,0', "'model.block_channels' must be at least 1 (got [8, 0])"),
        ('digits', 'model.block_channels=', "'model.block_channels' takes at least one size (got none)"),
        ('digits', 'model.encoder_channels=[]', "'model.encoder_channels' takes at least one size (got none)"),
        ('digits', 'optimizer.lr=-1', "'optimizer.lr' must be at least 0 (got -1.0)"),
        ('digits', 'optimizer.lr=nan', "'optimizer.lr' must be at least 0 (got nan)"),
        ('digits', 'trainer.max_epochs=0', "'trainer.max_epochs' must be a whole number, at least 1 (got 0)"),
        ('digits', 'trainer.max_epochs=1.5', "'trainer.max_epochs' must be a whole number, at least 1 (got 1.5)"),
        ('digits', 'trainer.profiler={a: 1}', "'trainer.profiler' is one value (got {'a': 1})"),
        (
            'digits',
            'trainer.check_val_every_n_epoch=0',
            "'trainer.check_val_every_n_epoch' must be a whole number, at least 1 (got 0)",
        ),
        (
            'digits',
            'trainer.fast_dev_run=true',
            "'trainer.fast_dev_run' would leave a finished run of a batch: to try a row, data.limit=64 "
            'trainer.max_epochs=1',
        ),
        ('coco18.yaml', '', "unknown experiment 'coco18.yaml': did you mean 'coco18'?"),
    ],
)
def test_errors(row, override, message):
    with pytest.raises(ConfigError) as error:
        config = configs.load(row, [override] if override else [])
        check_trainer(config, get_type_hints(lightning.Trainer.__init__))
    head, _, tail = message.partition('.*')
    assert str(error.value).startswith(head) and str(error.value).endswith(tail)
    assert '\n' not in str(error.value)


def test_the_least_values_themselves_and_none_are_taken():
    config = configs.load('digits', ['model.max_instances=0', 'data.num_workers=0', 'optimizer.lr=0', 'seed=0'])
    assert (config.model.max_instances, config.data.num_workers, config.optimizer.lr, config.seed) == (0, 0, 0.0, 0)
    config = configs.load('digits', ['model.feature_channels=null', 'seeds=[]', 'trainer.fast_dev_run=false'])
    assert config.model.feature_channels is None and config.seeds == []


def test_a_base_that_goes_in_a_circle(tmp_path, monkeypatch):
    monkeypatch.setattr(configs, 'FOLDERS', [tmp_path])
    (tmp_path / 'a.yaml').write_text('# A.\nbase: b\n')
    (tmp_path / 'b.yaml').write_text('# B.\nbase: a\n')
    with pytest.raises(ConfigError, match="'base' goes in a circle: a -> b -> a"):
        configs.load('a')


@pytest.mark.parametrize(
    ('text', 'told'),
    [
        ('data:\n\tname: digits\n', "x.yaml' cannot be read: while scanning for the next token"),
        ('base: digits\nbase: digits\n', "x.yaml' cannot be read: .* found duplicate key base"),
        ('data: !!python/object/apply:os.system [ls]\n', "x.yaml' cannot be read: could not determine a constructor"),
        ('data: ' + '[' * 2000, "x.yaml' cannot be read: "),
        ('- a\n', "x.yaml' must hold name, row, data, "),
        (b'# caf\xe9\nbase: digits\n', "x.yaml' cannot be read: 'utf-8' codec"),
        ('base: 3\n', r"'base' in x.yaml must be the name of a row \(got 3\)"),
        ('base: [a]\n', r"'base' in x.yaml must be the name of a row \(got \['a'\]\)"),
        ('task: {methods: linear}\n', r"'task.methods' in x.yaml must be list\[str\] \(got 'linear'\)"),
    ],
)
def test_rows_that_cannot_be_read(text, told, tmp_path):
    path = tmp_path / 'x.yaml'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=told) as error:
        configs.load('x', folders=[*configs.FOLDERS, tmp_path])
    assert '\n' not in str(error.value)
    assert 'x' in configs.rows([tmp_path])  # A list of rows names it all the same.


def test_rows_lie_on_a_path_of_folders(tmp_path, monkeypatch):
    (tmp_path / 'mine.yaml').write_text('# Mine.\nbase: digits\noptimizer: {lr: 0.5}\n')
    assert not configs.is_row('mine') and configs.is_row('digits')
    monkeypatch.setattr(configs, 'FOLDERS', [*configs.FOLDERS])
    configs.FOLDERS.append(tmp_path)
    assert configs.is_row('mine') and configs.rows()['mine'] == 'Mine.'
    assert configs.load('mine').optimizer.lr == 0.5 and configs.bases('mine') == ['digits']
    (tmp_path / 'digits.yaml').write_text('# Another.\n')
    here = configs.FOLDERS[0] / 'digits.yaml'
    for ask in (lambda: configs.load('mine'), lambda: configs.is_row('digits'), configs.rows):
        with pytest.raises(ConfigError) as error:
            ask()
        assert str(error.value) == f"there are two rows 'digits': {here} and {tmp_path / 'digits.yaml'}"


def test_lists_on_the_command_line():
    assert configs.load('digits', ['seeds=0,1,2']).seeds == [0, 1, 2]
    assert configs.load('digits', ['seeds=[3]', 'model.block_channels=8']).model.block_channels == [8]


def test_fingerprint_knows_what_changes_the_numbers():
    config = configs.load('digits')
    same = configs.load('digits', ['seed=7', 'runs_dir=x', 'data.num_workers=0', 'name=x', 'features.engine=torch'])
    other = configs.load('digits', ['optimizer.lr=0.5'])
    assert configs.fingerprint(config) == configs.fingerprint(same) != configs.fingerprint(other)
    assert configs.fingerprint(configs.load('digits', ['trainer.max_epochs=1'])) != configs.fingerprint(config)


def test_a_config_survives_its_file(tmp_path):
    config = configs.load('coco18', ['seeds=0,1', 'data.test_limit=7'])
    OmegaConf.save(config, tmp_path / 'config.yaml')
    assert configs.from_file(tmp_path / 'config.yaml') == config

"""A run of a second: few small scenes, a narrow model."""

from pathlib import Path

import pytest

from experiments import config as configs

TINY = [
    'data.image_size=32',
    'data.scene_size=32',
    'data.num_images=21',
    'data.test_images=13',
    'data.batch_size=8',
    'data.num_workers=0',
    'model.feature_channels=16',
    'model.hidden_channels=8',
    'model.encoder_channels=8',
    'model.block_channels=8,8',
    'model.decoder_channels=8',
    'trainer.max_epochs=2',
    'trainer.accelerator=cpu',
    'trainer.enable_progress_bar=false',
]


FROZEN = ['model.freeze_backbone=true', 'features.cache=true', 'model.feature_dropout=0.3']
MANY = ['model.gamma=0.04', 'model.max_instances=4']  # Below the prior, so that there are instances at once.


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Makes the config of a tiny run in a folder of its own."""
    monkeypatch.setenv('MLSGM_CACHE', str(tmp_path / 'maps'))

    def make(*overrides, row='digits'):
        return configs.load(row, [*TINY, f'runs_dir={tmp_path / "runs"}', *overrides])

    return make


@pytest.fixture
def frozen():
    """Options of a run on the cached maps of a frozen backbone."""
    return FROZEN


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    """The result of one tiny run on cached maps, whose images have several instances; only to be looked at."""
    from experiments import train

    folder = tmp_path_factory.mktemp('trained')
    folders = [f'runs_dir={folder / "runs"}', f'features.dir={folder / "maps"}']
    return train.run(configs.load('digits', [*TINY, *FROZEN, *MANY, *folders]), command='the command')


@pytest.fixture
def stored(tiny, trained):
    """Makes the config of a run on the stored graphs of :func:`trained`, with its maps at hand."""
    maps = trained['config']['features']['dir']
    csac = Path(trained['folder']) / 'last.ckpt'
    given = [*FROZEN, *MANY, 'graphs.store=true', f'graphs.csac={csac}', f'features.dir={maps}']
    return lambda *more: tiny(*given, *more)

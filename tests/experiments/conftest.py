"""A run of a second: few small scenes, a narrow model."""

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
    return ['model.freeze_backbone=true', 'features.cache=true', 'model.feature_dropout=0.3']

"""Training and evaluation on tar shards: the folder's, to the bit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mlsgm_pyg import datasets
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.data.datamodule import DataModule
from mlsgm_pyg.app.data.parts import Parts
from mlsgm_pyg.app.training import train
from mlsgm_pyg.app.training.module import Recognition
from tests.app.training.test_two_processes import STILL, TWO, kept, result


@pytest.fixture
def shards(photos):
    """The options of the photographs, and of the same in tars of six."""
    folder = Path(photos[1].removeprefix('data.root='))
    sources = {split: datasets.CsvDataset(folder, split) for split in ('train', 'test')}
    datasets.write_shards(sources, folder / 'tars', 6)
    return [*photos, 'data.on_error=skip'], [
        *photos, 'data.on_error=skip', f'data.root={folder / "tars"}', 'data.labels=index.npz',
    ]  # fmt: skip


def assert_equal(own, found):
    own, found = Path(own['folder']), Path(found['folder'])
    a, b = (torch.load(folder / 'last.ckpt', weights_only=True)['state_dict'] for folder in (own, found))
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    a, b = (np.load(folder / 'scores.npz') for folder in (own, found))
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


def test_training_is_that_of_the_folder(tiny, shards):
    """Random views, a mask, a held-out part that thresholds are fitted on, and images that cannot be read."""
    more = ['task=partial', 'task.known=0.6', 'data.tune=0.2', 'data.train_view=train']
    own, found = (train.run(tiny(*options, *more)) for options in shards)
    assert_equal(own, found)
    assert own['skipped'] == found['skipped'] and 'test 24.png' in own['skipped']
    for key in ('metrics', 'labels', 'images', 'trained_on', 'decisions'):
        assert own[key] == found[key], key


class Stop(Exception):
    pass


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_its_window(tiny, shards, monkeypatch):
    options = [*shards[1], 'data.window=6', 'data.train_view=train', 'optimizer.schedule=onecycle']
    whole, config, step = train.run(tiny(*options, 'name=whole')), tiny(*options, 'name=cut'), Recognition.training_step

    def stop(self, batch, batch_idx):
        if self.current_epoch == 1 and batch_idx == 1:
            raise Stop
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr(Recognition, 'training_step', stop)
        train.run(config)
    assert_equal(whole, train.run(config))


def test_orders(tiny, shards):
    """By default the folder's; with a window neighbours are near, in any number of readers."""
    orders = []
    for options in (shards[0], shards[1], [*shards[1], 'data.window=6'], [*shards[1], 'data.window=6']):
        config = tiny(*options, f'data.num_workers={len(orders) // 3}', 'data.train_view=train')
        data = DataModule(config, Parts.read(config))
        data.setup('fit')
        batches = list(data.train_dataloader())
        orders.append((torch.cat([batch['index'] for batch in batches]), torch.cat([b['image'] for b in batches])))
    (own, images), (found, same), (near, windowed), (again, read) = orders
    assert torch.equal(own, found) and torch.equal(images, same) and not torch.equal(own, near)
    assert torch.equal(near, again) and torch.equal(windowed, read) and set(near.tolist()) == set(own.tolist())


@pytest.mark.slow
def test_two_processes_read_every_photograph(tiny, shards, command_line):
    """Each has its stretch of the tars, and as many steps; each photograph is evaluated once, as from the folder."""
    more = ['data.eval_batch_size=1', 'trainer.max_epochs=1']
    one, two = tiny(*shards[0], *STILL, *more), tiny(*shards[1], *STILL, *more, *TWO, 'data.window=6')
    for config in (one, two):
        command_line('digits', *command_line.words(config))
    a, b = result(one), result(two)
    assert (a['hardware']['processes'], b['hardware']['processes']) == (1, 2)
    assert a['skipped'] == b['skipped'] == ['test 24.png', 'train 5.png'] and a['metrics'] == b['metrics']
    for name in kept(a):
        np.testing.assert_array_equal(kept(a)[name], kept(b)[name])


def test_a_folder_of_shards_is_known(shards, tmp_path):
    """`mlsgm train FOLDER` takes it; its tars must be those of the index."""
    folder = Path(shards[1][-2].removeprefix('data.root='))
    config = configs.for_folder(folder, options=['data.on_error=raise'])
    assert (config.data.labels, config.data.train_split, config.data.test_split) == ('index.npz', 'train', 'test')
    own = configs.for_folder(folder.parent)
    assert Parts.read(config).trained_on == Parts.read(own).trained_on
    (folder / 'test-00001.tar').write_bytes(b'cut')
    with pytest.raises(ConfigError, match=r"the shard '[^\n]+test-00001\.tar' is missing, cut or changed: [^\n]+$"):
        train._read(config, tmp_path, None)

"""The parts of a data set that a config names."""

import pytest
import torch

from mlsgm_pyg import datasets
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.data import parts
from mlsgm_pyg.app.data.datamodule import DataModule


@pytest.mark.parametrize(
    ('row', 'kind'),
    [
        ('coco18', datasets.CsvDataset),
        ('voc2007', datasets.Voc2007),
        ('voc2012', datasets.Voc2012),
        ('coco', datasets.Coco),
    ],
)
@pytest.mark.parametrize('on_error', ['raise', 'skip'])
def test_on_error_reaches_the_data_set(row, kind, on_error, monkeypatch):
    """Missing files are looked for at once, or left to whoever reads them."""
    given = {}
    signature = kind.__init__

    def record(self, *args, **kwargs):
        names = signature.__code__.co_varnames[1 : signature.__code__.co_argcount]
        given.update(dict(zip(names, args)) | kwargs)

    monkeypatch.setattr(kind, '__init__', record)
    options = ['data.root=somewhere', 'data.images_without_labels=drop', 'data.verify=false']
    config = configs.load(row, [f'data.on_error={on_error}', *options])
    parts.build_source(config.data, 'test')
    assert given['missing'] == on_error and given['root'] == 'somewhere' and given['split'] == 'test'
    if row in ('voc2007', 'voc2012'):
        assert given['difficult'] == 'ignore' and given['download'] is False
    if row == 'coco':
        assert given['images_without_labels'] == 'drop'
    assert given.get('verify', False) is False and (row == 'coco18' or 'verify' in given)


def test_a_held_out_part_is_the_same_for_every_seed_and_shares_no_image(tiny):
    (train, test), (_, other) = (parts.build_parts(tiny('data.dev=0.3', f'seed={seed}').data) for seed in (0, 1))
    assert train.source is test.source and len(test.rows) == round(0.3 * 21)
    assert sorted(train.rows + test.rows) == list(range(21))
    assert test.rows == other.rows


def test_a_part_to_fit_on_beside_a_held_out_one(tmp_path):
    """The file names no part to evaluate on: none is looked for."""
    rows = ''.join(f'{i}.png,{"fit" if i > 7 else "train"},{i % 2}\n' for i in range(10))
    (tmp_path / 'labels.csv').write_text(f'file,split,cat\n{rows}')
    found = parts.Parts.read(configs.for_folder(tmp_path, options=['data.on_error=skip']))
    assert found.tune.files == ['8.png', '9.png'] and found.train.source is found.test.source
    assert sorted(found.train.rows + found.test.rows) == list(range(8))


def test_limits(tiny):
    train, test = parts.build_parts(tiny('data.limit=5').data)
    assert (len(train.rows), len(test.rows)) == (5, 5)
    train, test = parts.build_parts(tiny('data.limit=5', 'data.test_limit=0').data)
    assert (len(train.rows), len(test.rows)) == (5, 13)
    assert train.files == [train.source.files[i] for i in train.rows]
    assert train.y.tolist() == train.source.y[train.rows].tolist()


def test_partial_labels_are_hidden_from_training_alone(tiny):
    full, held_out = parts.build_parts(tiny('data.dev=0.3').data)
    config = tiny('data.dev=0.3', 'task=partial', 'task.known=0.4')
    train, test = parts.build_parts(config.data, config.task)
    assert train.rows == full.rows and test.rows == held_out.rows
    assert torch.equal(test.y, held_out.y) and (test.y >= 0).all()
    whole = train.source.y  # The mask is over the whole training set, the held-out images included.
    assert int((whole >= 0).sum()) == round(0.4 * whole.numel())
    known = train.y >= 0
    assert torch.equal(train.y[known], full.y[known])


def test_a_limit_changes_no_mask(tiny):
    (whole, _), (part, test) = (
        parts.build_parts(c.data, c.task)
        for c in (tiny('task=partial', 'task.known=0.4', f'data.limit={limit}') for limit in (0, 9))
    )
    at = [whole.files.index(file) for file in part.files]
    assert len(at) == 9 and torch.equal(part.y, whole.y[at])
    assert len(test.rows) == 9 and (test.y >= 0).all()


def test_workers_that_stay_alive_see_every_epoch(tiny):
    """The same images, augmented alike, whether they are read here or by a process that lives for all epochs."""
    epochs = []
    for workers in (0, 1):
        config = tiny(f'data.num_workers={workers}', 'data.train_view=train')
        module = DataModule(config, parts.Parts.read(config))
        module.setup('fit')
        loader = module.train_dataloader()
        assert loader.persistent_workers == (workers > 0)
        found = []
        for epoch in (0, 1):
            loader.sampler.set_epoch(epoch)
            found.append(torch.cat([batch['image'] for batch in loader]))
        epochs.append(found)
    assert not torch.equal(*epochs[0])
    for here, there in zip(*epochs, strict=True):
        assert torch.equal(here, there)

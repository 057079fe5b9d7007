"""Labels that change after a run began, or ended: it says so instead of going on, or of showing old numbers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.data import changes
from mlsgm_pyg.app.data.parts import Part, Parts
from mlsgm_pyg.app.training import train
from mlsgm_pyg.datasets import LabelledImages


class Made(LabelledImages):
    def __init__(self, y, files, class_names):
        self.y, self.files, self.class_names = y, files, class_names


def described(
    y=((1, 0), (0, 1), (1, 1)), files=('a', 'b', 'c'), names=('cat', 'dog'), train_rows=(0, 1), test_rows=(2,)
):
    source = Made(torch.tensor(y, dtype=torch.int8), list(files), list(names))
    return Parts(None, Part(source, list(train_rows)), Part(source, list(test_rows))).trained_on


@pytest.mark.parametrize(
    ('changed', 'told'),
    [
        ({}, ''),
        ({'names': ('dog', 'cat')}, "the classes have another order: class 1 was 'cat' and is 'dog'"),
        ({'names': ('cat', 'owl')}, 'no longer classes: dog, new classes: owl'),
        ({'names': ('cat',), 'y': ((1,), (0,), (1,))}, 'no longer classes: dog'),
        ({'train_rows': (0,)}, 'the training part had 2 images and has 1'),
        ({'test_rows': (1, 2)}, 'the evaluated part had 1 image and has 2'),
        ({'files': ('a', 'x', 'c')}, 'the training part has other images'),
        ({'files': ('a', 'b', 'x')}, 'the evaluated part has other images'),
        ({'y': ((0, 0), (0, 1), (1, 1))}, 'the training part has other labels'),
        ({'y': ((1, 0), (0, 1), (1, -1))}, 'the evaluated part has other labels'),
        (
            {'train_rows': (1,), 'y': ((1, 0), (0, 1), (1, -1))},
            'the training part had 2 images and has 1, the evaluated part has other labels',
        ),
    ],
)
def test_differences_are_told_in_words(changed, told):
    assert changes.difference(described(), described(**changed)) == told
    assert changes.difference({'class_names': ['cat', 'dog']}, described(**changed)) == (
        told if 'names' in changed else ''
    )
    json.dumps(described())  # As a checkpoint and result.json hold it.


def test_a_long_list_of_names_is_cut():
    now = described(names=tuple('abcde'), y=((1,) * 5,) * 3)
    assert changes.difference(described(), now) == 'no longer classes: cat, dog, new classes: a, b, c, and 2 more'


COLUMNS = ('red', 'green', 'blue')


class Folder:
    """Twelve images to train on and six to test on, and the options of a run on them."""

    def __init__(self, root):
        self.labels = root / 'labels.csv'
        rng = np.random.default_rng(0)
        self.y = (rng.random((18, 3)) < 0.5).astype(int)
        root.mkdir()
        for i, y in enumerate(self.y):
            noise = rng.integers(0, 156, (24, 24, 3)) + 100 * y
            Image.fromarray(noise.astype(np.uint8)).save(root / f'{i}.png')
        self.options = ['data.name=csv', f'data.root={root}', 'model.gamma=0.04', 'trainer.max_epochs=1']
        self.write()

    def write(self, columns=COLUMNS, y=None, rows=range(18)):
        y = self.y if y is None else y
        lines = [f'file,split,{",".join(columns)}']
        lines += [f'{i}.png,{"train" if i < 12 else "test"},{",".join(map(str, y[i]))}' for i in rows]
        self.labels.write_text('\n'.join(lines) + '\n')


@pytest.fixture
def own(tmp_path):
    return Folder(tmp_path / 'own')


def other(y, row, value):
    y = y.copy()
    y[row, 0] = value
    return y


CHANGES = {  # What happens to the labels -> what is said.
    'columns swapped': (
        lambda own: own.write(('green', 'red', 'blue'), own.y[:, [1, 0, 2]]),
        "the classes have another order: class 1 was 'red' and is 'green'",
    ),
    'class renamed': (lambda own: own.write(('crimson', *COLUMNS[1:])), 'no longer classes: red, new classes: crimson'),
    'class added': (
        lambda own: own.write((*COLUMNS, 'owl'), np.concatenate([own.y, own.y[:, :1]], 1)),
        'new classes: owl',
    ),
    'training label': (lambda own: own.write(y=other(own.y, 3, -1)), 'the training part has other labels'),
    'test label': (lambda own: own.write(y=other(own.y, 13, -1)), 'the evaluated part has other labels'),
    'image removed': (lambda own: own.write(rows=range(1, 18)), 'the training part had 12 images and has 11'),
}


@pytest.mark.slow
def test_a_run_says_that_its_data_has_changed(tiny, own, capsys):
    """A finished one whose numbers are read, and one that goes on; mended, both are as before."""
    config = tiny(*own.options)
    folder = Path(train.run(config)['folder'])
    results = (folder / 'result.json').read_text()
    assert json.loads(results)['trained_on'] == Parts.read(config).trained_on
    for is_finished in (True, False):
        if not is_finished:
            (folder / 'result.json').unlink()
        for change, told in CHANGES.values():
            change(own)
            with pytest.raises(ConfigError) as error:
                train.run(config)
            assert str(error.value) == (
                f"the data has changed since '{folder}' was trained on it: {told} ('{own.labels}'); --again starts over"
            )
        own.write()
        again = train.run(config)
        out = capsys.readouterr().out
        assert ('is finished' if is_finished else 'goes on from its last finished epoch') in out
        for key in ('metrics', 'history', 'trained_on', 'skipped'):
            assert again[key] == json.loads(results)[key]


@pytest.mark.slow
def test_runs_from_before_the_digest_compare_class_names(tiny, own):
    config = tiny(*own.options)
    folder = Path(train.run(config)['folder'])
    out = json.loads((folder / 'result.json').read_text())
    del out['trained_on']
    (folder / 'result.json').write_text(json.dumps(out))
    state = torch.load(folder / 'last.ckpt', weights_only=True)
    del state['DataModule']['trained_on']
    torch.save(state, folder / 'last.ckpt')
    for is_finished in (True, False):
        if not is_finished:
            (folder / 'result.json').unlink()
        CHANGES['class renamed'][0](own)
        with pytest.raises(ConfigError, match='no longer classes: red, new classes: crimson'):
            train.run(config)
        CHANGES['training label'][0](own)
        assert train.run(config)['name'] == 'digits'  # They cannot know.


def test_a_finished_run_is_read_without_its_data(tiny, own, capsys):
    config = tiny(*own.options)
    out = train.run(config)
    shutil.rmtree(own.labels.parent)
    capsys.readouterr()
    assert train.run(config) == out
    told = capsys.readouterr().out
    assert 'its data cannot be compared with what it was trained on' in told and str(own.labels) in told


@pytest.mark.slow
def test_runs_of_one_sweep_read_their_labels_once(tiny, own, monkeypatch):
    calls, build = [], train.build_parts
    monkeypatch.setattr(train, 'build_parts', lambda *args: calls.append(args) or build(*args))
    outs = [train.run(tiny(*own.options, f'seed={seed}')) for seed in (0, 1)]
    train._data_now.cache_clear()
    assert [train.run(tiny(*own.options, f'seed={seed}')) for seed in (0, 1)] == outs and len(calls) == 1


@pytest.mark.parametrize('value', [0, -1])
def test_a_test_part_without_a_positive_is_refused(value, tiny, own):
    y = own.y.copy()
    y[12:] = value
    own.write(y=y)
    config = tiny(*own.options)
    with pytest.raises(ConfigError, match="^no image of 'test' shows any class: nothing to evaluate$"):
        train.run(config)
    assert not train.run_dir(config).exists()


def test_a_training_part_without_a_known_label_is_refused(tiny, own):
    y = own.y.copy()
    y[:12] = -1
    own.write(y=y)
    with pytest.raises(ConfigError, match="^no image of 'train' has a known label: nothing to train on$"):
        train.run(tiny(*own.options))
    y = own.y.copy()
    y[:12] = 0
    own.write(y=y)
    told = "^no image of the held-out part of 'train' shows any class: nothing to evaluate$"
    with pytest.raises(ConfigError, match=told):
        train.run(tiny(*own.options, 'data.dev=0.3'))


@pytest.mark.parametrize('cached', [False, True])
@pytest.mark.parametrize(('broken', 'part'), [(range(18), None), (range(12), 'train'), (range(12, 18), 'test')])
def test_parts_of_which_nothing_can_be_read(broken, part, cached, tiny, frozen, own):
    for i in broken:
        (own.labels.parent / f'{i}.png').write_bytes(b'not an image')
    more = [*frozen, 'features.flip=false'] if cached else []
    told = f"^no image of '{part or '(train|test)'}' can be read: nothing to train on or to evaluate$"
    with pytest.raises(ConfigError, match=told):
        train.run(tiny(*own.options, *more, 'data.on_error=skip'))


def test_no_positive_in_what_can_be_read(tiny, own):
    y = own.y.copy()
    y[12:], y[17] = 0, 1
    own.write(y=y)
    (own.labels.parent / '17.png').write_bytes(b'not an image')
    with pytest.raises(ConfigError, match="^no image of 'test' that can be read shows any class: nothing to evaluate$"):
        train.run(tiny(*own.options, 'data.on_error=skip'))

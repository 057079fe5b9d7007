"""The cache of feature maps: what is there is not computed again, and a name for everything that changes a map."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from mlsgm_pyg import fast_backbone
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.data import feature_store
from mlsgm_pyg.app.training import train
from mlsgm_pyg.app.training.module import crop
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.datasets import CsvDataset, Digits, ImageDataset, build_view, hide_labels
from mlsgm_pyg.datasets.images import ImageError
from mlsgm_pyg.models import MLSGM


@pytest.fixture
def backbone():
    return Backbone('small', torch.nn.Conv2d(3, 4, 3, stride=4), 4).freeze()


@pytest.fixture
def images(tmp_path):
    """Seven images in a folder."""
    folder = tmp_path / 'photos'
    (folder / 'images').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(7):
        Image.fromarray(rng.integers(0, 256, (20, 20, 3)).astype(np.uint8)).save(folder / 'images' / f'{i}.png')
    rows = ''.join(f'{i}.png,train,{i % 2},{i % 3 % 2}\n' for i in range(7))
    (folder / 'labels.csv').write_text('file,split,a,b\n' + rows)
    return lambda: CsvDataset(folder, 'train')


@pytest.fixture
def opened(tmp_path, backbone, images):
    """Opens them as another process does."""
    return lambda: Opened(backbone, images(), str(tmp_path / 'maps'))


class Opened:
    """The store of one data set under one view."""

    def __init__(self, backbone, source, folder):
        self.stores, self.source = feature_store.FeatureStores(backbone, 16, folder), source
        self.stores.batch_size = 2
        self.store = self.stores.open(source, 'resize')

    def fill(self, rows, **more):
        return self.stores.fill(self.source, rows, ['resize'], **more)

    def __getattr__(self, name):
        return getattr(self.store, name)


def test_maps_are_the_backbones_and_computed_once(opened, backbone, images):
    store = opened()
    assert store.fill([5, 0, 3]) == 3 and store.fill([0, 3]) == 0
    assert opened().fill([3, 4]) == 1  # Another process finds them.
    seen = ImageDataset(images(), build_view('resize', 16))
    with torch.no_grad():
        expected = backbone(torch.stack([seen[i]['image'] for i in (4, 0, 5)]))
    assert_close(torch.from_numpy(store.read(np.array([4, 0, 5]))).float(), expected, rtol=1e-3, atol=1e-3)
    assert store.missing(range(7)) == [1, 2, 6]
    assert repr(store.store) == 'FeatureStore([7, 4, 4, 4], 4 ready)'


def test_a_killed_filling_goes_on_where_it_stopped(opened, backbone, images, monkeypatch):
    store, write, calls = opened(), feature_store.FeatureStore.write, []

    def stop(self, rows, maps, skipped=()):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(list(rows))
        write(self, rows, maps, skipped)

    monkeypatch.setattr(feature_store.FeatureStore, 'write', stop)
    with pytest.raises(KeyboardInterrupt):
        store.fill(range(7))
    monkeypatch.undo()
    assert calls == [[0, 1], [2, 3]]
    before = opened().read(np.arange(4))
    assert opened().fill(range(7)) == 3
    np.testing.assert_array_equal(opened().read(np.arange(4)), before)
    assert opened().missing(range(7)) == []


def test_the_name_knows_what_changes_the_maps(backbone, images, tmp_path):
    def name(view='resize', size=16, network=backbone):
        return feature_store.FeatureStores(network, size).fingerprint(images(), view)

    names = {name(), name(view='resize_flip'), name(view='paper'), name(size=32)}
    other = Backbone('other', backbone.body, 4)
    names.add(name(network=other))
    assert len(names) == 5 and name() in names
    with torch.no_grad():
        backbone.body.weight[0, 0, 0, 0] += 1
    names.add(name())
    backbone.body.dilation = (2, 2)
    names.add(name())
    Image.new('RGB', (21, 20)).save(tmp_path / 'photos' / 'images' / '3.png')
    names.add(name())
    assert len(names) == 8


def test_skipped_rows_are_left_out_and_keep_their_numbers(opened, backbone, images, tmp_path):
    (tmp_path / 'photos' / 'images' / '2.png').write_bytes(b'not an image')
    store = opened()
    with pytest.raises(ImageError, match='2.png'):
        store.fill(range(7))
    store.fill(range(7), on_error='skip')
    assert store.skipped(range(7)) == store.missing(range(7)) == [2]
    data = feature_store.FeatureDataset([store.store], [6, 2, 4], images().y[[6, 2, 4]])
    batch = data.__getitems__([0, 1])
    assert len(data) == 2 and data.skipped == [1] and batch['index'].tolist() == [0, 2]
    np.testing.assert_array_equal(batch['feature'], store.read(np.array([6, 4])))
    assert torch.equal(batch['y'], images().y[[6, 4]])


def test_a_skipped_image_is_read_again(opened, backbone, images, monkeypatch):
    """What happens to it follows from `on_error` now, and it may have been the disk that failed."""
    store, read = opened(), CsvDataset.image

    def broken(self, index):
        if self.files[index] == '2.png':
            raise ImageError('2.png: the disk is away')
        return read(self, index)

    monkeypatch.setattr(CsvDataset, 'image', broken)
    assert store.fill(range(7), on_error='skip') == 7
    store, before, calls = opened(), store.read(np.arange(7)), []
    monkeypatch.setattr(fast_backbone, 'TorchBackbone', lambda *args: calls.append(args))
    assert store.fill(range(7), on_error='skip') == 1 and store.skipped(range(7)) == [2]
    with pytest.raises(ImageError, match='2.png: the disk is away'):
        store.fill(range(7))
    assert store.skipped(range(7)) == [2] and calls == []  # No network is built for nothing.

    monkeypatch.undo()
    assert store.fill(range(7)) == 1 and store.missing(range(7)) == store.skipped(range(7)) == []
    after = store.read(np.arange(7))
    np.testing.assert_array_equal(np.delete(after, 2, 0), np.delete(before, 2, 0))
    with torch.no_grad():
        expected = backbone(ImageDataset(images(), build_view('resize', 16))[2]['image'][None])
    assert_close(torch.from_numpy(after[2:3]).float(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_skipping_and_then_not_is_an_error(tiny, frozen, photos):
    train.run(tiny(*frozen, *photos, 'data.on_error=skip', 'trainer.max_epochs=1'))
    with pytest.raises(ConfigError, match='5.png'):
        train.run(tiny(*frozen, *photos, 'trainer.max_epochs=1'))


def test_what_fails_for_the_mirrored_maps_alone_is_left_out(tmp_path):
    stores = [feature_store.FeatureStore(tmp_path / f'{i}.npy', (5, 1, 1, 1)) for i in range(2)]
    for store, bad in zip(stores, ([1], [3]), strict=True):
        good = [row for row in range(5) if row not in bad]
        store.write(good, torch.ones(4, 1, 1, 1), bad)
    data = feature_store.FeatureDataset(stores, [4, 3, 1, 0], torch.zeros(4, 2))
    assert data.skipped == [1, 2] and len(data) == 2
    for epoch in range(4):
        data.set_epoch(epoch)
        batch = data.__getitems__([0, 1])
        assert batch['index'].tolist() == [0, 3] and batch['feature'].flatten().tolist() == [1, 1]


def test_mirrored_maps_are_drawn_by_seed_epoch_and_image(tmp_path):
    stores = [feature_store.FeatureStore(tmp_path / f'{i}.npy', (9, 1, 1, 1)) for i in range(2)]
    for value, store in enumerate(stores):
        store.write(range(9), torch.full((9, 1, 1, 1), float(value)))
    data = feature_store.FeatureDataset(stores, range(9), torch.zeros(9, 2), seed=3)
    for epoch in (0, 4):
        data.set_epoch(epoch)
        expected = np.random.default_rng([3, epoch, 4]).integers(2, size=9)
        order = [7, 0, 3]
        assert data.__getitems__(order)['feature'].flatten().tolist() == expected[order].tolist()


def test_errors(tmp_path):
    store = feature_store.FeatureStore(tmp_path / 'maps.npy', (2, 1, 1, 1))
    with pytest.raises(ValueError, match='does not fit float16: train from images'):
        store.write([0], torch.full((1, 1, 1, 1), 1e9))
    assert store.missing([0, 1]) == [0, 1]
    with pytest.raises(ValueError, match=r"'.*maps.npy' holds float16 \[2, 1, 1, 1\], wanted float16 \[3, 1, 1, 1\]"):
        feature_store.FeatureStore(tmp_path / 'maps.npy', (3, 1, 1, 1))


def test_where_the_maps_lie(monkeypatch):
    monkeypatch.delenv('MLSGM_CACHE', raising=False)
    assert str(feature_store.cache_dir()) == '.cache/features'
    monkeypatch.setenv('MLSGM_CACHE', '/maps')
    assert str(feature_store.cache_dir()) == '/maps' and str(feature_store.cache_dir('here')) == 'here'


def test_other_labels_of_the_same_images_share_their_maps(backbone, images):
    """Of files, and of images that are drawn, which the labels would tell apart."""
    for source in (images(), Digits('train', num_images=5, size=32)):
        masked = hide_labels(source, 0.5)
        assert not torch.equal(masked.y, source.y)
        key, other = (feature_store.FeatureStores(backbone, 16).fingerprint(s, 'resize') for s in (source, masked))
        assert key == other


def test_windows_of_maps_are_random_parts_of_them():
    torch.manual_seed(0)
    maps = torch.arange(2 * 3 * 5 * 4, dtype=torch.float).view(2, 3, 5, 4)
    seen = set()
    for _ in range(400):
        window = crop(maps, 0.5)
        top, left = divmod(int(window[0, 0, 0, 0]), 4)
        high, wide = window.shape[2:]
        assert torch.equal(window, maps[:, :, top : top + high, left : left + wide])
        seen.add((top, left, high, wide))
    rows, columns = ([(n, at) for n in sides for at in range(max(sides) - n + 1)] for sides in ((3, 4, 5), (2, 3, 4)))
    assert seen == {(top, left, high, wide) for high, top in rows for wide, left in columns}
    assert torch.equal(crop(maps, 1.0), maps)


@pytest.mark.slow
def test_only_training_sees_windows(tiny, frozen, monkeypatch):
    sides = {True: set(), False: set()}

    def head(self, feature):
        sides[self.training].add(tuple(feature.shape[2:]))
        return original(self, feature)

    original = MLSGM.head
    monkeypatch.setattr(MLSGM, 'head', head)
    train.run(tiny(*frozen, 'features.crop=0.5', 'data.image_size=128', 'data.num_images=40', 'trainer.max_epochs=1'))
    assert sides[False] == {max(sides[True] | sides[False])} and len(sides[True]) > 1


def test_a_disk_without_room_is_an_error_with_numbers(opened, backbone, images, monkeypatch):
    store = opened()
    room = type('Usage', (), {'free': 300})()
    monkeypatch.setattr(feature_store.shutil, 'disk_usage', lambda path: room)
    with pytest.raises(ConfigError) as error:  # 3 maps of 4 x 4 x 4 numbers of two bytes.
        store.fill([0, 1, 2])
    told = f"take 384 bytes, 128 bytes each as float16 [4, 4, 4]: '{store.path.parent}' has 300 bytes left"
    assert str(error.value).startswith(
        f'the maps of 3 images {told}; name a folder on a larger disk (features.dir=PATH)'
    )
    assert store.missing(range(7)) == list(range(7))
    assert store.fill([0, 1]) == 2  # 256 bytes.


def test_one_process_at_a_time_fills_a_store(opened):
    store = opened()
    path = store.path.with_suffix('.lock')
    code = 'import sys, time; from filelock import FileLock\nwith FileLock(sys.argv[1]): print("in", flush=True); '
    code += 'time.sleep(0.5); open(sys.argv[1] + ".left", "w").close()'
    with subprocess.Popen([sys.executable, '-c', code, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == 'in\n'
        assert store.fill([0]) == 1
        assert path.with_suffix('.lock.left').is_file()  # Only when the other one had gone.
    assert other.returncode == 0


def test_a_run_opens_each_store_once_and_looks_at_each_file_once(tiny, frozen, photos, monkeypatch):
    opened, seen = [], []
    build, look = feature_store.FeatureStore.__init__, feature_store._identities
    monkeypatch.setattr(feature_store.FeatureStore, '__init__', lambda *args: opened.append(args[1]) or build(*args))
    monkeypatch.setattr(feature_store, '_identities', lambda source: seen.append(source) or look(source))
    train.run(tiny(*frozen, *photos, 'data.on_error=skip', 'trainer.max_epochs=1'))
    assert len(opened) == len(set(opened)) == 3  # Plain and mirrored ones to train on, and those to evaluate.
    assert len(seen) == len(set(map(id, seen))) == 2


@pytest.mark.parametrize('view', ['resize', 'paper'])
def test_both_views_of_one_reading_are_the_single_views_bit_for_bit(view, backbone, images, tmp_path, monkeypatch):
    read, source, seen = CsvDataset.image, images(), []
    monkeypatch.setattr(CsvDataset, 'image', lambda self, index: seen.append(index) or read(self, index))
    stores, given = feature_store.FeatureStores(backbone, 16, str(tmp_path / 'maps')), []
    monkeypatch.setattr(stores, 'maps', lambda image: given.append(image) or backbone(image), raising=False)
    views = [view, f'{view}_flip']
    assert stores.fill(source, [4], views[1:]) == 1  # As a run that was killed between the two leaves them.
    assert stores.fill(source, [1, 4, 6], views) == 3 and stores.fill(source, [1, 4, 6], views) == 0
    assert seen == [4, 1, 4, 6]
    single = {name: ImageDataset(images(), build_view(name, 16)) for name in views}
    wanted = [(views[1], [4]), (views[0], [1, 4, 6]), (views[1], [1, 6])]
    for image, (name, rows) in zip(given, wanted, strict=True):
        assert torch.equal(image, torch.stack([single[name][row]['image'] for row in rows]))


@pytest.fixture
def pays(monkeypatch):
    """ONNX Runtime pays from the first image on."""
    pytest.importorskip('onnxruntime')
    monkeypatch.setattr(fast_backbone, 'FEWEST', 1)


def test_the_engine_is_part_of_the_name_and_torchs_is_the_one_without(backbone, images):
    source = images()
    digest = hashlib.sha256(b'1 small resize 16')
    for key in ('body.bias', 'body.weight'):
        digest.update(key.encode())
        digest.update(backbone.state_dict()[key].numpy().tobytes())
    digest.update(b'[((4, 4), (1, 1))]')
    for path in source.paths:
        digest.update(f'{path.resolve()} {path.stat().st_size, path.stat().st_mtime_ns}\n'.encode())
    stores = [feature_store.FeatureStores(backbone, 16, engine=engine) for engine in ('torch', 'onnx')]
    torchs, onnx = (store.fingerprint(source, 'resize') for store in stores)
    assert torchs == digest.hexdigest()[:20] != onnx


def test_maps_that_are_there_are_taken_else_the_quickest_engine_makes_them(
    backbone, images, tmp_path, pays, monkeypatch, capsys
):
    source, folder, rows = images(), str(tmp_path / 'maps'), [0, 2, 5]

    def stores(*wanted, engine='auto'):
        return feature_store.FeatureStores(backbone, 16, folder, engine, [(source, wanted, 'resize')])

    before = stores(*rows, engine='torch')
    before.fill(source, rows, ['resize'])
    assert stores(*rows).engine == stores(0, 5).engine == 'torch'  # They are complete.
    assert capsys.readouterr().out.count('Feature maps of') == 0

    onnx = stores(*rows, 6)
    told = 'Feature maps of small by ONNX Runtime, within'
    assert onnx.engine == 'onnx' and capsys.readouterr().out.startswith(told)
    assert onnx.fill(source, [*rows, 6], ['resize']) == 4  # None of torch's are among them.
    assert_close(*(each.open(source, 'resize').read(np.array(rows)) for each in (onnx, before)), rtol=2e-3, atol=2e-3)
    monkeypatch.setattr(fast_backbone, 'find_spec', lambda name: None)
    assert stores(*rows, 6).engine == 'onnx'  # They are complete: nothing is computed.
    assert stores(*range(7)).engine == 'torch'
    assert 'small by torch (there is no onnx and no onnxruntime: pip' in capsys.readouterr().out
    with pytest.raises(ImportError, match='there is no onnx and no onnxruntime: pip'):
        stores(engine='onnx').fill(source, [1], ['resize'])
    monkeypatch.setattr(fast_backbone, 'FEWEST', 64)
    capsys.readouterr()
    assert stores(*range(7)).engine == 'torch' and capsys.readouterr().out == ''  # They are too few to ask.


def test_maps_whose_images_could_not_be_read_are_complete(backbone, images, tmp_path, pays):
    source, folder = images(), str(tmp_path / 'maps')
    source.paths[2].write_bytes(b'not an image')
    before = feature_store.FeatureStores(backbone, 16, folder, 'torch')
    before.fill(source, range(7), ['resize'], on_error='skip')
    assert feature_store.FeatureStores(backbone, 16, folder, wanted=[(source, range(7), 'resize')]).engine == 'torch'

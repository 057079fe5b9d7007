"""Tar shards: the folder's images, labels and masks; what WebDataset reads from them; what is wrong told in a line."""

import gc
import json
import re
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from mlsgm_pyg.datasets import CsvDataset, Digits, ImageError, Shards, Subset, hide_labels, write_shards
from mlsgm_pyg.datasets import shards as module
from mlsgm_pyg.datasets.partial import label_keys, threshold

NAMES = ['a.b/0 ü.png', '1.JPG', *[f'{i}.png' for i in range(2, 10)]]


@pytest.fixture
def source(tmp_path):
    """Ten photographs, one on its side and one that is none, in parts of seven and three."""
    rng = np.random.default_rng(0)
    rows = ['file,split,cat,dog,car']
    for i, name in enumerate(NAMES):
        path = tmp_path / 'photos' / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = 6 if i == 1 else 1
        Image.fromarray(rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)).save(path, exif=exif)
        y = rng.integers(-1, 2, 3)
        rows.append(f'{name},{"train" if i < 7 else "val"},{",".join(map(str, y))}')
    (tmp_path / 'photos' / 'images' / '4.png').write_bytes(b'no picture')
    (tmp_path / 'photos' / 'labels.csv').write_text('\n'.join(rows))
    return {split: CsvDataset(tmp_path / 'photos', split) for split in ('train', 'val')}


@pytest.fixture
def folder(source, tmp_path):
    write_shards(source, tmp_path / 'shards', per_shard=3)
    return tmp_path / 'shards'


def test_shards_have_what_the_folder_has(source, folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        'index.npz', 'train-00000.tar', 'train-00001.tar', 'train-00002.tar', 'val-00000.tar',
    ]  # fmt: skip
    for split, own in source.items():
        found = Shards(folder, split)
        assert found.class_names == own.class_names and torch.equal(found.y, own.y) and found.y.dtype == own.y.dtype
        assert list(found.files) == own.files and found.files[-1] == own.files[-1] and len(found) == len(own)
        assert found.splits == own.splits == ['train', 'val']
        for i in range(len(own)):
            if own.files[i] != '4.png':
                assert found.image(i).tobytes() == own.image(i).tobytes() and found.image(i).size == own.image(i).size
    with pytest.raises(ImageError) as error:
        Shards(folder, 'train').image(4)
    told = f"cannot read image 4, '4.png' in '{folder / 'train-00001.tar'}': not an image of a known format"
    assert str(error.value).startswith(told)
    with pytest.raises(IndexError):
        Shards(folder, 'val').image(3)


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')  # It closes no file.
def test_webdataset_reads_them(source, folder):
    wds = pytest.importorskip('webdataset', reason='not needed to write or read them here')
    urls = [str(path) for path in sorted(folder.glob('train-*.tar'))]
    own = source['train']
    last, masked = threshold(own.y, own.files, own.class_names, 0.4, 5), hide_labels(own, 0.4, 5)
    for i, sample in enumerate(wds.WebDataset(urls, shardshuffle=False)):
        about = json.loads(sample['json'])
        y = [1 if name in about['labels'] else -1 if name in about['unknown'] else 0 for name in own.class_names]
        assert (about['file'], about['index'], y) == (own.files[i], i, own.y[i].tolist())
        assert sample['jpg' if i == 1 else 'png'] == own.paths[i].read_bytes()
        y = torch.tensor(y)  # The mask of a sample, from its name and one number.
        y[label_keys([about['file']], own.class_names, 5)[0] > last] = -1
        assert y.tolist() == masked.y[i].tolist()
    assert i == 6
    gc.collect()


@pytest.mark.parametrize('known', [0.1, 0.5, 1.0])
@pytest.mark.parametrize('seed', [0, 3])
def test_masks_are_the_folders(source, folder, known, seed):
    own, found = hide_labels(source['train'], known, seed), hide_labels(Shards(folder, 'train'), known, seed)
    assert torch.equal(own.y, found.y) and int((own.y >= 0).sum()) == round(known * int((source['train'].y >= 0).sum()))


def test_pictures_without_files_become_files(tmp_path):
    source = Subset(Digits('test', 32, 5), [4, 0, 2])
    write_shards({'test': source}, tmp_path)
    found = Shards(tmp_path, 'test')
    assert [found.image(i).tobytes() for i in range(3)] == [source.image(i).tobytes() for i in range(3)]
    assert list(found.files) == ['test-00004', 'test-00000', 'test-00002']


def test_what_was_broken_off_goes_on(source, folder, tmp_path, monkeypatch):
    """Killed in the second tar: the first is kept as it is, and all are those of an uninterrupted call."""
    again, write, written = tmp_path / 'again', module._write, []

    def killed(path, *args):
        written.append(path.name)
        if len(written) == 2:
            path.with_name(f'.{path.name}.tmp').write_bytes(b'half')
            raise KeyboardInterrupt
        write(path, *args)

    monkeypatch.setattr(module, '_write', killed)
    with pytest.raises(KeyboardInterrupt):
        write_shards(source, again, 3)
    with pytest.raises(FileNotFoundError, match='they were not written to the end'):
        Shards(again, 'train')
    told = []
    write_shards(source, again, 3, told.append)
    assert written == [
        *['train-00000.tar', 'train-00001.tar'],
        *['train-00001.tar', 'train-00002.tar', 'val-00000.tar'],
    ]
    assert told == [3, 3, 1, 3]
    for path in folder.glob('*.tar'):
        assert path.read_bytes() == (again / path.name).read_bytes()
    assert sorted(path.name for path in again.iterdir()) == sorted(path.name for path in folder.iterdir())
    assert str(Shards(again, 'val')) == str(Shards(folder, 'val')) != str(Shards(folder, 'train'))


def damage(folder, how):
    """Damages a folder of shards; gives the tar that it is in."""
    path = folder / 'train-00001.tar'
    content = path.read_bytes()
    with tarfile.open(path) as tar:
        at = tar.getmembers()[4].offset_data + 60
    if how == 'missing':
        path.unlink()
    elif how == 'folder':
        path.unlink()
        path.mkdir()
    elif how == 'cut':
        path.write_bytes(content[: at - 20])
    elif how == 'empty':
        path.write_bytes(b'')
    else:
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    return path


@pytest.mark.parametrize('how', ['missing', 'folder', 'cut', 'empty', 'changed'])
def test_a_damaged_shard(folder, how):
    """Told at once, but for a changed byte; with `missing='skip'` by each of its images, and the others are read."""
    path = damage(folder, how)
    if how != 'changed':
        got = 'no file' if how in ('missing', 'folder') else rf'{path.stat().st_size:,} bytes'
        with pytest.raises(
            ValueError, match=rf"^the shard '{re.escape(str(path))}' is missing, cut or changed: .*\(got {got}\)"
        ):
            Shards(folder, 'train')
    found = Shards(folder, 'train', missing='skip' if how != 'changed' else 'raise')
    with pytest.raises(
        ImageError, match=rf"^cannot read image 5, '5\.png' in '{re.escape(str(path))}': [^\n]+$"
    ) as error:
        found.image(5)
    assert error.value.reason
    for i in (0, 1, 2, 6):
        found.image(i)
    Shards(folder, 'val')


@pytest.mark.parametrize('how', ['missing', 'cut', 'empty', 'text', 'other'])
def test_a_damaged_index(folder, how):
    path = folder / 'index.npz'
    content = path.read_bytes()
    if how == 'missing':
        path.unlink()
    elif how == 'other':
        with path.open('wb') as file:
            np.savez(file, splits=np.array(['train']))
    else:
        path.write_bytes({'cut': content[:-100], 'empty': b'', 'text': b'{}'}[how])
    kind, told = (FileNotFoundError, 'there is no') if how == 'missing' else (ValueError, 'is damaged, or is no index')
    with pytest.raises(kind, match=rf'^[^\n]*{told}[^\n]*$') as error:
        Shards(folder, 'train')
    assert str(path) in str(error.value)


def test_wrong_words(source, folder, tmp_path):
    with pytest.raises(
        ValueError, match=r"index\.npz' has no split 'trian' \(did you mean 'train'\?\); it has train, val"
    ):
        Shards(folder, 'trian')
    with pytest.raises(ValueError, match=r"shards' holds shards already: 'index\.npz' is there"):
        write_shards(source, folder)
    (folder / 'index.npz').unlink()
    with pytest.raises(ValueError, match=r"train-00000\.tar' is there, and holds other images than 0 to 3: delete it"):
        write_shards(source, folder, 4)
    damage(folder, 'cut')
    with pytest.raises(
        ValueError, match=r"train-00001\.tar' cannot be read back \(.+\): delete it, and the same command"
    ):
        write_shards(source, folder, 3)
    with pytest.raises(ValueError, match=r"'per_shard' must be at least 1 image \(got 0\)"):
        write_shards(source, tmp_path / 'x', 0)
    for bad in ({'a/b': source['val']}, {'val': Subset(source['val'], [])}):
        with pytest.raises(ValueError, match=r"a split has images, .* and its name is a file's \(got "):
            write_shards(bad, tmp_path / 'x')
    source['val'].paths[1].unlink()
    with pytest.raises(ImageError, match=r"^cannot read image 1, '.*8\.png': No such file or directory$"):
        write_shards({'val': source['val']}, tmp_path / 'x')
    assert list((tmp_path / 'x').iterdir()) == []

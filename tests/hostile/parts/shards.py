"""Tar shards: damaged tars and indices are told or make no difference; what cannot be written leaves nothing."""

from __future__ import annotations

import io
import os
import resource
import shutil
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.hostile.case import Case
from tests.hostile.stock import Stock

SPLITS = ('train', 'test')
TARS = ('train-00000.tar', 'train-00002.tar', 'test-00001.tar')
NAMES = {
    'up': '../x', 'folder': 'a/b', 'dots': '..', 'long': 'x' * 300, 'brackets': '[red]x[/red]', 'newline': 'a\nb',
    'escape': 'a\x1b[31mb', 'right to left': 'a\u202eb', 'surrogate': '\ud800',
}  # fmt: skip


def cases() -> Iterator[Case]:
    for tar in TARS:
        for name, damage in files().items():
            yield Case(f'{tar}: {name}', partial(read, tar, damage), told='train-|test-')
        for name in ('picture', 'header', 'labels', 'end'):
            yield Case(f'{tar}: a byte of its {name}', partial(read, tar, partial(flip, name)), told=tar)
    for name, damage in files().items():
        yield Case(f'index: {name}', partial(read, 'index.npz', damage), told='index.npz')
    for number in range(40):  # Seeded places.
        yield Case(f'index: byte {number}', partial(read, 'index.npz', a_byte), told='index.npz')
    for name, change in arrays().items():
        yield Case(f'index: {name}', partial(read, 'index.npz', partial(rewritten, change)), told='index.npz|image')
    for name, split in NAMES.items():
        yield Case(f'written split: {name}', partial(write, partial(named, split)), cost=0.5)
    for name, damage in files().items():
        if name != 'of another':
            yield Case(
                f'written picture: {name}', partial(write, partial(a_picture, damage)), check=nothing_half, cost=0.5
            )
    for name, place in {
        'a file': 'file',
        'below a file': 'file/x',
        'no folder': '/proc/none',
        'device': '/dev/null',
    }.items():
        yield Case(
            f'written to {name}', partial(write, None, place=place), told='cannot write|shards', done=False, cost=0.5
        )
    for size in (2000, 9000, 20000):
        yield Case(f'written up to {size} bytes', partial(full, size), told="cannot write '", done=False, cost=0.5)
    for tar in TARS:
        for name, damage in files().items():
            act = partial(goes_on, tar, damage)
            yield Case(f'goes on, {tar}: {name}', act, told=tar, check=whole_or_none, cost=0.5)


def files() -> dict[str, Callable[[Path, Random], None]]:
    """What becomes of one file."""

    def link(path: Path, rng: Random) -> None:
        path.unlink()
        path.symlink_to(path.name)

    def fifo(path: Path, rng: Random) -> None:
        path.unlink()
        os.mkfifo(path)

    def folder(path: Path, rng: Random) -> None:
        path.unlink()
        path.mkdir()

    def another(path: Path, rng: Random) -> None:
        shutil.copyfile(path.with_name('train-00001.tar'), path)

    return {
        'missing': lambda path, rng: path.unlink(),
        'empty': lambda path, rng: path.write_bytes(b''),
        'cut': lambda path, rng: os.truncate(path, rng.randrange(path.stat().st_size)),
        'longer': lambda path, rng: path.write_bytes(path.read_bytes() + b'x'),
        'zeros': lambda path, rng: path.write_bytes(bytes(path.stat().st_size)),
        'noise': lambda path, rng: path.write_bytes(rng.randbytes(path.stat().st_size)),
        'sparse giant': lambda path, rng: os.truncate(path, 2**40),
        'text': lambda path, rng: path.write_text('{}'),
        'a link to itself': link,
        'a FIFO': fifo,
        'a folder': folder,
        'a device': lambda path, rng: (path.unlink(), path.symlink_to('/dev/zero')),
        'of another': another,
    }


def arrays() -> dict[str, Callable[[dict[str, Any]], None]]:
    """Changes of what an index holds, the file being whole."""

    def places(field: str, value: int) -> Callable[[dict[str, Any]], None]:
        return lambda index: index['train/places'][field].__setitem__(3, value)

    values = {'minus': -1, 'huge': 2**62, 'least': -(2**63)}
    changes = {f'{key} {name}': places(key, value) for key in ('start', 'length') for name, value in values.items()}
    changes |= {f'shard {value}': places('shard', value) for value in (-1, 9, 2**31 - 1)}
    changes |= {
        f'no {key}': lambda index, key=key: index.pop(key)
        for key in ('splits', 'class_names', 'train/y', 'train/places')
    }
    for key in ('splits', 'class_names', 'train/y', 'train/names', 'train/places', 'train/sizes'):
        changes[f'{key} empty'] = lambda index, key=key: index.update({key: index[key][:0]})
        changes[f'{key} a number'] = lambda index, key=key: index.update({key: np.array(1.5)})
        changes[f'{key} pickled'] = lambda index, key=key: index.update({key: np.array([Evil()], object)})
    return changes


class Evil:
    def __reduce__(self) -> tuple:
        return os.mkdir, ('it was run',)


def laid_out(stock: Stock) -> Path:
    from mlsgm_pyg import datasets

    sources = {split: datasets.CsvDataset(stock.photos, split) for split in SPLITS}
    datasets.write_shards(sources, 'shards', 8)
    return Path('shards')


def read(name: str, damage: Callable, stock: Stock, rng: Random) -> Callable[[], None]:
    """Reads all of damaged shards: what is not told must be the folder's."""
    folder = laid_out(stock)
    damage(folder / name, rng)

    def act() -> None:
        from mlsgm_pyg import datasets

        for split in SPLITS:
            own, found = datasets.CsvDataset(stock.photos, split), datasets.Shards(folder, split)
            same = list(found.files) == own.files and found.class_names == own.class_names
            same &= bool((found.y == own.y).all())
            try:
                same &= all(found.image(i).tobytes() == own.image(i).tobytes() for i in range(len(own)))
            except datasets.ImageError as error:
                raise ValueError(str(error)) from error
            if not same:
                raise AssertionError('other pictures or labels were read')

    return act


def flip(place: str, path: Path, rng: Random) -> None:
    with tarfile.open(path) as tar:
        picture, about = tar.getmembers()[2:4]
    at = {
        'picture': picture.offset_data + picture.size // 2,
        'header': picture.offset + 3,
        'labels': about.offset_data + 5,
    }
    a_byte(path, rng, at.get(place, path.stat().st_size - 1))


def a_byte(path: Path, rng: Random, at: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content)) if at is None else at] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def rewritten(change: Callable[[dict[str, Any]], None], path: Path, rng: Random) -> None:
    with np.load(path) as index:
        arrays = dict(index)
    change(arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.write_bytes(buffer.getvalue())


def copied(stock: Stock) -> Path:
    shutil.copytree(stock.photos, 'photos')
    return Path('photos')


def write(change: Callable | None, stock: Stock, rng: Random, place: str = 'shards') -> list[str]:
    """The command that writes shards, of photographs that are not what they were."""
    photos = copied(stock)
    Path('file').write_text('')
    if change is not None:
        change(photos, rng)
    return ['experiments.shards', 'photos', place, f'data.root={photos}', '--per-shard', '8']


def named(split: str, photos: Path, rng: Random) -> None:
    import json

    rows = [{'file': f'{i}.png', 'labels': ['red'], 'split': split if i % 2 else 'train'} for i in range(8)]
    (photos / 'labels.csv').unlink()
    (photos / 'labels.json').write_text(json.dumps(rows))


def a_picture(damage: Callable, photos: Path, rng: Random) -> None:
    damage(photos / 'images' / '11.png', rng)


def full(size: int, stock: Stock, rng: Random) -> Callable[[], int]:
    words = write(None, stock, rng)[1:]

    def act() -> None:
        from experiments import shards

        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        raise SystemExit(shards.main(words))

    return act


def goes_on(name: str, damage: Callable, stock: Stock, rng: Random) -> list[str]:
    folder = laid_out(stock)
    (folder / 'index.npz').unlink()
    damage(folder / name, rng)
    return write(None, stock, rng)


def nothing_half(result: Any) -> str:
    index = Path('shards/index.npz').exists()
    return '' if index == (result.status == 0) else f'wrong: an index is there: {index}'


def whole_or_none(result: Any) -> str:
    from mlsgm_pyg import datasets

    if result.status:
        return nothing_half(result)
    for split in SPLITS:
        own, found = datasets.CsvDataset('photos', split), datasets.Shards('shards', split)
        if any(own.image(i).tobytes() != found.image(i).tobytes() for i in range(len(own))):
            return 'wrong: other pictures'
    return ''

"""A frozen backbone's feature maps, computed once and kept on disk: heads then train in minutes.

A store is a memory-mapped float16 array [n, D', h, w] beside one byte a row that says whether the row is there. Rows
are filled when they are needed, so a limited run computes what it uses, a killed one goes on where it stopped, and
held-out parts of one data set share one store. Its file name is a hash of everything that changes the maps.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from rich.filesize import decimal
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mlsgm_pyg import fast_backbone
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import write_json, writing
from mlsgm_pyg.app.common.progress import track
from mlsgm_pyg.app.common.signals import end_with_parent
from mlsgm_pyg.app.common.text import counted
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.datasets import ImageDataset, LabelledImages, Relabelled, Subset, build_view, collate

FORMAT_VERSION = 1
MISSING, READY, SKIPPED = 0, 1, 2
ENGINES = ('torch', 'onnx')
Wanted = Sequence[tuple[LabelledImages, Sequence[int], str]]  # Images, rows and view that a run cannot do without.


def cache_dir(folder: str = '') -> Path:
    """The folder of the stores: the one given, $MLSGM_CACHE, or .cache/features."""
    return Path(folder or os.environ.get('MLSGM_CACHE') or '.cache/features')


def weights(module: torch.nn.Module) -> Iterator[bytes]:
    """The names and values of all weights, to be hashed."""
    for key, value in sorted(module.state_dict().items()):
        yield key.encode()
        yield value.detach().cpu().contiguous().numpy()


class FeatureStore:
    """The maps (n, D', h, w) of one data set under one view: a file, and the rows' state beside it."""

    def __init__(self, path: Path, shape: tuple[int, ...]):
        self.path = path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.maps = _open(path, np.float16, shape)
            self.state = _open(path.with_suffix('.rows.npy'), np.uint8, shape[:1])

    def missing(self, rows: Sequence[int]) -> list[int]:
        """Rows without a map: not computed yet, or of an image that could not be read when it was."""
        rows = np.asarray(rows, dtype=np.int64)
        return rows[self.state[rows] != READY].tolist()

    def skipped(self, rows: Sequence[int]) -> list[int]:
        rows = np.asarray(rows, dtype=np.int64)
        return rows[self.state[rows] == SKIPPED].tolist()

    def write(self, rows: Sequence[int], maps: Tensor, skipped: Sequence[int] = ()) -> None:
        maps = maps.half()
        if not maps.isfinite().all():
            raise ValueError('a feature map does not fit float16: train from images (features.cache=false)')
        # Through the memory map every new page of a sparse file would be a fault.
        with writing(self.path), self.path.open('r+b') as file:
            for row, one in zip(rows, maps.cpu().contiguous().numpy(), strict=True):
                file.seek(self.maps.offset + int(row) * one.nbytes)
                file.write(one)
            file.flush()
            os.fsync(file.fileno())  # The rows are on disk before they count as ready.
        self.state[rows] = READY
        self.state[list(skipped)] = SKIPPED
        self.state.flush()

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Rows in the order given; read from disk in rising order."""
        order = np.argsort(rows, kind='stable')
        out = np.empty((len(rows), *self.maps.shape[1:]), np.float16)
        for i in order:
            out[i] = self.maps[rows[i]]
        return out

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({list(self.maps.shape)}, {int((self.state == READY).sum())} ready)'


class FeatureStores:
    """The stores of a backbone, whose weights must not change, for one size of images; each is opened once, and every
    image's file looked at once. All are of one engine, so that no run mixes the maps of two: `torch`, `onnx`, or with
    `auto` the one whose maps of what is wanted are all there, else ONNX Runtime where it pays and torch elsewhere."""

    batch_size = 32

    def __init__(
        self, backbone: Backbone, image_size: int, folder: str = '', engine: str = 'auto', wanted: Wanted = ()
    ):
        self.backbone, self.image_size, self.folder = backbone, image_size, folder
        self.known: dict[LabelledImages, list[bytes]] = {}
        self.names: dict[tuple[LabelledImages, str, str], str] = {}
        self.opened: dict[tuple[LabelledImages, str], FeatureStore] = {}
        self.made: fast_backbone.OnnxBackbone | None = None
        self.engine = self._chosen(wanted) if engine == 'auto' else engine

    def _chosen(self, wanted: Wanted) -> str:
        for engine in ENGINES if wanted else ():
            if self.have(wanted, engine):
                return engine
        self.made, told = fast_backbone.find(self.backbone, [self.image_size], sum(len(rows) for _, rows, _ in wanted))
        if told:
            print(f'Feature maps of {self.backbone.name} by {told}')
        return 'onnx' if self.made else 'torch'

    def have(self, wanted: Wanted, engine: str = '') -> bool:
        """Whether all that is wanted is there, but for what could not be read."""
        return all(is_complete(self._path(source, view, engine), rows) for source, rows, view in wanted)

    @cached_property
    def maps(self) -> fast_backbone.OnnxBackbone | fast_backbone.TorchBackbone:
        """Images -> maps."""
        if self.engine == 'torch':
            return fast_backbone.TorchBackbone(self.backbone, self.image_size, self.batch_size)
        return self.made or fast_backbone.OnnxBackbone(self.backbone, [self.image_size])

    def fingerprint(self, source: LabelledImages, view: str, engine: str = '') -> str:
        """A hash of all that the maps depend on: images, view, size, engine, the backbone's name, shape and every
        weight."""
        key, backbone = (source, view, engine or self.engine), self.backbone
        if key not in self.names:
            digest = hashlib.sha256(f'{FORMAT_VERSION} {backbone.name} {view} {self.image_size}'.encode())
            for content in weights(backbone):
                digest.update(content)
            layers = [(m.stride, m.dilation) for m in backbone.modules() if hasattr(m, 'dilation')]
            digest.update(repr(layers).encode())
            if source not in self.known:
                self.known[source] = list(_identities(source))
            for image in self.known[source]:
                digest.update(image)
            self.names[source, view, 'torch'] = digest.hexdigest()[:20]
            digest.update(b'onnx')
            self.names[source, view, 'onnx'] = digest.hexdigest()[:20]
        return self.names[key]

    def _path(self, source: LabelledImages, view: str, engine: str = '') -> Path:
        return cache_dir(self.folder) / f'{self.fingerprint(source, view, engine)}.npy'

    def open(self, source: LabelledImages, view: str) -> FeatureStore:
        """The store of a data set's maps under a view, made empty where there is none yet."""
        key = source, view
        if key not in self.opened:
            store = self.opened[key] = FeatureStore(self._path(*key), (len(source), *self.shape))
            about = {'backbone': self.backbone.name, 'data': repr(source), 'view': view, 'image_size': self.image_size}
            write_json(store.path.with_suffix('.json'), about | {'engine': self.engine}, several=True)
        return self.opened[key]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """That of one map, (D', h, w)."""
        size, device = self.image_size, next(self.backbone.parameters()).device
        with torch.inference_mode():
            return self.backbone(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=device)).shape[1:]

    def fill(
        self,
        source: LabelledImages,
        rows: Sequence[int],
        views: Sequence[str],
        num_workers: int = 0,
        on_error: str = 'raise',
    ) -> int:
        """Computes those of some images' maps that are not there yet; returns of how many images.

        The views are one and, maybe, the same mirrored: every image is read once. An image that could not be read is
        read anew, whatever :obj:`on_error` was then: it may have been the disk's fault. Of several processes one
        computes; the others wait and find the rows.
        """
        view, stores = views[0].removesuffix('_flip'), {view: self.open(source, view) for view in views}
        with ExitStack() as stack:
            for path in sorted(store.path.with_suffix('.lock') for store in stores.values()):
                stack.enter_context(FileLock(path))  # In one order, so that no two processes wait for each other.
            missing = {name: store.missing(rows) for name, store in stores.items()}
            todo = np.asarray(sorted(set().union(*missing.values())), dtype=np.int64)
            if len(todo) == 0:
                return 0
            size = _check_room(next(iter(stores.values())), sum(map(len, missing.values())))
            images = ImageDataset(Subset(source, todo.tolist()), build_view(view, self.image_size), on_error=on_error)
            how = {'num_workers': num_workers, 'worker_init_fn': end_with_parent}
            loader = DataLoader(images, self.batch_size, collate_fn=collate, **how)
            about = f'Feature maps, {size}'
            for batch in track(loader, about, len(todo), lambda one: len(one['index']) + len(one['skipped'])):
                read, skipped = (todo[np.asarray(batch[key], dtype=np.int64)] for key in ('index', 'skipped'))
                for name, store in stores.items():
                    mine = np.flatnonzero(store.state[read] != READY)
                    image = batch['image'][mine].flip(3) if name != view else batch['image'][mine]
                    maps = self.maps(image) if len(mine) else torch.empty(0, *store.maps.shape[1:])
                    store.write(read[mine], maps, store.missing(skipped))
            return len(todo)


def is_complete(path: Path, rows: Sequence[int]) -> bool:
    """Whether a store has the maps of some rows, but for those of images that could not be read."""
    state = path.with_suffix('.rows.npy')
    if not (path.is_file() and state.is_file()):
        return False
    return bool((np.load(state, mmap_mode='r')[np.asarray(rows, dtype=np.int64)] != MISSING).all())


def _check_room(store: FeatureStore, number: int) -> str:
    """The size of some more maps in words, for which the disk must have room."""
    one = int(np.prod(store.maps.shape[1:])) * store.maps.itemsize
    free = shutil.disk_usage(store.path.parent).free
    if number * one > free:
        raise ConfigError(
            f'the maps of {counted(number, "image")} take {decimal(number * one)}, {decimal(one)} each as float16 '
            f"{list(store.maps.shape[1:])}: '{store.path.parent}' has {decimal(free)} left; name a folder on a larger "
            f'disk (features.dir=PATH), or take fewer images (data.test_limit=N) or smaller ones (data.image_size=S)'
        )
    return decimal(number * one)


class FeatureDataset(Dataset):
    """Maps of some rows of a store as ready batches: dict(feature [B, D', h, w] float16, y, index).

    Where training mirrors, a second store has the mirrored ones: which one is drawn depends on (seed, epoch, index)
    only. Images that could not be read, for any of the stores, are left out; :obj:`skipped` lists their numbers.
    """

    def __init__(self, stores: list[FeatureStore], rows: Sequence[int], y: Tensor, seed: int = 0):
        self.stores = stores
        self.rows = np.asarray(rows, dtype=np.int64)
        self.y = y
        self.seed = seed
        unreadable = np.isin(self.rows, [row for store in stores for row in store.skipped(self.rows)])
        self.index, self.skipped = np.flatnonzero(~unreadable), np.flatnonzero(unreadable).tolist()
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        draw = np.random.default_rng([self.seed, epoch, 4]).integers(len(self.stores), size=len(self.rows))
        self.pick = draw

    def __len__(self) -> int:
        return len(self.index)

    def __getitems__(self, indices: list[int]) -> dict:
        index = self.index[indices]
        rows, pick = self.rows[index], self.pick[index]
        feature = np.empty((len(index), *self.stores[0].maps.shape[1:]), np.float16)
        for number, store in enumerate(self.stores):
            mine = pick == number
            feature[mine] = store.read(rows[mine])
        index = torch.from_numpy(index)
        return {'feature': torch.from_numpy(feature), 'y': self.y[index], 'index': index}


def _identities(source: LabelledImages) -> Iterator[bytes]:
    """What tells one data set from another: name, size and time of every file, or a few pictures that have none."""
    if isinstance(source, Subset):
        yield repr(source.indices).encode()
        yield from _identities(source.source)
    elif isinstance(source, Relabelled):
        yield from _identities(source.source)
    elif len(source.paths):
        for path in source.paths:
            path = Path(path)
            stat = path.stat() if path.exists() else None
            yield f'{path.resolve()} {stat and (stat.st_size, stat.st_mtime_ns)}\n'.encode()
    else:
        yield repr((repr(source), list(source.files))).encode()
        yield source.y.numpy().tobytes()
        for i in sorted({0, len(source) // 2, len(source) - 1}):
            yield source.image(i).tobytes()


def _open(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    """Opens an array for reading and writing; a new one appears whole or not at all."""
    if not path.is_file():
        handle, name = tempfile.mkstemp(dir=path.parent, suffix='.tmp')
        try:
            with open(handle, 'wb') as file:
                if len(shape) == 1:  # It takes its room now: in a memory map, a full disk ends the process.
                    np.save(file, np.zeros(shape, dtype))
                else:
                    np.lib.format.open_memmap(name, mode='w+', dtype=dtype, shape=shape).flush()  # Sparse: none yet.
            os.link(name, path)
        except FileExistsError:  # Another process was first.
            pass
        finally:
            os.unlink(name)
    array = np.lib.format.open_memmap(path, mode='r+')
    if array.shape != tuple(shape) or array.dtype != dtype:
        raise ValueError(f"'{path}' holds {array.dtype} {list(array.shape)}, wanted {np.dtype(dtype)} {list(shape)}")
    return array

"""A frozen backbone's feature maps, computed once and kept on disk: heads then train in minutes.

A store is a memory-mapped float16 array [n, D', h, w] beside one byte a row that says whether the row is there. Rows
are filled when they are needed, so a limited run computes what it uses, a killed one goes on where it stopped, and
held-out parts of one data set share one store. Its file name is a hash of everything that changes the maps.
"""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from rich.filesize import decimal
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import write_json
from mlsgm_pyg.app.common.text import counted
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.datasets import ImageDataset, LabelledImages, Relabelled, Subset, build_view, collate

FORMAT_VERSION = 1
MISSING, READY, SKIPPED = 0, 1, 2


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
        path.parent.mkdir(parents=True, exist_ok=True)
        state = path.with_suffix('.rows.npy')
        self.maps = _open(path, np.float16, shape)
        self.state = _open(state, np.uint8, shape[:1])

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
        self.maps[rows] = maps.cpu().numpy()
        self.maps.flush()  # The rows are on disk before they count as ready.
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
    image's file looked at once."""

    def __init__(self, backbone: Backbone, image_size: int, folder: str = ''):
        self.backbone, self.image_size, self.folder = backbone, image_size, folder
        self.known: dict[LabelledImages, list[bytes]] = {}
        self.names: dict[tuple[LabelledImages, str], str] = {}
        self.opened: dict[tuple[LabelledImages, str], FeatureStore] = {}

    def fingerprint(self, source: LabelledImages, view: str) -> str:
        """A hash of all that the maps depend on: images, view, size, the backbone's name, shape and every weight."""
        key, backbone = (source, view), self.backbone
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
            self.names[key] = digest.hexdigest()[:20]
        return self.names[key]

    def open(self, source: LabelledImages, view: str) -> FeatureStore:
        """The store of a data set's maps under a view, made empty where there is none yet."""
        key = source, view
        if key not in self.opened:
            path = cache_dir(self.folder) / f'{self.fingerprint(source, view)}.npy'
            store = self.opened[key] = FeatureStore(path, (len(source), *self.shape))
            about = {'backbone': self.backbone.name, 'data': repr(source), 'view': view, 'image_size': self.image_size}
            write_json(store.path.with_suffix('.json'), about, several=True)
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
        view: str,
        num_workers: int = 0,
        on_error: str = 'raise',
        batch_size: int = 32,
    ) -> int:
        """Computes those of some images' maps that are not there yet; returns how many that were.

        An image that could not be read is read anew, whatever :obj:`on_error` was then: it may have been the disk's
        fault. Of several processes one computes; the others wait and find the rows.
        """
        store, backbone, image_size = self.open(source, view), self.backbone, self.image_size
        with FileLock(store.path.with_suffix('.lock')):
            todo = np.asarray(store.missing(rows), dtype=np.int64)
            if len(todo) == 0:
                return 0
            size = _check_room(store, len(todo))
            images = ImageDataset(Subset(source, todo.tolist()), build_view(view, image_size), on_error=on_error)
            loader = DataLoader(images, batch_size, num_workers=num_workers, collate_fn=collate)
            device, network = next(backbone.parameters()).device, None
            told = f'Feature maps ({backbone.name}, {view}, {counted(len(todo), "image")}, {size})'
            for batch in track(loader, told):
                maps = torch.empty(0, *store.maps.shape[1:])
                if len(batch['index']):
                    image = batch['image'].to(device)
                    if len(image) < batch_size:  # The compiled network takes one size.
                        image = torch.cat([image, image.new_zeros(batch_size - len(image), *image.shape[1:])])
                    network = network or compiled(backbone, torch.zeros_like(image))
                    with torch.inference_mode():
                        maps = network(image)[: len(batch['index'])]
                store.write(todo[batch['index'].numpy()], maps, todo[np.asarray(batch['skipped'], dtype=np.int64)])
            return len(todo)


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


def compiled(backbone: Backbone, example: Tensor) -> Callable[[Tensor], Tensor]:
    """The backbone for one size of input, BatchNorm folded in, channels last: four times as fast on CPUs.

    Its maps equal the backbone's up to rounding, far below what float16 keeps.
    """
    if example.device.type != 'cpu':
        return backbone
    network = copy.deepcopy(backbone).to(memory_format=torch.channels_last)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')  # TorchScript is deprecated without a replacement of this speed on CPUs.
        return torch.jit.freeze(torch.jit.trace(network.eval(), example, check_trace=False))


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
        os.close(handle)
        np.lib.format.open_memmap(name, mode='w+', dtype=dtype, shape=shape).flush()  # Sparse: rows take no room yet.
        try:
            os.link(name, path)
        except FileExistsError:  # Another process was first.
            pass
        finally:
            os.unlink(name)
    array = np.lib.format.open_memmap(path, mode='r+')
    if array.shape != tuple(shape) or array.dtype != dtype:
        raise ValueError(f"'{path}' holds {array.dtype} {list(array.shape)}, wanted {np.dtype(dtype)} {list(shape)}")
    return array

"""Images in tar files, each beside its labels as WebDataset has them, and an index by which one is read alone."""

import errno
import io
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mlsgm_pyg.cache import read_arrays
from mlsgm_pyg.datasets.base import LabelledImages
from mlsgm_pyg.datasets.files import check_regular
from mlsgm_pyg.datasets.images import ImageError, read_picture, suffixes
from mlsgm_pyg.names import nearest

INDEX = 'index.npz'  # Written last: without it a folder is not whole.
LARGEST = 2**30  # Bytes of one picture.
PLACE = np.dtype([('shard', '<i4'), ('checksum', '<u4'), ('start', '<i8'), ('length', '<i8'), ('name_end', '<i8')])


class Names(Sequence[str]):
    """Many names in one text: each is a :obj:`str` no longer than it is looked at."""

    def __init__(self, text: bytes, ends: np.ndarray):
        self.text, self.ends = text, np.concatenate([[0], ends])

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: int | slice) -> str | list[str]:
        at = range(len(self))[index]
        if isinstance(at, range):
            return [self[i] for i in at]
        return self.text[self.ends[at] : self.ends[at + 1]].decode('utf-8', 'surrogatepass')


class Shards(LabelledImages):
    """One split of a folder that :func:`write_shards` wrote: the images, labels and names of its source in their order.
    So masks, parts, scores and training are those of the source.

    Labels and places come from the index; an image is read from its place in a tar, and its checksum is compared.
    :class:`EpochSampler` with a :obj:`window` reads neighbours, and so the tars, together.

    Args:
        root (str or Path): The folder.
        split (str): The part to read.
        missing (str): :obj:`'raise'` looks for every tar at once; :obj:`'skip'` leaves those that are missing, or have
            not the size that was indexed, to whoever reads their images. (default: :obj:`'raise'`)

    Raises:
        FileNotFoundError: If there is no index.
        ValueError: If the index is damaged or has no such split, or a tar is not there in the size that was indexed.
    """

    def __init__(self, root: str | Path, split: str, missing: str = 'raise'):
        self.root, self.split = Path(root), split
        index, self.splits = self.root / INDEX, split_names(self.root)
        if split not in self.splits:
            near = nearest(split, self.splits)
            raise ValueError(f"'{index}' has no split '{split}'{near}; it has {', '.join(self.splits)}")
        arrays = _read(index, 'class_names', *(f'{split}/{name}' for name in ('y', 'names', 'places', 'sizes')))
        classes, y, names, self._places, sizes = arrays
        places, ends = self._places, self._places['name_end'] if self._places.dtype == PLACE else ()
        forms = [(array.dtype, array.shape) for array in (y, names)]
        if not len(ends) or forms != [(np.int8, (len(places), len(classes))), (np.uint8, (ends[-1],))]:
            raise ValueError(f"'{index}' is damaged, or is no index of shards: its arrays do not fit")
        self.class_names, self.y = classes.tolist(), torch.from_numpy(y)
        self.files = Names(names.tobytes(), ends)
        for number, size in enumerate(sizes if missing == 'raise' else ()):
            path = shard_path(self.root, split, number)
            got = f'{path.stat().st_size:,} bytes' if path.is_file() else 'no file'
            if got != f'{size:,} bytes':
                told = f"the shard '{path}' is missing, cut or changed: {size:,} bytes were indexed (got {got})"
                raise ValueError(f'{told}; write the shards once more')

    def image(self, index: int) -> Image.Image:
        index = range(len(self))[index]
        place = self._places[index]
        path = shard_path(self.root, self.split, place['shard'])
        try:
            check_regular(path, None)
            with path.open('rb', buffering=0) as file:
                file.seek(place['start'])
                content = file.read(min(place['length'], os.fstat(file.fileno()).st_size))
            if len(content) != place['length'] or zlib.crc32(content) != place['checksum']:
                raise ImageError('not what was indexed: the shard is cut, or was changed')
            return read_picture(content).image
        except (ImageError, OSError) as error:
            reason = getattr(error, 'reason', None) or error.strerror or str(error)
            told = f"cannot read image {index}, '{self.files[index]}' in '{path}': {reason}"
            raise ImageError(told, reason) from error

    def __repr__(self) -> str:  # Cached maps are known by it: it differs where a picture does.
        content = zlib.crc32(self._places['checksum'].tobytes())
        return f'Shards({self.split!r}, {len(self)}, num_classes={len(self.class_names)}, content={content:08x})'


def shard_path(root: Path, split: str, number: int) -> Path:
    return root / f'{split}-{number:05d}.tar'


def split_names(root: Path) -> list[str]:
    """The splits of a folder of shards."""
    return [str(split) for split in _read(root / INDEX, 'splits')[0]]


def write_shards(
    sources: Mapping[str, LabelledImages],
    root: str | Path,
    per_shard: int = 1000,
    told: Callable[[int], None] | None = None,
) -> None:
    """Writes images into tars, :obj:`SPLIT-00000.tar` and so on, for :class:`Shards` and for WebDataset.

    Of each image a tar has its file as it is (a PNG where the source reads no files) and under the same number a JSON,
    like an entry of :class:`CsvDataset`: :obj:`file`, :obj:`labels`, :obj:`unknown`, and :obj:`index`, the number. A
    tar is written aside, renamed and read back, and the index comes last: what was broken off goes on by the same call.

    Args:
        sources (mapping): Of each split's name the images, all of the same classes.
        root (str or Path): The folder; it is made.
        per_shard (int): Images a tar. (default: :obj:`1000`)
        told (callable, optional): Called after each tar with the number of its images.

    Raises:
        ValueError: If there is an index already, a tar holds other images, or the sources do not fit.
        ImageError: If an image cannot be read.
    """
    root, classes = Path(root), next(iter(sources.values())).class_names
    if per_shard < 1:
        raise ValueError(f"'per_shard' must be at least 1 image (got {per_shard})")
    if (root / INDEX).exists():
        raise ValueError(f"'{root}' holds shards already: '{INDEX}' is there")
    for split, source in sources.items():
        if source.class_names != classes or not len(source) or Path(split).name != split:
            raise ValueError(
                f"a split has images, all have the same classes, and its name is a file's (got {split!r}: {source})"
            )
    root.mkdir(parents=True, exist_ok=True)
    arrays = {'class_names': np.array(classes), 'splits': np.array(list(sources))}
    for split, source in sources.items():
        parts, sizes, names = [], [], [name.encode('utf-8', 'surrogatepass') for name in source.files]
        for first in range(0, len(source), per_shard):
            path, rows = shard_path(root, split, len(parts)), range(first, min(first + per_shard, len(source)))
            if not path.exists():
                _write(path, source, rows)
            parts.append(_read_back(path, source, rows))
            sizes.append(path.stat().st_size)
            if told is not None:
                told(len(rows))
        places = np.concatenate(parts)
        places['shard'] = np.arange(len(source)) // per_shard
        places['name_end'] = np.cumsum([len(name) for name in names])
        text = np.frombuffer(b''.join(names), np.uint8)
        found = {'y': source.y.numpy(), 'names': text, 'places': places, 'sizes': np.array(sizes)}
        arrays |= {f'{split}/{name}': array for name, array in found.items()}
    with _aside(root / INDEX) as spare, spare.open('wb') as file:
        np.savez_compressed(file, **arrays)


def _write(path: Path, source: LabelledImages, rows: range) -> None:
    with _aside(path) as spare, tarfile.open(spare, 'w', format=tarfile.USTAR_FORMAT) as tar:
        for i in rows:
            suffix, content = _picture(source, i)
            for ending, part in ((suffix, content), ('.json', json.dumps(_about(source, i)).encode())):
                member = tarfile.TarInfo(f'{i:09d}{ending}')
                member.size = len(part)
                tar.addfile(member, io.BytesIO(part))


def _picture(source: LabelledImages, index: int) -> tuple[str, bytes]:
    """The file of an image, and how its name ends."""
    if not len(source.paths):
        buffer = io.BytesIO()
        source.image(index).save(buffer, 'png')
        return '.png', buffer.getvalue()
    path = Path(source.paths[index])
    suffix = path.suffix.lower()
    try:
        check_regular(path, None)
        if path.stat().st_size > LARGEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return suffix if suffix in suffixes() else '.img', path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read image {index}, '{path}': {error.strerror}") from error


def _about(source: LabelledImages, index: int) -> dict[str, Any]:
    """What lies beside an image."""
    y = source.y[index].tolist()
    present, unknown = ([name for name, value in zip(source.class_names, y) if value == it] for it in (1, -1))
    return {'file': source.files[index], 'labels': present, 'unknown': unknown, 'index': index}


def _read_back(path: Path, source: LabelledImages, rows: range) -> np.ndarray:
    """Where the images lie in a tar, which must hold these and no others."""
    places = np.zeros(len(rows), PLACE)
    try:
        check_regular(path, None)
        with tarfile.open(path, 'r:') as tar:
            members = tar.getmembers()
            pairs = list(zip(members[::2], members[1::2]))
            is_same = len(members) == 2 * len(rows)
            for place, i, (picture, about) in zip(places, rows, pairs):
                content = tar.extractfile(picture).read()
                is_same &= json.load(tar.extractfile(about)) == _about(source, i)
                is_same &= not len(source.paths) or len(content) == Path(source.paths[i]).stat().st_size
                place['start'], place['length'] = picture.offset_data, len(content)
                place['checksum'] = zlib.crc32(content)
    except (tarfile.TarError, OSError, EOFError, ValueError, AttributeError) as error:
        raise ValueError(f"'{path}' cannot be read back ({error}): delete it, and the same command goes on") from error
    if not is_same:
        raise ValueError(f"'{path}' is there, and holds other images than {rows.start} to {rows.stop - 1}: delete it")
    return places


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A file that takes its place when it is whole."""
    spare = path.with_name(f'.{path.name}.tmp')
    try:
        yield spare
        spare.replace(path)
    finally:
        spare.unlink(missing_ok=True)


def _read(path: Path, *names: str) -> list[np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no '{path}': no shards lie there, or they were not written to the end")
    try:
        arrays = read_arrays(path, *names)
        if not all(array.ndim for array in arrays):
            raise ValueError('a number, where an array is wanted')
    except ValueError as error:
        raise ValueError(f"'{path}' is damaged, or is no index of shards: {error}") from error
    return arrays

"""What data sets in a fixed layout share: are all images there, is every one counted, and is what was parsed kept."""

import os
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np

# What a wrong .npz file raises.
BROKEN = (KeyError, ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


def check_count(part: str, expected: int, got: int, path: Path, source: str) -> None:
    """Checks that a part of a data set is whole.

    Args:
        part (str): What a message calls it: ``'train' of MS-COCO 2014``.
        expected (int): How many images it is known to have.
        got (int): How many came.
        path (Path): The file that lists them.
        source (str): Where the whole one is.

    Raises:
        ValueError: If the numbers differ.
    """
    if got != expected:
        raise ValueError(
            f"{part} has {expected:,} images (got {got:,} in '{path}'): the whole list is in {source}; verify=False "
            'takes a part of it'
        )


def check_images(part: str, paths: Sequence[Path], source: str) -> None:
    """Checks that every image is there, with one look into each folder, however many images it holds.

    Raises:
        FileNotFoundError: If one is not, with the number of those missing, the first, and where to get them.
    """
    there: dict[str, set[str]] = {}
    missing = []
    for path in paths:
        folder, name = os.path.split(path)  # Faster than Path.parent and Path.name.
        if folder not in there:
            there[folder] = listing(Path(folder))
        if name not in there[folder]:
            missing.append(path)
    if missing:
        raise FileNotFoundError(
            f"{part} lacks {len(missing):,} of its {len(paths):,} images: there is no image '{missing[0]}'. "
            f"They are in {source}; missing='skip' leaves them to whoever reads them"
        )


def listing(folder: Path) -> set[str]:
    """The names of the files in a folder; none if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def stamp_of(path: Path, version: str) -> list[str]:
    """What a cache of a file is checked by: the file's name, size and time of change, and the form of the cache."""
    stat = path.stat()
    return [path.name, str(stat.st_size), str(stat.st_mtime_ns), version]


def cache_path(path: Path, cache: str | Path | None) -> Path:
    """Where the cache of a file lies: beside it, or in a folder of its own."""
    return Path(path.parent if cache is None else cache) / f'{path.name}.cache.npz'


def read_cache(path: Path, stamp: list[str], names: Sequence[str]) -> list[np.ndarray] | None:
    """Reads arrays by name; :obj:`None` if there is no cache, a broken one, or one of another file."""
    try:
        with path.open('rb') as file, np.load(file, allow_pickle=False) as arrays:  # Never unpickles anything.
            return [arrays[name] for name in names] if arrays['stamp'].tolist() == stamp else None
    except BROKEN:
        return None


def write_cache(path: Path, stamp: list[str], **arrays: np.ndarray) -> None:
    """Writes arrays, whole or not at all, however many processes do; a folder that cannot be written is a warning."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f'{path.name}.{uuid4().hex}.tmp')
        try:
            with unfinished.open('wb') as file:
                np.savez_compressed(file, stamp=stamp, **arrays)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(f'The cache of parsed labels was not written, so the next start is slower: {error}', stacklevel=2)

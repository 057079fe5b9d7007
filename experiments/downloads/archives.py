"""Zip and tar files, unpacked so that what was broken off goes on and nothing lands elsewhere."""

import functools
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from experiments.downloads.download import check_room

CHUNK = 1 << 20  # Bytes copied at a time.


class Member(NamedTuple):
    """One file of an archive."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def extract(
    archive: str | Path,
    folder: str | Path,
    wanted: Callable[[str], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Unpacks a zip or tar file, or what is wanted of it; each of its files appears whole or not at all. Returns their
    names.

    A file that is there with its size is not unpacked again, so what was broken off goes on. Nothing is written outside
    of the folder, and links and devices are not unpacked. Progress is told as the number of files unpacked and of all.

    Raises:
        DownloadError: If the disk has no room for what it holds.
        ValueError: If the archive is broken or has a file that would go elsewhere; the message names it.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        with _open(archive) as members:
            chosen = [member for member in members if wanted is None or wanted(member.name)]
            targets = [_inside(archive, folder, member.name) for member in chosen]
            lacking = [
                not target.is_file() or target.stat().st_size != member.size for member, target in zip(chosen, targets)
            ]
            if any(lacking):
                folder.mkdir(parents=True, exist_ok=True)
                check_room(folder, sum(member.size for member, lacks in zip(chosen, lacking) if lacks))
            for at, (member, target, lacks) in enumerate(zip(chosen, targets, lacking)):
                if lacks:
                    _write(member, target)
                if progress:
                    progress(at + 1, len(chosen))
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise ValueError(f"'{archive}' is broken: {error}") from error
    return [member.name for member in chosen]


@contextmanager
def _open(archive: Path) -> Iterator[list[Member]]:
    """The files of an archive, without folders, links and devices."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield [
                Member(info.filename, info.file_size, functools.partial(file.open, info))
                for info in file.infolist()
                if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16)
            ]
    elif archive.is_file() and tarfile.is_tarfile(archive):
        with tarfile.open(archive) as file:
            yield [
                Member(info.name, info.size, functools.partial(file.extractfile, info))
                for info in file.getmembers()
                if info.isreg()
            ]
    else:
        raise ValueError(f"'{archive}' is neither a whole zip nor a tar file")


def _inside(archive: Path, folder: Path, name: str) -> Path:
    """Where a file of an archive goes."""
    root = os.path.abspath(folder)
    target = os.path.abspath(os.path.join(root, name))
    if not target.startswith(os.path.join(root, '')):
        raise ValueError(f"'{archive}' has a file that would go outside of '{folder}' (got '{name}')")
    return Path(target)


def _write(member: Member, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f'{target.name}.part')
    try:
        with member.open() as source, part.open('wb') as file:
            shutil.copyfileobj(source, file, CHUNK)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)

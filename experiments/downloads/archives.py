"""Zip and tar files, unpacked so that what was broken off goes on, nothing lands elsewhere and there is an end."""

import functools
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from experiments.downloads.download import check_room

CHUNK = 1 << 20  # Bytes copied at a time.
MOST, SMALL = 20, 10_000_000  # So many times its size an archive may unpack to, or so many bytes a small one.
ENTRY = 512  # Bytes that an entry counts for, beside its own.
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # Of others one read may fill the memory.


class Member(NamedTuple):
    """One entry of an archive."""

    name: str
    size: int
    open: Callable[[], IO[bytes]] | None  # None of a folder, a link or a device.


def extract(
    archive: str | Path,
    folder: str | Path,
    wanted: Callable[[str], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Unpacks a zip or plain tar file, or what is wanted of it; each of its files appears whole or not at all. Returns
    their names.

    A file that is there with its size is not unpacked again, so what was broken off goes on. Nothing is written outside
    of the folder, links and devices are not unpacked, and an archive that would unpack to more than 20 times its own
    size is refused. Progress is told as the number of files unpacked and of all.

    Raises:
        DownloadError: If the disk has no room for what it holds.
        ValueError: If the archive is broken, unpacks to too much, or has a file that would go elsewhere; the message
            names it.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        with _open(archive) as members:
            chosen = [member for member in _bounded(archive, members) if wanted is None or wanted(member.name)]
            targets = [_inside(archive, folder, member.name) for member in chosen]
            if len(set(targets)) < len(targets):
                twice = Counter(targets).most_common(1)[0][0]
                raise ValueError(f"'{archive}' is broken: it has '{twice}' twice")
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
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(f"'{archive}' is broken: {error}") from error
    return [member.name for member in chosen]


@contextmanager
def _open(archive: Path) -> Iterator[Iterator[Member]]:
    """The entries of an archive; a compressed tar file is none, since its headers alone may fill the memory."""
    try:
        file = zipfile.ZipFile(archive) if zipfile.is_zipfile(archive) else tarfile.open(archive, 'r:')
    except (zipfile.BadZipFile, tarfile.TarError, FileNotFoundError) as error:
        raise ValueError(f"'{archive}' is neither a whole zip nor a plain tar file") from error
    with file:
        if isinstance(file, zipfile.ZipFile):
            yield (_zipped(file, info) for info in file.infolist())
        else:
            yield (
                Member(info.name, info.size, functools.partial(file.extractfile, info) if info.isreg() else None)
                for info in file
            )


def _zipped(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    if info.flag_bits & 1 or info.compress_type not in PACKED:
        raise zipfile.BadZipFile(f"'{info.filename}' is encrypted, or packed in another way than by deflate")
    is_file = not info.filename.endswith('/') and not stat.S_ISLNK(info.external_attr >> 16)
    return Member(info.filename, info.file_size, functools.partial(file.open, info) if is_file else None)


def _bounded(archive: Path, members: Iterator[Member]) -> Iterator[Member]:
    """The files among the entries, until they say that they unpack to too much."""
    most, total = max(MOST * archive.stat().st_size, SMALL), 0
    for member in members:
        if member.size < 0:  # Where a tar file would be read in a circle.
            raise ValueError(f"'{archive}' is broken: '{member.name}' says that it has {member.size:,} bytes")
        total += ENTRY + member.size
        if total > most:
            raise ValueError(
                f"'{archive}' would unpack to {total:,} bytes or more (up to '{member.name}'): at most {most:,} are "
                f'believed, {MOST} times its own size or {SMALL:,}'
            )
        if member.open:
            yield member


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
        if part.stat().st_size != member.size:
            raise EOFError(f"'{member.name}' has {part.stat().st_size:,} bytes (it says {member.size:,})")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)

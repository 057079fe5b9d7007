"""What data sets in a fixed layout share: how their lists are read, and whether all images are counted and there."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

MOST = 2 << 30  # Bytes of a file: a picture, a list of labels.


def check_regular(path: str | Path, most: int | None = MOST) -> None:
    """Checks that a path, if it is there, can be read to its end: a pipe or a device would be waited for, and a giant
    takes all memory, unless it is read in parts (:obj:`most=None`).

    Raises:
        OSError: If it is neither a file nor a folder, or has more bytes.
    """
    if os.path.isfile(path):
        if most is not None and (size := os.path.getsize(path)) > most:
            raise OSError(errno.EFBIG, f'{size:,} bytes are more than the {most:,} that are allowed', str(path))
    elif os.path.exists(path) and not os.path.isdir(path):
        raise OSError(errno.EINVAL, 'Not a regular file', str(path))


def read_text(path: Path) -> str:
    """Reads a text in UTF-8, with or without a mark at its start.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no such text; the message names the file.
    """
    check_regular(path)
    try:
        with path.open('rb') as file:  # Some files of the system say that they are empty, and are waited for.
            return file.read(os.path.getsize(path)).decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path}' is not UTF-8 text: {error}") from error


def read_lines(path: Path) -> list[tuple[str, str]]:
    """The lines of a text that are not blank, without space around them; each after what a message calls it."""
    lines = enumerate(read_text(path).splitlines(), start=1)
    return [(f"'{path}', line {at}", line.strip()) for at, line in lines if line.strip()]


def check_once(seen: dict, key: object, where: str, what: str) -> None:
    """Notes in :obj:`seen` where a key is; :obj:`where` (file and line) and :obj:`what` are for the message.

    Raises:
        ValueError: If it is there already; with both places.
    """
    if key in seen:
        raise ValueError(f'{where}: {what} is there already ({seen[key]})')
    seen[key] = where


def check_count(part: str, expected: int, got: int, path: Path, source: str) -> None:
    """Checks that a part of a data set (``'train' of MS-COCO 2014``) has as many images as the official one.

    Args:
        expected, got (int): How many it is known to have, and how many came.
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


def are_there(paths: Sequence[Path]) -> list[bool]:
    """Which files are there, with one look into each folder, however many files it holds."""
    folders = [os.path.split(path) for path in paths]  # Faster than Path.parent and Path.name.
    there = {folder: listing(Path(folder)) for folder in {folder for folder, _ in folders}}
    return [name in there[folder] for folder, name in folders]


def check_images(part: str, paths: Sequence[Path], source: str) -> None:
    """Checks that every image is there.

    Raises:
        FileNotFoundError: If one is not, with the number of those missing, the first, and where to get them.
    """
    if missing := [path for path, is_there in zip(paths, are_there(paths)) if not is_there]:
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

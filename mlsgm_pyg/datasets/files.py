"""What data sets in a fixed layout share: are all images there, and is every one counted."""

import os
from collections.abc import Sequence
from pathlib import Path


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

"""The pictures in a folder, and what in it is none."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from mlsgm_pyg.datasets.images import is_picture

UNDECODED = {'.avif', '.avifs', '.heic', '.heif', '.hif', '.jxl', '.webp'}  # Pictures, but not for every Pillow.


def search(
    folder: str | Path, without: Iterable[str | Path] = (), ignored: Counter[str] | None = None
) -> Iterator[str]:
    """The paths of the pictures in a folder and the folders in it, in the order of their names, without some files and
    folders; what else is left out is counted by its suffix or the reason, of a hidden folder nothing but itself."""
    ignored, apart = Counter() if ignored is None else ignored, set(map(os.path.abspath, without))
    for at, folders, files in os.walk(folder):
        ignored['hidden'] += sum(name.startswith('.') for name in (*folders, *files))
        for names in (folders, files):
            there = {name: os.path.abspath(os.path.join(at, name)) for name in sorted(names)}
            names[:] = [name for name, path in there.items() if not name.startswith('.') and path not in apart]
        for path in (os.path.join(at, name) for name in files):
            if is_picture(path):
                yield path
                continue
            suffix = os.path.splitext(path)[1].lower() or 'without a suffix that are no pictures'
            ignored[suffix + ' (this Pillow has no decoder)' * (suffix in UNDECODED)] += 1

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
    folders; what else is left out is counted by its suffix or the reason, of a hidden folder nothing but itself. A link
    to a folder is not followed: it may lead in a circle."""
    ignored, apart = Counter() if ignored is None else ignored, set(map(os.path.abspath, without))
    todo = [os.fspath(folder)]  # Python's own walk calls itself: it ends at a depth of 1,000.
    while todo:
        at, inside = todo.pop(), []
        try:
            names = sorted(os.listdir(at))
        except OSError:
            ignored['unreadable (folder)'] += 1
            continue
        for name in names:
            path = os.path.join(at, name)
            if name.startswith('.'):
                ignored['hidden'] += 1
            elif os.path.isdir(path):
                inside.append(path)
            elif os.path.abspath(path) in apart:
                continue
            elif is_picture(path):
                yield path
            else:
                suffix = os.path.splitext(path)[1].lower() or 'without a suffix that are no pictures'
                ignored[suffix + ' (this Pillow has no decoder)' * (suffix in UNDECODED)] += 1
        inside = [path for path in inside if os.path.abspath(path) not in apart]
        ignored['linked (folder)'] += sum(map(os.path.islink, inside))
        todo += [path for path in reversed(inside) if not os.path.islink(path)]

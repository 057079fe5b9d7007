"""Sets of files by the million: 16 bytes a file, however long its name is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

KEY = 'S16'
AT_ONCE = 4096  # Names that are in memory.


class FileSet:
    """A set of files, each by a digest of its absolute path: one file is one, however it is named."""

    def __init__(self, names: Iterable[str] = ()):
        digests = bytearray()
        for name in names:
            digests += _digest(name)
        self.keys = np.unique(np.frombuffer(digests, KEY))

    def __len__(self) -> int:
        return len(self.keys)

    def __sub__(self, other: FileSet) -> FileSet:
        out = FileSet()
        out.keys = self.keys[~other._find(self.keys)[1]]
        return out

    def has(self, names: Sequence[str]) -> list[bool]:
        """Which of some names are in it."""
        return self._find(_keys(names))[1].tolist()

    def once(self, names: Iterable[str]) -> Iterator[str]:
        """Those of many names that are in it, each the first time that it comes."""
        came, names = np.zeros(len(self), bool), iter(names)
        while some := list(islice(names, AT_ONCE)):
            for name, at, is_there in zip(some, *self._find(_keys(some))):
                if is_there and not came[at]:
                    came[at] = True
                    yield name

    def _find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where keys are in the sorted ones, and whether they are there."""
        at = np.searchsorted(self.keys, keys)
        is_there = at < len(self)
        is_there[is_there] = self.keys[at[is_there]] == keys[is_there]
        return at, is_there


def _keys(names: Sequence[str]) -> np.ndarray:
    return np.array([_digest(name) for name in names], KEY)


def _digest(name: str) -> bytes:
    return hashlib.blake2b(os.fsencode(os.path.abspath(name)), digest_size=16).digest()

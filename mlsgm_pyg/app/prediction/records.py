"""The record of every picture that was predicted: JSON Lines that only grow.

A batch of records is written by one call, and taken back if the disk takes only a part of it. A process that was
killed inside of that call leaves a last line without its end, which is cut off when the file is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import locked, replacing
from mlsgm_pyg.tagger import Prediction

START = '{"file": "'
T = TypeVar('T')


def record(file: str, found: Prediction) -> dict[str, Any]:
    """One picture as plain values, the labels that are kept and the probability of every one: boxes to a hundredth of a
    pixel, probabilities to six digits."""
    if found.error is not None:
        return {'file': file, 'error': found.error}
    labels = zip(found.labels, found.probabilities, found.best, found.boxes)
    return {
        'file': file,
        'width': found.size[0],
        'height': found.size[1],
        'orientation': found.orientation,
        'labels': [
            {'label': label, 'probability': round(p, 6), 'instance': best, 'box': _rounded(box)}
            for label, p, best, box in labels
        ],
        'probabilities': {label: round(p, 6) for label, p in found.every.items()},
        'instances': [
            {'label': one.label, 'score': round(one.score, 6), 'box': _rounded(one.box)} for one in found.instances
        ],
    }


class Entry(NamedTuple):
    """A record, of which only this much was read."""

    file: str
    is_read: bool  # Whether the picture could be.
    line: bytes

    @property
    def record(self) -> dict[str, Any]:
        return json.loads(self.line)


class Records:
    """An open file of records, which no other run writes meanwhile; made where there is none.

    Attributes:
        repaired (int): Bytes of a last line without its end, which is cut off.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = _open(path)
        self.repaired = self._repair()

    def _repair(self) -> int:
        size = end = os.fstat(self.file).st_size
        while end > 0:
            start = max(end - 65536, 0)
            at = os.pread(self.file, end - start, start).rfind(b'\n')
            if at >= 0:
                end = start + at + 1
                break
            end = start
        if end < size:
            os.ftruncate(self.file, end)
        return size - end

    def is_empty(self) -> bool:
        return os.fstat(self.file).st_size == 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._each(_whole)

    def entries(self) -> Iterator[Entry]:
        """The same, read no further than the name. Nothing is to be appended meanwhile."""
        return self._each(_entry)

    def _each(self, read: Callable[[bytes], T]) -> Iterator[T]:
        os.lseek(self.file, 0, os.SEEK_SET)
        # Through the same descriptor: closing a second one would end the lock.
        for number, line in enumerate(open(self.file, 'rb', closefd=False), 1):
            try:
                yield read(line)
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise ConfigError(f"'{self.path}', line {number}, is not a record of predict") from error

    def append(self, records: Collection[dict[str, Any]]) -> None:
        """Writes records, all or none."""
        data = b''.join(map(_line, records))
        size, written = os.fstat(self.file).st_size, 0
        try:
            while written < len(data):
                written += os.write(self.file, data[written:])
        except BaseException:
            os.ftruncate(self.file, size)
            raise

    def forget_broken(self) -> None:
        """Drops the records of pictures that could not be read, in one step."""
        with replacing(self.path) as spare, open(spare, 'wb') as file:
            file.writelines(entry.line for entry in self.entries() if entry.is_read)
        self.close()
        self.file = _open(self.path)

    def clear(self) -> None:
        """Drops all records."""
        os.ftruncate(self.file, 0)

    def sync(self) -> None:
        os.fsync(self.file)

    def close(self) -> None:
        os.close(self.file)


def _whole(line: bytes) -> dict[str, Any]:
    found = json.loads(line)
    os.fsencode(found['file'])
    return found


def _entry(line: bytes) -> Entry:
    """Of a record as :func:`record` writes it the name alone, which is a twentieth of the work; of others, all."""
    text = line.decode()
    if text.startswith(START) and text.endswith('}\n'):
        file, end = json.JSONDecoder().raw_decode(text, len(START) - 1)
        return Entry(file, not text.startswith(', "error"', end), line)
    found = _whole(line)
    return Entry(found['file'], 'error' not in found, line)


def _line(found: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(found, ensure_ascii=False, allow_nan=False) + '\n').encode()
    except UnicodeEncodeError:  # A file's name that is not UTF-8.
        return (json.dumps(found, allow_nan=False) + '\n').encode()


def _rounded(box: tuple[float, ...] | None) -> list[float] | None:
    return None if box is None else [round(value, 2) for value in box]


def _open(path: Path) -> int:
    """A descriptor to read and append by, locked."""
    try:
        return locked(path)
    except BlockingIOError as error:
        raise ConfigError(f"another run is writing '{path}'") from error

"""The record of every picture that was predicted: JSON Lines that only grow.

A batch of records is written by one call, and taken back if the disk takes only a part of it. A process that was
killed inside of that call leaves a last line without its end, which is cut off when the file is opened again. Of
several processes the first writes the file itself, the others one each beside it, which the first takes in.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import replacing
from mlsgm_pyg.tagger import Prediction

AT_ONCE = 10_000  # Records that are taken in by one call.


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


class Records:
    """An open file of records, which no other run writes meanwhile; made where there is none.

    Attributes:
        done (dict[str, bool]): The pictures that have a record, and whether they could be read; complete from
            :meth:`read` on.
        repaired (int): Bytes of a last line without its end, which is cut off.
    """

    def __init__(self, path: Path):
        self.path, self.done = path, {}
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
        os.lseek(self.file, 0, os.SEEK_SET)
        # Through the same descriptor: closing a second one would end the lock.
        for number, line in enumerate(open(self.file, 'rb', closefd=False), 1):
            try:
                found = json.loads(line)
                found['file']
            except (ValueError, TypeError, KeyError) as error:
                raise ConfigError(f"'{self.path}', line {number}, is not a record of predict") from error
            yield found

    def read(self) -> None:
        """Reads all of the file once, to know what is done."""
        self.done = {found['file']: 'error' not in found for found in self}

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
        self.done |= {found['file']: 'error' not in found for found in records}

    def forget_broken(self) -> None:
        """Drops the records of pictures that could not be read, in one step."""
        with replacing(self.path) as spare, open(spare, 'wb') as file:
            file.writelines(_line(found) for found in self if 'error' not in found)
        self.close()
        self.file = _open(self.path)
        self.done = {file: True for file, is_readable in self.done.items() if is_readable}

    def parts(self) -> list[Path]:
        """The files that processes beside the first have left."""
        start = f'{self.path.name}.part'
        return sorted(one for one in self.path.parent.iterdir() if one.name.removeprefix(start).isdigit())

    def clear(self) -> None:
        """Drops all records, those of other processes too."""
        for path in self.parts():
            path.unlink()
        os.ftruncate(self.file, 0)

    def absorb(self) -> None:
        """Takes in the files that other processes have left, each picture once, and removes them."""
        for path in self.parts():
            with closing(Records(path)) as part:
                new = (found for found in part if found['file'] not in self.done)
                while batch := {found['file']: found for found in islice(new, AT_ONCE)}:
                    self.append(batch.values())
                self.sync()
                path.unlink()

    def sync(self) -> None:
        os.fsync(self.file)

    def close(self) -> None:
        os.close(self.file)


def part_path(path: Path, rank: int) -> Path:
    """Where a process beside the first writes."""
    return path.with_name(f'{path.name}.part{rank}')


def _line(found: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(found, ensure_ascii=False, allow_nan=False) + '\n').encode()
    except UnicodeEncodeError:  # A file's name that is not UTF-8.
        return (json.dumps(found, allow_nan=False) + '\n').encode()


def _rounded(box: tuple[float, ...] | None) -> list[float] | None:
    return None if box is None else [round(value, 2) for value in box]


def _open(path: Path) -> int:
    """A descriptor to read and append by, locked."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    with suppress(ImportError):  # Windows.
        import fcntl

        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # Of this process: not of workers that outlive it.
        except BlockingIOError as error:
            os.close(file)
            raise ConfigError(f"another run is writing '{path}'") from error
    return file

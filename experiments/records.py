"""The record of every picture that was predicted: JSON Lines that only grow, and tables made from them.

A batch of records is written by one call, and taken back if the disk takes only a part of it. A process that was
killed inside of that call leaves a last line without its end, which is cut off when the file is opened again. Of
several processes the first writes the file itself, the others one each beside it, which the first takes in.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from experiments.common.errors import ConfigError
from experiments.common.files import replacing
from mlsgm_pyg.tagger import Prediction

COLUMNS = {
    'file': 'string', 'width': 'int32', 'height': 'int32', 'label': 'string', 'probability': 'float64',
    'instance': 'int32', 'x': 'float64', 'y': 'float64', 'box_width': 'float64', 'box_height': 'float64',
    'error': 'string',
}  # fmt: skip
TABLES = ('.csv', '.parquet')
AT_ONCE = 10_000  # Rows of a table that are in memory.


def record(file: str, found: Prediction) -> dict[str, Any]:
    """One picture as plain values: boxes to a hundredth of a pixel, probabilities to six digits."""
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
        'instances': [
            {'label': one.label, 'score': round(one.score, 6), 'box': _rounded(one.box)} for one in found.instances
        ],
    }


class Records:
    """An open file of records, which no other run writes meanwhile.

    Args:
        path (Path): The file; made where there is none.

    Raises:
        ConfigError: If another run has it open, or a line is no record.
        OSError: If it cannot be opened or written.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            _lock(self.file, path)
            self.repaired = self._repair()
        except BaseException:
            os.close(self.file)
            raise

    def _repair(self) -> int:
        """Cuts off a last line without its end; returns its bytes."""
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

    def append(self, records: Iterable[dict[str, Any]]) -> None:
        """Writes records, all or none."""
        data = b''.join(map(_line, records))
        size, written = os.fstat(self.file).st_size, 0
        try:
            while written < len(data):
                written += os.write(self.file, data[written:])
        except BaseException:
            os.ftruncate(self.file, size)
            raise

    def keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Drops all records but the wanted ones, in one step."""
        with replacing(self.path) as spare, open(spare, 'wb') as file:
            file.writelines(_line(found) for found in self if wanted(found))
        self.close()
        self.__init__(self.path)

    def clear(self) -> None:
        os.ftruncate(self.file, 0)

    def absorb(self, parts: Iterable[Path], done: set[str]) -> None:
        """Takes in the files of other processes, each picture once, and removes them.

        Args:
            parts (iterable of Path): Files that no process writes any longer.
            done (set[str]): The pictures that are here already; added to.
        """
        for path in parts:
            part, batch = Records(path), []
            for found in part:
                if found['file'] not in done:
                    done.add(found['file'])
                    batch.append(found)
                if len(batch) == AT_ONCE:
                    self.append(batch)
                    batch = []
            self.append(batch)
            self.sync()
            part.close()
            path.unlink()

    def sync(self) -> None:
        os.fsync(self.file)

    def close(self) -> None:
        os.close(self.file)


def part_path(path: Path, rank: int) -> Path:
    """Where a process beside the first writes."""
    return path.with_name(f'{path.name}.part{rank}')


def parts_of(path: Path) -> list[Path]:
    """The files that processes beside the first have left."""
    start = f'{path.name}.part'
    return sorted(one for one in path.parent.iterdir() if one.name.removeprefix(start).isdigit())


def write_table(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Writes a row a picture and label as CSV or Parquet, by the file's suffix; whole or not at all.

    A picture without a label, or with an error, has one row of its own.
    """
    rows = (row for found in records for row in _rows(found))
    with replacing(path) as spare:
        (_write_parquet if path.suffix == '.parquet' else _write_csv)(spare, rows)


def check_table(path: Path) -> None:
    """Raises:
    ConfigError: If what a table needs is not installed.
    """
    if path.suffix == '.parquet' and importlib.util.find_spec('pyarrow') is None:
        raise ConfigError(f"'{path}' needs pyarrow, which is not installed: pip install pyarrow, or take .csv")


def _rows(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    about = {key: found.get(key) for key in ('file', 'width', 'height', 'error')}
    for one in found.get('labels') or [{}]:
        box = dict(zip(('x', 'y', 'box_width', 'box_height'), one.get('box') or ()))
        yield about | {key: one.get(key) for key in ('label', 'probability', 'instance')} | box


def _write_csv(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with open(path, 'w', newline='', encoding='utf-8', errors='surrogateescape') as file:
        writer = csv.DictWriter(file, list(COLUMNS))
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(name, pyarrow.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    rows = iter(rows)
    with parquet.ParquetWriter(path, schema) as writer:
        while group := [{key: _utf8(value) for key, value in row.items()} for row in islice(rows, AT_ONCE)]:
            writer.write_table(pyarrow.Table.from_pylist(group, schema))


def _utf8(value: Any) -> Any:
    """A name of a file need not be UTF-8; a Parquet string must be."""
    return value.encode('utf-8', 'backslashreplace').decode() if isinstance(value, str) else value


def _line(found: dict[str, Any]) -> bytes:
    try:
        return (json.dumps(found, ensure_ascii=False, allow_nan=False) + '\n').encode()
    except UnicodeEncodeError:  # A file's name that is not UTF-8.
        return (json.dumps(found, allow_nan=False) + '\n').encode()


def _rounded(box: tuple[float, ...] | None) -> list[float] | None:
    return None if box is None else [round(value, 2) for value in box]


def _lock(file: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows.
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # Of this process: not of workers that outlive it.
    except BlockingIOError as error:
        raise ConfigError(f"another run is writing '{path}'") from error

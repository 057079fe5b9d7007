"""Tables of the records: a row a picture and label, as CSV or Parquet; and Parquet files of the records themselves."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import replacing

COLUMNS = {
    'file': 'string', 'width': 'int32', 'height': 'int32', 'label': 'string', 'probability': 'float64',
    'instance': 'int32', 'x': 'float64', 'y': 'float64', 'box_width': 'float64', 'box_height': 'float64',
    'error': 'string',
}  # fmt: skip
TABLES = ('.csv', '.parquet')
AT_ONCE = 10_000  # Rows that are in memory.


def write_table(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Writes a row a picture and label as CSV or Parquet, by the file's suffix; whole or not at all.

    A picture without a label, or with an error, has one row of its own.
    """
    rows = (row for found in records for row in _rows(found))
    with replacing(path) as spare:
        (_write_parquet if path.suffix == '.parquet' else _write_csv)(spare, rows)


def check_table(path: Path) -> None:
    """Refuses a table for which a package is not installed."""
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
        writer.writerows({key: value if key == 'file' else _utf8(value) for key, value in row.items()} for row in rows)


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


class Part:
    """A Parquet file of records, a row a picture, that is being written.

    Attributes:
        number (int): How many there are,
        unread (int): and how many of the pictures could not be read.
    """

    def __init__(self, file: IO[bytes]):
        import pyarrow
        from pyarrow import parquet

        of = {name: pyarrow.type_for_alias(kind) for name, kind in COLUMNS.items()}
        box = pyarrow.list_(pyarrow.float64())
        label = {name: of[name] for name in ('label', 'probability', 'instance')} | {'box': box}
        instance = {'label': of['label'], 'score': pyarrow.float64(), 'box': box}
        columns = {name: of[name] for name in ('file', 'width', 'height')} | {
            'orientation': pyarrow.int8(),
            'labels': pyarrow.list_(pyarrow.struct(label)),
            'probabilities': pyarrow.map_(of['label'], pyarrow.float64()),
            'instances': pyarrow.list_(pyarrow.struct(instance)),
            'error': of['error'],
        }
        self.table = partial(pyarrow.Table.from_pylist, schema=pyarrow.schema(columns))
        self.writer = parquet.ParquetWriter(file, pyarrow.schema(columns))
        self.number, self.unread, self.rows = 0, 0, []

    def append(self, records: Iterable[dict[str, Any]]) -> None:
        """Adds records of :func:`mlsgm_pyg.app.prediction.records.record`."""
        for found in records:
            probabilities = found.get('probabilities')
            row = {'probabilities': probabilities and list(probabilities.items())}
            self.rows.append({key: _utf8(value) for key, value in (found | row).items()})
            self.number, self.unread = self.number + 1, self.unread + ('error' in found)
        if len(self.rows) >= AT_ONCE:
            self._write()

    def _write(self) -> None:
        self.writer.write_table(self.table(self.rows))
        self.rows = []

    def close(self) -> None:
        self._write()
        self.writer.close()

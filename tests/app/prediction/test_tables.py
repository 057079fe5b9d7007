"""Tables of records: rows of CSV and Parquet."""

import csv
import errno
import os

import pytest

from mlsgm_pyg.app.prediction.records import record
from mlsgm_pyg.app.prediction.tables import write_table
from mlsgm_pyg.tagger import Prediction
from tests.predictions import FOUND


def several():
    nothing = Prediction(size=(5, 4))
    return [record('a "b", ü.jpg', FOUND), record('bad', Prediction(error='why, so')), record('none', nothing)]


def test_csv(tmp_path):
    path = tmp_path / 'x.csv'
    write_table(path, several())
    with open(path, newline='') as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        'file', 'width', 'height', 'label', 'probability', 'instance', 'x', 'y', 'box_width', 'box_height', 'error',
    ]  # fmt: skip
    assert list(rows[0].values()) == [
        'a "b", ü.jpg', '64', '48', 'dog', '0.987654', '1', '1.23', '2.0', '30.0', '40.0', '',
    ]  # fmt: skip
    assert [row['label'] for row in rows] == ['dog', 'cat', '', '']
    assert (rows[2]['file'], rows[2]['error'], rows[2]['width']) == ('bad', 'why, so', '')
    assert (rows[3]['file'], rows[3]['error'], rows[3]['width']) == ('none', '', '5')


def test_a_table_appears_whole_or_not_at_all(tmp_path):
    def broken():
        yield from several()
        raise OSError(errno.ENOSPC, 'No space left on device')

    path = tmp_path / 'x.csv'
    path.write_text('before')
    with pytest.raises(OSError):
        write_table(path, broken())
    assert path.read_text() == 'before' and list(tmp_path.iterdir()) == [path]


def test_parquet(tmp_path):
    parquet = pytest.importorskip('pyarrow.parquet', reason='pyarrow is not installed')
    path = tmp_path / 'x.parquet'
    odd = os.fsdecode(b'\xff.jpg')
    write_table(path, [*several(), record(odd, Prediction(error='x'))])
    table = parquet.read_table(path)
    assert table.schema.field('x').type == 'double' and table.schema.field('width').type == 'int32'
    rows = table.to_pylist()
    assert [row['label'] for row in rows] == ['dog', 'cat', None, None, None]
    assert (rows[0]['probability'], rows[0]['x'], rows[0]['error']) == (0.987654, 1.23, None)
    assert rows[4]['file'] == '\\udcff.jpg'

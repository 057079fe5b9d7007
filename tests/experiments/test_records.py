"""Records on disk: all of a batch or none, repaired after a kill, taken in from other processes, and as tables."""

import csv
import errno
import os
import resource
import signal
import subprocess
import sys

import pytest

from experiments.common.errors import ConfigError
from experiments.records import Records, part_path, parts_of, record, write_table
from mlsgm_pyg.tagger import Instance, Prediction
from tests.predictions import lines

FOUND = Prediction(
    labels=['dog', 'cat'],
    probabilities=[0.98765432, 0.5],
    best=[1, 0],
    boxes=[(1.23456, 2.0, 30.0, 40.0), (0.0, 0.0, 64.0, 48.0)],
    instances=[Instance(None, 1.0, (0.0, 0.0, 64.0, 48.0)), Instance('dog', 0.75, (1.23456, 2.0, 30.0, 40.0))],
    size=(64, 48),
    orientation=6,
)


@pytest.fixture
def opened(tmp_path):
    records = Records(tmp_path / 'out' / 'x.jsonl')
    yield records
    records.close()


def test_a_record():
    assert record('a b/ü.jpg', FOUND) == {
        'file': 'a b/ü.jpg',
        'width': 64,
        'height': 48,
        'orientation': 6,
        'labels': [
            {'label': 'dog', 'probability': 0.987654, 'instance': 1, 'box': [1.23, 2.0, 30.0, 40.0]},
            {'label': 'cat', 'probability': 0.5, 'instance': 0, 'box': [0.0, 0.0, 64.0, 48.0]},
        ],
        'instances': [
            {'label': None, 'score': 1.0, 'box': [0.0, 0.0, 64.0, 48.0]},
            {'label': 'dog', 'score': 0.75, 'box': [1.23, 2.0, 30.0, 40.0]},
        ],
    }
    assert record('x', Prediction(error='why')) == {'file': 'x', 'error': 'why'}
    baseline = record('x', Prediction(labels=['cat'], probabilities=[0.1], best=[None], boxes=[None], size=(1, 1)))
    assert baseline['labels'] == [{'label': 'cat', 'probability': 0.1, 'instance': None, 'box': None}]


def test_what_is_appended_is_read(opened):
    odd = os.fsdecode(b'\xff.jpg')
    batches = [[{'file': 'ü\n.jpg'}], [{'file': odd}, {'file': 'c'}], []]
    for batch in batches:
        opened.append(batch)
    assert list(opened) == batches[0] + batches[1] == list(opened)
    assert 'ü' in opened.path.read_bytes()[:20].decode()


@pytest.mark.parametrize('half', [b'', b'{', b'{"file": "c"', b'{"file": "c"}', b'x' * 200_000])
def test_a_last_line_without_its_end_is_cut_off(tmp_path, half):
    path = tmp_path / 'x.jsonl'
    whole = b'{"file": "a"}\n{"file": "b"}\n'
    for before, kept in ((whole, ['a', 'b']), (b'', [])):
        path.write_bytes(before + half)
        records = Records(path)
        assert records.repaired == len(half)
        assert [one['file'] for one in records] == kept
        records.append([{'file': 'd'}])
        assert [one['file'] for one in records] == [*kept, 'd']
        records.close()


def test_a_full_disk_takes_a_batch_whole_or_not_at_all(opened):
    """A real limit of the system: it takes a part of the batch first, then nothing."""
    opened.append([{'file': 'a'}])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError) as found:
            opened.append([{'file': 'x' * 30}, {'file': 'y' * 300}])
        assert found.value.errno == errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert opened.path.read_text() == '{"file": "a"}\n'
    opened.append([{'file': 'b'}])
    assert [one['file'] for one in opened] == ['a', 'b']


def test_a_line_that_is_no_record(tmp_path):
    for content in ('{"file": "a"}\nnonsense\n', '{"file": "a"}\n[1]\n', '{"file": "a"}\n{"name": 1}\n'):
        (tmp_path / 'x.jsonl').write_text(content)
        records = Records(tmp_path / 'x.jsonl')
        with pytest.raises(ConfigError, match=r"x\.jsonl', line 2, is not a record of predict"):
            list(records)
        records.close()


def test_two_runs_never_write_one_file(opened, tmp_path):
    lock = 'import fcntl, sys; file = open(sys.argv[1], "a"); fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)'
    opened.append([{'file': 'a'}])
    assert list(opened)  # Reading does not end the lock.
    run = subprocess.run([sys.executable, '-c', lock, opened.path], capture_output=True, text=True)
    assert 'BlockingIOError' in run.stderr

    path = tmp_path / 'theirs.jsonl'
    command = [sys.executable, '-c', f'{lock}; print(flush=True); sys.stdin.read()', path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        with pytest.raises(ConfigError, match=r"another run is writing '.*theirs\.jsonl'"):
            Records(path)
        other.stdin.close()
    Records(path).close()


def test_parts_are_taken_in_once(opened):
    opened.append([{'file': 'a'}])
    for rank, names in ((1, 'ab'), (12, 'cd')):  # 'a' was taken in already when the first run was killed.
        part = Records(part_path(opened.path, rank))
        part.append([{'file': name} for name in names])
        part.close()
    (opened.path.parent / 'x.jsonl.partial').touch()
    done = {'a'}
    opened.absorb(parts_of(opened.path), done)
    assert [one['file'] for one in opened] == ['a', 'b', 'c', 'd'] and done == set('abcd')
    assert parts_of(opened.path) == [] and (opened.path.parent / 'x.jsonl.partial').exists()


def test_some_are_kept(opened):
    opened.append([{'file': 'a'}, {'file': 'b', 'error': 'x'}, {'file': 'c'}])
    opened.keep(lambda one: 'error' not in one)
    opened.append([{'file': 'b'}])
    assert [one['file'] for one in opened] == ['a', 'c', 'b'] == [one['file'] for one in lines(opened.path)]


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

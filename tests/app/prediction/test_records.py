"""Records on disk: all of a batch or none, repaired after a kill, taken in from other processes."""

import errno
import os
import resource
import signal
import subprocess
import sys

import pytest

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.prediction.records import Records, record
from mlsgm_pyg.tagger import Prediction
from tests.predictions import FOUND, lines


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
        'probabilities': {'bird': 0.25, 'cat': 0.5, 'dog': 0.987654},
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
    batches = [[{'file': 'ü\n.jpg'}], [{'file': odd}, {'file': 'c', 'error': 'x'}], []]
    for batch in batches:
        opened.append(batch)
    assert list(opened) == batches[0] + batches[1] == list(opened)
    assert [(one.file, one.is_read) for one in opened.entries()] == [('ü\n.jpg', True), (odd, True), ('c', False)]
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
        with pytest.raises(ConfigError, match=r"x\.jsonl', line 2, is not a record of predict"):
            list(records.entries())
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


def test_what_could_not_be_read_is_forgotten(opened):
    opened.append([{'file': 'a'}, {'file': 'b', 'error': 'x'}, {'file': 'c'}])
    opened.forget_broken()
    opened.append([{'file': 'b'}])
    assert [one['file'] for one in opened] == ['a', 'c', 'b'] == [one['file'] for one in lines(opened.path)]

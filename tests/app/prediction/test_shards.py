"""Tar files and lists of pictures into Parquet parts: equal to the folder's records, and done once by any number."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from mlsgm_pyg.app import predict_shards
from mlsgm_pyg.app.cli import predict as verb
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.prediction import shards
from mlsgm_pyg.app.prediction.shards import expand, rank
from tests.predictions import lines
from tests.server import running

pq = pytest.importorskip('pyarrow.parquet')
ROOT = Path(__file__).resolve().parents[3]
QUIET = {'workers': 0, 'batch_size': 1, 'accelerator': 'cpu', 'threshold': 0.05}


def rows(part):
    """The records of a part, as predict writes them."""
    for one in pq.read_table(part).to_pylist():
        if one['error'] is not None:
            yield {'file': one['file'], 'error': one['error']}
        else:
            yield {key: value for key, value in one.items() if key != 'error'} | {
                'probabilities': dict(one['probabilities'])
            }


def pack(path, files, mode='w'):
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for file in files:
            archive.add(file)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """As of a few files, nothing is prepared."""
    monkeypatch.setattr(shards, 'MANY', 1)


@pytest.fixture
def two(pictures):
    """tars/0.tar, with a file and a link that are no pictures, and tars/1.tar.gz, with one that cannot be read."""
    files = [f'my ü/{i} é.png' for i in range(6)]
    Path(files[4]).write_bytes(Path(files[4]).read_bytes()[:60])
    Path('my ü/0.json').write_text('{}')
    Path('my ü/link.png').symlink_to('/etc/passwd')
    pack(Path('tars/0.tar'), [*files[:3], 'my ü/0.json', 'my ü/link.png'])
    pack(Path('tars/1.tar.gz'), files[3:], 'w:gz')
    return files


def test_parts_equal_the_folder_s_records(two, call, checkpoint, capsys):
    assert call(*two, '--threshold', 0.05, '--batch-size', 1)[0] == 0
    Path('2.txt').write_text('my ü/sub/6 é.png\n\nmy ü/nowhere.png\n')
    words = [str(checkpoint), '--shards', 'tars/*', '2.txt', '--out', 'parts', '--threshold', '0.05']
    words += ['--workers', '0', '--batch-size', '1', '--accelerator', 'cpu']
    assert verb.main(words) == 0
    out, err = capsys.readouterr()
    assert out == '3 of 3 shards are done, 8 pictures now: parts\n'
    assert '1.tar.gz: 3 pictures, 1 of them could not be read' in err
    assert [*rows('parts/0.parquet'), *rows('parts/1.parquet')] == lines()
    last, lost = rows('parts/2.parquet')
    assert last['file'] == 'my ü/sub/6 é.png' and last['labels'] and lost['error'] == 'No such file or directory'
    assert sorted(os.listdir('parts')) == ['0.parquet', '1.parquet', '2.parquet', 'about.json']
    before = {path: path.stat().st_mtime_ns for path in Path('parts').iterdir()}
    Path('parts/1.parquet').unlink()  # A part that is there is done, another is made.
    assert verb.main(words) == 0 and capsys.readouterr().out == '3 of 3 shards are done, 3 pictures now: parts\n'
    assert sum(path.stat().st_mtime_ns != time for path, time in before.items()) == 1
    with pytest.raises(ConfigError, match="'parts' was made with top_k=None, now it is 1: take another --out"):
        predict_shards(checkpoint, 'tars/*', 'parts', top_k=1, **QUIET)


def test_a_broken_shard_has_no_part_and_stops_no_other(two, checkpoint):
    whole = Path('tars/0.tar').read_bytes()
    with tarfile.open('tars/0.tar') as archive:
        at = archive.getmembers()[2].offset
    broken = {
        'cut.tar': whole[: at + 100],
        'short.tar': whole[:at],  # Between two members.
        'data.tar': whole[: at + 600],
        'header.tar': whole[: at + 200] + b'\xff' * 100 + whole[at + 300 :],
        'packed.tar': gzip.compress(whole)[:-200],
        'text.tar': b'no archive',
        'empty.tar': b'',
    }
    for name, data in broken.items():
        Path('tars', name).write_bytes(data)
    os.mkfifo('tars/pipe.tar')
    job = predict_shards(checkpoint, [f'tars/{name}' for name in [*broken, 'lost.tar', 'pipe.tar', '0.tar']], **QUIET)
    assert set(job.broken) == {f'tars/{name}' for name in [*broken, 'lost.tar', 'pipe.tar']} and job.status == 1
    assert job.broken['tars/lost.tar'] == 'No such file or directory'
    assert job.broken['tars/pipe.tar'] == 'Not a regular file'
    assert f'at byte {at:,}' in job.broken['tars/short.tar'] and f'at byte {at:,}' in job.broken['tars/header.tar']
    assert '1 of 10 shards are done' in job.summary() and '9 could not be read to the end' in job.summary()
    assert sorted(os.listdir('parts')) == ['0.parquet', 'about.json']


def test_a_giant_inside_a_shard_is_not_read(two, checkpoint, monkeypatch):
    monkeypatch.setattr(shards, 'LARGEST', 10_000)
    with tarfile.open('tars/big.tar', 'w') as archive:
        archive.add(two[0])
        info = tarfile.TarInfo('big.png')
        info.size = 20_000
        archive.addfile(info, io.BytesIO(bytes(20_000)))
    predict_shards(checkpoint, 'tars/big.tar', **QUIET)
    fine, big = rows('parts/big.parquet')
    assert fine['labels'] and big == {
        'file': 'big.png',
        'error': '20,000 bytes are more than the 10,000 that are allowed',
    }


def test_what_another_process_is_at_is_left_to_it(two, checkpoint):
    os.mkdir('parts')
    lock = 'import fcntl, sys; file = open("parts/.0.parquet.tmp", "a"); fcntl.lockf(file, fcntl.LOCK_EX); '
    lock += 'print(flush=True); sys.stdin.read()'
    with subprocess.Popen([sys.executable, '-c', lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        job = predict_shards(checkpoint, 'tars/*', **QUIET)
        assert job.number == 3 and job.state() == '1 of 2 shards are done' and job.status == 0
        other.kill()  # Its lock ends with it; what it left is written over.
    assert Path('parts/.0.parquet.tmp').exists()
    assert predict_shards(checkpoint, 'tars/*', **QUIET).state() == '2 of 2 shards are done'
    assert sorted(os.listdir('parts')) == ['0.parquet', '1.parquet', 'about.json']


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *of):
        pass


def test_shards_and_parts_lie_anywhere(two, call, checkpoint, monkeypatch):
    call(*two, '--threshold', 0.05, '--batch-size', 1)
    with running(lambda: ThreadingHTTPServer(('127.0.0.1', 0), Quiet)) as server:
        address = f'http://127.0.0.1:{server.server_port}'
        job = predict_shards(checkpoint, [f'{address}/tars/0.tar', f'{address}/tars/lost.tar'], 'web', **QUIET)
        assert list(rows('web/0.parquet')) == lines()[:3] and list(job.broken) == [f'{address}/tars/lost.tar']
    memory = fsspec.filesystem('memory')
    for path in Path('tars').iterdir():
        memory.pipe_file(f'/in/{path.name}', path.read_bytes())
    try:
        monkeypatch.setenv('RANK', '1')
        monkeypatch.setenv('WORLD_SIZE', '2')
        predict_shards(checkpoint, 'memory://in/*', 'memory://out', **QUIET)
        assert {Path(name).name for name in memory.ls('/out', detail=False)} == {'1.parquet', 'about.json'}
        monkeypatch.setenv('RANK', '0')
        assert predict_shards(checkpoint, 'memory://in/*', 'memory://out', **QUIET).state() == '2 of 2 shards are done'
        with memory.open('/out/0.parquet') as file:
            assert list(rows(file)) == lines()[:3]
        assert {Path(name).name for name in memory.ls('/out', detail=False)} == {
            '0.parquet', '1.parquet', 'about.json',
        }  # fmt: skip
    finally:
        memory.rm('/in', recursive=True)
        memory.rm('/out', recursive=True)


def test_patterns(two, checkpoint):
    assert expand('a/{08..11}/{x,y}.tar')[:3] == ['a/08/x.tar', 'a/08/y.tar', 'a/09/x.tar']
    assert len(expand('a/{08..11}/{x,y}.tar')) == 8 and expand('{a}.tar') == ['{a}.tar']
    assert [os.path.basename(name) for name in expand('tars/*.tar*')] == ['0.tar', '1.tar.gz']
    with pytest.raises(ConfigError, match=r"there is no shard 'tars/\*\.zip'"):
        expand('tars/*.zip')
    with pytest.raises(ConfigError, match=r"at most 1,000,000 shards \(got 2,000,000 of '\{0\.\.999999\}\{a,b\}'\)"):
        expand('{0..999999}{a,b}')
    with pytest.raises(ConfigError, match=r"'a/1\.tar' and 'b/1\.tar\.gz' would both be '1\.parquet': rename one"):
        predict_shards(checkpoint, ['a/1.tar', 'b/1.tar.gz'], **QUIET)
    with pytest.raises(ValueError, match='Protocol not known: nowhere'):
        predict_shards(checkpoint, '0.tar', 'nowhere://x', **QUIET)


def test_who_a_process_is(monkeypatch):
    for name in os.environ.keys() & {'RANK', 'WORLD_SIZE'} | {name for name in os.environ if 'SLURM' in name}:
        monkeypatch.delenv(name)
    assert rank() == (0, 1)
    monkeypatch.setenv('SLURM_PROCID', '2')
    monkeypatch.setenv('SLURM_NTASKS', '4')
    assert rank() == (2, 4)
    for name, value in (('ID', '7'), ('MIN', '5'), ('COUNT', '10')):
        monkeypatch.setenv(f'SLURM_ARRAY_TASK_{name}', value)
    assert rank() == (2, 10)
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setenv('WORLD_SIZE', '3')
    assert rank() == (1, 3)


@pytest.mark.slow
def test_two_processes_of_which_one_is_killed(pictures, call, checkpoint, monkeypatch):
    monkeypatch.setattr(shards, 'MANY', 10_000)  # As the processes have it, of maps by ONNX Runtime.
    rng = np.random.default_rng(0)
    names = []
    for i in range(10):
        some = [f'{i}-{j}.png' for j in range(20)]
        for name in some:
            Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(name)
        pack(Path(f'tars/{i}.tar'), some)
        names += some
    words = [sys.executable, '-m', 'mlsgm_pyg', 'predict', str(checkpoint), '--shards', 'tars/{0..9}.tar']
    words += ['--batch-size', '1', '--accelerator', 'cpu', '--workers', '1']
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT))
    started = [subprocess.Popen(words, env=env, start_new_session=True) for _ in range(2)]
    until = time.monotonic() + 240
    while len(list(Path('parts').glob('[0-9].parquet'))) < 3:
        assert time.monotonic() < until and None in [process.poll() for process in started]
        time.sleep(0.02)
    os.killpg(started[1].pid, signal.SIGKILL)
    started[1].wait()
    assert started[0].wait(240) == 0
    job = predict_shards(checkpoint, 'tars/{0..9}.tar', batch_size=1, accelerator='cpu')  # What the killed one was at.
    assert job.state() == '10 of 10 shards are done'
    assert sorted(os.listdir('parts')) == [*(f'{i}.parquet' for i in range(10)), 'about.json']
    found = [row for i in range(10) for row in rows(f'parts/{i}.parquet')]
    assert [row['file'] for row in found] == names
    call(*names, '--batch-size', '1')
    assert found == [json.loads(line) for line in Path('predictions.jsonl').read_text().splitlines()]

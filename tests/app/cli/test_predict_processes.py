"""A killed command goes on, and a scheduler stops it: each picture once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 300  # Seconds.


@pytest.fixture
def start(trained, tmp_path):
    """Starts the command on some pictures; returns its process."""
    (tmp_path / 'in').mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(tmp_path / 'in' / f'{i:02} ü.png')
    (tmp_path / 'in' / '17 ü.png').write_text('broken')

    def run(*words, **more):
        command = [
            sys.executable,
            '-m',
            'mlsgm_pyg',
            'predict',
            str(Path(trained['folder']) / 'last.ckpt'),
            *map(str, words),
        ]
        command += ['--batch-size', '1', '--accelerator', 'cpu']
        pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
        env = dict(os.environ, OMP_NUM_THREADS='1', **more)
        return subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True, **pipes)

    return run


def finish(process, status=0):
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # The processes that it started, too.
        raise
    assert process.returncode == status, err
    return out, err


def wait_for(process, out, number):
    """Until so many records are there."""
    until = time.monotonic() + PATIENCE
    while not out.exists() or out.read_bytes().count(b'\n') < number:
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.005)


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_killed_command_goes_on(start, tmp_path):
    out = tmp_path / 'x.jsonl'
    process = start(tmp_path / 'in', '--out', out, '--draw', tmp_path / 'drawn')
    wait_for(process, out, 5)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = out.read_bytes().count(b'\n')
    assert 5 <= done < 40
    for path in (tmp_path / 'drawn').glob('*.jpg'):
        with Image.open(path) as image:
            image.load()  # None is half written.
    text, err = finish(start(tmp_path / 'in', '--out', out, '--draw', tmp_path / 'drawn'))
    assert f'{done} of 40 pictures are done already' in err and f'{40 - done} now in' in text
    assert sorted(one['file'] for one in records(out)) == [str(tmp_path / 'in' / f'{i:02} ü.png') for i in range(40)]
    assert len(list((tmp_path / 'drawn').glob('*.jpg'))) == 39


@pytest.mark.parametrize('send', [os.kill, os.killpg], ids=['to the first', 'to all'])  # killpg: workers, too.
def test_a_scheduler_stops_it(start, tmp_path, send):
    out = tmp_path / 'x.jsonl'
    process = start(tmp_path / 'in', '--out', out)
    wait_for(process, out, 2)
    send(process.pid, signal.SIGTERM)
    text, err = finish(process, 143)
    done = out.read_bytes().count(b'\n')
    assert f'{done} of 40 done; the same command goes on' in err and text == '' and 2 <= done < 40
    assert 'Traceback' not in err
    text, err = finish(start(tmp_path / 'in', '--out', out))
    assert len({one['file'] for one in records(out)}) == len(records(out)) == 40

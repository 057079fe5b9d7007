"""A killed command, and two processes (gloo): each picture once, with the same words of it."""

import json
import os
import signal
import socket
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


@pytest.mark.parametrize('processes', [1, 2])
@pytest.mark.parametrize('send', [os.kill, os.killpg], ids=['to the first', 'to all'])  # killpg: workers, too.
def test_a_scheduler_stops_it(start, tmp_path, processes, send):
    out = tmp_path / 'x.jsonl'
    process = start(tmp_path / 'in', '--out', out, '--devices', processes)
    wait_for(process, out, 2)
    send(process.pid, signal.SIGTERM)
    text, err = finish(process, 143)
    done = out.read_bytes().count(b'\n')
    assert f'{done} of 40 done; the same command goes on' in err and text == '' and 2 <= done < 40
    assert 'Traceback' not in err
    text, err = finish(start(tmp_path / 'in', '--out', out))
    assert len({one['file'] for one in records(out)}) == len(records(out)) == 40


def test_one_process_and_two_say_the_same(start, tmp_path):
    one, two, few = (tmp_path / name / 'x.jsonl' for name in ('one', 'two', 'few'))
    finish(start(tmp_path / 'in', '--out', one))
    text, _ = finish(start(tmp_path / 'in', '--out', two, '--devices', 2))
    assert text.count('40 pictures, 40 now in') == 1 and text.count('1 of them could not be read') == 1
    assert sorted(records(two), key=lambda x: x['file']) == records(one) and len(records(one)) == 40
    assert sorted(path.name for path in two.parent.iterdir()) == ['x.about.json', 'x.jsonl']

    text, err = finish(start(tmp_path / 'in', '--out', two, '--devices', 2))  # Nothing is left to do.
    assert '40 of 40 pictures are done already' in err and len(records(two)) == 40
    finish(start(tmp_path / 'in' / '03 ü.png', '--out', few, '--devices', 2))  # Fewer pictures than processes.
    assert records(few) == [records(one)[3]]


@pytest.mark.parametrize('of', ['machines', 'torchrun'])
def test_two_machines_share(start, tmp_path, of):
    """Here both are this one; the first takes in what the second has written."""
    one, two = (tmp_path / name / 'x.jsonl' for name in ('one', 'two'))
    finish(start(tmp_path / 'in', '--out', one))
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = str(free.getsockname()[1])
    names = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port}
    started = []
    for i in map(str, range(2)):
        ranks = {'RANK': i, 'WORLD_SIZE': '2', 'LOCAL_RANK': i} if of == 'torchrun' else {'NODE_RANK': i}
        words = [] if of == 'torchrun' else ['--num-nodes', 2, '--devices', 2]
        started.append(start(tmp_path / 'in', '--out', two, *words, **names, **ranks))
    (first, _), (second, _) = map(finish, started)
    assert '40 pictures, 40 now in' in first and '1 of them could not be read' in first and second == ''
    assert sorted(records(two), key=lambda x: x['file']) == records(one)
    assert sorted(path.name for path in two.parent.iterdir()) == ['x.about.json', 'x.jsonl']


def test_machines_must_know_where_they_meet(start, tmp_path):
    _, err = finish(start(tmp_path / 'in', '--out', tmp_path / 'x.jsonl', '--num-nodes', 2), 2)
    assert 'error: several machines meet by MASTER_ADDR and MASTER_PORT, which the environment does not say' in err

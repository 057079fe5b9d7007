"""The guide's example of Ray Data on two workers of this machine, killed and started again: each photograph once, as
`mlsgm predict` sees it."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec('ray') is None, reason='the extra ray is not installed'),
]
ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 300  # Seconds.
DRIVER = """if True:
    import runpy, sys, ray
    _, script, where = sys.argv[:3]
    ray.init('local', num_cpus=2, include_dashboard=False, object_store_memory=200 * 2**20, _temp_dir=where)
    sys.argv = [script, *sys.argv[3:]]
    runpy.run_path(script, run_name='__main__')
"""


@pytest.fixture
def start():
    """Starts the example in a session of its own; of it and of Ray's processes nothing is left afterwards."""
    started, where = [], tempfile.mkdtemp(prefix='ray')  # A socket's path may have 107 letters: tmp_path is too long.
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT), PYTHONWARNINGS='ignore')
    env |= {'RAY_USAGE_STATS_ENABLED': '0', 'RAY_AUTH_TOKEN': os.urandom(32).hex()}  # Nothing in the home folder.

    def run(*words):
        command = [sys.executable, '-c', DRIVER, ROOT / 'docs' / 'ray_predict.py', where, *words]
        pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True}
        started.append(subprocess.Popen(list(map(str, command)), env=env, start_new_session=True, **pipes))
        return started[-1]

    yield run
    for process in started:
        kill(process)
    shutil.rmtree(where, ignore_errors=True)  # Who was killed may still be ending.


def kill(process):
    """SIGKILL to a process and its group, then to the rest of its session: Ray's workers have groups of their own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for number in filter(str.isdigit, os.listdir('/proc')):
        with suppress(ProcessLookupError):
            if os.getsid(int(number)) == process.pid:
                os.kill(int(number), signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_killed_half_way_and_resumed(start, checkpoint, call, tmp_path):
    """60 pictures, of which one cannot be read, in 20 shards; and a shard that is none."""
    from pyarrow import parquet

    photos, tars, out = (tmp_path / name for name in ('photos', 'tars', 'parts'))
    photos.mkdir()
    tars.mkdir()
    rng = np.random.default_rng(0)
    for i in range(60):
        small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(small).resize((40 + i, 30)).save(photos / f'{i:02} ü.png')
    (photos / '17 ü.png').write_text('broken')
    names = sorted(path.name for path in photos.iterdir())
    for i in range(20):
        with tarfile.open(tars / f'{i:02}.tar', 'w') as tar:
            tar.add(ROOT / 'setup.cfg', 'labels.json')
            for name in names[3 * i : 3 * i + 3]:
                tar.add(photos / name, name)
    shards = sorted(tars.iterdir())
    (tars / 'zz.tar').write_text('no tar')

    first = start(checkpoint, *shards, '--out', out)
    until = time.monotonic() + PATIENCE
    while len(list(out.glob('*.parquet'))) < 3:
        assert first.poll() is None and time.monotonic() < until, first.communicate()
        time.sleep(0.005)
    kill(first)
    done = {path: path.stat().st_mtime_ns for path in out.glob('*.parquet')}
    assert 3 <= len(done) < 20

    second = start(checkpoint, *shards, tars / 'zz.tar', '--out', out)
    told, _ = second.communicate(timeout=PATIENCE)
    assert second.returncode == 1, told  # One shard could not be read.
    assert f'21 shards, {21 - len(done)} to do' in told and 'zz.tar: not done: truncated header' in told
    assert told.count('.tar: 3 photographs') == 20 - len(done)
    parts = sorted(out.glob('*.parquet'))
    assert [path.stem for path in parts] == [path.stem for path in shards]
    assert done.items() <= {path: path.stat().st_mtime_ns for path in parts}.items()

    words = [ROOT / 'docs' / 'ray_predict.py', checkpoint, *shards, '--out', out, '--workers', '64', '--gpus', '0.25']
    third = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=PATIENCE)
    assert third.returncode == 0 and third.stdout == '20 shards, 0 to do\n', third.stderr

    rows = [row for path in parts for row in parquet.read_table(path).to_pylist()]
    assert Counter(row['file'] for row in rows) == dict.fromkeys(names, 1)
    call(photos, '--out', tmp_path / 'x.jsonl')
    records = [json.loads(line) for line in (tmp_path / 'x.jsonl').read_text().splitlines()]
    assert [Path(record['file']).name for record in records] == [row['file'] for row in rows]
    for row, record in zip(rows, records, strict=True):
        assert row['error'] == record.get('error')
        labels = record.get('labels', [])
        assert row['labels'] == [one['label'] for one in labels]
        np.testing.assert_allclose(row['probabilities'], [one['probability'] for one in labels], atol=2e-6)
        np.testing.assert_allclose(row['boxes'], [one['box'] for one in labels], atol=0.011)
    assert sum(row['error'] is not None for row in rows) == 1 and sum(len(row['labels']) for row in rows) > 60

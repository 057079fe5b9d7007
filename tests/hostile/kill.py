"""Commands killed at random moments, several times each, then run to their end: what is there afterwards must be what
an uninterrupted run leaves, and no process may outlive the one that was killed."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.conftest import FROZEN
from tests.hostile import campaign
from tests.hostile.case import leftovers
from tests.hostile.run import preload, stocked
from tests.hostile.stock import Stock, options, photographs

MARK = 'HOSTILE_KILL'  # A variable of the environment, by which processes are found that outlive a kill.
PATIENCE = 10.0  # Seconds that they may take to end.
LONGEST = 300.0  # Seconds that a command may take.
NEAR = 1e-9
COUNTS = ('kills', 'lost', 'wrong', 'left')
Left = dict[str, Any]  # What a command left: arrays, texts or bytes by their names.


class Kind(NamedTuple):
    """A command: its module and words, and what it leaves in the folder that it was run in."""

    words: list[str]
    left: Callable[[Path], Left]


def kinds(stock: Stock) -> dict[str, Kind]:
    """All that is killed; each takes a few seconds beside its imports."""
    few = [*options(stock.photos), 'trainer.max_epochs=6', 'runs_dir=runs', 'model.freeze_backbone=true']
    many = [*options(many_photographs(stock)), *FROZEN, 'data.image_size=96', 'runs_dir=runs']
    run, sweep = ['experiments.run', 'digits', *few], ['experiments.sweep', 'digits_baseline', *few]
    stored = [*FROZEN, 'graphs.store=true', f'graphs.csac={stock.checkpoint}', 'trainer.max_epochs=12']
    pictures = [str(many_photographs(stock) / 'images'), '--batch-size', '8', '--workers', '2', '--accelerator', 'cpu']
    return {
        'training': Kind([*run, 'data.num_workers=2', 'model.freeze_backbone=false'], runs),
        'training, averaged weights': Kind([*run, 'optimizer.ema_epochs=2', 'select=best'], runs),
        'training of a baseline': Kind(['experiments.run', 'digits_baseline', *few, 'data.num_workers=2'], runs),
        'training on stored graphs': Kind([*run, *stored], runs),
        'caching of maps': Kind(['experiments.run', 'digits', *many, 'data.num_workers=2'], runs),
        'predict with drawings': Kind(['mlsgm_pyg', 'predict', str(stock.run), *pictures, '--draw', 'drawn'], records),
        'sweep, two at a time': Kind([*sweep, 'optimizer.lr=1e-3,2e-3', '--jobs', '2'], runs),
    }


def many_photographs(stock: Stock) -> Path:
    folder = stock.root / 'many'
    if not folder.is_dir():
        photographs(folder, 240)
    return folder


def runs(folder: Path) -> Left:
    """What finished runs are by their folders: scores, the history but for its seconds, and metrics."""
    left: Left = {'summaries': str(len(list(folder.glob('runs/sweeps/*.json'))))}
    for result in sorted(folder.rglob('result.json')):
        name = str(result.parent.relative_to(folder))
        with np.load(result.with_name('scores.npz')) as file:
            left |= {f'{name} {key}': file[key] for key in file.files}
        with result.with_name('metrics.csv').open(newline='') as file:
            for number, row in enumerate(csv.DictReader(file)):
                row.pop('seconds')
                left[f'{name} epoch {number}'] = np.array([float(value or 'nan') for value in row.values()])
        left[f'{name} metrics'] = np.array(list(numbers(json.loads(result.read_text())['metrics'])))
    return left


def numbers(value: Any) -> Iterator[float]:
    for one in value.values() if isinstance(value, dict) else [value]:
        if isinstance(one, dict):
            yield from numbers(one)
        elif isinstance(one, int | float):
            yield float(one)


def records(folder: Path) -> Left:
    """Records by pictures, each of which must have one, and drawings."""
    lines = [json.loads(line) for line in (folder / 'predictions.jsonl').read_text().splitlines()]
    left: Left = {line['file']: json.dumps(line) for line in lines}
    left['pictures'] = str(sorted(line['file'] for line in lines))
    return left | {path.name: path.read_bytes() for path in (folder / 'drawn').rglob('*.jpg')}


def done(folder: Path) -> int:
    """How many epochs and records there are so far."""
    files = [*folder.rglob('metrics.csv'), *folder.glob('predictions.jsonl')]
    return sum(path.read_bytes().count(b'\n') for path in files)


def differ(left: Left, wanted: Left) -> str:
    """What is lost or wrong of what a command should have left, or ''."""
    if missing := sorted({*wanted} - {*left}):
        return f'lost: {len(missing)} of {len(wanted)}, such as {missing[0]}'
    if more := sorted({*left} - {*wanted}):
        return f'wrong: {len(more)} more than wanted, such as {more[0]}'
    for name, value in wanted.items():
        same = left[name] == value
        if isinstance(value, np.ndarray):
            same = left[name].shape == value.shape and np.allclose(left[name], value, 0, NEAR, equal_nan=True)
        if not same:
            return f'wrong: {name} is another one'
    return ''


class Run:
    """A command at work in a folder, as it is typed, whose processes are known by a mark."""

    def __init__(self, kind: Kind, folder: Path, mark: str):
        folder.mkdir(exist_ok=True)
        env = os.environ | {MARK: mark, 'PYTHONPATH': str(campaign.ROOT), 'OMP_NUM_THREADS': '1'}
        env['MLSGM_CACHE'] = str(folder / 'cache')
        self.mark, self.out = mark, folder.with_suffix('.out')
        self.started = time.monotonic()
        with self.out.open('w') as file:
            how = {'stdin': subprocess.DEVNULL, 'stdout': file, 'stderr': file, 'start_new_session': True}
            self.process = subprocess.Popen([sys.executable, '-m', *kind.words], cwd=folder, env=env, **how)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def wait(self, seconds: float) -> int | None:
        """Its exit status, or None where it is still at work after so many seconds from its start."""
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(max(seconds - self.seconds, 0.01))
        return None

    def kill(self) -> int:
        """Kills its first process alone; returns how many others are left after a while, which are killed then."""
        self.process.kill()
        self.process.wait()
        end = time.monotonic() + PATIENCE
        while (left := marked(self.mark)) and time.monotonic() < end:
            time.sleep(0.05)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(left)

    def told(self) -> str:
        return ' / '.join(self.out.read_text(errors='replace').strip().splitlines()[-3:])


def marked(mark: str) -> list[int]:
    """The processes with a mark in their environment."""
    found, wanted = [], f'{MARK}={mark}'.encode()
    for name in filter(str.isdigit, os.listdir('/proc')):
        with suppress(OSError):
            if wanted in Path('/proc', name, 'environ').read_bytes().split(b'\0'):
                if Path('/proc', name, 'stat').read_text(errors='replace').rpartition(')')[2].split()[0] not in 'ZX':
                    found.append(int(name))
    return found


class Uninterrupted(NamedTuple):
    """What a command leaves that nobody kills, when it begins to write, and how long it takes."""

    left: Left
    begins: float
    seconds: float


def uninterrupted(kind: Kind, folder: Path) -> Uninterrupted:
    run, begins = Run(kind, folder, 'reference'), 0.0
    while (status := run.wait(run.seconds + 0.05)) is None and run.seconds < LONGEST:
        begins = begins or (run.seconds if any(folder.iterdir()) else 0.0)
    seconds = run.seconds
    if status != 0:
        run.kill()
        raise RuntimeError(f'a command that nobody killed ended with {status}: {run.told()}')
    return Uninterrupted(kind.left(folder), begins, seconds)


def kill(kind: Kind, about: Uninterrupted, folder: Path, number: int, rng: random.Random) -> Counter[str]:
    """Kills a command so often at moments between its first file and its end, or less where it ends before; then runs
    it to its end."""
    counts, before = Counter(), 0
    for at in range(number + 1):
        run = Run(kind, folder, folder.name)
        status = run.wait(LONGEST if at == number else rng.uniform(about.begins, about.seconds))
        if status is not None:
            break
        left, now = run.kill(), done(folder)
        counts += Counter(kills=1, left=bool(left), lost=now < before)
        if left or now < before:
            print(f'  after a kill: {left} processes left, {now} done, {before} before', flush=True)
        before = now
    why = f'lost: it ended with {status}: {run.told()}' if status != 0 else differ(kind.left(folder), about.left)
    if not why and (spare := leftovers(folder)):
        why = f'wrong: {spare[0]} is left'
    if why:
        print(f'  {why}', flush=True)
        counts[why.partition(':')[0]] += 1
    return counts


def main(number: int) -> int:
    """Kills so many times, spread over the kinds of commands."""
    started, rng = time.monotonic(), random.Random(0)
    preload()
    with stocked() as stock, tempfile.TemporaryDirectory(prefix='kill-') as root:
        every, counts = kinds(stock), {}
        for at, (name, kind) in enumerate(every.items()):
            wanted, rounds = number * (at + 1) // len(every) - number * at // len(every), 0
            about = uninterrupted(kind, Path(root, f'{at}'))
            counts[name] = Counter(dict.fromkeys(COUNTS, 0))
            while counts[name]['kills'] < wanted and rounds < 3 * number:
                rounds += 1
                some = min(rng.randint(2, 5), wanted - counts[name]['kills'])
                folder = Path(root, f'{at}-{rounds}')
                before = counts[name]['kills']
                counts[name].update(kill(kind, about, folder, some, rng))
                if counts[name]['kills'] == before:  # It is faster now than the reference was.
                    about = about._replace(seconds=max(about.seconds * 0.9, about.begins))
                shutil.rmtree(folder)
            print(f'{name} ({about.begins:.1f} to {about.seconds:.1f} s): {dict(counts[name])}', flush=True)
    total = sum(counts.values(), Counter(dict.fromkeys(COUNTS, 0)))
    return report(counts, total, time.monotonic() - started, f'python -m tests.hostile --kill {number}')


def report(kinds: dict[str, Counter[str]], total: Counter[str], seconds: float, command: str) -> int:
    """Prints the table and adds it to results/hostile.json; 1 where something was lost, wrong or left behind."""
    content = {
        'total': {key: total[key] for key in COUNTS},
        'kinds': {name: {key: counts[key] for key in COUNTS} for name, counts in kinds.items()},
    }
    head = ['kind', 'kills', 'lost', 'wrong', 'left behind']
    rows = [head, ['---'] + ['--:'] * len(COUNTS)]
    rows += [
        [name, *map(str, row.values())] for name, row in [*content['kinds'].items(), ('**all**', content['total'])]
    ]
    print('\n'.join(f'| {" | ".join(row)} |' for row in rows), f'\n{seconds:.0f} s')
    path = campaign.RESULTS
    before = json.loads(path.read_text()) if path.is_file() else {}
    kills = content | {'seconds': round(seconds), 'command': command, 'commit': campaign.commit()}
    path.write_text(json.dumps(before | {'kills': kills}, indent=1) + '\n')
    return int(any(total[key] for key in COUNTS[1:]))

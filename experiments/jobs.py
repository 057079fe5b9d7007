"""Several runs at a time: each is a process of its own, the processor cores and the GPUs are shared out among them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from experiments.common.errors import Failed

POLL = 0.2  # Seconds.
STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGTERM, -signal.SIGINT)  # Exit statuses.
EPOCH = b'epoch '  # How the lines of a log begin that are passed on.


class Job(NamedTuple):
    """A command, and what it is called in messages."""

    name: str
    words: list[str]
    log: Path  # Its whole output.


class _Running:
    """A process, and how much of its log was passed on."""

    def __init__(self, number: str, job: Job, slot: int, jobs: int):
        self.number, self.job, self.start, self.seen = number, job, time.monotonic(), 0
        self.process = _start(job, slot, jobs)

    def news(self) -> list[str]:
        """The lines on finished epochs that came since the last call."""
        with self.job.log.open('rb') as log:
            log.seek(self.seen)
            whole, end, _ = log.read().rpartition(b'\n')
        self.seen += len(whole + end)
        return [line.decode(errors='replace').strip() for line in whole.split(b'\n') if line.startswith(EPOCH)]

    def say(self, told: str) -> None:
        print(f'{self.number}: {self.job.name}: {told}', flush=True)


def train_all(planned: Sequence[tuple[Any, str]], jobs: int, again: bool = False) -> int:
    """Trains what is not finished of some runs, several at a time; returns how many that were.

    Args:
        planned (sequence of tuple): Config and command of each run, as :func:`experiments.sweep.plan` gives them.
        jobs (int): How many processes.
        again (bool): Whether to train finished runs, too. (default: :obj:`False`)

    Raises:
        Failed: If a run did not finish; the others did.
    """
    from experiments import train

    todo: dict[Path, Job] = {}
    for config, command in planned:
        folder = train.run_dir(config)
        if again or not (folder / 'result.json').is_file():
            words = [*shlex.split(command)[1:], *(['--again'] if again else [])]  # Without 'python'.
            log = Path(config.runs_dir) / 'sweeps' / 'logs' / f'{config.name}-{folder.name}.log'
            todo[folder] = Job(f'{config.name}, seed {config.seed}', [sys.executable, *words], log)
    run_all(list(todo.values()), jobs)
    return len(todo)


def run_all(todo: Sequence[Job], jobs: int) -> None:
    """Runs commands, at most so many at a time, and says when each begins and ends, and their epochs.

    Raises:
        Failed: If some ended with an error, when all have ended.
    """
    waiting, failed = list(enumerate(todo, 1)), []
    running: dict[int, _Running] = {}
    with _stopped_at_the_end(running):
        while waiting or running:
            for slot in range(jobs):
                if slot not in running and waiting:
                    number, job = waiting.pop(0)
                    running[slot] = _Running(f'{number}/{len(todo)}', job, slot, jobs)
                    running[slot].say(shlex.join(job.words[1:]))
            time.sleep(POLL)
            for slot, one in list(running.items()):
                status = one.process.poll()
                for line in one.news():
                    one.say(line)
                if status is None:
                    continue
                told = f'{time.monotonic() - one.start:.0f} s'
                if status:
                    failed.append(one.job)
                    how = 'stopped' if status in STOPPED else 'failed'
                    told = f'{how} after {told}: {_last_line(one.job.log)}'
                one.say(told)
                del running[slot]
    if failed:
        raise Failed(
            f'{len(failed)} of {len(todo)} runs did not finish ({failed[0].name}: {_last_line(failed[0].log)}; see '
            f"'{failed[0].log}'); the same command goes on with them"
        )


@contextmanager
def _stopped_at_the_end(running: dict[int, _Running]) -> Iterator[None]:
    """Whatever ends the loop, SIGTERM included, no process outlives it; each saved its last finished epoch."""
    is_main = threading.current_thread() is threading.main_thread()  # Others may not take signals.
    handler = signal.signal(signal.SIGTERM, _end) if is_main else None
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, handler)
        for one in running.values():
            one.process.terminate()
        for one in running.values():
            one.process.wait()


def _end(number: int, frame: FrameType | None) -> None:
    print('stopped; the same command goes on', file=sys.stderr, flush=True)
    raise SystemExit(128 + number)


def _start(job: Job, slot: int, jobs: int) -> subprocess.Popen:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open('wb') as log:
        return subprocess.Popen(job.words, stdout=log, stderr=subprocess.STDOUT, env=environment(slot, jobs))


def environment(slot: int, jobs: int) -> dict[str, str]:
    """The environment of a process: its share of the cores, and one of the GPUs where there are several."""
    env = dict(os.environ)
    env.setdefault('OMP_NUM_THREADS', str(max((os.cpu_count() or 1) // jobs, 1)))
    gpus = visible_gpus()
    if len(gpus) > 1:
        env['CUDA_VISIBLE_DEVICES'] = gpus[slot % len(gpus)]
    return env


def visible_gpus() -> list[str]:
    """The GPUs by the names that CUDA_VISIBLE_DEVICES knows them by."""
    named = os.environ.get('CUDA_VISIBLE_DEVICES')
    if named is not None:
        return [name for name in re.split(r'\s*,\s*', named.strip()) if name]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def _last_line(log: Path) -> str:
    lines = log.read_text(errors='replace').strip().splitlines() or ['it printed nothing']
    return lines[-1].removeprefix('error: ')[:300]

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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from mlsgm_pyg.app.common.errors import Failed
from mlsgm_pyg.app.common.files import writing
from mlsgm_pyg.app.common.signals import end_with_parent
from mlsgm_pyg.app.config.load import run_dir

STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGTERM, -signal.SIGINT)  # Exit statuses.
EPOCH = b'epoch '  # How the lines of a log begin that are passed on.


class Job(NamedTuple):
    """A command, and what it is called in messages."""

    name: str
    words: list[str]
    log: Path  # Its whole output.


def train_all(planned: Sequence[tuple[Any, str]], jobs: int, again: bool = False) -> int:
    """Trains what is not finished of some runs, given as configs and commands, several at a time; returns how many that
    were. Raises Failed if a run did not finish; the others did."""
    todo: dict[Path, Job] = {}
    for config, command in planned:
        folder = run_dir(config)
        if again or not (folder / 'result.json').is_file():
            words = [*shlex.split(command)[1:], *(['--again'] if again else [])]  # Without 'python'.
            log = Path(config.runs_dir) / 'sweeps' / 'logs' / f'{config.name}-{folder.name}.log'
            todo[folder] = Job(f'{config.name}, seed {config.seed}', [sys.executable, *words], log)
    run_all(list(todo.values()), jobs)
    return len(todo)


def run_all(todo: Sequence[Job], jobs: int) -> None:
    """Runs commands, at most so many at a time, and says when each begins and ends, and their epochs. Raises Failed if
    some ended with an error, when all have ended."""
    processes = _Processes(todo, jobs)
    with ThreadPoolExecutor(jobs) as pool, _stopped_at_the_end(processes):
        list(pool.map(processes.work, range(jobs)))
    if processes.failed:
        first = processes.failed[0]
        raise Failed(
            f'{len(processes.failed)} of {len(todo)} runs did not finish ({first.name}: {_last_line(first.log)}; see '
            f"'{first.log}'); the same command goes on with them"
        )


class _Processes:
    """Some commands, which threads run one after the other; once the end has come, none begins any more."""

    def __init__(self, todo: Sequence[Job], jobs: int):
        self.waiting, self.jobs, self.total = enumerate(todo, 1), jobs, len(todo)
        self.started: list[subprocess.Popen] = []
        self.failed: list[Job] = []
        self.is_over, self.lock = False, threading.Lock()

    def work(self, slot: int) -> None:
        """Runs what waits in one share of the machine."""
        share = environment(slot, self.jobs)
        while begun := self._begin(share):
            number, job, process = begun
            start = time.monotonic()
            with writing(job.log), process, job.log.open('wb', buffering=0) as log:
                for line in process.stdout:
                    log.write(line)
                    if line.startswith(EPOCH) and line.endswith(b'\n'):
                        self._say(number, job, line.decode(errors='replace').strip())
            told, status = f'{time.monotonic() - start:.0f} s', process.returncode
            if status:
                self.failed.append(job)
                told = f'{"stopped" if status in STOPPED else "failed"} after {told}: {_last_line(job.log)}'
            if not self.is_over:
                self._say(number, job, told)

    def _begin(self, share: dict[str, str]) -> tuple[int, Job, subprocess.Popen] | None:
        with self.lock:
            number, job = next(self.waiting, (0, None))
            if self.is_over or job is None:
                return None
            job.log.parent.mkdir(parents=True, exist_ok=True)
            how = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'preexec_fn': end_with_parent}
            process = subprocess.Popen(job.words, env=share, **how)
            self.started.append(process)
            self._say(number, job, shlex.join(job.words[1:]))
            return number, job, process

    def _say(self, number: int, job: Job, told: str) -> None:
        print(f'{number}/{self.total}: {job.name}: {told}\n', end='', flush=True)  # In one piece, beside other threads.

    def end(self) -> None:
        """Ends those that still run; each saved its last finished epoch."""
        with self.lock:
            self.is_over = True
        for process in self.started:
            process.terminate()


@contextmanager
def _stopped_at_the_end(processes: _Processes) -> Iterator[None]:
    """Whatever ends the scope, SIGTERM included, no process outlives it."""
    is_main = threading.current_thread() is threading.main_thread()  # Others may not take signals.
    handler = signal.signal(signal.SIGTERM, _end) if is_main else None
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, handler)
        processes.end()


def _end(number: int, frame: FrameType | None) -> None:
    print('stopped; the same command goes on', file=sys.stderr, flush=True)
    raise SystemExit(128 + number)


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

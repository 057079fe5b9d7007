"""Several processes of a machine that train together: where one dies, another says so in a line, and all end."""

from __future__ import annotations

import atexit
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from lightning.pytorch.strategies.launchers import subprocess_script

from mlsgm_pyg.app.common.errors import Failed
from mlsgm_pyg.app.common.signals import SIGNALS
from mlsgm_pyg.app.common.text import one_line

ASKED = (0, *(sign * number + base for number in SIGNALS for sign, base in ((-1, 0), (1, 128))))  # Exit statuses.
GRACE = 3.0  # Seconds in which a process that meets the same error itself may say so.
WAY = 'the same command goes on from the last finished epoch'


@cache
def watch() -> None:
    """From now on: the first process watches those that it starts, and these watch the first, once a process.

    In place of Lightning's own observer, which ends the first process by SIGKILL, without a word.
    """
    subprocess_script._launch_process_observer = _observe
    if int(os.environ.get('LOCAL_RANK', 0)):
        _thread(_watch_first, os.getppid(), os.environ.get('WORLD_SIZE'))


def check(error: RuntimeError) -> None:
    """Raises Failed if an error says that another process is gone; one that is known here has been told before that."""
    if re.search('gloo|NCCL', str(error)):
        time.sleep(2 * GRACE)
        raise Failed(f'another process has ended ({one_line(error)}); {WAY}') from error


def _thread(work: Callable[..., None], *args: Any) -> None:
    threading.Thread(target=work, args=args, daemon=True).start()


def _observe(processes: list[subprocess.Popen]) -> None:
    atexit.register(_kill, processes)  # Where this one ends with an error of its own, that is all that is told.
    _thread(_watch_started, processes)


def _kill(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        process.kill()


def _watch_started(processes: list[subprocess.Popen]) -> None:
    while any(process.poll() is None for process in processes) and all(_is_well(process) for process in processes):
        time.sleep(0.2)
    for number, process in enumerate(processes, 2):
        if not _is_well(process):
            time.sleep(GRACE)
            _kill(processes)
            _end(f'process {number} of {len(processes) + 1} {_ended(process.returncode)}')


def _is_well(process: subprocess.Popen) -> bool:
    return process.poll() is None or process.returncode in ASKED


def _ended(status: int) -> str:
    return f'was ended by {signal.Signals(-status).name}' if status < 0 else f'has ended with exit status {status}'


def _watch_first(parent: int, total: str | None) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    time.sleep(GRACE)
    _end(f'process 1 of {total} has ended' if os.environ['LOCAL_RANK'] == '1' else '')


def _end(told: str) -> None:
    if told:
        print(f'error: {told}; {WAY}', file=sys.stderr, flush=True)
    os._exit(1)

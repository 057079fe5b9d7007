"""Several devices: a process each, which does its share of the pictures and writes a part file beside the records.

The first process of every machine starts those of its other devices, which get their orders through standard input;
machines, and processes that torchrun has started, meet by gloo (MASTER_ADDR and MASTER_PORT). A process of rank r does
every n-th picture from the r-th on; the very first one takes in what the others have written.
"""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.signals import Stop
from mlsgm_pyg.app.common.text import one_line
from mlsgm_pyg.app.prediction import loop
from mlsgm_pyg.app.prediction.records import Records, part_path
from mlsgm_pyg.names import check_choice
from mlsgm_pyg.tagger import Prediction, Tagger

ACCELERATORS = {
    'auto': ('cuda', 'mps', 'cpu'),
    'gpu': ('cuda', 'mps'),
    'cuda': ('cuda',),
    'mps': ('mps',),
    'cpu': ('cpu',),
}
PATIENCE = 10  # Seconds for the last batch of other processes.
QUIET = 'ignore:`torch.jit:FutureWarning'  # PyG's, when it is imported.
START = f"""import signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # Until it listens: no traceback out of an import.
from {__name__} import main
sys.exit(main([]))"""
WEEK = timedelta(days=7)  # So long machines wait for each other.


class Place(NamedTuple):
    """Where a process stands among those that others have started: its number, of how many, and its devices."""

    number: int
    total: int
    devices: list[str]

    @property
    def rank(self) -> int:
        """Of its first device, among all devices."""
        return self.number * len(self.devices)

    @property
    def world(self) -> int:
        return self.total * len(self.devices)


def place(accelerator: str, devices: str, num_nodes: int) -> Place:
    """Where this process stands, as the words of the command and the environment say."""
    found, env = devices_of(accelerator, devices), os.environ
    if {'RANK', 'WORLD_SIZE', 'LOCAL_RANK'} <= env.keys():  # Torchrun's: a process a device.
        return Place(int(env['RANK']), int(env['WORLD_SIZE']), [found[int(env['LOCAL_RANK']) % len(found)]])
    ranks = (env.get(name) for name in ('NODE_RANK', 'GROUP_RANK', 'SLURM_NODEID'))
    return Place(int(next(filter(None, ranks), 0)) if num_nodes > 1 else 0, num_nodes, found)


def devices_of(accelerator: str, devices: str) -> list[str]:
    """The devices of this machine that are meant: `2` are the first two, `0,1` these two, `auto` and `-1` all."""
    check_choice('accelerator', accelerator, ACCELERATORS)
    there = {'cpu': 1}
    if accelerator != 'cpu':
        import torch

        there |= {'cuda': torch.cuda.device_count(), 'mps': int(torch.backends.mps.is_available())}
    kind = next((kind for kind in ACCELERATORS[accelerator] if there[kind]), None)
    if kind is None:
        raise ConfigError(f'there is no {accelerator} on this machine: take another --accelerator')
    if kind == 'cpu' and devices != 'auto':
        if not devices.isdecimal() or not int(devices):
            raise ConfigError(f"--devices of a CPU must be a number of processes, at least 1 (got '{devices}')")
        return ['cpu'] * int(devices)
    every = list(range(there[kind]))
    if devices in ('auto', '-1'):
        numbers = every
    else:
        numbers = list(range(int(devices))) if devices.isdecimal() else [int(n) for n in re.findall(r'-?\d+', devices)]
    if not numbers or not {*numbers} <= {*every}:
        raise ConfigError(f"--devices must be among the {len(every)} of this machine, from 0 on (got '{devices}')")
    return [f'{kind}:{number}' if kind == 'cuda' else kind for number in numbers]


def run(
    place: Place,
    tagger: Tagger,
    options: loop.Options,
    tasks: Sequence[loop.Task],
    path: Path,
    records: Records | None,
    stop: Stop,
    tell: Callable[[list[Prediction]], None],
) -> None:
    """Does the very first process's tasks with all devices, see :func:`mlsgm_pyg.app.prediction.loop.run`. That process
    has the file of records open; the others write beside it."""
    count = len(place.devices)
    with _together(place, tasks) as tasks, ExitStack() as stack:
        if count > 1 and 'OMP_NUM_THREADS' not in os.environ:
            if torch := sys.modules.get('torch'):  # An ONNX file needs none.
                torch.set_num_threads(_threads(count))
        others = Others()
        try:
            for rank, device in enumerate(place.devices[1:], place.rank + 1):
                if share := tasks[rank :: place.world]:
                    others.start((options, device, share, part_path(path, rank)), _threads(count))
            if share := tasks[place.rank :: place.world]:
                mine = records or stack.enter_context(closing(Records(part_path(path, place.rank))))
                loop.run(tagger, options, share, mine, stop, tell)
            others.wait(stop)
        except BaseException:
            others.stop(stop.number or signal.SIGTERM)
            raise


class Others:
    """The processes of this machine's other devices."""

    def __init__(self):
        self.processes: list[subprocess.Popen] = []

    def start(self, orders: tuple[Any, ...], threads: int) -> None:
        """Starts one, with what :func:`main` needs."""
        root = str(Path(__file__).parents[3])
        env = {'OMP_NUM_THREADS': str(threads)} | os.environ
        env['PYTHONPATH'] = os.pathsep.join(filter(None, (root, env.get('PYTHONPATH'))))
        with tempfile.TemporaryFile() as file:
            pickle.dump(orders, file)
            file.seek(0)
            words = [sys.executable, '-W', QUIET, '-c', START]
            self.processes.append(subprocess.Popen(words, stdin=file, env=env))

    def wait(self, stop: Stop) -> None:
        """Waits for all of them; refuses to go on if one did not do all of its share."""
        while any(process.poll() is None for process in self.processes):
            stop.check()
            time.sleep(0.05)
        for process in self.processes:
            if process.returncode:
                stop.check()  # It came to all.
                told = f'a process beside this one has ended with exit status {process.returncode}'
                raise ConfigError(f'{told}; what is done is kept, the same command goes on')

    def stop(self, number: int) -> None:
        """Hands a signal on, and waits for the last batch of each."""
        for process in self.processes:
            process.send_signal(number)
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)


@contextmanager
def _together(place: Place, tasks: Sequence[loop.Task]) -> Iterator[Sequence[loop.Task]]:
    """Meets the processes that others have started: all have the very first one's tasks, and wait for the last one."""
    if place.total == 1:
        yield tasks
        return
    if missing := [name for name in ('MASTER_ADDR', 'MASTER_PORT') if name not in os.environ]:
        told = f'several machines meet by {" and ".join(missing)}, which the environment does not say'
        raise ConfigError(f"{told}: the first one's address and a free port of it; NODE_RANK is a machine's number")
    from torch import distributed

    box = [tasks]
    try:
        with _reached():
            distributed.init_process_group('gloo', rank=place.number, world_size=place.total, timeout=WEEK)
            distributed.broadcast_object_list(box)
        yield box[0]
        with _reached():
            distributed.barrier()  # All have closed their files.
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        told = f'a process on another machine has ended or cannot be reached ({one_line(error)})'
        raise ConfigError(f'{told}; what is done is kept, the same command goes on') from error


def _threads(processes: int) -> int:
    return max((os.cpu_count() or 1) // processes, 1)


@cli.door()
def main(argv: list[str]) -> int:
    """What one of the others does; its orders come through standard input."""
    options, device, tasks, path = pickle.load(sys.stdin.buffer)
    with Stop() as stop, loop.in_words(path), loop.pixels(options.max_pixels), closing(Records(path)) as records:
        loop.run(loop.open_tagger(options, device), options, tasks, records, stop)
    return 0

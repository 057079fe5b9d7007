"""One run of predict: a checkpoint and pictures in, records, tables and drawings out."""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from PIL import Image
from rich.console import Console

import mlsgm_pyg
from experiments import inputs, show_prediction
from experiments.common import machine
from experiments.common.errors import ConfigError
from experiments.common.files import read_json, write_json
from experiments.common.signals import Stop, Stopped, end_readers
from experiments.predictor import PictureModule, Pictures, Predictor, Task, Writer
from experiments.records import TABLES, Records, check_table, parts_of, write_table
from mlsgm_pyg.datasets import MAX_PIXELS
from mlsgm_pyg.tagger import Choice, View, view_of

SAME = (
    'sha256',
    'view',
    'sizes',
    'top_k',
    'threshold',
    'upright',
    'labels',
    'semantics',
    'unseen_maps',
)  # What one file of records must agree in.
PATIENCE = 10  # Seconds for the last batch of other processes.
QUIET = (
    '.*does not have many workers.*',
    '.*Total length of `DataLoader` across ranks is zero.*',
    '.*isinstance.treespec.*',
)


class Job:
    """What the first process knows: which pictures there are, and which of them are done.

    Args:
        args (argparse.Namespace): The command's words.
        files (list[str]): The pictures.
        about (dict): What the records are made with.
    """

    def __init__(self, args: argparse.Namespace, files: list[str], about: dict[str, Any]):
        self.out, self.draw = args.out, args.draw
        self.path = args.out.with_suffix('.jsonl')
        self.about_path = args.out.with_suffix('.about.json')
        self.files = files
        self._spare_others()
        self.records = Records(self.path)
        self.repaired = self.records.repaired
        try:
            self._agree(about, args.again)
            done = {record['file'] for record in self.records}
            self.records.absorb(parts_of(self.path), done)
            if args.retry:
                self.records.keep(lambda record: 'error' not in record)
            self.done = {record['file'] for record in self.records}
            self.tasks = self._tasks()
        except BaseException:
            self.records.close()
            raise

    def _spare_others(self) -> None:
        """What predict has not written, such as a label file of that name, it does not touch."""
        for path in (self.path, self.out):
            if path.is_file() and path.stat().st_size and not self.about_path.is_file():
                told = f"'{path}' is there already, and no '{self.about_path}' says that predict wrote it"
                raise ConfigError(f'{told}: take another --out')

    def _agree(self, about: dict[str, Any], again: bool) -> None:
        """The records that are there must have been made with the same checkpoint and options."""
        if again:
            for path in parts_of(self.path):
                path.unlink()
            self.records.clear()
        elif next(iter(self.records), None) is not None or parts_of(self.path):
            try:
                then = read_json(self.about_path)
            except (OSError, ValueError) as error:
                told = f"'{self.about_path}' does not say what '{self.path}' was made with"
                raise ConfigError(f'{told}: take another --out, or start over with --again') from error
            for key in SAME:
                if then.get(key) != about[key]:
                    told = f"'{self.path}' was made with {key}={then.get(key)}, now it is {about[key]}"
                    raise ConfigError(f'{told}: take another --out, or start over with --again')
            return
        write_json(self.about_path, about)

    def _tasks(self) -> list[Task]:
        done = {os.path.abspath(file) for file in self.done}
        todo = [Task(file) for file in self.files if os.path.abspath(file) not in done]
        if self.draw is None or len(todo) == len(self.files):
            return todo
        from experiments.drawing.boxes import drawing_path

        broken = {record['file'] for record in self.records if 'error' in record}
        mine = {os.path.abspath(file): file for file in self.done - broken}
        names = [mine[path] for path in map(os.path.abspath, self.files) if path in mine]
        return todo + [Task(file, True) for file in names if not drawing_path(self.draw, file).is_file()]

    def finish(self) -> None:
        """Takes in what the other processes wrote, and makes the table."""
        self._absorb()
        if self.out.suffix in TABLES:
            write_table(self.out, self.records)

    def left(self) -> str:
        """What is done of an unfinished job, and how to go on; the table is made by the run that finishes it."""
        with suppress(ConfigError):  # A process beside this one still writes: the next run takes that in.
            self._absorb()
        done = {os.path.abspath(record['file']) for record in self.records}
        number = sum(os.path.abspath(file) in done for file in self.files)
        return f'{number} of {len(self.files)} done; the same command goes on'

    def _absorb(self) -> None:
        self.records.absorb(parts_of(self.path), {record['file'] for record in self.records})
        self.records.sync()


def run(args: argparse.Namespace, command: str) -> int:
    """Carries a command out; returns the exit status.

    Raises:
        ConfigError, ValueError: If an option, a checkpoint or an earlier run's file does not fit.
        OSError: If something cannot be written.
        Stopped: If it was asked to stop; says what is done.
    """
    with Stop() as stop:
        return _run(args, command, _files(args) if _is_first() else [], stop)


def _files(args: argparse.Namespace) -> list[str]:
    """The pictures, once all is known to have its place: the model takes seconds."""
    check_table(args.out)
    return inputs.find(args.paths, [args.draw] if args.draw else [])


def _run(args: argparse.Namespace, command: str, files: list[str], stop: Stop) -> int:
    model = mlsgm_pyg.load(args.checkpoint)
    if args.labels is not None:
        model = model.with_labels(args.labels, semantics=args.semantics, unseen_maps=args.unseen_maps)
    view = view_of(model, args.view, args.image_size)
    choice = Choice(args.top_k, args.threshold, args.upright, maps=args.draw is not None).check()
    job, console = None, Console(stderr=True)
    with _pixels(args.max_pixels or MAX_PIXELS):
        try:
            if _is_first():
                job = Job(args, files, _about(args, model, view, choice, command))
                show_prediction.greet(job, console)
            started = time.perf_counter()
            _predict(args, model, view, choice, job, console, stop)
            if job is None:
                return 0
            job.finish()
            return 0 if show_prediction.show(job, time.perf_counter() - started) else 1
        except Stopped as stopped:
            raise Stopped(stopped.number, job.left() if job else '') from None
        finally:
            if job is not None:
                job.records.close()


def _predict(
    args: argparse.Namespace,
    model: torch.nn.Module,
    view: View,
    choice: Choice,
    job: Job | None,
    console: Console,
    stop: Stop,
) -> None:
    """Puts all that is to do through Lightning's loop."""
    if job is not None and not job.tasks and args.devices == '1' and args.num_nodes == 1:
        return
    draw = small = None
    if args.draw is not None:
        from experiments.drawing import boxes as drawing

        small = drawing.shrink
        about = {'view': view.name, 'image_size': view.sizes[0], 'is_upright': args.upright}
        draw = partial(drawing.save_in, args.draw, **about)
    make = partial(Pictures, view=view, max_pixels=args.max_pixels or MAX_PIXELS, small=small)
    data = PictureModule(job.tasks if job else [], make, args.batch_size, args.workers, stop)
    writer = Writer(args.out.with_suffix('.jsonl'), job and job.records, draw, console, stop)
    for name in ('lightning.pytorch', 'lightning.fabric', 'lightning'):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for message in QUIET:
            warnings.filterwarnings('ignore', message)
        trainer = _trainer(args, writer)
        try:
            trainer.predict(Predictor(model, view, choice), data, return_predictions=False)
            if torch.distributed.is_initialized():
                torch.distributed.barrier()  # All have closed their files.
        except (Stopped, RuntimeError) as error:
            _stop_others(trainer, stop.number)
            if stop.number is None or isinstance(error, Stopped):
                raise
            raise Stopped(stop.number) from error  # The signal has ended a process beside this one, too.
        finally:
            end_readers()


def _stop_others(trainer: lightning.Trainer, number: int | None) -> None:
    """Hands a signal on to the processes that this one has started, and waits for their last batch."""
    if number is None:
        return
    processes = getattr(trainer.strategy.launcher, 'procs', [])
    for process in processes:
        process.send_signal(number)
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)


def _trainer(args: argparse.Namespace, writer: Writer) -> lightning.Trainer:
    unused = ('logger', 'enable_checkpointing', 'enable_progress_bar', 'enable_model_summary')
    devices = int(args.devices) if args.devices.lstrip('-').isdigit() else args.devices
    try:
        return lightning.Trainer(
            **dict.fromkeys(unused, False),
            accelerator=args.accelerator,
            devices=devices,
            num_nodes=args.num_nodes,
            precision=args.precision,
            callbacks=[writer],
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(str(error)) from error


def _about(
    args: argparse.Namespace, model: torch.nn.Module, view: View, choice: Choice, command: str
) -> dict[str, Any]:
    """What records are made with."""
    with open(args.checkpoint, 'rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    return {
        'checkpoint': str(args.checkpoint),
        'sha256': digest,
        'view': view.name,
        'sizes': list(view.sizes),
        'top_k': choice.top_k,
        'threshold': choice.threshold,
        'upright': choice.upright,
        'labels': args.labels,
        'semantics': args.semantics,
        'unseen_maps': args.unseen_maps if args.labels else None,
        'class_names': list(model.class_names),
        'command': command,
        'commit': machine.commit(),
        'versions': machine.versions(),
    }


def _is_first() -> bool:
    """Whether this is the first process of the first machine."""
    node = os.environ.get('NODE_RANK') or os.environ.get('GROUP_RANK') or '0'
    return rank_zero_only.rank == 0 and int(node) == 0


@contextmanager
def _pixels(most: int) -> Iterator[None]:
    """Pillow's own limit is ours meanwhile: it also guards what a file holds inside."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = most
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before

"""One run of predict: a checkpoint and pictures in, records, tables and drawings out."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from PIL import Image
from rich.console import Console
from rich.markup import escape

import mlsgm_pyg
from experiments import inputs, machine
from experiments.config import ConfigError
from experiments.predictor import PictureModule, Pictures, Predictor, Task, Writer
from experiments.records import TABLES, Records, check_table, parts_of, replacing, write_table
from mlsgm_pyg.datasets import MAX_PIXELS
from mlsgm_pyg.models.prediction import Choice, View, view_of

SHOWN = 10  # So many pictures are shown at the end, and so many broken files.
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
QUIET = (
    '.*does not have many workers.*',
    '.*Total length of `DataLoader` across ranks is zero.*',
    '.*isinstance.treespec.*',
)


class Job:
    """What the first process knows: which pictures there are, and which of them are done.

    Args:
        args (argparse.Namespace): The command's words.
        about (dict): What the records are made with.
    """

    def __init__(self, args: argparse.Namespace, about: dict[str, Any]):
        self.out, self.draw = args.out, args.draw
        self.path = args.out.with_suffix('.jsonl')
        self.about_path = args.out.with_suffix('.about.json')
        check_table(self.out)
        self.files = inputs.find(args.paths, [args.draw] if args.draw else [])
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
                then = json.loads(self.about_path.read_text())
            except (OSError, ValueError) as error:
                told = f"'{self.about_path}' does not say what '{self.path}' was made with"
                raise ConfigError(f'{told}: take another --out, or start over with --again') from error
            for key in SAME:
                if then.get(key) != about[key]:
                    told = f"'{self.path}' was made with {key}={then.get(key)}, now it is {about[key]}"
                    raise ConfigError(f'{told}: take another --out, or start over with --again')
            return
        with replacing(self.about_path) as spare:
            spare.write_text(json.dumps(about, indent=1) + '\n')

    def _tasks(self) -> list[Task]:
        done = {os.path.abspath(file) for file in self.done}
        todo = [Task(file) for file in self.files if os.path.abspath(file) not in done]
        if self.draw is None or len(todo) == len(self.files):
            return todo
        from experiments.draw import drawing_path

        broken = {record['file'] for record in self.records if 'error' in record}
        mine = {os.path.abspath(file): file for file in self.done - broken}
        names = [mine[path] for path in map(os.path.abspath, self.files) if path in mine]
        return todo + [Task(file, True) for file in names if not drawing_path(self.draw, file).is_file()]

    def finish(self) -> None:
        """Takes in what the other processes wrote, and makes the table."""
        self.records.absorb(parts_of(self.path), {record['file'] for record in self.records})
        self.records.sync()
        if self.out.suffix in TABLES:
            write_table(self.out, self.records)


def run(args: argparse.Namespace, command: str) -> int:
    """Carries a command out; returns the exit status.

    Raises:
        ConfigError, ValueError: If an option, a checkpoint or an earlier run's file does not fit.
        OSError: If something cannot be written.
    """
    try:
        model = mlsgm_pyg.load(args.checkpoint)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no checkpoint '{args.checkpoint}'") from error
    if args.labels is not None:
        model = model.with_labels(args.labels, semantics=args.semantics, unseen_maps=args.unseen_maps)
    view = view_of(model, args.view, args.image_size)
    choice = Choice(args.top_k, args.threshold, args.upright, maps=args.draw is not None).check()
    job, console = None, Console(stderr=True)
    with _pixels(args.max_pixels or MAX_PIXELS):
        try:
            if _is_first():
                job = Job(args, _about(args, model, view, choice, command))
                _greet(job, console)
            started = time.perf_counter()
            done, broken = _predict(args, model, view, choice, job, console)
            if job is None:
                return 0
            job.finish()
            _show(job, done, broken, time.perf_counter() - started)
        finally:
            if job is not None:
                job.records.close()
    return 0


def _predict(
    args: argparse.Namespace, model: torch.nn.Module, view: View, choice: Choice, job: Job | None, console: Console
) -> tuple[int, int]:
    """Puts all that is to do through Lightning's loop; returns how many this process did, and how many were broken."""
    if job is not None and not job.tasks and args.devices == '1' and args.num_nodes == 1:
        return 0, 0
    draw = small = None
    if args.draw is not None:
        from experiments import draw as drawing

        small = drawing.shrink
        about = {'view': view.name, 'image_size': view.sizes[0], 'is_upright': args.upright}
        draw = partial(drawing.save_in, args.draw, **about)
    make = partial(Pictures, view=view, max_pixels=args.max_pixels or MAX_PIXELS, small=small)
    data = PictureModule(job.tasks if job else [], make, args.batch_size, args.workers)
    writer = Writer(args.out.with_suffix('.jsonl'), job and job.records, draw, console)
    for name in ('lightning.pytorch', 'lightning.fabric', 'lightning'):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for message in QUIET:
            warnings.filterwarnings('ignore', message)
        trainer = _trainer(args, writer)
        trainer.predict(Predictor(model, view, choice), data, return_predictions=False)
    if torch.distributed.is_initialized():
        torch.distributed.barrier()  # All have closed their files.
    return writer.done, writer.broken


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
    except (MisconfigurationException, ValueError) as error:
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


def _greet(job: Job, console: Console) -> None:
    if job.repaired:
        console.print(f'{job.path}: a last line that was not whole ({job.repaired} bytes) is cut off')
    before = len(job.files) - sum(not task.is_recorded for task in job.tasks)
    if before:
        console.print(f'{before} of {len(job.files)} pictures are done already', highlight=False)


def _show(job: Job, done: int, broken: int, seconds: float) -> None:
    """What was done, some of it, and what is broken; all of it is in the files."""
    console = Console(highlight=False, soft_wrap=True)
    mine, unread, found = set(job.files), [], []
    for one in job.records:
        if one['file'] in mine:
            if 'error' in one:
                unread.append(one)
            elif len(mine) <= SHOWN:
                found.append(one)
    for one in found:
        labels = '  '.join(f'{x["label"]} {x["probability"]:.2f}' for x in one['labels'][:5])
        console.print(escape(f'{_readable(one["file"])}: {labels or "no label"}'))
    total = len(job.tasks)
    speed = f', {total} now in {seconds:.1f} s ({total / seconds:.1f} a second)' if total else ''
    console.print(f'{len(job.files)} pictures{speed}: {escape(_readable(str(job.out)))}')
    if unread:
        console.print(f'{len(unread)} could not be read (--retry tries them once more):')
    for one in unread[:SHOWN]:
        console.print(escape(f'  {_readable(one["file"])}: {one["error"]}'))
    if len(unread) > SHOWN:
        console.print(f'  ... and {len(unread) - SHOWN} more: the records with "error" in {escape(str(job.path))}')


def _readable(name: str) -> str:
    """A name that any terminal takes: bytes that are not UTF-8, line ends and control characters are escaped."""
    text = name.encode('utf-8', 'backslashreplace').decode()
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)

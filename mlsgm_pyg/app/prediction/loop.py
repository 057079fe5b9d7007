"""The loop of predict: pictures are read ahead, scored, drawn and recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.signals import Stop, end_readers, ignore
from mlsgm_pyg.app.drawing.boxes import save, shrink
from mlsgm_pyg.app.prediction.records import record
from mlsgm_pyg.datasets import MAX_PIXELS, ImageError, read_picture
from mlsgm_pyg.datasets.views import View
from mlsgm_pyg.engine import stacked
from mlsgm_pyg.names import check_choice
from mlsgm_pyg.tagger import Prediction, Tagger

ACCELERATORS = {
    'auto': ('cuda', 'mps', 'cpu'),
    'gpu': ('cuda', 'mps'),
    'cuda': ('cuda',),
    'mps': ('mps',),
    'cpu': ('cpu',),
}


@dataclass(frozen=True)
class Options:
    """How a model looks at pictures, and what of its answer is wanted."""

    checkpoint: Path
    top_k: int | None = None  # At most so many labels a picture.
    threshold: float | None = None  # Labels of at least this probability, instead of the fitted thresholds.
    min_precision: float | None = None  # Those thresholds that promise this precision.
    labels: list[str] | None = None  # Instead of the trained ones; with these two, see MLSGM.with_labels.
    semantics: str | None = None
    unseen_maps: str = 'label'
    draw: Path | None = None  # Where each picture is drawn.
    upright: bool = False  # Boxes in pixels of the picture turned upright.
    view: str | None = None  # Instead of the view that the model was tested on.
    image_size: int | None = None
    max_pixels: int | None = None  # Larger pictures are refused, unread; None: MAX_PIXELS.
    batch_size: int = 32
    workers: int = 2  # Processes that read pictures.
    precision: str = '32-true'


class Task(NamedTuple):
    """A picture that is still to be done."""

    file: str
    is_recorded: bool = False  # Only its drawing is missing.
    data: bytes | None = None  # What the file holds, where it is inside of another one,
    error: str | None = None  # or why it was not read.


class Seen(NamedTuple):
    """A picture as a model sees it, or why it cannot be read."""

    task: Task
    views: Sequence[Any] = ()
    size: tuple[int, int] = (0, 0)
    orientation: int = 1
    small: Image.Image | None = None  # In the size in which it is drawn.
    error: str | None = None
    is_short: bool = False  # Of memory, which is no fault of the picture's.


class Pictures:
    """Reads the picture of a task."""

    def __init__(self, view: View, max_pixels: int, is_drawn: bool):
        self.view, self.max_pixels = view, max_pixels
        self.shrink = shrink if is_drawn else None

    def __getitem__(self, task: Task) -> Seen:
        task, data = task._replace(data=None), task.data
        if task.error is not None:
            return Seen(task, error=task.error)
        try:
            image, size, orientation = read_picture(task.file if data is None else data, max_pixels=self.max_pixels)
            return Seen(task, self.view(image), size, orientation, self.shrink and self.shrink(image))
        except ImageError as error:
            return Seen(task, error=error.reason)
        except MemoryError:
            return Seen(task, error='', is_short=True)


def collate(items: Sequence[Seen]) -> tuple[list[Seen], list[Any]]:
    """What is known of every picture, and what could be read: one batch a size of the view."""
    images = [stacked(same) for same in zip(*(item.views for item in items if item.error is None))]
    return [item._replace(views=()) for item in items], images  # Once is enough on the way between processes.


def device_of(accelerator: str) -> str:
    """The device that is meant; of several of a kind the one that belongs to this process, by torchrun's LOCAL_RANK or
    Slurm's SLURM_LOCALID, else the first."""
    check_choice('accelerator', accelerator, ACCELERATORS)
    there = {'cpu': 1}
    if accelerator != 'cpu':
        import torch

        there |= {'cuda': torch.cuda.device_count(), 'mps': int(torch.backends.mps.is_available())}
    kind = next((kind for kind in ACCELERATORS[accelerator] if there[kind]), None)
    if kind is None:
        raise ConfigError(f'there is no {accelerator} on this machine: take another --accelerator')
    return f'cuda:{local_rank() % there[kind]}' if kind == 'cuda' else kind


def local_rank() -> int:
    """The number of this process among those of its machine."""
    return number_of('LOCAL_RANK', 'SLURM_LOCALID') or 0


def number_of(*names: str) -> int | None:
    """What the first of some environment variables says that is there; None where there is none."""
    for name in names:
        if text := os.environ.get(name):
            if not text.isdecimal():
                raise ConfigError(f"the environment's {name} must be a number (got '{text}')")
            return int(text)
    return None


def run(
    tagger: Tagger,
    options: Options,
    tasks: Iterable[Task],
    append: Callable[[list[dict[str, Any]]], None],
    stop: Stop,
    tell: Callable[[list[Prediction]], None] = lambda found: None,
) -> None:
    """Does some tasks with a tagger that is ready, and tells of every batch, once its records are appended; a signal
    ends it after the batch in which it comes.

    Drawings are written before their batch's records: a record says that all of a picture is done.

    Raises:
        ConfigError: If there is not enough memory for a picture.
        Stopped: Before a batch, if a signal has come.
    """
    draw = _drawing(options, tagger.view)
    pictures = Pictures(tagger.view, options.max_pixels or MAX_PIXELS, draw is not None)
    with ExitStack() as stack:
        stack.callback(end_readers)
        for items, images in _read_ahead(pictures, tasks, options, tagger.options['device']):
            stop.check()
            if short := next((item.task.file for item in items if item.is_short), None):
                told = f"there is not enough memory to read '{short}': take fewer --workers, or a smaller --max-pixels"
                raise ConfigError(f'{told}; what is done is kept, the same command goes on')
            good = [item for item in items if item.error is None]
            answers = iter(tagger.find(images, good) if good else ())
            found = [next(answers) if item.error is None else Prediction(error=item.error) for item in items]
            pairs = list(zip(items, found))
            for item, one in pairs:
                if draw is not None and one.error is None:
                    draw(item.task.file, item.small, one)
            append([record(item.task.file, one) for item, one in pairs if not item.task.is_recorded])
            tell(found)


def _read_ahead(
    pictures: Pictures, tasks: Iterable[Task], options: Options, device: str
) -> Iterator[tuple[list[Seen], list[Any]]]:
    """Batches, read while the one before is scored: by torch's processes, or for an exported file by threads."""
    batches = _batches(tasks, options.batch_size)
    if type(pictures.view) is not View:
        from torch.utils.data import DataLoader

        yield from DataLoader(
            pictures,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=options.workers,
            pin_memory=device.startswith('cuda'),
            worker_init_fn=partial(_start_worker, Image.MAX_IMAGE_PIXELS),
        )
        return
    with ThreadPoolExecutor(max(options.workers, 1)) as pool:
        waiting = []
        for batch in chain(batches, [[]]):  # Nothing is left for the last.
            coming = [pool.submit(pictures.__getitem__, task) for task in batch]
            if waiting:
                yield collate([one.result() for one in waiting])
            waiting = coming


def _batches(tasks: Iterable[Task], size: int) -> Iterator[list[Task]]:
    tasks = iter(tasks)
    while batch := list(islice(tasks, size)):
        yield batch


@contextmanager
def in_words(out: Path) -> Iterator[None]:
    """Says in a ConfigError what is behind an error that is not this program's mistake."""
    try:
        yield
    except OSError as error:  # A full disk.
        if error.strerror is None:
            raise
        told = f"cannot go on with '{error.filename or out}': {error.strerror}"
        raise ConfigError(f'{told}; what is done is kept, the same command goes on from there') from error
    except RuntimeError as error:
        if type(error).__name__ == 'OutOfMemoryError' or "can't allocate memory" in str(error):
            told = 'the device has not enough memory: take a smaller --batch-size'
        elif 'DataLoader worker' in str(error):
            told = f'a process that reads pictures was ended from outside ({error})'
        else:
            raise
        raise ConfigError(f'{told}; what is done is kept') from error


@contextmanager
def pixels(most: int | None) -> Iterator[None]:
    """Pillow's own limit is ours meanwhile: it also guards what a file holds inside."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = most or MAX_PIXELS
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _drawing(options: Options, view: View) -> Callable[[str, Image.Image, Prediction], None] | None:
    if options.draw is None:
        return None
    return partial(save, options.draw, view=view.name, image_size=view.sizes[0], is_upright=options.upright)


def _start_worker(most: int | None, worker: int) -> None:
    Image.MAX_IMAGE_PIXELS = most  # Worker processes may start afresh.
    ignore()

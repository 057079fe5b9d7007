"""The loop of predict: pictures are read ahead, scored, drawn and recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.signals import Stop, end_readers, ignore
from mlsgm_pyg.app.drawing.boxes import save, shrink
from mlsgm_pyg.app.prediction.records import Records, record
from mlsgm_pyg.datasets import MAX_PIXELS, ImageError, read_picture
from mlsgm_pyg.datasets.views import View
from mlsgm_pyg.engine import stacked
from mlsgm_pyg.tagger import Prediction, Tagger


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


class Seen(NamedTuple):
    """A picture as a model sees it, or why it cannot be read."""

    task: Task
    views: Sequence[Any] = ()
    size: tuple[int, int] = (0, 0)
    orientation: int = 1
    small: Image.Image | None = None  # In the size in which it is drawn.
    error: str | None = None


class Pictures:
    """Reads the pictures of some tasks."""

    def __init__(self, tasks: Sequence[Task], view: View, max_pixels: int, is_drawn: bool):
        self.tasks, self.view, self.max_pixels = tasks, view, max_pixels
        self.shrink = shrink if is_drawn else None

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, index: int) -> Seen:
        task = self.tasks[index]
        try:
            image, size, orientation = read_picture(task.file, max_pixels=self.max_pixels)
            return Seen(task, self.view(image), size, orientation, self.shrink and self.shrink(image))
        except ImageError as error:
            return Seen(task, error=error.reason)
        except MemoryError:
            return Seen(task, error='there is not enough memory for this picture')


def collate(items: Sequence[Seen]) -> tuple[list[Seen], list[Any]]:
    """What is known of every picture, and what could be read: one batch a size of the view."""
    images = [stacked(same) for same in zip(*(item.views for item in items if item.error is None))]
    return [item._replace(views=()) for item in items], images  # Once is enough on the way between processes.


def open_tagger(options: Options, device: str) -> Tagger:
    """A model on a device, which answers for batches of :class:`Pictures`."""
    names = ('top_k', 'threshold', 'min_precision', 'labels', 'semantics', 'unseen_maps', 'upright', 'view')
    names += ('image_size', 'precision')
    how = {name: getattr(options, name) for name in names}
    return Tagger(options.checkpoint, maps=options.draw is not None, device=device, **how)


def run(
    tagger: Tagger,
    options: Options,
    tasks: Sequence[Task],
    records: Records,
    stop: Stop,
    tell: Callable[[list[Prediction]], None] = lambda found: None,
) -> None:
    """Does some tasks and tells of every batch, once it is recorded; a signal ends it after the batch in which it
    comes.

    Drawings are written before their batch's records: a record says that all of a picture is done.
    """
    draw, done = _drawing(options, tagger.view), 0
    pictures = Pictures(tasks, tagger.view, options.max_pixels or MAX_PIXELS, draw is not None)
    stop.check()
    with ExitStack() as stack:
        stack.callback(end_readers)
        stack.enter_context(tagger.ready(len(tasks)))
        for items, images in _read_ahead(pictures, options, tagger.options['device']):
            good = [item for item in items if item.error is None]
            answers = iter(tagger.find(images, good) if good else ())
            found = [next(answers) if item.error is None else Prediction(error=item.error) for item in items]
            pairs = list(zip(items, found))
            for item, one in pairs:
                if draw is not None and one.error is None:
                    draw(item.task.file, item.small, one)
            records.append([record(item.task.file, one) for item, one in pairs if not item.task.is_recorded])
            tell(found)
            done += len(items)
            if done < len(tasks):
                stop.check()
    records.sync()


def _read_ahead(pictures: Pictures, options: Options, device: str) -> Iterator[tuple[list[Seen], list[Any]]]:
    """Batches, read while the one before is scored: by torch's processes, or for an exported file by threads."""
    if type(pictures.view) is not View:
        from torch.utils.data import DataLoader

        yield from DataLoader(
            pictures,
            batch_size=options.batch_size,
            collate_fn=collate,
            num_workers=min(options.workers, len(pictures)),
            pin_memory=device.startswith('cuda'),
            worker_init_fn=partial(_start_worker, Image.MAX_IMAGE_PIXELS),
        )
        return
    with ThreadPoolExecutor(max(options.workers, 1)) as pool:
        waiting = []
        for start in range(0, len(pictures) + options.batch_size, options.batch_size):  # Nothing is left for the last.
            rows = range(start, min(start + options.batch_size, len(pictures)))
            coming = [pool.submit(pictures.__getitem__, row) for row in rows]
            if waiting:
                yield collate([one.result() for one in waiting])
            waiting = coming


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

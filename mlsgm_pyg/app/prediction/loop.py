"""The loop of predict: pictures are read ahead, scored, drawn and recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import mlsgm_pyg
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.signals import Stop, end_readers, ignore
from mlsgm_pyg.app.drawing.boxes import save_in, shrink
from mlsgm_pyg.app.prediction.records import Records, record
from mlsgm_pyg.datasets import MAX_PIXELS, ImageError, read_picture
from mlsgm_pyg.names import check_choice
from mlsgm_pyg.tagger import Choice, Prediction, View, evaluation, predict_batch, view_of

# Names of precisions, which are Lightning's: the model's own numbers are such, or some of its steps compute so.
TRUE = {'32-true': None, '64-true': torch.float64, '16-true': torch.float16, 'bf16-true': torch.bfloat16}
MIXED = {'16-mixed': torch.float16, 'bf16-mixed': torch.bfloat16}
SHORT = {'32': '32-true', '64': '64-true', '16': '16-mixed', 'bf16': 'bf16-mixed'}


@dataclass(frozen=True)
class Options:
    """How a checkpoint looks at pictures, and what of its answer is wanted."""

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
    views: Sequence[Tensor] = ()
    size: tuple[int, int] = (0, 0)
    orientation: int = 1
    small: Image.Image | None = None  # In the size in which it is drawn.
    error: str | None = None


class Pictures(Dataset):
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


def collate(items: Sequence[Seen]) -> tuple[list[Seen], list[Tensor]]:
    """What is known of every picture, and what could be read: one batch a size of the view."""
    images = [torch.stack(same) for same in zip(*(item.views for item in items if item.error is None))]
    return [item._replace(views=()) for item in items], images  # Once is enough on the way between processes.


class Predictor:
    """A trained model on a device that answers for batches of :class:`Pictures`."""

    def __init__(self, options: Options, device: torch.device):
        check_choice('precision', options.precision, [*TRUE, *MIXED, *SHORT])
        model = mlsgm_pyg.load(options.checkpoint)
        if options.labels is not None:
            model = model.with_labels(options.labels, semantics=options.semantics, unseen_maps=options.unseen_maps)
        self.options, self.device, self.model = options, device, model
        self.view = view_of(model, options.view, options.image_size)
        kept, draws = (options.top_k, options.threshold), options.draw is not None
        self.choice = Choice(*kept, options.upright, draws, min_precision=options.min_precision).check(model)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """The scope in which it answers: on its device, in its precision."""
        self.model.to(self.device)
        precision, self.scope = SHORT.get(self.options.precision, self.options.precision), nullcontext
        if precision in MIXED:
            dtype = torch.bfloat16 if self.device.type == 'cpu' else MIXED[precision]
            self.scope = partial(torch.autocast, self.device.type, dtype)
        elif dtype := TRUE[precision]:
            self.model.to(dtype)
            self.scope = partial(_default, dtype)
        with torch.inference_mode(), evaluation(self.model):
            yield

    def __call__(self, items: Sequence[Seen], images: Sequence[Tensor]) -> list[Prediction]:
        found: Iterator[Prediction] = iter(())
        if images:
            images = [image.to(self.device, non_blocking=True) for image in images]
            sizes, turns = zip(*((item.size, item.orientation) for item in items if item.error is None))
            with self.scope():
                found = iter(predict_batch(self.model, images, sizes, turns, self.view, self.choice))
        return [next(found) if item.error is None else Prediction(error=item.error) for item in items]


def run(
    predictor: Predictor,
    tasks: Sequence[Task],
    records: Records,
    stop: Stop,
    tell: Callable[[list[Prediction]], None] = lambda found: None,
) -> None:
    """Does some tasks and tells of every batch, once it is recorded; a signal ends it after the batch in which it
    comes.

    Drawings are written before their batch's records: a record says that all of a picture is done.
    """
    options = predictor.options
    draw, done = _drawing(predictor), 0
    loader = DataLoader(
        Pictures(tasks, predictor.view, options.max_pixels or MAX_PIXELS, draw is not None),
        batch_size=options.batch_size,
        collate_fn=collate,
        num_workers=min(options.workers, len(tasks)),
        pin_memory=predictor.device.type == 'cuda',
        worker_init_fn=partial(_start_worker, Image.MAX_IMAGE_PIXELS),
    )
    stop.check()
    with ExitStack() as stack:
        stack.callback(end_readers)
        stack.enter_context(predictor.ready())
        for items, images in loader:
            answers = predictor(items, images)
            pairs = list(zip(items, answers))
            for item, found in pairs:
                if draw is not None and found.error is None:
                    draw(item.task.file, item.small, found)
            records.append([record(item.task.file, found) for item, found in pairs if not item.task.is_recorded])
            tell(answers)
            done += len(items)
            if done < len(tasks):
                stop.check()
    records.sync()


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
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
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


def _drawing(predictor: Predictor) -> Callable[[str, Image.Image, Prediction], None] | None:
    if predictor.options.draw is None:
        return None
    about = {'view': predictor.view.name, 'image_size': predictor.view.sizes[0]}
    return partial(save_in, predictor.options.draw, **about, is_upright=predictor.options.upright)


@contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    """Floats that are made meanwhile are of this kind."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _start_worker(most: int | None, worker: int) -> None:
    Image.MAX_IMAGE_PIXELS = most  # Worker processes may start afresh.
    ignore()

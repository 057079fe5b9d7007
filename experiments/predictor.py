"""Prediction through Lightning: pictures in, batches through the model, records out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import DataLoader, Dataset

from experiments.common.signals import Stop, ignore
from experiments.records import Records, part_path, record
from mlsgm_pyg.datasets import ImageError, read_picture
from mlsgm_pyg.tagger import Choice, Prediction, View, predict_batch


class Task(NamedTuple):
    """A picture that is still to be done."""

    file: str
    is_recorded: bool = False  # Only its drawing is missing.


class Pictures(Dataset):
    """Pictures as a model sees them; what cannot be read says why.

    Args:
        tasks (sequence of Task): What to do.
        view (View): How the model looks at them.
        max_pixels (int): See :func:`mlsgm_pyg.datasets.read_picture`.
        small (callable, optional): Keeps a picture itself, too, as this makes it.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        view: View,
        max_pixels: int,
        small: Callable[[Image.Image], Image.Image] | None = None,
    ):
        self.tasks, self.view, self.max_pixels, self.small = tasks, view, max_pixels, small

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, index: int) -> dict[str, Any]:
        task = self.tasks[index]
        try:
            picture = read_picture(task.file, max_pixels=self.max_pixels)
            small = self.small and self.small(picture.image)
            about = {'size': picture.size, 'orientation': picture.orientation, 'small': small}
            return {'task': task, 'views': self.view(picture.image), **about}
        except ImageError as error:
            return {'task': task, 'error': error.reason}
        except MemoryError:
            return {'task': task, 'error': 'there is not enough memory for this picture'}


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stacks what could be read: one batch a size of the view, beside what is known of every picture."""
    views = [item.pop('views') for item in items if 'error' not in item]  # Once is enough on the way between processes.
    return {'items': list(items), 'images': [torch.stack(same) for same in zip(*views)]}


class PictureModule(lightning.LightningDataModule):
    """The pictures of one run; the processes share them evenly.

    Args:
        tasks (sequence of Task): What to do; the first process's list counts.
        make (callable): Tasks -> :class:`Pictures`.
        batch_size (int): Pictures at a time and process.
        num_workers (int): Processes that read pictures, beside each of them.
        stop (Stop): Who listens for signals, before those processes are born.
    """

    def __init__(
        self, tasks: Sequence[Task], make: Callable[..., Pictures], batch_size: int, num_workers: int, stop: Stop
    ):
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.tasks, self.make, self.stop = list(tasks), make, stop
        self.batch_size, self.num_workers = batch_size, num_workers

    def setup(self, stage: str) -> None:
        self.tasks = self.trainer.strategy.broadcast(self.tasks)

    def predict_dataloader(self) -> DataLoader:
        self.stop.listen()  # Lightning takes SIGTERM, and goes on predicting.
        mine = self.tasks[self.trainer.global_rank :: self.trainer.world_size]
        return DataLoader(
            self.make(mine),
            batch_size=self.batch_size,
            collate_fn=collate,
            num_workers=min(self.num_workers, len(mine)),
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=partial(_start_worker, Image.MAX_IMAGE_PIXELS),
        )

    def transfer_batch_to_device(self, batch: dict[str, Any], device: torch.device, index: int) -> dict[str, Any]:
        return batch | {'images': [image.to(device, non_blocking=True) for image in batch['images']]}


class Predictor(lightning.LightningModule):
    """A trained model in Lightning's predict loop.

    Args:
        model (torch.nn.Module): The model.
        view (View): How it looks at pictures.
        choice (Choice): What of its answer is wanted.
    """

    def __init__(self, model: torch.nn.Module, view: View, choice: Choice):
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.model, self.view, self.choice = model, view, choice
        self.labels = ExitStack()

    def on_predict_epoch_start(self) -> None:
        self.labels.enter_context(self.model.fixed_labels())

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> list[Prediction]:
        items = batch['items']
        good = [item for item in items if 'error' not in item]
        found: list[Prediction] = []
        if good:
            sizes, turns = [item['size'] for item in good], [item['orientation'] for item in good]
            found = predict_batch(self.model, batch['images'], sizes, turns, self.view, self.choice)
        ready = iter(found)
        return [Prediction(error=item['error']) if 'error' in item else next(ready) for item in items]

    def on_predict_epoch_end(self) -> None:
        self.labels.close()


class Writer(Callback):
    """Writes every batch's records, and drawings before them, so that a record says that all of a picture is done.

    Args:
        path (Path): The file of records.
        records (Records, optional): It, open, in the first process; the others write beside it.
        draw (callable, optional): (file, small picture, prediction) -> None.
        console (Console): Where the first process shows the progress.
        stop (Stop): Ends the loop after the batch in which a signal comes.
    """

    def __init__(
        self,
        path: Path,
        records: Records | None,
        draw: Callable[[str, Image.Image, Prediction], None] | None,
        console: Console,
        stop: Stop,
    ):
        self.path, self.records, self.draw, self.console, self.stop = path, records, draw, console, stop
        self.mine = None
        self.done = self.broken = 0
        self.progress: Progress | None = None

    def on_predict_start(self, trainer: lightning.Trainer, module: Predictor) -> None:
        self.stop.check()
        self.mine = self.records or Records(part_path(self.path, trainer.global_rank))
        self.total = len(trainer.datamodule.tasks[trainer.global_rank :: trainer.world_size])
        if trainer.is_global_zero:
            columns = BarColumn(), MofNCompleteColumn(), TextColumn('{task.fields[about]}'), TimeRemainingColumn()
            share = f' (process 1 of {trainer.world_size})' if trainer.world_size > 1 else ''
            self.progress = Progress(
                TextColumn('{task.description}'), *columns, console=self.console, disable=not self.console.is_terminal
            )
            self.bar = self.progress.add_task(f'Predicting{share}', total=self.total, about='')
            self.progress.start()

    def on_predict_batch_end(
        self,
        trainer: lightning.Trainer,
        module: Predictor,
        outputs: list[Prediction],
        batch: dict[str, Any],
        *args: Any,
    ) -> None:
        new = []
        for item, found in zip(batch['items'], outputs):
            task = item['task']
            if self.draw is not None and found.error is None:
                self.draw(task.file, item['small'], found)
            if not task.is_recorded:
                new.append(record(task.file, found))
        self.mine.append(new)
        self.done += len(outputs)
        self.broken += sum(found.error is not None for found in outputs)
        if self.progress is not None:
            speed = self.progress.tasks[0].speed
            about = f'{speed:.1f} a second' if speed else ''
            about += f', {self.broken} broken' if self.broken else ''
            self.progress.update(self.bar, completed=self.done, about=about)
        if self.done < self.total:
            self.stop.check()

    def on_predict_end(self, trainer: lightning.Trainer, module: Predictor) -> None:
        self.close()

    def on_exception(self, trainer: lightning.Trainer, module: Predictor, exception: BaseException) -> None:
        self.close()

    def close(self) -> None:
        if self.progress is not None:
            self.progress.stop()
        if self.mine is not None and self.mine is not self.records:
            self.mine.sync()
            self.mine.close()
        self.mine = self.progress = None


def _start_worker(most: int | None, worker: int) -> None:
    Image.MAX_IMAGE_PIXELS = most  # Worker processes may start afresh.
    ignore()

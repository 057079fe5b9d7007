"""What happens around training: checkpoints and the history at every epoch's end, times, averaged weights."""

from __future__ import annotations

import csv
import math
import os
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.callbacks.weight_averaging import WeightAveraging

from experiments import scores
from experiments.common.errors import ConfigError
from experiments.common.files import replacing
from experiments.data import none_read
from experiments.module import Recognition


class RunFiles(Checkpoint):
    """Writes last.ckpt, best.ckpt, scores.npz and metrics.csv after every epoch's evaluation, each whole or not at all.

    The history and the best value travel in the checkpoint, so a resumed run's files equal an uninterrupted run's.

    Args:
        folder (Path): The run directory.
        select (str): Whose scores scores.npz keeps: those of the 'last' or of the 'best' epoch.
    """

    def __init__(self, folder: Path, select: str):
        self.folder = folder
        self.select = select
        self.history: list[dict[str, float]] = []
        self.best = -1.0
        self.skipped: list[str] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Recognition) -> None:
        values = {key: float(value) for key, value in trainer.callback_metrics.items()}
        watch = next(callback for callback in trainer.callbacks if isinstance(callback, Stopwatch))
        rate = trainer.optimizers[0].param_groups[0]['lr']
        row = {'epoch': trainer.current_epoch, 'step': trainer.global_step, 'lr': rate, 'seconds': watch.epoch_seconds}
        self.history.append(row | values)
        is_best = values.get('mAP', -1.0) > self.best
        self.best = max(self.best, values.get('mAP', -1.0))
        data, unread = trainer.datamodule, _unread(trainer, module)
        if sum(part == 'train' for part, _ in unread) == len(data.train_part.rows):
            raise ConfigError(none_read(data.part_name('train')))
        self.skipped = [f'{part} {data.file(part, i)}' for part, i in unread]
        unfinished = self.folder / '.last.ckpt.tmp'
        trainer.save_checkpoint(unfinished)  # Every process takes part.
        if trainer.is_global_zero:
            if module.last_scores and (is_best or self.select == 'last'):  # It may evaluate every few epochs alone.
                scores.save(self.folder / 'scores.npz', module.last_scores)
            self._write_history()
            if is_best:
                with replacing(self.folder / 'best.ckpt') as spare:
                    spare.unlink(missing_ok=True)  # Of a run that was killed.
                    os.link(unfinished, spare)
            os.replace(unfinished, self.folder / 'last.ckpt')
            if not trainer.progress_bar_callback:
                print(self._line(values, trainer.max_epochs), flush=True)

    def _write_history(self) -> None:
        keys = list(dict.fromkeys(key for row in self.history for key in row))
        with replacing(self.folder / 'metrics.csv') as spare, spare.open('w', newline='') as file:
            writer = csv.DictWriter(file, keys)
            writer.writeheader()
            writer.writerows(self.history)

    def _line(self, values: dict[str, float], epochs: int | None) -> str:
        row = self.history[-1]
        shown = '  '.join(f'{key} {values[key]:.4g}' for key in ('mAP', 'graph_mAP', 'csac_mAP') if key in values)
        return f'epoch {row["epoch"] + 1}/{epochs}  {shown}  {row["seconds"]:.0f} s'

    def state_dict(self) -> dict[str, Any]:
        return {'history': self.history, 'best': self.best, 'skipped': self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history, self.best = list(state['history']), state['best']
        self.skipped = list(state.get('skipped', []))


def _unread(trainer: lightning.Trainer, module: Recognition) -> list[tuple[str, int]]:
    """The images that no process could read, by part and number."""
    mine = module.skipped | trainer.datamodule.skipped()
    if trainer.world_size == 1:
        return sorted(mine)
    everyone: list[set] = [set()] * trainer.world_size
    torch.distributed.all_gather_object(everyone, mine)
    return sorted(set().union(*everyone))


class Stopwatch(Callback):
    """Seconds and steps of training, evaluation apart; a resumed run adds to what went before."""

    KEPT = ('train_seconds', 'total_seconds', 'epoch_seconds', 'steps', 'images')

    def __init__(self):
        self.train_seconds = self.total_seconds = self.epoch_seconds = 0.0
        self.epoch_started = self.batch_started = time.perf_counter()
        self.steps = self.images = 0

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.epoch_started = self.batch_started = time.perf_counter()

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if module.device.type == 'cuda' and trainer.is_last_batch:
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.train_seconds += now - self.batch_started
        self.batch_started = now
        self.steps += 1
        self.images += len(batch['y']) * trainer.world_size

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if not trainer.sanity_checking:  # Before the checkpoint is written, so that it holds this epoch's time.
            self.epoch_seconds = time.perf_counter() - self.epoch_started
            self.total_seconds += self.epoch_seconds

    def state_dict(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in self.KEPT}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for key in self.KEPT:
            setattr(self, key, state[key])


class RecentWeights(WeightAveraging):
    """Evaluates and saves weights averaged over about the last :obj:`epochs` epochs' steps, once one has passed.

    The decay is 1 - 1 / (epochs * steps an epoch), so that it does not depend on the size of the data set; from the
    first epoch's last step on, of which the average is a copy.

    Args:
        epochs (float): Above 0.
    """

    def __init__(self, epochs: float):
        super().__init__(multi_avg_fn=self._average)
        self.epochs, self.first, self.share = epochs, 0, 1.0

    def on_fit_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        steps = max(math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches), 1)
        self.first, self.share = steps - 1, min(1 / (self.epochs * steps), 1.0)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return step_idx is not None and step_idx >= self.first

    def _average(self, average: list[torch.Tensor], current: list[torch.Tensor], number: torch.Tensor) -> None:
        if average[0].is_floating_point():
            torch._foreach_lerp_(average, current, self.share)
        else:  # Counters.
            torch._foreach_copy_(average, current)


def build_callbacks(folder: Path, select: str, ema_epochs: float) -> list[Callback]:
    averaging = [RecentWeights(ema_epochs)] if ema_epochs > 0 else []
    return [*averaging, Stopwatch(), RunFiles(folder, select)]

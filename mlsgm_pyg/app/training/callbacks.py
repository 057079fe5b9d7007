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

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import replacing
from mlsgm_pyg.app.data.parts import none_read
from mlsgm_pyg.app.results import scores
from mlsgm_pyg.app.training.run_log import RunLog


class RunFiles(Checkpoint):
    """Writes last.ckpt, best.ckpt, scores.npz and fit.npz (of the 'last' or of the 'best' epoch) and metrics.csv after
    every epoch's evaluation, each whole or not at all."""

    KEPT = ('history', 'best', 'skipped')

    def __init__(self, folder: Path, select: str, log: RunLog):
        self.folder, self.select, self.run_log = folder, select, log

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        log = self.run_log
        values = {key: float(value) for key, value in trainer.callback_metrics.items()}
        rate = trainer.optimizers[0].param_groups[0]['lr']
        row = {'epoch': trainer.current_epoch, 'step': trainer.global_step, 'lr': rate, 'seconds': log.epoch_seconds}
        log.history.append(row | values)
        is_best = values.get('mAP', -1.0) > log.best
        log.best = max(log.best, values.get('mAP', -1.0))
        data, unread = trainer.datamodule, self._unread(trainer)
        if sum(part == 'train' for part, _ in unread) == len(data.parts.train.rows):
            raise ConfigError(none_read(data.parts.name('train')))
        log.skipped = [f'{part} {data.file(part, i)}' for part, i in unread]
        if not trainer.is_global_zero:
            return trainer.save_checkpoint(self.folder / 'last.ckpt')  # Every process takes part, the first writes.
        with replacing(self.folder / 'last.ckpt') as unfinished:
            trainer.save_checkpoint(unfinished)
            if log.last and (is_best or self.select == 'last'):  # It may evaluate every few epochs alone.
                if log.last.fit is not None:
                    scores.save(self.folder / 'fit.npz', log.last.fit)
                scores.save(self.folder / 'scores.npz', log.last.scores)
                log.kept = log.last
            self._write_history()
            if is_best:
                with replacing(self.folder / 'best.ckpt') as spare:
                    spare.unlink(missing_ok=True)  # Of a run that was killed.
                    os.link(unfinished, spare)
        print(self._line(values, trainer.max_epochs), flush=True)  # Above a bar, where there is one.

    def _write_history(self) -> None:
        keys = list(dict.fromkeys(key for row in self.run_log.history for key in row))
        with replacing(self.folder / 'metrics.csv') as spare, spare.open('w', newline='') as file:
            writer = csv.DictWriter(file, keys)
            writer.writeheader()
            writer.writerows(self.run_log.history)

    def _line(self, values: dict[str, float], epochs: int | None) -> str:
        row = self.run_log.history[-1]
        shown = '  '.join(f'{key} {values[key]:.4g}' for key in ('mAP', 'graph_mAP', 'csac_mAP') if key in values)
        return f'epoch {row["epoch"] + 1}/{epochs}  {shown}  {row["seconds"]:.0f} s'

    def _unread(self, trainer: lightning.Trainer) -> list[tuple[str, int]]:
        """The images that no process could read, by part and number."""
        mine = self.run_log.unread | trainer.datamodule.skipped()
        if trainer.world_size == 1:
            return sorted(mine)
        everyone: list[set] = [set()] * trainer.world_size
        torch.distributed.all_gather_object(everyone, mine)
        return sorted(set().union(*everyone))

    def state_dict(self) -> dict[str, Any]:
        return self.run_log.state(*self.KEPT)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.run_log.load_state(state, *self.KEPT)


class Stopwatch(Callback):
    """Seconds and steps of training, evaluation apart; a resumed run adds to what went before."""

    KEPT = ('train_seconds', 'total_seconds', 'epoch_seconds', 'steps', 'images')

    def __init__(self, log: RunLog):
        self.run_log = log
        self.epoch_started = self.batch_started = time.perf_counter()

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.epoch_started = self.batch_started = time.perf_counter()

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if module.device.type == 'cuda' and trainer.is_last_batch:
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.run_log.train_seconds += now - self.batch_started
        self.batch_started = now
        self.run_log.steps += 1
        self.run_log.images += len(batch['y']) * trainer.world_size

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if not trainer.sanity_checking:  # Before the checkpoint is written, so that it holds this epoch's time.
            self.run_log.epoch_seconds = time.perf_counter() - self.epoch_started
            self.run_log.total_seconds += self.run_log.epoch_seconds

    def state_dict(self) -> dict[str, Any]:
        return self.run_log.state(*self.KEPT)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.run_log.load_state(state, *self.KEPT)


class RecentWeights(WeightAveraging):
    """Evaluates and saves weights averaged over about the last :obj:`epochs` epochs' steps, once one has passed.

    The decay is 1 - 1 / (epochs * steps an epoch), so that it does not depend on the size of the data set; from the
    first epoch's last step on, of which the average is a copy.
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


def build_callbacks(folder: Path, select: str, ema_epochs: float, log: RunLog) -> list[Callback]:
    averaging = [RecentWeights(ema_epochs)] if ema_epochs > 0 else []
    return [*averaging, Stopwatch(log), RunFiles(folder, select, log)]

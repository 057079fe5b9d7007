"""How far training has come, on a terminal: one bar over all epochs, with photographs a second and the time left."""

from __future__ import annotations

from typing import Any

import lightning
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console

from mlsgm_pyg.app.common.progress import Bar


class TrainingBar(ProgressBar):
    """A bar over the photographs of all epochs; what is told meanwhile stands above it."""

    def __init__(self):
        super().__init__()
        self.hidden, self.bar = False, None

    def disable(self) -> None:
        self.hidden = True

    def enable(self) -> None:
        self.hidden = False

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        images = len(trainer.datamodule.train_data)
        epochs = max(trainer.max_epochs or 0, trainer.current_epoch)
        about = f'Training {module.config.model.name}'
        self.bar = Bar(about, epochs * images, Console(stderr=True), self.hidden)
        self.bar.start()
        if trainer.current_epoch:  # It goes on.
            self.bar.update(self.bar.bar, completed=trainer.current_epoch * images)

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        self.bar(len(batch['y']) * trainer.world_size, f'epoch {trainer.current_epoch + 1}')

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.stop()

    def on_exception(self, trainer: lightning.Trainer, module: Any, exception: BaseException) -> None:
        self.stop()

    def stop(self) -> None:
        """Leaves the bar where it is."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

"""Lightning's trainer and its fit, and its ends that are no fault of the code, each told in a line."""

from __future__ import annotations

import re
import signal
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig, OmegaConf

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.text import one_line
from mlsgm_pyg.app.config.options import TRAINER
from mlsgm_pyg.app.data.datamodule import DataModule
from mlsgm_pyg.app.training import others
from mlsgm_pyg.app.training.callbacks import build_callbacks
from mlsgm_pyg.app.training.module import Recognition
from mlsgm_pyg.app.training.progress import TrainingBar
from mlsgm_pyg.app.training.run_log import RunLog
from mlsgm_pyg.datasets import ImageError

QUIET = (
    '.*does not have many workers.*',
    '.*number of training batches.*',
    r'.*Found \d+ module\(s\) in eval mode.*',
    '.*isinstance.treespec.*',
    '.*`training_step` returned `None`.*',  # Of a batch of which nothing could be read.
)


def build_trainer(config: DictConfig, folder: Path, log: RunLog) -> lightning.Trainer:
    """Lightning's trainer of a run; an option of `trainer` that it does not take is named."""
    given = OmegaConf.to_container(config.trainer)
    options = {'num_sanity_val_steps': 0, 'enable_model_summary': False, 'enable_progress_bar': sys.stderr.isatty()}
    options |= given
    bar = [TrainingBar()] if options['enable_progress_bar'] else []
    try:
        return lightning.Trainer(
            **options,
            logger=TensorBoardLogger(folder, name='', version='tensorboard'),
            callbacks=build_callbacks(folder, config.select, config.optimizer.ema_epochs, log) + bar,
            default_root_dir=folder,
            use_distributed_sampler=False,
            enable_checkpointing=True,
        )
    except (TypeError, ValueError, AttributeError, RuntimeError, ImportError, MisconfigurationException) as error:
        key = _refused(error, given)
        what = f"'trainer.{key}' does not take {given[key]!r}" if key else "the options of 'trainer' do not fit"
        raise ConfigError(f'{what}: {one_line(error)}') from error


def _refused(error: Exception, given: dict[str, Any]) -> str | None:
    """The only option that an error names, else the only one of one's own that the function got where it comes from."""
    named = [key for key in given if re.search(rf'\b{key}\b', str(error))]
    if len(named) == 1:
        return named[0]
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [key for key, value in given.items() if value != TRAINER.get(key)]
    got = [[key for key in own if key in values and values[key] is given[key]] for values in reversed(frames)]
    deepest = next(filter(None, got), [])
    return deepest[0] if len(deepest) == 1 else None


def fit(
    trainer: lightning.Trainer, module: Recognition, data: DataModule, last: Path | None, log: RunLog, again: bool
) -> None:
    """Trains, from the checkpoint :obj:`last` on if there is one; :obj:`again`: it was asked to start over.

    Where an image cannot be read, the loss is not finite, or Lightning cannot do what it was asked for, a ConfigError
    says so; a signal ends it with the exit status that shells give to it, after a line on how to go on.
    """
    others.watch()
    threading.excepthook = _of_a_thread
    try:
        with warnings.catch_warnings():
            for message in QUIET:
                warnings.filterwarnings('ignore', message)
            trainer.fit(module, data, ckpt_path=last, weights_only=True)
    except SystemExit as stop:
        number = _signal(stop)
        if number is None:
            raise
        if trainer.is_global_zero:
            print(_stopped(trainer, len(log.history), again), file=sys.stderr, flush=True)
        raise SystemExit(128 + number) from stop
    except ImageError as error:
        raise ConfigError(f'{_own_words(error)}; mend or remove it, or data.on_error=skip') from error
    except MisconfigurationException as error:
        raise ConfigError(one_line(error)) from error
    except OSError as error:  # A full disk, a folder that is gone.
        where = error.filename or trainer.default_root_dir
        raise ConfigError(f"cannot go on with '{where}': {error.strerror or error}; {others.WAY}") from error
    except (ValueError, RuntimeError, LookupError, TypeError, AttributeError) as error:
        others.check(error)
        if 'more than 1 value per channel' in str(error):
            told = 'a batch of one image, whose map has one place, is nothing that BatchNorm learns from'
            raise ConfigError(f'{told}: another data.batch_size, or a larger data.image_size') from error
        if isinstance(error, ConfigError) or not (module.has_diverged() or last and _is_of_checkpoint(error)):
            raise
        if module.has_diverged():
            raise ConfigError(module.not_finite('loss')) from error
        raise ConfigError(f'{last} is damaged: {one_line(error)}; --again starts over') from error


def _is_of_checkpoint(error: Exception) -> bool:
    """Whether a checkpoint could not be restored, or what it restored cannot be gone on with."""
    names = [frame.f_globals['__name__'] for frame, _ in traceback.walk_tb(error.__traceback__)]
    is_restoring = any(name.endswith('.checkpoint_connector') for name in names)
    is_short = isinstance(error, torch.OutOfMemoryError)
    return not is_short and (is_restoring or names[-1].startswith(('lightning.pytorch.loops', 'torch.optim')))


def _of_a_thread(args: threading.ExceptHookArgs) -> None:
    """An error of the system in TensorBoard's thread, which writes, comes to this one, too."""
    if not isinstance(args.exc_value, OSError):
        threading.__excepthook__(args)


def _signal(stop: SystemExit) -> int | None:
    """The signal behind an exit: Lightning ends without a status for SIGTERM, and with 1 for Ctrl+C."""
    if isinstance(stop, SIGTERMException):
        return signal.SIGTERM
    return signal.SIGINT if isinstance(stop.__context__, KeyboardInterrupt) else None


def _stopped(trainer: lightning.Trainer, done: int, again: bool) -> str:
    where = f'after epoch {done}' if done else 'in the first epoch'
    way = 'the same command without --again goes on' if again and done else 'the same command goes on'
    return f'stopped {where} of {trainer.max_epochs} ({trainer.default_root_dir}); {way}'


def _own_words(error: ImageError) -> str:
    """What it says; from a worker process of the loader it comes with that one's traceback around it."""
    *_, own = re.split(r'^(?:\w+\.)+ImageError: ', str(error), flags=re.MULTILINE)
    return one_line(own)

"""Lightning's fit, and its ends that are no fault of the code, each told in a line."""

from __future__ import annotations

import re
import shlex
import signal
import sys
import warnings
from pathlib import Path

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException

from experiments.callbacks import RunFiles
from experiments.common.errors import ConfigError
from experiments.common.text import one_line
from experiments.data import DataModule
from experiments.module import Recognition
from mlsgm_pyg.datasets import ImageError

QUIET = (
    '.*does not have many workers.*',
    '.*number of training batches.*',
    r'.*Found \d+ module\(s\) in eval mode.*',
    '.*isinstance.treespec.*',
    '.*`training_step` returned `None`.*',  # Of a batch of which nothing could be read.
)


def fit(trainer: lightning.Trainer, module: Recognition, data: DataModule, last: Path | None, folder: Path) -> None:
    """Trains, from the checkpoint :obj:`last` on if there is one.

    Raises:
        ConfigError: If an image cannot be read, the loss is not finite, or Lightning cannot do what it was asked for.
        SystemExit: If a signal ended it, with the exit status that shells give to it, after a line on how to go on.
    """
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
            print(_stopped(trainer, folder), file=sys.stderr, flush=True)
        raise SystemExit(128 + number) from stop
    except ImageError as error:
        raise ConfigError(f'{_own_words(error)}; mend or remove it, or data.on_error=skip') from error
    except MisconfigurationException as error:
        raise ConfigError(one_line(error)) from error
    except (ValueError, RuntimeError) as error:
        if isinstance(error, ConfigError) or not module.has_diverged():
            raise
        raise ConfigError(module.not_finite('loss')) from error


def _signal(stop: SystemExit) -> int | None:
    """The signal behind an exit: Lightning ends without a status for SIGTERM, and with 1 for Ctrl+C."""
    if isinstance(stop, SIGTERMException):
        return signal.SIGTERM
    return signal.SIGINT if isinstance(stop.__context__, KeyboardInterrupt) else None


def _stopped(trainer: lightning.Trainer, folder: Path) -> str:
    done = len(next(callback for callback in trainer.callbacks if isinstance(callback, RunFiles)).history)
    where = f'after epoch {done}' if done else 'in the first epoch'
    command = shlex.join(['python', '-m', 'experiments.run', '--resume', str(folder)])
    return f'stopped {where} of {trainer.max_epochs}; go on: {command}'


def _own_words(error: ImageError) -> str:
    """What it says; from a worker process of the loader it comes with that one's traceback around it."""
    *_, own = re.split(r'^(?:\w+\.)+ImageError: ', str(error), flags=re.MULTILINE)
    return one_line(own)

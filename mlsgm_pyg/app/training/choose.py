"""Trains on a folder with one answer at the end: ML-SGM, its linear baseline beside it, and which is better there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig

from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.results import answer
from mlsgm_pyg.app.results.run import FILE, Run
from mlsgm_pyg.app.training.train import run

OWN = ('model.name', 'optimizer.lr')  # Options of a row, which its baseline has of its own.


class Trained(NamedTuple):
    """What a row came to, and beside its baseline, or what it is the baseline of, where that was trained as well."""

    run: Run
    ours: Run | None = None
    baseline: Run | None = None
    answer: dict[str, Any] | None = None


def train(
    folder: str | Path | None = None, row: str = 'photos', options: Sequence[str] = (), again: bool = False
) -> Run:
    """Trains a row on a folder of photographs and evaluates it, its linear baseline beside it where both take the same
    cached maps; a finished run is read, a stopped one goes on.

    Args:
        folder (str or Path, optional): The photographs and their label file; a row such as `digits` needs none.
        row (str): The recipe. (default: :obj:`'photos'`)
        options (sequence of str): `key=value`, see :mod:`mlsgm_pyg.app.config.options`.
        again (bool): Start over whatever is there. (default: :obj:`False`)

    Returns:
        Run: The one that was chosen: its numbers, scores, images and model.

    Raises:
        ConfigError: If an option, a label or an image is wrong.
    """
    found = beside(folder, row, options, again)
    if found.answer is None:
        return found.run
    return found.ours if found.answer['chosen'] == 'ml_sgm' else found.baseline


def beside(
    folder: str | Path | None, row: str, options: Sequence[str] = (), again: bool = False, command: str = ''
) -> Trained | None:
    """Does what :func:`train` does, and keeps the answer; none of the processes but the first."""
    config = configs.for_folder(folder, row, options)
    if not _run(config, again, command):
        return None
    mine = Run.read(configs.run_dir(config))
    other = _other(folder, row, options, config, again, command)
    if other is None:
        return Trained(mine)
    ours, baseline = (mine, other) if config.model.name == 'ml_sgm' else (other, mine)
    return Trained(mine, ours, baseline, answer.settle(ours, baseline))


def _run(config: DictConfig, again: bool, command: str) -> dict[str, Any]:
    """Trains, after a line that says what, or reads."""
    if rank_zero_only.rank == 0 and (again or not (configs.run_dir(config) / FILE).is_file()):
        print(f'Training {answer.NAMES.get(config.model.name, config.model.name)}', flush=True)
    return run(config, again, command)


def _other(
    folder: str | Path | None, row: str, options: Sequence[str], config: DictConfig, again: bool, command: str
) -> Run | None:
    """The run of the row's baseline, trained where maps make that a matter of seconds; of a baseline, the finished run
    that it is compared with."""
    is_first = config.model.name == 'ml_sgm'
    name = f'{row}_baseline' if is_first else row.removesuffix('_baseline')
    if folder is None or config.model.name not in answer.NAMES or name == row or not configs.is_row(name):
        return None
    other = configs.for_folder(folder, name, [option for option in options if option.partition('=')[0] not in OWN])
    if is_first and config.features.cache and not config.init and config.trainer.devices in (1, '1'):
        _run(other, again, command)
    place = configs.run_dir(other)
    return Run.read(place) if (place / FILE).is_file() else None

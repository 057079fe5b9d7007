"""One run: a config and a seed in, a run directory out."""

from __future__ import annotations

import json
import logging
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

import lightning
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from mlsgm_pyg import checkpoint
from mlsgm_pyg.app.common.errors import ConfigError, Damaged
from mlsgm_pyg.app.common.files import replacing, write_json
from mlsgm_pyg.app.common.text import one_line
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.config.load import run_dir
from mlsgm_pyg.app.config.validate import check_trainer
from mlsgm_pyg.app.data import changes
from mlsgm_pyg.app.data.datamodule import DataModule
from mlsgm_pyg.app.data.parts import Parts, build_parts
from mlsgm_pyg.app.results.run import FILE, Run
from mlsgm_pyg.app.results.schema import TrainedOn, misfit
from mlsgm_pyg.app.training.fit import build_trainer, fit
from mlsgm_pyg.app.training.module import Recognition
from mlsgm_pyg.app.training.result import summarise
from mlsgm_pyg.app.training.run_log import RunLog
from mlsgm_pyg.datasets.sampling import mix
from mlsgm_pyg.saved import check_finite

AMOUNTS = ('max_steps', 'limit_train_batches', 'limit_val_batches')  # Options of the trainer.


def run(config: DictConfig, again: bool = False, command: str = '', folder: Path | None = None) -> dict[str, Any]:
    """Trains and evaluates; a finished run is read, an unfinished one is continued.

    Args:
        config (DictConfig): The whole config, with one seed.
        again (bool): Start over whatever is there. (default: :obj:`False`)
        command (str): The command that result.json names. (default: :obj:`''`)
        folder (Path, optional): The run directory. (default: what :func:`run_dir` says)
    """
    check_trainer(config, get_type_hints(lightning.Trainer.__init__))
    _refuse_nothing(config)
    folder = folder or run_dir(config)
    if not again and (folder / FILE).is_file():
        return _finished(config, folder)
    last = folder / 'last.ckpt'
    resumed = not again and last.is_file()
    then = _trained_on(last) if resumed else None
    _quiet_lightning()
    torch.manual_seed(mix(config.seed, 6))
    log, parts = RunLog(), _read(config, folder, then)
    module = _build(config, parts, log)
    module.card['command'] = command
    data, trainer = DataModule(config, parts, module.model), build_trainer(config, folder, log)
    if rank_zero_only.rank == 0:  # Other processes start, or come here, while this one may still be clearing up.
        _prepare(config, folder, again, resumed)
    fit(trainer, module, data, last if resumed else None, log, again)
    if not trainer.is_global_zero:
        return {}
    if not (folder / 'scores.npz').is_file():
        raise ConfigError(f"no epoch of '{folder}' was evaluated: its options of 'trainer' leave none to")
    out = summarise(config, folder, log, module, parts, command)
    write_json(folder / FILE, out)
    return out


def _refuse_nothing(config: DictConfig) -> None:
    for key in AMOUNTS:
        if config.trainer.get(key) == 0:
            raise ConfigError(f"'trainer.{key}' must not be 0: a run trains and evaluates (got 0)")


def _read(config: DictConfig, folder: Path, then: dict[str, Any] | None) -> Parts:
    """Reads the data set, which must be what a run that goes on was trained on; the config is to put right the rest."""
    try:
        parts = Parts.read(config)
    except (ValueError, OSError, ImportError) as error:
        raise ConfigError(one_line(error)) from error
    if then is not None:
        changes.check(folder, then, parts.trained_on, config.data)
    parts.check()
    return parts


def _build(config: DictConfig, parts: Parts, log: RunLog | None = None) -> Recognition:
    """Builds the model; what is missing or wrong there is the config's to put right."""
    try:
        return Recognition(config, parts.class_names, parts.train.y, log)
    except (ValueError, FileNotFoundError, ImportError) as error:
        raise ConfigError(str(error)) from error
    except OSError as error:
        told = f'cannot download the weights of {config.model.backbone}: {one_line(error)}'
        raise ConfigError(f'{told}; model.weights=PATH takes a file, and none trains without') from error


def _trained_on(last: Path) -> dict[str, Any]:
    """What the run of a checkpoint was trained on; of an older one, its class names alone."""
    try:
        state = checkpoint.read(last)
        if 'optimizer_states' not in state:
            raise ValueError(f'{last} holds a model alone: training cannot go on from it')
        _check_optimizers(state['optimizer_states'], last)
    except ValueError as error:
        best, way = last.with_name('best.ckpt'), '--again starts over'
        if best.is_file() and not best.samefile(last):
            way = f"copy '{best}' over it to go on from the best epoch, or {way}"
        raise ConfigError(f'{error}; {way}') from error
    if state[checkpoint.KEY]['format_version'] != checkpoint.FORMAT_VERSION:
        told = f'{last} is of an earlier version: it predicts, but training cannot go on from it; --again starts over'
        raise ConfigError(told)
    told = state.get(DataModule.__qualname__, {}).get('trained_on')
    if not told:
        return {'class_names': state[checkpoint.KEY]['class_names']}
    if wrong := misfit(told, TrainedOn):
        raise ConfigError(f'{last} is damaged: of what it was trained on, {wrong}; --again starts over')
    return told


def _check_optimizers(states: Any, last: Path) -> None:
    try:
        check_finite(states, 'optimizer_states')
    except ValueError as error:
        raise ValueError(f'{last} is damaged: {error}') from error


def _prepare(config: DictConfig, folder: Path, again: bool, resumed: bool) -> None:
    if again and folder.is_dir():
        shutil.rmtree(folder)
    if resumed:
        print(f'{folder} goes on from its last finished epoch')
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / 'config.yaml') as spare:
        OmegaConf.save(config, spare)


def _finished(config: DictConfig, folder: Path) -> dict[str, Any]:
    try:
        out = Run.read(folder).result
    except Damaged as error:
        way = 'delete it, and the same command makes it once more from last.ckpt' if _has_last(folder) else ''
        raise ConfigError('; '.join(filter(None, (str(error), way, '--again starts over')))) from error
    values, then = configs.flat(config), configs.flat(out['config'])
    differ = [key for key in values if key in then and values[key] != then[key]]
    if differ:  # A default changed since.
        key = differ[0]
        raise ConfigError(
            f"'{folder}' was trained with {key}={then[key]}, now it is {values[key]}: --again trains it once more"
        )
    _compare_data(config, folder, out)
    if rank_zero_only.rank > 0:
        return {}
    print(f'{folder} is finished (--again trains it once more)')
    return out


def _has_last(folder: Path) -> bool:
    return (folder / 'last.ckpt').is_file()


def _compare_data(config: DictConfig, folder: Path, out: dict[str, Any]) -> None:
    """Whether one's own labels are still those of a finished run; those of published data sets do not change."""
    if config.data.name != 'csv':
        return
    then = out['trained_on'] or {'class_names': list(out['metrics']['AP'])}
    try:
        about = Path(config.data.root, config.data.labels).stat()
        sections = (json.dumps(configs.plain(config[key]), sort_keys=True) for key in ('data', 'task'))
        now = _data_now(*sections, (about.st_mtime_ns, about.st_size))
    except (OSError, ValueError) as error:  # Its numbers stay what they are.
        print(f'{folder}: its data cannot be compared with what it was trained on: {error}')
        return
    changes.check(folder, then, now, config.data)


@lru_cache(maxsize=16)
def _data_now(data: str, task: str, changed: tuple[int, int]) -> dict[str, Any]:
    """What :func:`mlsgm_pyg.app.data.changes.describe` says of these options; a sweep's runs share the work."""
    options, task = (OmegaConf.create(json.loads(section)) for section in (data, task))
    return Parts(options, *build_parts(options, task)).trained_on


def _quiet_lightning() -> None:
    for name in ('lightning.pytorch', 'lightning.fabric', 'lightning'):
        logging.getLogger(name).setLevel(logging.WARNING)

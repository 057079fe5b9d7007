"""One run: a config and a seed in, a run directory out."""

from __future__ import annotations

import inspect
import json
import logging
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from experiments import config as configs
from experiments import result
from experiments.callbacks import build_callbacks
from experiments.data import DataModule
from experiments.module import Recognition
from mlsgm_pyg.datasets.sampling import mix

QUIET = (
    '.*does not have many workers.*',
    '.*number of training batches.*',
    r'.*Found \d+ module\(s\) in eval mode.*',
    '.*isinstance.treespec.*',
)


def run_dir(config: DictConfig) -> Path:
    """Where a run is written: the name, the seed, and a hash of every option that its numbers depend on."""
    return Path(config.runs_dir) / config.name / f'seed{config.seed}-{configs.fingerprint(config)}'


def run(config: DictConfig, again: bool = False, command: str = '', folder: Path | None = None) -> dict[str, Any]:
    """Trains and evaluates; a finished run is read, an unfinished one is continued.

    Args:
        config (DictConfig): The whole config, with one seed.
        again (bool): Start over whatever is there. (default: :obj:`False`)
        command (str): The command that result.json names. (default: :obj:`''`)
        folder (Path, optional): The run directory. (default: what :func:`run_dir` says)
    """
    configs.check_trainer(config, inspect.signature(lightning.Trainer.__init__).parameters)
    folder = folder or run_dir(config)
    if not again and (folder / 'result.json').is_file():
        return _finished(config, folder)
    last = folder / 'last.ckpt'
    resumed = not again and last.is_file()
    if rank_zero_only.rank == 0:  # Other processes start, or come here, while this one may still be clearing up.
        _prepare(config, folder, again, resumed)
    _quiet_lightning()
    torch.manual_seed(mix(config.seed, 6))
    data, module = _build(config)
    module.card['command'] = command
    trainer = build_trainer(config, folder)
    with warnings.catch_warnings():
        for message in QUIET:
            warnings.filterwarnings('ignore', message)
        trainer.fit(module, data, ckpt_path=last if resumed else None, weights_only=True)
    if not trainer.is_global_zero:
        return {}
    out = result.summarise(config, folder, trainer, module, data, command)
    result.write(folder / 'result.json', out)
    return out


def _build(config: DictConfig) -> tuple[DataModule, Recognition]:
    """Reads the data set and builds the model; what is missing or wrong there is the config's to put right."""
    try:
        data = DataModule(config)
        return data, Recognition(config, data.class_names, data.train_part.y)
    except (ValueError, FileNotFoundError, ImportError) as error:
        raise configs.ConfigError(str(error)) from error


def _prepare(config: DictConfig, folder: Path, again: bool, resumed: bool) -> None:
    if again and folder.is_dir():
        shutil.rmtree(folder)
    if resumed:
        print(f'{folder} goes on from its last finished epoch')
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / 'config.yaml')


def _finished(config: DictConfig, folder: Path) -> dict[str, Any]:
    out = json.loads((folder / 'result.json').read_text())
    values, then = configs.flat(config), configs.flat(out['config'])
    differ = [key for key in values if key in then and values[key] != then[key]]
    if differ:  # A default changed since.
        key = differ[0]
        raise configs.ConfigError(
            f"'{folder}' was trained with {key}={then[key]}, now it is {values[key]}: --again trains it once more"
        )
    if rank_zero_only.rank > 0:
        return {}
    print(f'{folder} is finished (--again trains it once more)')
    return out


def build_trainer(config: DictConfig, folder: Path) -> lightning.Trainer:
    options = {'num_sanity_val_steps': 0, 'enable_model_summary': False, 'enable_progress_bar': sys.stderr.isatty()}
    return lightning.Trainer(
        **options | OmegaConf.to_container(config.trainer),
        logger=TensorBoardLogger(folder, name='', version='tensorboard'),
        callbacks=build_callbacks(folder, config.select, config.ema),
        default_root_dir=folder,
        use_distributed_sampler=False,
        enable_checkpointing=True,
    )


def _quiet_lightning() -> None:
    for name in ('lightning.pytorch', 'lightning.fabric', 'lightning'):
        logging.getLogger(name).setLevel(logging.WARNING)

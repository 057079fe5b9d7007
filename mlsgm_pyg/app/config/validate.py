"""What the values of a config must be; their names and types are checked as they are read (load.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from omegaconf import DictConfig, OmegaConf

from mlsgm_pyg.app.common.errors import ConfigError, nearest
from mlsgm_pyg.app.config.options import FEW_SHOT, OPTIONS, PARTIAL, Config

WORDS = {int: 'a whole number', float: 'a number', bool: 'true or false', str: 'a name', NoneType: 'null'}
OURS = ('callbacks', 'logger', 'default_root_dir', 'use_distributed_sampler', 'reload_dataloaders_every_n_epochs')


def check(config: DictConfig) -> None:
    """Refuses values of a config that cannot be run, alone and together; says what was wanted and what came."""
    _check_numbers(config)
    _check_trainer(config.trainer)
    if config.features.cache and not config.model.freeze_backbone:
        raise ConfigError("'features.cache' keeps a fixed backbone's maps: it needs model.freeze_backbone=true")
    sizes = config.data.test_sizes
    if len(set(sizes)) < len(sizes):
        raise ConfigError(f"'data.test_sizes' are different sides in pixels (got {list(sizes)})")
    if sizes and (config.features.cache or config.graphs.store or config.task.name == 'few_shot'):
        raise ConfigError("'data.test_sizes' tests on images: not with features.cache, graphs.store or task=few_shot")
    if config.features.crop and not config.features.cache:
        raise ConfigError("'features.crop' takes windows of cached maps: it needs features.cache=true")
    if not 0 <= config.features.crop <= 1:
        raise ConfigError(f"'features.crop' is a fraction of the maps' sides in [0, 1] (got {config.features.crop})")
    if config.optimizer.warmup >= 1:
        raise ConfigError(f"'optimizer.warmup' is a fraction of all steps in [0, 1) (got {config.optimizer.warmup})")
    for key in ('dev', 'tune'):
        if not 0 <= config.data[key] < 1:
            told = f"'data.{key}' is a fraction of the training images in [0, 1) (got {config.data[key]})"
            raise ConfigError(told)
    if config.model.parts and config.model.name != 'ablation':
        raise ConfigError(f"'model.parts' needs model.name=ablation (got model.name={config.model.name})")
    _check_task(config.task)
    if config.graphs.store and not config.graphs.csac:
        raise ConfigError("'graphs.store' needs the checkpoint of a trained model: graphs.csac=PATH")
    if config.task.name == 'few_shot' and config.model.evidence:
        for key, wanted in (('csac_input', 'whole'), ('score_pooling', 'gap')):
            if config.model[key] != wanted:
                raise ConfigError(
                    f"few-shot with model.evidence learns CSAC's rows as a linear layer: it needs model.{key}={wanted} "
                    f'(got {config.model[key]})'
                )
    if config.task.discriminant and not config.model.evidence:
        raise ConfigError("'task.discriminant' is a part of what the graph hears: it needs model.evidence=true")
    if config.graphs.store and config.data.mixup:
        raise ConfigError("'data.mixup' mixes images or maps: not with graphs.store")
    if config.model.score == 'blend' and not config.data.tune:
        raise ConfigError("'model.score=blend' is fitted on images that do not train: data.tune=0.1 takes a tenth")
    if config.graphs.store and config.model.name != 'ml_sgm':
        raise ConfigError(f"'graphs.store' stores the graphs of ml_sgm: it is not for model.name={config.model.name}")


def check_trainer(config: DictConfig, known: Mapping[str, Any]) -> None:
    """Checks the open mapping `trainer` against the options that `lightning.Trainer` takes, by their types."""
    for key, value in config.trainer.items():
        if key in OURS:
            raise ConfigError(f"'trainer.{key}' is set by the experiment itself")
        if key not in known:
            there = set(known) - set(OURS) - {'self'}
            raise ConfigError(f"unknown option 'trainer.{key}': {nearest(key, there, 'trainer.')}")
        kinds = get_args(known[key]) or (known[key],)
        is_number, is_plain = type(value) in (int, float, bool), {*kinds} <= WORDS.keys()
        is_other = type(value) not in kinds and (is_plain or is_number and Literal not in map(get_origin, kinds))
        if is_other or is_number and abs(value) >= 2**63:
            names = ' or '.join(WORDS[kind] for kind in kinds if kind in WORDS) or 'a name'
            raise ConfigError(f"'trainer.{key}' must be {names} (got {value!r})")


def _check_numbers(config: DictConfig) -> None:
    for key, option in OPTIONS.items():
        value = OmegaConf.select(config, key)
        got = list(value) if option.is_list else value
        for number in got if option.is_list else [got]:
            if not isinstance(number, int | float):
                continue
            if option.least is not None and not number >= option.least:  # NaN is not, either.
                raise ConfigError(f"'{key}' must be at least {option.least} (got {got})")
            if not abs(number) <= option.most:
                raise ConfigError(f"'{key}' must be a number, at most {option.most:g} (got {got})")
    for key in ('encoder_channels', 'block_channels'):
        if not config.model[key]:
            raise ConfigError(f"'model.{key}' takes at least one size (got none)")


def _check_trainer(trainer: DictConfig) -> None:
    for key in ('max_epochs', 'accumulate_grad_batches', 'check_val_every_n_epoch'):
        number = trainer.get(key)
        if number is not None and (not isinstance(number, int) or number < 1):
            raise ConfigError(f"'trainer.{key}' must be a whole number, at least 1 (got {number})")
    if trainer.get('val_check_interval') == 0:
        raise ConfigError("'trainer.val_check_interval' must be more than 0")
    for key, value in trainer.items():
        if OmegaConf.is_dict(value):
            raise ConfigError(f"'trainer.{key}' is one value (got {value})")
    if trainer.get('fast_dev_run'):
        raise ConfigError(
            "'trainer.fast_dev_run' would leave a finished run of a batch: to try a row, data.limit=64 "
            'trainer.max_epochs=1'
        )


def _check_task(task: DictConfig) -> None:
    if not 0 < task.known <= 1:
        raise ConfigError(f"'task.known' is the part of the labels that is known, in (0, 1] (got {task.known})")
    default = Config().task
    for name, keys in (('partial', PARTIAL), ('few_shot', FEW_SHOT)):
        given = [key for key in keys if task[key] != getattr(default, key)]
        if given and task.name != name:
            raise ConfigError(f"'task.{given[0]}' needs task={name} (got task={task.name})")
    if task.name != 'few_shot':
        return
    if bool(task.novel) == bool(task.num_novel):
        raise ConfigError('task=few_shot needs the novel classes: task.novel=a,b,c or, to draw some, task.num_novel=N')
    for key in ('shots', 'methods', 'unseen_maps'):
        if len(set(task[key])) < max(len(task[key]), 1):
            raise ConfigError(f"'task.{key}' takes at least one value, each once (got {list(task[key])})")
    for key in ('discriminant', 'linear_crop', 'scratch_crop', 'linear_dropout', 'scratch_dropout'):
        if task[key] is not None and not 0 <= task[key] <= 1:
            raise ConfigError(f"'task.{key}' must be in [0, 1] (got {task[key]})")
    for name in task.unseen:
        if task.novel and name not in task.novel:
            raise ConfigError(f"'task.unseen' are some of the novel classes, {', '.join(task.novel)} (got {name!r})")

"""Configs: the options of `options.py`, YAML rows and `key=value` on top of them, and the errors of a wrong one.

A row (`configs/NAME.yaml`) holds what differs from the defaults, or from another row that it names as `base:`.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError
from yaml import YAMLError

from experiments.checks import check
from experiments.common.errors import ConfigError, nearest
from experiments.options import LISTS, STAGE_TWO, TASK_LOSS, ZERO_SHOT, Config

CONFIGS = Path(__file__).parent / 'configs'
# What a run's numbers do not depend on: two configs that differ only here share one run directory.
NEUTRAL = ('name', 'row', 'seeds', 'runs_dir', 'data.num_workers', 'features.dir', 'trainer.enable_progress_bar')
NEUTRAL += tuple(f'task.{key}' for key in (*STAGE_TWO, *ZERO_SHOT))  # A run is stage one.
OURS = ('callbacks', 'logger', 'default_root_dir', 'use_distributed_sampler', 'reload_dataloaders_every_n_epochs')


def rows() -> dict[str, str]:
    """Name of every row -> its first comment line."""
    out = {}
    for path in sorted(CONFIGS.glob('*.yaml')):
        first = path.read_text().partition('\n')[0]
        out[path.stem] = first.lstrip('# ').partition('   ')[0] if first.startswith('#') else ''
    return out


def load(row: str, overrides: list[str] | tuple[str, ...] = ()) -> DictConfig:
    """The resolved config of a row: defaults, its chain of bases, the row, then `key=value` overrides.

    Raises:
        ConfigError: If the row or an option is unknown (with the nearest name) or a value does not fit.
    """
    layers = _chain(row)
    layers.append((_overrides(overrides), 'the command line'))
    config = default()
    for layer, source in layers:
        _merge(config, layer, source)
        if 'task' in layer and 'name' in layer.task and 'name' not in layer.get('loss', {}):
            config.loss.name = 'auto'  # A task brings its loss, unless it is named beside it.
    config.row = row
    check(config)
    _resolve(config)
    return config


def from_file(path: Path) -> DictConfig:
    """The config of a run directory."""
    config = default()
    _merge(config, OmegaConf.load(path), str(path))
    check(config)
    return config


def default() -> DictConfig:
    """The config of which every option is at its default."""
    return copy.deepcopy(_structured())  # A quarter of the time that it takes to make one.


@functools.cache
def _structured() -> DictConfig:
    return OmegaConf.structured(Config)


@functools.cache
def defaults() -> dict[str, Any]:
    """`section.option` -> its default, of the options that a run's numbers depend on."""
    return flat(_structured())


def _resolve(config: DictConfig) -> None:
    """What follows from other options: the loss of the task, and the name of the run."""
    if config.loss.name == 'auto':
        config.loss.name = TASK_LOSS[config.task.name]
    task, row = config.task, config.row
    if not config.name and task.name == 'partial' and not row.endswith('_partial'):
        config.name = f'{row}_partial_{task.known:g}' + (f'_mask{task.mask_seed}' if task.mask_seed else '')
    if not config.name and task.name == 'few_shot' and not row.endswith('_few_shot'):
        config.name = f'{row}_few_shot'
    config.name = config.name or row


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as plain Python containers, as checkpoints and results hold it."""
    return OmegaConf.to_container(config, resolve=True)


def fingerprint(config: DictConfig) -> str:
    """Eight hex digits of every option that a run's numbers depend on and that is not at its default, but the seed."""
    usual = defaults() | {'loss.name': TASK_LOSS[Config().task.name]}  # As `_resolve` has it.
    changed = {key: value for key, value in flat(config).items() if key != 'seed' and value != usual.get(key)}
    return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]


def run_dir(config: DictConfig) -> Path:
    """Where a run is written: the name, the seed, and a hash of every option that its numbers depend on."""
    return Path(config.runs_dir) / config.name / f'seed{config.seed}-{fingerprint(config)}'


def flat(config: DictConfig | dict[str, Any]) -> dict[str, Any]:
    """`section.option` -> value, of the options that a run's numbers depend on."""
    values = plain(config) if isinstance(config, DictConfig) else config
    out = {}
    for key, value in values.items():
        out |= {f'{key}.{name}': part for name, part in value.items()} if isinstance(value, dict) else {key: value}
    return {key: value for key, value in out.items() if key not in NEUTRAL}


def check_trainer(config: DictConfig, known: Any) -> None:
    """Checks the open mapping `trainer` against the options that `lightning.Trainer` takes."""
    for key in config.trainer:
        if key in OURS:
            raise ConfigError(f"'trainer.{key}' is set by the experiment itself")
        if key not in known:
            there = set(known) - set(OURS) - {'self'}
            raise ConfigError(f"unknown option 'trainer.{key}': {nearest(key, there, 'trainer.')}")


def bases(row: str) -> list[str]:
    """The rows that a row is built on, the nearest first; none of a row that is not there."""
    if not (CONFIGS / f'{row}.yaml').is_file():
        return []
    return [name.removesuffix('.yaml') for _, name in reversed(_chain(row)[:-1])]


def _chain(row: str) -> list[tuple[DictConfig, str]]:
    layers, seen = [], []
    while row:
        path = CONFIGS / f'{row}.yaml'
        if not path.is_file():
            raise ConfigError(f"unknown experiment '{row}': {nearest(row.removesuffix('.yaml'), rows())}")
        if row in seen:
            raise ConfigError(f"'base' goes in a circle: {' -> '.join([*seen, row])}")
        seen.append(row)
        layer = OmegaConf.load(path)
        layers.insert(0, (layer, path.name))
        row = layer.pop('base', '')
    return layers


def _overrides(items: list[str] | tuple[str, ...]) -> DictConfig:
    for item in items:
        if '=' not in item:
            raise ConfigError(f"an option is written key=value (got '{item}')")
    items = [f'task.name={item[5:]}' if item.startswith('task=') else item for item in items]
    if 'seeds=' in items:
        raise ConfigError("'seeds' in the command line needs at least one seed: seeds=0,1,2 (got none)")
    items = [
        f'{key}=[{value}]' if key in LISTS and '[' not in value else f'{key}={value}'
        for key, value in (item.split('=', 1) for item in items)
    ]
    for item in items:
        _refuse_unreadable(item)
    return OmegaConf.from_dotlist(items)


def _refuse_unreadable(item: str) -> None:
    try:
        OmegaConf.from_dotlist([item])
    except YAMLError as error:
        key, value = item.split('=', 1)
        why = f', {error.problem}' if getattr(error, 'problem', None) else ''
        raise ConfigError(f"'{key}' in the command line is not valid YAML{why}: quote a text (got {value})") from None


def _merge(config: DictConfig, layer: DictConfig, source: str) -> None:
    """Puts a layer on a config, in place: `OmegaConf.merge` would copy all of it first."""
    _refuse_gone(layer, source)
    try:
        OmegaConf.to_container(layer, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:  # A ${reference} to nothing, or ???.
        raise ConfigError(f"'{error.full_key}' in {source}: {str(error).splitlines()[0]}") from None
    _refuse_unknown(layer, Config, '', source)
    for key, value, kind in _leaves(layer, Config):
        if key == 'trainer' and isinstance(value, dict):
            config.trainer.update(value)
            continue
        try:  # Every value alone, so that an error can name the option, its type and what came.
            if isinstance(value, dict):
                raise ValidationError
            OmegaConf.update(config, key, value)
        except OmegaConfBaseException:
            raise ConfigError(f"'{key}' in {source} must be {kind} (got {value!r})") from None


def _refuse_gone(layer: DictConfig, source: str) -> None:
    """An earlier version's option `ema`; where it was off, as in the files of most runs, it is passed over."""
    decay = layer.pop('ema', 0) if isinstance(layer, DictConfig) else 0
    if decay:
        raise ConfigError(f"'ema' in {source} is gone: optimizer.ema_epochs=N averages over N epochs (got ema={decay})")


def _leaves(layer: DictConfig, schema: type, prefix: str = '') -> Iterator[tuple[str, Any, str]]:
    """Every option of a layer, its value and its type; all names are known."""
    fields = {f.name: f for f in dataclasses.fields(schema)}
    for key, value in layer.items():
        section = fields[key].default_factory
        if dataclasses.is_dataclass(section):
            yield from _leaves(value, section, f'{prefix}{key}.')
        else:
            plain_value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            yield f'{prefix}{key}', plain_value, fields[key].type


def _refuse_unknown(layer: Any, schema: type, prefix: str, source: str) -> None:
    fields = {f.name: f for f in dataclasses.fields(schema)}
    if not isinstance(layer, DictConfig):
        raise ConfigError(f"'{prefix.rstrip('.')}' in {source} must hold {', '.join(fields)} (got {layer!r})")
    for key in layer:
        if key not in fields:
            raise ConfigError(
                f"unknown option '{prefix}{key}' in {source}: {_nearest_option(str(key), fields, prefix)}"
            )
        section = fields[key].default_factory
        if dataclasses.is_dataclass(section):
            _refuse_unknown(layer[key], section, f'{prefix}{key}.', source)


def _nearest_option(key: str, fields: Any, prefix: str) -> str:
    if not difflib.get_close_matches(key, fields, n=1, cutoff=0.6):  # It may belong to another section.
        sections = [f for f in dataclasses.fields(Config) if dataclasses.is_dataclass(f.default_factory)]
        there = [f"'{s.name}.{key}'" for s in sections if hasattr(s.default_factory(), key)]
        if there:
            return f'did you mean {" or ".join(there)}?'
    return nearest(key, fields, prefix)

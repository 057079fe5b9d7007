"""Configs: the options of `options.py`, YAML rows and `key=value` on top of them, and the errors of a wrong one.

A row (`rows/NAME.yaml`) holds what differs from the defaults, or from another row that it names as `base:`.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import functools
import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from mlsgm_pyg.app.common.errors import ConfigError, nearest
from mlsgm_pyg.app.common.text import cut, one_line, readable
from mlsgm_pyg.app.config import FOLDERS
from mlsgm_pyg.app.config.options import OPTIONS, SECTIONS, STAGE_TWO, TASK_LOSS, ZERO_SHOT, Config, Option, is_list
from mlsgm_pyg.app.config.validate import check
from mlsgm_pyg.datasets.files import check_regular

# What a run's numbers do not depend on: two configs that differ only here share one run directory.
NEUTRAL = ('name', 'row', 'seeds', 'runs_dir', 'data.num_workers', 'features.dir', 'features.engine')
NEUTRAL += ('trainer.enable_progress_bar',)
NEUTRAL += tuple(f'task.{key}' for key in (*STAGE_TWO, *ZERO_SHOT))  # A run is stage one.
SCALARS = (str, int, float, bool)
MOST = 100  # Characters of a value that are told.
LINE, MOST_BYTES, LEVELS = 200, 1_000_000, 100  # Of a file.


def rows(folders: Sequence[Path] | None = None) -> dict[str, str]:
    """Name of every row -> its first comment line, in some folders or in `mlsgm_pyg.app.config.FOLDERS`."""
    out, folders = {}, folders or FOLDERS
    for name in sorted({path.stem for folder in folders for path in folder.glob('*.yaml') if path.is_file()}):
        with _file_of(name, folders).open(errors='replace') as file:
            first = file.readline(LINE).rstrip('\n')
        out[name] = first.lstrip('# ').partition('   ')[0] if first.startswith('#') else ''
    return out


def is_row(name: str) -> bool:
    """Whether there is such a row; none is read."""
    return _file_of(name, FOLDERS) is not None


def _file_of(name: str, folders: Sequence[Path]) -> Path | None:
    found = [path for path in dict.fromkeys(folder / f'{name}.yaml' for folder in folders) if os.path.isfile(path)]
    if len(found) > 1:
        raise ConfigError(f"there are two rows '{name}': {found[0]} and {found[1]}")
    return found[0] if found else None


def load(row: str, overrides: Sequence[str] = (), folders: Sequence[Path] | None = None) -> DictConfig:
    """The resolved config of a row: defaults, its chain of bases, the row, then `key=value` overrides.

    Raises:
        ConfigError: If the row or an option is unknown (with the nearest name) or a value does not fit.
    """
    layers = _chain(row, folders or FOLDERS)
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


def for_folder(folder: str | Path | None, row: str = 'photos', options: Sequence[str] = ()) -> DictConfig:
    """The config that trains a row on a folder of photographs.

    Its runs lie in `FOLDER/MODEL`, or in `NAME/MODEL` where a name is given. What is not given of the label file's
    name and of its parts is what the folder has: evaluated is `test`, else `val`, else the first other part, else a
    fifth of the only one, held out.

    Args:
        folder (str or Path, optional): The folder; a row such as `digits` needs none.
        row (str): Its name. (default: :obj:`'photos'`)
        options (sequence of str): `key=value`, as of :func:`load`.

    Raises:
        ConfigError: If a word does not fit, or there is no such folder.
    """
    config, given = load(row, options), {option.partition('=')[0] for option in options}
    if config.seeds:
        raise ConfigError(
            f'one run has one seed: seed={config.seeds[0]} (got seeds={",".join(map(str, config.seeds))})'
        )
    if folder is not None:
        if config.data.name != 'csv':
            raise ConfigError(f"the row '{row}' brings its own images (got the folder '{folder}')")
        if 'data.root' in given:
            raise ConfigError(f"the folder is '{folder}': it takes no data.root beside it")
        config.data.root = str(Path(folder))
        if 'name' not in given and config.name.startswith(row):
            own = config.name.replace('_baseline', '', 1).removeprefix('photos')
            config.name = os.path.basename(os.path.realpath(folder)) + own
        config.name = f'{config.name}/{config.model.name}'
    elif config.data.name == 'csv' and 'data.root' not in given:
        raise ConfigError(f"the row '{row}' needs a folder of photographs: mlsgm train FOLDER")
    if config.data.name == 'csv':
        if not Path(config.data.root).is_dir():
            raise ConfigError(f"there is no folder '{config.data.root}'")
        _as_found(config.data, given)
    return config


def _as_found(data: DictConfig, given: set[str]) -> None:
    """What is not given, the folder and its label file say: the file's name, and the parts to train and evaluate on."""
    from mlsgm_pyg.datasets.csv import find_labels, split_names  # torch takes seconds: the words are understood.

    try:
        if 'data.labels' not in given:
            data.labels = find_labels(data.root)
        splits = split_names(Path(data.root) / data.labels)
    except (ValueError, OSError) as error:
        raise ConfigError(one_line(error)) from error
    if not splits:
        return
    if 'data.train_split' not in given and data.train_split not in splits:
        data.train_split = splits[0]
    if not given & {'data.test_split', 'data.dev'}:
        others = [name for name in ('test', 'val', *splits) if name in splits and name not in (data.train_split, 'fit')]
        if others:
            data.test_split = others[0]
        else:
            data.dev = 0.2


def from_file(path: Path) -> DictConfig:
    """The config of a run directory."""
    return restored(_read(path), str(path))


def restored(values: DictConfig, source: str) -> DictConfig:
    """A whole config from what was kept of one; what a later version added is at its default."""
    config = default()
    _merge(config, values, source)
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
    if os.path.isabs(config.name) or '..' in Path(config.name).parts or readable(config.name) != config.name:
        raise ConfigError(f"'name' is a folder in 'runs_dir', such as a/b (got {config.name!r})")


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
    return {key: value for key, value in leaves(values).items() if key not in NEUTRAL}


def leaves(config: dict[str, Any]) -> dict[str, Any]:
    """`section.option` -> value, of all options of a plain config."""
    out = {}
    for key, value in config.items():
        is_section = key in SECTIONS and isinstance(value, dict)
        out |= {f'{key}.{name}': part for name, part in value.items()} if is_section else {key: value}
    return out


def bases(row: str) -> list[str]:
    """The rows that a row is built on, the nearest first; none of a row that is not there."""
    layers = _chain(row, FOLDERS)[:-1] if is_row(row) else []
    return [name.removesuffix('.yaml') for _, name in reversed(layers)]


def _chain(row: str, folders: Sequence[Path]) -> list[tuple[DictConfig, str]]:
    layers, seen = [], []
    while row:
        path = _file_of(row, folders)
        if path is None:
            raise ConfigError(f"unknown experiment '{row}': {nearest(row.removesuffix('.yaml'), rows(folders))}")
        if row in seen:
            raise ConfigError(f"'base' goes in a circle: {' -> '.join([*seen, row])}")
        seen.append(row)
        layer = _read(path)
        layer = OmegaConf.to_container(layer)
        base = layer.pop('base', None)
        if not isinstance(base, str | None):
            raise ConfigError(f"'base' in {path.name} must be the name of a row (got {base!r})")
        layers.insert(0, (OmegaConf.create(layer), path.name))
        row = base
    return layers


def _read(path: Path) -> DictConfig:
    check_regular(path)
    try:
        with path.open('rb') as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f'it holds more than {MOST_BYTES:,} bytes')
        layer = OmegaConf.load(io.StringIO(_flat_enough(content.decode())))
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, OSError, RecursionError) as error:
        raise ConfigError(f"'{path}' cannot be read: {one_line(error)}") from error
    if not isinstance(layer, DictConfig):
        names = ', '.join(f.name for f in dataclasses.fields(Config))
        raise ConfigError(f"'{path}' must hold {names} (got {layer!r})")
    return layer


def _flat_enough(text: str) -> str:
    """The text, unless its YAML has so many levels that reading it could end the process."""
    level = 0
    for event in yaml.parse(text, getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if level > LEVELS:
            raise yaml.MarkedYAMLError(problem=f'more than {LEVELS} levels')
    return text


def _overrides(items: Sequence[str]) -> DictConfig:
    for item in items:
        if '=' not in item:
            raise ConfigError(f"an option is written key=value (got '{item}')")
    items = [f'task.name={item[5:]}' if item.startswith('task=') else item for item in items]
    if 'seeds=' in items:
        raise ConfigError("'seeds' in the command line needs at least one seed: seeds=0,1,2 (got none)")
    layer = OmegaConf.create()
    for key, value in (item.split('=', 1) for item in items):
        if is_list(key) and '[' not in value:
            value = f'[{value}]'
        try:
            layer.merge_with_dotlist([f'{key}={_flat_enough(value)}'])
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            why = getattr(error, 'problem', None)
            why = f', {why}' if why else ''
            told = f"'{key}' in the command line is not valid YAML{why}: quote a text (got {cut(value, MOST)})"
            raise ConfigError(readable(told)) from None
    return layer


def _merge(config: DictConfig, layer: DictConfig, source: str) -> None:
    """Puts a layer on a config, in place: `OmegaConf.merge` would copy all of it first."""
    _refuse_gone(layer, source)
    try:
        values = OmegaConf.to_container(layer, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:  # A ${reference} to nothing, or ???.
        raise ConfigError(f"'{error.full_key}' in {source}: {str(error).splitlines()[0]}") from None
    _refuse_unknown(values, Config, '', source)
    for key, value in leaves(values).items():
        if key.startswith('trainer.'):
            config.trainer[key.removeprefix('trainer.')] = value
            continue
        option = OPTIONS[key]
        parts = value if option.is_list and isinstance(value, list) else [value]
        try:  # Every value alone, so that an error can name the option, its type and what came.
            if any(not _is_one(part, option) for part in parts):
                raise ValidationError
            OmegaConf.update(config, key, value)
        except (OmegaConfBaseException, OverflowError):
            raise ConfigError(_refused(key, value, option, source)) from None


def _is_one(value: Any, option: Option) -> bool:
    """Whether it is one value; a text without a NUL, and no number for yes or no but 1 and 0."""
    if option.kind == 'bool' and isinstance(value, int):
        return value in (0, 1)
    return not isinstance(value, dict | list) and '\0' not in str(value)


def _refused(key: str, value: Any, option: Option, source: str) -> str:
    """What an option wants, where a value does not fit."""
    parts, got = value if isinstance(value, list) else [value], cut(repr(value), MOST)
    fits = isinstance(value, list) == option.is_list and all(isinstance(part, SCALARS) for part in parts)
    if not option.choices or not fits:
        return f"'{key}' in {source} must be {option.kind} (got {got})"
    if not option.is_list:
        return f"'{key}' must be one of {', '.join(option.choices)} (got '{cut(str(value), MOST)}')"
    odd = next(str(part) for part in parts if str(part) not in option.choices)
    return f"'{key}' has no '{odd}': {nearest(odd, option.choices)}"


def _refuse_gone(layer: DictConfig, source: str) -> None:
    """An earlier version's option `ema`; where it was off, as in the files of most runs, it is passed over."""
    decay = layer.pop('ema', 0) if isinstance(layer, DictConfig) else 0
    if decay:
        raise ConfigError(f"'ema' in {source} is gone: optimizer.ema_epochs=N averages over N epochs (got ema={decay})")


def _refuse_unknown(layer: Any, schema: type, prefix: str, source: str) -> None:
    fields = {f.name: f for f in dataclasses.fields(schema)}
    if not isinstance(layer, dict):
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
        there = [f"'{section}.{key}'" for section in SECTIONS if f'{section}.{key}' in OPTIONS]
        if there:
            return f'did you mean {" or ".join(there)}?'
    return nearest(key, fields, prefix)

"""Which runs some words ask for: rows, seeds, and options of several values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.config.load import fingerprint, load
from mlsgm_pyg.app.config.options import STAGE_TWO, is_list

DEFAULT_ROWS = ('digits', 'digits_baseline')


class Planned(NamedTuple):
    """A run of a sweep."""

    values: dict[str, Any]  # Of the swept options.
    config: Any
    command: str  # Makes the same run alone.


def configurations(words: list[str]) -> list[Any]:
    """The config of every run that some rows and options ask for: rows in their order, each with its seeds."""
    names = [word for word in words if '=' not in word] or list(DEFAULT_ROWS)
    overrides = [word for word in words if '=' in word]
    if len(set(names)) < len(names):
        raise ConfigError(f'a row is named twice (got {" ".join(names)})')
    if len(names) > 1 and any(word.startswith('name=') for word in overrides):
        raise ConfigError(f"'name' is for one row: give each its own (got {' '.join(names)})")
    dotted = [name for name in names if '.' in name and not name.endswith('.yaml')]
    if dotted:
        raise ConfigError(f"an option is written key=value (got '{dotted[0]}')")
    out = []
    for name in names:
        config = load(name, overrides)
        out += [OmegaConf.merge(config, {'seed': seed, 'seeds': []}) for seed in seeds_of(config)]
    return out


def seeds_of(config: Any) -> list[int]:
    """The seeds that a config names, each once."""
    if len(set(config.seeds)) < len(config.seeds):
        raise ConfigError(f'each seed counts once (got seeds={",".join(map(str, config.seeds))})')
    return list(config.seeds) or [config.seed]


def alone(config: Any, words: list[str]) -> str:
    """The command of one run among several, from the words that all of them have."""
    options = [word for word in words if '=' in word and not word.startswith(('seeds=', 'seed='))]
    return cli.typed('python -m experiments.run', [config.row, *options, f'seed={config.seed}'])


def with_task(words: list[str], kind: str = 'few-shot') -> list[str]:
    """The row and the options, with task=few_shot where neither says so."""
    names, options = [word for word in words if '=' not in word], [word for word in words if '=' in word]
    if len(names) != 1:
        raise ConfigError(f'a {kind} command is for one row (got {" ".join(names) or "none"})')
    if any(option.startswith('seeds=') for option in options):
        raise ConfigError('stage one is one run: give it one seed=N (got seeds)')
    named = any(option.startswith(('task=', 'task.name=')) for option in options)
    if not named and load(names[0]).task.name != 'few_shot':
        options = ['task=few_shot', *options]
    return [*names, *options]


def check_task(config: Any, kind: str) -> None:
    """Refuses a config that is not of stage one's task and model."""
    if config.task.name != 'few_shot' or config.model.name != 'ml_sgm':
        what = f'task={config.task.name}, model.name={config.model.name}'
        raise ConfigError(f'{kind} needs task=few_shot and model.name=ml_sgm (got {what})')


def grid(words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Splits words into those that stay and option -> its values, of which there must be some, each once."""
    rest, swept = [], {}
    for word in words:
        key, _, value = word.partition('=')
        values = parts(value)
        bracketed = [part.startswith('[') for part in values]
        if len(values) == 1 or (is_list(key) and not any(bracketed)):
            rest.append(word)
            continue
        if key == 'seed':
            raise ConfigError(f'several seeds are written seeds={value} (got {word})')
        if any(bracketed) and not all(bracketed):
            raise ConfigError(f'several lists stand in brackets each, such as [8],[8,8] (got {word})')
        swept[key] = values
        if len(set(swept[key])) < len(swept[key]) or '' in swept[key]:
            raise ConfigError(f"'{key}' takes several values, each once (got {value})")
    if not swept:
        raise ConfigError(
            f'a sweep needs an option with several values, such as task.known=0.1,0.5,0.9 (got {" ".join(words)})'
        )
    return rest, swept


def parts(value: str) -> list[str]:
    """What stands between the commas that are outside of brackets."""
    return [part.strip() for part in re.split(r',(?![^\[]*\])', value)]


def plan(words: list[str], together: bool = False) -> list[Planned]:
    """Every run of a sweep; the swept options change in all combinations, or together, first with first.

    One seed goes through all values before the next begins, so that the first curve is there early. Runs are called as
    :mod:`experiments.run` calls them; where a value is not the row's own, and not the task's, it follows the name.
    """
    rest, swept = grid(words)
    if any(word.startswith('name=') for word in rest):
        raise ConfigError("'name' is for one run: a sweep names its runs itself")
    out = []
    usual_of: dict[tuple[str, ...], dict[str, str]] = {}
    for combination in _combinations(swept, together):
        chosen = [f'{key}={value}' for key, value in zip(swept, combination)]
        others = [option.partition('=')[0::2] for option in chosen if not _of_task(option)]
        suffix = ''.join(f'_{key.rsplit(".", 1)[-1]}_{value.strip("[]")}' for key, value in others)
        task = tuple(filter(_of_task, chosen))
        if others and task not in usual_of:
            usual_of[task] = _fingerprints([*rest, *task])
        for config in configurations([*rest, *chosen]):
            extra = []
            if others and fingerprint(config) != usual_of[task][config.row]:
                config.name = re.sub(r'[^\w.+-]+', '-', config.name + suffix)
                extra = [f'name={config.name}']
            values = {key: value_of(config, 'task.name' if key == 'task' else key) for key in swept}
            out.append(Planned(values, config, alone(config, [*rest, *chosen, *extra])))
    _refuse_same_runs(out)
    return sorted(out, key=lambda run: run.config.seed)  # Stable: values and rows stay in their order.


def _combinations(swept: dict[str, list[str]], together: bool) -> Iterator[tuple[str, ...]]:
    if not together:
        return itertools.product(*swept.values())
    numbers = {key: len(values) for key, values in swept.items()}
    if len(set(numbers.values())) > 1:
        told = ', '.join(f'{number} of {key}' for key, number in numbers.items())
        raise ConfigError(f'options that change together take as many values each (got {told})')
    return zip(*swept.values())


def value_of(config: Any, key: str) -> Any:
    """An option's value; a list as it is written."""
    value = OmegaConf.select(config, key)
    return f'[{",".join(map(str, value))}]' if OmegaConf.is_list(value) else value


def _refuse_same_runs(planned: list[Planned]) -> None:
    """Two points that are one run would be shown as two measurements."""
    seen: dict[tuple, dict[str, Any]] = {}
    for values, config, _ in planned:
        there = seen.setdefault((config.row, config.seed, fingerprint(config)), values)
        if there is values:
            continue
        differ = {key: (there[key], value) for key, value in values.items() if there[key] != value} or values
        key = next(iter(differ))
        told = f'{key}={there[key]} and {key}={values[key]} are the same run of {config.row}'
        second = key.partition('.')[2] in STAGE_TWO and key.startswith('task.')
        hint = ': it belongs to stage two, python -m experiments.few_shot with one value at a time' if second else ''
        raise ConfigError(f"a sweep over '{key}' has nothing to compare, {told}{hint}")


def _fingerprints(words: list[str]) -> dict[str, str]:
    return {config.row: fingerprint(config) for config in configurations(words)}


def _of_task(option: str) -> bool:
    return option.startswith(('task=', 'task.'))

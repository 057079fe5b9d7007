"""The parameters of Figure 8: which options they are, their values beside a row's own, and the sweep of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from experiments import plan
from mlsgm_pyg.app.common.errors import ConfigError, nearest
from mlsgm_pyg.app.config import load as configs


class Parameter(NamedTuple):
    """A parameter of the figure: how it is called there, and the options that it changes, the first one named."""

    title: str
    options: tuple[str, ...]
    values: Callable[[Any], list[list[Any]]]  # Config -> the values of each option.
    shown: Callable[[Any], str] = str  # Value of the first option -> tick.


def _with(values: Sequence[float], own: float) -> list[list[float]]:
    """The values, and the row's own where it is not among them."""
    return [sorted({*values, own})]


def _blocks(config: Any) -> list[list[Any]]:
    first, *_, last = [*config.model.block_channels[:1], *config.model.block_channels]
    own = list(config.model.block_channels)
    found = {number: [first] * (number - 1) + [last] for number in (1, 2, 3, 4)} | {len(own): own}
    return [[found[number] for number in sorted(found)]]


def _widths(config: Any) -> list[list[Any]]:
    hidden, blocks = config.model.hidden_channels, list(config.model.block_channels)
    scales = (0.25, 0.5, 1, 2)
    return [
        [max(round(hidden * scale), 1) for scale in scales],
        [[max(round(width * scale), 1) for width in blocks] for scale in scales],
    ]


PARAMETERS = {
    'gamma': Parameter(
        'threshold γ', ('model.gamma',), lambda c: _with((0.05, 0.1, 0.2, 0.5), c.model.gamma), '{:g}'.format
    ),
    'blocks': Parameter(
        'number of blocks', ('model.block_channels',), _blocks, lambda value: str(len(_numbers(value)))
    ),
    'width': Parameter('width d', ('model.hidden_channels', 'model.block_channels'), _widths),
    'beta': Parameter(
        'class imbalance β', ('loss.beta',), lambda c: _with((0.0, 0.2, 0.4, 0.8), c.loss.beta), '{:g}'.format
    ),
    'k': Parameter('neighbours k (kNN)', ('model.k',), lambda c: _with((1, 2, 3, 5), c.model.k)),
    'box': Parameter(
        'threshold of the boxes',
        ('model.box_threshold',),
        lambda c: _with((0.1, 0.2, 0.3, 0.5), c.model.box_threshold),
        '{:g}'.format,
    ),
}  # fmt: skip


def sweeps_of(words: list[str], parameters: Sequence[str] | None = None) -> dict[str, list[str]]:
    """The words after `python -m experiments.sweep` for each parameter, or each of some; an option of a parameter that
    is given with several values replaces its values."""
    for name in parameters or ():
        if name not in PARAMETERS:
            raise ConfigError(f"Figure 8 has no parameter '{name}': {nearest(name, PARAMETERS)}")
    first = [option for parameter in PARAMETERS.values() for option in parameter.options]
    given, rest = {}, []
    for word in words:
        key, _, value = word.partition('=')
        many = key in first and len(plan.parts(value)) > 1 and (key != 'model.block_channels' or '[' in value)
        if many:
            given[key] = plan.parts(value)
        else:
            rest.append(word)
    row = [word for word in rest if '=' not in word]
    if len(row) != 1:
        raise ConfigError(f'Figure 8 is of one row (got {" ".join(row) or "none"})')
    config = configs.load(row[0], [word for word in rest if '=' in word])
    chosen = parameters or [name for name in PARAMETERS if _matters(name, config)]
    return {name: [*rest, *_swept(PARAMETERS[name], config, given)] for name in chosen}


def _matters(name: str, config: Any) -> bool:
    return config.loss.name == 'weighted_bce' if name == 'beta' else config.model.name == 'ml_sgm'


def _swept(parameter: Parameter, config: Any, given: dict[str, list[str]]) -> list[str]:
    """The options with their values, as a sweep has them."""
    values = parameter.values(config)
    named = given.get(parameter.options[0])
    if named and len(parameter.options) == 1:
        return [f'{parameter.options[0]}={",".join(named)}']
    if named:  # The width: blocks go with the messages.
        scales = [float(value) / config.model.hidden_channels for value in named]
        blocks = [[max(round(width * scale), 1) for width in config.model.block_channels] for scale in scales]
        values = [named, blocks]
    words = [f'{key}={",".join(map(_written, one))}' for key, one in zip(parameter.options, values)]
    return words if len(words) == 1 else [*words, '--together']


def _written(value: Any) -> str:
    if isinstance(value, list):
        return f'[{",".join(map(str, value))}]'
    return f'{value:g}' if isinstance(value, float) else str(value)


def _numbers(text: str) -> list[str]:
    return text.strip('[]').split(',')

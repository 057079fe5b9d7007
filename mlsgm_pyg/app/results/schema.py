"""What result.json must hold: the schema as types, and what does not fit it in words."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, get_args, get_origin, get_type_hints, is_typeddict

from mlsgm_pyg.app.common.errors import Damaged
from mlsgm_pyg.app.common.text import cut, some
from mlsgm_pyg.app.config.options import Config

SIX = ('CP', 'CR', 'CF1', 'OP', 'OR', 'OF1')
FIGURES = ('mAP', *SIX, *(f'top3_{key}' for key in SIX))
NAMES = {key: key.replace('top3_', 'top-3 ') for key in FIGURES}  # As they are shown.
TOP3_FROM = 10  # Of fewer classes three are nearly all.
ABOUT = {
    'mAP': 'mean average precision over the classes that have a positive',
    'CP': 'precision (how much of what is predicted is there), the mean over classes',
    'CR': 'recall (how much of what is there is predicted), the mean over classes',
    'CF1': 'harmonic mean of CP and CR',
    'OP': 'precision over all labels together',
    'OR': 'recall over all labels together',
    'OF1': 'harmonic mean of OP and OR',
}  # fmt: skip
ABOUT |= {f'top3_{key}': f'{ABOUT[key]}, of the three highest labels of each image' for key in SIX}
IN_WORDS = (
    'mAP: mean average precision. CP, CR, CF1: precision, recall and their harmonic mean, averaged over classes. '
    'OP, OR, OF1: the same over all labels.'
)
OPTIONS = (  # Of the config, what every version has had; others may be of a later one.
    'config.row', 'config.select', 'config.data.name', 'config.data.root', 'config.data.image_size',
    'config.data.difficult', 'config.data.vg_classes', 'config.model.name', 'config.model.backbone',
    'config.metrics.ap', 'config.semantics.source', 'config.task.name', 'config.task.known', 'config.trainer',
)  # fmt: skip
WORDS = {dict: 'hold names', list: 'be a list', str: 'be a text', bool: 'be true or false', int: 'be a whole number'}
WORDS |= {float: 'be a number'}
LARGEST = 2**63  # Of a whole number; what a float can hold is far more.


def has_top3(classes: Collection[str]) -> bool:
    """Whether figures among the three highest labels are shown."""
    return len(classes) >= TOP3_FROM


class Part(TypedDict):
    images: int
    files: str
    y: str


class TrainedOn(TypedDict):
    class_names: list[str]
    train: Part
    test: Part


Metrics = TypedDict('Metrics', dict.fromkeys(FIGURES, float | None) | {'AP': dict[str, float | None]})


class Threshold(TypedDict):
    threshold: float
    positives: int  # Images that show it, of those that it was fitted on.
    is_pooled: bool  # Whether it is that of all labels together, for want of positives.


class Decided(TypedDict):
    temperature: float
    pooled: float
    classes: dict[str, Threshold]
    metrics: dict[str, float | None]
    ece: dict[str, float]  # Expected calibration error `before` the temperature, and `after`.
    images: int  # That they were fitted on.


class Epoch(TypedDict):
    epoch: int
    seconds: float  # Beside the numbers of the evaluation.


class Images(TypedDict):
    train: int
    test: int


class Labels(TypedDict):
    known: int
    all: int


class Parameters(TypedDict):
    trained: int
    all: int


class Seconds(TypedDict):
    total: float
    epoch: float
    step: float
    image: float


class Hardware(TypedDict):
    device: str
    kind: str
    processes: int
    cores: int | None
    threads: int


class PaperRow(TypedDict):
    """What the paper has for a run: metric -> value, `AP.class` for the AP of a class."""

    table: str
    method: str
    values: dict[str, float]


class Result(TypedDict):
    """The content of result.json; numbers that are NaN are null."""

    name: str
    seed: int
    task: dict[str, Any]
    mAP: float | None
    metrics: Metrics
    mAP_by_score: dict[str, float | None]
    score: str
    decisions: Decided | None  # Where `data.tune` kept images to fit them on.
    ap: str
    top3: str
    difficult: str | None
    test_view: str
    evaluated_on: str
    select: str
    best_epoch_mAP: float | None
    history: list[Annotated[Epoch, dict[str, float | None]]]
    trained_on: TrainedOn | None
    images: Images
    labels: Labels | None
    skipped: list[str]
    instances_per_image: float
    parameters: Parameters
    seconds: Seconds
    hardware: Hardware
    versions: dict[str, str]
    commit: str | None
    command: str
    folder: str
    paper: list[PaperRow]  # As `experiments.run` notes them.
    config: Config


def check(path: Path, out: Any, kind: type = Result, maker: str = 'a run') -> None:
    """Raises Damaged if what a file holds lacks some of what it must hold, or has something else in its place."""
    if told := misfit(out, kind):
        raise Damaged(f"'{path}' is not what {maker} leaves: {told}")


def misfit(out: Any, kind: type) -> str:
    """What a value lacks of what it must hold, or has in its place, in words; nothing where it fits."""
    lacking, wrong = [], []
    for name, told in _misfits(out, kind, ''):
        (wrong if told else lacking).append(told or name)
    return f'it lacks {some(lacking)}' if lacking else ''.join(wrong[:1])


def _misfits(value: Any, kind: Any, name: str) -> Iterator[tuple[str, str]]:
    """The name of each part that is not as it must be, and in words what is there, if something is."""
    if get_origin(kind) is Literal:  # An earlier version may have had other choices.
        kind = str
    origin, args = get_origin(kind), get_args(kind)
    is_section = is_typeddict(kind) or dataclasses.is_dataclass(kind)
    plain = dict if is_section else origin or kind
    if origin is Annotated:  # It is all of these.
        for part in args:
            yield from _misfits(value, part, name)
    elif origin is types.UnionType:  # Something or null.
        yield from () if value is None else _misfits(value, args[0], name)
    elif not _is(value, plain):
        yield name, f'{repr(name) if name else "it"} must {WORDS[plain]} (got {_shown(value)})'
    elif is_section:
        for key, part in _hints(kind).items():
            full = f'{name}.{key}' if name else key
            if key in value:
                yield from _misfits(value[key], part, full)
            elif is_typeddict(kind) or any(f'{option}.'.startswith(f'{full}.') for option in OPTIONS):
                yield full, ''
    elif args:
        for key, part in value.items() if plain is dict else enumerate(value):
            yield from _misfits(part, args[-1], f'{name}.{key}')


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _is(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if kind in (int, float):
        numbers = int if kind is int else (int, float)
        is_number = isinstance(value, numbers) and not isinstance(value, bool)
        return is_number and not (isinstance(value, int) and abs(value) >= LARGEST)
    return isinstance(value, kind)


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return 'a list' if isinstance(value, list) else 'names'
    is_large = isinstance(value, int) and abs(value) >= LARGEST  # Too many digits are not written at all.
    return 'a larger one' if is_large else cut(json.dumps(value, default=repr), 40)

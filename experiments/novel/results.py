"""What few-shot and zero-shot experiments leave: read and checked once, wherever it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from mlsgm_pyg.app.common.files import read_json
from mlsgm_pyg.app.config.options import Config
from mlsgm_pyg.app.results.schema import check

FEW_SHOT, ZERO_SHOT = 'few_shot.json', 'zero_shot.json'


class Interval(TypedDict):
    """A difference and its interval, where there is one."""

    difference: float
    low: float | None
    high: float | None


class Gain(Interval):
    """A difference that is paired over draws."""

    ahead: int
    draws: int


class Spread(TypedDict):
    """One method over its draws or seeds."""

    mAP: float
    std: float
    values: list[float]


class Point(TypedDict):
    """The draws of one number of shots."""

    shots: int
    first: str
    methods: dict[str, Spread]
    gains: dict[str, Gain]


class Draw(TypedDict):
    methods: dict[str, dict[str, Any]]


class Machine(TypedDict):
    device: str
    cores: int | None


class Made(TypedDict):
    """What both kinds of experiments say of themselves."""

    name: str
    evaluated_on: str
    config: Config
    command: str
    hardware: Machine
    versions: dict[str, str]


class Base(TypedDict):
    base: list[str]
    novel: list[str]


class FewShot(Made):
    first: str
    classes: Base
    summary: list[Point]
    draws: list[Draw]


class Seen(TypedDict):
    seen: list[str]
    unseen: list[str]


class Method(TypedDict):
    unseen: Spread
    seen: Spread
    harmonic: Spread


class Chance(TypedDict):
    unseen: float
    seen: float


class ZeroShot(Made):
    seeds: list[int]
    classes: Seen
    nearest: dict[str, dict[str, float]]
    methods: dict[str, Method]
    chance: Chance
    gains: dict[str, Interval]
    stage_one: list[dict[str, Any]]


def read_few_shot(path: Path) -> FewShot:
    """Reads a few_shot.json, also one of `results/`; Damaged names what is not one."""
    out = read_json(path)
    check(path, out, FewShot, 'a few-shot experiment')
    return out


def read_zero_shot(path: Path) -> ZeroShot:
    """Reads a zero_shot.json, see :func:`read_few_shot`."""
    out = read_json(path)
    check(path, out, ZeroShot, 'a zero-shot experiment')
    return out

"""What few-shot and zero-shot experiments leave, read and checked once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from experiments.common.files import read_json
from experiments.options import Config
from experiments.results.schema import check

FILE = 'few_shot.json'


class Spread(TypedDict):
    """One method over its draws or seeds."""

    mAP: float
    std: float
    values: list[float]


class Point(TypedDict):
    """The draws of one number of shots."""

    shots: int
    methods: dict[str, Spread]
    gains: dict[str, dict[str, Any]]


class Classes(TypedDict):
    base: list[str]
    novel: list[str]


class FewShot(TypedDict):
    """What few_shot.json must hold for a table."""

    name: str
    config: Config
    classes: Classes
    summary: list[Point]


def read_few_shot(path: Path) -> dict[str, Any]:
    """Reads a few_shot.json, also one of `results/`.

    Raises:
        Damaged: If it is not what a few-shot experiment leaves; in one line, with its name.
    """
    out = read_json(path)
    check(path, out, FewShot, 'a few-shot experiment')
    return out

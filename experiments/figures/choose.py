"""What a figure is of: the runs that its words name, and which of their images."""

from __future__ import annotations

import argparse
import difflib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mlsgm_pyg.app.common.errors import ConfigError, Gone, nearest
from mlsgm_pyg.app.common.text import counted
from mlsgm_pyg.app.data.parts import Part
from mlsgm_pyg.app.results.groups import find_one
from mlsgm_pyg.app.results.run import Run, scored_alike
from mlsgm_pyg.datasets import ImageError
from mlsgm_pyg.scoring import view_of

AT_ONCE = 16  # Images.
PLACES = ('data.root', 'data.labels', 'data.images')  # Where images lie may have changed since.


def read_runs(words: Sequence[str], number: int, wanted: str) -> list[Run]:
    """The runs that some words of a command line name, `key=value` apart, each a run directory or the folder of a row
    in which there is one run."""
    options = [word for word in words if '=' in word and not Path(word).is_dir()]
    folders = [word for word in words if word not in options]
    if len(folders) != number:
        raise ConfigError(f'this figure is of {wanted} (got {" ".join(folders) or "none"})')
    places = dict(option.split('=', 1) for option in options)
    for key, value in places.items():
        if key not in PLACES:
            raise ConfigError(f"a finished run takes {', '.join(PLACES)} alone (got '{key}={value}')")
    return [Run.read(find_one(Path(folder))).at(places) for folder in folders]


def part_of(run: Run) -> Part:
    """The images that a run was evaluated on."""
    try:
        return run.images
    except Gone as gone:
        raise ConfigError(f"{gone}: data.root=PATH says where the images of '{run.folder}' are") from gone


def files(run: Run) -> list[str]:
    """The name of each evaluated image, in the order of the scores."""
    names = part_of(run).files
    return [names[i] for i in run.scores['index']]


def picture(run: Run, number: int) -> Image.Image:
    """The evaluated image of a number in the scores."""
    part = part_of(run)
    try:
        return part.source.image(part.rows[int(run.scores['index'][number])])
    except ImageError as error:
        raise ConfigError(f"{error}: data.root=PATH says where the images of '{run.folder}' are") from error


def check_same(runs: Sequence[Run]) -> None:
    """Refuses runs that were evaluated on other images or labels."""
    first, *others = runs
    for other in others:
        if first.class_names != other.class_names or not scored_alike(first.scores, other.scores):
            told = ' and '.join(
                f"'{run.folder}': {counted(len(run.y), 'image')} of {counted(len(run.class_names), 'label')}"
                for run in runs
            )
            raise ConfigError(f'the runs must be evaluated on the same images and labels (got {told})')


def named(run: Run, names: Sequence[str]) -> list[int]:
    """The numbers of evaluated images by their file names; of an unknown one the error names the nearest."""
    there = {name: number for number, name in enumerate(files(run))}
    for name in names:
        if name not in there:
            close = difflib.get_close_matches(name, there, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"it has {len(there)}, such as '{next(iter(there))}'"
            raise ConfigError(f"'{run.folder}' was not evaluated on an image '{name}': {hint}")
    return [there[name] for name in names]


def drawn(candidates: Sequence[int] | np.ndarray, number: int, seed: int) -> list[int]:
    """Some of the candidates at random, by the seed alone, in the order in which they were drawn."""
    candidates = [int(i) for i in candidates]
    return random.Random(seed).sample(candidates, min(number, len(candidates)))


def label_numbers(run: Run, names: Sequence[str]) -> list[int]:
    """The numbers of labels by their names, likewise."""
    for name in names:
        if name not in run.class_names:
            raise ConfigError(f"'{run.folder}' has no label '{name}': {nearest(name, run.class_names)}")
    return [run.class_names.index(name) for name in names]


def add_choice(parser: argparse.ArgumentParser, number: int) -> None:
    """The options that say which images are shown."""
    parser.add_argument('--number', type=int, default=number, metavar='N', help='pictures (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the draw of pictures (default: 0)')
    parser.add_argument('--images', nargs='+', metavar='FILE', help='these instead, by their names in the data set')


def batches(run: Run, numbers: Sequence[int]) -> Iterator[Tensor]:
    """The images of some numbers as the model sees them, in batches [B, 3, S, S]."""
    view = view_of(run.model)
    for start in range(0, len(numbers), AT_ONCE):
        yield torch.stack([view(picture(run, i))[0] for i in numbers[start : start + AT_ONCE]])


def as_array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()

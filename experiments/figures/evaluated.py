"""A finished run as it was evaluated: its scores and labels, the images behind them, its model."""

from __future__ import annotations

import argparse
import difflib
import random
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from experiments import config as configs
from experiments import scores as score_files
from experiments.common.errors import ConfigError, nearest
from experiments.common.files import read_json
from experiments.common.text import counted
from mlsgm_pyg import checkpoint
from mlsgm_pyg.datasets import ImageError

PLACES = ('data.root', 'data.labels', 'data.images')  # Where images lie may have changed since.
POSITIVE = 0.5  # A label is predicted from this probability on, as in CF1 and OF1.


class Evaluated:
    """A finished run, to be looked at.

    Args:
        folder (Path): A run directory, or the folder of a row in which there is one run.
        options (sequence of str): `key=value` for :data:`PLACES`.

    Raises:
        ConfigError: If it is none, or what it left is broken.
    """

    def __init__(self, folder: Path, options: Sequence[str] = ()):
        self.folder = run_folder(folder)
        self.result = read_json(self.folder / 'result.json')
        self.config = configs.from_file(self.folder / 'config.yaml')
        for option in options:
            key, _, value = option.partition('=')
            if key not in PLACES:
                raise ConfigError(f"a finished run takes {', '.join(PLACES)} alone (got '{option}')")
            OmegaConf.update(self.config, key, value)
        try:
            self.scores = score_files.load_run(self.folder)
        except score_files.NotComparable as error:
            raise ConfigError(str(error)) from error
        self.class_names = list(self.result['metrics']['AP'])
        self.y: np.ndarray = self.scores['y']

    @property
    def name(self) -> str:
        return self.result['name']

    @cached_property
    def p(self) -> np.ndarray:
        """The reported probabilities [n, C]."""
        return self.probabilities(self.result['score'])

    def probabilities(self, score: str) -> np.ndarray:
        """Of one of the scores, in the precision that the model has."""
        return torch.from_numpy(self.scores[score]).float().sigmoid().numpy()

    @cached_property
    def part(self) -> Any:
        """The evaluated part of the data set."""
        from experiments.data.parts import build_parts

        try:
            _, part = build_parts(self.config.data, self.config.task)
        except (ValueError, OSError) as error:
            raise ConfigError(
                f"the images of '{self.folder}' are not there ({error}): data.root=PATH says where"
            ) from error
        index = self.scores['index']
        if len(index) and (index.max() >= len(part.rows) or not np.array_equal(part.y[index].numpy(), self.y)):
            raise ConfigError(
                f"the images in '{self.config.data.root}' are not those that '{self.folder}' was evaluated on"
            )
        return part

    @property
    def files(self) -> list[str]:
        """The name of each evaluated image, in the order of the scores."""
        files = self.part.files
        return [files[i] for i in self.scores['index']]

    def image(self, number: int) -> Image.Image:
        """The evaluated image of a number in the scores."""
        try:
            return self.part.source.image(self.part.rows[int(self.scores['index'][number])])
        except ImageError as error:
            raise ConfigError(f"{error}: data.root=PATH says where the images of '{self.folder}' are") from error

    @cached_property
    def model(self) -> torch.nn.Module:
        """The model whose scores these are."""
        path = self.folder / ('best.ckpt' if self.config.select == 'best' else 'last.ckpt')
        try:
            return checkpoint.load(path)
        except FileNotFoundError:
            raise ConfigError(f"there is no '{path}': this figure needs the run's model") from None
        except (ValueError, ImportError) as error:
            raise ConfigError(str(error)) from error


def run_folder(folder: Path) -> Path:
    """The run directory that is meant.

    Raises:
        ConfigError: If there is none, or more than one.
    """
    if (folder / 'result.json').is_file():
        if not (folder / 'config.yaml').is_file():
            raise ConfigError(f"'{folder}' is not a run directory: it has no config.yaml")
        return folder
    found = sorted(path.parent for path in folder.glob('*/result.json'))
    if len(found) > 1:
        raise ConfigError(f"'{folder}' holds {len(found)} runs, name one: {', '.join(map(str, found))}")
    if not found:
        told = 'it has no result.json' if folder.is_dir() else 'there is no such folder'
        raise ConfigError(f"'{folder}' is not a finished run: {told}")
    return run_folder(found[0])


def read_runs(words: Sequence[str], number: int, wanted: str) -> list[Evaluated]:
    """The runs that some words of a command line name, `key=value` apart.

    Raises:
        ConfigError: If there are not as many as wanted, or one is no run.
    """
    options = [word for word in words if '=' in word and not Path(word).is_dir()]
    folders = [word for word in words if word not in options]
    if len(folders) != number:
        raise ConfigError(f'this figure is of {wanted} (got {" ".join(folders) or "none"})')
    return [Evaluated(Path(folder), options) for folder in folders]


def check_same(runs: Sequence[Evaluated]) -> None:
    """Raises:
    ConfigError: If runs were evaluated on other images or labels.
    """
    first, *others = runs
    for other in others:
        same = first.class_names == other.class_names and all(
            np.array_equal(first.scores[key], other.scores[key]) for key in ('index', 'y')
        )
        if not same:
            told = ' and '.join(
                f"'{run.folder}': {counted(len(run.y), 'image')} of {counted(len(run.class_names), 'label')}"
                for run in runs
            )
            raise ConfigError(f'the runs must be evaluated on the same images and labels (got {told})')


def named(run: Evaluated, names: Sequence[str]) -> list[int]:
    """The numbers of evaluated images by their file names.

    Raises:
        ConfigError: If there is no such image; with the nearest.
    """
    files = {name: number for number, name in enumerate(run.files)}
    for name in names:
        if name not in files:
            close = difflib.get_close_matches(name, files, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"it has {len(files)}, such as '{next(iter(files))}'"
            raise ConfigError(f"'{run.folder}' was not evaluated on an image '{name}': {hint}")
    return [files[name] for name in names]


def drawn(candidates: Sequence[int] | np.ndarray, number: int, seed: int) -> list[int]:
    """Some of the candidates at random, by the seed alone, in the order in which they were drawn."""
    candidates = [int(i) for i in candidates]
    return random.Random(seed).sample(candidates, min(number, len(candidates)))


def label_numbers(run: Evaluated, names: Sequence[str]) -> list[int]:
    """Raises:
    ConfigError: If a label is unknown; with the nearest.
    """
    for name in names:
        if name not in run.class_names:
            raise ConfigError(f"'{run.folder}' has no label '{name}': {nearest(name, run.class_names)}")
    return [run.class_names.index(name) for name in names]


def add_choice(parser: argparse.ArgumentParser, number: int) -> None:
    """The options that say which images are shown."""
    parser.add_argument('--number', type=int, default=number, metavar='N', help='pictures (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the draw of pictures (default: 0)')
    parser.add_argument('--images', nargs='+', metavar='FILE', help='these instead, by their names in the data set')


def batches(run: Evaluated, numbers: Sequence[int], size: int = 16) -> Any:
    """The images of some numbers as the model sees them, in batches [B, 3, S, S]."""
    from mlsgm_pyg.tagger import view_of

    view = view_of(run.model)
    for start in range(0, len(numbers), size):
        yield torch.stack([view(run.image(i))[0] for i in numbers[start : start + size]])


def as_array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()

"""What a report shows beside numbers: a finished run's images and its model, where they are still there."""

from __future__ import annotations

import numpy as np
import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import mlsgm_pyg
from experiments.common.text import counted, one_line, some
from experiments.config import default
from experiments.data import Part, build_parts
from experiments.reported import Reported
from mlsgm_pyg.datasets import ImageError


class Gone(Exception):
    """Something that a part of the report needs is not there any more, and why."""


def test_part(run: Reported, root: str | None = None) -> Part:
    """The images that a run was evaluated on.

    Args:
        run (Reported): The run.
        root (str, optional): Where the data set lies now. (default: where it lay)

    Raises:
        Gone: If the data set cannot be read, or is another one.
    """
    try:
        config = OmegaConf.merge(default(), run.config)
        if root:
            config.data.root = root
        config.data.download = False
        part = build_parts(config.data, config.task)[1]
    except (OSError, ValueError, ImportError, ImageError, OmegaConfBaseException) as error:
        raise Gone(f'the images cannot be read: {one_line(error)}') from error
    index = run.scores['index']
    least = index.max(initial=-1) + 1
    if part.source.class_names != run.class_names:
        raise Gone(f'the data set has changed since: {_other_classes(part.source.class_names, run.class_names)}')
    if len(part.rows) < least:
        told = f'it has {counted(len(part.rows), "image")} to test on, and had at least {least:,}'
        raise Gone(f'the data set has changed since: {told}')
    if not np.array_equal(part.y.numpy()[index], run.y):
        raise Gone('the data set has changed since: its labels are others')
    return part


def _other_classes(now: list[str], then: list[str]) -> str:
    new, lost = [name for name in now if name not in then], [name for name in then if name not in now]
    if not new and not lost:
        return 'its classes are in another order'
    told = [f'{word} {some([*map(repr, names)], 5)}' for word, names in (('new:', new), ('gone:', lost)) if names]
    return f'it has other classes ({"; ".join(told)})'


def load_model(run: Reported) -> torch.nn.Module:
    """The model whose scores a run reports.

    Raises:
        Gone: If its checkpoint is gone or broken.
    """
    path = run.folder / ('best.ckpt' if run.out.get('select') == 'best' else 'last.ckpt')
    try:
        model = mlsgm_pyg.load(path)
    except FileNotFoundError:
        raise Gone(f"there is no '{path}' any more") from None
    except (OSError, ValueError, ImportError) as error:
        raise Gone(f'the model cannot be loaded: {one_line(error)}') from error
    if model.class_names != run.class_names:
        raise Gone(f"'{path}' is of other classes than result.json")
    return model

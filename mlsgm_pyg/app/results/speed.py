"""Images a second and multiply-adds of finished runs' models, on their own evaluation images, in one run for all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

import mlsgm_pyg
from mlsgm_pyg.app.common import cost
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.machine import environment
from mlsgm_pyg.app.common.text import one_line
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.data.parts import build_parts
from mlsgm_pyg.app.results.groups import Group
from mlsgm_pyg.datasets import ImageDataset, Subset, build_view

FAILS = (OSError, ValueError, ImportError, KeyError)  # What a file, a config or a data set may lack on this machine.


def timed(rows: Sequence[Group], batch: int = 8, rounds: int = 3, device: str | None = None) -> dict[str, Any]:
    """What :func:`measure` finds on a device (default: the GPU where there is one), and on which machine.

    Raises:
        ConfigError: If there is no such device here.
    """
    if device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError('--device cuda: there is no GPU here')
    place = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    found, without = measure(rows, batch, place, rounds)
    return {'rows': found, 'without': without} | environment(place)


def measure(
    rows: Sequence[Group], batch: int, device: torch.device, rounds: int = 3, quick: bool = False
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The cost of each row's model, from the checkpoint of its first run: label -> numbers, and label -> why not.

    The models take turns on the first images that each row was evaluated on, so many at a time. What depends on the
    labels alone is computed once for all batches, of every model that can.
    """
    found, without, calls, images = {}, {}, {}, {}
    with ExitStack() as scope, torch.no_grad():
        for row in rows:
            try:
                model, image = _load(row, device), _images(row, batch, images).to(device)
            except FAILS as error:
                without[row.label] = one_line(error)
                continue
            found[row.label], calls[row.label] = _cost(model, image, scope)
        for label, seconds in cost.seconds(calls, quick, rounds, cost.wall(device)).items():
            found[label]['images_per_second'] = found[label]['batch'] / seconds.median
    return found, without


def _cost(model: torch.nn.Module, image: Tensor, scope: ExitStack) -> tuple[dict[str, Any], Callable[[], Any]]:
    """What is counted of a model, and the call that is to be timed."""

    def call() -> Any:
        return model(image)

    whole = cost.macs(call)
    scope.enter_context(model.fixed_labels())
    out = call()  # Labels are fixed by the first call.
    macs = cost.macs(call)
    head = macs - cost.macs(lambda: model.features(image))
    sizes = None if out.instances is None else out.instances.ptr.diff().float().mean().item()
    counted = {'batch': len(image), 'pixels': image.size(-1), 'instances_per_image': sizes}
    counted |= {'macs': macs // len(image), 'head_macs': head // len(image), 'label_macs': whole - macs}
    return counted, call


def _load(row: Group, device: torch.device) -> torch.nn.Module:
    return mlsgm_pyg.load(row.runs[0].checkpoint, device)


def _images(row: Group, batch: int, kept: dict[str, Tensor]) -> Tensor:
    """The first evaluation images that can be read, as the row sees them; read once for all rows that see the same."""
    config = row.runs[0].config
    size = config.data.test_sizes[0] if config.data.test_sizes else config.data.image_size
    key = json.dumps([configs.plain(config.data), configs.plain(config.task), size], sort_keys=True)
    if key not in kept:
        kept[key] = _read(config, size, batch)
    return kept[key]


def _read(config: DictConfig, size: int, batch: int) -> Tensor:
    _, part = build_parts(config.data, config.task)
    data = ImageDataset(Subset(*part), build_view(config.data.test_view, size), on_error='skip')
    images = []
    for i in range(len(data)):
        item = data[i]
        if 'error' not in item:
            images.append(item['image'])
        if len(images) == batch:
            return torch.stack(images)
    raise ValueError(f'--batch takes images of the evaluation: there are {len(images)} (got {batch})')

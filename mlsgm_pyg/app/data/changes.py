"""What a run was trained on and evaluated on, in a few numbers, and how today's data differs from it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.text import counted, some

PARTS = {'train': 'training', 'test': 'evaluated'}


def describe(class_names: Sequence[str], **parts: tuple[Sequence[str], Tensor]) -> dict[str, Any]:
    """The class names, and of each part, given as files and labels, the number of images and a hash of both."""
    return {'class_names': list(class_names)} | {key: _part(*part) for key, part in parts.items()}


def check(folder: Path, then: dict[str, Any], now: dict[str, Any], config: DictConfig) -> None:
    """Refuses data that is not what a run was trained on, each as :func:`describe` gives it; of an older run there are
    the class names alone. Says in what they differ."""
    differ = difference(then, now)
    if differ:
        place = Path(config.root, config.labels) if config.name == 'csv' else config.root or config.name
        raise ConfigError(
            f"the data has changed since '{folder}' was trained on it: {differ} ('{place}'); --again starts over"
        )


def difference(then: dict[str, Any], now: dict[str, Any]) -> str:
    """How the data differs, in words; nothing if it does not, or if an older run does not say."""
    old, new = then['class_names'], now['class_names']
    gone, come = [name for name in old if name not in new], [name for name in new if name not in old]
    if gone or come:
        told = [f'no longer classes: {some(gone)}'] if gone else []
        return ', '.join(told + ([f'new classes: {some(come)}'] if come else []))
    if old != new:
        i = next(i for i, name in enumerate(old) if name != new[i])
        return f"the classes have another order: class {i + 1} was '{old[i]}' and is '{new[i]}'"
    found = (_part_difference(name, then[key], now[key]) for key, name in PARTS.items() if key in then)
    return ', '.join(filter(None, found))


def _part(files: Sequence[str], y: Tensor) -> dict[str, Any]:
    names = '\n'.join(files).encode('utf-8', 'backslashreplace')
    labels = y.to(torch.int8).contiguous().numpy().tobytes()
    return {'images': len(files), 'files': _hash(names), 'y': _hash(labels)}


def _part_difference(name: str, then: dict[str, Any], now: dict[str, Any]) -> str:
    if then['images'] != now['images']:
        return f'the {name} part had {counted(then["images"], "image")} and has {now["images"]}'
    if then['files'] != now['files']:
        return f'the {name} part has other images'
    return f'the {name} part has other labels' if then['y'] != now['y'] else ''


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]

"""Holds an exported file against the model it was made of, on pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.text import counted
from mlsgm_pyg.app.config.load import default
from mlsgm_pyg.app.data.parts import build_parts
from mlsgm_pyg.app.prediction.inputs import Inputs
from mlsgm_pyg.datasets import limit_indices, read_image
from mlsgm_pyg.decisions import temperature_of
from mlsgm_pyg.engine import stacked
from mlsgm_pyg.models.output import Output
from mlsgm_pyg.tagger import open_engine

TOLERANCE = 1e-4  # Of probabilities, where the instances are the same.
EDGE = 1e-4  # So near to a threshold or to each other, rounding may decide.
SHOWN = 10  # Images at the edge that are named.


@dataclass(frozen=True)
class Pictures:
    """What is compared on: a name for each picture, and what reads it by its number."""

    names: Sequence[str]
    read: Callable[[int], Any]


@dataclass
class Edge:
    """An image on which both chose differently."""

    name: str
    what: str
    margin: float
    probability: float


@dataclass
class Found:
    """What the comparison of some pictures found; differences are of images whose instances are the same."""

    images: int = 0
    instances: int = 0
    labels: int = 0
    logit: float = 0.0
    probability: float = 0.0
    box: float = 0.0
    score: float = 0.0
    best: int = 0  # Labels with another best instance,
    gap: float = 0.0  # and by how much, in logits, it was the best at most.
    edges: list[Edge] = field(default_factory=list)


def find(model: torch.nn.Module, words: Sequence[str]) -> Pictures:
    """The pictures that a check is about: N of those the model is evaluated on, or paths, or N of those."""
    numbers, paths = [int(word) for word in words if word.isdecimal()], [word for word in words if not word.isdecimal()]
    if len(numbers) > 1 or 0 in numbers:
        raise ConfigError(f'--check takes one number of pictures, at least 1 (got {" ".join(words)})')
    if paths:
        names = list(dict.fromkeys(Inputs(paths)))
        read = lambda i: read_image(names[i])  # noqa: E731
    else:
        if not model.config.get('data'):
            raise ConfigError(
                "the checkpoint does not say what it is evaluated on: name the pictures, '--check PATH...'"
            )
        config = OmegaConf.merge(default(), model.config)
        part = build_parts(config.data, config.task)[1]
        names, read = part.files, lambda i: part.source.image(part.rows[i])
    rows = limit_indices(len(names), numbers[0] if numbers else None)
    return Pictures([names[i] for i in rows], lambda i: read(rows[i]))


def check(model: torch.nn.Module, path: Path, pictures: Pictures, batch_size: int) -> int:
    """Compares and prints; returns 0 if the answers are the same, 1 if not."""
    engine, found = open_engine(path), Found()
    with torch.no_grad(), model.fixed_labels():
        for start in range(0, len(pictures.names), batch_size):
            rows = range(start, min(start + batch_size, len(pictures.names)))
            image = stacked([engine.view(pictures.read(i))[0] for i in rows])
            got = {name: torch.from_numpy(value) for name, value in engine.see([image]).items()}
            compare(model, torch.from_numpy(engine.given(image)), got, [pictures.names[i] for i in rows], found)
    print('\n'.join(report(found, batch_size)))
    is_explained = all(edge.margin <= EDGE for edge in found.edges) and found.gap <= EDGE
    return 0 if is_explained and max(found.probability, found.box, found.score) <= TOLERANCE else 1


def compare(model: torch.nn.Module, image: Tensor, got: dict[str, Tensor], names: Sequence[str], found: Found) -> None:
    """Adds what a batch shows to what was found."""
    feature = model.features(image)
    out = model.head(feature)
    logit = (got['logits'] - out.logits).abs().amax(1)
    probability = (got['probabilities'] - (out.logits / temperature_of(model)).sigmoid()).abs().amax(1)
    ptr = [0] * (len(names) + 1) if out.instances is None else out.instances.ptr.tolist()
    maps = None if out.csac_logits is None else model.maps(feature)
    for b, name in enumerate(names):
        found.images += 1
        at = slice(ptr[b], ptr[b + 1])
        if out.instances is not None:
            edge = _other_choice(model, out, got, b, at, maps)
            if edge is not None:
                found.edges.append(Edge(name, *edge, probability[b].item()))
                continue
            valid, match = got['valid'][b], out.match_logits[at]
            found.instances += len(match)
            found.box = max(found.box, (got['boxes'][b][valid] - out.instances.box[at]).abs().max().item())
            found.score = max(found.score, (got['scores'][b][valid] - out.instances.score[at]).abs().max().item())
            lost = match.amax(0) - match.gather(0, got['best'][b][None])[0]  # 0 where the best is the same.
            found.best += int((lost > 0).sum())
            found.gap = max(found.gap, lost.max().item())
        found.labels += out.logits.size(1)
        found.logit = max(found.logit, logit[b].item())
        found.probability = max(found.probability, probability[b].item())


def _other_choice(
    model: torch.nn.Module, out: Output, got: dict[str, Tensor], b: int, at: slice, maps: Tensor | None
) -> tuple[str, float] | None:
    """Which choice of one image differs, if any, and how near the model's own was to the other side."""
    label, valid = out.instances.label[at].tolist(), got['valid'][b]
    if got['labels'][b][valid].tolist() != label:
        return _other_instances(out.csac_logits[b].sigmoid(), model.csac.gamma, label, got['labels'][b][valid].tolist())
    moved = (got['boxes'][b][valid] - out.instances.box[at]).abs().amax(1) > 1e-6  # Far less than a place of the map.
    if not moved.any():
        return None
    if moved[0] or maps is None:  # The whole image, or a cell of a grid: no threshold is near.
        return 'another box', math.inf
    chosen = maps[b, out.instances.label[at][moved]].flatten(1)
    edge = model.csac.box_threshold * chosen.amax(1, keepdim=True)
    margin = ((chosen - edge) / edge).abs().amin(1).max()
    return "another box; a place at its map's threshold", float(margin)


def _other_instances(score: Tensor, gamma: float, ours: list[int], theirs: list[int]) -> tuple[str, float]:
    """Where two lists of classes part: the scores of the two, or of the one there is, beside each other and gamma."""
    pairs = [[c for c in pair if c is not None and c >= 0] for pair in zip_longest(ours, theirs) if pair[0] != pair[1]]
    scores = score[pairs[0]].tolist()
    gaps = [abs(value - gamma) for value in scores] + [abs(a - b) for a, b in zip(scores, scores[1:])]
    return 'other instances; a score at gamma or two scores beside each other', min(gaps, default=math.inf)


def report(found: Found, batch_size: int) -> list[str]:
    """What a check prints."""
    same = found.images - len(found.edges)
    lines = [
        f'checked on {counted(found.images, "picture")}, {batch_size} at a time: exported against Python, largest '
        'differences',
        f'  probabilities    {found.probability:.1e}   (logits {found.logit:.1e}), {found.labels} of them',
    ]
    if found.instances:
        lines += [
            f'  boxes            {found.box:.1e}   as parts of the view, {counted(found.instances, "instance")}',
            f'  instance scores  {found.score:.1e}',
            f'  best instance    the same for {found.labels - found.best} of {found.labels} labels'
            + (f'; the others differ by {found.gap:.1e} at most' if found.best else ''),
        ]
    if found.edges:
        lines.append(
            f'  left out above   {len(found.edges)} of {found.images}, where rounding decides ({same} remain):'
        )
        for edge in found.edges[:SHOWN]:
            near = f'{edge.margin:.1e} apart' + ('' if edge.margin <= EDGE else ', which rounding does NOT explain')
            lines.append(f'    {edge.name}: {edge.what}, {near}; probabilities differ by {edge.probability:.1e}')
        lines += ['    ...'] if len(found.edges) > SHOWN else []
    elif found.instances:
        lines.append('  left out above   none: no image has other instances or boxes')
    return lines

"""Single images as a trained model sees them: instances, their boxes and maps, the graph that joins them to labels."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mlsgm_pyg.datasets import geometry
from mlsgm_pyg.models.output import Output
from mlsgm_pyg.tagger import View, view_of

LEAST_QUALITY = 20
MAPS = 6  # Maps of an image.


@dataclass(frozen=True)
class Node:
    """An instance: the class whose map found it (None: the whole image), that class's probability, its box (x, y,
    width, height) as parts of the upright picture."""

    label: int | None
    score: float
    box: tuple[float, float, float, float]


@dataclass
class Scene:
    """What a model made of one image.

    Attributes:
        p (ndarray): Probabilities [C].
        nodes (list[Node]): The instances, the whole image first; empty where a model has none.
        near (list[tuple[int, int]]): kNN edges, neighbour -> node; empty where a model has no instance graph.
        match (ndarray): Probability of every instance with every label, [N, C].
        maps (dict): Label -> activation map [h, w] as parts of its own highest place, uint8.
        window (tuple): What the maps are of: (x, y, width, height) as parts of the upright picture.
    """

    p: np.ndarray
    nodes: list[Node] = field(default_factory=list)
    near: list[tuple[int, int]] = field(default_factory=list)
    match: np.ndarray | None = None
    maps: dict[int, np.ndarray] = field(default_factory=dict)
    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


def look(model: torch.nn.Module, images: Iterable[Image.Image], batch_size: int = 8) -> Iterator[Scene]:
    """Runs a model over upright pictures.

    Args:
        model (torch.nn.Module): A trained model.
        images (iterable of PIL.Image.Image): RGB.
        batch_size (int): Images at a time. (default: :obj:`8`)
    """
    view = view_of(model)
    with torch.no_grad(), model.fixed_labels():
        views: list[list[Tensor]] = []
        for image in images:
            views.append(view(image))
            if len(views) == batch_size:
                yield from _scenes(model, views, view)
                views = []
        if views:
            yield from _scenes(model, views, view)


def jpeg(image: Image.Image, side: int, most: int) -> tuple[bytes, tuple[int, int]]:
    """A picture shrunk to a longer side of at most so many pixels, in at most about so many bytes, and its size.

    Args:
        image (PIL.Image.Image): RGB.
        side (int): The longer side.
        most (int): Bytes; quality goes down to keep to them, but no further than 20.
    """
    scale = min(side / max(image.size), 1)
    size = tuple(max(round(length * scale), 1) for length in image.size)
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0) if scale < 1 else image
    for quality in (75, 62, 50, 35, LEAST_QUALITY):
        file = io.BytesIO()
        small.save(file, 'JPEG', quality=quality, optimize=True, progressive=False)
        if file.tell() <= most:
            break
    return file.getvalue(), size


def _scenes(model: torch.nn.Module, views: list[list[Tensor]], view: View) -> Iterator[Scene]:
    batches = [torch.stack(same) for same in zip(*views)]
    feature = model.features(batches[0])
    out = model.head(feature)
    logits = [out.logits, *(model(batch).logits for batch in batches[1:])]
    p = torch.stack(logits).double().sigmoid().mean(0).numpy()
    maps = _maps(model, feature)
    for b in range(len(views)):
        scene = Scene(p[b], window=geometry.window(view.name, view.sizes[0]))
        if out.instances is not None:
            _add_graph(scene, out, b, view)
        if maps is not None:
            strongest = np.argsort(-p[b], kind='stable').tolist()
            wanted = dict.fromkeys([n.label for n in scene.nodes if n.label is not None] + strongest)
            for label in list(wanted)[:MAPS]:
                values = maps[b, label]
                scene.maps[label] = (255 * values / values.max().clamp(min=1e-12)).round().to(torch.uint8).numpy()
        yield scene


def _maps(model: torch.nn.Module, feature: Tensor) -> Tensor | None:
    if not hasattr(model, 'maps'):
        return None
    try:
        return model.maps(feature).float()
    except (AttributeError, ValueError):  # An ablation without class maps.
        return None


def _add_graph(scene: Scene, out: Output, image: int, view: View) -> None:
    found = out.instances
    first, last = found.ptr[image : image + 2].tolist()
    boxes = geometry.to_upright(found.box[first:last], view.name, view.sizes[0]).tolist()
    labels, scores = found.label[first:last].tolist(), found.score[first:last].tolist()
    scene.nodes = [
        Node(label if label >= 0 else None, score, tuple(box)) for label, score, box in zip(labels, scores, boxes)
    ]
    scene.match = out.match_logits[first:last].double().sigmoid().numpy()
    if out.near is not None:
        mine = (out.near[1] >= first) & (out.near[1] < last)
        scene.near = [tuple(edge) for edge in (out.near[:, mine] - first).t().tolist()]

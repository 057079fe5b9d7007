"""Single images as a trained model sees them: instances, their boxes and maps, the graph that joins them to labels."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image
from torch import Tensor

import mlsgm_pyg
from experiments.common.text import counted, one_line, some
from experiments.config import default
from experiments.data.parts import Part, build_parts
from experiments.reported import Reported
from mlsgm_pyg.datasets import ImageError, geometry
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


def look(model: torch.nn.Module, images: Iterable[Image.Image], batch_size: int = 8) -> Iterator[Scene]:
    """Runs a model over upright pictures.

    Args:
        model (torch.nn.Module): From :func:`load_model`.
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

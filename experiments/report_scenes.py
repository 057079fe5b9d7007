"""The assignment graph of single images, drawn over the picture, and the map of each instance beside it."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from experiments import analysis
from experiments.analysis import POSITIVE
from experiments.common.errors import Gone
from experiments.common.markup import Markup, join, tag
from experiments.drawing.boxes import COLOURS, jpeg, upright_boxes
from experiments.drawing.graph import PANEL, WIDTH, colours, draw_graph, outline, strongest
from experiments.page import Column, Facet, Item, gallery, note, table
from experiments.report_pictures import Pictures, chips, key, kind
from experiments.results.run import Run
from mlsgm_pyg.datasets import geometry
from mlsgm_pyg.tagger import Box, Prediction, has_maps, view_of

SIDE, BYTES = 448, 30_000  # Of a picture: its longer side in pixels, and what it may take.
MAPS = 6  # Of an image.
SEEN = 0.3  # Probability from which the map of a label without an instance is shown.
REASONS = (
    ('hard', 'hardest'), ('wrong', 'confidently wrong'), ('missed', 'confidently missed'), ('other', 'others'),
)  # fmt: skip
APART = 0.1  # From here on, probabilities are others than in the evaluation.


class Scene(NamedTuple):
    """An image as the model sees it.

    Attributes:
        name (str): Its file.
        found (Prediction): All labels, with maps and graph; boxes upright.
        classes (list[int]): The class of each of the prediction's labels.
        p, y (ndarray): Of each of them: its probability, whether it is there.
        picture (Markup), size (tuple[int, int]): The small picture and its pixels.
    """

    name: str
    found: Prediction
    classes: list[int]
    p: np.ndarray
    y: np.ndarray
    picture: Markup
    size: tuple[int, int]

    @property
    def labels(self) -> list[int]:
        """The places of those that are there or predicted, in the prediction."""
        return np.flatnonzero((self.y == 1) | (self.p >= POSITIVE)).tolist()

    @property
    def drawn(self) -> list[int]:
        """Those that the graph shows."""
        return self.labels[: len(COLOURS)] or [0]


def pick(run: Run, number: int) -> list[tuple[int, str]]:
    """Rows of the images to be looked at, and why: a quarter each the hardest, those most confidently wrong and missed,
    and others from easy to hard."""
    loss = np.nan_to_num(analysis.losses(run.logits, run.y))
    order = np.argsort(-loss, kind='stable').tolist()
    quarter = math.ceil(number / 4)
    found = dict.fromkeys(order[:quarter], 'hard')
    for why, rows in (('wrong', analysis.wrong), ('missed', analysis.missed)):
        for one in rows(run.p, run.y, quarter):
            found.setdefault(one.image, why)
    rest = [row for row in order if row not in found]
    missing = min(number - len(found), len(rest))
    for i in range(missing):
        found[rest[i * len(rest) // missing]] = 'other'
    return list(found.items())[:number]


def scenes(pictures: Pictures, number: int) -> tuple[str, Markup, list[str]]:
    """What the model sees in some images: its name, itself, and what has to be said of it.

    Raises:
        Gone: If the checkpoint or the images are not there any more.
    """
    run = pictures.run
    model = run.model
    chosen = [(row, why, image) for row, why in pick(run, number) if (image := pictures.read(row)) is not None]
    if not chosen:
        raise Gone('none of the images can be read')
    how = {'maps': has_maps(model), 'graph': True, 'upright': True, 'batch_size': 8}
    predictions = model.predict([image for *_, image in chosen], **how)
    view = view_of(model)
    window = geometry.window(view.name, view.sizes[0])
    items, far = [], 0.0
    for (row, why, image), found in zip(chosen, predictions):
        classes = [run.class_names.index(name) for name in found.labels]
        content, size = jpeg(image, SIDE, BYTES)
        picture = pictures.page.image(content, pictures.name(row), *size)
        p, y = np.array(found.probabilities), run.y[row, classes]
        scene = Scene(pictures.name(row), found, classes, p, y, picture, size)
        tokens = {'why': [why], 'label': [f'l{classes[i]}' for i in scene.labels]}
        items.append(Item(_card(scene, window), '', tokens))
        far = max(far, float(np.abs(p - run.p[row, classes]).max()))
    remarks = []
    if far > APART:
        remarks.append(
            f'On the pictures of the last tab the checkpoint gives other probabilities than the evaluation did (by up '
            f'to {far:.2f}): pictures or checkpoint have changed since.'
        )
    names = [(f'l{i}', name) for i, name in sorted(enumerate(run.class_names), key=lambda pair: pair[1].lower())]
    facets = [Facet('why', 'Chosen as', REASONS), Facet('label', 'Label', names)]
    name = 'Graphs' if any(found.instances for found in predictions) else 'Maps'
    parts = [_about(predictions), _switches() if name == 'Graphs' else None, key(), gallery(items, facets)]
    return name, join(parts), remarks


def _about(predictions: Sequence[Prediction]) -> Markup:
    if not any(found.instances for found in predictions):
        maps = any(found.maps is not None for found in predictions)
        told = 'the activation maps of its strongest labels' if maps else 'and no activation maps: pictures only'
        return tag('p', f'This model has no instances; shown are {told}.' if maps else f'It has no instances {told}.')
    near = any(found.near is not None for found in predictions)
    edges = 'Arrows lead from each instance to those whose nearest neighbours it is. ' if near else ''
    return tag(
        'p',
        'Numbered nodes are instances, at the centres of their boxes (moved apart where they coincide), coloured as '
        f'the labels whose maps found them; 0 is the whole image. {edges}Lines to the right lead to the labels that '
        'are there or predicted, the thicker the more probable; the strong one is the best instance, which is the '
        'score (Eq. 15). Below: where the class of each instance, or a strong label, is seen, each map '
        'relative to its own highest place.',
    )


def _switches() -> Markup:
    kinds = [('boxes', 'Boxes'), ('near', 'Neighbours (kNN)'), ('matches', 'Edges to labels'), ('nodes', 'Instances')]
    boxes = [
        tag('label', tag('input', type='checkbox', id=f'show-{name}', checked=True), shown) for name, shown in kinds
    ]
    return tag('div', *boxes, class_='controls switches')


def _card(scene: Scene, window: Box) -> Markup:
    found, parts = scene.found, []
    if found.instances:
        signs = [kind(scene.p[i], scene.y[i])[1] for i in scene.drawn]
        graph = draw_graph(found, None, scene.drawn, signs, is_upright=True)
        part = f'--part:{100 * WIDTH / (WIDTH + PANEL):.2f}%'
        parts.append(tag('div', scene.picture, graph, class_='stage', style=part))
    else:
        parts.append(scene.picture)
    parts.append(chips(found.labels, scene.p, scene.y))
    parts.append(tag('div', *_maps(scene, window), class_='maps') if found.maps is not None else None)
    parts.append(_numbers(scene) if found.instances else None)
    parts.append(tag('div', scene.name, class_='file'))
    return tag('div', *parts, class_='scene')


def _maps(scene: Scene, window: Box) -> list[Markup]:
    """One picture a map: those of the instances, with their boxes, then of other strong labels."""
    found, hues = scene.found, colours(scene.found, scene.drawn)
    of = {one.label: i for i, one in enumerate(found.instances) if one.label is not None}
    wanted = [*dict.fromkeys([*of, *found.labels])][:MAPS]
    x, top, width, height = (100 * v for v in window)
    place = f'left:{x:.2f}%;top:{top:.2f}%;width:{width:.2f}%;height:{height:.2f}%'
    out = []
    strong = [name for name in wanted if name in of or scene.p[found.labels.index(name)] >= SEEN]
    for name in strong or wanted[:1]:
        label = found.labels.index(name)
        drawn, told = None, f'{name} {100 * scene.p[label]:.0f} %'
        if name in of:
            i = of[name]
            shape = 100, 100 * scene.size[1] / scene.size[0]
            (part,) = upright_boxes(found, [found.instances[i].box], is_upright=True)
            box = outline([v * side for v, side in zip(part, shape * 2)], hues[i], shape, 1.6)
            drawn = tag('svg', box, viewBox=f'0 0 100 {shape[1]:g}', aria_hidden='true', class_='over')
            badge = tag('span', i, class_='node', style=f'background:{hues[i]}')
            told = join([badge, f' {name} {100 * found.instances[i].score:.0f} %'])
        canvas = tag('canvas', data_map=_content(found.maps[label]), style=place, aria_hidden='true')
        out.append(tag('figure', tag('div', scene.picture, canvas, drawn, class_='frame'), tag('figcaption', told)))
    return out


def _content(values: torch.Tensor) -> str:
    """A map as parts of its highest place, in the words that the page's script reads."""
    values = (255 * values / values.max().clamp(min=1e-12)).round().to(torch.uint8).numpy()
    return f'{values.shape[1]},{values.shape[0]},{base64.b64encode(values.tobytes()).decode()}'


def _numbers(scene: Scene) -> Markup:
    """The drawn edges as a table, for those who read rather than look."""
    rows: list[list[Any]] = []
    for edge in strongest(scene.found, scene.drawn):
        source = scene.found.instances[edge.instance].label
        told = 'whole image' if edge.instance == 0 else source or f'cell {edge.instance}'
        name = scene.found.labels[edge.label]
        best = 'best' if edge.is_best else ''
        rows.append([f'{edge.instance} ({told})', name, 100 * edge.probability, best])
    columns = ['instance', 'label', 'probability, %', 'Eq. 15']
    heads = [Column(name, 1) if '%' in name else Column(name) for name in columns]
    return tag('details', tag('summary', 'Edges in numbers'), table(heads, rows, filter=False))


def missing(gone: Gone) -> Markup:
    return note(f'There are no instances, maps and graphs to show: {gone}.')

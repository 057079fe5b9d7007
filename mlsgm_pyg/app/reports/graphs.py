"""The assignment graph of single images, drawn over the picture, and the map of each instance beside it."""

from __future__ import annotations

import base64
import math
from typing import NamedTuple

import numpy as np
import torch

from mlsgm_pyg.app.common.errors import Gone
from mlsgm_pyg.app.common.markup import Markup, tag
from mlsgm_pyg.app.drawing.boxes import COLOURS, jpeg, upright_boxes
from mlsgm_pyg.app.drawing.graph import PANEL, WIDTH, colours, draw_graph, outline, strongest
from mlsgm_pyg.app.reports.page import Column, Facet, Item, Table, template
from mlsgm_pyg.app.reports.pictures import KEY, Chip, Pictures, chips, kind, label_facet
from mlsgm_pyg.app.results import analysis
from mlsgm_pyg.app.results.run import Run
from mlsgm_pyg.datasets import geometry
from mlsgm_pyg.scoring import has_maps, view_of
from mlsgm_pyg.tagger import Box, Prediction

SIDE, BYTES = 448, 30_000  # Of a picture: its longer side in pixels, and what it may take.
MAPS = 6  # Of an image.
SEEN = 0.3  # Probability from which the map of a label without an instance is shown.
REASONS = (
    ('hard', 'hardest'), ('wrong', 'confidently wrong'), ('missed', 'confidently missed'), ('other', 'others'),
)  # fmt: skip
APART = 0.1  # From here on, probabilities are others than in the evaluation.


class Map(NamedTuple):
    """Where a label is seen, over the picture; of an instance with its box and number."""

    content: str
    place: str
    told: str
    box: Markup | None = None
    instance: int | None = None
    colour: str | None = None


class Scene(NamedTuple):
    """An image as the model sees it."""

    name: str
    picture: Markup
    graph: Markup | None
    chips: list[Chip]
    maps: list[Map]
    edges: Table | None


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


def graphs(pictures: Pictures, number: int) -> tuple[str, Markup, list[str]]:
    """What the model sees in some images: its name, itself, and what has to be said of it."""
    run = pictures.run
    model = run.model
    chosen = [(row, why, image) for row, why in pick(run, number) if (image := pictures.read(row)) is not None]
    if not chosen:
        raise Gone('none of the images can be read')
    how = {'maps': has_maps(model), 'graph': True, 'upright': True, 'batch_size': 8, 'threshold': 0.0}
    predictions = model.predict([image for *_, image in chosen], **how)
    view = view_of(model)
    window = geometry.window(view.name, view.sizes[0])
    items, far = [], 0.0
    for (row, why, image), found in zip(chosen, predictions):
        content, size = jpeg(image, SIDE, BYTES)
        picture = pictures.page.image(content, pictures.name(row), *size)
        classes = [run.class_names.index(name) for name in found.labels]
        p, y, limits = np.array(found.probabilities), run.y[row, classes], run.limits[classes]
        shown = np.flatnonzero((y == 1) | (p >= limits)).tolist()
        drawn = shown[: len(COLOURS)] or [0]
        signs = [kind(p[i] >= limits[i], y[i]).sign if i in shown else '' for i in drawn]
        scene = Scene(
            name=pictures.name(row),
            picture=picture,
            graph=draw_graph(found, None, drawn, signs, is_upright=True) if found.instances else None,
            chips=chips(found.labels, p, y, limits),
            maps=[] if found.maps is None else _maps(found, drawn, window, size),
            edges=_edges(found, drawn) if found.instances else None,
        )
        items.append(Item(scene, '', {'why': [why], 'label': [f'l{classes[i]}' for i in shown]}))
        far = max(far, float(np.abs(p - run.p[row, classes]).max()))
    remarks = []
    if far > APART:
        remarks.append(
            f'On the pictures of the last tab the checkpoint gives other probabilities than the evaluation did (by up '
            f'to {far:.2f}): pictures or checkpoint have changed since.'
        )
    has_instances = any(found.instances for found in predictions)
    content = template('pictures').graphs(
        kinds=KEY,
        scenes=items,
        facets=[Facet('why', 'Chosen as', REASONS), label_facet(run)],
        part=100 * WIDTH / (WIDTH + PANEL),
        has_instances=has_instances,
        has_maps=how['maps'],
        has_near=any(found.near is not None for found in predictions),
    )
    return 'Graphs' if has_instances else 'Maps', content, remarks


def _maps(found: Prediction, drawn: list[int], window: Box, size: tuple[int, int]) -> list[Map]:
    """Those of the instances, with their boxes, then of other strong labels."""
    hues = colours(found, drawn)
    of = {one.label: i for i, one in enumerate(found.instances) if one.label is not None}
    wanted = [*dict.fromkeys([*of, *found.labels])][:MAPS]
    x, top, width, height = (100 * v for v in window)
    place = f'left:{x:.2f}%;top:{top:.2f}%;width:{width:.2f}%;height:{height:.2f}%'
    places = {name: i for i, name in enumerate(found.labels)}
    strong = [name for name in wanted if name in of or found.probabilities[places[name]] >= SEEN]
    out = []
    for name in strong or wanted[:1]:
        label = places[name]
        one = Map(_content(found.maps[label]), place, f'{name} {100 * found.probabilities[label]:.0f} %')
        if name in of:
            i = of[name]
            told = f'{name} {100 * found.instances[i].score:.0f} %'
            one = one._replace(told=told, box=_box(found, i, hues[i], size), instance=i, colour=hues[i])
        out.append(one)
    return out


def _box(found: Prediction, i: int, colour: str, size: tuple[int, int]) -> Markup:
    """An instance's box over its map."""
    shape = 100, 100 * size[1] / size[0]
    (part,) = upright_boxes(found, [found.instances[i].box], is_upright=True)
    box = outline([v * side for v, side in zip(part, shape * 2)], colour, shape, 1.6)
    return tag('svg', box, viewBox=f'0 0 100 {shape[1]:g}', aria_hidden='true', class_='over')


def _content(values: torch.Tensor) -> str:
    """A map as parts of its highest place, in the words that the page's script reads."""
    values = (255 * values / values.max().clamp(min=1e-12)).round().to(torch.uint8).numpy()
    return f'{values.shape[1]},{values.shape[0]},{base64.b64encode(values.tobytes()).decode()}'


def _edges(found: Prediction, drawn: list[int]) -> Table:
    """The drawn edges, for those who read rather than look."""
    rows = []
    for edge in strongest(found, drawn):
        source = found.instances[edge.instance].label
        told = 'whole image' if edge.instance == 0 else source or f'cell {edge.instance}'
        best = 'best' if edge.is_best else ''
        rows.append([f'{edge.instance} ({told})', found.labels[edge.label], 100 * edge.probability, best])
    return Table(['instance', 'label', Column('probability, %', 1), 'Eq. 15'], rows, filter=False)


def missing(gone: Gone) -> Markup:
    return template('pictures').no_graphs(gone)

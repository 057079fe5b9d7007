"""The assignment graph of single images, drawn over the picture, and the map of each instance beside it."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments import analysis
from experiments.analysis import POSITIVE
from experiments.common.errors import Gone
from experiments.graph_svg import COLUMN, LEAST, WIDTH, box_outline, colour, drawing, picture_height, strongest
from experiments.page import Column, Facet, Item, Markup, gallery, join, note, table, tag
from experiments.report_pictures import Pictures, chips, key
from experiments.results.run import Run
from experiments.scenes import Scene, jpeg, look

SIDE, BYTES = 448, 30_000  # Of a picture: its longer side in pixels, and what it may take.
SEEN = 0.3  # Probability from which the map of a label without an instance is shown.
APART = 0.1  # From here on, probabilities are others than in the evaluation.


def pick(run: Run, number: int) -> list[tuple[int, str]]:
    """Rows of the images to be looked at, and why: a quarter each the hardest, those most confidently wrong and missed,
    and others from easy to hard."""
    loss = np.nan_to_num(analysis.losses(run.logits, run.y))
    order = np.argsort(-loss, kind='stable').tolist()
    quarter = math.ceil(number / 4)
    found = dict.fromkeys(order[:quarter], 'hard')
    for kind, rows in (('wrong', analysis.wrong), ('missed', analysis.missed)):
        for one in rows(run.p, run.y, quarter):
            found.setdefault(one.image, kind)
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
    chosen, loaded = [], []
    for row, kind in pick(run, number):
        image = pictures.read(row)
        if image is not None:
            chosen.append((row, kind))
            loaded.append(image)
    if not loaded:
        raise Gone('none of the images can be read')
    items, found, remarks = [], list(look(model, loaded)), []
    for (row, kind), image, scene in zip(chosen, loaded, found):
        content, size = jpeg(image, SIDE, BYTES)
        picture = pictures.page.image(content, f'{pictures.name(row)}', *size)
        labels = [f'l{i}' for i in np.flatnonzero((run.y[row] == 1) | (scene.p >= POSITIVE))]
        items.append(Item(_card(pictures, row, scene, picture, size), '', {'why': [kind], 'label': labels}))
    apart = max(float(np.abs(scene.p - run.p[row]).max()) for (row, _), scene in zip(chosen, found))
    if apart > APART:
        remarks.append(
            f'On the pictures of the last tab the checkpoint gives other probabilities than the evaluation did (by up '
            f'to {apart:.2f}): pictures or checkpoint have changed since.'
        )
    why = [('hard', 'hardest'), ('wrong', 'confidently wrong'), ('missed', 'confidently missed'), ('other', 'others')]
    names = [(f'l{i}', name) for i, name in sorted(enumerate(run.class_names), key=lambda pair: pair[1].lower())]
    facets = [Facet('why', 'Chosen as', why), Facet('label', 'Label', names)]
    name = 'Graphs' if any(scene.nodes for scene in found) else 'Maps'
    return name, join([_about(found), _switches(found), key(), gallery(items, facets)]), remarks


def _about(found: Sequence[Scene]) -> Markup:
    if not any(scene.nodes for scene in found):
        maps = any(scene.maps for scene in found)
        told = 'the activation maps of its strongest labels' if maps else 'and no activation maps: pictures only'
        return tag('p', f'This model has no instances; shown are {told}.' if maps else f'It has no instances {told}.')
    near = any(scene.near for scene in found)
    edges = 'Dashed arrows lead from each instance to those whose nearest neighbours it is. ' if near else ''
    return tag(
        'p',
        'Numbered nodes are instances, at the centres of their boxes (moved apart where they coincide); 0 is the whole '
        f'image. {edges}Lines to the right are the strongest instance-label edges, the thicker the more probable; the '
        'best instance of a label is its score (Eq. 15). Below: where the class of each instance, or a strong label, '
        'is seen, each map relative to its own highest place.',
    )


def _switches(found: Sequence[Scene]) -> Markup | None:
    if not any(scene.nodes for scene in found):
        return None
    kinds = [('boxes', 'Boxes'), ('near', 'Neighbours (kNN)'), ('matches', 'Edges to labels'), ('nodes', 'Instances')]
    boxes = [
        tag('label', tag('input', type='checkbox', id=f'show-{name}', checked=True), shown) for name, shown in kinds
    ]
    return tag('div', *boxes, class_='controls switches')


def _card(pictures: Pictures, row: int, scene: Scene, picture: Markup, size: tuple[int, int]) -> Markup:
    run = pictures.run
    names, y, height = run.class_names, run.y[row], picture_height(size)
    parts = []
    if scene.nodes:
        total = max(height, LEAST)
        graph = drawing(scene, names, y, size)
        shape = f'aspect-ratio:{WIDTH + COLUMN}/{total:g};--part:{100 * WIDTH / (WIDTH + COLUMN):.2f}%'
        parts.append(tag('div', picture, graph, class_='stage', style=shape))
    else:
        parts.append(picture)
    parts.append(chips(names, scene.p, y))
    parts.append(tag('div', *_maps(scene, names, picture, size), class_='maps') if scene.maps else None)
    parts.append(_numbers(scene, names, y) if scene.nodes else None)
    parts.append(tag('div', pictures.name(row), class_='file'))
    return tag('div', *parts, class_='scene')


def _maps(scene: Scene, names: Sequence[str], picture: Markup, size: tuple[int, int]) -> list[Markup]:
    """One picture a map: those of the instances, with their boxes, then of other strong labels."""
    of = {node.label: (i, node) for i, node in enumerate(scene.nodes) if node.label is not None}
    x, top, width, height = (100 * v for v in scene.window)
    place = f'left:{x:.2f}%;top:{top:.2f}%;width:{width:.2f}%;height:{height:.2f}%'
    out = []
    strong = [label for label in scene.maps if label in of or scene.p[label] >= SEEN]
    for label in strong or [*scene.maps][:1]:
        values = scene.maps[label]
        content = f'{values.shape[1]},{values.shape[0]},{base64.b64encode(values.tobytes()).decode()}'
        drawn, told = None, f'{names[label]} {100 * scene.p[label]:.0f} %'
        if label in of:
            i, node = of[label]
            shape = 100 * size[1] / size[0]
            box = box_outline(i, node.box, shape, 100, 1.6)
            drawn = tag('svg', box, viewBox=f'0 0 100 {shape:g}', aria_hidden='true', class_='over')
            told = join([_number(i), f' {names[label]} {100 * node.score:.0f} %'])
        canvas = tag('canvas', data_map=content, style=place, aria_hidden='true')
        out.append(tag('figure', tag('div', picture, canvas, drawn, class_='frame'), tag('figcaption', told)))
    return out


def _numbers(scene: Scene, names: Sequence[str], y: np.ndarray) -> Markup:
    """The drawn edges as a table, for those who read rather than look."""
    rows: list[list[Any]] = []
    for i, label in strongest(scene.match, y):
        source = scene.nodes[i].label
        told = 'whole image' if i == 0 else f'cell {i}' if source is None else f'{names[source]}'
        best = int(scene.match[:, label].argmax()) == i
        rows.append([f'{i} ({told})', names[label], 100 * float(scene.match[i, label]), 'best' if best else ''])
    columns = ['instance', 'label', 'probability, %', 'Eq. 15']
    heads = [Column(name, 1) if '%' in name else Column(name) for name in columns]
    return tag('details', tag('summary', 'Edges in numbers'), table(heads, rows, filter=False))


def _number(i: int) -> Markup:
    return tag('span', i, class_='node', style=f'background:{colour(i)}')


def missing(gone: Gone) -> Markup:
    return note(f'There are no instances, maps and graphs to show: {gone}.')

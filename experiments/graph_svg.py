"""An assignment graph as SVG over its picture: boxes, kNN edges, instances, and the strongest edges to labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from experiments.analysis import POSITIVE
from experiments.common.markup import Markup, join, tag
from experiments.common.text import cut
from experiments.scenes import Scene
from experiments.spacing import Point, apart

WIDTH, COLUMN, LEAST = 400, 192, 200  # The picture's width, that of the labels' column, and the least height.
EDGES = 12  # Instance-label edges that are drawn.
ROW = 42  # Most height of a label.
NODE = 10  # Radius.
COLOURS = (
    '#d8dde2', '#e6194b', '#2fa84f', '#4b74f0', '#f58231', '#a53fd0', '#1fb5cf', '#e332c4', '#93a800', '#469990',
    '#a5671f',
)  # fmt: skip


def drawing(scene: Scene, names: Sequence[str], y: np.ndarray, size: tuple[int, int]) -> Markup:
    """The graph over a picture of so many pixels: boxes, kNN edges, nodes, and the strongest edges to labels.

    Args:
        scene (Scene): What the model made of it.
        names (sequence of str): The labels.
        y (ndarray): Which of them are there, [C].
        size (tuple[int, int]): Width and height of the picture.
    """
    height = picture_height(size)
    total = max(height, LEAST)
    centres = [(WIDTH * (x + w / 2), height * (t + h / 2)) for x, t, w, h in (node.box for node in scene.nodes)]
    at = apart(centres, (WIDTH, height), 2.3 * NODE)
    edges = strongest(scene.match, y)
    places = _label_places(edges, scene.p, total)
    boxes = [box_outline(i, node.box, height) for i, node in enumerate(scene.nodes) if i > 0]
    near = [_near(at[i], at[j]) for i, j in scene.near]
    matches = [_match(i, at[i], places[label], scene.match[i, label]) for i, label in reversed(edges)]
    pills = [_pill(names[label], scene.p[label], y[label], place) for label, place in places.items()]
    nodes = [_node(i, place) for i, place in reversed([*enumerate(at)])]
    groups = (('boxes', boxes), ('near', near), ('matches', matches), ('labels', pills), ('nodes', nodes))
    told = f'{len(scene.nodes)} instances, {len(scene.near)} neighbour edges, {len(edges)} edges to labels'
    return tag(
        'svg',
        *(tag('g', *content, class_=name) for name, content in groups),
        role='img',
        aria_label=told,
        viewBox=f'0 0 {WIDTH + COLUMN} {total:g}',
        class_='graph',
    )


def strongest(match: np.ndarray, y: np.ndarray, most: int = EDGES) -> list[tuple[int, int]]:
    """The instance-label edges to be drawn, the strongest first: the best of every label that is there or predicted,
    then all others of at least 0.5; three in any case.

    Args:
        match (ndarray): Probabilities [N, C].
        y (ndarray): Labels [C].
    """
    best = match.argmax(0)
    wanted = [(i, c) for c, i in enumerate(best.tolist()) if y[c] == 1 or match[i, c] >= POSITIVE]
    wanted.sort(key=lambda edge: -match[edge])
    order = [divmod(k, match.shape[1]) for k in np.argsort(-match, axis=None, kind='stable').tolist()]
    others = [edge for k, edge in enumerate(order) if match[edge] >= POSITIVE or k < 3]
    chosen = list(dict.fromkeys(wanted + others))[:most]
    return sorted(chosen, key=lambda edge: -match[edge])


def picture_height(size: tuple[int, int]) -> float:
    """Of a picture as wide as the drawing's."""
    return round(WIDTH * size[1] / size[0], 1)


def _label_places(edges: Sequence[tuple[int, int]], p: np.ndarray, total: float) -> dict[int, Point]:
    """Where the drawn labels stand, the most probable one on top."""
    labels = sorted({label for _, label in edges}, key=lambda label: (-p[label], label))
    step = min(total / max(len(labels), 1), ROW)
    top = (total - step * len(labels)) / 2
    return {label: (WIDTH + 36.0, top + (i + 0.5) * step) for i, label in enumerate(labels)}


def box_outline(i: int, box: Sequence[float], height: float, width: float = WIDTH, stroke: float = 2) -> Markup:
    x, y, w, h = box
    inset = stroke / 2 + 0.5
    shape = {
        'x': f'{x * width + inset:.1f}',
        'y': f'{y * height + inset:.1f}',
        'width': f'{max(w * width - 2 * inset, 1):.1f}',
        'height': f'{max(h * height - 2 * inset, 1):.1f}',
        'fill': 'none',
    }
    under = tag('rect', **shape, stroke='#000', stroke_opacity=0.45, stroke_width=2 * stroke)
    return join([under, tag('rect', **shape, stroke=colour(i), stroke_width=stroke)])


def _near(source: Point, target: Point) -> Markup:
    """A dashed line with its head before the target's circle."""
    (x, y), (to_x, to_y) = source, target
    length = math.hypot(to_x - x, to_y - y)
    if length < 2 * NODE:
        return Markup()
    across, down = (to_x - x) / length, (to_y - y) / length
    tip = to_x - across * (NODE + 1), to_y - down * (NODE + 1)
    base = tip[0] - across * 8, tip[1] - down * 8
    head = ((base[0] - down * 4, base[1] + across * 4), tip, (base[0] + down * 4, base[1] - across * 4))
    line = f'M{x:.1f} {y:.1f}L{base[0]:.1f} {base[1]:.1f}'
    shape = 'M' + 'L'.join(f'{a:.1f} {b:.1f}' for a, b in head) + 'z'
    return join([tag('path', d=line, class_='halo'), tag('path', d=line, class_='dash'), tag('path', d=shape)])


def _match(i: int, source: Point, target: Point, p: float) -> Markup:
    (x, y), (to_x, to_y) = source, (target[0] - 6, target[1])
    bend = (to_x - x) / 2
    line = f'M{x:.1f} {y:.1f}C{x + bend:.1f} {y:.1f} {to_x - bend:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}'
    width = 0.8 + 3.2 * p
    style = {'d': line, 'fill': 'none', 'stroke_linecap': 'round'}
    under = tag('path', **style, stroke='#000', stroke_opacity=0.35, stroke_width=f'{width + 1.5:.1f}')
    return join([under, tag('path', **style, stroke=colour(i), stroke_width=f'{width:.1f}')])


def _pill(name: str, p: float, y: int, place: Point) -> Markup:
    sign = '✓' if y == 1 and p >= POSITIVE else '○' if y == 1 else '✕' if p >= POSITIVE and y == 0 else ''
    x, middle = place
    dot = tag('circle', cx=f'{x - 6:.1f}', cy=f'{middle:.1f}', r=4, class_='end')
    told = f'{sign} {cut(name, 13)} {100 * p:.0f}'.strip()
    return join([dot, tag('text', told, x=f'{x + 2:.1f}', y=f'{middle + 5:.1f}')])


def _node(i: int, place: Point) -> Markup:
    x, y = place
    circle = tag('circle', cx=f'{x:.1f}', cy=f'{y:.1f}', r=NODE, fill=colour(i), stroke='#fff', stroke_width=2)
    kind = None if i else 'whole'
    return join([circle, tag('text', i, x=f'{x:.1f}', y=f'{y + 4.5:.1f}', text_anchor='middle', class_=kind)])


def colour(i: int) -> str:
    return COLOURS[0] if i == 0 else COLOURS[1 + (i - 1) % (len(COLOURS) - 1)]

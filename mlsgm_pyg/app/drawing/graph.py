"""The assignment graph of one picture as SVG: instances, kNN edges, and the strongest instance-label edges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from PIL import Image

from mlsgm_pyg.app.common.markup import Markup, join, tag
from mlsgm_pyg.app.common.text import cut
from mlsgm_pyg.app.drawing.boxes import COLOURS, data_uri, num_drawn, upright_boxes
from mlsgm_pyg.tagger import Prediction

EDGES = 10  # Instance-label edges that are drawn, beside the best of each label.
LEAST = 0.1  # Of these only what is at least as probable.
WIDTH, PANEL = 400, 220  # Of the picture, and of what stands beside it.
LABEL, LINE = 28, 19  # Heights of a label and of a line of the list of instances.
RADIUS = 10
FADE = 0.7  # Opacity of the picture.
DARK, OTHER = '#222222', '#777777'

Point = tuple[float, float]


class Edge(NamedTuple):
    """An instance-label edge that is drawn."""

    instance: int
    label: int  # Its place in the prediction's labels.
    probability: float
    is_best: bool  # Whether it is the score of the label (Eq. 15).


def draw_graph(
    found: Prediction,
    image: Image.Image | None = None,
    labels: Sequence[int] | None = None,
    signs: Sequence[str] = (),
    is_upright: bool = False,
) -> Markup:
    """Draws a prediction's assignment graph as SVG; labels and a list of the instances stand beside the picture.

    Args:
        found (Prediction): With :obj:`graph=True`, of a model that has instances.
        image (PIL.Image.Image, optional): The upright picture. (default: none, where it lies below the drawing already)
        labels (sequence of int, optional): The places of the labels in :obj:`found.labels`, ten at most. (default:
            those of at least 0.5, at most five, at least one)
        signs (sequence of str): What is written before each of these labels. (default: nothing)
        is_upright (bool): Whether the boxes count upright pixels already. (default: :obj:`False`)

    Raises:
        ValueError: If the prediction has no graph.
    """
    if found.match is None:
        raise ValueError("a graph needs a prediction made with 'graph=True' by a model that has instances (got none)")
    if labels is None:
        labels = range(num_drawn(found))
    labels = labels[: len(COLOURS)]
    size = found.size if is_upright or found.orientation < 5 else found.size[::-1]
    height = round(WIDTH * size[1] / size[0], 1)
    parts = upright_boxes(found, [one.box for one in found.instances], is_upright)
    frames = [(WIDTH * x, height * y, WIDTH * w, height * h) for x, y, w, h in parts]
    nodes = apart([(x + w / 2, y + h / 2) for x, y, w, h in frames], (WIDTH, height), 2.3 * RADIUS)
    hues = colours(found, labels)
    places = {label: (WIDTH + 34.0, 8 + LABEL * (i + 0.5)) for i, label in enumerate(labels)}
    list_top = LABEL * len(labels) + 20
    edges, pairs = strongest(found, labels), near_pairs(found)
    groups = {
        'boxes': [outline(frame, colour, (WIDTH, height)) for frame, colour in list(zip(frames, hues))[1:]],
        'near': _near(nodes, pairs),
        'matches': [
            _match(nodes[edge.instance], places[edge.label], edge, COLOURS[labels.index(edge.label)])
            for edge in reversed(edges)
        ],
        'labels': _labels(found, places, signs),
        'nodes': [_node(i, place, hues[i]) for i, place in reversed([*enumerate(nodes)])],
        'key': _key(found, hues, list_top),
    }
    picture = image and tag('image', href=data_uri(image), width=WIDTH, height=height, opacity=FADE)
    total = max(height, list_top + LINE * (len(nodes) + 2) + 8)
    told = f'{len(nodes)} instances, {len(pairs)} pairs of neighbours, {len(edges)} edges to labels'
    return tag(
        'svg',
        picture,
        *(tag('g', *content, class_=name) for name, content in groups.items()),
        xmlns='http://www.w3.org/2000/svg',
        role='img',
        aria_label=told,
        viewBox=f'0 0 {WIDTH + PANEL} {total:g}',
        font_family='system-ui, sans-serif',
        font_size=14,
        fill='currentColor',
        class_='graph',
    )


def strongest(found: Prediction, labels: Sequence[int]) -> list[Edge]:
    """The edges that are drawn: the best one of each label, then the most probable others; the strongest first."""
    best, others = [], []
    for label in labels:
        for instance, p in enumerate(found.match[:, label].tolist()):
            is_best = instance == found.best[label]
            (best if is_best else others).append(Edge(instance, label, p, is_best))
    others = sorted((edge for edge in others if edge.probability >= LEAST), key=lambda edge: -edge.probability)
    return sorted(best + others[:EDGES], key=lambda edge: (not edge.is_best, -edge.probability))


def near_pairs(found: Prediction) -> list[tuple[int, int, bool]]:
    """The kNN edges as (from, to, goes both ways), each pair once."""
    edges = {tuple(edge) for edge in found.near.t().tolist()} if found.near is not None else set()
    return sorted((a, b, (b, a) in edges) for a, b in edges if a < b or (b, a) not in edges)


def colours(found: Prediction, labels: Sequence[int]) -> list[str]:
    """Of each instance: that of the label whose map found it, where that label is drawn."""
    named = dict(zip((found.labels[label] for label in labels), COLOURS))
    return [named.get(one.label, OTHER) if i else DARK for i, one in enumerate(found.instances)]


def apart(points: Sequence[Point], size: tuple[float, float], least: float) -> list[Point]:
    """Moves points that lie closer to an earlier one than :obj:`least` around it, inside of a picture of this size."""
    placed: list[Point] = []
    for point in points:
        free = (at for at in _around(point, size, least) if all(math.dist(at, other) >= least for other in placed))
        placed.append(next(free, point))
    return placed


def outline(frame: Sequence[float], colour: str, size: tuple[float, float], stroke: float = 2) -> Markup:
    """A box (x, y, width, height) in a drawing of so many pixels."""
    x, y, width, height = frame
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + width, size[0]), min(y + height, size[1])
    inset = stroke / 2 + 0.5
    shape = {'x': f'{left + inset:.1f}', 'y': f'{top + inset:.1f}'}
    shape |= {'width': f'{max(right - left - 2 * inset, 1):.1f}', 'height': f'{max(bottom - top - 2 * inset, 1):.1f}'}
    under = tag('rect', **shape, fill='none', stroke='#000', stroke_opacity=0.45, stroke_width=2 * stroke)
    return join([under, tag('rect', **shape, fill='none', stroke=colour, stroke_width=stroke)])


def _around(point: Point, size: tuple[float, float], step: float) -> Iterator[Point]:
    margin = step / 2
    for i in range(200):  # A spiral of the golden angle covers the plane evenly.
        radius, angle = step * math.sqrt(i) / 1.7, 2.39996 * i
        at = point[0] + radius * math.cos(angle), point[1] + radius * math.sin(angle)
        yield tuple(min(max(v, min(margin, side / 2)), max(side - margin, side / 2)) for v, side in zip(at, size))


def _near(nodes: Sequence[Point], pairs: Sequence[tuple[int, int, bool]]) -> list[Markup]:
    """A line for each pair of neighbours, with a head at each end that hears from the other."""
    lines = [f'M{_at(nodes[a])}L{_at(nodes[b])}' for a, b, _ in pairs]
    under = [tag('path', d=line, stroke='#fff', stroke_width=4) for line in lines]
    over = [tag('path', d=line, stroke=DARK, stroke_width=2) for line in lines]
    ends = [end for a, b, both in pairs for end in ((a, b), (b, a))[: 1 + both]]
    return [*under, *over, *(_arrow(nodes[start], nodes[end]) for start, end in ends)]


def _arrow(start: Point, end: Point, back: float = RADIUS, colour: str = DARK) -> Markup:
    """A head before the end of a line: by default at the rim of the node there."""
    length = math.dist(start, end) or 1
    across, down = (end[0] - start[0]) / length, (end[1] - start[1]) / length

    def at(far: float, side: float) -> str:
        return _at((end[0] - far * across - side * down, end[1] - far * down + side * across))

    shape = f'M{at(back, 0)}L{at(back + 9, 5)}L{at(back + 9, -5)}z'
    return tag('path', d=shape, fill=colour, stroke='#fff', stroke_opacity=0.7)


def _match(start: Point, end: Point, edge: Edge, colour: str) -> Markup:
    """A curve that leaves and arrives level; wider and stronger where it is more probable."""
    bend = (start[0] + end[0]) / 2
    line = f'M{_at(start)}C{_at((bend, start[1]))} {_at((bend, end[1]))} {_at(end)}'
    width, opacity = 1 + 4 * edge.probability, 1 if edge.is_best else 0.3 + 0.7 * edge.probability
    style = {'d': line, 'fill': 'none', 'stroke_linecap': 'round'}
    under = tag('path', **style, stroke='#fff', stroke_opacity=0.7, stroke_width=f'{width + 2:.1f}')
    over = tag('path', **style, stroke=colour, stroke_opacity=f'{opacity:.2f}', stroke_width=f'{width:.1f}')
    return join([under, over])


def _labels(found: Prediction, places: dict[int, Point], signs: Sequence[str]) -> Iterator[Markup]:
    for i, (label, (x, y)) in enumerate(places.items()):
        yield tag('circle', cx=x, cy=y, r=7, fill=COLOURS[i], stroke='#fff')
        sign = f'{signs[i]} '.lstrip() if signs else ''
        yield _text(x + 13, y, sign + cut(found.labels[label], 15 - len(sign)))
        yield _text(WIDTH + PANEL - 6, y, f'{100 * found.probabilities[label]:.0f} %', text_anchor='end')


def _node(i: int, place: Point, colour: str, radius: float = RADIUS) -> Markup:
    """A numbered instance; the whole picture is a square."""
    x, y = place
    style = {'fill': colour, 'stroke': '#fff', 'stroke_width': 1.5}
    square = {'x': f'{x - radius:.1f}', 'y': f'{y - radius:.1f}', 'width': 2 * radius, 'height': 2 * radius}
    circle = {'cx': f'{x:.1f}', 'cy': f'{y:.1f}', 'r': radius}
    shape = tag('circle', **circle, **style) if i else tag('rect', **square, **style)
    return join([shape, _text(x, y, i, text_anchor='middle', fill='#fff', font_size=12, font_weight=700)])


def _key(found: Prediction, hues: Sequence[str], top: float) -> Iterator[Markup]:
    """What the numbers on the instances mean, and the lines."""
    left, small = WIDTH + 18, {'font_size': 13}
    for i, (one, colour) in enumerate(zip(found.instances, hues)):
        y = top + LINE * (i + 0.5)
        told = 'whole picture' if i == 0 else cut(one.label, 16) if one.label else 'cell of the grid'
        yield _node(i, (left, y), colour, 7.5)
        yield _text(left + 16, y, f'{told} {one.score:.2f}' if one.label else told, **small)
    y = top + LINE * (len(hues) + 0.5) + 4
    near = 'neighbour (kNN) → instance' if found.near is not None else 'no graph of the instances'
    yield tag('path', d=f'M{left - 8} {y:.1f}h12', stroke='currentColor', stroke_width=2)
    yield _arrow((left, y), (left + 10, y), 0, 'currentColor')
    yield _text(left + 16, y, near, **small)
    yield tag('path', d=f'M{left - 8} {y + LINE:.1f}h18', stroke=COLOURS[0], stroke_width=4)
    yield _text(left + 16, y + LINE, 'wider: more probable', **small)


def _text(x: float, y: float, told: str | int, **style: object) -> Markup:
    return tag('text', told, x=f'{x:.1f}', y=f'{y:.1f}', dominant_baseline='central', **style)


def _at(place: Point) -> str:
    return f'{place[0]:.1f} {place[1]:.1f}'

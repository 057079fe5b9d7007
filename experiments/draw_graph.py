"""The assignment graph of one picture, drawn over it: instances, kNN edges, the strongest instance-label edges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageColor, ImageDraw

from experiments.common.text import cut
from experiments.drawing.boxes import COLOURS, PANEL, POSITIVE, SHOWN, font, num_positive, upright_boxes
from experiments.spacing import Point, apart
from mlsgm_pyg.tagger import Prediction

EDGES = 10  # Instance-label edges that are drawn, beside the best of each label.
LEAST = 0.1  # Of these only what is at least as probable.
FINE = 2  # Drawn so many times larger, then reduced: smooth lines.
FADE = 0.3  # How far the picture is brought towards white.
RADIUS = 10
LINE = 18  # Height of a line of the list of instances.
DARK = '#222222'


class Edge(NamedTuple):
    """An instance-label edge that is drawn."""

    instance: int
    label: int  # Its place in the prediction's labels.
    probability: float
    is_best: bool  # Whether it is the score of the label (Eq. 15).


def draw_graph(
    image: Image.Image, found: Prediction, number: int | None = None, is_upright: bool = False, most: int = EDGES
) -> Image.Image:
    """Draws a prediction's assignment graph; labels and a list of the instances stand beside the picture.

    Args:
        image (PIL.Image.Image): The upright picture in the size in which it is drawn.
        found (Prediction): With :obj:`graph=True`, of a model that has instances.
        number (int, optional): So many labels, the most probable first. (default: those of at least 0.5, at most five,
            at least one)
        is_upright (bool): Whether the boxes count upright pixels already. (default: :obj:`False`)
        most (int): Instance-label edges beside each label's best one. (default: :obj:`10`)

    Raises:
        ValueError: If the prediction has no graph.
    """
    if found.match is None:
        raise ValueError("a graph needs a prediction made with 'graph=True' by a model that has instances (got none)")
    if number is None:
        number = num_positive(found, POSITIVE) or min(1, len(found.labels))
    boxes = upright_boxes(found, [one.box for one in found.instances], is_upright)
    frames = [[FINE * side * v for side, v in zip(image.size * 2, box)] for box in boxes]
    centres = [(x + w / 2, y + h / 2) for x, y, w, h in frames]
    nodes = apart(centres, (FINE * image.width, FINE * image.height), 2.6 * FINE * RADIUS)
    heights = _label_heights(number), LINE * (len(found.instances) + 4)
    page = Image.new('RGB', (FINE * (image.width + PANEL), FINE * max(image.height, sum(heights))), 'white')
    large = image.resize((FINE * image.width, FINE * image.height), Image.Resampling.BILINEAR)
    page.paste(Image.blend(large, Image.new('RGB', large.size, 'white'), FADE))
    canvas = ImageDraw.Draw(page)
    colours = [_colour(found, i, number) for i in range(len(nodes))]
    for frame, colour in list(zip(frames, colours))[1:]:  # The first is the whole picture.
        x, y, w, h = frame
        canvas.rectangle((x, y, min(x + w, large.width - 1), min(y + h, large.height - 1)), outline=colour, width=3)
    _near(canvas, nodes, near_pairs(found))
    places = [(FINE * (image.width + 44), FINE * (26 + 44 * i)) for i in range(number)]
    for edge in reversed(strongest(found, number, most)):
        _match(canvas, nodes[edge.instance], places[edge.label], edge)
    _instance_nodes(canvas, nodes, colours)
    _label_nodes(canvas, places, found)
    _legend(canvas, FINE * (image.width + 14), FINE * heights[0], found, colours)
    return page.reduce(FINE)


def strongest(found: Prediction, number: int, most: int = EDGES) -> list[Edge]:
    """The best edge of each of the first labels, and the most probable of their other edges; the strongest first."""
    best, others = [], []
    for label in range(number):
        for instance, p in enumerate(found.match[:, label].tolist()):
            is_best = instance == found.best[label]
            (best if is_best else others).append(Edge(instance, label, p, is_best))
    others = sorted((edge for edge in others if edge.probability >= LEAST), key=lambda edge: -edge.probability)
    return sorted(best + others[:most], key=lambda edge: (not edge.is_best, -edge.probability))


def near_pairs(found: Prediction) -> list[tuple[int, int, bool]]:
    """The kNN edges as (from, to, goes both ways), each pair once."""
    edges = {tuple(edge) for edge in found.near.t().tolist()} if found.near is not None else set()
    return sorted((a, b, (b, a) in edges) for a, b in edges if a < b or (b, a) not in edges)


def _label_heights(number: int) -> int:
    return 44 * max(number, 1) + 12


def _colour(found: Prediction, instance: int, number: int) -> str:
    """That of the label whose map found an instance, where that label is drawn."""
    name = found.instances[instance].label
    shown = found.labels[: min(number, SHOWN)]
    return COLOURS[shown.index(name)] if name in shown else '#777777' if instance else DARK


def _near(canvas: ImageDraw.ImageDraw, nodes: Sequence[Point], pairs: Sequence[tuple[int, int, bool]]) -> None:
    for colour, width in (('white', 4), (DARK, 2)):
        for a, b, both in pairs:
            canvas.line((*nodes[a], *nodes[b]), colour, FINE * width)
            if colour == DARK:
                for start, end in ((a, b), (b, a))[: 1 + both]:
                    _arrow(canvas, nodes[start], nodes[end])


def _arrow(canvas: ImageDraw.ImageDraw, start: Point, end: Point) -> None:
    """A head at the rim of the node at the end."""
    angle = math.atan2(end[1] - start[1], end[0] - start[0])

    def at(back: float, side: float) -> Point:
        x, y = -FINE * back, FINE * side
        cos, sin = math.cos(angle), math.sin(angle)
        return end[0] + x * cos - y * sin, end[1] + x * sin + y * cos

    canvas.polygon([at(RADIUS, 0), at(RADIUS + 9, 5), at(RADIUS + 9, -5)], DARK)


def _match(canvas: ImageDraw.ImageDraw, start: Point, end: Point, edge: Edge) -> None:
    """A curve that leaves and arrives level; wider and stronger where it is more probable."""
    bend = (start[0] + end[0]) / 2
    points = [(start[0], start[1]), (bend, start[1]), (bend, end[1]), (end[0], end[1])]
    curve = []
    for i in range(33):
        t = i / 32
        weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
        curve.append(tuple(sum(w * p[axis] for w, p in zip(weights, points)) for axis in (0, 1)))
    width = FINE * (1 + 4 * edge.probability)
    canvas.line(curve, 'white', round(width + 2 * FINE), joint='curve')
    canvas.line(curve, _mixed(COLOURS[edge.label], 1 if edge.is_best else edge.probability), round(width), 'curve')


def _mixed(colour: str, strength: float) -> tuple[int, ...]:
    share = 0.3 + 0.7 * strength
    return tuple(round(255 - share * (255 - value)) for value in ImageColor.getrgb(colour))


def _instance_nodes(canvas: ImageDraw.ImageDraw, nodes: Sequence[Point], colours: Sequence[str]) -> None:
    for i, ((x, y), colour) in reversed(list(enumerate(zip(nodes, colours)))):
        _node(canvas, x, y, colour, str(i), is_square=i == 0)


def _node(canvas: ImageDraw.ImageDraw, x: float, y: float, colour: str, text: str, is_square: bool = False) -> None:
    shape, radius = canvas.rectangle if is_square else canvas.ellipse, FINE * RADIUS
    shape((x - radius, y - radius, x + radius, y + radius), fill=colour, outline='white', width=FINE)
    canvas.text((x, y), text, fill='white', font=font(FINE * 11), anchor='mm')


def _label_nodes(canvas: ImageDraw.ImageDraw, places: Sequence[Point], found: Prediction) -> None:
    for i, (x, y) in enumerate(places):
        radius = FINE * 7
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), COLOURS[i], 'white', FINE)
        canvas.text((x + FINE * 13, y), cut(found.labels[i], 16), 'black', font(FINE * 14), anchor='lm')
        p = f'{100 * found.probabilities[i]:.0f} %'
        canvas.text((x + FINE * (PANEL - 56), y), p, 'black', font(FINE * 14), anchor='rm')


def _legend(canvas: ImageDraw.ImageDraw, x: float, y: float, found: Prediction, colours: Sequence[str]) -> None:
    """What the numbers on the instances mean, and the lines."""
    line = FINE * LINE
    for i, (one, colour) in enumerate(zip(found.instances, colours)):
        shape = canvas.rectangle if i == 0 else canvas.ellipse
        shape((x, y + line * i, x + FINE * 12, y + line * i + FINE * 12), fill=colour)
        text = 'whole picture' if i == 0 else cut(one.label, 18) if one.label else 'cell of the grid'
        score = f' {one.score:.2f}' if one.label else ''
        canvas.text((x + FINE * 18, y + FINE * 6 + line * i), f'{i}  {text}{score}', DARK, font(FINE * 12), anchor='lm')
    y += line * len(found.instances) + FINE * 12
    canvas.line((x, y, x + FINE * 26, y), DARK, FINE * 2)
    _arrow(canvas, (x, y), (x + FINE * (26 + RADIUS), y))
    near = 'hears from its neighbour (kNN)' if found.near is not None else 'no graph of the instances'
    canvas.text((x + FINE * 34, y), near, DARK, font(FINE * 11), anchor='lm')
    y += line
    canvas.line((x, y, x + FINE * 26, y), COLOURS[0], FINE * 4)
    canvas.text((x + FINE * 34, y), 'instance-label; wider: more likely', DARK, font(FINE * 11), anchor='lm')

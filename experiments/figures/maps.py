"""Figure 7: ML-SGM's class activation maps and boxes beside the baseline's.

Both maps are drawn from 0 to their own maximum, and both boxes are what the paper's threshold makes of them
(`model.box_threshold` of the maximum, largest segment). The dashed box is the instance that ML-SGM matches to the
label best, where that is another one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from experiments.figures import choose
from experiments.figures.page import INK, PALE, WRONG, Page, Words, shrink
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.text import cut
from mlsgm_pyg.app.drawing.boxes import upright_boxes
from mlsgm_pyg.app.results.analysis import POSITIVE
from mlsgm_pyg.app.results.run import Run
from mlsgm_pyg.datasets import geometry
from mlsgm_pyg.regions import boxes
from mlsgm_pyg.scoring import view_of

RIGHT_BOX, WRONG_BOX = '#ffffff', '#ff1744'
CELL, PICTURE, ABOVE = 1.85, 1.45, 0.38
GAP = 0.15  # Between labels.
OPACITY = 0.5
RULE = (
    'box of the map: its largest segment from {:.0%} of its maximum on; dashed: the instance that matches the label '
    'best; red: not there'
)

Box = tuple[float, float, float, float]  # x, y, width and height as parts of the picture.


class Seen(NamedTuple):
    """What a model sees of a label in a picture."""

    p: float
    map: np.ndarray  # [h, w]
    box: Box  # Of its own map.
    best: Sequence[float] | None = None  # Of the instance that matches it best.


def arguments(parser: argparse.ArgumentParser) -> None:
    help = 'two run directories, ML-SGM and the baseline; data.root=PATH if their images moved'
    parser.add_argument('words', nargs='+', metavar='RUN', help=help)
    parser.add_argument('--per-image', type=int, default=3, metavar='K', help='labels a picture (default: %(default)s)')
    parser.add_argument('--labels', nargs='+', metavar='NAME', help='images that show one of these')
    choose.add_choice(parser, 4)


def make(args: argparse.Namespace) -> Iterator[tuple[str, Figure]]:
    runs = choose.read_runs(args.words, 2, 'two runs, ML-SGM and its baseline')
    choose.check_same(runs)
    numbers = choose.named(runs[0], args.images) if args.images else chosen(runs, args)
    yield 'figure7', draw(runs, [(number, labels_of(runs, number, args.per_image)) for number in numbers])


def chosen(runs: list[Run], args: argparse.Namespace) -> list[int]:
    """Images at random among those with two labels or more, or among those that show one of `--labels`."""
    y = runs[0].y == 1
    eligible = y[:, choose.label_numbers(runs[0], args.labels)].any(1) if args.labels else y.sum(1) >= 2
    if not eligible.any():
        raise ConfigError(
            f"'{runs[0].folder}' was evaluated on no image that shows {' or '.join(args.labels or ['two labels'])}"
        )
    return choose.drawn(np.flatnonzero(eligible), args.number, args.seed)


def labels_of(runs: list[Run], number: int, most: int) -> list[int]:
    """The labels shown of an image: there, or wrongly named by either; those on which the two differ most first."""
    ours, theirs = (run.probabilities()[number] for run in runs)
    y = runs[0].y[number]
    candidates = np.flatnonzero((y == 1) | ((y == 0) & (np.maximum(ours, theirs) >= POSITIVE)))
    return [int(i) for i in sorted(candidates, key=lambda i: (-abs(ours[i] - theirs[i]), i))[:most]]


def look(run: Run, image: Image.Image, labels: list[int]) -> list[Seen]:
    """What a run's model sees of some labels in a picture."""
    model = run.model
    try:
        (found,) = model.predict([image], threshold=0.0, maps=True, upright=True)
    except ValueError as error:  # Its instances are not from class maps.
        raise ConfigError(f"'{run.folder}': {error}") from error
    name, size = view_of(run.model).name, view_of(run.model).sizes[0]
    at = [found.labels.index(run.class_names[label]) for label in labels]
    maps = found.maps[at]
    own = geometry.to_upright(boxes(maps, run.config.model.box_threshold), name, size).tolist()
    best = upright_boxes(found, [found.boxes[i] for i in at], is_upright=True)
    return [
        Seen(found.probabilities[i], one.numpy(), tuple(box), other) for i, one, box, other in zip(at, maps, own, best)
    ]


def draw(runs: list[Run], shown: list[tuple[int, list[int]]]) -> Figure:
    columns = 1 + 2 * max([len(labels) for _, labels in shown], default=1)
    height = PICTURE + ABOVE + 0.08
    page = Page(columns * CELL + GAP * (columns // 2) + 0.1, 0.3 + height * len(shown))
    page.write(RULE.format(runs[0].config.model.box_threshold), 0.1, 0.08, fontsize=7, color=PALE)
    for row, (number, labels) in enumerate(shown):
        top, image = 0.3 + height * row, choose.picture(runs[0], number)
        small = shrink(image)
        there = [name for name, y in zip(runs[0].class_names, runs[0].y[number]) if y == 1] or ['nothing']
        page.lines(_wrapped(there), 0.1, top)
        page.picture(small, 0.1, top + ABOVE, CELL - 0.1, PICTURE, 'NW')
        ours, theirs = (look(run, image, labels) for run in runs)
        for i, label in enumerate(labels):
            is_there = runs[0].y[number, label] != 0
            for side, (run, seen) in enumerate(((runs[1], theirs[i]), (runs[0], ours[i]))):
                left = 0.1 + CELL * (1 + 2 * i + side) + GAP * (1 + i)
                page.lines(_head(run, label, seen, is_there), left, top)
                axes = page.picture(small, left, top + ABOVE, CELL - 0.1, PICTURE, 'NW')
                window = geometry.window(view_of(run.model).name, view_of(run.model).sizes[0])
                overlay(axes, seen, small.size, window, WRONG_BOX if not is_there else RIGHT_BOX)
    return page.figure


def _head(run: Run, label: int, seen: Seen, is_there: bool) -> list[Words]:
    colour = INK if is_there else WRONG
    told = f'{cut(run.class_names[label], 16)} {seen.p:.2f}'
    return [Words(cut(run.name, 28), PALE), Words(told, colour, seen.p >= POSITIVE)]


def _wrapped(names: list[str]) -> list[Words]:
    return [Words('truth', PALE), Words(cut(', '.join(names), 30))]


def overlay(axes: Axes, seen: Seen, size: tuple[int, int], window: Box, colour: str) -> None:
    """Lays a map over the part of the picture that the model saw, and its boxes."""
    width, height = size
    x, y, w, h = (side * v for side, v in zip(size * 2, window))
    axes.imshow(
        seen.map / max(float(seen.map.max()), 1e-12),
        cmap='turbo', vmin=0, vmax=1, alpha=OPACITY, interpolation='bilinear', extent=(x, x + w, y + h, y),
    )  # fmt: skip
    for box, style in ((seen.box, '-'), (seen.best, '--')):
        if box is None or (style == '--' and np.allclose(box, seen.box, atol=1e-3)):
            continue
        place = (box[0] * width, box[1] * height), box[2] * width, box[3] * height
        axes.add_patch(Rectangle(*place, fill=False, edgecolor='#000000', linewidth=2.2, linestyle=style, alpha=0.6))
        axes.add_patch(Rectangle(*place, fill=False, edgecolor=colour, linewidth=1.2, linestyle=style))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)

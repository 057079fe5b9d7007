"""Figure 2: the architecture, drawn with the sizes of a row (default: coco, the paper's) or of a run.

python -m experiments.figure 2 --out docs             docs/architecture.svg and .png, as the README shows them
python -m experiments.figure 2 digits                 any row, with options; a run directory
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle

from experiments.figures.page import INK, PALE, Page
from experiments.figures.sizes import Sizes, of_words

KINDS = ('svg', 'png')
DPI = 150  # As a README shows it.
WIDTH, HEIGHT = 9.6, 5.45
CARD, EDGE = '#ffffff', '#d0d7de'  # Its own ground: as legible on a dark page.
INSTANCE, LABEL, MATCH, PLAIN = '#d9580d', '#1f4fbf', '#8a8f98', '#eef1f4'
REGIONS = {'CSAC': '#fff4e5', 'ASGC': '#eaf6ee', 'ILMS': '#eaf0fb'}
BOAT, BIRD = (0.12, 0.10, 0.56, 0.62), (0.62, 0.62, 0.28, 0.22)  # Boxes in the scene: x, y, width, height.


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('words', nargs='*', default=['coco'], metavar='ROW | RUN | key=value', help='(default: coco)')


def make(args: argparse.Namespace) -> Iterator[tuple[str, Figure]]:
    yield 'architecture', draw(of_words(args.words))


def draw(sizes: Sizes) -> Figure:
    page = Page(WIDTH, HEIGHT)
    axes = page.axes(0, 0, WIDTH, HEIGHT)
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(0, HEIGHT)
    axes.set_axis_off()
    page.figure.patch.set_alpha(0)
    _box(axes, 0.06, 0.06, WIDTH - 0.12, HEIGHT - 0.12, CARD, EDGE, 0.12)
    _region(axes, 'CSAC', 'Content-aware semantic activation', 4.98, 3.02, 4.4, 2.2)
    _region(axes, 'ASGC', 'Assignment graph', 0.25, 0.25, 3.6, 2.5)
    _region(axes, 'ILMS', 'Instance-label matching selection', 4.1, 0.25, 5.28, 2.5)
    _image_to_instances(axes, sizes)
    _graph(axes, sizes)
    _matching(axes, sizes)
    axes.plot([7.9, 7.9, 2.05, 2.05], [3.02, 2.89, 2.89, 2.85], color=INK, linewidth=1)
    _arrow(axes, (2.05, 2.9), (2.05, 2.72))
    return page.figure


def _image_to_instances(axes: Axes, sizes: Sizes) -> None:
    channels, height, width = sizes.feature
    _scene(axes, 0.25, 3.6, 1.15)
    _text(axes, 0.82, 3.5, 'image', f'3 × {sizes.image_size} × {sizes.image_size}')
    _arrow(axes, (1.42, 4.18), (1.62, 4.18))
    _module(axes, 1.64, 3.68, 1.2, 1.0, _title(sizes.backbone), _count(sizes.parameters['backbone']))
    _arrow(axes, (2.86, 4.18), (3.02, 4.18))
    _stack(axes, 3.04, 3.82, 0.62, '#9fb3c8', 5)
    _text(axes, 3.42, 3.62, 'features', f'{channels} × {height} × {width}')
    _arrow(axes, (3.86, 4.18), (4.0, 4.18))
    reduced = sizes.parameters['reduce'] > 0
    title = '1×1 conv' if reduced else 'as it is'
    _module(axes, 4.02, 3.86, 0.82, 0.64, title, f'→ {sizes.channels}', 8)
    if reduced:
        _text(axes, 4.43, 3.76, _count(sizes.parameters['reduce']))
    _arrow(axes, (4.86, 4.18), (5.16, 4.18))
    _stack(axes, 5.18, 3.78, 0.7, '#fde0c2', 4, heat=True)
    _text(axes, 5.6, 3.58, 'class maps M', f'{sizes.labels} × {height} × {width}')
    _arrow(axes, (6.12, 4.18), (7.0, 4.18))
    _text(axes, 6.55, 4.68, f'score > γ = {sizes.gamma:g}', f'at most {sizes.max_instances}')
    _text(axes, 6.55, 4.06, 'pool, box')
    for i, (name, box) in enumerate((('x⁰', (0, 0, 1, 1)), ('boat', BOAT), ('bird', BIRD))):
        left = 7.05 + 0.78 * i
        _scene(axes, left, 3.86, 0.68, box)
        axes.text(left + 0.34, 4.6, name, ha='center', va='bottom', fontsize=8.5, color=INSTANCE, weight='bold')
    _text(axes, 8.2, 3.72, f'≤ {sizes.max_instances + 1} instances', f'feature {sizes.channels}, box 4')


def _graph(axes: Axes, sizes: Sizes) -> None:
    instances = [(0.87 + 0.56 * i, 1.98) for i in range(3)]
    labels = [(0.55 + 0.44 * i, 1.02) for i in range(5)]
    for a in instances:
        for b in labels:
            axes.plot(*zip(a, b), color=MATCH, linewidth=0.7, zorder=2)
    for i, a in enumerate(labels):
        for j, b in enumerate(labels[i + 1 :]):
            _arc(axes, a, b, LABEL, 0.28 + 0.04 * j)
    for a, b in ((0, 1), (1, 2)):
        axes.plot(*zip(instances[a], instances[b]), color=INSTANCE, linewidth=1.6, zorder=2)
    _arc(axes, instances[0], instances[2], INSTANCE, -0.35, 1.6)
    _nodes(axes, instances, INSTANCE, ('x⁰', 'boat', 'bird'), 0.19)
    _nodes(axes, labels, LABEL, ('boat', 'bird', 'dog', 'car', '…'), 0.19)
    _note(axes, 2.68, 2.16, INSTANCE, 'instance graph', f'kNN, k = {sizes.k}', 'edges: 2 boxes, 8')
    _note(axes, 2.68, 1.62, MATCH, 'matching edges', 'instance × label', f'{sizes.channels} + {sizes.words}')
    _note(axes, 2.68, 1.08, LABEL, 'label graph', f'{sizes.labels} labels', sizes.label_graph)
    _text(axes, 1.6, 0.54, f'label nodes: word vectors, {sizes.words} numbers each')


def _matching(axes: Axes, sizes: Sizes) -> None:
    top, height = 0.82, 1.25
    _arrow(axes, (3.87, 1.45), (4.22, 1.45))
    chain = ' → '.join(map(str, sizes.encoder))
    _module(axes, 4.24, top, 0.96, height, 'Encoder', f'5 MLPs\n{chain}\n{_count(sizes.parameters["encoder"])}')
    number, left, room, gap = len(sizes.blocks), 5.38, 2.34, 0.14
    width = (room - gap * (number - 1)) / number
    size = sizes.encoder[-1]
    for i, out in enumerate(sizes.blocks):
        at = left + (width + gap) * i
        _arrow(axes, (at - (0.16 if i == 0 else gap), 1.45), (at, 1.45))
        told = f'nodes,\nthen edges\n{size} → {out}\n{_count(sizes.parameters[f"blocks.{i}"])}'
        _module(axes, at, top, width, height, f'Block {i + 1}', told, 9 if number < 4 else 7)
        size = out
    _arrow(axes, (left + room, 1.45), (left + room + 0.16, 1.45))
    told = f'{size} → {sizes.decoder} → 1\n{_count(sizes.parameters["decoder"])}'
    _module(axes, 7.9, top, 0.88, height, 'Decoder', told, 8.5)
    _text(axes, 6.25, 0.7, 'graph convolution: means over neighbours,', 'weights of its own for each relation')
    _arrow(axes, (8.8, 1.45), (8.93, 1.45))
    for i, (value, colour) in enumerate(((0.36, LABEL), (0.3, LABEL), (0.07, EDGE), (0.04, EDGE), (0.05, EDGE))):
        axes.add_patch(Rectangle((8.95, 1.92 - 0.23 * i), value, 0.14, color=colour, zorder=3))
    axes.plot([8.95, 8.95], [0.92, 2.1], color=INK, linewidth=0.8)
    _text(axes, 8.75, 0.7, 'max over instances:', f'{sizes.labels} scores')


def _title(backbone: str) -> str:
    name = backbone.removeprefix('timm/')
    return {'resnet': f'ResNet-{name[6:]}', 'effici': f'EfficientNet\nLite{name[-1]}'}.get(name[:6], name[:14])


def _count(number: int) -> str:
    return f'{number / 1e6:.1f} M' if number >= 1e6 else f'{number / 1e3:.0f} k'


def _box(
    axes: Axes, x: float, y: float, width: float, height: float, colour: str, edge: str = 'none', round_: float = 0.07
) -> None:
    style = f'round,pad=0,rounding_size={round_}'
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=colour, edgecolor=edge, zorder=1))


def _region(axes: Axes, short: str, long: str, x: float, y: float, width: float, height: float) -> None:
    _box(axes, x, y, width, height, REGIONS[short], round_=0.1)
    axes.text(x + 0.12, y + height - 0.1, short, va='top', fontsize=10, weight='bold', color=INK)
    axes.text(x + 0.68, y + height - 0.115, long, va='top', fontsize=8.5, color=PALE)


def _module(
    axes: Axes, x: float, y: float, width: float, height: float, title: str, told: str, size: float = 9
) -> None:
    _box(axes, x, y, width, height, PLAIN, '#57606a')
    middle, lines = x + width / 2, told.count('\n') + 1
    axes.text(
        middle, y + height / 2 + 0.085 * lines, title, ha='center', va='center', fontsize=size, weight='bold', color=INK
    )
    above = 0.09 * title.count('\n')
    axes.text(
        middle,
        y + height / 2 - 0.075 - above,
        told,
        ha='center',
        va='center',
        fontsize=size - 1,
        color=INK,
        linespacing=1.3,
    )


def _text(axes: Axes, x: float, top: float, *lines: str) -> None:
    axes.text(x, top, '\n'.join(lines), ha='center', va='top', fontsize=8, color=INK, linespacing=1.25)


def _note(axes: Axes, x: float, top: float, colour: str, title: str, *lines: str) -> None:
    axes.text(x, top, title, va='top', fontsize=8, color=colour, weight='bold')
    axes.text(x, top - 0.145, '\n'.join(lines), va='top', fontsize=7.5, color=INK, linespacing=1.2)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {'arrowstyle': '-|>', 'mutation_scale': 8, 'shrinkA': 0, 'shrinkB': 0}
    axes.add_patch(FancyArrowPatch(start, end, color=INK, linewidth=1, zorder=3, **style))


def _arc(axes: Axes, a: tuple, b: tuple, colour: str, bend: float, width: float = 0.7) -> None:
    patch = FancyArrowPatch(a, b, arrowstyle='-', connectionstyle=f'arc3,rad={bend}', color=colour, linewidth=width)
    patch.set_zorder(2)
    axes.add_patch(patch)


def _nodes(axes: Axes, places: Sequence[tuple], colour: str, names: Sequence[str], radius: float) -> None:
    for place, name in zip(places, names):
        axes.add_patch(Circle(place, radius, facecolor='white', edgecolor=colour, linewidth=1.4, zorder=4))
        axes.text(*place, name, ha='center', va='center', fontsize=7.5, color=colour, weight='bold', zorder=5)


def _stack(axes: Axes, x: float, y: float, side: float, colour: str, number: int, heat: bool = False) -> None:
    """Some maps one behind the other, the last one whole."""
    for i in reversed(range(number)):
        at = x + 0.045 * i, y + 0.045 * i
        axes.add_patch(Rectangle(at, side, side, facecolor=colour, edgecolor='#57606a', linewidth=0.6, zorder=3))
    if heat:
        for scale, tone in ((1.0, '#f9b36b'), (0.6, '#ee7d2b'), (0.28, '#c62828')):
            centre = x + side * 0.4, y + side * 0.42
            axes.add_patch(Ellipse(centre, 0.6 * side * scale, 0.7 * side * scale, color=tone, zorder=4))
    else:
        for part in np.linspace(0, side, 6)[1:-1]:
            axes.plot([x + part] * 2, [y, y + side], color='#57606a', linewidth=0.4, zorder=4)
            axes.plot([x, x + side], [y + part] * 2, color='#57606a', linewidth=0.4, zorder=4)


def _scene(axes: Axes, x: float, y: float, side: float, box: tuple[float, ...] | None = None) -> None:
    """A boat and a bird over the sea; with a box, what is outside of it is paler."""

    def at(*points: tuple[float, float]) -> np.ndarray:
        return np.array(points) * side + (x, y)

    def shape(colour: str, *points: tuple[float, float]) -> None:
        axes.add_patch(Polygon(at(*points), closed=True, color=colour, linewidth=0, zorder=3))

    shape('#cfe6f5', (0, 0), (1, 0), (1, 1), (0, 1))
    shape('#5b9bc8', (0, 0), (1, 0), (1, 0.3), (0, 0.3))
    axes.add_patch(Circle(at((0.24, 0.84))[0], 0.08 * side, color='#f5c542', linewidth=0, zorder=3))
    shape('#8c4a2f', (0.14, 0.26), (0.66, 0.26), (0.56, 0.12), (0.24, 0.12))
    shape('#ffffff', (0.4, 0.3), (0.4, 0.7), (0.63, 0.3))
    shape('#f0d9c0', (0.37, 0.3), (0.37, 0.62), (0.18, 0.3))
    for left, right in (((0.64, 0.79), (0.76, 0.70)), ((0.88, 0.79), (0.76, 0.70))):
        middle = (left[0] + right[0]) / 2, 0.82
        axes.plot(*at(left, middle, right).T, color='#33373d', linewidth=2.2 * side, zorder=3, solid_capstyle='round')
    frame = Rectangle((x, y), side, side, fill=False, edgecolor='#57606a', linewidth=0.6, zorder=5)
    axes.add_patch(frame)
    if box is None:
        return
    left, low, width, height = box
    for a, b, c, d in (
        (0, 0, 1, low),
        (0, low + height, 1, 1),
        (0, low, left, low + height),
        (left + width, low, 1, low + height),
    ):
        shape_ = Polygon(
            at((a, b), (c, b), (c, d), (a, d)), closed=True, facecolor='white', alpha=0.72, zorder=4, linewidth=0
        )
        axes.add_patch(shape_)
    axes.add_patch(
        Rectangle(
            at((left, low))[0], width * side, height * side, fill=False, edgecolor=INSTANCE, linewidth=1.6, zorder=6
        )
    )

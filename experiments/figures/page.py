"""A page of pictures and lines of text, laid out in inches from the top left corner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from mlsgm_pyg.app.common.files import replacing

STYLE = {
    'font.family': 'DejaVu Sans',
    'font.size': 8,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.linewidth': 0.6,
    'pdf.fonttype': 42,  # Text stays text.
    'svg.hashsalt': 'mlsgm_pyg',
}
INK, PALE = '#1f2328', '#6e7781'
WRONG, MISSED, RIGHT = '#c62828', '#2e7d32', INK  # The paper's red and green.
OURS, THEIRS = '#c62828', '#1f4fbf'  # Its Fig. 6: ML-SGM red, the baseline blue.
LINE = 0.165  # Height of a line of text.
LONGEST = 640  # Pixels of a picture's longer side.
DPI = 200
KINDS = ('png', 'pdf')


class Words(NamedTuple):
    """A line of text."""

    text: str
    colour: str = INK
    bold: bool = False


class Page:
    """A figure whose parts are placed in inches; `top` counts downwards."""

    def __init__(self, width: float, height: float):
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        bottom = self.height - top - height
        place = left / self.width, bottom / self.height, width / self.width, height / self.height
        return self.figure.add_axes(place)

    def picture(
        self, image: Image.Image, left: float, top: float, width: float, height: float, anchor: str = 'SW'
    ) -> Axes:
        """Places a picture in a corner of a rectangle; its axes count its own pixels."""
        axes = self.axes(left, top, width, height)
        axes.imshow(image, extent=(0, image.width, image.height, 0), interpolation='antialiased')
        axes.set_anchor(anchor)
        axes.set_axis_off()
        return axes

    def write(self, text: str, left: float, top: float, **how) -> None:
        how = {'va': 'top', 'color': INK} | how
        self.figure.text(left / self.width, 1 - top / self.height, text, **how)

    def lines(self, lines: Sequence[Words], left: float, top: float, size: float = 7.5) -> None:
        for number, line in enumerate(lines):
            weight = 'bold' if line.bold else 'normal'
            self.write(line.text, left, top + LINE * number, color=line.colour, fontsize=size, weight=weight)


def shrink(image: Image.Image) -> Image.Image:
    """A picture no larger than it is drawn."""
    scale = min(LONGEST / max(image.size), 1)
    return image.resize([max(round(side * scale), 1) for side in image.size], Image.Resampling.BILINEAR)


def save(figure: Figure, folder: Path, stem: str, kinds: Sequence[str] = KINDS, dpi: int = DPI) -> list[Path]:
    """Writes a figure in each format, whole or not at all; the same figure gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    nothing = {
        'png': {'Software': None},
        'pdf': dict.fromkeys(('Creator', 'Producer', 'CreationDate')),
        'svg': {'Date': None, 'Creator': None},
    }
    paths = [folder / f'{stem}.{kind}' for kind in kinds]
    for path, kind in zip(paths, kinds):
        with replacing(path) as spare:
            figure.savefig(spare, format=kind, dpi=dpi, metadata=nothing[kind])
    return paths

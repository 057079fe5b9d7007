"""A picture with what was found in it: activation, boxes, and the scores beside it."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mlsgm_pyg.app.common.files import replacing
from mlsgm_pyg.app.common.text import cut
from mlsgm_pyg.datasets import geometry
from mlsgm_pyg.tagger import Box, Prediction

if TYPE_CHECKING:
    import torch

SMALLEST, LARGEST = 320, 1024  # The longer side of a drawn picture is brought between these, in pixels.
SHOWN = 5  # Labels that are drawn, of those that are kept.
PANEL = 240  # Width of the scores beside the picture.
ROW = 44
TAG = 20
HEAT = 0.45  # Opacity of the strongest activation.
COLOURS = (
    '#e6194b', '#3cb44b', '#4363d8', '#f58231', '#911eb4', '#1fb5cf', '#e332c4', '#93a800', '#469990', '#a5671f',
)  # fmt: skip


def drawing_path(folder: Path, file: str) -> Path:
    """Where a picture is drawn; equal names from several folders stay apart."""
    digest = hashlib.sha256(file.encode('utf-8', 'surrogateescape')).hexdigest()[:8]
    stem = Path(file).stem.encode('utf-8', 'replace').decode()[:60]
    return folder / f'{stem}-{digest}.jpg'


def shrink(image: Image.Image) -> Image.Image:
    """An upright picture in the size in which it is drawn."""
    longer = max(image.size)
    scale = min(max(longer, SMALLEST), LARGEST) / longer
    return image.resize(tuple(max(round(side * scale), 1) for side in image.size), Image.Resampling.BILINEAR)


def data_uri(image: Image.Image) -> str:
    """A picture as an address that holds it."""
    file = io.BytesIO()
    image.save(file, 'JPEG', quality=88, subsampling=0)
    return 'data:image/jpeg;base64,' + base64.b64encode(file.getvalue()).decode()


def jpeg(image: Image.Image, side: int, most: int) -> tuple[bytes, tuple[int, int]]:
    """A picture shrunk to a longer side of at most so many pixels, in at most about so many bytes, and its size; the
    quality goes down for it, but no further than 20."""
    scale = min(side / max(image.size), 1)
    size = tuple(max(round(length * scale), 1) for length in image.size)
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0) if scale < 1 else image
    for quality in (75, 62, 50, 35, 20):
        file = io.BytesIO()
        small.save(file, 'JPEG', quality=quality, optimize=True, progressive=False)
        if file.tell() <= most:
            break
    return file.getvalue(), size


def save(path: Path, image: Image.Image, found: Prediction, view: str, image_size: int, is_upright: bool) -> None:
    """Draws a prediction with its maps on what :func:`shrink` gave, and writes it as JPEG, whole or not at all."""
    drawn = draw(image, found, view, image_size, is_upright)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as spare:
        drawn.save(spare, 'JPEG', quality=90)


def save_in(folder: Path, file: str, image: Image.Image, found: Prediction, **about: Any) -> None:
    """Draws what was found in a file into its place in a folder, see :func:`save`."""
    save(drawing_path(folder, file), image, found, **about)


def draw(image: Image.Image, found: Prediction, view: str, image_size: int, is_upright: bool) -> Image.Image:
    number = num_drawn(found)
    if found.maps is not None:  # An exported file has none.
        image = heat(image, peaks(found, number), geometry.window(view, image_size))
    image = mark(image, found, number, is_upright)
    page = Image.new('RGB', (image.width + PANEL, max(image.height, ROW * SHOWN + 12)), 'white')
    page.paste(image, (0, 0))
    _scores(ImageDraw.Draw(page), image.width + 12, found, number)
    return page


def num_drawn(found: Prediction) -> int:
    """How many labels to draw: the first ones of those that are kept."""
    return min(len(found.labels), SHOWN)


def listed(found: Prediction, number: int) -> list[tuple[str, float]]:
    """So many labels with their probabilities: those that are kept, then the most probable others."""
    kept = list(zip(found.labels, found.probabilities))
    others = [(label, p) for label, p in found.every.items() if label not in found.labels]
    return [*kept, *sorted(others, key=lambda one: -one[1])][:number]


def peaks(found: Prediction, number: int) -> torch.Tensor:
    """The maps of the first labels [K, h, w], each with its label's probability as its highest value."""
    maps = found.maps[:number]
    highest = maps.amax((1, 2), keepdim=True).clamp(min=1e-12)  # 0 of a label without a class map.
    return maps * maps.new_tensor(found.probabilities[:number]).view(-1, 1, 1) / highest


def mark(image: Image.Image, found: Prediction, number: int, is_upright: bool) -> Image.Image:
    """Frames and names the first labels of a prediction in a copy of the picture."""
    image = image.copy()
    canvas = ImageDraw.Draw(image)
    tags: list[tuple[float, float, float, float]] = []
    boxes = upright_boxes(found, found.boxes[:number], is_upright)
    frames = [box and [side * v for side, v in zip(image.size * 2, box)] for box in boxes]
    for i in reversed(range(number)):  # The most probable one on top.
        if frames[i]:
            _frame(canvas, frames[i], COLOURS[i], image.size)
    for i in range(number):  # It also has the first choice of a place.
        if frames[i]:
            text = f'{found.labels[i]} {100 * found.probabilities[i]:.0f} %'
            tags.append(_tag(canvas, frames[i], text, COLOURS[i], image.size, tags))
    return image


def heat(image: Image.Image, maps: torch.Tensor, window: tuple[float, float, float, float]) -> Image.Image:
    """Lays the strongest of some activation maps [K, h, w] in [0, 1] over the window of a picture that they are of."""
    if len(maps) == 0:
        return image.copy()
    left, top, width, height = (round(side * v) for side, v in zip(image.size * 2, window))
    strength = maps.amax(0).numpy()
    small = Image.fromarray((255 * strength.clip(0, 1)).round().astype(np.uint8))
    value = np.zeros((image.height, image.width), np.uint8)
    inside = np.asarray(small.resize((max(width, 1), max(height, 1)), Image.Resampling.BICUBIC))
    inside = inside[: image.height - top, : image.width - left]
    value[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    opacity = Image.fromarray((HEAT * value).astype(np.uint8))
    return Image.composite(Image.fromarray(_colours()[value]), image, opacity)


def upright_boxes(found: Prediction, boxes: Iterable[Box | None], is_upright: bool) -> list[list[float] | None]:
    """A prediction's boxes as (x, y, width, height) in parts of the upright picture."""
    out: list[list[float] | None] = []
    for box in boxes:
        if box is not None:
            part = np.array([box]) / (found.size * 2)
            part = part if is_upright else geometry.from_stored(part, found.orientation)
            box = part[0].tolist()
        out.append(box)
    return out


@cache
def _colours() -> np.ndarray:
    import matplotlib  # Takes a second: many pictures are predicted and none drawn.

    return (255 * matplotlib.colormaps['turbo'](np.arange(256))[:, :3]).round().astype(np.uint8)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / 'DejaVuSans.ttf', size)


def _frame(canvas: ImageDraw.ImageDraw, box: list[float], colour: str, size: tuple[int, int]) -> None:
    x, y, width, height = box
    right, bottom = max(min(x + width, size[0] - 1), x), max(min(y + height, size[1] - 1), y)
    canvas.rectangle((x, y, right, bottom), outline=colour, width=3)


def _tag(
    canvas: ImageDraw.ImageDraw, box: list[float], text: str, colour: str, size: tuple[int, int], taken: list[tuple]
) -> tuple[float, float, float, float]:
    """Writes beside the top-left corner of a box, below other tags that are there already; returns the place."""
    x, y, *_ = box
    length = canvas.textlength(text, font(14)) + 8
    left, top = max(min(x, size[0] - length), 0), y - TAG if y >= TAG else y
    while any(left < r and l < left + length and top < b and t < top + TAG for l, t, r, b in taken):
        top += TAG
    place = (left, top, left + length, top + TAG)
    canvas.rectangle((left, top, left + length - 1, top + TAG - 1), fill=colour)
    canvas.text((left + 4, top + 2), text, fill='white', font=font(14))
    return place


def _scores(canvas: ImageDraw.ImageDraw, left: int, found: Prediction, number: int) -> None:
    width = PANEL - 24
    for i, (label, p) in enumerate(listed(found, SHOWN)):
        top = 12 + ROW * i
        colour = COLOURS[i] if i < number else '#999999'
        canvas.text((left, top), cut(label, 20), fill='black', font=font(14))
        canvas.text((left + width, top), f'{100 * p:.1f} %', fill='black', font=font(14), anchor='ra')
        canvas.rectangle((left, top + 22, left + width, top + 30), fill='#eeeeee')
        canvas.rectangle((left, top + 22, left + max(round(p * width), 1), top + 30), fill=colour)

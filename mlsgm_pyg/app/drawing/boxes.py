"""A picture with what was found in it: where each label was seen and its box, in one colour; scores beside it."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from mlsgm_pyg.app.common.files import replacing
from mlsgm_pyg.app.common.text import cut, readable
from mlsgm_pyg.datasets import geometry
from mlsgm_pyg.tagger import Box, Prediction

if TYPE_CHECKING:
    import torch

SMALLEST, LARGEST = 320, 1024  # The longer side of a drawn picture is brought between these, in pixels.
SHOWN = 5  # Labels that are drawn, of those that are kept.
PANEL = 240  # Width of the scores beside the picture.
ROW = 44
LETTERS = 14, 28  # The smallest and the largest size of the words in a picture, in pixels,
A_LETTER = 32  # of which its longer side has so many.
HEAT = 0.6  # Opacity of the strongest activation.
PALE = 0.7  # How much of its own colour a picture loses below it: red shows on red, too.
KEY = 'Colour: where a label was seen,', 'its box, its bar. Grey bars: below', 'the threshold, not drawn.'
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
    return image.resize(drawn_size(image.size), Image.Resampling.BILINEAR)


def drawn_size(size: tuple[int, int]) -> tuple[int, int]:
    """That of a drawing without its scores, of an upright picture's size."""
    scale = min(max(max(size), SMALLEST), LARGEST) / max(size)
    return tuple(max(round(side * scale), 1) for side in size)


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


def save(folder: Path, file: str, image: Image.Image, found: Prediction, **about: Any) -> None:
    """Draws a file's prediction with its maps on what :func:`shrink` gave, see :func:`draw`, and writes it as JPEG to
    its place in a folder, whole or not at all."""
    drawn = draw(image, found, **about)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(drawing_path(folder, file)) as spare:
        drawn.save(spare, 'JPEG', quality=90)


def draw(image: Image.Image, found: Prediction, view: str, image_size: int, is_upright: bool) -> Image.Image:
    number = num_drawn(found)
    if found.maps is not None:  # An exported file has none.
        image = heat(image, peaks(found, number), geometry.window(view, image_size))
    image = mark(image, found, number, is_upright)
    page = Image.new('RGB', (image.width + PANEL, max(image.height, ROW * SHOWN + 68)), 'white')
    page.paste(image, (0, 0))
    canvas = ImageDraw.Draw(page)
    _scores(canvas, image.width + 12, found, number)
    canvas.text((image.width + 12, ROW * SHOWN + 14), '\n'.join(KEY), fill='#555555', font=font(12))
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
    """The maps of the first labels [K, h, w], each as parts of its own highest place."""
    maps = found.maps[:number]
    return maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-12)  # 0 of a label without a class map.


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
            text = f'{readable(found.labels[i])} {100 * found.probabilities[i]:.0f} %'
            tags.append(_tag(canvas, frames[i], text, COLOURS[i], image.size, tags))
    return image


def heat(
    image: Image.Image, maps: torch.Tensor, window: tuple[float, float, float, float], first: int = 0
) -> Image.Image:
    """Lays some activation maps [K, h, w] in [0, 1] over the window of a picture that they are of, in the colours of
    their labels from the first one's on; where several are strong, the strongest shows. The picture pales below."""
    pale = Image.blend(image, image.convert('L').convert('RGB'), PALE)
    if len(maps) == 0:
        return pale
    left, top, width, height = (round(side * v) for side, v in zip(image.size * 2, window))
    value, whose = np.zeros((2, image.height, image.width), np.uint8)
    for i, one in enumerate(maps):
        small = Image.fromarray((255 * one.numpy().clip(0, 1)).round().astype(np.uint8))
        inside = np.asarray(small.resize((max(width, 1), max(height, 1)), Image.Resampling.BICUBIC))
        inside = inside[: image.height - top, : image.width - left]
        at = np.s_[top : top + inside.shape[0], left : left + inside.shape[1]]
        whose[at] = np.where(inside > value[at], first + i, whose[at])
        value[at] = np.maximum(inside, value[at])
    opacity = Image.fromarray((HEAT * value).astype(np.uint8))
    return Image.composite(Image.fromarray(_palette()[whose]), pale, opacity)


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
def _palette() -> np.ndarray:
    return np.array([ImageColor.getrgb(colour) for colour in COLOURS], np.uint8)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib  # Takes a second: many pictures are predicted and none drawn.

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / 'DejaVuSans.ttf', size)


def _frame(canvas: ImageDraw.ImageDraw, box: list[float], colour: str, size: tuple[int, int]) -> None:
    x, y, width, height = box
    right, bottom = max(min(x + width, size[0] - 1), x), max(min(y + height, size[1] - 1), y)
    canvas.rectangle((x, y, right, bottom), outline=colour, width=max(_letters(size) // 5, 3))


def _letters(size: tuple[int, int]) -> int:
    """Of words in a picture of this size, so that they can be read where it is shown small."""
    return min(max(max(size) // A_LETTER, LETTERS[0]), LETTERS[1])


def _tag(
    canvas: ImageDraw.ImageDraw, box: list[float], text: str, colour: str, size: tuple[int, int], taken: list[tuple]
) -> tuple[float, float, float, float]:
    """Writes beside the top-left corner of a box, below other tags that are there already; returns the place."""
    x, y, *_ = box
    letters = _letters(size)
    length, high = canvas.textlength(text, font(letters)) + 8, letters + 6
    left, top = max(min(x, size[0] - length), 0), y - high if y >= high else y
    while any(left < r and l < left + length and top < b and t < top + high for l, t, r, b in taken):
        top += high
    place = (left, top, left + length, top + high)
    canvas.rectangle((left, top, left + length - 1, top + high - 1), fill=colour)
    canvas.text((left + 4, top + 2), text, fill='white', font=font(letters))
    return place


def _scores(canvas: ImageDraw.ImageDraw, left: int, found: Prediction, number: int) -> None:
    width = PANEL - 24
    for i, (label, p) in enumerate(listed(found, SHOWN)):
        top = 12 + ROW * i
        colour = COLOURS[i] if i < number else '#999999'
        canvas.text((left, top), cut(readable(label), 20), fill='black', font=font(14))
        canvas.text((left + width, top), f'{100 * p:.1f} %', fill='black', font=font(14), anchor='ra')
        canvas.rectangle((left, top + 22, left + width, top + 30), fill='#eeeeee')
        canvas.rectangle((left, top + 22, left + max(round(p * width), 1), top + 30), fill=colour)

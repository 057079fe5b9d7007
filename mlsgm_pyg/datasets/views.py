"""What a model sees of a picture, made by NumPy alone: bit for bit what torch makes of it."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from mlsgm_pyg.datasets.geometry import FIXED_VIEWS
from mlsgm_pyg.names import check_choice

BITS = 22  # The most bits behind the point of a weight, which must stay below 2 ** 15, as torch's.


class View(NamedTuple):
    """How a model looks at pictures."""

    name: str = 'resize'  #: A fixed one of :func:`mlsgm_pyg.datasets.build_view`.
    sizes: tuple[int, ...] = (448,)  #: Sides in pixels; probabilities are averaged over several.

    def __call__(self, image: Image.Image) -> list[np.ndarray]:
        """An RGB picture -> uint8 :obj:`[3, S, S]` for each size S."""
        seen = [_seen(np.asarray(image), self.name, size) for size in self.sizes]
        return [np.ascontiguousarray(pixels.transpose(2, 0, 1)) for pixels in seen]


def _seen(pixels: np.ndarray, view: str, size: int) -> np.ndarray:
    """What :func:`mlsgm_pyg.datasets.build_view` does, on :obj:`[H, W, 3]`."""
    check_choice('view', view, FIXED_VIEWS)
    side = size if view.startswith('resize') else round(size * 640 / 448)
    start = round((side - size) / 2)  # As torchvision's CenterCrop rounds.
    seen = resize(pixels, side)[start : start + size, start : start + size]
    return seen[:, ::-1] if view.endswith('_flip') else seen


def resize(pixels: np.ndarray, side: int) -> np.ndarray:
    """Resizes to a square as torch's kernel for uint8 does (bilinear, with antialiasing): columns, then rows, with
    weights of 16 bits and bytes between.

    Pillow differs from it by 1 in some pixels, and so does torch where a processor has no AVX2: it takes floats there.

    Shapes:
        - **input:** pixels :math:`(H, W, 3)`, uint8
        - **output:** :math:`(S, S, 3)`, uint8
    """
    for axis in (1, 0):
        if pixels.shape[axis] != side:
            pixels = _resize(pixels, side, axis)
    return pixels


def _resize(pixels: np.ndarray, side: int, axis: int) -> np.ndarray:
    """Weighted sums of neighbouring rows, or columns, tap by tap."""
    length = pixels.shape[axis]
    first, weight, bits = _weights(length, side)
    # Columns' weights as wide as a pixel: NumPy is slow where the last axis is short and broadcast.
    weight = weight.T[:, :, None, None] if axis == 0 else weight.T[:, :, None].repeat(3, 2)
    total = np.full((side, pixels.shape[1], 3) if axis == 0 else (len(pixels), side, 3), 1 << (bits - 1), np.int32)
    part = np.empty_like(total)
    for tap, share in enumerate(weight):
        taken = pixels.take(np.minimum(first + tap, length - 1), axis)  # Beyond the last one the weight is 0.
        total += np.multiply(taken, share, out=part)
    return (total >> bits).clip(0, 255).astype(np.uint8)


def _weights(length: int, side: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Of each new row the first old one, the weights from there on :obj:`[side, taps]` (a triangle around the row's
    centre, as wide as a new row on each side), and their bits behind the point."""
    scale = length / side
    support = max(scale, 1.0)
    taps = int(np.ceil(np.float32(support))) * 2 + 1
    centre = scale * (np.arange(side) + 0.5)
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    count = np.clip(np.minimum((centre + support + 0.5).astype(np.int64), length) - first, 0, taps)
    tap = np.arange(taps)
    weight = 1 - np.abs((tap + first[:, None] - centre[:, None] + 0.5) * (1 / support))
    weight = np.where(tap < count[:, None], np.maximum(weight, 0.0), 0.0)
    weight /= weight.cumsum(1)[:, -1:]  # Summed up from left to right, as torch does.
    bits = next((bits for bits in range(BITS) if int(0.5 + weight.max() * 2 ** (bits + 1)) >= 2**15), BITS)
    return first, (0.5 + weight * 2**bits).astype(np.int32), bits

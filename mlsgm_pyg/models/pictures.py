"""What a model is given to look at, one picture after the other, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from mlsgm_pyg.datasets.images import Picture, as_picture


def one_by_one(images: Any) -> Iterator[Any]:
    """A picture, a sequence of pictures, or a tensor or array of them -> each.

    Raises:
        TypeError: If it is none of these.
    """
    is_array = isinstance(images, Tensor | np.ndarray)
    if isinstance(images, Image.Image | str) or hasattr(images, '__fspath__') or (is_array and images.ndim < 4):
        yield images
    elif hasattr(images, '__iter__'):
        yield from images
    else:
        raise TypeError(
            "'images' must be a path, a Pillow image, an array or a tensor, or a sequence of these "
            f'(got {type(images).__name__})'
        )


def read(image: Any, max_pixels: int | None) -> Picture:
    """A picture that has pixels, see :func:`mlsgm_pyg.datasets.images.as_picture`.

    Raises:
        ImageError: If a file cannot be read.
        ValueError: If an array or a tensor is not a picture, or an empty one.
        TypeError: If it is no picture.
    """
    if isinstance(image, Tensor | np.ndarray) and 0 in image.shape:
        raise ValueError(f'a picture must have pixels (got an empty one of shape {list(image.shape)})')
    return as_picture(image, max_pixels)

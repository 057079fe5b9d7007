"""One image file -> RGB pixels, whatever its mode, size and orientation."""

import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps


class ImageError(RuntimeError):
    """An image file is missing, broken, truncated or too large to be trusted; the message names it."""


def read_image(path: str | Path, index: int | None = None) -> Image.Image:
    """Reads an image as RGB: turned as its EXIF orientation says, transparent pixels over white, 16 bits scaled to 8.

    Of an animation or a multi-page file, the first picture is read.

    Args:
        path (str or Path): The file.
        index (int, optional): Its number in the data set, for the message of an error.

    Raises:
        ImageError: If the file cannot be read whole, or is larger than Pillow's limit against decompression bombs.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'Corrupt EXIF data')  # The pixels are whole.
            with Image.open(path) as image:
                image.load()
                return to_rgb(upright(image))
    except Exception as error:  # Decoders raise nearly anything: OSError, SyntaxError, struct.error, zlib.error, ...
        number = '' if index is None else f' {index}'
        raise ImageError(f"cannot read image{number}, '{path}': {type(error).__name__}: {error}") from error


def upright(image: Image.Image) -> Image.Image:
    """Turns an image as its EXIF orientation says; unreadable EXIF data says nothing."""
    try:
        orientation = image.getexif().get(0x0112, 1)
    except (OSError, SyntaxError, ValueError, struct.error):
        return image
    return ImageOps.exif_transpose(image) if orientation != 1 else image


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts a loaded image of any mode to RGB."""
    if image.mode[0] in 'IF':  # I, I;16, I;16B, F: Pillow's own conversion clips instead of scaling.
        return Image.fromarray(_to_uint8(np.asarray(image))).convert('RGB')
    if not image.has_transparency_data:
        return image.convert('RGB')
    if image.mode == 'La':
        image = image.convert('LA')
    image = image.convert('RGBA')
    return Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image).convert('RGB')


def _to_uint8(value: np.ndarray) -> np.ndarray:
    """Integers are taken as 16 bits, floats as in [0, 1] or [0, 255]; what lies outside is scaled by its own range."""
    is_float = value.dtype.kind == 'f'
    value = np.nan_to_num(value.astype(np.float64))
    low, high = value.min(), value.max()
    top = 65535.0 if not is_float else 1.0 if high <= 1 else 255.0
    if low < 0 or high > top:
        value, top = value - low, high - low
    return (value * 255 / top).round().astype(np.uint8)

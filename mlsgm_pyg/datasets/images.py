"""One image file -> RGB pixels, whatever its mode, size and orientation. torch is not loaded."""

import functools
import io
import os
import re
import struct
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from mlsgm_pyg.datasets.files import check_regular

ORIENTATION = 0x0112  # The number of the EXIF tag.
#: What one picture may have where its origin is unknown; the largest phones' have 108 million.
MAX_PIXELS = 120_000_000
MOST_PROFILE = 1 << 20  # Bytes of a colour profile that stays with a picture: JPEG, in which it may be drawn, has few.
#: The formats that a folder is searched for, by Pillow's names: it opens others, such as PDF and icons.
FORMATS = frozenset({'AVIF', 'BMP', 'GIF', 'HEIF', 'JPEG', 'JPEG2000', 'MPO', 'PNG', 'PPM', 'TIFF', 'WEBP'})

FILES = (str, os.PathLike, bytes)
KINDS = 'a path, the bytes of a file, a Pillow image, an array or a tensor'


class ImageError(RuntimeError):
    """An image file is missing, broken, truncated or too large to be trusted; the message names it.

    Attributes:
        reason (str): The message without the file's name, in one line.
    """

    def __init__(self, message: str, reason: str = ''):
        super().__init__(message)
        self.reason = reason or message

    def __reduce__(self) -> tuple:
        return type(self), (str(self), self.reason)  # Worker processes pickle it.


class Picture(NamedTuple):
    """An image as it is looked at, and what leads back to its file's own pixels."""

    image: Image.Image  #: RGB, upright.
    size: tuple[int, int]  #: Width and height in pixels, as stored.
    orientation: int = 1  #: EXIF: how the stored picture is turned, 1 to 8; 1 is upright.


@functools.cache
def decoders() -> tuple[str, ...]:
    """The formats that are read here, by Pillow's names, HEIF among them where pillow-heif is installed: all but EPS,
    for which Pillow would run Ghostscript."""
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    Image.init()
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # Colour profiles count as texts: some have 3 MB.
    return tuple(name for name in Image.ID if name != 'EPS')


@functools.cache
def suffixes() -> frozenset[str]:
    """How files of :obj:`FORMATS` are named that this Pillow has a decoder for, in small letters."""
    known = FORMATS.intersection(decoders())
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in known)


def is_picture(path: str | Path) -> bool:
    """Whether a file in a folder is a picture: by its suffix or, where it has none, by its first bytes."""
    if suffix := os.path.splitext(path)[1]:
        return suffix.lower() in suffixes()
    try:
        with opened(path, [name for name in decoders() if name in FORMATS]):
            return True
    except Exception as error:  # As in `read_picture`.
        return isinstance(error, Image.DecompressionBombError)


@contextmanager
def opened(path: str | Path | bytes, formats: Sequence[str] = ()) -> Iterator[Image.Image]:
    """An image file, or what it holds, whose pixels are not read yet. Pillow's warnings, which name neither a file nor
    a fault of its pixels, are not shown; what cannot be read to its end is an OSError."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        if not isinstance(path, bytes):
            check_regular(path)
        if not (len(path) if isinstance(path, bytes) else os.path.getsize(path)):
            raise ImageError('the file is empty')
        with Image.open(io.BytesIO(path) if isinstance(path, bytes) else path, formats=formats or decoders()) as image:
            yield image


def read_image(path: str | Path, index: int | None = None) -> Image.Image:
    """Reads an image as RGB: turned as its EXIF orientation says, transparent pixels over white, 16 bits scaled to 8.

    Of an animation or a multi-page file, the first picture is read.

    Args:
        path, index: See :func:`read_picture`.

    Raises:
        ImageError: If the file cannot be read whole, or is larger than Pillow's limit against decompression bombs.
    """
    return read_picture(path, index).image


def read_picture(path: str | Path | bytes, index: int | None = None, max_pixels: int | None = None) -> Picture:
    """Reads an image as :func:`read_image` does, with its stored size and orientation.

    Args:
        path (str, Path or bytes): The file, or what it holds.
        index (int, optional): Its number in the data set, for the message of an error.
        max_pixels (int, optional): Refuse a file whose header claims more pixels than this, before anything is
            decoded; Pillow's own limit (:obj:`PIL.Image.MAX_IMAGE_PIXELS`, an error above twice as many) holds as well.

    Raises:
        ImageError: If the file cannot be read whole, or claims too many pixels.
    """
    try:
        with opened(path) as image:
            width, height = image.size
            if max_pixels is not None and width * height > max_pixels:
                raise Image.DecompressionBombError(
                    f'{width:,} x {height:,} pixels are more than the {max_pixels:,} that are allowed'
                )
            return _picture(image)
    except Exception as error:  # Decoders raise nearly anything: OSError, SyntaxError, struct.error, zlib.error, ...
        number = '' if index is None else f' {index}'
        file = f'{len(path):,} bytes' if isinstance(path, bytes) else f"'{path}'"
        told = f'cannot read image{number}, {file}: {type(error).__name__}: {error}'
        raise ImageError(told, _reason(error, path, max_pixels)) from error


def as_picture(image: Any, max_pixels: int | None = None) -> Picture:
    """Takes an image as a path, the bytes of a file, a Pillow image, an array or a tensor.

    Args:
        image (str, Path, bytes, PIL.Image.Image, numpy.ndarray or Tensor): A file, or what it holds; a Pillow image of
            any mode; an array :obj:`[H, W]`, :obj:`[H, W, 1]`, :obj:`[H, W, 3]` or :obj:`[H, W, 4]`; a tensor with
            channels first, :obj:`[1, H, W]` or :obj:`[3, H, W]`. Pixels are uint8, or floats in [0, 1], which are
            rounded to 8 bits.
        max_pixels (int, optional): As for :func:`read_picture`; nothing but files is refused.

    Raises:
        ImageError: If a file, or a Pillow image that is not loaded yet, cannot be read.
        ValueError: If an array or a tensor is not an image.
        TypeError: If it is none of these.
    """
    if isinstance(image, bytearray | memoryview):
        image = bytes(image)
    if isinstance(image, FILES):
        return read_picture(image, max_pixels=max_pixels)
    if isinstance(image, Image.Image):
        try:
            return _picture(image)
        except (OSError, SyntaxError, ValueError, struct.error) as error:  # It is read from its file only now.
            raise ImageError(f'cannot read an image: {type(error).__name__}: {error}') from error
    if is_tensor(image):
        if image.dim() != 3 or image.size(0) not in (1, 3):
            raise ValueError(f'an image as a tensor must be [3, H, W] or [1, H, W] (got {list(image.shape)})')
        image = image.detach().cpu().permute(1, 2, 0)
        image = (image.double() if image.is_floating_point() else image).numpy()
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise TypeError(f'an image must be {KINDS} (got {kind})')
    found = to_rgb(_from_array(image))
    return Picture(found, found.size)


def one_by_one(images: Any) -> Iterator[Any]:
    """A picture, a sequence of pictures, or a tensor or array of them -> each.

    Raises:
        TypeError: If it is none of these.
    """
    is_pixels = is_tensor(images) or (isinstance(images, np.ndarray) and images.dtype != object)
    if isinstance(images, (Image.Image, *FILES, bytearray, memoryview)) or (is_pixels and images.ndim < 4):
        yield images
    elif hasattr(images, '__iter__'):
        yield from images
    else:
        raise TypeError(f"'images' must be {KINDS}, or a sequence of these (got {type(images).__name__})")


def is_tensor(value: Any) -> bool:
    """Whether something is a tensor; there is none before torch is loaded."""
    torch = sys.modules.get('torch')
    return torch is not None and isinstance(value, torch.Tensor)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an image, 1 to 8; 1 where there is none that can be read."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, struct.error):
        return 1
    return found if found in range(1, 9) else 1


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


def _picture(image: Image.Image) -> Picture:
    if image.format != 'TIFF':  # Pillow turns one while it loads it. That a PNG's pixels are broken it says but once,
        image.load()  # and not where it loads them for their EXIF.
    turned = orientation(image)
    image.load()
    found = to_rgb(ImageOps.exif_transpose(image) if orientation(image) != 1 else image)
    if len(found.info.get('icc_profile') or b'') > MOST_PROFILE:
        del found.info['icc_profile']
    return Picture(found, found.size[::-1] if turned >= 5 else found.size, turned)


def _reason(error: Exception, path: str | Path | bytes, max_pixels: int | None) -> str:
    """Why a file could not be read, in one line, for the person who owns it."""
    bomb = re.match(r'Image size \((\d+) pixels\)', str(error))  # Pillow's words, of twice its limit.
    if bomb and max_pixels is not None:
        return f'{int(bomb[1]):,} pixels are more than the {max_pixels:,} that are allowed'
    if isinstance(error, Image.DecompressionBombError | ImageError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return 'not an image of a known format, or broken from its first bytes on'
    if isinstance(error, OSError) and error.strerror:  # From the file system.
        return error.strerror
    return f'{type(error).__name__}: {" ".join(str(error).split())}'


def _from_array(array: np.ndarray) -> Image.Image:
    squeezed = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if not (squeezed.ndim == 2 or (squeezed.ndim == 3 and squeezed.shape[2] in (3, 4))) or squeezed.size == 0:
        raise ValueError(f'an image as an array must be [H, W], [H, W, 3] or [H, W, 4] (got {list(array.shape)})')
    if squeezed.dtype.kind == 'f':
        low, high = squeezed.min(), squeezed.max()
        if not (0 <= low and high <= 1):
            raise ValueError(f'float pixels must be in [0, 1] (got values from {low:.4g} to {high:.4g})')
        squeezed = (squeezed.astype(np.float64) * 255).round().astype(np.uint8)
    if squeezed.dtype != np.uint8:
        raise ValueError(f'pixels must be uint8, or floats in [0, 1] (got {squeezed.dtype})')
    return Image.fromarray(np.ascontiguousarray(squeezed))


def _to_uint8(value: np.ndarray) -> np.ndarray:
    """Integers are taken as 16 bits, floats as in [0, 1] or [0, 255]; what lies outside is scaled by its own range.

    A picture of one value outside has no range, so it is grey; a pixel that is infinite or no number is refused.
    """
    is_float = value.dtype.kind == 'f'
    value = value.astype(np.float64)
    if odd := value.size - int(np.isfinite(value).sum()):
        raise ImageError(f'{odd:,} of {value.size:,} pixels are infinite or no numbers')
    low, high = value.min(), value.max()
    top = 65535.0 if not is_float else 1.0 if high <= 1 else 255.0
    if low < 0 or high > top:
        value, top = (value - low, high - low) if high > low else (value - low + 0.5, 1.0)
    return (value * 255 / top).clip(0, 255).round().astype(np.uint8)

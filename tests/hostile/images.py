"""Pictures of many kinds, and files that only look like some."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

SIZE = 40, 30  # Width, height.
UNKNOWN = 'not an image of a known format'


class Odd(NamedTuple):
    """A file that is named as a picture, and what is wanted of whoever reads it."""

    name: str
    make: Callable[[], bytes]
    reason: str | None = None  # A regular expression: why it is refused; None: it is read; '': either.
    size: tuple[int, int] | None = SIZE  # Of the picture, where it is read.
    grey: float | None = None  # The mean of its pixels, likewise.


def noise(mode: str = 'RGB', size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture that compresses badly, in a mode of Pillow's."""
    rng, (width, height) = np.random.default_rng(0), size
    if mode == 'F':
        return Image.fromarray(rng.random((height, width), dtype=np.float32))
    if mode == 'I;16':
        return Image.fromarray(rng.integers(0, 65536, (height, width), dtype=np.uint16))
    if mode == 'I':
        return Image.fromarray(rng.integers(0, 65536, (height, width), dtype=np.int32))
    image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    if mode in ('RGBA', 'LA', 'PA'):
        image.putalpha(Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8)))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


#: Name -> format, mode, options of a picture that is whole.
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    'rgb.jpg': ('JPEG', 'RGB', {}),
    'progressive.jpg': ('JPEG', 'RGB', {'progressive': True}),
    'grey.jpg': ('JPEG', 'L', {}),
    'cmyk.jpg': ('JPEG', 'CMYK', {}),
    'restart.jpg': ('JPEG', 'RGB', {'restart_marker_blocks': 2}),
    'rgb.png': ('PNG', 'RGB', {}),
    'rgba.png': ('PNG', 'RGBA', {}),
    'palette.png': ('PNG', 'P', {'transparency': 3}),
    'opacities.png': ('PNG', 'P', {'transparency': bytes(range(200))}),
    'bit.png': ('PNG', '1', {}),
    'grey and alpha.png': ('PNG', 'LA', {}),
    '16 bit.png': ('PNG', 'I;16', {}),
    'palette.gif': ('GIF', 'P', {}),
    'transparent.gif': ('GIF', 'P', {'transparency': 0}),
    'lossy.webp': ('WEBP', 'RGB', {}),
    'lossless.webp': ('WEBP', 'RGBA', {'lossless': True}),
    'raw.tif': ('TIFF', 'RGB', {}),
    'lzw.tif': ('TIFF', 'RGB', {'compression': 'tiff_lzw'}),
    'deflate.tif': ('TIFF', 'RGBA', {'compression': 'tiff_adobe_deflate'}),
    'jpeg.tif': ('TIFF', 'RGB', {'compression': 'jpeg'}),
    'packbits.tif': ('TIFF', 'L', {'compression': 'packbits'}),
    'fax.tif': ('TIFF', '1', {'compression': 'group4'}),
    'cmyk.tif': ('TIFF', 'CMYK', {}),
    'float.tif': ('TIFF', 'F', {}),
    '16 bit.tif': ('TIFF', 'I;16', {}),
    '32 bit.tif': ('TIFF', 'I', {}),
    'rgb.bmp': ('BMP', 'RGB', {}),
    'palette.bmp': ('BMP', 'P', {}),
    'rgb.ppm': ('PPM', 'RGB', {}),
    '16 bit.pgm': ('PPM', 'I;16', {}),
    'rgb.jp2': ('JPEG2000', 'RGB', {}),
    'rgb.avif': ('AVIF', 'RGB', {}),
    'two.mpo': ('MPO', 'RGB', {'save_all': True}),
    'rgb.tga': ('TGA', 'RGB', {}),
    'rgb.ico': ('ICO', 'RGB', {'sizes': [SIZE]}),
    'rgb.qoi': ('QOI', 'RGB', {}),
}
CUT = (3, 16, 0.1, 0.5, 0.9, -1)  # Bytes that are left, or a share of them.
PLAIN = ('rgb.jpg', 'rgb.png', 'palette.gif', 'lossy.webp', 'raw.tif', 'rgb.bmp', 'rgb.ppm', 'rgb.avif')


def whole(name: str) -> bytes:
    kind, mode, how = KINDS[name]
    return encoded(noise(mode), kind, **how)


def png(*parts: tuple[bytes, bytes], header: tuple[int, ...] = (*SIZE, 8, 2, 0, 0, 0)) -> bytes:
    """A PNG of these chunks behind its header."""
    parts = [(b'IHDR', struct.pack('>IIBBBBB', *header)), *parts, (b'IEND', b'')]
    chunks = [struct.pack('>I', len(d)) + k + d + struct.pack('>I', zlib.crc32(k + d)) for k, d in parts]
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunks)


def pixels(wide: int = 3) -> tuple[bytes, bytes]:
    """The chunk of grey pixels of so many bytes."""
    return b'IDAT', zlib.compress((b'\0' + bytes([120]) * SIZE[0] * wide) * SIZE[1])


def claims(width: int, height: int) -> Iterator[tuple[str, bytes]]:
    """A file of each kind whose header claims a size, with little behind it."""
    yield 'png', png((b'IDAT', zlib.compress(bytes(100))), header=(width, height, 8, 2, 0, 0, 0))
    if width < 65536 and height < 65536:
        one = bytearray(whole('grey.jpg'))
        at = one.index(b'\xff\xc0')
        one[at + 5 : at + 9] = struct.pack('>HH', height, width)
        yield 'jpg', bytes(one)
        yield (
            'gif',
            b'GIF89a'
            + struct.pack('<HHBBB', width, height, 0, 0, 0)
            + b','
            + struct.pack('<HHHHB', 0, 0, width, height, 0)
            + b'\x08\x02\x4c\x01\x00;',
        )
    one = bytearray(whole('rgb.bmp'))
    one[18:26] = struct.pack('<ii', min(width, 2**31 - 1), min(height, 2**31 - 1))
    yield 'bmp', bytes(one)
    yield 'ppm', f'P6 {width} {height} 255\n'.encode() + bytes(100)
    yield 'tif', tiff({256: (4, width), 257: (4, height), 278: (4, height)})
    yield 'qoi', b'qoif' + struct.pack('>IIBB', width, height, 3, 0) + bytes(20)


def tiff(changed: dict[int, tuple[int, int] | None], data: bytes = bytes([120]) * SIZE[0] * SIZE[1]) -> bytes:
    """A grey TIFF with some of its tags changed: number -> type and value, or None to leave it out."""
    tags: dict[int, Any] = {256: (4, SIZE[0]), 257: (4, SIZE[1]), 258: (3, 8), 259: (3, 1), 262: (3, 1), 273: (4, 8)}
    tags |= {277: (3, 1), 278: (4, SIZE[1]), 279: (4, len(data))} | changed
    there = sorted((number, *found) for number, found in tags.items() if found)
    entries = b''.join(struct.pack('<HHII', number, kind, 1, value) for number, kind, value in there)
    return b'II*\0' + struct.pack('<I', 8 + len(data)) + data + struct.pack('<H', len(there)) + entries + bytes(4)


def floats(*odd: float, kind: str = 'f4', rest: float | None = None) -> bytes:
    """A TIFF of floats whose first pixels are these."""
    value = np.linspace(0, 1, SIZE[0] * SIZE[1]) if rest is None else np.full(SIZE[0] * SIZE[1], rest)
    value[: len(odd)] = odd
    bits = 8 * np.dtype(kind).itemsize
    return tiff({258: (3, bits), 339: (3, 3), 279: (4, value.size * bits // 8)}, value.astype(kind).tobytes())


def turned(name: str, orientation: Any) -> bytes:
    kind, mode, how = KINDS[name]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(noise(mode), kind, exif=exif, **how)


def gif(*frames: bytes, screen: tuple[int, int] = SIZE, flags: int = 0x80) -> bytes:
    head = b'GIF89a' + struct.pack('<HHBBB', *screen, flags, 0, 0) + (bytes(3) + b'\xff\xff\xff' if flags else b'')
    return head + b''.join(frames) + b';'


def frame(x: int = 0, y: int = 0, width: int = 2, height: int = 2, data: bytes = b'\x02\x02\x84\x51\x00') -> bytes:
    return b',' + struct.pack('<HHHHB', x, y, width, height, 0) + data


def exifs() -> Iterator[tuple[str, bytes]]:
    """Damaged EXIF."""
    yield 'no table', b'Exif\0\0MM\0*\0\0\0\x08'
    yield 'an offset behind the end', b'Exif\0\0II*\0\xff\xff\xff\x7f'
    yield 'a table in a circle', b'Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0'
    yield 'a billion of values', b'Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\x3f\x08\0\0\0\0\0\0\0'
    yield '65,535 entries', b'Exif\0\0II*\0\x08\0\0\0\xff\xff' + bytes(60)
    yield 'a text for the orientation', b'Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0six\0\0\0\0\0'
    yield 'nonsense', b'Exif\0\0' + bytes(range(200))
    yield 'an unknown type', b'Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\xff\0\x01\0\0\0\x06\0\0\0\0\0\0\0'
    yield 'nothing', b'Exif\0\0'
    yield 'a minus', b'Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x09\0\x01\0\0\0\xff\xff\xff\xff\0\0\0\0'


OTHERS = {
    'text': b'x',
    'HTML': b'<html><script>alert(1)</script>',
    'SVG': b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    'PDF': b'%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer<<>>\n%%EOF',
    'ZIP': b'PK\x05\x06' + bytes(18),
    'GZIP': b'\x1f\x8b\x08' + bytes(20),
    'ELF': b'\x7fELF\x02\x01\x01' + bytes(60),
    'a script': b'#!/bin/sh\ntouch "it was run"\n',
    'EPS that runs code': b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch it\\ was\\ run) (w) file\n',
    'a pickle': b"cos\nmkdir\n(S'it was run'\ntR.",
    'MP4': b'\0\0\0\x18ftypmp42' + bytes(40),
    'HEIC': b'\0\0\0\x18ftypheic' + bytes(40),
    'AVIF without a picture': b'\0\0\0\x18ftypavif' + bytes(40),
    'an array': b'\x93NUMPY\x01\0v\0' + b' ' * 118,
    'SQLite': b'SQLite format 3\0' + bytes(100),
    'nothing': b'',
    'zeros': bytes(4096),
    '0xff': b'\xff' * 4096,
    'RIFF alone': b'RIFF\x10\0\0\0WEBP',
    'the head of a PNG': b'\x89PNG\r\n\x1a\n',
    'the head of a JPEG': b'\xff\xd8\xff',
    'the end of a JPEG': b'\xff\xd8\xff\xd9',
    'the head of a TIFF': b'II*\0\x08\0\0\0',
    'XPM': b'/* XPM */\nstatic char *x[] = {"1 1 1 1", "a c #zzz", "a"};',
    'XBM': b'#define x_width 999999\n#define x_height 999999\nstatic char x_bits[] = {0x01};',
    'HDF5': b'\x89HDF\r\n\x1a\n' + bytes(60),
    'GRIB': b'GRIB\0\0\0\x01' + bytes(60),
    'BUFR': b'BUFR\0\0\0\x01' + bytes(60),
    'WMF': b'\xd7\xcd\xc6\x9a' + bytes(60),
    'FITS': b'SIMPLE  =                    T' + b' ' * 50 + b'BITPIX  =                    8' + b' ' * 50 + b'END',
    'PSD': b'8BPS\0\x01' + bytes(6) + struct.pack('>HIIHH', 3, 300000, 300000, 8, 3) + bytes(20),
    'DDS': b'DDS |\0\0\0' + struct.pack('<III', 0x1007, 2**31, 2**31) + bytes(120),
    'ICNS': b'icns' + struct.pack('>I', 2**31) + bytes(40),
    'SGI': b'\x01\xda\x01\x01' + struct.pack('>HHHH', 3, 65535, 65535, 4) + bytes(500),
    'FLI': struct.pack('<IHHHHH', 128, 0xAF11, 65535, 65535, 65535, 8) + bytes(120),
    'PCX': b'\x0a\x05\x01\x08' + struct.pack('<HHHH', 0, 0, 65535, 65535) + bytes(120),
    'ICO': b'\0\0\x01\0\xff\xff' + bytes(60),
    'IM': b'Image type: RGB\r\nImage size (x*y): 99999*99999\r\n' + bytes(500),
    'MSP': b'DanM' + struct.pack('<HH', 65535, 65535) + bytes(24),
    'TGA': bytes(2) + b'\x02' + bytes(9) + struct.pack('<HHBB', 65535, 65535, 24, 0),
    'MPEG': b'\0\0\x01\xb3' + bytes(60),
}


def every() -> Iterator[Odd]:
    """All of them, the same in every run."""
    rng = random.Random(0)
    for name in KINDS:
        yield Odd(f'whole {name}', lambda name=name: whole(name))
        for cut in CUT:
            told = 'without its end' if cut == -1 else f'first {cut:.0%}' if isinstance(cut, float) else f'{cut} bytes'
            reason = '' if cut in (0.9, -1) else r'\S'
            yield Odd(f'{told} of {name}', lambda name=name, cut=cut: _cut(whole(name), cut), reason)
    for name in PLAIN:
        for i in range(5):
            seed = rng.random()
            flipped = lambda name=name, seed=seed: _flip(whole(name), seed)  # noqa: E731
            yield Odd(f'{name} with flipped bits {i}', flipped, '', None)
        for other in ('jpg', 'png', 'gif', 'txt'):
            if not name.endswith(other):
                yield Odd(f'{name} that is called .{other}', lambda name=name: whole(name))
        yield Odd(f'{name} with a tail', lambda name=name: whole(name) + b'<?php tail ?>' * 99)
        yield Odd(f'{name} behind a letter', lambda name=name: b'x' + whole(name), UNKNOWN)
    for width, height in [(20000, 20000), (65535, 65535), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (0, 0), (0, 5)]:
        for suffix, data in claims(width, height):
            reason = (
                r'pixels are more than the 120,000,000|exceeds limit' if (width, height) == (20000, 20000) else r'\S'
            )
            yield Odd(f'{width:,}x{height:,} claimed.{suffix}', lambda data=data: data, reason)
    for width, height in [(1, 1), (1, 300), (500, 2)]:
        size = width, height
        yield Odd(f'{width}x{height}.png', lambda size=size: encoded(noise('RGB', size), 'PNG'), size=size)
    yield from _floats()
    yield from _pngs()
    yield from _turned()
    yield from _jpegs_gifs_tiffs()
    for what, data in OTHERS.items():
        for suffix in ('jpg', 'png'):
            yield Odd(f'{what} that is called .{suffix}', lambda data=data: data, r'\S')


def _floats() -> Iterator[Odd]:
    inf, nan = float('inf'), float('nan')
    for odd in [(inf,), (-inf,), (nan,), (inf, -inf), (inf, nan), (-inf, nan), (nan, nan)]:
        reason = f'{len(odd)} of 1,200 pixels are infinite'
        yield Odd(f'floats with {", ".join(map(str, odd))}.tif', lambda odd=odd: floats(*odd), reason)
    yield Odd('nothing but NaN.tif', lambda: floats(rest=nan), '1,200 of 1,200 pixels are infinite')
    yield Odd('nothing but infinity.tif', lambda: floats(rest=inf), '1,200 of 1,200 pixels are infinite')
    for rest in (-3, 300, -1e30, 3e38):
        yield Odd(f'nothing but {rest:g}.tif', lambda rest=rest: floats(rest=rest), grey=128)
    yield Odd('nothing but 0.tif', lambda: floats(rest=0), grey=0)
    yield Odd('vast floats.tif', lambda: floats(3e38, -3e38), grey=128)
    yield Odd('floats above 255.tif', lambda: floats(*np.linspace(0, 1000, 1200)), grey=128)
    yield Odd('floats of 64 bits.tif', lambda: floats(kind='f8'), '')
    yield Odd('floats of 16 bits.tif', lambda: floats(kind='f2'), '')
    yield Odd('inf of 64 bits.tif', lambda: floats(inf, kind='f8'), r'\S')


def _pngs() -> Iterator[Odd]:
    deep = (b'IDAT', zlib.compress((b'\0' + bytes([120]) * SIZE[0] * 6) * SIZE[1]))
    yield Odd('colours of 16 bits.png', lambda: png(deep, header=(*SIZE, 16, 2, 0, 0, 0)), grey=120)
    for size, reason in [(3, None), (60, None), (100, 'too large')]:
        made = lambda size=size: png((b'iCCP', b'x\0\0' + zlib.compress(bytes(size << 20))), pixels())  # noqa: E731
        yield Odd(f'a profile of {size} MB.png', made, reason, grey=120)
    yield Odd('a broken profile.png', lambda: png((b'iCCP', b'x\0\0nonsense'), pixels()), grey=120)
    yield Odd('an unknown profile.png', lambda: png((b'iCCP', b'x\0\7nonsense'), pixels()), '')
    bomb = lambda: zlib.compress(bytes(200 << 20))  # noqa: E731
    yield Odd('a text of 200 MB.png', lambda: png((b'zTXt', b'x\0\0' + bomb()), pixels()), '')
    yield Odd('pixels of 200 MB.png', lambda: png((b'IDAT', bomb())), '')
    yield Odd('10,000 texts.png', lambda: png(*[(b'tEXt', b'a\0b')] * 10_000, pixels()), '', grey=120)
    yield Odd('an empty text.png', lambda: png((b'tEXt', b''), pixels()), grey=120)
    yield Odd('pixels that are no stream.png', lambda: png((b'IDAT', bytes(500))), 'broken data stream')
    yield Odd('no pixels.png', lambda: png(), r'\S')
    palette = *SIZE, 8, 3, 0, 0, 0
    yield Odd('a palette of 2 colours.png', lambda: png((b'PLTE', bytes(6)), pixels(1), header=palette))
    yield Odd('no palette.png', lambda: png(pixels(1), header=palette), '')
    yield Odd('a palette of 7 bytes.png', lambda: png((b'PLTE', bytes(7)), pixels(1), header=palette), '')
    yield Odd('opacities without a palette.png', lambda: png((b'tRNS', bytes(300)), pixels()), '')
    yield Odd('too few opacities.png', lambda: png((b'tRNS', b'\0'), pixels()), '')
    for key, at in {'depth 3': 2, 'colour 5': 3, 'compression 1': 4, 'filter 7': 5, 'interlace 9': 6}.items():
        header = [*SIZE, 8, 2, 0, 0, 0]
        header[at] = int(key.split()[1])
        yield Odd(f'{key}.png', lambda header=header: png(pixels(), header=tuple(header)), '')
    yield Odd('an animation of no frames.png', lambda: png((b'acTL', bytes(8)), pixels()), '')
    yield Odd(
        'an animation of a billion.png', lambda: png((b'acTL', struct.pack('>II', 2**31, 0)), pixels()), '', grey=120
    )
    yield Odd('a chunk of 2 GB.png', lambda: whole('rgb.png')[:33] + b'\x7f\xff\xff\xffIDAT' + bytes(99), r'\S')
    second = b'IHDR', struct.pack('>IIBBBBB', 9, 9, 8, 2, 0, 0, 0)
    yield Odd('two headers.png', lambda: png(second, pixels()), '', None)
    frames = [noise('P', (9, 9)), noise('P', (9, 9)).rotate(90)]
    for kind in ('PNG', 'WEBP', 'GIF', 'TIFF'):
        data = encoded(frames[0], kind, save_all=True, append_images=frames)
        yield Odd(f'animated.{kind.lower()}', lambda data=data: data, size=(9, 9))
        yield Odd(f'half an animation.{kind.lower()}', lambda data=data: data[: len(data) * 2 // 3], '', (9, 9))


def _turned() -> Iterator[Odd]:
    for name in ('rgb.jpg', 'rgb.png', 'lossy.webp', 'raw.tif'):
        for number in range(10):
            size = SIZE[::-1] if 5 <= number <= 8 else SIZE
            yield Odd(f'turned by {number} {name}', lambda name=name, number=number: turned(name, number), size=size)
        for number in (255, 65535):
            yield Odd(f'turned by {number} {name}', lambda name=name, number=number: turned(name, number))
    for what, exif in exifs():
        for name in ('rgb.jpg', 'rgb.png', 'lossy.webp'):
            made = lambda name=name, exif=exif: encoded(noise(), KINDS[name][0], exif=exif)  # noqa: E731
            yield Odd(f'EXIF of {what} {name}', made)


def _jpegs_gifs_tiffs() -> Iterator[Odd]:
    one = whole('rgb.jpg')
    head, body = one[:2], one[2:]
    comment = b'\xff\xfe' + struct.pack('>H', 65535) + bytes(65533)
    for what, data, reason in [
        ('a comment of 64 KB', head + comment + body, None),
        ('1,000 comments', head + b'\xff\xfe\0\x04ab' * 1000 + body, None),
        ('a comment of 1 byte', head + b'\xff\xfe\0\x01' + body, ''),
        ('filled markers', head + b'\xff' * 100 + body[1:], ''),
        ('a start twice', head + one, ''),
        ('no end', one[:-2], ''),
        ('zeros between', head + bytes(50) + body, ''),
        ('two pictures', one + one, None),
        ('no tables', one.replace(b'\xff\xdb', b'\xff\xee').replace(b'\xff\xc4', b'\xff\xee'), ''),
        ('12 bits', one.replace(b'\xff\xc0\0\x11\x08', b'\xff\xc0\0\x11\x0c'), r'\S'),
        ('arithmetic', one.replace(b'\xff\xc0', b'\xff\xc9'), ''),
        ('9 channels', one.replace(b'\xff\xc0\0\x11', b'\xff\xc0\0\x23'), r'\S'),
        ('a foreign Adobe mark', head + b'\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x07' + body, ''),
        ('a profile in pieces', head + b'\xff\xe2\0\x10ICC_PROFILE\0\x09\x02' + body, None),
        ('a profile of no piece', head + b'\xff\xe2\0\x0eICC_PROFILE\0' + body, ''),
        ('Photoshop nonsense', head + b'\xff\xed\0\x20Photoshop 3.0\x008BIM' + bytes(14) + body, ''),
        ('a thumb of nothing', head + b'\xff\xe2\0\x0aMPF\0II*\0' + body, ''),
    ]:
        yield Odd(f'{what}.jpg', lambda data=data: data, reason)
    for what, data, reason, size in [
        ('no frame', gif(), r'\S', None),
        ('no colours', gif(frame(), flags=0), '', SIZE),
        ('a frame outside', gif(frame(100, 100, 20, 20)), '', None),
        ('a frame of no size', gif(frame(0, 0, 0, 0)), '', None),
        ('a frame of 65,535', gif(frame(0, 0, 65535, 65535)), r'\S', None),
        ('a code of 12 bits', gif(frame(data=b'\x0c\x02\x84\x51\x00')), '', None),
        ('a code of 255', gif(frame(data=b'\xff\x02\x84\x51\x00')), '', None),
        ('a screen of no size', gif(frame(), screen=(0, 0)), '', None),
        ('10,000 frames', gif(*[frame()] * 10_000), None, SIZE),
        ('an extension without end', gif(b'!\xff' + b'\x0bNETSCAPE2.0' + b'\xff' * 500), r'\S', None),
        ('no block end', gif(frame(data=b'\x02\x02\x84')), '', None),
    ]:
        yield Odd(f'{what}.gif', lambda data=data: data, reason, size)
    for what, changed, reason in [
        ('no width', {256: None}, r'\S'),
        ('no pixels', {273: None}, r'\S'),
        ('no bits', {258: None}, ''),
        ('bits of 7', {258: (3, 7)}, ''),
        ('bits of 0', {258: (3, 0)}, r'\S'),
        ('a compression of 9999', {259: (3, 9999)}, r'\S'),
        ('a compression that is not', {259: (3, 5)}, r'\S'),
        ('JPEG that is not', {259: (3, 7)}, r'\S'),
        ('colours of 99', {262: (3, 99)}, r'\S'),
        ('pixels at 2 GB', {273: (4, 2**31 - 1)}, r'\S'),
        ('pixels at 0', {273: (4, 0)}, ''),
        ('65,535 channels', {277: (3, 65535)}, r'\S'),
        ('0 channels', {277: (3, 0)}, ''),
        ('strips of no row', {278: (4, 0)}, ''),
        ('strips of a billion rows', {278: (4, 2**30)}, ''),
        ('strips of 4 GB', {279: (4, 2**32 - 1)}, ''),
        ('a width of a text', {256: (2, 40)}, r'\S'),
        ('an unknown type', {256: (99, 40)}, r'\S'),
        ('negative colours', {339: (3, 2)}, ''),
        ('a format of 77', {339: (3, 77)}, ''),
        ('a planar of 9', {284: (3, 9)}, ''),
        ('tiles of nothing', {322: (4, 0), 323: (4, 0), 324: (4, 8)}, ''),
        ('an orientation of 9', {274: (3, 9)}, None),
        ('a predictor of 3', {317: (3, 3)}, ''),
    ]:
        yield Odd(f'{what}.tif', lambda changed=changed: tiff(changed), reason)
    ring = bytearray(tiff({}))
    ring[-4:] = struct.pack('<I', 8 + SIZE[0] * SIZE[1])
    yield Odd('tables in a circle.tif', lambda: bytes(ring), grey=120)
    yield Odd('a table at itself.tif', lambda: b'II*\0\x04\0\0\0' + bytes(60), r'\S')
    yield Odd('a big one.tif', lambda: b'II+\0\x08\0\0\0' + b'\xff' * 60, r'\S')


def _cut(data: bytes, cut: float) -> bytes:
    return data[: int(cut * len(data)) if isinstance(cut, float) else cut]


def _flip(data: bytes, seed: float) -> bytes:
    out, rng = bytearray(data), random.Random(seed)
    for _ in range(1 + len(out) // 400):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)

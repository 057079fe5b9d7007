"""Files of word vectors, by Python's door and in a command that trains."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.case import RAN, Case, Command, Result
from tests.hostile.stock import NAMES, Stock

VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4) + 1
TEXT = 'red 1 2 3 4\ngreen 5 6 7 8\nblue 9 10 11 12\n'
FILE = r'w\.(npz|txt)|the file of word vectors'


class Runs:
    def __reduce__(self):
        return os.mkdir, (RAN,)


def saved(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def zipped(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', compression) as file:
        for name, content in members.items():
            file.writestr(f'{name}.npy', content)
    return out.getvalue()


def npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def claiming(
    shape: str, kind: str = "'<f4'", order: str = 'False', more: str = '', content: bytes = bytes(48)
) -> bytes:
    """An array's file whose header says anything."""
    header = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}{more}}}".encode()
    header += b' ' * (63 - (10 + len(header)) % 64) + b'\n'
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header + content


def beside(vectors: bytes, names: bytes = npy(list(NAMES))) -> bytes:
    return zipped(names=names, vectors=vectors)


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


GOOD = saved(names=list(NAMES), vectors=VECTORS)
NO_NUMBERS = claiming('(3, 4)', content=b'')


def listed(at: int, value: int) -> bytes:
    """A byte of what an archive's list says of its first member is changed."""
    at += GOOD.index(b'PK\x01\x02')
    return GOOD[:at] + bytes([value]) + GOOD[at + 1 :]


# Done as asked: the vectors are those above.
AS_ASKED: dict[str, Any] = {
    'plain': GOOD,
    'compressed': zipped(zipfile.ZIP_DEFLATED, names=npy(list(NAMES)), vectors=npy(VECTORS)),
    'more arrays': saved(names=list(NAMES), vectors=VECTORS, other=np.zeros(3)),
    'an object beside': saved(names=list(NAMES), vectors=VECTORS, other=np.array([Runs()], dtype=object)),
    'in columns': saved(names=list(NAMES), vectors=np.asfortranarray(VECTORS)),
    'bytes of the other order': saved(names=list(NAMES), vectors=VECTORS.astype('>f4')),
    'whole numbers': saved(names=list(NAMES), vectors=VECTORS.astype(int)),
    'small numbers': saved(names=list(NAMES), vectors=VECTORS.astype(np.uint8)),
    'halves': saved(names=list(NAMES), vectors=VECTORS.astype(np.float16)),
    'doubles': saved(names=list(NAMES), vectors=VECTORS.astype(float)),
    'text': TEXT,
    'text with a head': f'3 4\n{TEXT}',
    'line ends of Windows': TEXT.replace('\n', '\r\n'),
    'no last line end': TEXT.rstrip(),
    'empty lines': TEXT.replace('\n', '\n\n'),
    'a word of no class': 'a\udcff 1 1 1 1\n'.encode(errors='surrogateescape') + TEXT.encode(),
    'what follows is damaged': TEXT + 'black x y\n\0\0\0',
    'a second of one word': TEXT + 'red 0 0 0 0\n',
    'exponents': TEXT.replace('2', '2e0'),
}

# Refused, naming the file.
NPZ: dict[str, bytes] = {
    'empty': b'',
    'no archive': b'x' * 1000,
    'an array alone': npy(VECTORS),
    'bytes before the archive': b'#!/bin/sh\n' * 3 + GOOD,
    'a pickle': pickle.dumps(Runs()),
    'a pickle in an archive': zipped(names=pickle.dumps(Runs()), vectors=pickle.dumps(Runs())),
    'objects': saved(names=np.array([Runs()], dtype=object), vectors=VECTORS),
    'objects as vectors': saved(names=list(NAMES), vectors=np.array([[Runs()]], dtype=object)),
    'a pickle of format 1': beside(claiming('(3, 4)', "'|O'", content=pickle.dumps(Runs()))),
    'no names': saved(vectors=VECTORS),
    'no vectors': saved(names=list(NAMES)),
    'other names': saved(Names=list(NAMES), Vectors=VECTORS),
    'an empty archive': zipped(),
    'texts': saved(names=list(NAMES), vectors=VECTORS.astype(str)),
    'bytes': saved(names=list(NAMES), vectors=VECTORS.astype('S8')),
    'words as vectors': saved(names=list(NAMES), vectors=[['a'], ['b'], ['c']]),
    'structured': saved(names=list(NAMES), vectors=np.zeros((3, 4), [('a', 'f4'), ('b', 'i4')])),
    'structured flat': saved(names=list(NAMES), vectors=np.zeros(3, [('a', 'f4', 4)])),
    'complex': saved(names=list(NAMES), vectors=VECTORS * 1j),
    'dates': saved(names=list(NAMES), vectors=np.zeros((3, 4), 'M8[s]')),
    'spans': saved(names=list(NAMES), vectors=np.zeros((3, 4), 'm8[s]')),
    'raw bytes': saved(names=list(NAMES), vectors=np.zeros((3, 4), 'V4')),
    'yes and no': saved(names=list(NAMES), vectors=VECTORS > 3),
    'NaN': saved(names=list(NAMES), vectors=VECTORS * np.nan),
    'one NaN': saved(names=list(NAMES), vectors=np.where(VECTORS == 7, np.nan, VECTORS)),
    'infinity': saved(names=list(NAMES), vectors=VECTORS * np.inf),
    'beyond float32': saved(names=list(NAMES), vectors=VECTORS.astype(float) * 1e300),
    'no dimension': saved(names=list(NAMES), vectors=np.float32(1)),
    'one dimension': saved(names=list(NAMES), vectors=VECTORS[0]),
    'three dimensions': saved(names=list(NAMES), vectors=VECTORS[None]),
    'no numbers': saved(names=list(NAMES), vectors=VECTORS[:, :0]),
    'a vector too few': saved(names=list(NAMES), vectors=VECTORS[:2]),
    'a name too few': saved(names=list(NAMES)[:2], vectors=VECTORS),
    'names in two dimensions': saved(names=[list(NAMES)], vectors=VECTORS),
    'one name': saved(names='red', vectors=VECTORS),
    'names twice': saved(names=['red', 'red', 'blue'], vectors=VECTORS),
    'names of capitals': saved(names=['RED', 'Red', 'blue'], vectors=VECTORS),
    'numbers as names': saved(names=[1, 2, 3], vectors=VECTORS),
    'names in bytes': saved(names=np.array(NAMES, 'S'), vectors=VECTORS),
    'names of nothing': saved(names=['', ' ', '\t'], vectors=VECTORS),
    'names with escapes': saved(names=['\x1b]0;x\x07', '[/red]', 'a\u202eb'], vectors=VECTORS),
    'odd letters in names': beside(npy(VECTORS), claiming('(3,)', "'<U1'", content=b'\xff\xff\xff\x7f' * 3)),
    'surrogates in names': beside(npy(VECTORS), claiming('(3,)', "'<U1'", content=b'\x00\xd8\x00\x00' * 3)),
    'bytes twice the letters': beside(npy(VECTORS), npy(list(NAMES))[:-4]),
    'truncated': GOOD[: len(GOOD) // 2],
    'without its end': GOOD[:-22],
    'without its start': GOOD[40:],
    'a wrong checksum': flipped(GOOD, GOOD.rindex(VECTORS.tobytes()) + 5),
    'a wrong checksum of names': flipped(GOOD, GOOD.index('green'.encode('utf-32-le')) + 4),
    'a wrong kind of compression': listed(10, 99),
    'encrypted': listed(8, 1),
    'TiB claimed': beside(claiming('(1000000000000, 4)')),
    'EiB claimed': beside(claiming('(4611686018427387904, 4)')),
    'more than numbers hold': beside(claiming(f'({10**30}, 4)')),
    'negative sizes': beside(claiming('(-3, 4)')),
    'sizes that are none': beside(claiming("('a', 4)")),
    'a size alone': beside(claiming('3')),
    '100 dimensions': beside(claiming(f'({"1, " * 100})')),
    'yes as a size': beside(claiming('(True, 4)')),
    'an unknown type': beside(claiming('(3, 4)', "'<f3'")),
    'no type': beside(claiming('(3, 4)', 'None')),
    'types in types': beside(claiming('(3, 4)', "[('a', [('b', [('c', '<f4')])])]")),
    'a type of 4 GB': beside(claiming('(3, 4)', "'<U1000000000'")),
    'a type of no size': beside(claiming('(3, 4)', "'<U0'")),
    'no order': beside(claiming('(3, 4)', order="'x'")),
    'a key too many': beside(claiming('(3, 4)', more=", 'x': 1")),
    'code in the head': beside(claiming(f"(__import__('os').mkdir({RAN!r}), 4)")),
    'a head that is none': beside(b'\x93NUMPY\x01\x00\x10\x00' + b'{' * 16),
    'a head of deep brackets': beside(b'\x93NUMPY\x01\x00' + struct.pack('<H', 60000) + b'(' * 60000),
    'a long head': beside(b'\x93NUMPY\x02\x00' + struct.pack('<I', 1 << 20) + b' ' * (1 << 20)),
    'a head beyond its file': beside(b'\x93NUMPY\x02\x00' + struct.pack('<I', (1 << 32) - 1) + b'{}'),
    'format 9': beside(b'\x93NUMPY\x09\x00' + npy(VECTORS)[8:]),
    'fewer numbers than claimed': beside(claiming('(3, 400)')),
    'no numbers, compressed': zipped(zipfile.ZIP_DEFLATED, names=npy(list(NAMES)), vectors=NO_NUMBERS),
    'texts in the archive': zipped(names=b'red green blue', vectors=b'1 2 3'),
    'a text file': TEXT.encode(),
    'a picture': b'\x89PNG\r\n\x1a\n' + bytes(100),
}  # fmt: skip

TEXTS: dict[str, str | bytes] = {
    'empty': '',
    'white space': ' \n\t\n \n',
    'a head alone': '3 4\n',
    'zeros': bytes(1000),
    'words alone': 'red\ngreen\nblue\n',
    'a number too few': TEXT.replace(' 8', ''),
    'a number too many': TEXT.replace(' 8', ' 8 8'),
    'two spaces': TEXT.replace(' 8', '  8'),
    'tabs': TEXT.replace(' ', '\t'),
    'commas': TEXT.replace(' ', ','),
    'decimal commas': TEXT.replace('8', '8,5'),
    'a word for a number': TEXT.replace('8', 'eight'),
    'NaN': TEXT.replace('8', 'nan'),
    'infinity': TEXT.replace('8', 'inf'),
    'beyond float32': TEXT.replace('8', '1e300'),
    'beyond float64': TEXT.replace('8', '1e999'),
    '400 digits': TEXT.replace('8', '9' * 400),
    'a NUL': TEXT.replace('8', '\0'),
    'an escape': TEXT.replace('8', '\x1b]0;x\x07'),
    'right to left': TEXT.replace('8', '\u202e8'),
    'not UTF-8': TEXT.encode().replace(b'8', b'\xff'),
    'UTF-16': TEXT.encode('utf-16'),
    'UTF-16 without a mark': TEXT.encode('utf-16-le'),
    'hexadecimal': TEXT.replace('8', '0x8'),
    'one line of 10 MB': 'red' + ' 1' * 5_000_000,
    'one word of 10 MB': 'r' * 10_000_000,
    'no blue': TEXT.replace('blue', 'black'),
    'in capitals': TEXT.upper(),
    'a head that lies': f'3 400\n{TEXT.replace(" 4", "")}',
    'a gzip': b'\x1f\x8b\x08\x00' + bytes(100),
    'an archive': GOOD,
    'a page': '<!DOCTYPE html><html><body>404</body></html>',
    'JSON': '{"red": [1, 2, 3, 4]}',
    'a pointer': 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n',
}


def found(path: str, same: bool = True) -> Command:
    """Python's door."""

    def read() -> None:
        from mlsgm_pyg.semantics import word_vectors

        vectors = word_vectors(NAMES, path)
        if same:
            assert vectors.tolist() == VECTORS.tolist(), f'other vectors: {vectors}'

    return read


def trained(stock: Stock, path: str) -> list[str]:
    words = [word for word in stock.train if not word.startswith('semantics.source')]
    return ['experiments.run', *words, f'semantics.source={path}']


def file(content: str | bytes, suffix: str, command: str, stock: Stock, rng: random.Random) -> Command:
    path = Path(f'w{suffix}')
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if command == 'check':
        return ['mlsgm', 'check', str(stock.photos), f'semantics.source={path}']
    return trained(stock, str(path)) if command == 'train' else found(str(path))


def suffix_of(content: str | bytes) -> str:
    return '.npz' if isinstance(content, bytes) and b'PK' in content[:100] else '.txt'


def cases() -> Iterator[Case]:
    for what, content in AS_ASKED.items():
        yield Case(what, partial(file, content, suffix_of(content), ''), done=True, check=kept)
    for kind, contents in (('.npz', NPZ), ('.txt', TEXTS)):
        for at, (what, content) in enumerate(contents.items()):
            yield Case(f'{what} {kind}', partial(file, content, kind, ''), FILE, False)
            if at % 3 == 0:  # A command's own words around it.
                act = partial(file, content, kind, 'train')
                yield Case(f'{what} {kind}, train', act, FILE, False, kept, cost=0.6)
    for number in range(25):
        yield Case(f'damaged {number}', damaged)
    for what, make in PLACES.items():
        yield Case(f'{what}', partial(place, make, ''), 'w.txt|w.npz', False, seconds=10)
        yield Case(f'{what}, train', partial(place, make, 'train'), 'w.txt|w.npz', False, kept, 10, cost=0.6)
    for what, act in CACHES.items():
        yield Case(f'cache: {what}', act, done=None if 'its own' in what else True)


def kept(result: Result) -> str:
    """Nothing is trained with vectors that are refused, and no cache is left of them."""
    return 'wrong: a run was left' if result.status and Path('runs').is_dir() else ''


def damaged(stock: Stock, rng: random.Random) -> Command:
    content, suffix = rng.choice(((GOOD, '.npz'), (TEXT.encode(), '.txt')))
    for _ in range(rng.choice((1, 2, 8))):
        at = rng.randrange(len(content))
        content = content[:at] + rng.randbytes(rng.randrange(3)) + content[at + rng.randrange(4) :]
    Path(f'w{suffix}').write_bytes(content)
    return found(f'w{suffix}', same=False)


def place(make: Callable[[Path], Any], command: str, stock: Stock, rng: random.Random) -> Command:
    """What is no file of vectors."""
    path = Path('w.npz' if 'npz' in make.__name__ else 'w.txt')
    make(path)
    return trained(stock, str(path)) if command else found(str(path))


def sparse_npz(path: Path) -> None:
    with path.open('wb') as file:
        file.truncate(40 << 30)


def sparse_text(path: Path) -> None:
    sparse_npz(path)


def nothing(path: Path) -> None: ...
def pipe(path: Path) -> None:
    os.mkfifo(path)


def pipe_npz(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to('/dev/zero')


def device_npz(path: Path) -> None:
    path.symlink_to('/dev/zero')


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def folder_npz(path: Path) -> None:
    path.mkdir()


PLACES = {
    'nothing there': nothing,
    'a folder': Path.mkdir,
    'a folder named .npz': folder_npz,
    'a pipe': pipe,
    'a pipe named .npz': pipe_npz,
    'zeros without end': device,
    'zeros without end named .npz': device_npz,
    'a link to itself': circle,
    '40 GB of nothing': sparse_text,
    '40 GB of nothing named .npz': sparse_npz,
}


def cached(content: bytes, stock: Stock, rng: random.Random) -> Command:
    """A text file beside which lies a cache that is none."""
    Path('w.txt').write_text(TEXT)
    Path('w.txt.words.cache.npz').write_bytes(content)
    return found('w.txt')


def stamped(vectors: Any, words: Any, stock: Stock, rng: random.Random) -> Command:
    """One that says to be of this very file."""
    from mlsgm_pyg.cache import Cache

    Path('w.txt').write_text(TEXT)
    Cache(Path('w.txt'), None, 'words').write(words=words, vectors=vectors)
    return found('w.txt')


CACHES: dict[str, Callable] = {
    what: partial(cached, NPZ[what])
    for what in ('empty', 'no archive', 'a pickle', 'objects', 'truncated', 'TiB claimed', 'structured', 'no names')
}
CACHES['a folder'] = lambda stock, rng: (
    (Path('w.txt.words.cache.npz').mkdir(), Path('w.txt').write_text(TEXT)) and found('w.txt')
)

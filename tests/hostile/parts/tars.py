"""Shards of pictures for predict: damaged tar files, strange members, lists, and folders of parts that do not fit."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

from mlsgm_pyg.app.prediction.shards import predict_shards
from tests.hostile.case import Case, Command, Result
from tests.hostile.stock import Stock

PICTURES = ('0.png', '1.png', '2.png')
FIELDS = {  # Of a header: where, and what takes its place.
    'name': (0, b'\xff\xfe\x00\x01'),
    'size': (124, b'77777777777\0'),
    'negative size': (124, b'\xff' * 12),
    'size of letters': (124, b'abcdefghijk\0'),
    'checksum': (148, b'00000000'),
    'type': (156, b'\xff'),
    'magic': (257, b'nonsense'),
    'mode': (100, b'zzzzzzz\0'),
}
BREAKS = {'name', 'size', 'negative size', 'size of letters', 'checksum', 'type', 'magic', 'mode'}
TYPES = {
    'symlink': (tarfile.SYMTYPE, '/etc/passwd'),
    'link': (tarfile.LNKTYPE, '/etc/passwd'),
    'link to a member': (tarfile.LNKTYPE, '0.png'),
    'pipe': (tarfile.FIFOTYPE, ''),
    'device': (tarfile.CHRTYPE, ''),
    'block device': (tarfile.BLKTYPE, ''),
    'folder': (tarfile.DIRTYPE, ''),
}
NAMES = {
    'up': '../../x.png',
    'absolute': '/tmp/x.png',
    'twice': '0.png',
    'long': f'{"d/" * 2000}x.png',
    'controls': 'a\x1b]0;t\x07b.png',
    'a line': 'a\nb.png',
    'not UTF-8': 'a\udcff.png',
    'right to left': 'a\u202egnp.exe.png',
    'brackets': '[red]x[/red].png',
    'capitals': 'X.PNG',
}
LISTS = {
    'nothing': b'',
    'blank lines': b'\n\n \n',
    'NUL': b'a\0b.png\n',
    'no UTF-8': b'\xff\xfe\xfd\n',
    'a device': b'/dev/zero\n',
    'a pipe': b'pipe.png\n',
    'a folder': b'/\n',
    'a long line': b'x' * 100_000,
    'an address': b'http://127.0.0.1:1/x.png\n',
    'itself': b'x.txt\n',
    'controls': b'\x1b]0;t\x07.png\n',
}
ABOUTS = {
    'nothing': '',
    'a list': '[]',
    'a number': '1',
    'deep': '[' * 100_000,
    'other': '{"sha256": "x"}',
    'no JSON': 'x',
}
OUTS = {
    'a file': lambda: Path('parts').touch(),
    'below a file': lambda: Path('parts').touch(),
    'a link to nowhere': lambda: Path('parts').symlink_to('nowhere/x'),
    'a link in a circle': lambda: Path('parts').symlink_to('parts'),
}


def packed(stock: Stock, more: Callable[[tarfile.TarFile], None] = lambda archive: None) -> bytes:
    """A tar file of three pictures, with something before the last."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as archive:
        for name in PICTURES:
            if name == PICTURES[-1]:
                more(archive)
            archive.add(stock.photos / 'images' / name, arcname=name)
    return file.getvalue()


def predicted(shards: list[str], expected: int | None, out: str = 'parts') -> Command:
    """Predicts shards; of the one that matters, so many pictures are expected, or no part where it is broken (None)."""

    def work(stock: Stock) -> None:
        job = predict_shards(stock.exported, shards, out, workers=1, accelerator='cpu')
        number, broken = (None, 1) if expected is None else (expected, 0)
        assert len(job.broken) == broken, f'{job.broken}'
        assert job.number == (number or 0), f'{job.number} pictures'
        for why in job.broken.values():
            assert why and '\n' not in why, why
        print(job.summary())

    return work


def case(name: str, lay: Callable[[Stock, Random], None], expected: int | None, **more: object) -> Case:
    def act(stock: Stock, rng: Random) -> Command:
        lay(stock, rng)
        shard = next((name for name in ('x.txt', 'x.tar.gz') if Path(name).exists()), 'x.tar')
        return partial(predicted([shard], expected), stock)

    def check(result: Result) -> str:
        left = {path.name for path in Path().iterdir()} - {'x.tar', 'x.tar.gz', 'x.txt', 'pipe.png', 'parts'}
        if left:
            return f'wrong: {left} was written'
        there = Path('parts/x.parquet').exists()
        return '' if there == (expected is not None) else f'wrong: {"a" if there else "no"} part'

    return Case(name, act, check=check, done=True, cost=0.4, **more)


def written(make: Callable[[Stock], bytes], name: str = 'x.tar') -> Callable[[Stock, Random], None]:
    return lambda stock, rng: Path(name).write_bytes(make(stock)) and None


def cases() -> Iterator[Case]:
    for part in range(1, 30):  # Of the whole: always in a member or between two.
        yield case(f'cut after {part}/31', written(lambda stock, part=part: packed(stock)[: 9000 * part // 31]), None)
    for part in range(12):
        cut = lambda stock, part=part: gzip.compress(packed(stock), mtime=0)[: -(1 + 400 * part)]  # noqa: E731
        yield case(f'packed, cut {part}', written(cut, 'x.tar.gz'), None)
        flip = partial(flipped, at=(part + 1) / 14)
        yield case(f'packed, a byte changed {part}', written(flip, 'x.tar.gz'), None)
    for name, (at, value) in FIELDS.items():
        for member in range(3):
            yield case(f'{name} of member {member}', written(partial(damaged, at=at, value=value, member=member)), None)
    for name, (kind, target) in TYPES.items():
        for file in ('z.png', 'z.txt'):
            add = partial(added, name=file, kind=kind, target=target)
            yield case(f'a {name} {file}', written(lambda stock, add=add: packed(stock, add)), 3)
    for name, file in NAMES.items():
        add = partial(added, name=file, data=b'no picture')
        yield case(f'a name: {name}', written(lambda stock, add=add: packed(stock, add)), 4)
    for name, data in {
        'nothing': b'',
        'text': b'x' * 3000,
        'zeros': bytes(1 << 16),
        'a zip': b'PK\3\4' + bytes(600),
    }.items():
        yield case(f'not a tar: {name}', written(lambda stock, data=data: data), 0 if name == 'zeros' else None)
    yield case(
        'inside of itself', written(lambda stock: packed(stock, partial(added, name='x.tar', data=packed(stock)))), 3
    )
    for name, data in LISTS.items():
        number = len([line for line in data.split(b'\n') if line.strip()])
        yield case(f'a list: {name}', partial(listed, data=data), number if data else None)
    yield case('a pipe', lambda stock, rng: os.mkfifo('x.tar'), None)
    yield case('a folder', lambda stock, rng: os.mkdir('x.tar'), None)
    yield case('a link in a circle', lambda stock, rng: os.symlink('x.tar', 'x.tar'), None)
    yield case('a device', lambda stock, rng: os.symlink('/dev/zero', 'x.tar'), None)
    yield case('nowhere', lambda stock, rng: None, None)
    yield case(
        'sparse and endless', lambda stock, rng: os.truncate(os.open('x.tar', os.O_CREAT | os.O_RDWR), 40 << 30), None
    )
    for name, text in ABOUTS.items():
        yield Case(
            f'about.json: {name}', partial(about, text=text), told='about.json|was made with', done=False, cost=0.4
        )
    for name, make in OUTS.items():
        yield Case(
            f'--out is {name}', partial(out_is, make=make, below='below' in name), told='parts', done=False, cost=0.4
        )
    for pattern in (
        'x*.tar',
        '{0..99999999999}.tar',
        'nowhere://x.tar',
        's3:',
        '[',
        '',
        '\0',
        '{1..1}{0..999999}{0..9}.tar',
    ):
        yield Case(f'--shards {pattern!r}', partial(named, pattern=pattern), cost=0.4)


def flipped(stock: Stock, at: float) -> bytes:
    data = bytearray(gzip.compress(packed(stock), mtime=0))
    data[20 + int((len(data) - 40) * at)] ^= 0x55
    return bytes(data)


def damaged(stock: Stock, at: int, value: bytes, member: int) -> bytes:
    whole = packed(stock)
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        start = archive.getmembers()[member].offset + at
    return whole[:start] + value + whole[start + len(value) :]


def added(
    archive: tarfile.TarFile, name: str, kind: bytes = tarfile.REGTYPE, target: str = '', data: bytes = b''
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(data)
    archive.addfile(info, io.BytesIO(data))


def listed(stock: Stock, rng: Random, data: bytes) -> None:
    Path('x.txt').write_bytes(data)
    os.mkfifo('pipe.png')


def about(stock: Stock, rng: Random, text: str) -> Command:
    Path('x.tar').write_bytes(packed(stock))
    os.mkdir('parts')
    Path('parts/about.json').write_text(text)
    return ['mlsgm', 'predict', str(stock.exported), '--shards', 'x.tar']


def out_is(stock: Stock, rng: Random, make: Callable[[], None], below: bool) -> Command:
    Path('x.tar').write_bytes(packed(stock))
    make()
    return ['mlsgm', 'predict', str(stock.exported), '--shards', 'x.tar', '--out', 'parts/a/b' if below else 'parts']


def named(stock: Stock, rng: Random, pattern: str) -> Command:
    return ['mlsgm', 'predict', str(stock.exported), '--shards', pattern]

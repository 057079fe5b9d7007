"""Archives as a mirror may give them, unpacked by `experiments.downloads.archives`: into `out`, never elsewhere."""

from __future__ import annotations

import io
import random
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from warnings import catch_warnings

from tests.hostile.case import Case, Result

ELSEWHERE = 'go outside'
BROKEN = "'a' is (broken|neither a whole zip nor a plain tar file)"
OUTSIDE = ('..', '../x', 'a/../../x', './../x', '/tmp/hostile-x', '//tmp/hostile-x', '.', 'a/..', 'a//../../x')
OUTSIDE += ('../out', '../outside', '../out2/x', '../kept', 'a/./../../kept', '/proc/self/mem', '/dev/null')
INSIDE = (
    './x',
    'a//x',
    '...',
    '.../x',
    '~',
    '~root/x',
    '..x',
    'x..',
    ' ',
    ' x ',
    '-rf',
    '$HOME',
    '%2e%2e%2fx',
)
INSIDE += (
    '..\\x',
    'C:\\x',
    'C:x',
    '\\\\host\\x',
    'CON',
    'x:y',
    '[/red]',
    '<b>',
    'é',
    '\u202ex',
    '\x1b]0;x\x07',
    'x\ny',
)
INSIDE += ('x.part', 'a.unpacking', '\ufeffx', '\u2024\u2024/x', '\uff0e\uff0e/x', 'a/b/c/d/e/f/x', '/'.join('d' * 60))
PLAIN = {'a/1': b'one', 'a/2': bytes(range(256)) * 9, '3': b''}


def zipped(*entries: tuple[str, bytes], packed: int = zipfile.ZIP_DEFLATED, **changes) -> bytes:
    """A zip file of some names and contents; changes are those of each entry, told in its directory alone."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', packed) as archive, catch_warnings(action='ignore'):
        for name, content in entries:
            info = zipfile.ZipInfo('x')
            info.filename = info.orig_filename = name
            info.compress_type, info.external_attr = packed, changes.get('external_attr', 0)
            archive.writestr(info, content)
        for info in archive.infolist():
            for key, value in changes.items():
                setattr(info, key, value)
    return out.getvalue()


def tarred(*entries: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, link: str = '', **how) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', **how) as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, link
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


KINDS = {'zip': zipped, 'tar': tarred}


def base256(number: int) -> bytes:
    """A number of a tar file's header that is negative, or has more digits than fit."""
    return (number % 256**12 | 0x80 << 88 if number >= 0 else number % 256**12).to_bytes(12, 'big')


def header(content: bytes, start: int, new: bytes, at: int = 0) -> bytes:
    """A tar file of which the header of one entry is changed, and its checksum made right."""
    head = bytearray(content[at : at + 512])
    head[start : start + len(new)] = new
    head[148:156] = b' ' * 8
    head[148:156] = b'%06o\0 ' % sum(head)
    return content[:at] + bytes(head) + content[at + 512 :]


def attack(content: Callable[[random.Random], bytes] | bytes, there: dict[str, bytes] | None = None):
    """Unpacks it beside files that must stay."""

    def act(stock, rng):
        from experiments.downloads.archives import extract

        Path('kept').write_text('kept')
        Path('a').write_bytes(content(rng) if callable(content) else content)
        for name, inside in (there or {}).items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(inside)
        return lambda: extract('a', 'out')

    return act


def around(result: Result) -> str:
    """Nothing but files and folders in `out`, whole ones, and not too many bytes."""
    if Path('kept').read_text() != 'kept' or Path('/tmp/hostile-x').exists():
        return 'lost: what lies outside of the folder'
    if more := {path.name for path in Path().iterdir()} - {'a', 'kept', 'out'}:
        return f'wrong: it wrote {more} outside of the folder'
    made = list(Path('out').rglob('*'))
    if odd := [path for path in made if path.is_symlink() or not (path.is_file() or path.is_dir())]:
        return f'wrong: it made links or devices: {odd}'
    size = sum(path.stat().st_size for path in made if path.is_file())
    return f'wrong: it unpacked {size:,} bytes' if size > 12_000_000 else ''


def holds(files: dict[str, bytes]) -> Callable[[Result], str]:
    def check(result: Result) -> str:
        for name, content in files.items():
            if not Path('out', name).is_file() or Path('out', name).read_bytes() != content:
                return f'wrong: {name!r} is not there as it was in the archive'
        return around(result)

    return check


def refused(name: str, content, told: str = BROKEN, **how) -> Case:
    return Case(name, attack(content), told, False, around, **how)


def unpacked(name: str, content, files: dict[str, bytes], there: dict[str, bytes] | None = None) -> Case:
    return Case(name, attack(content, there), '', True, holds(files))


def cases() -> Iterator[Case]:
    yield from names()
    yield from entries()
    yield from sizes()
    yield from damage()
    yield from again()


def names() -> Iterator[Case]:
    """Zip slip in all spellings, and names that only look like it."""
    for kind, write in KINDS.items():
        for name in OUTSIDE:
            yield refused(f'{kind}: {name!r} leads outside', write(('good', b'x'), (name, b'x')), ELSEWHERE)
        for name in INSIDE:
            yield unpacked(f'{kind}: {name!r} lies inside', write((name, b'x')), {name: b'x'})
        yield refused(f'{kind}: no name', write(('good', b'x'), ('', b'x')), f'{ELSEWHERE}|{BROKEN}')
        for length in (255, 256, 5000, 60_000):
            long = attack(write(('y' * length, b'x')))
            yield Case(f'{kind}: a name of {length} letters', long, 'too long', length < 250 or None, around)
        twice = {'the same': 'a/x', 'the same after all': 'a/../a/./x'}
        for what, name in twice.items():
            yield refused(f'{kind}: two files of a name, {what}', write(('a/x', b'1'), (name, b'22')), 'twice')
        for pair in (('x', 'x/y'), ('x/y', 'x')):
            yield refused(f'{kind}: {pair[0]!r}, then {pair[1]!r}', write((pair[0], b'1'), (pair[1], b'2')), 'x')
    yield unpacked('zip: NUL ends a name', zipped(('x\0/../../y', b'x')), {'x': b'x'})
    yield unpacked('zip: a folder outside is not made', zipped(('../made/', b''), ('x', b'x')), {'x': b'x'})
    pax = {'path': '../x'}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo('x')
        info.pax_headers = pax
        archive.addfile(info)
    yield refused('tar: a pax header leads outside', out.getvalue(), ELSEWHERE)
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        content = tarred(('d/' * 90 + '../' * 100 + 'x', b'x'), format=form)
        yield refused(f'tar: a long name leads outside, format {form}', content, ELSEWHERE)


def entries() -> Iterator[Case]:
    """Links and devices."""
    types = {'SYM': tarfile.SYMTYPE, 'LNK': tarfile.LNKTYPE, 'CHR': tarfile.CHRTYPE, 'BLK': tarfile.BLKTYPE}
    types |= {'FIFO': tarfile.FIFOTYPE, 'DIR': tarfile.DIRTYPE, 'unknown': b'Z'}
    for name, kind in types.items():
        for link in ('..', '/etc/passwd', '../kept', 'x'):
            content = tarred(('x', b''), kind=kind, link=link)[:512] + tarred(('x', b'whole'))
            yield unpacked(f'tar: {name} to {link!r}, then a file', content, {'x': b'whole'})
    for mode in ('S_IFLNK', 'S_IFIFO', 'S_IFCHR', 'S_IFDIR', 'S_IFSOCK'):
        content = zipped(('x', b'../kept'), external_attr=(getattr(stat, mode) | 0o777) << 16)
        yield Case(f'zip: {mode}', attack(content), '', True, around)
    yield unpacked('zip: setuid is not kept', zipped(('x', b'x'), external_attr=0o104777 << 16), {'x': b'x'})


def sizes() -> Iterator[Case]:
    """Bombs, and sizes that lie."""
    bound = r"'a' would unpack to [\d,]+ bytes or more \(up to '.*'\): at most [\d,]+ are believed, 20 times its own"
    for size in (10_000_001, 40_000_000):
        yield refused(f'zip: {size} zeros', lambda rng, size=size: zipped(('x', bytes(size))), bound, cost=0.4)
    yield refused('zip: many', lambda rng: zipped(*((f'{i}', bytes(10**6)) for i in range(20))), bound)
    for packed in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield refused(f'zip: packed as {packed}', zipped(('x', bytes(10**6)), packed=packed))
    for size in (1, 999, 1001, 5000, 2**32, 2**63, 2**64 - 1):
        content = zipped(('x', b'x' * 1000), file_size=size)
        yield refused(f'zip: 1,000 bytes that say they are {size}', content, f'{bound}|{BROKEN}')
    for size in (0, 1, 10**6):
        content = zipped(('x', bytes(1000)), compress_size=size)
        packed = attack(content)
        yield Case(f'zip: packed bytes that say they are {size}', packed, BROKEN, size > 1000 or False, around)
    yield refused('zip: one content under many names', overlapping(), f'{bound}|{BROKEN}', cost=0.3)
    inner = zipped(('x', bytes(9_000_000)))
    yield unpacked('zip: nested', zipped(('inner.zip', inner)), {'inner.zip': inner})
    for how in ('gz', 'bz2', 'xz'):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=f'w:{how}') as archive:
            info = tarfile.TarInfo('x')
            info.size = 20_000_000
            archive.addfile(info, io.BytesIO(bytes(info.size)))
        yield refused(f'tar: packed by {how}', out.getvalue())
    plain = tarred(('x', b'x' * 1000))
    for size in (999, 5000, 10**7, 8**11 - 1):
        yield Case(
            f'tar: 1,000 bytes that say they are {size}',
            attack(header(plain, 124, b'%011o\0' % size)),
            '',
            None,
            around,
        )
    for size in (-1, -512, -1024, -(2**80), 2**40, 2**80):
        told = f'{bound}|{BROKEN}'
        yield refused(f'tar: a size of {size}', header(plain, 124, base256(size)), told, seconds=5)
    hole = header(header(plain, 156, b'S'), 483, b'%011o\0' % (8**11 - 1))
    yield refused('tar: a file of holes', hole, bound)
    for kind in (b'x', b'L', b'K', b'g'):
        yield Case(
            f'tar: a header {kind} that says it is large',
            attack(header(header(plain, 156, kind), 124, b'%011o\0' % 8**10)),
            BROKEN,
            None,
            around,
        )


def overlapping() -> bytes:
    """Many entries of a directory that are one content."""
    one = zipped(('x', bytes(1_000_000)))
    at = one.index(b'PK\1\2')
    entry, end = one[at : one.index(b'PK\5\6')], one[one.index(b'PK\5\6') :]
    many = 5000
    tail = struct.pack('<4s4H2LH', b'PK\5\6', 0, 0, many, many, len(entry) * many, at, 0)
    assert len(tail) == len(end)
    return one[:at] + entry * many + tail


def damage() -> Iterator[Case]:
    """Truncated, flipped, encrypted, empty, something else."""
    for kind, write in KINDS.items():
        whole = write(*PLAIN.items())
        for number in range(8):
            cut = len(whole) * number // 8
            yield Case(
                f'{kind}: cut to {number}/8', attack(whole[:cut]), BROKEN, None if kind == 'tar' else False, around
            )
        for number in range(12):

            def flipped(rng, whole=whole):
                content = bytearray(whole)
                for _ in range(rng.choice((1, 1, 4, 30))):
                    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
                return bytes(content)

            yield Case(f'{kind}: flipped bits, {number}', attack(flipped), '', None, around)
    whole = zipped(('x', b'x' * 1000))
    yield refused('zip: a wrong checksum', zipped(('x', b'x' * 1000), CRC=1))
    yield refused('zip: encrypted', zipped(('x', b'x'), flag_bits=1))
    yield refused('zip: strongly encrypted', zipped(('x', b'x'), flag_bits=0x40))
    yield refused('zip: patched', zipped(('x', b'x'), flag_bits=0x20))
    yield refused('zip: an unknown version', zipped(('x', b'x'), extract_version=99))
    yield refused('zip: its header lies elsewhere', zipped(('x', b'x'), header_offset=10**9))
    yield unpacked('zip: something before it', b'MZ' * 500 + whole, {'x': b'x' * 1000})
    yield refused('zip: two directories', whole + whole[whole.index(b'PK\1\2') :] * 2, f'{BROKEN}')
    for name, content in {
        'nothing': b'',
        'HTML': b'<html>',
        'zeros': bytes(10_240),
        'noise': b'\xff\xd8\0' * 999,
    }.items():
        yield Case(f'no archive: {name}', attack(content), BROKEN, None if name == 'zeros' else False, around)


def again() -> Iterator[Case]:
    """An unpacking that was broken off goes on, over what is there."""
    for kind, write in KINDS.items():
        whole = write(*PLAIN.items())
        for what, there in {
            'a cut file': {'out/a/2': b'cut'},
            'a part': {'out/a/2.part': b'half of it'},
            'all there': {f'out/{name}': content for name, content in PLAIN.items()},
            'a longer file': {'out/a/1': b'longer than one'},
        }.items():
            yield unpacked(f'{kind}: {what}', whole, PLAIN, there)
        yield Case(f'{kind}: a folder lies in its place', attack(whole, {'out/a/2/x': b''}), 'out/a/2', False, around)
        yield Case(f"{kind}: a file lies in its folder's place", attack(whole, {'out/a': b''}), 'out/a', False, around)
        yield Case(f'{kind}: out is a file', attack(whole, {'out': b''}), 'out', False, around)

"""Servers that lie, break off, lead elsewhere or never end: downloads of archives, mirrors, and models by name."""

from __future__ import annotations

import gzip
import hashlib
import io
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.hostile.case import Case, Result
from tests.hostile.listener import CONTENT, TAKEN, Ask, Behaviour, serve

SIZE = len(CONTENT)
MD5 = f'md5:{hashlib.md5(CONTENT).hexdigest()}'


def hurried() -> None:
    """Waits and time limits of downloads, shorter."""
    from experiments.downloads import download

    download.WAIT, download.TIMEOUT = 0.001, 0.5


def fetched(behaviour: Behaviour, checksum: str = MD5, there: bytes | None = None, path: str = '/x.bin'):
    def act(stock, rng):
        from experiments.downloads.download import DownloadError, download

        hurried()
        url = f'http://127.0.0.1:{serve(behaviour)}{path}'
        if there is not None:
            Path('x.bin.part').write_bytes(there)

        def get() -> None:
            try:
                download(url, Path('x.bin'), SIZE, checksum)
            except DownloadError as error:
                raise ValueError(str(error)) from error  # As `experiments.prepare` tells it.

        return get

    return act


def whole(result: Result) -> str:
    """The file is there whole or not at all, no part of it is too large, and the server's end was not waited for."""
    if Path('too much').exists():
        return f'wrong: it took over {TAKEN:,} bytes for {SIZE:,}'
    if more := {path.name for path in Path().iterdir()} - {'x.bin', 'x.bin.part'}:
        return f'wrong: it wrote {more}'
    if Path('x.bin').exists() == bool(result.status):
        return 'wrong: the file is there and an error was told, or neither'
    if Path('x.bin').exists() and Path('x.bin').stat().st_size != SIZE:
        return f'wrong: it kept {Path("x.bin").stat().st_size:,} bytes'
    part = Path('x.bin.part')
    return 'wrong: a part that is too large' if part.exists() and part.stat().st_size > SIZE else ''


def right(result: Result) -> str:
    if not result.status and Path('x.bin').read_bytes() != CONTENT:
        return 'wrong: it took another file for the right one'
    return whole(result)


def works(name: str, behaviour: Behaviour, **how) -> Case:
    return Case(name, fetched(behaviour, **how), '', True, right, 10)


def refused(name: str, behaviour: Behaviour, told: str, done: bool | None = False, **how) -> Case:
    return Case(name, fetched(behaviour, **how), rf'http://127\.0\.0\.1:\d+\S* .*({told})', done, right, 10)


def first(behaviour: Behaviour, times: int = 1) -> Behaviour:
    """That at first, then an honest answer."""
    return lambda ask: behaviour(ask) if ask.number < times else ask.honest()


def cases() -> Iterator[Case]:
    yield from bodies()
    yield from heads()
    yield from statuses()
    yield from redirects()
    yield from mirrors()


def reset(ask: Ask) -> None:
    ask.answer(CONTENT[:100], length=SIZE)
    ask.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
    ask.connection.close()


def dripping(ask: Ask) -> None:
    ask.answer(b'', length=SIZE)
    for at in range(0, SIZE, 1024):
        ask.send(CONTENT[at : at + 1024])
        time.sleep(0.02)


def chunked(*sizes: str, end: bytes = b'0\r\n\r\n') -> Behaviour:
    def behave(ask: Ask) -> None:
        ask.answer(b'', length='', Transfer_Encoding='chunked')
        for size in sizes:
            ask.send(f'{size}\r\n', CONTENT, '\r\n')
        ask.send(end)

    return behave


def endless(head: str, *parts: str | bytes) -> Behaviour:
    return lambda ask: (ask.send(head), ask.forever(*parts)) and None


OK = 'HTTP/1.1 200 OK\r\n'
LOT = b'x' * 65_536
SIZES = r'another size: expected 20,480 bytes|expected 20,480 bytes \(got'
CUT = 'could not be downloaded in 5 tries'


def bodies() -> Iterator[Case]:
    """Too much, too little, other bytes, endless, slow."""
    yield works('an honest server', Ask.honest)
    yield works('no length is told', lambda ask: ask.answer(length=''))
    yield works('in chunks', chunked(f'{SIZE:x}'))
    yield works('slow', dripping)
    yield works('a cut line', first(lambda ask: ask.answer(CONTENT[:100], length=SIZE)))
    yield works('a reset line', first(reset))
    yield works('silence at first', first(lambda ask: time.sleep(1)))
    yield works('silence under way', first(lambda ask: (ask.answer(CONTENT[:9], length=SIZE), time.sleep(1))))
    yield works('an open line after the end', lambda ask: (ask.answer(length=''), time.sleep(1)))
    for number in (1, 999, 70_000, 5_000_000):
        more = CONTENT + bytes(number)
        yield refused(f'{number} bytes too many', lambda ask, more=more: ask.answer(more), SIZES)
        yield refused(f'{number} bytes too many, untold', lambda ask, more=more: ask.answer(more, length=''), SIZES)
        yield refused(
            f'{number} bytes too many, in chunks',
            chunked(f'{SIZE:x}', end=b'%x\r\n%b\r\n0\r\n\r\n' % (number, bytes(number))),
            SIZES,
        )
        yield works(f'{number} bytes behind the told end', lambda ask, more=more: ask.answer(more, length=SIZE))
    for number in (0, 1, SIZE - 1):
        less = CONTENT[:number]
        yield refused(f'{number} bytes alone', lambda ask, less=less: ask.answer(less), SIZES)
        yield refused(f'{number} bytes alone, untold', lambda ask, less=less: ask.answer(less, length=''), CUT)
        yield refused(f'{number} bytes, then cut', lambda ask, less=less: ask.answer(less, length=SIZE), CUT)
    yield refused('endless', endless(f'{OK}\r\n', LOT), SIZES)
    yield refused(
        'endless chunks', endless(f'{OK}Transfer-Encoding: chunked\r\n\r\n', b'10000\r\n' + LOT + b'\r\n'), SIZES
    )
    yield refused('a chunk without end', endless(f'{OK}Transfer-Encoding: chunked\r\n\r\nffffffffffff\r\n', LOT), SIZES)
    yield refused('an endless size of a chunk', endless(f'{OK}Transfer-Encoding: chunked\r\n\r\n', LOT), CUT)
    yield refused('an endless extension of a chunk', endless(f'{OK}Transfer-Encoding: chunked\r\n\r\n1;', LOT), CUT)
    yield refused('100 Continue without end', endless('', b'HTTP/1.1 100 Continue\r\n\r\n'), CUT)
    lines = endless(f'{OK}Transfer-Encoding: chunked\r\n\r\n{SIZE - 9:x}\r\n', CONTENT[:-9], b'\r\n0\r\n', LOT, b'\r\n')
    yield refused('lines after the chunks without end', lines, CUT)
    for size in ('-1', '-5000', 'ffffffffffffffffffffffff', 'zz', '', '0x10', '+5', '5000;a=b', '\xb2', ' 5000 '):
        yield refused(f'a chunk of {size!r}', chunked(size), f'{CUT}|{SIZES}', None)
    other = CONTENT[::-1]
    for kind in ('md5', 'sha256'):
        digits = hashlib.new(kind, CONTENT).hexdigest()
        stated = {'checksum': f'{kind}:{digits}'}
        yield works(f'the right {kind}', Ask.honest, **stated)
        yield refused(f'a wrong {kind}', lambda ask: ask.answer(other), f'expected {kind} {digits}', **stated)
    yield Case('other bytes without a checksum', fetched(lambda ask: ask.answer(other), ''), '', True, whole)
    small = gzip.compress(CONTENT)
    yield refused('gzip, unasked', lambda ask: ask.answer(small, Content_Encoding='gzip'), SIZES)
    yield works('said to be gzip', lambda ask: ask.answer(Content_Encoding='gzip'))
    for name in ('br', 'deflate', 'zstd', 'gzip, gzip', '\x00'):
        yield works(f'said to be {name!r}', lambda ask, name=name: ask.answer(Content_Encoding=name))


def ranged(span: str) -> Behaviour:
    return lambda ask: ask.answer(CONTENT[ask.start :], '206 Partial Content', Content_Range=span)


def heads() -> Iterator[Case]:
    """Status lines, headers, lengths and ranges that are none."""
    for length in (
        '-1',
        '-20480',
        'x',
        '\xb2',
        '9' * 5000,
        '20480, 20480',
        '',
        '1e4',
        '0x5000',
        '20480;',
        '٣'.encode().decode('latin-1'),
    ):
        yield works(
            f'a length of {length[:20]!r}',
            lambda ask, length=length: ask.send(f'{OK}Content-Length: {length}\r\n\r\n', CONTENT),
        )
    for length in ('0', '1', '20479', '20481', '+1', ' 7 ', '1_0'):
        yield refused(f'a length of {length!r}', lambda ask, length=length: ask.answer(length=length), SIZES)
    yield refused('two lengths', lambda ask: ask.answer(length=f'1\r\nContent-Length: {SIZE}'), SIZES)
    for line in (
        '', 'x', 'HTTP/1.1', 'HTTP/1.1 abc OK', 'HTTP/1.1 99999 OK', 'HTTP/1.1 -1 OK', 'HTTP/1.1 0 OK',
        'HTTP/9.9 200 OK',
        'HTTP/0.9 200', 'ICY 200 OK', '\0' * 100, '\x1b[2J', 'HTTP/1.1 \xb2\xb2\xb2 OK', 'SSH-2.0-x', 'y' * 70_000,
        '\xff\xfe',
    ):  # fmt: skip
        yield refused(
            f'a status line {line[:20]!r}',
            lambda ask, line=line: ask.send(f'{line}\r\n\r\n', CONTENT),
            f'{CUT}|answered|HTTP',
            None,
        )
    bombs = {
        '200 headers': 'a: b\r\n' * 200, '100,000 headers': 'a: b\r\n' * 100_000,
        'a long header': f'a: {"b" * 70_000}\r\n',
        'a long name': f'{"b" * 70_000}: a\r\n', 'no colon': 'abc\r\n', 'NUL': '\0: \0\r\n',
        'folded': 'a: b\r\n c\r\n' * 30,
        'not UTF-8': 'a: \xff\xfe\r\n', 'an empty name': ': a\r\n', 'bare CR': 'a: b\rc: d\r\n',
        'ESC': 'a: \x1b[2J\r\n',
        'cookies': 'Set-Cookie: a=b; Max-Age=x\r\n' * 50, 'Connection': 'Connection: upgrade\r\nUpgrade: h2c\r\n',
        'encodings': 'Transfer-Encoding: gzip, chunked\r\n', 'another encoding': 'Transfer-Encoding: x\r\n',
    }  # fmt: skip
    for name, lines in bombs.items():
        yield refused(
            f'headers: {name}',
            lambda ask, lines=lines: ask.send(f'{OK}{lines}Content-Length: {SIZE}\r\n\r\n', CONTENT),
            f'{CUT}|{SIZES}',
            None,
        )
    yield refused('endless headers', endless(OK, 'a: b\r\n'), CUT)
    yield refused('an endless header', endless(f'{OK}a: ', LOT), CUT)
    yield refused('an endless status line', endless('HTTP/1.1 200 ', LOT), CUT)
    half = {'there': CONTENT[:5000]}
    for span in (
        'bytes 0-20479/20480', 'bytes 4999-20479/20480', 'bytes 5001-20479/20480', 'bytes */20480', 'x', '',
        'bytes -5000',
        'bytes 50000-20479/20480', 'bytes=5000-20479/20480', 'BYTES 5000-20479/20480', 'bytes 5000 - 20479',
        'bytes \xb2-5/9',
    ):  # fmt: skip
        yield refused(f'a range of {span!r}', ranged(span), f'{CUT}|{SIZES}', None, **half)
    for span in ('bytes 5000-20479/*', 'bytes 5000-20479/1', 'bytes 5000-1/1'):
        yield works(f'a range of {span!r}', ranged(span), **half)
    yield refused(
        'a range without saying which',
        lambda ask: ask.answer(CONTENT[ask.start :], '206 Partial Content'),
        f'{CUT}|{SIZES}',
        None,
        **half,
    )
    yield refused(
        'the whole as a range',
        lambda ask: ask.answer(CONTENT, '206 Partial Content', Content_Range='bytes 5000-20479/20480'),
        SIZES,
        **half,
    )
    yield refused(
        'an endless range',
        endless('HTTP/1.1 206 X\r\nContent-Range: bytes 5000-20479/20480\r\n\r\n', LOT),
        SIZES,
        **half,
    )
    yield works('no ranges', Ask.answer, **half)
    yield works('a range of what was not asked in part', lambda ask: ask.answer(status='206 Partial Content'))
    yield works('a part of another file', Ask.honest, there=b'x' * 5000)
    yield works('a part that is too long', Ask.honest, there=b'x' * 50_000)
    yield works('a part of the right length', Ask.honest, there=b'x' * SIZE)
    yield works('a part that is all', lambda ask: ask.answer(b'', '500 No'), there=CONTENT)


def statuses() -> Iterator[Case]:
    """Refusals, for good or for a moment."""
    again = (408, 425, 429, 500, 502, 503, 504)
    for status in again:
        yield works(f'{status}, then good', first(lambda ask, status=status: ask.answer(b'', f'{status} Busy'), 3))
        yield refused(
            f'{status} for ever',
            lambda ask, status=status: ask.answer(b'no', f'{status} Busy'),
            f'{CUT}: the server answered {status}',
        )
    for status in (400, 401, 402, 403, 404, 405, 406, 407, 410, 418, 421, 451, 499, 501, 505, 511, 599, 600, 999):
        told = f'cannot be downloaded: the server answered {status}'
        yield refused(f'{status}', lambda ask, status=status: ask.answer(b'no', f'{status} No'), told)
    yield refused('416', lambda ask: ask.answer(b'', '416 No'), 'the server has none from', there=CONTENT[:5000])
    for status in (101, 102, 199, 201, 202, 203, 204, 205, 299, 300, 304, 305, 306):
        yield refused(
            f'{status} without content',
            lambda ask, status=status: ask.answer(b'', f'{status} X', length=''),
            f'{CUT}|{SIZES}|answered {status}',
        )
    yield refused('an endless refusal', endless('HTTP/1.1 404 No\r\n\r\n', LOT), 'answered 404')
    yield refused('an endless moment', endless('HTTP/1.1 503 No\r\n\r\n', LOT), 'answered 503')
    for reason in ('\x1b]0;x\x07', 'x' * 60_000, '\xff\xfe', '[/red]', '{0}{x}%s', '\u202e'.encode().decode('latin-1')):
        yield refused(
            f'a reason {reason[:20]!r}', lambda ask, reason=reason: ask.answer(b'', f'404 {reason}'), 'answered 404'
        )
    login = {'WWW_Authenticate': 'Basic realm="x', 'Proxy_Authenticate': 'Digest ' + 'a=b,' * 100}
    yield refused('401 with a realm', lambda ask: ask.answer(b'', '401 No', **login), 'answered 401')
    yield works('wait for a year, it says', first(lambda ask: ask.answer(b'', '503 No', Retry_After='31536000')))


def redirects() -> Iterator[Case]:
    """Where servers lead."""
    here = 'http://127.0.0.1:{port}'

    def to(where: str, **how) -> Behaviour:
        return lambda ask: ask.honest() if ask.path == '/y.bin' else ask.moved(where, **how)

    for status in (301, 302, 303, 307, 308):
        yield works(f'{status} to another place', to('/y.bin', status=f'{status} Moved'))
        yield works(
            f'{status} to another place, under way', to('/y.bin', status=f'{status} Moved'), there=CONTENT[:5000]
        )
    for where in (
        f'{here}/y.bin',
        '//127.0.0.1:{port}/y.bin',
        'y.bin',
        './a/../y.bin',
        '/y.bin#x',
        'HTTP://127.0.0.1:{port}/y.bin',
    ):
        yield works(f'leads to {where}', to(where))
    schemes = ('ftp', 'file', 'gopher', 'data', 'javascript', 'jar', 'ldap', 'unix', 'ws', 'FTP', 'FILE', 'view-source')
    for scheme in schemes:
        for rest in ('//127.0.0.1:{port}/y.bin', '///etc/passwd', ':x'):
            told = 'leads elsewhere|answered 302|in 5 tries'
            yield refused(f'leads to {scheme}:{rest}', to(f'{scheme}:{rest}'), told)
    for where in (
        'http://[::1', 'http://127.0.0.1:99999/', 'http://127.0.0.1:x/', 'http://', 'http:',
        'http://.../x',
        f'http://{"a" * 70}.example/', 'http://127.0.0.1:-1/', 'http://127.0.0.1:0/', 'http://\x1b[2J/',
        'http://\xff/', '//', '\\\\x\\y',
        '?', '#', ' ', 'http://127.0.0.1 /', 'x' * 60_000, '\x1b]0;x\x07', '%00', '/\x7f', 'http://127.0.0.1:1/',
        'https://127.0.0.1:{port}/y.bin',
    ):  # fmt: skip
        yield refused(f'leads to {where[:30]!r}', to(where), '.')
    yield refused('leads nowhere', lambda ask: ask.answer(b'', '302 X'), 'answered 302')
    yield refused('leads to itself', lambda ask: ask.moved('/x.bin'), 'answered 302')
    yield refused('leads in a circle', lambda ask: ask.moved('/b' if ask.path == '/a' else '/a'), 'answered 302')
    yield refused('leads ever further', lambda ask: ask.moved(f'{ask.path}x'), 'answered 302')
    yield works('nine steps', lambda ask: ask.honest() if len(ask.path) > 14 else ask.moved(f'{ask.path}x'))
    for status in (302, 307):
        head = f'HTTP/1.1 {status} X\r\nLocation: /y.bin\r\n\r\n'
        yield works(
            f'an endless {status}',
            lambda ask, head=head: ask.honest() if ask.path == '/y.bin' else endless(head, LOT)(ask),
        )


def site(rng_content: bytes = b'x' * 100) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as archive:
        archive.writestr('inside.txt', rng_content)
    return out.getvalue()


def prepared(mirror: str, behaviour: Behaviour | None = None, checksum: bool = False) -> Callable:
    """`experiments.prepare` of a data set of one small archive, from a mirror."""

    def act(stock, rng):
        from experiments.downloads import sources

        hurried()
        content = site()
        port = serve(behaviour or (lambda ask: ask.honest(content)))
        told = f'md5:{hashlib.md5(content).hexdigest()}' if checksum else ''
        archive = sources.Archive('http://127.0.0.1:9/a.zip', len(content), {'inside.txt': 1}, told)
        sources.SOURCES['voc2007'] = sources.Source('small', 'data', (archive,), lambda root: ['seen'])
        return ['experiments.prepare', 'voc2007', '--root', 'data', '--mirror', mirror.format(port=port)]

    return act


def hashed(result: Result) -> str:
    stated = f'a.zip: sha256 {hashlib.sha256(site()).hexdigest()} (no checksum of it is published)'
    return '' if stated in result.out and Path('data/inside.txt').exists() else 'wrong: the hash is not printed'


def stated(result: Result) -> str:
    return 'wrong: a hash is printed' if 'sha256' in result.out else ''


def untouched(result: Result) -> str:
    return 'wrong: something was written' if list(Path().iterdir()) or result.seconds > 5 else ''


def mirrors() -> Iterator[Case]:
    for place in (
        'http://127.0.0.1:{port}',
        'HTTP://127.0.0.1:{port}',
        'http://127.0.0.1:{port}///',
        'http://LOCALHOST:{port}/a/b',
        'http://127.0.0.1:{port}/[x]',
    ):
        yield Case(f'mirror {place}', prepared(place), '', True, hashed)
    yield Case('a published checksum', prepared('http://127.0.0.1:{port}', checksum=True), '', True, stated)
    for place in (
        'http://127.0.0.1:99999', 'http://127.0.0.1:x', 'http://127.0.0.1:-1', 'http://127.0.0.1:0', 'http://a b/',
        'http://', 'http:///x', 'http:x',
        'ftp://127.0.0.1', 'file:///etc', '/etc', '127.0.0.1:{port}', 'x', ' ', ' http://127.0.0.1',
        'http://127.0.0.1/\t', 'http://127.0.0.1/\n',
        'http://[::1', 'http://[x]/', 'http://é/', 'http://127.0.0.1/é', 'http://...', 'http://\x1b[2J/',
        f'http://{"a" * 64}.example', '\udced',
        'http://127.0.0.1/\udced', 'javascript:x', 'http://127.0.0.1/\u202e', 'https:127.0.0.1',
    ):  # fmt: skip
        yield Case(
            f'no mirror {place[:30]!a}',
            prepared(place),
            'a URL begins with http:// or https:// and a host',
            False,
            untouched,
        )
    yield Case('an empty mirror', prepared(''), 'a URL begins with', False, untouched)
    evil = bytes(len(site()))
    for name, content in {'zeros': evil, 'HTML': b'<html>' + evil[6:]}.items():
        yield Case(
            f'a mirror gives {name}',
            prepared('http://127.0.0.1:{port}', lambda ask, content=content: ask.answer(content)),
            'a.zip',
            False,
        )
    yield Case('a mirror with nobody', prepared('http://127.0.0.1:1'), 'http://127.0.0.1:1/a.zip .*refused', False)

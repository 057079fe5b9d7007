"""Requests to the demo page, over HTTP to a server that all share: no file of the machine, no 500, no traceback."""

from __future__ import annotations

import json
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.app.web.running_demo import FORM, Running, draw, form, running
from tests.hostile.case import Case, Result
from tests.hostile.stock import Stock

API = '/gradio_api'
COST = 0.5  # Each costs less, but the server that all share costs seconds: the suite's sample leaves it out.
NUMBERS = [0.04, 0.5]  # Gamma and threshold.
SECRET = 'root:'  # Of /etc/passwd.
PRIVATE = 'a picture that nobody gave'
running_now: dict[str, Any] = {}  # The server of this process and the lines that its log has.


@contextmanager
def scope(stock: Stock) -> Iterator[Running]:
    """The demo of the stock's model, with three examples; at its end nothing of it may be left."""
    with tempfile.TemporaryDirectory(dir=stock.root.parent) as folder:
        folder = Path(folder)
        for i in range(3):
            draw(folder / 'photos' / f'{i}.png')
        draw(folder / 'private' / 'private.png')
        with running(stock.checkpoint, folder, '--examples', str(folder / 'photos')) as server:
            server.private = folder / 'private' / 'private.png'
            running_now.update(server=server, lines=len(log(server)))
            yield server


def log(server: Running) -> list[str]:
    return server.log.read_text(errors='replace').splitlines()


def well(result: Result) -> str:
    """What the server said of it in its log is the case's own fault; nothing of it is left."""
    server, lines = running_now['server'], log(running_now['server'])
    new, running_now['lines'] = lines[running_now['lines'] :], len(lines)
    if new:
        return f'{"traceback" if any("Traceback" in line for line in new) else "wrong"}: in its log: {new[-1][:200]}'
    left = {path.name for path in server.folder.iterdir()} - {'uploads', 'examples'}
    if len(list((server.folder / 'examples').iterdir())) != 3 or not server.private.exists():
        return 'lost: a file that was not uploaded'
    deadline = time.monotonic() + 2
    while (left := left | set(server.left())) and time.monotonic() < deadline:
        time.sleep(0.05)  # A client that went away is noticed in a moment.
        left = set()
    return f'wrong: it left {left}' if left else ''


def wanted(is_so: bool, told: Any) -> None:
    """Raises what is told in a line, where an answer is not as it should be."""
    if not is_so:
        raise ValueError(f'wanted otherwise: {str(told)[:300]!a}')


def answered(status: int, text: str, server: Running, *allowed: int) -> None:
    """One of these statuses, none of the machine's files, and the server is still there."""
    wanted(status in allowed, (status, text))
    wanted(SECRET not in text and 'Traceback' not in text, text)
    wanted(len(text) < 20_000 or status == 200, f'{len(text)} characters')
    alive, page, _ = server.ask('GET', '/theme.css')
    wanted(alive == 200, (alive, page))


def case(name: str, talk: Callable[[Running, random.Random], None], seconds: float = 30) -> Case:
    return Case(name, lambda stock, rng: lambda: talk(stock.server, rng), '', True, well, seconds, COST)


def asked(method: str, path: str, *allowed: int, body: Any = None, **headers: str) -> Callable:
    def talk(server: Running, rng: random.Random) -> None:
        status, text, _ = server.ask(method, path.format(own=server.folder, private=server.private), body, **headers)
        answered(status, text, server, *allowed)

    return talk


def raw(*parts: bytes | float, allowed: tuple[int, ...] = (400, 403, 404, 413, 422), closed: bool = True) -> Callable:
    """Bytes as they are, and pauses; the connection may end without an answer, where that is closed."""

    def talk(server: Running, rng: random.Random) -> None:
        host, port = server.place.split(':')
        answer = b''
        with socket.create_connection((host, int(port)), timeout=10) as connection, suppress(ConnectionError):
            for part in parts:
                if isinstance(part, bytes):
                    connection.sendall(part.replace(b'{place}', server.place.encode()))
                else:
                    time.sleep(part)
            with suppress(OSError):  # The server may have ended the line.
                connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65_536):
                answer += more
        status = int(answer[9:12]) if answer.startswith(b'HTTP/1.1 ') else 0
        answered(status or (400 if closed else 0), answer.decode(errors='replace'), server, *allowed)

    return talk


def cases() -> Iterator[Case]:
    yield from paths()
    yield from methods()
    yield from strangers()
    yield from uploads()
    yield from steps()
    yield from wires()


SPELLINGS = {
    'plain': lambda path: path,
    'quoted': lambda path: quote(path, safe=''),
    'twice': lambda path: quote(quote(path, safe=''), safe=''),
    'backslashes': lambda path: quote(path.replace('/', '\\')),
    'dots': lambda path: path.replace('.', '%2e').replace('/', '%2f'),
    'overlong': lambda path: path.replace('.', '%c0%ae').replace('/', '%c0%af'),
}
TARGETS = (
    '/etc/passwd',
    '../../../../../../etc/passwd',
    '{own}/uploads',
    '{private}',
    '....//....//etc/passwd',
    'file:///etc/passwd',
)
ROUTES = (
    f'{API}/file=',
    f'{API}/file/',
    f'{API}/proxy=',
    f'{API}/stream/',
    '/assets/',
    '/static/',
    '/svelte/',
    '/custom_component/',
    '/',
)


def paths() -> Iterator[Case]:
    """Traversal: routes, targets and spellings."""
    for route in ROUTES:
        for target in TARGETS:
            for spelling, spelled in SPELLINGS.items():

                def talk(server, rng, route=route, target=target, spelled=spelled):
                    path = route + spelled(target.format(own=server.folder, private=server.private)).lstrip(
                        '/' * (route == '/')
                    )
                    status, text, _ = server.ask('GET', path)
                    answered(status, text, server, 400, 403, 404)

                yield case(f'GET {route}, {target}, {spelling}', talk)
    for end in ('%00', '%00.png', '?x=y', '#x', ';a=b', '/.', '/..', '%0d%0aX: y', '\u00e9'):
        yield case(f'an example and {end}', example_and(quote(end, safe='%?#;/.:')))
    for path in (
        '/config/..%2f..', '/theme.css/', '/theme.css%00', '/manifest.json/../config', '//etc/passwd',
        '/?__theme=../x', '/?view=api', '/login', '/logout', '/token', '/docs', '/openapi.json', '/monitoring',
        '/monitoring/summary', '/pwa_icon/x', '/page/x', f'{API}/info', f'{API}/mcp/sse', f'{API}/deep_link',
        f'{API}/upload', f'{API}/queue/status', f'{API}/queue/data', f'{API}/queue/data?session_hash=',
        f'{API}/queue/data?session_hash=a&session_hash=b', f'{API}/heartbeat/x%0ay', f'{API}/heartbeat/..',
        f'{API}/startup-events/x', f'{API}/component_server', f'{API}/app_id/..%2f..', '/' + 'x' * 60_000,
    ):  # fmt: skip
        yield case(f'GET {path[:60]}', asked('GET', path, 200 if path.startswith('/?') else 404, 404, 400, 431))


def example_and(end: str) -> Callable:
    def talk(server: Running, rng: random.Random) -> None:
        status, text, _ = server.ask('GET', f'{API}/file={server.folder}/examples/0.jpg{end}')
        answered(status, text, server, 200 if end[0] in '?#' else 404, 404, 400)

    return talk


def methods() -> Iterator[Case]:
    """Methods that the page does not use."""
    for method in ('PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'CONNECT', 'PROPFIND', 'get', 'X', 'POST'):
        for path in (
            '/',
            '/config',
            f'{API}/upload',
            f'{API}/queue/join',
            f'{API}/queue/data?session_hash=x',
            f'{API}/run/predict',
            '*',
        ):
            if (method, path) not in {('POST', f'{API}/upload'), ('POST', f'{API}/queue/join')}:
                yield case(f'{method} {path}', asked(method, path, 400, 404, 405))
    for path in (f'{API}/upload', f'{API}/queue/join'):
        yield case(f'HEAD {path}', asked('HEAD', path, 404))
        for body in (
            b'',
            b'x',
            b'\0' * 1000,
            b'[]',
            b'null',
            b'0',
            b'"x"',
            b'{}',
            b'\xff\xfe{\0}\0',
            b'1' * 5000,
            b'{"a":' * 5000,
        ):
            yield case(f'POST {path} {body[:12]!r}', asked('POST', path, 400, 422, body=body))


def strangers() -> Iterator[Case]:
    """Hosts and origins of other pages."""
    for name in (
        'evil.example', '127.0.0.1.evil.example', '127.0.0.2', '[::2]', '', '@', '127.0.0.1:x', '127.0.0.1:999999',
        'a' * 5000, '0', '0.0.0.0', '2130706433', '127.1', 'localhost,evil', 'evil@127.0.0.1', 'http://127.0.0.1',
        'localhost/', '[::1', '[127.0.0.1', 'lo\\calhost',
    ):  # fmt: skip
        for header in ('Host', 'X_Forwarded_Host'):
            if (header, name) != ('X_Forwarded_Host', ''):
                yield case(f'{header} {name[:30]!r}', asked('GET', '/', 403, 400, **{header: name}))
    for origin in (
        'http://evil.example', 'null', '', 'file://', 'http://127.0.0.1:1', 'http://localhost',
        'https://127.0.0.1', 'chrome-extension://x', 'http://127.0.0.1@evil', 'a' * 5000, '//127.0.0.1',
        'http://[::1',
    ):  # fmt: skip
        for path in (f'{API}/upload', f'{API}/queue/join'):
            yield case(
                f'Origin {origin[:30]!r} {path}',
                asked('POST', path, 403, body=form(), Origin=origin, content_type=FORM),
            )


def uploaded(content: bytes, *allowed: int, kind: str = FORM, **headers: str) -> Callable:
    """A form as it is; what was taken in is shown, and so removed."""

    def talk(server: Running, rng: random.Random) -> None:
        status, text, _ = server.ask('POST', f'{API}/upload', content, content_type=kind, **headers)
        answered(status, text, server, *allowed)
        if status == 200:
            (token,) = json.loads(text)
            wanted('/' not in token and len(token) == 22, token)
            status, told = server.step({'path': token}, None, *NUMBERS)
            wanted(status == 200 and SECRET not in told, (status, told))

    return talk


def named(name: str, content: bytes = b'x') -> bytes:
    head = f'--B\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return head.encode('utf-8', 'surrogateescape') + content + b'\r\n--B--\r\n'


def uploads() -> Iterator[Case]:
    """Names, sizes and forms."""
    names = (
        '..', '.', '/', '/etc/passwd', '../../x', '..\\..\\x', 'a/b.png', 'a\0b', '\u202egnp.exe', 'x' * 5000,
        'é' * 300, ' ', '. .', '-rf', '~', '$(id)', '`id`', '<img src=x onerror=alert(1)>', '{{7*7}}', '[/red]',
        '%s%n', '%2e%2e%2fx', 'C:\\x', 'CON', 'a;b', "a'b", '\udced', '\x1b[2J', '\u2028', 'x.svg', 'x.html',
        '.htaccess', 'x\ty', '\uffff',
    )  # fmt: skip
    for name in names:
        yield case(f'a file named {name[:30]!a}', uploaded(named(name), 200, 400))
    yield case('a file without a name', uploaded(named(''), 400))
    for size in (0, 1, 999_999, 1_000_000):
        yield case(f'a file of {size} bytes', uploaded(named('x.png', bytes(size)), 200))
    for size in (1_000_001, 1_009_000, 1_011_000, 5_000_000):
        yield case(f'a file of {size} bytes', uploaded(named('x.png', bytes(size)), 413))
    one, end = named('x')[: -len(b'--B--\r\n')], b'--B--\r\n'
    field = b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'
    forms = {
        'two files': one + one + end, 'a field beside it': field + one + end, 'fields alone': field * 3 + end,
        'nothing': end, 'empty': b'',
        'no end': one, 'no start': b'x' * 1000, 'another name': named('x').replace(b'files', b'file'),
        'no disposition': b'--B\r\n\r\nx\r\n--B--\r\n',
        'many headers': b'--B\r\n' + b'A: b\r\n' * 5000 + b'\r\nx\r\n--B--\r\n',
        'a long header': b'--B\r\nA: ' + b'x' * 90_000 + b'\r\n\r\n\r\n--B--\r\n',
        'no colon': b'--B\r\nabc\r\n\r\nx\r\n--B--\r\n',
        'nested': one.replace(b'\r\n\r\nx', b'\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\n--C--') + end,
        'a boundary inside': named('x', b'\r\n--B\r\n' * 50), 'many empty parts': b'--B\r\n\r\n\r\n' * 5000 + end,
        'only boundaries': b'--B\r\n' * 5000,
        'filename*': named('x').replace(b'filename="x"', b"filename*=UTF-8''..%2fx"),
        'unclosed quote': named('x').replace(b'"x"', b'"x'),
    }  # fmt: skip
    for name, content in forms.items():
        yield case(f'a form: {name}', uploaded(content, 400, 200, 413))
    for kind in (
        '', 'text/plain', 'application/json', 'multipart/form-data', 'multipart/form-data; boundary=',
        'multipart/form-data; boundary="', 'multipart/form-data; boundary=' + 'x' * 5000,
        'multipart/mixed; boundary=B', 'MULTIPART/FORM-DATA; BOUNDARY=B', f'{FORM}; charset=utf-99',
        f'{FORM}; charset=\0', 'application/x-www-form-urlencoded', f'{FORM}; boundary=C',
        'multipart/form-data;boundary=\xff',
    ):  # fmt: skip
        yield case(f'a kind {kind[:60]!a}', uploaded(named('x'), 400, 200, kind=kind))
    for coding in ('gzip', 'deflate', 'x'):
        yield case(f'an encoding {coding}', uploaded(named('x'), 400, 200, Content_Encoding=coding))
    for name, content in pictures().items():
        yield case(f'a picture: {name}', uploaded(named('x.png', content), 200))


def pictures() -> dict[str, bytes]:
    """Files that are pictures, nearly."""
    png = b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR'
    huge = png + (60_000).to_bytes(4, 'big') * 2 + b'\x08\2\0\0\0' + bytes(50)
    made = {
        'a header alone': png,
        'huge': huge,
        'SVG': b'<svg onload="alert(1)"/>',
        'HTML': b'<script>alert(1)</script>',
    }
    return made | {
        'a script': b'#!/bin/sh\nid\n',
        'PostScript': b'%!PS\n(/etc/passwd)(r)file',
        'a zip': b'PK\3\4' + bytes(50),
    }


def stepped(*data: Any, allowed: tuple[int, ...] = (422,), **more: Any) -> Callable:
    def talk(server: Running, rng: random.Random) -> None:
        filled = json.loads(
            json.dumps(data).replace('{own}', str(server.folder)).replace('{private}', str(server.private))
        )
        status, text = server.step(*filled, **more)
        answered(status, text, server, *allowed)

    return talk


def steps() -> Iterator[Case]:
    """Steps of the page that no page makes."""
    places = (
        '/etc/passwd', '/proc/self/environ', '/dev/zero', '/dev/stdin', '/proc/kmsg', '{private}',
        '{own}/examples/0.jpg', '{own}/uploads', '../examples/0.jpg', 'http://127.0.0.1:1/x',
        'http://169.254.169.254/', 'file:///etc/passwd', 'ftp://127.0.0.1:1/', 'data:image/png;base64,AAAA', '',
        '\0', 'a' * 22, 'a' * 90_000, '~', 'gradio_api/file=/etc/passwd',
    )  # fmt: skip
    shapes = {
        'path': lambda place: {'path': place, 'meta': {'_type': 'gradio.FileData'}},
        'url': lambda place: {'path': 'a' * 22, 'url': place, 'meta': {'_type': 'gradio.FileData'}},
        'text': lambda place: place, 'list': lambda place: [{'path': place, 'meta': {'_type': 'gradio.FileData'}}],
    }  # fmt: skip
    for place in places:
        for shape, made in shapes.items():
            many = len(place) > 50_000
            yield case(
                f'a picture as {shape}: {place[:40]!r}',
                stepped(made(place), None, *NUMBERS, allowed=(422, 413) if many else (422,)),
            )
    values = (
        None, True, 'x', '0.5', [], [0.5], {}, {'path': '/etc/passwd'}, -1, -1e-9, 1.000001, 2, 10**9, 10**400,
        float('nan'), float('inf'), 1e308, -0.5, '\0', '9' * 5000,
    )  # fmt: skip
    for value in values:
        yield case(f'gamma {str(value)[:30]!r}', stepped(None, value, 0.5, fn_index=2))
        yield case(f'threshold {str(value)[:30]!r}', stepped(None, 0.5, value, fn_index=3))
    for number in (-1, 4, 10**9, 10**400, 1.0, 0.5, '0', 'x', None, True, [], {}, '__proto__'):
        yield case(f'fn_index {str(number)[:30]!r}', stepped(None, *NUMBERS, fn_index=number))
    for index in (-1, 3, 10**9, '0', None, True, [0], {}, 0.0, float('nan'), '../x'):
        event = {'index': index, 'value': None}
        yield case(f'example {index!r}', stepped(None, *NUMBERS, fn_index=1, event_data=event))
    for session in ('', '../x', 'a' * 41, None, 5, [], 'é', 'a b', 'a\nb', '\0'):
        yield case(f'session {str(session)[:10]!r}', stepped(None, *NUMBERS, fn_index=2, session_hash=session))
    for data in ((), (None,), (None,) * 9, (None,) * 5000):
        yield case(f'{len(data)} values', stepped(*data, fn_index=2))
    honest = {'data': [None, *NUMBERS], 'fn_index': 2, 'session_hash': 'abc'}
    bodies = {
        'deep lists': b'[' * 49_000 + b']' * 49_000, 'deep objects': b'{"a":' * 16_000 + b'1' + b'}' * 16_000,
        'large': bytes(100_001), 'larger': b'[' + b'1,' * 3_000_000,
        'digits': b'{"fn_index": ' + b'9' * 90_000 + b'}',
        'twice a key': json.dumps(honest).encode()[:-1] + b', "fn_index": -1}',
        'UTF-16': json.dumps(honest).encode('utf-16')[:-1],
        'NaN': b'NaN', 'a surrogate': b'{"session_hash": "\\ud800", "fn_index": 2, "data": [null, 0, 0]}',
        'data is text': json.dumps(honest | {'data': 'abc'}).encode(), 'comments': b'/* */ {}',
    }  # fmt: skip
    for name, body in bodies.items():
        yield case(
            f'JSON: {name}', asked('POST', f'{API}/queue/join', 422, 413, body=body, content_type='application/json')
        )
    known = {'trigger_id': 999, 'event_id': '../x', 'batched': True, 'simple_format': True, 'request': {'a': 1}}
    for key, value in known.items():  # What the page does not use is not passed on.
        yield case(f'JSON: {key}', stepped(None, *NUMBERS, fn_index=2, allowed=(200,), **{key: value}))


LINE = b'GET / HTTP/1.1\r\nHost: {place}\r\n'
SEND = f'POST {API}/upload HTTP/1.1\r\nHost: {{place}}\r\nContent-Type: {FORM}\r\n'.encode()

CHUNKED = b'Transfer-Encoding: chunked\r\n\r\n'


def chunk(content: bytes) -> bytes:
    return b'%x\r\n%b\r\n' % (len(content), content)


def wires() -> Iterator[Case]:
    """Bytes that are no request, and clients that are slow or go away."""
    lines = {
        'nothing': b'', 'noise': bytes(range(256)) * 40, 'TLS': b'\x16\3\1\0\xa5\1\0' + bytes(160),
        'NUL': b'\0' * 5000, 'HTTP/2': b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
        'HTTP/0.9': b'GET /\r\n', 'HTTP/9.9': b'GET / HTTP/9.9\r\n\r\n', 'no host': b'GET / HTTP/1.1\r\n\r\n',
        'two hosts': LINE + b'Host: evil\r\n\r\n',
        'a foreign address': b'GET http://evil/ HTTP/1.1\r\nHost: evil\r\n\r\n',
        'headers': LINE + b'A: b\r\n' * 5000 + b'\r\n',
        'a long header': LINE + b'A: ' + b'x' * 300_000 + b'\r\n\r\n',
        'a long line': b'GET /' + b'x' * 300_000 + b' HTTP/1.1\r\n\r\n',
        'folded': LINE + b'A: b\r\n c\r\n\r\n', 'NUL in a header': LINE + b'A: \0\r\n\r\n',
        'a space before a colon': LINE + b'A : b\r\n\r\n',
        'bare LF': b'GET / HTTP/1.1\nHost: {place}\nX: \xff\n\n',
        'lengths': SEND + b'Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef',
        'smuggled': SEND + b'Content-Length: 5\r\n' + CHUNKED + b'0\r\n\r\nGET /etc/passwd HTTP/1.1\r\n\r\n',
        'a negative length': SEND + b'Content-Length: -5\r\n\r\n',
        'a long length': SEND + b'Content-Length: ' + b'9' * 5000 + b'\r\n\r\n',
        'no number': SEND + b'Content-Length: x\r\n\r\n', 'odd digits': SEND + b'Content-Length: \xb2\r\n\r\n',
        'bad chunks': SEND + CHUNKED + b'zz\r\n',
        'a negative chunk': SEND + CHUNKED + b'-5\r\nhello\r\n',
        'another coding': SEND + b'Transfer-Encoding: x\r\n\r\n',
        'a huge chunk': SEND + CHUNKED + b'ffffffffffff\r\n' + form(),
        'chunks beyond the limit': SEND + CHUNKED + chunk(form()[:-10]) + chunk(bytes(100_000)) * 12,
        'said to be huge': SEND + b'Content-Length: 9000000000\r\n\r\n' + form(),
        'pipelined': (LINE + b'\r\n') * 50,
        'expect': SEND + b'Expect: 100-continue\r\nContent-Length: 9000000000\r\n\r\n',
    }  # fmt: skip
    for name, content in lines.items():
        yield case(f'bytes: {name}', raw(content, allowed=(200, 400, 403, 404, 413, 431, 501, 505)))
    key = b'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
    key += b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
    for path in (b'/', b'/gradio_api/queue/join', b'/gradio_api/queue/data', b'/ws'):
        for origin in (b'', b'Origin: http://evil.example\r\n'):
            line = LINE.replace(b' / ', b' %b ' % path) + key + origin + b'\r\n'
            yield case(
                f'a websocket to {path.decode()} {origin.decode()[:10]}',
                raw(line, b'\x81\x05hello', allowed=(200, 400, 403, 404)),
            )
    yield case(
        'another upgrade',
        raw(LINE + b'Upgrade: h2c\r\nConnection: Upgrade\r\nHTTP2-Settings: AA\r\n\r\n', allowed=(200, 400)),
    )
    for length in (b'Content-Length: 9000\r\n\r\n', CHUNKED + b'2000\r\n'):
        for number, rest in enumerate((b'', form()[:20], form()[:-10])):
            yield case(f'gone after {number}, {length[:8].decode()}', gone(SEND + length + rest))
    yield case(
        'gone while a step is asked for',
        gone(SEND.replace(b'upload', b'queue/join') + b'Content-Length: 900\r\n\r\n{"data": ['),
    )
    yield case('gone at once, 100 times', lambda server, rng: [gone(b'')(server, rng) for _ in range(100)] and None)
    yield case(
        'gone under way, 60 times',
        lambda server, rng: (
            [gone(SEND + b'Content-Length: 9000\r\n\r\n' + form()[:-10])(server, rng) for _ in range(60)] and None
        ),
    )
    for name, start in {
        'headers': b'GET / HTTP/1.1\r\nA: ',
        'uploads': SEND + b'Content-Length: 900000\r\n\r\n' + form()[:-10],
    }.items():
        yield case(f'60 slow clients: {name}', partial(slow, start=start))
    yield case('steps that nobody hears', unheard)


def gone(content: bytes) -> Callable:
    """A client that sends this and goes away."""

    def talk(server: Running, rng: random.Random) -> None:
        host, port = server.place.split(':')
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(content.replace(b'{place}', server.place.encode()))
            if rng.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        answered(*server.ask('GET', '/')[:2], server, 200)

    return talk


def slow(server: Running, rng: random.Random, start: bytes) -> None:
    """Many clients that send a byte from time to time; an honest one is answered beside them."""
    host, port = server.place.split(':')
    clients = [socket.create_connection((host, int(port))) for _ in range(60)]
    try:
        for client in clients:
            client.sendall(start.replace(b'{place}', server.place.encode()))
        for _ in range(3):
            for client in clients:
                client.sendall(b'x')
            began = time.monotonic()
            answered(*server.ask('GET', '/')[:2], server, 200)
            wanted(time.monotonic() - began < 10, 'an honest client waits')
    finally:
        for client in clients:
            client.close()


def unheard(server: Running, rng: random.Random) -> None:
    """More steps than may wait, whose answers nobody fetches: the rest is refused, and an honest visitor is served."""
    body = {'data': [None, *NUMBERS], 'fn_index': 2}
    for number in range(60):
        one = json.dumps(body | {'session_hash': f'unheard{number}'})
        status, text, _ = server.ask('POST', f'{API}/queue/join', one, content_type='application/json')
        wanted(status in (200, 422, 429, 503), (status, text))
    time.sleep(1)
    status, text = server.step(None, *NUMBERS, fn_index=2)
    answered(status, text, server, 200)

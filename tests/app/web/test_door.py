"""What a hostile client of the demo gets, over HTTP from a server that runs: one line, and no file of the machine."""

import errno
import json
import os
import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager

import pytest

from tests.app.web.running_demo import FORM, ask, draw, form, running
from tests.server import Server

pytest.importorskip('gradio')
pytestmark = pytest.mark.slow
NUMBERS = [0.04, 0.5]  # Gamma and threshold.
WANTED = 'the picture must be one that was uploaded here and not yet shown (got '


@pytest.fixture(scope='module')
def demo(checkpoint, tmp_path_factory):
    """The server, which all attacks of this file must leave well."""
    folder = tmp_path_factory.mktemp('demo')
    for i in range(3):
        draw(folder / 'photos' / f'{i}.png')
    allowed = ('--allow-host', 'demo.example', '--allow-host', '2001:db8::7')
    with running(checkpoint, folder, '--examples', str(folder / 'photos'), *allowed) as server:
        yield server
        assert server.ask('GET', '/')[0] == 200
        assert len(server.log.read_text().splitlines()) == 1  # The address; no attack is worth a line.


def file(path, **more):
    return {'path': str(path), 'meta': {'_type': 'gradio.FileData'}} | more


def test_an_honest_visit(demo, tmp_path):
    before = Counter(demo.left())  # What other tests have left to be cleared away later.
    status, text = demo.upload(draw(tmp_path / 'x.png'), 'my ü.png', Origin=demo.address)
    (token,) = json.loads(text)
    assert status == 200 and '/' not in token  # Nothing is told of where it lies.
    status, text = demo.step(file(token), None, *NUMBERS)
    assert status == 200 and text.startswith('my ü.png: 60 x 40 pixels, 5 instances')
    assert not Counter(demo.left()) - before
    assert demo.step(file(token), None, *NUMBERS) == (422, f"{WANTED}'{token}')")


def test_no_file_of_the_machine_is_read(demo, tmp_path):
    before = Counter(demo.left())
    draw(tmp_path / 'private.png')
    os.mkfifo(tmp_path / 'pipe')
    private = str(tmp_path / 'private.png')
    paths = [private, f'{tmp_path}/./private.png', f'/{private}', f'{private}\0', f'file://{private}', '', '.', '..']
    paths += ['/etc/passwd', '/proc/self/environ', '%2fetc%2fpasswd', str(tmp_path / 'pipe'), '/dev/zero']
    paths += [str(demo.folder), str(demo.folder / 'uploads'), '../examples', f'{demo.folder}/uploads/../examples/0.jpg']
    hidden = [[file(private)], {'a': [file(private)]}, {'path': file(private)}, file(private, is_stream=True), 5, None]
    for given in [*map(file, paths), *hidden]:
        status, text = demo.step(given, None, *NUMBERS)
        assert status == 422 and text.startswith(WANTED)
    told = demo.step(None, file(private), 0.5, fn_index=2)
    assert told[0] == 422 and told[1].startswith("'gamma' must be a number in [0, 1] (got {'meta': ")
    assert (tmp_path / 'private.png').exists() and (tmp_path / 'pipe').exists()
    assert not Counter(demo.left()) - before


def test_no_address_is_asked(demo):
    with Server() as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        address = f'{elsewhere.url}/x.png'
        for scheme in ('http', 'HTTP', 'hTTp', 'https', 'ftp', 'gopher', 'data', 'file'):
            other = address.replace('http', scheme, 1)
            for given in (file(other), file('x', url=other), {'url': other, 'meta': {'_type': 'gradio.FileData'}}):
                assert demo.step(given, None, *NUMBERS)[0] == 422
            for route in ('file=', 'file/', 'proxy='):
                assert demo.ask('GET', f'/gradio_api/{route}{other}')[:2] == (404, 'the page has nothing there')
        elsewhere.shutdown()
        assert elsewhere.asked == []


def test_examples_are_chosen_by_number_and_stay(demo):
    small = sorted((demo.folder / 'examples').iterdir())
    assert len(small) == 3
    for path in small:
        assert demo.step(file(path), None, *NUMBERS)[0] == 422
        assert demo.ask('GET', f'/gradio_api/file={path}')[0] == 200 and path.exists()
    event = {'index': 1, 'value': file('/etc/passwd')}  # The number alone counts.
    status, text = demo.step(None, *NUMBERS, fn_index=1, event_data=event)
    assert status == 200 and text.startswith('1.png: 60 x 40 pixels')
    for index, told in [(3, '3'), (-1, '-1'), (10**9, '1000000000'), ('0', "'0'"), (True, 'True'), ([0], '[0]')]:
        told = f'an example must be a number from 0 below 3 (got {told})'
        assert demo.step(None, *NUMBERS, fn_index=1, event_data={'index': index, 'value': None}) == (422, told)


def test_links_in_the_upload_folder(demo, tmp_path):
    """They cannot come by the page; were one there, it would neither be read nor what it leads to removed."""
    draw(tmp_path / 'out' / 'x.png')
    for number, make in enumerate(
        [
            lambda own: own.symlink_to(tmp_path / 'out'),
            lambda own: own.mkdir() or (own / 'x.png').symlink_to(tmp_path / 'out' / 'x.png'),
            lambda own: own.mkdir() or (own / 'x.png').symlink_to('/dev/zero'),
            lambda own: own.mkdir() or os.mkfifo(own / 'x.png'),
            lambda own: own.mkdir() or (own / 'x.png').mkdir(),
        ]
    ):
        token = f'{number:022}'
        make(demo.folder / 'uploads' / token)
        for given in (token, f'{demo.folder}/uploads/{token}/x.png'):
            assert demo.step(file(given), None, *NUMBERS)[0] == 422
    assert (tmp_path / 'out' / 'x.png').exists()


def test_the_size_is_checked_while_the_bytes_arrive(demo):
    def send(*parts):
        with socket.create_connection(demo.place.split(':'), timeout=60) as connection:
            head = f'POST /gradio_api/upload HTTP/1.1\r\nHost: {demo.place}\r\nContent-Type: {FORM}\r\n'
            connection.sendall(head.encode() + b''.join(parts))
            answer = b''
            while part := connection.recv(4096):
                answer += part
                if b'bytes (got' in answer:
                    break
        return answer.decode().split(' ', 1)[1].partition('\r\n')[0], answer.decode().rpartition('\r\n')[2]

    before, start = demo.left(), form()[:-10]
    status, text = send(b'Content-Length: 9000000000\r\n\r\n', start)  # No more is sent, and none waited for.
    assert status.startswith('413') and text == 'a request may have 1,010,000 bytes (got 9,000,000,000)'
    chunk = b'%x\r\n%b\r\n' % (100_000, bytes(100_000))
    status, text = send(b'Transfer-Encoding: chunked\r\n\r\n', b'%x\r\n%b\r\n' % (len(start), start), chunk * 11)
    assert status.startswith('413') and text == 'a request may have 1,010,000 bytes (got more)'
    assert demo.upload(bytes(1_000_001)) == (413, 'a file may have 1,000,000 bytes (got 1,000,001)')
    assert demo.left() == before


def test_foreign_hosts(demo):
    port = demo.place.split(':')[1]
    for host in ('localhost', 'LOCALHOST.', '127.0.0.1', '[::1]', '[0:0::1]', 'demo.example', '[2001:DB8::7]'):
        for given in (host, f'{host}:{port}'):
            assert demo.ask('GET', '/', Host=given)[0] == 200, given
    foreign = ['evil.example', '127.0.0.1.evil.example', f'evil@{demo.place}', '127.0.0.2', '[::2]', '[::1', '']
    for host in (*foreign, f'evil.example:{port}', 'x.demo.example'):
        told = f'the page has no such name: --allow-host lets one in (got Host {host!r})'
        assert demo.ask('GET', '/', Host=host)[:2] == (403, told)
    assert demo.ask('GET', '/', X_Forwarded_Host='demo.example, evil.example')[0] == 403
    assert 'evil' not in demo.ask('GET', '/', X_Gradio_Server='http://evil.example')[1]


def test_foreign_origins(demo):
    port = demo.place.split(':')[1]
    own = (demo.address, f'http://localhost:{port}', f'http://[::1]:{port}', 'https://demo.example')
    for origin in own:
        assert demo.upload(Origin=origin)[0] == 200, origin
    foreign = ('http://evil.example', f'{demo.address}.evil.example', f'{demo.address}@evil.example', 'null')
    for origin in (*foreign, 'http://localhost:1', f'file://{demo.place}', ''):
        told = f'only the page itself may ask for this (got Origin {origin!r})'
        assert demo.upload(Origin=origin) == (403, told)
        assert demo.ask('OPTIONS', '/gradio_api/queue/join', Origin=origin)[0] == 403
        assert demo.step(None, *NUMBERS, fn_index=2)[0] == 200  # None at all, as of curl.


def test_every_answer_has_its_headers(demo):
    for method, path in [('GET', '/'), ('GET', '/theme.css'), ('GET', '/nothing'), ('POST', '/gradio_api/upload')]:
        headers = demo.ask(method, path)[2]
        assert headers['X-Content-Type-Options'] == 'nosniff' and headers['X-Frame-Options'] == 'DENY'
        policy = headers['Content-Security-Policy']
        assert policy.startswith("default-src 'self' ") and "frame-ancestors 'none'" in policy and 'http' not in policy


def test_what_is_no_step_of_the_page(demo):
    for value, told in [('x', "'x'"), (None, 'None'), ([1], '[1]'), (float('nan'), 'nan'), (7, '7'), (True, 'True')]:
        assert demo.step(None, value, 0.5, fn_index=2) == (422, f"'gamma' must be a number in [0, 1] (got {told})")
    assert demo.step(None, 0.5, {}, fn_index=2) == (422, "'threshold' must be a number in [0, 1] (got {})")
    for number in (-1, 10**9, '0', None, [1], True):
        told = f"'fn_index' must be a step of the page: one of [0, 1, 2, 3] (got {number!r})"
        assert demo.step(None, *NUMBERS, fn_index=number) == (422, told)
    assert demo.step(None, fn_index=2) == (422, "'data' must be a list of 3 (got [None])")
    told = "'session_hash' must be 1 to 40 letters and digits (got '../x')"
    assert demo.step(None, *NUMBERS, fn_index=2, session_hash='../x') == (422, told)
    for body in ('{', '[' * 90_000, b'\xff'):
        assert demo.ask('POST', '/gradio_api/queue/join', body)[1] == '{"detail": "a step of the page must be JSON"}'
    told = '{"detail": "a request may have 100,000 bytes (got 200,000)"}'
    assert demo.ask('POST', '/gradio_api/queue/join', bytes(200_000))[:2] == (413, told)


def test_what_is_no_upload(demo):
    one = 'an upload must be a form with one file: '
    assert demo.upload(name='') == (400, "an upload must hold one file with a name in 'files' (got 0)")
    assert demo.upload(kind='application/json')[1] == 'an upload must be a form (multipart/form-data) with one file'
    assert demo.upload(kind='multipart/form-data') == (400, f'{one}Missing boundary in multipart.')
    assert demo.upload(kind='multipart/form-data; boundary=C') == (400, f'{one}Invalid multipart data.')
    for name in ('..', '../../a.png', 'a/b\\c.png', 'a\0.png', '\u202e.png', 'é' * 900, '%2e%2e%2fa'):
        for kind in (FORM, f'{FORM}; charset=unicode_escape', f'{FORM}; charset=hex'):
            status, text = demo.upload(name=name, kind=kind)
            assert status == 200
            status, text = demo.step(file(json.loads(text)[0]), None, *NUMBERS)
            assert status == 200 and text.startswith('cannot show ') and '..' not in text


def test_clients_that_go_away(demo):
    before = demo.left()
    for _ in range(20):
        with socket.create_connection(demo.place.split(':')) as connection:
            head = f'POST /gradio_api/upload HTTP/1.1\r\nHost: {demo.place}\r\nContent-Type: {FORM}\r\n'
            connection.sendall(f'{head}Content-Length: 9000\r\n\r\n'.encode() + form()[:-10])
            time.sleep(0.01)
    assert demo.upload(name='') and demo.left() == before  # That no traceback was logged is asserted at the end.


def test_nothing_else_is_open(demo):
    body = json.dumps({'data': [file('/etc/passwd'), None, *NUMBERS], 'fn_index': 0, 'session_hash': 'abc'})
    posts = ('run/predict', 'api/predict', 'call/uploaded', 'call/v2/uploaded', 'component_server', 'cancel', 'reset')
    for path in (*posts, 'process_recording', 'vibe-code'):
        assert demo.ask('POST', f'/gradio_api/{path}', body)[:2] == (404, 'the page has nothing there')
    gets = ('gradio_api/proxy=/etc/passwd%00', 'gradio_api/file=/etc/passwd', 'gradio_api/deep_link?session_hash=x')
    assets = ('assets/..%2f..%2fconfig', 'static/%2e%2e/x', 'assets/%00', '/etc/passwd', 'monitoring', 'login', 'docs')
    assets += (f'assets/{"x" * 5000}', 'assets' + '/x' * 50)
    for path in (*gets, f'gradio_api/file={demo.folder}/uploads', *assets):
        assert demo.ask('GET', f'/{path}')[:2] == (404, 'the page has nothing there')
    told = (404, 'this session waits for nothing')
    assert demo.ask('GET', '/gradio_api/queue/data?session_hash=nobody')[:2] == told
    small = next((demo.folder / 'examples').iterdir())
    assert demo.ask('GET', f'/gradio_api/file={small}', Range='bytes=²-5')[0] == 200
    assert demo.ask('GET', '/?page=nothing&deep_link=..%2fx')[0] == 200  # What the page does not use is not passed on.


@contextmanager
def behind_the_door(address, listening, tmp_path):
    """A door in front of a page of one word; its host and port."""
    import uvicorn

    from mlsgm_pyg.app.web.door import Door
    from mlsgm_pyg.app.web.hosts import Hosts
    from mlsgm_pyg.app.web.uploads import Uploads

    async def page(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'page'})

    door = Door(page, Hosts(listening, []), Uploads(tmp_path, 100), {}, [], ())
    server = uvicorn.Server(uvicorn.Config(door, log_level='error', lifespan='off'))
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listener:
        thread = threading.Thread(target=server.run, kwargs={'sockets': [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.parametrize('address, listening', [('127.0.0.2', '0.0.0.0'), ('::1', '::')])
def test_listening_on_every_address(address, listening, tmp_path):
    """The address that a client came to is one of the machine's own; a name still is not."""
    try:
        socket.create_server((address, 0), family=socket.AF_INET6 if ':' in address else socket.AF_INET).close()
    except OSError:
        pytest.skip(f'this machine has no {address}')
    with behind_the_door(address, listening, tmp_path) as port:
        host = f'[{address}]' if ':' in address else address
        for given, status in [(f'{host}:{port}', 200), (f'evil.example:{port}', 403), (f'127.0.0.3:{port}', 403)]:
            assert ask(f'{host}:{port}', 'GET', '/', Host=given, Origin=f'http://{given}')[0] == status


def test_a_full_disk_is_one_line(tmp_path, capsys, monkeypatch):
    from mlsgm_pyg.app.web import uploads

    def full(*files):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(uploads.shutil, 'copyfileobj', full)
    (tmp_path / 'part').write_text('of a picture')
    with behind_the_door('127.0.0.1', '127.0.0.1', tmp_path) as port:
        told = 'the picture could not be taken in: No space left on device'
        assert ask(f'127.0.0.1:{port}', 'POST', '/gradio_api/upload', form(), content_type=FORM)[:2] == (507, told)
    assert capsys.readouterr().err == f'error: {told}\n' and not list(tmp_path.iterdir())

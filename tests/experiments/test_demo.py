"""The demo command: its words, its folder, its bounds, and one visit with a real browser."""

import asyncio
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from PIL import Image

from experiments import demo
from experiments.own_folder import own_folder

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run']
FLAGS += ['--disable-background-networking', '--disable-component-update', '--disable-sync']


def test_words(capsys, monkeypatch):
    for words, told in [
        (['--port', '70000'], '--port must be between 0 and 65535 (got 70000)'),
        (['--max-mb', '0'], '--max-mb must be between 0.001 and 100000 (got 0.0)'),
        (['--max-pixels', '0'], '--max-pixels must be at least 1 (got 0)'),
    ]:
        with pytest.raises(SystemExit):
            demo.main(['x.ckpt', *words])
        assert told in capsys.readouterr().err
    assert demo.parse(['x.ckpt']).host == '127.0.0.1'
    monkeypatch.setattr(demo, 'find_spec', lambda name: None)
    assert demo.main(['x.ckpt']) == 2
    assert capsys.readouterr().err == f'error: {demo.MISSING}\n'


def test_all_that_is_written_lies_in_one_folder():
    before = tempfile.gettempdir()
    with own_folder() as folder:
        assert Path(tempfile.gettempdir()) == folder and os.environ['MPLCONFIGDIR'] == str(folder)
        tempfile.mkstemp()
    assert not folder.exists() and tempfile.gettempdir() == before and 'GRADIO_TEMP_DIR' not in os.environ
    with pytest.raises(KeyboardInterrupt), own_folder() as folder:
        signal.raise_signal(signal.SIGTERM)
    assert not folder.exists() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.slow
def test_errors_of_the_command_itself(checkpoint, capsys, monkeypatch, tmp_path):
    pytest.importorskip('gradio')
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        assert demo.main([str(checkpoint), '--port', str(port)]) == 2
    (tmp_path / 'x.jpg').touch()
    assert demo.main([str(checkpoint), '--port', '0', '--examples', str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    address = (
        f"error: cannot go on with '127.0.0.1:{port}': Address already in use (another --port, or 0 for a free one)"
    )
    assert lines[0] == address and lines[1].endswith('is no example: the file is empty')
    assert lines[2].startswith('error: --examples must be a folder with a picture that can be read') and len(lines) == 3

    def full(**how):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(tempfile, 'mkdtemp', full)
    assert demo.main([str(checkpoint)]) == 2
    assert capsys.readouterr().err == 'error: cannot go on: No space left on device\n'


def through_guard(tmp_path, app, sizes=(1,)):
    """What the browser gets of a request whose body has parts of these sizes."""
    pytest.importorskip('gradio')
    from experiments.demo_server import Guard

    parts, sent = [{'type': 'http.request', 'body': bytes(size)} for size in sizes], []

    async def receive():
        return parts.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(app, 100, tmp_path)({'type': 'http'}, receive, send))
    return sent


async def reads_all(scope, receive, send):
    for _ in range(3):
        await receive()
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})


def test_requests_are_bounded(tmp_path):
    start, body = through_guard(tmp_path, reads_all, (60, 40, 1))
    assert start['status'] == 413 and body['body'] == b'a request may have 100 bytes'
    (start,) = through_guard(tmp_path, reads_all, (60, 40, 0))
    assert start['status'] == 200
    name, policy = start['headers'][0]
    assert name == b'content-security-policy' and policy.startswith(b"default-src 'self' ") and b'http' not in policy


def test_a_full_disk_is_one_line(tmp_path, capsys):
    (tmp_path / 'part').write_text('of a picture')

    async def full(scope, receive, send):
        raise OSError(errno.ENOSPC, 'No space left on device')

    start, body = through_guard(tmp_path, full)
    told = 'the picture could not be taken in: No space left on device'
    assert start['status'] == 507 and body['body'].decode() == told
    assert capsys.readouterr().err == f'error: {told}\n' and not list(tmp_path.iterdir())


def test_old_uploads_go(tmp_path):
    pytest.importorskip('gradio')
    from experiments.demo_page import sweep

    for name in ('old/a.jpg', 'new/b.jpg'):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    os.utime(tmp_path / 'old/a.jpg', (0, 0))
    sweep(tmp_path, 600)
    assert [path.name for path in tmp_path.iterdir()] == ['new'] and (tmp_path / 'new/b.jpg').exists()


@pytest.fixture
def served(checkpoint, tmp_path):
    """The command in a process of its own, with a home, a temporary and a working folder; its address."""
    pytest.importorskip('gradio')
    folders = {name: tmp_path / name for name in ('home', 'tmp', 'cwd')}
    for folder in folders.values():
        folder.mkdir()
    env = os.environ | {'HOME': str(folders['home']), 'TMPDIR': str(folders['tmp']), 'PYTHONPATH': str(ROOT)}
    env |= {'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'}
    command = [sys.executable, '-m', 'experiments.demo', str(checkpoint), '--port', '0', '--max-mb', '1']
    with open(tmp_path / 'log', 'w+') as log:
        process = subprocess.Popen(command, cwd=folders['cwd'], env=env, stdout=log, stderr=log)
        try:
            started = time.monotonic()
            while 'http' not in (told := (tmp_path / 'log').read_text()):
                assert process.poll() is None and time.monotonic() - started < 120, told
                time.sleep(0.2)
            yield told.split()[0]
        finally:
            process.terminate()
            process.wait(30)
    assert process.returncode == 0 and 'Traceback' not in (tmp_path / 'log').read_text()
    assert [list(folder.iterdir()) for folder in folders.values()] == [[], [], []]  # Nothing is left anywhere.


@pytest.mark.slow
def test_a_visit(served, tmp_path):
    """A picture is dropped, its labels appear, gamma changes them; a broken one is told; no other host is asked."""
    api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    if CHROMIUM is None:
        pytest.skip('there is no chromium here (apt-get install chromium)')
    Image.effect_noise((60, 40), 90).convert('RGB').save(tmp_path / 'my ü.png')
    (tmp_path / 'text.jpg').write_text('no picture')
    (tmp_path / 'large.png').write_bytes(bytes(1_500_000))
    api.expect.set_options(timeout=60_000)
    hosts, errors = set(), []
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.on('request', lambda request: hosts.add(request.url.split('/')[2] if '//' in request.url else 'data'))
        page.on('pageerror', lambda error: errors.append(str(error)))
        page.goto(served)
        upload, status = page.locator('#picture input[type=file]'), page.locator('#status')
        upload.set_input_files(tmp_path / 'my ü.png')
        api.expect(status).to_contain_text('5 instances')
        assert page.locator('.labels li').count() == 10 and '%' in page.locator('.labels li').first.inner_text()
        assert page.locator('.figures figure').count() >= 2
        before = page.locator('.figures .wide img').get_attribute('src')
        gamma = page.locator('#gamma input[type=number]')
        gamma.fill('1')
        gamma.press('Enter')
        api.expect(status).to_contain_text('1 instance (')
        assert page.locator('.figures .wide img').get_attribute('src') != before
        upload.set_input_files(tmp_path / 'text.jpg')
        api.expect(status).to_contain_text('cannot show text.jpg: not an image of a known format')
        api.expect(status).to_contain_text('my ü.png is still shown')
        assert page.locator('.labels li').count() == 10
        upload.set_input_files(tmp_path / 'large.png')
        api.expect(page.locator('body')).to_contain_text('size')
        browser.close()
    assert hosts - {'data'} == {served.split('/')[2]} and errors == []

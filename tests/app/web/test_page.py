"""The demo command: its words, its folder, its bounds, and one visit with a real browser."""

import errno
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path

import pytest

from mlsgm_pyg.app.cli import demo
from mlsgm_pyg.app.web.own_folder import own_folder
from tests.app.web.running_demo import draw, running

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run']
FLAGS += ['--disable-background-networking', '--disable-component-update', '--disable-sync']


def test_words(capsys, monkeypatch):
    for words, told in [
        (['--port', '70000'], '--port must be between 0 and 65535 (got 70000)'),
        (['--max-mb', '0'], '--max-mb must be between 0.001 and 100000 (got 0.0)'),
        (['--max-pixels', '0'], '--max-pixels must be at least 1 (got 0)'),
        *[
            (['--allow-host', name], f"must be a name or an address, without scheme and port (got '{name}')")
            for name in ('http://a.example', 'a.example:80', '*', '', '[::1]:80')
        ],
    ]:
        with pytest.raises(SystemExit):
            demo.main(['x.ckpt', *words])
        assert told in capsys.readouterr().err
    assert demo.parse(['x.ckpt']).host == '127.0.0.1'
    names = ['demo.example', '10.0.0.7', '::1', '[2001:db8::7]']
    assert demo.parse(['x.ckpt', *[word for name in names for word in ('--allow-host', name)]]).allow_host == names
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


def test_old_uploads_go(tmp_path):
    pytest.importorskip('gradio')
    from mlsgm_pyg.app.web.uploads import Uploads

    for name in ('old/a.jpg', 'new/b.jpg'):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    os.utime(tmp_path / 'old', (0, 0))
    Uploads(tmp_path, 100).sweep()
    assert [path.name for path in tmp_path.iterdir()] == ['new'] and (tmp_path / 'new/b.jpg').exists()


@pytest.mark.slow
def test_examples_come_from_all_over_a_folder(tmp_path):
    pytest.importorskip('gradio')
    from mlsgm_pyg.app.web.server import EXAMPLES, small_copies

    for i in range(2 * EXAMPLES + 1):
        draw(tmp_path / 'in' / f'{i:02d}.png')
    (tmp_path / 'in' / '00.png').write_text('broken')
    made = small_copies(tmp_path / 'in', tmp_path, 10**6)
    numbers = [int(file.stem) for file, _ in made]
    assert len(made) == EXAMPLES and numbers[:-1] == [i * 37 // EXAMPLES for i in range(1, EXAMPLES)]  # One for 00.png.
    assert all(small.is_file() for _, small in made)


@pytest.fixture
def served(checkpoint, tmp_path):
    """The address of the command in a process of its own, with one example."""
    pytest.importorskip('gradio')
    draw(tmp_path / 'photos' / 'example.png')
    with running(checkpoint, tmp_path, '--examples', str(tmp_path / 'photos')) as server:
        yield server.address


@pytest.mark.slow
def test_a_visit(served, tmp_path):
    """A picture is dropped, its labels appear, gamma changes them; a broken one is told; no other host is asked."""
    api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    if CHROMIUM is None:
        pytest.skip('there is no chromium here (apt-get install chromium)')
    draw(tmp_path / 'my ü.png')
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
        before = page.locator('.figures .wide svg').inner_html()
        gamma = page.locator('#gamma input[type=number]')
        gamma.fill('1')
        gamma.press('Enter')
        api.expect(status).to_contain_text('1 instance (')
        assert page.locator('.figures .wide svg').inner_html() != before
        page.locator('#examples button').first.click()
        api.expect(status).to_contain_text('example.png: 60 x 40 pixels')
        upload.set_input_files(tmp_path / 'my ü.png')
        api.expect(status).to_contain_text('my ü.png: 60 x 40 pixels')
        upload.set_input_files(tmp_path / 'text.jpg')
        api.expect(status).to_contain_text('cannot show text.jpg: not an image of a known format')
        api.expect(status).to_contain_text('my ü.png is still shown')
        assert page.locator('.labels li').count() == 10
        upload.set_input_files(tmp_path / 'large.png')
        api.expect(page.locator('body')).to_contain_text('size')
        browser.close()
    assert hosts - {'data'} == {served.split('/')[2]} and errors == []

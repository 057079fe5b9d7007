"""The demo command in a process of its own, and what a client of it can send, honest or not."""

import http.client
import json
import os
import re
import secrets
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
FORM = 'multipart/form-data; boundary=B'


class Running:
    """A server on this machine.

    Attributes:
        address (str): Such as 'http://127.0.0.1:41234'.
        place (str): Its host and port.
        folder (Path): Its own, with examples/ and uploads/ inside.
        log (Path): All that it printed.
    """

    def __init__(self, address: str, folder: Path, log: Path):
        self.address, self.place, self.folder, self.log = address, address.split('//')[1], folder, log

    def ask(self, *request, **headers):
        return ask(self.place, *request, **headers)

    def upload(self, content=b'x', name='a.png', kind=FORM, **headers):
        """Status and text of the answer to an upload."""
        return self.ask('POST', '/gradio_api/upload', form(content, name), content_type=kind, **headers)[:2]

    def step(self, *data, fn_index=0, **more):
        """Starts a step of the page; returns status and why not, or 200 and what the page shows (or 'error: ...')."""
        session = secrets.token_hex(5)
        body = json.dumps({'data': data, 'fn_index': fn_index, 'session_hash': session} | more)
        status, text, _ = self.ask('POST', '/gradio_api/queue/join', body, content_type='application/json')
        if status != 200:
            return status, json.loads(text)['detail'] if text.startswith('{') else text
        text = self.ask('GET', f'/gradio_api/queue/data?session_hash={session}')[1]
        messages = [json.loads(line[6:]) for line in text.splitlines() if line.startswith('data: ')]
        output = next(message['output'] for message in messages if message['msg'] == 'process_completed')
        shown = [value for value in output.get('data') or () if isinstance(value, str)]
        return status, re.sub('<.*?>', '', shown[0]) if shown else f'error: {output}'

    def left(self):
        """Names of the files under uploads/, without the empty ones that Gradio makes beside each."""
        return [path.name for path in (self.folder / 'uploads').rglob('*') if path.is_file() and path.stat().st_size]


def ask(place, method, path, body=None, **headers):
    """Sends one request to a host and port; returns status, text and headers of the answer."""
    connection = http.client.HTTPConnection(place, timeout=60)
    try:
        connection.request(method, path, body, {name.replace('_', '-'): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors='replace'), answer.headers
    finally:
        connection.close()


def form(content=b'x', name='a.png'):
    """The body of an upload."""
    head = f'--B\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b'\r\n--B--\r\n'


@contextmanager
def running(checkpoint, tmp_path, *words):
    """Starts the command, with a home, a temporary and a working folder; at its end nothing is left in any."""
    folders = {name: tmp_path / name for name in ('home', 'tmp', 'cwd')}
    for folder in folders.values():
        folder.mkdir()
    env = os.environ | {'HOME': str(folders['home']), 'TMPDIR': str(folders['tmp']), 'PYTHONPATH': str(ROOT)}
    env |= {'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'}
    command = [sys.executable, '-m', 'mlsgm_pyg', 'demo', str(checkpoint), '--port', '0', '--max-mb', '1', *words]
    log = tmp_path / 'log'
    with open(log, 'w+') as out:
        process = subprocess.Popen(command, cwd=folders['cwd'], env=env, stdout=out, stderr=out)
        try:
            started = time.monotonic()
            while 'http' not in (told := log.read_text()):
                assert process.poll() is None and time.monotonic() - started < 120, told
                time.sleep(0.2)
            (own,) = folders['tmp'].glob('mlsgm-demo-*')
            yield Running(told.split()[0], own, log)
        finally:
            process.terminate()
            process.wait(120)
    assert process.returncode == 0 and 'Traceback' not in log.read_text()
    assert [list(folder.iterdir()) for folder in folders.values()] == [[], [], []]


def draw(path):
    """Writes a picture; returns its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((60, 40), 90).convert('RGB').save(path)
    return path.read_bytes()

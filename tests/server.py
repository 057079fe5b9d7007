"""A web server on this machine whose lines break and whose files are not always what they should be."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Serves :obj:`files`; what it does wrong is said by the other attributes.

    Attributes:
        files (dict[str, bytes]): Path (from '/') -> content.
        ranges (bool): Whether it knows ranges.
        cuts (list[int]): After how many bytes of content the next answers break off.
        answers (list[int]): Status of the next answers.
        asked (list[tuple]): Path and range of every request.
        length (bool): Whether it says how long the content is.
        moved (dict[str, str]): Path -> where it leads instead.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.files, self.ranges, self.cuts, self.answers, self.asked, self.length = {}, True, [], [], [], True
        self.moved = {}

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.server_address[1]}'


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get('Range')
        server.asked.append((self.path, asked))
        if self.path in server.moved:
            self.send_response(302)
            self.send_header('Location', server.moved[self.path])
            self.end_headers()
            return
        content = server.files.get(self.path)
        status = server.answers.pop(0) if server.answers else 200 if content is not None else 404
        if status != 200:
            self.send_error(status)
            return
        start = int(re.fullmatch(r'bytes=(\d+)-', asked)[1]) if asked and server.ranges else 0
        if start >= len(content) and start > 0:
            self.send_response(416)
            self.send_header('Content-Range', f'bytes */{len(content)}')
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(content) - 1}/{len(content)}')
        if server.length:
            self.send_header('Content-Length', str(len(content) - start))
        self.end_headers()
        sent = content[start:]
        self.wfile.write(sent[: server.cuts.pop(0)] if server.cuts else sent)

    def log_message(self, *args) -> None:
        pass


@contextmanager
def running(kind: Callable[[], Any] = Server) -> Iterator[Any]:
    """A server of a test, while it serves."""
    with kind() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

"""A server of raw bytes on this machine: each request is answered by a function, well or badly."""

from __future__ import annotations

import itertools
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

CONTENT = bytes(range(256)) * 80  # What is served where nothing else is said: 20,480 bytes.
TAKEN = 32_000_000  # Bytes that a client may take of what has no end: its buffers, several times.


class Ask:
    """One request: its number, path and range, and how it is answered."""

    def __init__(self, connection: socket.socket, number: int, head: str, port: int):
        self.connection, self.number, self.port = connection, number, port
        self.path = head.split(' ')[1] if ' ' in head else ''
        found = re.search(r'^range: bytes=(\d+)-', head, re.IGNORECASE | re.MULTILINE)
        self.start = int(found[1]) if found else 0

    def send(self, *parts: str | bytes) -> None:
        for part in parts:
            self.connection.sendall(part.encode('latin-1') if isinstance(part, str) else part)

    def answer(self, content: bytes = CONTENT, status: str = '200 OK', length: Any = None, **headers: str) -> None:
        length = len(content) if length is None else length
        lines = [f'HTTP/1.1 {status}', *([f'Content-Length: {length}'] if length != '' else [])]
        lines += [f'{name.replace("_", "-")}: {value}' for name, value in headers.items()]
        self.send('\r\n'.join([*lines, 'Connection: close', '', '']), content)

    def honest(self, content: bytes = CONTENT) -> None:
        """As an honest server does, which knows ranges."""
        if not self.start:
            return self.answer(content)
        span = f'bytes {self.start}-{len(content) - 1}/{len(content)}'
        return self.answer(content[self.start :], '206 Partial Content', Content_Range=span)

    def moved(self, where: str, status: str = '302 Found', content: bytes = b'') -> None:
        self.answer(content, status, Location=where.format(port=self.port))

    def forever(self, *parts: str | bytes) -> None:
        """Goes on until the client has gone; more than it may take is too much."""
        taken = 0
        for part in itertools.cycle(parts):
            self.send(part)
            taken += len(part)
            if taken > TAKEN:
                Path('too much').touch()
                return


Behaviour = Callable[[Ask], None]


def serve(behaviour: Behaviour) -> int:
    """Serves from a thread of this process; returns the port."""
    listener = socket.create_server(('127.0.0.1', 0))
    port = listener.getsockname()[1]

    def one(connection: socket.socket, number: int) -> None:
        with connection, suppress(OSError):
            connection.settimeout(20)
            head = b''
            while b'\r\n\r\n' not in head and (more := connection.recv(4096)):
                head += more
            behaviour(Ask(connection, number, head.decode('latin-1'), port))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass

    def loop() -> None:
        for number in itertools.count():
            threading.Thread(target=one, args=(listener.accept()[0], number), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    return port

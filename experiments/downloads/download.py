"""Files of many gigabytes over a line that breaks: a download goes on where it was cut, and its end is checked.

torchvision's and torch.hub's downloads start over when they are cut; hence this, on the standard library.
"""

import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHUNK = 1 << 20  # Bytes read at a time, at most.
TRIES = 5  # Times in a row that the line may break without one byte more than ever before.
WAIT, LONGEST_WAIT = 1.0, 60.0  # Seconds before the second try, doubled each time, to at most the other.
MOST_LINES = 100  # Heads before an answer, and lines after it.
TIMEOUT = 60.0  # Seconds of silence that count as a broken line.
AGAIN = (408, 425, 429, 500, 502, 503, 504)  # Answers that another try may change.
Progress = Callable[[int, int], None]


class DownloadError(RuntimeError):
    """A file could not be downloaded, or is not the one that was wanted; the message names the URL."""


class Broken(Exception):
    """The line broke, or the server is busy: another try may help."""


class Response(http.client.HTTPResponse):
    """An answer with bounds where Python's own has none: heads before it (`100 Continue`), and lines after chunks."""

    heads = 0

    def _read_status(self) -> tuple[str, int, str]:
        self.heads += 1
        if self.heads > MOST_LINES:
            raise http.client.HTTPException(f'over {MOST_LINES} heads before an answer')
        return super()._read_status()

    def _read_and_discard_trailer(self) -> None:
        for _ in range(MOST_LINES):
            if self.fp.readline(CHUNK) in (b'\r\n', b'\n', b''):
                return
        raise http.client.HTTPException(f'over {MOST_LINES} lines after the content')


class Plain(http.client.HTTPConnection):
    response_class = Response


class Secure(http.client.HTTPSConnection):
    response_class = Response


class Connections(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    def http_open(self, req: Any) -> Any:
        return self.do_open(Plain, req)

    def https_open(self, req: Any) -> Any:
        return self.do_open(Secure, req)


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows where a server leads, without reading what else it says there, which may have no end."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        fp.close()
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, path: Path, size: int, checksum: str = '', progress: Progress = lambda have, size: None) -> None:
    """Downloads a file to :obj:`path`, where it appears whole and checked or not at all.

    What has come lies in :obj:`path` with :obj:`.part` at its end. A broken download goes on from there (HTTP Range),
    in this call or a later one; a server that cannot do that is asked for the whole file. If a part that an earlier
    call left turns out to belong to another file, all of it is fetched anew, once. A file that is there already is
    checked and not fetched.

    Args:
        url (str): Where it is (http or https).
        path (Path): Where it goes; folders are made.
        size (int): Its size in bytes; no more are ever kept.
        checksum (str): :obj:`'md5:<hex digits>'` or :obj:`'sha256:<hex digits>'`; none if empty. (default: :obj:`''`)
        progress (callable): Called with the bytes there are and all bytes. (default: nobody is told)

    Raises:
        DownloadError: With the URL, what was wanted and what came: if the server refuses or the line keeps breaking,
            if size or checksum differ, if there is no room on the disk. A part stays where another try may go on.
        ValueError: If the URL cannot be one.
    """
    check_url(url)
    if path.is_file():
        if wrong := difference(path, size, checksum):
            raise DownloadError(f"'{path}' is not {url}: {wrong}; delete it, and it is downloaded again")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'{path.name}.part')
    for may_be_old in (part.is_file(), False):
        fetch(url, part, size, progress)
        wrong = difference(part, size, checksum)
        if not wrong:
            part.replace(path)
            return
        part.unlink()
        if not may_be_old:
            raise DownloadError(f"{url} is not what '{path}' should be: {wrong}; what came was deleted")


def check_url(url: str) -> None:
    """Raises a ValueError where a URL cannot be one."""
    try:
        parts = urllib.parse.urlsplit(url)
        known = parts.scheme in ('http', 'https') and bool(parts.hostname.encode('idna')) and parts.port != 0
    except (ValueError, AttributeError):  # Such as a port above 65,535; or there is no host.
        known = False
    if not (known and url.isascii() and url.isprintable() and ' ' not in url):
        raise ValueError(
            f"a URL begins with http:// or https:// and a host, and perhaps its port, and has no spaces (got '{url}')"
        )


def difference(path: Path, size: int, checksum: str) -> str:
    """What a file should be and what it is, if that is not the same."""
    if length(path) != size:
        return f'expected {size:,} bytes (got {length(path):,})'
    kind, _, digits = checksum.partition(':')
    if not kind:
        return ''
    found = digest(path, kind)
    return '' if found == digits else f'expected {kind} {digits} (got {found})'


def digest(path: Path, kind: str) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, kind).hexdigest()


def fetch(url: str, part: Path, size: int, progress: Progress) -> None:
    """Tries until all bytes are in :obj:`part`, or until the line broke too often without a byte more than before."""
    if length(part) > size:
        part.unlink()  # Of another file.
    best, failures = length(part), 0
    while length(part) < size:
        try:
            attempt(url, part, size, progress)
        except Broken as error:
            have = length(part)
            best, failures = (have, 1) if have > best else (best, failures + 1)
            if failures >= TRIES:
                raise DownloadError(
                    f'{url} could not be downloaded in {failures} tries: {error} (expected {size:,} bytes, got '
                    f"{have:,}); what came is kept in '{part}', and another call goes on from there"
                ) from error
            time.sleep(min(WAIT * 2 ** (failures - 1), LONGEST_WAIT))


def attempt(url: str, part: Path, size: int, progress: Progress) -> None:
    """One request for the bytes that :obj:`part` lacks."""
    another = f'{url} has another size: expected {size:,} bytes'
    with request(url, length(part), another) as response:
        have = length(part) if response.status == 206 else 0  # A server that knows no ranges sends all of it.
        if have and not response.headers.get('Content-Range', '').startswith(f'bytes {have}-'):
            part.unlink()
            raise Broken(f'the server sent other bytes than those from {have:,} on')
        if response.length is not None and have + response.length != size:
            raise DownloadError(f'{another} (the server offers {have + response.length:,})')
        check_room(part, size - have)
        try:
            with part.open('ab' if have else 'wb') as file:
                while chunk := read(response):
                    have += len(chunk)
                    if have > size:
                        raise DownloadError(f'{another} (the server sends more)')
                    file.write(chunk)
                    progress(have, size)
        except OSError as error:
            raise DownloadError(f"cannot write '{part}': {error}") from error
    if have < size:
        raise Broken(f'the line was cut after {have:,} of {size:,} bytes')


def request(url: str, have: int, another: str) -> http.client.HTTPResponse:
    """Asks for all bytes from :obj:`have` on."""
    headers = {'User-Agent': 'mlsgm_pyg', 'Accept-Encoding': 'identity'} | ({'Range': f'bytes={have}-'} if have else {})
    try:
        opener = urllib.request.build_opener(Redirects, Connections)
        return opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in AGAIN:
            raise Broken(f'the server answered {error.code} {error.reason}') from error
        if error.code == 416:
            raise DownloadError(f'{another} (the server has none from {have:,} on)') from error
        raise DownloadError(f'{url} cannot be downloaded: the server answered {error.code} {error.reason}') from error
    except (OSError, http.client.HTTPException) as error:
        raise Broken(f'{getattr(error, "reason", "") or error!r}') from error
    except ValueError as error:
        raise DownloadError(f'{url} leads elsewhere, and {error}') from error


def read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise Broken(f'the line was cut: {error!r}') from error


def check_room(path: Path, wanted: int) -> None:
    """Raises an error where the disk of a file or a folder has no room for so many bytes more."""
    free = shutil.disk_usage(path if path.is_dir() else path.parent).free
    if wanted > free:
        raise DownloadError(f"there is no room for '{path}': it needs {wanted:,} bytes more (free are {free:,})")


def length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0

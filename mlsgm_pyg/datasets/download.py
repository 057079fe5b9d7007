"""Files of many gigabytes over a line that breaks: a download goes on where it was cut, and its end is checked.

torchvision's and torch.hub's downloads start over when they are cut, and nothing else that this library needs downloads
anything; hence this, on the standard library.
"""

import hashlib
import http.client
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

CHUNK = 1 << 20  # Bytes read at a time, at most.
LONGEST_WAIT = 60.0  # Seconds between two tries.
AGAIN = (408, 425, 429, 500, 502, 503, 504)  # Answers that another try may change.
DIGESTS = {'md5': 32, 'sha256': 64}  # Hex digits.
Progress = Callable[[int, int | None], None]


class DownloadError(RuntimeError):
    """A file could not be downloaded, or is not the one that was wanted; the message names the URL."""


class Broken(Exception):
    """The line broke, or the server is busy: another try may help."""


def download(
    url: str,
    path: str | Path,
    size: int | None = None,
    checksum: str = '',
    progress: Progress | None = None,
    tries: int = 5,
    wait: float = 1.0,
    timeout: float = 60.0,
) -> Path:
    """Downloads a file to :obj:`path`, where it appears whole and checked or not at all.

    What has come lies in :obj:`path` with :obj:`.part` at its end. A broken download goes on from there (HTTP Range),
    in this call or a later one; a server that cannot do that is asked for the whole file. If a part that an earlier
    call left turns out to belong to another file, all of it is fetched anew, once. A file that is there already is
    checked and not fetched.

    Args:
        url (str): Where it is (http or https).
        path (str or Path): Where it goes; folders are made.
        size (int, optional): Its size in bytes.
        checksum (str): :obj:`'md5:<hex digits>'` or :obj:`'sha256:<hex digits>'`; none if empty. (default: :obj:`''`)
        progress (callable, optional): Called with the bytes there are and all bytes (:obj:`None` if nobody knows).
        tries (int): How many times in a row the line may break without one byte more than ever before.
            (default: :obj:`5`)
        wait (float): Seconds before the second try; doubled each time, to at most a minute. (default: :obj:`1.0`)
        timeout (float): Seconds of silence that count as a broken line. (default: :obj:`60.0`)

    Returns:
        :obj:`path`.

    Raises:
        DownloadError: With the URL, what was wanted and what came: if the server refuses or the line keeps breaking,
            if size or checksum differ, if there is no room on the disk. A part stays where another try may go on.
        ValueError: If the URL or the checksum cannot be one.
    """
    if not re.match('https?://', url):
        raise ValueError(f"a URL begins with http:// or https:// (got '{url}')")
    kind, _, digits = checksum.partition(':')
    if checksum and not re.fullmatch(f'[0-9a-f]{{{DIGESTS.get(kind, 0)}}}', digits):
        raise ValueError(f"'checksum' must be md5: or sha256: and their hex digits (got '{checksum}')")
    path = Path(path)
    if path.is_file():
        check(path, size, checksum, f"'{path}' is not {url}", 'delete it, and it is downloaded again')
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'{path.name}.part')
    for may_be_old in (part.is_file(), False):
        fetch(url, part, size, progress, tries, wait, timeout)
        try:
            check(part, size, checksum, f"{url} is not what '{path}' should be", 'what came was deleted')
            break
        except DownloadError:
            part.unlink()
            if not may_be_old:
                raise
    return part.replace(path)


def check(path: Path, size: int | None, checksum: str, what: str, remedy: str) -> None:
    """Checks a file's size and checksum.

    Raises:
        DownloadError: Beginning with :obj:`what`, with what was expected and what came, and the remedy.
    """
    got = path.stat().st_size
    if size is not None and got != size:
        raise DownloadError(f'{what}: expected {size:,} bytes (got {got:,}); {remedy}')
    if checksum:
        kind, _, digits = checksum.partition(':')
        with path.open('rb') as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != digits:
            raise DownloadError(f'{what}: expected {kind} {digits} (got {found}); {remedy}')


def fetch(
    url: str, part: Path, size: int | None, progress: Progress | None, tries: int, wait: float, timeout: float
) -> None:
    """Tries until all bytes are in :obj:`part`, or until the line broke too often without a byte more than before."""
    best, failures = _size(part), 0
    while True:
        try:
            return attempt(url, part, size, progress, timeout)
        except Broken as error:
            have = _size(part)
            best, failures = (have, 1) if have > best else (best, failures + 1)
            if failures >= tries:
                wanted = 'an unknown number of' if size is None else f'{size:,}'
                raise DownloadError(
                    f'{url} could not be downloaded in {failures} tries: {error} (expected {wanted} bytes, got '
                    f"{have:,}); what came is kept in '{part}', and another call goes on from there"
                ) from error
            time.sleep(min(wait * 2 ** (failures - 1), LONGEST_WAIT))


def attempt(url: str, part: Path, size: int | None, progress: Progress | None, timeout: float) -> None:
    """One request for the bytes that :obj:`part` lacks."""
    have = _size(part)
    if size is not None and have >= size:
        if have == size:
            return
        part.unlink()  # Of another file.
        have = 0
    response = _request(url, part, have, timeout)
    if response is None:
        return
    with response:
        have, total = _place(response, part, have)
        if None not in (size, total) and size != total:
            raise DownloadError(f'{url} has another size: expected {size:,} bytes (the server offers {total:,})')
        _check_room(part, (total or size or have) - have)
        try:
            file = part.open('ab' if have else 'wb')
            with file:
                while chunk := _read(response):
                    file.write(chunk)
                    have += len(chunk)
                    if progress:
                        progress(have, total or size)
        except OSError as error:
            raise DownloadError(f"cannot write '{part}': {error}") from error
    expected = size if total is None else total
    if expected is not None and have < expected:
        raise Broken(f'the line was cut after {have:,} of {expected:,} bytes')


def _request(url: str, part: Path, have: int, timeout: float) -> http.client.HTTPResponse | None:
    """Asks for all bytes from :obj:`have` on; :obj:`None` if there are none left."""
    headers = {'User-Agent': 'mlsgm_pyg', 'Accept-Encoding': 'identity'}
    if have:
        headers['Range'] = f'bytes={have}-'
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # No bytes from there on.
            if error.headers.get('Content-Range', '') == f'bytes */{have}':
                return None
            part.unlink()
            raise Broken("the part that was there is longer than the server's file") from error
        if error.code in AGAIN:
            raise Broken(f'the server answered {error.code} {error.reason}') from error
        raise DownloadError(f'{url} cannot be downloaded: the server answered {error.code} {error.reason}') from error
    except (OSError, http.client.HTTPException) as error:
        raise Broken(f'{getattr(error, "reason", "") or error!r}') from error


def _place(response: http.client.HTTPResponse, part: Path, have: int) -> tuple[int, int | None]:
    """Where the bytes of an answer go, and how many there are in all, if the server says so."""
    length = response.headers.get('Content-Length', '')
    start = 0  # A server that knows no ranges sends all of it.
    if response.status == 206:
        found = re.match(r'bytes (\d+)-', response.headers.get('Content-Range', ''))
        start = have
        if not found or int(found[1]) != have:
            part.unlink()
            raise Broken(f'the server sent other bytes than those from {have:,} on')
    return start, start + int(length) if length.isdigit() else None


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise Broken(f'the line was cut: {error!r}') from error


def _check_room(part: Path, wanted: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if wanted > free:
        raise DownloadError(f"there is no room for '{part}': it needs {wanted:,} bytes more (free are {free:,})")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0

"""Files that are written whole or not at all, JSON, and whether results can be written, before they are computed."""

from __future__ import annotations

import errno
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlsgm_pyg.app.common.errors import ConfigError, Damaged
from mlsgm_pyg.datasets.files import check_regular


@contextmanager
def replacing(path: Path, several: bool = False) -> Iterator[Path]:
    """A spare file that takes the place of another one when all went well. Where several processes may write it at
    once, each has a spare of its own; one that was killed leaves it, where the only one's is written over. An error of
    the system names the file, not the spare one."""
    spare = path.with_name(f'.{path.name}.{os.getpid()}.tmp' if several else f'.{path.name}.tmp')
    try:
        yield spare
        os.replace(spare, path)
    except OSError as error:
        names = {os.path.abspath(name) for name in (error.filename, error.filename2) if name is not None}
        if error.errno is None or names and os.path.abspath(spare) not in names:  # Of a file that is read.
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        with suppress(OSError):  # Its folder may be gone, or be read-only by now.
            spare.unlink(missing_ok=True)


def locked(path: Path) -> int:
    """A descriptor of a file to read and append by, made where there is none, which this process alone has until it
    closes it or ends. Raises BlockingIOError where another process has it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    with suppress(ImportError):  # Windows.
        import fcntl

        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # Of this process: not of workers that outlive it.
        except BlockingIOError:
            os.close(file)
            raise
    return file


def write_json(path: Path, content: Any, several: bool = False) -> None:
    """Writes plain containers, whole or not at all, see :func:`replacing`; folders are made. A number that is not
    finite is refused: JSON does not know it."""
    text = json.dumps(content, indent=1, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, several) as spare:
        spare.write_text(text + '\n')


def read_json(path: Path) -> Any:
    """The content of a JSON file; of what is none, Damaged says so with its name."""
    check_regular(path)
    try:
        return json.loads(path.read_text(), parse_float=_finite, parse_constant=_finite)
    except OSError as error:  # While it is read, it has no name.
        raise OSError(error.errno, error.strerror, str(path)) from error
    except (ValueError, RecursionError, MemoryError) as error:  # Also no text, lists in lists without an end, giants.
        raise Damaged(f"'{path}' is not valid JSON: {error or 'it is too large'}") from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f'{text} is not a finite number')
    return value


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names the file, or the folder, that could not be written, in a ConfigError."""
    try:
        yield
    except OSError as error:  # A full disk, a folder that may not be written.
        raise ConfigError(f"cannot write '{path}': {error.strerror or error}") from error


def check_places(files: Iterable[Path], folders: Iterable[Path] = ()) -> None:
    """Tries, before long work, whether files can be written, and files in folders, and leaves nothing behind."""
    for path in files:
        try:
            if path.is_dir():
                raise ConfigError(f"cannot write '{path}': it is a folder")
            _try_folder(path.parent)
            if path.exists():
                open(path, 'ab').close()
        except OSError as error:
            where = path if error.filename == str(path) else path.parent
            raise ConfigError(f"cannot write '{path}': '{where}': {error.strerror}") from error
    for folder in folders:
        try:
            _try_folder(folder)
        except OSError as error:
            raise ConfigError(f"cannot write into the folder '{folder}': {error.strerror}") from error


def _try_folder(folder: Path) -> None:
    made = [one for one in (folder, *folder.parents) if not os.path.lexists(one)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error
    finally:
        for one in made:
            with suppress(OSError):
                one.rmdir()

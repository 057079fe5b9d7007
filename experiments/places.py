"""Whether results can be written, found out before they are computed."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from experiments.common.errors import ConfigError


def check_places(files: Iterable[Path], folders: Iterable[Path] = ()) -> None:
    """Tries, before long work, whether files can be written, and files in folders, and leaves nothing behind.

    Raises:
        ConfigError: If one cannot.
    """
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

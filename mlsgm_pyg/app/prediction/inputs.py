"""What a command means: the model, and the pictures: files, folders, globs and text lists, each once."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from mlsgm_pyg import hub
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.datasets.images import SUFFIXES
from mlsgm_pyg.exported import is_exported

LISTS = {'.txt', '.lst'}
STDIN = '-'


def find_model(place: str | Path) -> Path:
    """The file that RUN means: an exported one, that of a name on a model hub (`hub:OWNER/NAME`), or a checkpoint, see
    :func:`mlsgm_pyg.app.results.groups.find_checkpoint`."""
    if hub.is_name(place):
        return hub.fetch(place)
    place = Path(place)
    if is_exported(place) and place.is_file():
        return place
    from mlsgm_pyg.app.results.groups import find_checkpoint

    return find_checkpoint(place)


def find(words: Iterable[str], without: Iterable[Path] = ()) -> list[str]:
    """The pictures behind some words of a command line, in their order, but for those in some folders.

    A folder is searched through, hidden files and folders apart, for what is named like a picture. A `.txt` or `.lst`
    file is a list with a path a line, `-` one on standard input; relative paths start where the command runs. A file
    that is named outright is taken whatever its name. A picture that is not there, and anything that a list names, is
    found out by reading it; a pattern, a folder or a list without a picture is refused.
    """
    hidden = [os.path.abspath(folder) for folder in without]
    found: dict[str, str] = {}  # By absolute path: however often it is named, a picture counts once.
    for word in words:
        before = 0
        for path in _expand(word, hidden):
            found.setdefault(os.path.abspath(path), os.path.normpath(path))
            before += 1
        if not before:
            raise ConfigError(f"there is no picture in '{word}'")
    return list(found.values())


def _expand(word: str, hidden: list[str]) -> Iterator[str]:
    if os.path.isdir(word):
        yield from _walk(word, hidden)
    elif word == STDIN:
        yield from _lines(sys.stdin.read())
    elif os.path.splitext(word)[1].lower() in LISTS:
        try:
            yield from _lines(Path(word).read_text(encoding='utf-8', errors='surrogateescape'))
        except OSError as error:
            raise ConfigError(f"cannot read the list '{word}': {error.strerror}") from error
    elif glob.has_magic(word) and not os.path.lexists(word):
        for match in sorted(glob.glob(word, recursive=True)):
            yield from _walk(match, hidden) if os.path.isdir(match) else [match]
    elif os.path.lexists(word) or os.path.splitext(word)[1].lower() in SUFFIXES:
        yield word
    else:
        raise ConfigError(f"there is no file or folder '{word}'")


def _lines(text: str) -> Iterator[str]:
    text = text.removeprefix('\ufeff')  # Windows marks UTF-8 so.
    yield from (line for line in text.splitlines() if line.strip())


def _walk(folder: str, hidden: list[str]) -> Iterator[str]:
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith('.') and os.path.abspath(os.path.join(at, name)) not in hidden
        )
        for name in sorted(files):
            if not name.startswith('.') and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield os.path.join(at, name)

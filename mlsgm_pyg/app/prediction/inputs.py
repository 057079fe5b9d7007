"""What a command means: the model, and the pictures: files, folders, globs and text lists, each once."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from mlsgm_pyg import hub
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.text import ignored_words
from mlsgm_pyg.app.data.folder import search
from mlsgm_pyg.datasets.images import suffixes
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


def find(words: Iterable[str], without: Iterable[Path] = (), ignored: Counter[str] | None = None) -> list[str]:
    """The pictures behind some words of a command line, in their order, but for those in some folders.

    A folder is searched, see :func:`mlsgm_pyg.app.data.folder.search`, which counts in :obj:`ignored` what is none. A
    `.txt` or `.lst` file is a list with a path a line, `-` one on standard input; relative paths start where the
    command runs. A file that is named outright is taken whatever its name. A picture that is not there, and anything
    that a list names, is found out by reading it; a pattern, a folder or a list without a picture is refused.
    """
    without, ignored = list(without), Counter() if ignored is None else ignored
    found: dict[str, str] = {}  # By absolute path: however often it is named, a picture counts once.
    for word in words:
        before, passed = 0, Counter()
        for path in _expand(word, without, passed):
            found.setdefault(os.path.abspath(path), os.path.normpath(path))
            before += 1
        if not before:
            why = f' ({ignored_words(passed)})' if passed.total() else ''
            raise ConfigError(f"there is no picture in '{word}'{why}")
        ignored.update(passed)
    return list(found.values())


def _expand(word: str, without: list[Path], ignored: Counter[str]) -> Iterator[str]:
    if os.path.isdir(word):
        yield from search(word, without, ignored)
    elif word == STDIN:
        yield from _lines(sys.stdin.read())
    elif os.path.splitext(word)[1].lower() in LISTS:
        try:
            yield from _lines(Path(word).read_text(encoding='utf-8', errors='surrogateescape'))
        except OSError as error:
            raise ConfigError(f"cannot read the list '{word}': {error.strerror}") from error
    elif glob.has_magic(word) and not os.path.lexists(word):
        for match in sorted(glob.glob(word, recursive=True)):
            yield from search(match, without, ignored) if os.path.isdir(match) else [match]
    elif os.path.lexists(word) or os.path.splitext(word)[1].lower() in suffixes():
        yield word
    else:
        raise ConfigError(f"there is no file or folder '{word}'")


def _lines(text: str) -> Iterator[str]:
    text = text.removeprefix('\ufeff')  # Windows marks UTF-8 so.
    yield from (line for line in text.splitlines() if line.strip())

"""What a command means: the model, and the pictures: files, folders, globs and text lists."""

from __future__ import annotations

import glob
import os
import shutil
import sys
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import TextIO

from mlsgm_pyg import hub
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.text import ignored_words
from mlsgm_pyg.app.data.folder import search
from mlsgm_pyg.datasets.files import check_regular
from mlsgm_pyg.datasets.images import suffixes
from mlsgm_pyg.exported import is_exported

LISTS = {'.txt', '.lst'}
LIST = {'encoding': 'utf-8-sig', 'errors': 'surrogateescape'}  # How they are opened; Windows marks UTF-8.
LONGEST = 1 << 20  # Characters of a line.
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


class Inputs:
    """The pictures behind some words of a command line, one after the other in their order, anew each time that they
    are asked for; one that several words name comes several times.

    A folder is searched, see :func:`mlsgm_pyg.app.data.folder.search`. A `.txt` or `.lst` file is a list with a path a
    line, `-` one on standard input; relative paths start where the command runs. A file that is named outright is taken
    whatever its name. A picture that is not there, and anything that a list names, is found out by reading it; a
    pattern, a folder or a list without a picture is refused.

    Args:
        words (iterable of str): Files, folders, globs, lists.
        without (iterable of Path): Folders that are left out.

    Attributes:
        ignored (Counter): What else there was in folders, counted.
    """

    def __init__(self, words: Iterable[str], without: Iterable[Path] = ()):
        self.words, self.without, self.ignored = list(words), list(without), Counter()
        if STDIN in self.words:
            self.stdin = tempfile.TemporaryFile()
            weakref.finalize(self, self.stdin.close)
            shutil.copyfileobj(sys.stdin.buffer, self.stdin)

    def __iter__(self) -> Iterator[str]:
        self.ignored.clear()
        for word in self.words:
            is_empty, passed = True, Counter()
            for path in self._expand(word, passed):
                is_empty = False
                yield os.path.normpath(path)
            if is_empty:
                why = f' ({ignored_words(passed)})' if passed.total() else ''
                raise ConfigError(f"there is no picture in '{word}'{why}")
            self.ignored.update(passed)

    def _expand(self, word: str, ignored: Counter[str]) -> Iterator[str]:
        if os.path.isdir(word):
            yield from search(word, self.without, ignored)
        elif word == STDIN:
            self.stdin.seek(0)
            yield from _lines(os.dup(self.stdin.fileno()))
        elif os.path.splitext(word)[1].lower() in LISTS:
            try:
                check_regular(word, None)
                if os.path.getsize(word):  # Some of the system's files say that they are empty, and are waited for.
                    yield from _lines(word)
            except OSError as error:
                raise ConfigError(f"cannot read the list '{word}': {error.strerror}") from error
        elif glob.has_magic(word) and not os.path.lexists(word):
            for match in _matches(Path(word)):
                yield from search(match, self.without, ignored) if os.path.isdir(match) else [match]
        elif os.path.lexists(word) or os.path.splitext(word)[1].lower() in suffixes():
            yield word
        else:
            raise ConfigError(f"there is no file or folder '{word}'")


def names_in(file: TextIO) -> Iterator[str]:
    """The paths in an open list, one a line.

    Raises:
        ConfigError: If a line is too long to be one.
    """
    while line := file.readline(LONGEST):
        if len(line) == LONGEST:
            raise ConfigError(f"'{file.name}' is not a list of paths: it has a line of over {LONGEST:,} characters")
        if line.strip():
            yield line.removesuffix('\n')


def _lines(place: str | int) -> Iterator[str]:
    with open(place, **LIST) as file:
        yield from names_in(file)


def _matches(pattern: Path) -> list[str]:
    """What a pattern means to a shell: no hidden files, and `**` does not follow links, which may go in circles."""
    plain = list(takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    rest = pattern.parts[len(plain) :]
    is_hidden = any(part.startswith('.') for part in rest)
    found = Path(*plain).glob(os.path.join(*rest))
    names = (path.relative_to(Path(*plain)).parts for path in found)
    try:
        shown = [parts for parts in names if is_hidden or not any(part.startswith('.') for part in parts)]
    except RecursionError as error:
        raise ConfigError(f"'{pattern}' leads too deep: name the folder instead") from error
    return [os.path.join(*plain, *parts) for parts in sorted(shown)]

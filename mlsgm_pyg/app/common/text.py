"""Numbers, names and errors in words, the same wherever they are printed."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SOME = 3  # Names of a list that are told.
REASONS = 8


def counted(number: int, word: str, words: str = '') -> str:
    """'1 picture', '7 pictures', '1 class', '0 classes': one of them with an s is several, unless these are named."""
    return f'{number:,} {word if number == 1 else words or word + "s"}'


def mean_sd(values: Iterable[float | None]) -> tuple[float, float | None] | None:
    """The mean and, of several values, their standard deviation; None where there is no value."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    return statistics.mean(there), statistics.stdev(there) if len(there) > 1 else None


def spread(found: tuple[float, float | None] | None, digits: int = 2) -> str:
    """What :func:`mean_sd` gives: '61.20 ± 0.35', '61.20' of one value, '-' of none."""
    if found is None:
        return '-'
    mean, sd = found
    return f'{mean:,.{digits}f}' if sd is None else f'{mean:,.{digits}f} ± {sd:,.{digits}f}'


def decimal(value: float | None, digits: int = 1) -> str:
    """'61.2', or '-' where there is no value."""
    return '-' if value is None else f'{value:.{digits}f}'


def interval(found: Mapping[str, Any] | None) -> str:
    """A difference with its interval, '+1.20 [-0.40, +2.80]'; nothing where there is none."""
    return ' '.join(filter(None, (f'{found["difference"]:+.2f}', limits(found)))) if found else ''


def limits(found: Mapping[str, Any]) -> str:
    """An interval alone, '[-0.40, +2.80]'; nothing where a difference has none."""
    return '' if found['low'] is None else f'[{found["low"]:+.2f}, {found["high"]:+.2f}]'


def clear(found: Mapping[str, Any] | None) -> str | None:
    """'good' or 'bad' where a difference's interval lies above or below 0; None where it holds 0, or there is none."""
    if not found or found['low'] is None or found['low'] <= 0 <= found['high']:
        return None
    return 'good' if found['low'] > 0 else 'bad'


def one_line(error: BaseException | str) -> str:
    """A message in one line; of an error without one, its kind."""
    told = ' '.join(str(error).split())
    return told if told or isinstance(error, str) else type(error).__name__


def cut(name: str, most: int) -> str:
    """A name of at most so many characters, the last an ellipsis where there were more."""
    return name if len(name) <= most else f'{name[: most - 1]}…'


def some(names: Sequence[str], most: int = SOME, between: str = ', ') -> str:
    """A few names, and how many more there are."""
    more = [f'and {len(names) - most} more'] if len(names) > most else []
    return between.join([*names[:most], *more])


def readable(name: str) -> str:
    """A name that any terminal takes: bytes that are not UTF-8, line ends and control characters are escaped."""
    text = name.encode('utf-8', 'backslashreplace').decode()
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)


def shown(text: str) -> str:
    """Some lines that any terminal takes, see :func:`readable`."""
    return '\n'.join(map(readable, text.split('\n')))


def ignored_words(reasons: Mapping[str, int]) -> str:
    """'ignored: 3 .txt, 1 hidden', most first, of what is no picture in a folder; nothing where there is nothing."""
    told = [f'{number:,} {readable(reason)}' for reason, number in Counter(reasons).most_common() if number]
    return f'ignored: {some(told, REASONS)}' if told else ''

"""Errors whose texts are meant for the person who typed a command or wrote a file, and the nearest word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """Something that cannot be done as it was asked for; its text is meant for the person who asked."""


class Damaged(ConfigError):
    """A file that does not hold what it should; names it and says what is wrong."""


class Gone(ConfigError):
    """Something that was left by a finished run and is not there any more, or not as it was; says what, and why."""


class Failed(RuntimeError):
    """Something that was begun as it was asked for, and did not succeed; says what, and where to look."""


def nearest(word: str, words: Iterable[str], prefix: str = '') -> str:
    """A half sentence that names the nearest word, or lists them all."""
    words = sorted(words)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"did you mean '{prefix}{close[0]}'?" if close else f'there are {", ".join(words)}'

"""The front door of every command: how its words are read, and how it ends, whatever ends it."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import NoReturn

from mlsgm_pyg.app.common.errors import Failed
from mlsgm_pyg.app.common.signals import Stopped
from mlsgm_pyg.app.common.text import one_line, readable


class Parser(argparse.ArgumentParser):
    """A parser whose errors any terminal takes, whatever the words are."""

    def error(self, message: str) -> NoReturn:
        super().error(readable(message))


def parser(command: str, about: str, epilog: str = '') -> argparse.ArgumentParser:
    """The parser of a command such as `mlsgm predict`, whose help is the docstring of its file."""
    form = argparse.RawDescriptionHelpFormatter
    return Parser(prog=command, description=about, formatter_class=form, epilog=epilog)


def check_least(parser: argparse.ArgumentParser, args: argparse.Namespace, **least: float) -> None:
    """Ends with the usage where a number is too small; those that were not given are not looked at."""
    for name, number in least.items():
        value = getattr(args, name)
        if value is not None and value < number:
            parser.error(f'--{name.replace("_", "-")} must be at least {number} (got {value})')


def within(low: float, high: float) -> Callable[[str], float]:
    """What reads a number in a range, as argparse takes it."""

    def read(text: str) -> float:
        if not low <= float(text) <= high:  # Also of what is no number.
            raise argparse.ArgumentTypeError(f'must be from {low:g} to {high:g} (got {text})')
        return float(text)

    read.__name__ = 'number'
    return read


def typed(command: str, argv: Sequence[str]) -> str:
    """A command as it was typed."""
    return f'{command} {shlex.join(argv)}'.rstrip()


def door(goes_on: str = '') -> Callable[[Callable[[list[str]], int]], Callable[[list[str] | None], int]]:
    """Makes a function of words, which returns an exit status, the `main` of a command: nothing that was typed, and no
    file that was given, ends in a traceback. (Python's own switch shows it: python -X dev -m VERB ...) After Ctrl+C it
    says how to go on, where something was kept."""

    def wrap(main: Callable[[list[str]], int]) -> Callable[[list[str] | None], int]:
        @wraps(main)
        def entered(argv: list[str] | None = None) -> int:
            logging.getLogger('torch.utils.cpp_extension').setLevel(logging.ERROR)  # It tells that there is no GPU.
            try:
                return main(sys.argv[1:] if argv is None else argv)
            except (Exception, KeyboardInterrupt) as error:
                kind = next((kind for kind in ENDS if isinstance(error, kind)), None)
                if kind is None or sys.flags.dev_mode:
                    raise
                status, told = ENDS[kind](error, goes_on)
                if told:
                    print(readable(told), file=sys.stderr)
                return status

        return entered

    return wrap


def _of_the_system(error: OSError) -> str:
    """A full disk, a file that may not be read; one that is raised by us says all itself."""
    if error.strerror is None:
        return one_line(error)
    return f'{error.filename or "cannot go on"}: {error.strerror}'


# What ends a command -> its exit status, and the line that is told; the first that fits counts.
ENDS: dict[type[BaseException], Callable[..., tuple[int, str]]] = {
    Stopped: lambda error, goes_on: (error.status, str(error)),  # Of several processes, the first one speaks.
    KeyboardInterrupt: lambda error, goes_on: (130, f'stopped; {goes_on}' if goes_on else 'stopped'),
    Failed: lambda error, goes_on: (1, f'error: {one_line(error)}'),
    OSError: lambda error, goes_on: (2, f'error: {_of_the_system(error)}'),
    ValueError: lambda error, goes_on: (2, f'error: {one_line(error)}'),  # A ConfigError is one.
    ImportError: lambda error, goes_on: (2, f'error: {one_line(error)}'),  # A package that is missing.
}

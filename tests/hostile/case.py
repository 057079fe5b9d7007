"""An attack, what is wanted of the command that meets it, and the verdict on what it did."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple

from tests.hostile import parts
from tests.hostile.stock import Stock

VERDICTS = ('clean', 'traceback', 'hang', 'lost', 'wrong')
RAN = 'it was run'  # A file of this name in the case's folder: code that an attack carried was run.
CONTROL = re.compile(
    r'[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]'
)  # What moves a terminal's text.
LEFT = re.compile(r'\.tmp$')


class Result(NamedTuple):
    """What a command did: its exit status (negative: the signal that ended it; None: it was ended at its limit)."""

    status: int | None
    out: str
    err: str
    seconds: float = 0.0
    processes: tuple[str, ...] = ()  # Those that outlived it, by their command lines.
    left: tuple[str, ...] = ()  # Spare files that it left.
    ran: bool = False  # Whether code of the attack was run.


#: Words of a command, such as ['mlsgm', 'predict', ...] or ['experiments.run', ...], or a function of Python's door;
#: a function may raise what the door of commands tells in a line.
Command = list[str] | Callable[[], Any]


class Case(NamedTuple):
    """One attack."""

    name: str  # Of its own in its part.
    act: Callable[[Stock, random.Random], Command]  # Lays out the attack in the working folder, which is empty.
    told: str = ''  # A regular expression that the line must match which is told (of what is refused).
    done: bool | None = None  # Whether it is to be done as asked (exit status 0) or refused; None: either.
    check: Callable[[Result], str] | None = None  # In that folder, afterwards: '', or 'lost: ...' or 'wrong: ...'.
    seconds: float = 60.0  # Longer is a hang.
    cost: float = 0.1  # Seconds it takes, about; the sample of the suite leaves the dear ones out.


def each_part() -> Iterator[tuple[str, Any]]:
    """The names and modules of all parts."""
    for found in sorted(iter_modules(parts.__path__), key=lambda one: one.name):
        yield found.name, import_module(f'{parts.__name__}.{found.name}')


def every_case(only: str = '') -> Iterator[tuple[str, Case]]:
    """Part and case of all attacks, or of one part."""
    for part, module in each_part():
        if only in ('', part):
            names = set()
            for case in module.cases():
                assert case.name not in names, f'{part} has two cases {case.name!r}'
                names.add(case.name)
                yield part, case


def chance(part: str, case: Case) -> random.Random:
    """The random numbers of a case, the same in every run."""
    return random.Random(f'{part} {case.name}')


def judge(case: Case, result: Result) -> tuple[str, str]:
    """The verdict on a case, one of :data:`VERDICTS`, and why."""
    status, out, err = result.status, result.out, result.err
    lines = [line for line in err.splitlines() if re.match(r'([\w. -]+: )?error: |stopped', line)]
    if status is None:
        return 'hang', f'over {case.seconds:g} s'
    if 'Traceback (most recent call last)' in out + err or status not in (0, 1, 2):
        told = err.strip().splitlines() or ['nothing was told']
        aborted = [line for line in told if 'what():' in line]  # Of C++.
        return 'traceback', f'exit status {status}: {(aborted + told[-1:])[0][:300]}'
    if result.ran:
        return 'wrong', 'code of the attack was run'
    if status == 1 and case.done is None and not lines and out.strip():  # Check's table says why training would stop.
        lines = [out.strip()]
    if status and len(lines) != 1:
        return 'wrong', f'exit status {status} with {len(lines)} lines of error: {err[-300:]!r}'
    if case.done is not None and case.done != (status == 0):
        return 'wrong', f'exit status {status}: {(lines or [out[-300:]])[0][:300]!r}'
    if status and 'unrecognized arguments' in lines[0] and 'unrecognized' not in case.told:
        return 'wrong', f'the words are none of the command, nothing was tried: {lines[0][:300]!r}'
    if status and case.told and not re.search(case.told, lines[0]):
        return 'wrong', f'the line does not match {case.told!r}: {lines[0][:300]!r}'
    if found := CONTROL.search(out + err):
        return 'wrong', f'{found[0]!r} reaches the terminal: {(out + err)[max(found.start() - 40, 0) :][:100]!r}'
    if result.processes:
        return 'wrong', f'{len(result.processes)} processes outlive it: {result.processes[0]}'
    if result.left:
        return 'wrong', f'it left {", ".join(result.left)[:200]}'
    if case.check and (why := case.check(result)):
        kind, _, why = why.partition(': ')
        return kind, why
    return 'clean', (lines or [''])[0][:300]


def leftovers(folder: Path) -> tuple[str, ...]:
    """Spare files under a folder."""
    return tuple(os.path.relpath(path, folder) for path in under(folder) if LEFT.search(path))


def under(folder: Path) -> Iterator[str]:
    """The paths of all that is in a folder, however deep; links are not followed."""
    todo = [str(folder)]
    while todo:
        with suppress(OSError):
            for entry in list(os.scandir(todo.pop())):
                yield entry.path
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)

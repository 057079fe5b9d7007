"""What predict says: what is done already, what was found, what could not be read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from experiments.common.text import counted

if TYPE_CHECKING:
    from experiments.prediction import Job

SHOWN = 10  # So many pictures are shown at the end, and so many broken files.


def greet(job: Job, console: Console) -> None:
    if job.repaired:
        console.print(f'{job.path}: a last line that was not whole ({job.repaired} bytes) is cut off')
    before, number = len(job.files) - sum(not task.is_recorded for task in job.tasks), len(job.files)
    if before:
        told = f'{before} of {counted(number, "picture")} {"is" if number == 1 else "are"} done already'
        console.print(told, highlight=False)


def show(job: Job, seconds: float) -> bool:
    """What was done, some of it, and what is broken; all of it is in the files.

    Returns:
        bool: Whether any picture could be read.
    """
    console = Console(highlight=False, soft_wrap=True)
    mine, unread, found = set(map(os.path.abspath, job.files)), [], []
    for one in job.records:
        if os.path.abspath(one['file']) in mine:
            if 'error' in one:
                unread.append(one)
            elif len(mine) <= SHOWN:
                found.append(one)
    for one in found:
        labels = '  '.join(f'{x["label"]} {x["probability"]:.2f}' for x in one['labels'][:5])
        console.print(escape(f'{readable(one["file"])}: {labels or "no label"}'))
    total = len(job.tasks)
    speed = f', {total} now in {seconds:.1f} s ({total / seconds:.1f} a second)' if total else ''
    console.print(f'{counted(len(job.files), "picture")}{speed}: {escape(readable(str(job.out)))}')
    if unread:
        console.print(f'{len(unread)} could not be read (--retry tries them once more):')
    for one in unread[:SHOWN]:
        console.print(escape(f'  {readable(one["file"])}: {one["error"]}'))
    if len(unread) > SHOWN:
        console.print(f'  ... and {len(unread) - SHOWN} more: the records with "error" in {escape(str(job.path))}')
    return len(unread) < len(mine)


def readable(name: str) -> str:
    """A name that any terminal takes: bytes that are not UTF-8, line ends and control characters are escaped."""
    text = name.encode('utf-8', 'backslashreplace').decode()
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)

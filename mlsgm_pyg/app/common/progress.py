"""How far something has come: what is done of what, how many a second, and the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bar(Progress):
    """A bar for so many photographs, on a console or standard output, open while they are done; it is called with how
    many more are done."""

    def __init__(self, about: str, total: int, console: Console | None = None, hidden: bool = False):
        columns = BarColumn(20), MofNCompleteColumn(), TextColumn('{task.fields[speed]}'), TimeRemainingColumn()
        super().__init__(TextColumn('{task.description}'), *columns, console=console, disable=hidden)
        self.bar = self.add_task(about, total=total, speed='')

    def __call__(self, number: int, more: str = '') -> None:
        self.update(self.bar, advance=number)
        speed = self.tasks[0].finished_speed or self.tasks[0].speed
        told = f'{speed:.1f} a second' if speed else ''
        self.update(self.bar, speed=', '.join(filter(None, (told, more))))


def track(
    items: Iterable[Any],
    about: str,
    total: int,
    number: Callable[[Any], int] = lambda item: 1,
    console: Console | None = None,
) -> Iterator[Any]:
    """Passes items on beside a :class:`Bar`; each is so many photographs, which are done when the next one is asked
    for."""
    with Bar(about, total, console) as bar:
        for item in items:
            yield item
            bar(number(item))

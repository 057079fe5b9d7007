"""A table, made once: for a terminal, for a page in Markdown, or as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlsgm_pyg.app.common.text import shown

if TYPE_CHECKING:
    from rich.console import Console

OTHERWISE = 120  # Characters a line, where there is no terminal.


@dataclass
class Table:
    r"""A table.

    Names and cells may hold Markdown's `code` and \* for a star, which only a page shows. Title and notes are the
    terminal's: a page has sentences of its own.

    Args:
        title (str): What stands above it.
        columns (sequence of str): Names of the columns.
        rows (list): One list of cells a row: text, numbers as they were measured, or None where there is nothing. A row
            without cells is a line across.
        notes (list[str]): What must be known to read it.
        left (int): So many columns are aligned on the left, those after them on the right.
    """

    title: str
    columns: Sequence[str]
    rows: list[Sequence[Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left: int = 1

    def print(self, console: Console | None = None, wide: bool = False) -> None:
        """Prints it, by default to the :func:`terminal`; or as wide as its cells, without frames: a terminal may
        scroll."""
        from rich import box, table
        from rich.console import Console
        from rich.text import Text

        console = console or terminal()
        frame, justify = (box.SIMPLE_HEAD, 'left') if wide else (box.HEAVY_HEAD, 'center')
        drawn = table.Table(title=Text(shown(_plain(self.title)), 'table.title'), title_justify=justify, box=frame)
        for i, name in enumerate(self.columns):
            align = 'left' if i < self.left else 'right'
            drawn.add_column(Text(shown(_plain(name))), justify=align, no_wrap=wide, overflow='fold')
        for row in self.rows:
            drawn.add_row(*(Text(shown(_plain(cell))) for cell in row)) if row else drawn.add_section()
        if wide:
            needed = console.measure(drawn, options=console.options.update(width=10_000)).maximum
            console = Console(file=console.file, width=max(needed, len(self.title) + 2))
        console.print(drawn, soft_wrap=wide)
        say(self.notes, console)

    def markdown(self, rule: str | Sequence[str] = '---') -> str:
        """The table alone, in Markdown, with a rule below each column's name, or one for all."""
        rules = [rule] * len(self.columns) if isinstance(rule, str) else rule
        head = '|'.join(f' {_escaped(name)} ' if name else ' ' for name in self.columns)
        rows = [f'| {" | ".join(map(_escaped, row))} |' for row in self.rows if row]
        return '\n'.join([f'|{head}|', f'|{"|".join(rules)}|', *rows])

    def csv(self) -> str:
        """Names and rows as CSV, numbers with all their digits."""
        out = io.StringIO()
        rows = [[_plain(cell) if isinstance(cell, str) else cell for cell in row] for row in self.rows if row]
        csv.writer(out, lineterminator='\n').writerows([map(_plain, self.columns), *rows])
        return out.getvalue()


def terminal() -> Console:
    """As wide as the terminal; what is none gets lines of 120."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=OTHERWISE)


def say(lines: Iterable[str], console: Console) -> None:
    """Prints lines as they are, however long."""
    for line in lines:
        console.print(shown(line), markup=False, highlight=False, soft_wrap=True)


def _cell(value: Any) -> str:
    if value is None:
        return '-'
    if isinstance(value, float):
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
        return f'{value:,.{digits}f}'
    return f'{value:,}' if isinstance(value, int) else str(value)


def _plain(value: Any) -> str:
    return re.sub(r'`([^`]*)`|\\(\*)', r'\1\2', _cell(value))


def _escaped(value: Any) -> str:
    return _cell(value).replace('|', '\\|').replace('\n', '<br>')

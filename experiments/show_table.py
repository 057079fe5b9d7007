"""The pages of `python -m experiments.table` as text, Markdown or CSV."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from experiments import paper
from experiments.common.text import spread

Value = tuple[float, float | None]  # Mean and standard deviation over seeds, in Table VI over draws.
LEGEND = "* measured by the paper's authors; ±: standard deviation over seeds, in Table VI over draws; -: no number"


@dataclass
class Line:
    """One line of the output; `source` says whose number it is: 'paper', 'ours', or 'paper, other data'."""

    source: str
    method: str
    setting: str
    values: dict[str, Value | None]
    slips: dict[str, str] = field(default_factory=dict)


@dataclass
class Block:
    """The lines on one data set."""

    data: str
    title: str
    columns: list[str]
    lines: list[Line]


@dataclass
class Page:
    """A whole table: its blocks and, for what is missing, what it is and how it is made."""

    table: paper.Table
    blocks: list[Block]
    missing: list[tuple[str, str]]
    trials: int = 0


def paper_line(row: paper.Row, source: str = 'paper', of: str = '') -> Line:
    """A row of the paper; `of` follows its name."""
    pixels = ', '.join(map(str, row.resolution))
    values = {column: None if value is None else (value, None) for column, value in row.values.items()}
    slips = {
        column: (f'the arithmetic gives {slip["computed"]:g}, ' if 'computed' in slip else '') + slip['note']
        for column, slip in row.slips.items()
    }
    return Line(source, row.name + of, f'({pixels}) px' if pixels else '', values, slips)


def text(page: Page) -> None:
    """Tables for a terminal, as wide as their columns."""
    print(f'{page.table.title}. {page.table.caption}\n')
    for block in page.blocks:
        rows, notes = _cells(block, page.table.number)
        shown = Table('', 'method', 'setting', title=block.title, title_justify='left', box=box.SIMPLE_HEAD)
        for column in block.columns:
            shown.add_column(column, justify='right', no_wrap=True)
        for line, before, cells in zip(block.lines, [None, *block.lines], rows):
            if before and before.source != line.source:
                shown.add_section()
            shown.add_row(line.source, line.method, line.setting, *cells)
        for column in shown.columns:
            column.no_wrap = True
        console = Console(width=10_000)
        needed = Measurement.get(console, console.options, shown).maximum
        Console(width=max(needed, len(block.title) + 2), soft_wrap=True, highlight=False, markup=False).print(shown)
        print('\n'.join(f'  {note}' for note in notes) + ('\n' if notes else ''))
    _after(page, '')


def markdown(page: Page) -> None:
    """Tables for a page of text."""
    print(f'**{page.table.title}.** {page.table.caption}\n')
    for block in page.blocks:
        rows, notes = _cells(block, page.table.number)
        print(f'{block.title}\n')
        print(f'| | method | setting | {" | ".join(block.columns)} |')
        print('|---|---|---|' + '---:|' * len(block.columns))
        for line, cells in zip(block.lines, rows):
            head = (line.source, line.method.replace('*', '\\*'), line.setting)
            print(f'| {" | ".join((*head, *cells))} |')
        print('\n' + ''.join(f'- {note}\n' for note in notes))
    _after(page, '- ')


def as_csv(page: Page) -> None:
    """One line a number; what is missing goes to the standard error."""
    writer = csv.writer(sys.stdout, lineterminator='\n')
    writer.writerow(['table', 'data', 'source', 'method', 'setting', 'column', 'value', 'std', 'note'])
    for block in page.blocks:
        for line in block.lines:
            for column in block.columns:
                found = line.values.get(column)
                if found is not None:
                    std = '' if found[1] is None else found[1]
                    head = [page.table.number, block.data, line.source, line.method, line.setting]
                    writer.writerow([*head, column, found[0], std, line.slips.get(column, '')])
    for what, how in page.missing:
        print(f'missing: {what}: {how}', file=sys.stderr)


def _cells(block: Block, number: int) -> tuple[list[list[str]], list[str]]:
    """The numbers of every line as text, and the notes that their marks stand for."""
    rows, notes = [], []
    for line in block.lines:
        cells = []
        for column in block.columns:
            cell = _number(line, column, block, number)
            if column in line.slips:
                notes.append(f'[{len(notes) + 1}] {line.method}, {column}: {line.slips[column]}')
                cell += f' [{len(notes)}]'
            cells.append(cell)
        rows.append(cells)
    return rows, notes


def _number(line: Line, column: str, block: Block, number: int) -> str:
    found = line.values.get(column)
    digits = 2 if number == 8 else 1
    too_wide = len(block.columns) > 12 and column != 'mAP'
    return spread((found[0], None) if found and too_wide else found, digits)


def _after(page: Page, bullet: str) -> None:
    print(LEGEND.replace('*', '\\*') if bullet else LEGEND)
    for title, lines in (
        ("What the paper's text and tables say differently:", page.table.remarks),
        ('Missing:', [f'{what}: {how}' for what, how in page.missing]),
    ):
        if lines:
            print(f'\n{title}\n' + ('\n' if bullet else '') + '\n'.join(f'{bullet or "  "}{line}' for line in lines))
    if page.trials:
        print(f'\n{page.trials} finished runs saw a part of the images only (data.limit, data.dev): they are left out.')


FORMATS = {'text': text, 'markdown': markdown, 'csv': as_csv}

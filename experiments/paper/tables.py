"""The pages of `python -m experiments.table`: lines of the paper and of our runs, as text, Markdown or CSV."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from experiments.paper import published
from mlsgm_pyg.app.common.tables import Table
from mlsgm_pyg.app.common.text import spread

Value = tuple[float, float | None]  # Mean and standard deviation over seeds, in Table VI over draws.
LEGEND = "* measured by the paper's authors; ±: standard deviation over seeds, in Table VI over draws; -: no number"
MANY = 12  # Columns: with more, means alone but for mAP.


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

    def table(self, digits: int) -> Table:
        """The numbers of every line, and notes on those that contradict the paper itself."""
        table = Table(self.title, ['', 'method', 'setting', *self.columns], left=3)
        for line, before in zip(self.lines, [None, *self.lines]):
            table.rows += [[]] if before and before.source != line.source else []
            cells = []
            for column in self.columns:
                cell = self._number(line, column, digits)
                if column in line.slips:
                    table.notes.append(f'[{len(table.notes) + 1}] {line.method}, {column}: {line.slips[column]}')
                    cell += f' [{len(table.notes)}]'
                cells.append(cell)
            table.rows.append([line.source, line.method.replace('*', '\\*'), line.setting, *cells])
        return table

    def _number(self, line: Line, column: str, digits: int) -> str:
        found = line.values.get(column)
        too_wide = len(self.columns) > MANY and column != 'mAP'
        return spread((found[0], None) if found and too_wide else found, digits)


@dataclass
class Page:
    """A whole table: its blocks and, for what is missing, what it is and how it is made."""

    table: published.Table
    blocks: list[Block]
    missing: list[tuple[str, str]]
    trials: int = 0

    def tables(self) -> list[Table]:
        """One table a block."""
        return [block.table(2 if self.table.number == 8 else 1) for block in self.blocks]


def paper_line(row: published.Row, source: str = 'paper', of: str = '') -> Line:
    """A row of the paper; `of` follows its name."""
    pixels = ', '.join(map(str, row.resolution))
    values = {column: None if value is None else (value, None) for column, value in row.values.items()}
    slips = {
        column: (f'the arithmetic gives {slip["computed"]:g}, ' if 'computed' in slip else '') + slip['note']
        for column, slip in row.slips.items()
    }
    return Line(source, row.name + of, f'({pixels}) px' if pixels else '', values, slips)


def paper_block(table: published.Table, section: published.Section, columns: list[str], ours: list[Line]) -> Block:
    """A section of the paper with our lines below its own."""
    lines = [paper_line(row) for row in section.rows] + ours
    return Block(section.data or '', f'{table.title}, {section.title} ({table.unit})', columns, lines)


def other_block(table: published.Table, data: str, columns: list[str], ours: list[Line]) -> Block:
    """Our own data set's lines below what the paper has on others, marked as that."""
    lines = [
        paper_line(row, 'paper, other data', f', on {section.title}')
        for section in table.sections
        for row in section.rows
        if row.is_ours or row.method.startswith('7.')
    ]
    title = f"{data}: not in the paper's {table.title}; its lines here are of other data and cannot be compared"
    return Block(data, f'{title} ({table.unit})', columns, lines + ours)


def told_apart(lines: list[tuple[Line, str]]) -> list[Line]:
    """Lines of which those that read alike get what tells them apart."""
    heads = [(line.method, line.setting) for line, _ in lines]
    for (line, fingerprint), head in zip(lines, heads):
        if heads.count(head) > 1:
            line.setting += f' [{fingerprint}]'
    return [line for line, _ in lines]


def text(page: Page) -> None:
    """Tables for a terminal, as wide as their columns."""
    print(f'{page.table.title}. {page.table.caption}\n')
    for table in page.tables():
        table.print(wide=True)
        print()
    _after(page, '')


def markdown(page: Page) -> None:
    """Tables for a page of text."""
    print(f'**{page.table.title}.** {page.table.caption}\n')
    for table in page.tables():
        rules = ['---'] * table.left + ['---:'] * (len(table.columns) - table.left)
        print(f'{table.title}\n\n{table.markdown(rules)}\n')
        print(''.join(f'- {note}\n' for note in table.notes))
    _after(page, '- ')


def as_csv(page: Page) -> None:
    """One line a number; what is missing goes to the standard error."""
    table = Table('', ('table', 'data', 'source', 'method', 'setting', 'column', 'value', 'std', 'note'))
    for block in page.blocks:
        for line in block.lines:
            head = (page.table.number, block.data, line.source, line.method, line.setting)
            found = {column: line.values[column] for column in block.columns if line.values.get(column) is not None}
            table.rows += [(*head, column, *value, line.slips.get(column, '')) for column, value in found.items()]
    print(table.csv(), end='')
    for what, how in page.missing:
        print(f'missing: {what}: {how}', file=sys.stderr)


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

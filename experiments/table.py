"""Prints the paper's tables of results with finished runs beside them, and the commands that fill what is missing.

python -m experiments.table 3                        the paper's Table III with the runs in runs/ and results/
python -m experiments.table 5 --dataset coco18       one data set alone, the paper's or your own
python -m experiments.table 5 --format markdown      or csv: one line a number
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

from experiments import config as configs
from experiments import paper, show_table
from experiments.finished import Group, collect, matches, spread
from experiments.paper import Row, Section, Table

ROOT = Path(__file__).resolve().parents[1]
PROPORTIONS = [known / 10 for known in range(1, 10)]
RUN = 'python -m experiments.run'
DROPPED = ('seeds=', 'seed=', 'task=', 'task.', 'name=')  # Options of a run that another proportion does not share.
Value = tuple[float, float | None]  # Mean and standard deviation over seeds.


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

    table: Table
    blocks: list[Block]
    missing: list[tuple[str, str]]
    trials: int = 0


def build(table: Table, groups: list[Group], dataset: str = '') -> Page:
    """The paper's sections of a table with our lines, then a section for each of our data sets that it does not have.

    Args:
        table (Table): The paper's table.
        groups (list[Group]): Our finished runs.
        dataset (str): One data set alone; empty: all.

    Raises:
        ConfigError: If neither the table nor the runs have the data set.
    """
    theirs = [section.data for section in table.sections if section.data]
    others = sorted({group.data for group in groups} - set(theirs)) if table.task in ('full', 'partial') else []
    others = [] if table.number == 9 else others
    if dataset and dataset not in [*theirs, *others]:
        near = configs.nearest(dataset, [*theirs, *others])
        raise configs.ConfigError(f"neither {table.title} nor a finished run has the data set '{dataset}': {near}")
    page = Page(table, [], [])
    for section in table.sections:
        if not dataset or section.data == dataset:
            mine = [group for group in groups if group.data == section.data]
            page.blocks.append(_paper_block(table, section, mine))
            page.missing += _missing(table, section, mine)
    for data in others:
        if not dataset or data == dataset:
            mine = [group for group in groups if group.data == data]
            block, missing = _other_block(table, data, mine)
            page.blocks += [block] if block else []
            page.missing += missing
    if table.fill:
        page.missing.append((f'{table.title}, measured here', _script(table.fill)))
    return page


def _paper_block(table: Table, section: Section, groups: list[Group]) -> Block:
    lines = [_paper_line(row) for row in section.rows]
    fills = [row for row in section.rows if row.fill]
    for group in groups:
        listed = table.number not in (7, 9) or any(matches(group, row.fill) for row in fills)
        if group.task == table.task or (table.number == 9 and group.task == 'full'):
            lines += [_own_line(table, list(section.columns), group, section.classes)] if listed else []
    data = section.data or ''
    return Block(data, f'{table.title}, {section.title} ({table.unit})', list(section.columns), lines)


def _paper_line(row: Row, source: str = 'paper', of: str = '') -> Line:
    pixels = ', '.join(map(str, row.resolution))
    values = {column: None if value is None else (value, None) for column, value in row.values.items()}
    return Line(source, row.name + of, f'({pixels}) px' if pixels else '', values, _slips(row))


def _slips(row: Row) -> dict[str, str]:
    given = {
        column: f'the arithmetic gives {slip["computed"]:g}, ' if 'computed' in slip else ''
        for column, slip in row.slips.items()
    }
    return {column: given[column] + slip['note'] for column, slip in row.slips.items()}


def _own_line(table: Table, columns: list[str], group: Group, classes: tuple[str, ...] = ()) -> Line:
    keys = dict(zip(columns, [f'AP.{name}' for name in classes])) if classes else {}
    if table.task == 'partial':
        values = {column: _partial(group, column) for column in columns}
    else:
        values = {column: group.value(keys.get(column, column)) for column in columns}
    return Line('ours', _name(group), group.setting, values)


def _name(group: Group) -> str:
    row, name = group.row, group.config.get('name') or group.row
    return row if name == row or name.startswith(f'{row}_partial_') else f'{name} (row {row})'


def _partial(group: Group, column: str) -> Value | None:
    if column != 'average':
        return group.value('mAP', int(column) / 100)
    by_seed = [Group([run for run in group.runs if run.seed == seed]) for seed in group.seeds]
    curves = [[one.value('mAP', known) for known in PROPORTIONS] for one in by_seed]
    return spread(sum(value[0] for value in curve) / len(curve) for curve in curves if all(curve))


def _other_block(table: Table, data: str, groups: list[Group]) -> tuple[Block | None, list[tuple[str, str]]]:
    """Our own data set: its runs, and what the paper has on others, marked as that."""
    mine = [group for group in groups if group.task == table.task]
    missing = _missing_partial(table, data, groups) if table.task == 'partial' else []
    if not mine:
        return None, missing
    columns = list(table.sections[0].columns)
    classes: tuple[str, ...] = ()
    if table.number == 2:
        classes = tuple(dict.fromkeys(name for group in mine for name in group.runs[0].metrics.get('AP', {})))
        columns = [*classes, 'mAP']
    lines = [
        _paper_line(row, 'paper, other data', f', on {section.title}')
        for section in table.sections
        for row in section.rows
        if row.is_ours or row.method.startswith('7.')
    ]
    if table.number == 2:  # Another data set's classes are other classes, whatever they are called.
        lines = [Line(line.source, line.method, line.setting, {'mAP': line.values['mAP']}) for line in lines]
    lines += [_own_line(table, columns, group, classes) for group in mine]
    title = f"{data}: not in the paper's {table.title}; its lines here are of other data and cannot be compared"
    return Block(data, f'{title} ({table.unit})', columns, lines), missing


def _missing(table: Table, section: Section, groups: list[Group]) -> list[tuple[str, str]]:
    """What the section's rows would be filled by and no finished run has."""
    out = []
    for row in section.rows:
        found = [group for group in groups if row.fill and matches(group, row.fill)]
        if not row.fill or (found and table.task != 'partial'):
            continue
        pixels = f' ({", ".join(map(str, row.resolution))} px)' if row.resolution else ''
        what = f'{table.title}, {section.title}, {row.method}{pixels}'
        name = row.fill.split()[0]
        if name not in configs.rows():
            out.append((what, f'not available yet: there is no row experiments/configs/{name}.yaml'))
        elif table.task == 'partial':
            known = {run.known for group in found for run in group.runs}
            out += _proportions(what, row.fill, known)
        else:
            out.append((what, f'{RUN} {row.fill}'))
    return out


def _missing_partial(table: Table, data: str, groups: list[Group]) -> list[tuple[str, str]]:
    """The proportions that each row of our own data lacks; a row with full labels alone lacks all."""
    out, seen = [], set()
    for group in sorted(groups, key=lambda group: group.task == 'full'):
        words = group.runs[0].command.split()
        if group.row in seen or words[:3] != RUN.split():
            continue
        seen.add(group.row)
        options = [word for word in words if '=' in word and not word.startswith(DROPPED)]
        known = {run.known for run in group.runs} if group.task == 'partial' else set()
        what = f'{table.title}, {data}, {group.row}'
        out += _proportions(what, ' '.join([group.row, *options, 'task=partial']), known)
    return out


def _proportions(what: str, words: str, known: set[float]) -> list[tuple[str, str]]:
    """The one command for the proportions of known labels that are not there yet."""
    lacking = [f'{part:g}' for part in PROPORTIONS if all(abs(part - other) > 1e-9 for other in known)]
    if not lacking:
        return []
    command = RUN if len(lacking) == 1 else 'python -m experiments.sweep'
    percent = ', '.join(f'{float(part):.0%}' for part in lacking)
    return [(f'{what}, {percent}', f'{command} {words} task.known={",".join(lacking)}')]


def _script(path: str) -> str:
    if not (ROOT / path).is_file():
        return f'not measured; {path} is not there yet'
    return f'not measured; python -m {path.removesuffix(".py").replace("/", ".")}'


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m experiments.table',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('table', help='2 to 9, or II to IX')
    parser.add_argument('--runs', nargs='*', type=Path, metavar='DIR', help='folders of runs (default: runs, if there)')
    parser.add_argument('--results', type=Path, metavar='DIR', help='folder of committed results (default: results)')
    parser.add_argument('--format', choices=['text', 'markdown', 'csv'], default='text')
    parser.add_argument('--dataset', default='', metavar='NAME', help='this data set alone')
    args = parser.parse_args(argv)
    runs = args.runs if args.runs is not None else [path for path in [Path('runs')] if path.is_dir()]
    results = args.results or (ROOT / 'results' if (ROOT / 'results').is_dir() else None)
    try:
        table = paper.load()[paper.number_of(args.table)]
        groups, trials = collect(runs, results)
        page = build(table, groups, args.dataset)
    except (configs.ConfigError, FileNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    page.trials = trials
    show_table.FORMATS[args.format](page)
    return 0


if __name__ == '__main__':
    sys.exit(main())

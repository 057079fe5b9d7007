"""Prints the paper's tables of results with finished runs beside them, and the commands that fill what is missing.

python -m experiments.table 3                        the paper's Table III with the runs in runs/ and results/
python -m experiments.table 5 --dataset coco18       one data set alone, the paper's or your own
python -m experiments.table 5 --format markdown      or csv: one line a number
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.paper import few_shot, published, tables
from experiments.paper.few_shot import FewShot
from experiments.paper.match import is_of, matches, shared_words
from experiments.paper.published import Section, Table
from experiments.paper.tables import Block, Line, Page, Value, other_block, paper_block, told_apart
from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError, nearest
from mlsgm_pyg.app.common.text import mean_sd
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.results.groups import CURVE, Group, grouped, walk
from mlsgm_pyg.app.results.run import Run, of_results
from mlsgm_pyg.app.results.settings import changed, setting_of

ROOT = Path(__file__).resolve().parents[1]
PROPORTIONS = [known / 10 for known in range(1, 10)]
RUN = 'python -m experiments.run'


def build(table: Table, groups: list[Group], few_shots: list[FewShot] | None = None, dataset: str = '') -> Page:
    """The paper's sections of a table with our lines, then a section for each of our data sets that it does not have;
    or those of one data set alone."""
    few_shots = few_shots or []
    theirs = [section.data for section in table.sections if section.data]
    ours = {one.data for one in [*groups, *few_shots]} if table.task in ('full', 'partial', 'few_shot') else set()
    others = sorted(ours - set(theirs))
    if dataset and dataset not in [*theirs, *others]:
        near = nearest(dataset, [*theirs, *others])
        raise ConfigError(f"neither {table.title} nor a finished run has the data set '{dataset}': {near}")
    page = Page(table, [], [])
    for section in table.sections:
        if not dataset or section.data == dataset:
            mine = [group for group in groups if group.data == section.data]
            shots = [one for one in few_shots if one.data == section.data]
            page.blocks.append(_paper_block(table, section, mine, shots))
            page.missing += _missing(table, section, mine, shots)
    for data in others:
        if not dataset or data == dataset:
            mine = [group for group in groups if group.data == data]
            _add_other(page, data, mine, [one for one in few_shots if one.data == data])
    if table.fill:
        page.missing.append((f'{table.title}, measured here', _script(table.fill)))
    return page


def _add_other(page: Page, data: str, groups: list[Group], few_shots: list[FewShot]) -> None:
    """Adds our own data set's block to a page, where there is one, and what is missing of it."""
    if page.table.task == 'few_shot':
        columns, lines = few_shot.columns_of(page.table.sections[0], few_shots), few_shot.lines_of(few_shots)
        page.blocks += [other_block(page.table, data, columns, lines)] if lines else []
        page.missing += few_shot.could_be(data, groups, few_shots)
        return
    block = _other_block(page.table, data, [group for group in groups if group.task == page.table.task])
    page.blocks += [block] if block else []
    page.missing += _missing_partial(page.table, data, groups) if page.table.task == 'partial' else []


def _paper_block(table: Table, section: Section, groups: list[Group], few_shots: list[FewShot]) -> Block:
    if table.task == 'few_shot':
        return paper_block(table, section, few_shot.columns_of(section, few_shots), few_shot.lines_of(few_shots))
    task = 'full' if table.task == 'speed' else table.task
    mine = [group for group in groups if group.task == task]
    if table.number in (7, 9):  # These are not about every model: the rows that they name.
        mine = [group for group in mine if any(is_of(group.runs[0], row.fill) for row in section.rows if row.fill)]
    columns = list(section.columns)
    return paper_block(table, section, columns, _own_lines(table, columns, mine, section.classes))


def _own_lines(table: Table, columns: list[str], groups: list[Group], classes: tuple[str, ...]) -> list[Line]:
    """One line a group; those that read alike are told apart by the hash in their folders' names."""
    return told_apart(
        [(_own_line(table, columns, group, classes), configs.fingerprint(group.options)) for group in groups]
    )


def _own_line(table: Table, columns: list[str], group: Group, classes: tuple[str, ...]) -> Line:
    keys = dict(zip(columns, [f'AP.{name}' for name in classes])) if classes else {}
    if table.task == 'partial':
        values = {column: _partial(group, column) for column in columns}
    else:
        values = {column: group.value(keys.get(column, column)) for column in columns}
    return Line('ours', _name(group), _setting(group), values)


def _setting(group: Group) -> str:
    """The backbone, pixels, evaluated score, what is not the row's, and seeds, in words."""
    score = group.runs[0].result['score']
    score = '' if score == 'logits' else f', {score} score'
    seeds = f'{len(group.seeds)} seeds' if len(group.seeds) > 1 else f'seed {group.seeds[0]}'
    idle = ('task.',) if group.options['task']['name'] == 'full' else ()  # Of tasks that were not done.
    return f'{setting_of(group.options)}{score}{_protocol(group)}{changed(group.options, idle)}, {seeds}'


def _protocol(group: Group) -> str:
    """What was evaluated otherwise than usual."""
    options, where = group.options, group.runs[0].result['evaluated_on']
    said = [f'on {where}' if where not in ('test', 'val') else '']
    said.append('11-point AP' if options['metrics']['ap'] == 'interpolated_11' else '')
    said.append('best epoch' if options['select'] == 'best' else '')
    is_voc, difficult = options['data']['name'].startswith('voc'), options['data']['difficult']
    said.append(f'difficult: {difficult}' if is_voc and difficult != 'ignore' else '')
    return ''.join(f', {word}' for word in said if word)


def _name(group: Group) -> str:
    row, name = group.row, group.name
    return row if name == row or name.startswith(f'{row}_partial_') else f'{name} (row {row})'


def _partial(group: Group, column: str) -> Value | None:
    if column != 'average':
        return group.value('mAP', int(column) / 100)
    by_seed = [Group([run for run in group.runs if run.seed == seed]) for seed in group.seeds]
    curves = [[one.value('mAP', known) for known in PROPORTIONS] for one in by_seed]
    return mean_sd(sum(value[0] for value in curve) / len(curve) for curve in curves if all(curve))


def _other_block(table: Table, data: str, mine: list[Group]) -> Block | None:
    """Our own data set: its runs, and what the paper has on others, marked as that."""
    if not mine:
        return None
    columns = list(table.sections[0].columns)
    classes: tuple[str, ...] = ()
    if table.number == 2:
        classes = tuple(dict.fromkeys(name for group in mine for name in group.runs[0].class_names))
        columns = [*classes, 'mAP']
    block = other_block(table, data, columns, _own_lines(table, columns, mine, classes))
    for line in block.lines:
        if table.number == 2 and line.source != 'ours':  # Its classes are other classes, whatever they are called.
            line.values, line.slips = {'mAP': line.values['mAP']}, {}
    return block


def _missing(table: Table, section: Section, groups: list[Group], few_shots: list[FewShot]) -> list[tuple[str, str]]:
    """What the section's rows would be filled by and no finished run has."""
    out = []
    for row in section.rows:
        found = [group for group in groups if row.fill and matches(group.runs[0], row.fill)]
        if not row.fill or (found and table.task != 'partial'):
            continue
        pixels = f' ({", ".join(map(str, row.resolution))} px)' if row.resolution else ''
        what = f'{table.title}, {section.title}, {row.method}{pixels}'
        name = row.fill.split()[0]
        if not configs.is_row(name):
            out.append((what, f'not available yet: there is no row experiments/configs/{name}.yaml'))
        elif table.task == 'few_shot':
            command = few_shot.missing(row.fill, few_shots, section.columns)
            out += [(what, command)] if command else []
        elif table.task == 'partial':
            out += _proportions(what, shlex.split(row.fill), _most_known(found))
        else:
            out.append((what, f'{RUN} {shlex.join(shlex.split(row.fill))}'))
    return out


def _missing_partial(table: Table, data: str, groups: list[Group]) -> list[tuple[str, str]]:
    """The proportions that each row of our own data lacks; a row with full labels alone lacks all."""
    rows: dict[str, Group] = {}
    for group in sorted(groups, key=lambda group: (group.task != 'partial', -len(_most_known([group])))):
        if configs.is_row(group.row):
            rows.setdefault(group.row, group)
    out = []
    for row, group in rows.items():
        known = _most_known([group]) if group.task == 'partial' else set()
        out += _proportions(f'{table.title}, {data}, {row}', [row, *shared_words(group.options), 'task=partial'], known)
    return out


def _most_known(groups: list[Group]) -> set[float]:
    """The proportions of the group that has the most: those of several groups make no curve."""
    return max(({run.known for run in group.runs} for group in groups), key=len, default=set())


def _proportions(what: str, words: list[str], known: set[float]) -> list[tuple[str, str]]:
    """The one command for the proportions of known labels that are not there yet."""
    lacking = [f'{part:g}' for part in PROPORTIONS if all(abs(part - other) > 1e-9 for other in known)]
    if not lacking:
        return []
    command = RUN if len(lacking) == 1 else 'python -m experiments.sweep'
    percent = ', '.join(f'{float(part):.0%}' for part in lacking)
    given = shlex.join([*words, 'task.known=' + ','.join(lacking)])
    return [(f'{what}, {percent}', f'{command} {given}')]


def _script(path: str) -> str:
    if not (ROOT / path).is_file():
        return f'not measured; {path} is not there yet'
    return f'not measured; python -m {path.removesuffix(".py").replace("/", ".")}'


def _of_results(folder: Path | None, notes: list[str]) -> Iterator[Run]:
    for runs in walk([folder], notes, '*.json', of_results) if folder else ():
        yield from runs


def collect(folders: Sequence[Path], results: Path | None) -> tuple[list[Group], int, list[str]]:
    """The finished runs in folders of runs and of results, those of a curve over proportions of known labels together;
    how many were left out because they saw a part of the images only; and, in words, which are damaged."""
    notes: list[str] = []
    for folder, kind in [*((folder, 'runs') for folder in folders), *([(results, 'results')] if results else [])]:
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder of {kind} '{folder}'")
    found = [*walk(folders, notes), *_of_results(results, notes)]
    whole = [run for run in found if not run.is_trial]
    return grouped(whole, CURVE), len(found) - len(whole), notes


@cli.door()
def main(argv: list[str]) -> int:
    parser = cli.parser('python -m experiments.table', __doc__)
    parser.add_argument('table', help='2 to 9, or II to IX')
    parser.add_argument('--runs', nargs='*', type=Path, metavar='DIR', help='folders of runs (default: runs, if there)')
    parser.add_argument('--results', type=Path, metavar='DIR', help='folder of committed results (default: results)')
    parser.add_argument('--format', choices=['text', 'markdown', 'csv'], default='text')
    parser.add_argument('--dataset', default='', metavar='NAME', help='this data set alone')
    args = parser.parse_args(argv)
    runs = args.runs if args.runs is not None else [path for path in [Path('runs')] if path.is_dir()]
    results = args.results or (ROOT / 'results' if (ROOT / 'results').is_dir() else None)
    table = published.load()[published.number_of(args.table)]
    groups, trials, notes = collect(runs, results)
    few_shots, more, others = few_shot.collect(runs, results)
    page = build(table, groups, few_shots, args.dataset)
    for note in dict.fromkeys([*notes, *others]):  # A damaged file of results is met twice.
        print(note, file=sys.stderr)
    page.trials = trials + more
    tables.FORMATS[args.format](page)
    return 0


if __name__ == '__main__':
    sys.exit(main())

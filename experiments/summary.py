"""Turns finished runs into the small JSON files of results/, and those into the tables of docs/results.md.

python -m experiments.summary RUN_OR_FOLDER ...     results/NAME.json of each row found, and the page's tables
python -m experiments.summary runs/sweeps/NAME.json runs/NAME/few_shot-HASH/few_shot.json ...    the same of these,
                                                    and of runs/NAME/zero_shot-HASH/zero_shot.json
python -m experiments.summary                       the page's tables again, from results/*.json

Sweeps, few-shot and zero-shot experiments are named one by one and get tables of their own; runs with a part of the
labels or of the classes are written to results/, but stand in no table of rows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.paper import extracts
from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import read_json, write_json
from mlsgm_pyg.app.common.tables import Table
from mlsgm_pyg.app.common.text import interval, mean_sd, readable, spread
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.results.groups import Group, collect

ROOT = Path(__file__).resolve().parents[1]
PAGE, README = 'docs/results.md', 'README.md'
START, END = '<!-- results: python -m experiments.summary -->', '<!-- end of results -->'
PROMISE = '<!-- promise: python -m experiments.promise -->', '<!-- end of promise -->'
SWEEPS = '<!-- sweeps: python -m experiments.summary -->', '<!-- end of sweeps -->'
FEW_SHOT = '<!-- few-shot: python -m experiments.summary -->', '<!-- end of few-shot -->'
ZERO_SHOT = '<!-- zero-shot: python -m experiments.summary -->', '<!-- end of zero-shot -->'
KEPT = ('seed', 'mAP', 'mAP_by_score', 'metrics', 'instances_per_image', 'seconds', 'commit', 'command')
SHARED = ('name', 'score', 'ap', 'top3', 'difficult', 'test_view', 'evaluated_on', 'select', 'images', 'parameters')
SHARED += ('task', 'labels', 'hardware', 'versions', 'config')
BASELINE = '_baseline'
OTHERS = ('promise', 'data_care')  # Small files of results/ that are no rows.


def by_name(folders: Sequence[Path]) -> tuple[dict[str, Group], list[str]]:
    """As :func:`collect`, by the names of the runs, of which each must be one group: whose runs differ in their seed
    alone, and have no other numbers elsewhere."""
    groups, notes = collect(folders)
    out: dict[str, Group] = {}
    for group in groups:
        there = out.setdefault(group.name, group)
        if there is not group or group.left_out:
            found = [run.folder for one in dict.fromkeys((there, group)) for run in one.runs] + group.left_out
            told = ', '.join(map(str, found))
            raise ConfigError(f"the runs of '{group.name}' differ in more than their seed: {told}")
    return out, notes


def baseline_of(name: str, groups: dict[str, Group]) -> Group | None:
    """The runs of a row's baseline, else of the row's that it is built on, under the same task, by the names that runs
    have by default; none of a baseline."""
    row, task = groups[name].row, _task(groups[name])
    if name.endswith(BASELINE) or row.endswith(BASELINE):
        return None
    rest = name.removeprefix(row) if name.startswith(row) else ''  # '_partial_0.1' and the like.
    names = [name + BASELINE]
    for other in (row, *configs.bases(row)):
        names += [other + BASELINE + rest, other + BASELINE]
    candidates = [groups.get(other) for other in names]
    return next((group for group in candidates if group and _task(group) == task), None)


def _task(group: Group) -> dict[str, Any] | None:
    return None if group.task == 'full' else group.options['task']


def summarise(group: Group, theirs: Group | None) -> dict[str, Any]:
    """One row: what its runs share, each run's numbers, and the paired bootstrap against its baseline."""
    from mlsgm_pyg.app.results.bootstrap import NotComparable, Resamples

    first = group.results[0]
    out = {key: first[key] for key in SHARED}
    out['runs'] = [{key: one[key] for key in KEPT} for one in group.results]
    out['against_baseline'] = None
    if theirs:
        try:
            out['against_baseline'] = Resamples().gain(group.results, theirs.results)
        except NotComparable as error:
            out['without_gain'] = str(error)
    return extracts.portable(out)


def table(results: dict[str, dict[str, Any]]) -> Table:
    """The page's table: a line a row."""
    out = Table('', ('row', 'seeds', 'mAP', 'CF1', 'OF1', 'against its baseline, mAP [95 % interval]'))
    for name, row in sorted(results.items()):
        runs, gain = row['runs'], interval(row['against_baseline'])
        cells = [spread(mean_sd(run['metrics'][key] for run in runs)) for key in ('mAP', 'CF1', 'OF1')]
        out.rows.append([f'`{name}`', ', '.join(str(run['seed']) for run in runs), *cells, gain])
    return out


def facts(results: dict[str, dict[str, Any]]) -> str:
    """The commands and the hardware behind the table."""
    rows = [row for _, row in sorted(results.items())]
    return extracts.facts(rows, [run['command'] for row in rows for run in row['runs']], sorted(results))


def page(text: str, results: dict[str, dict[str, Any]]) -> str:
    """The page with its tables written anew, each between its two marks.

    Raises:
        ValueError: If there are no marks for what there is to write.
    """
    rows = {name: out for name, out in results.items() if is_row(out)}
    sweeps = [out for _, out in sorted(results.items()) if extracts.is_sweep(out)]
    few_shot = [out for _, out in sorted(results.items()) if extracts.is_few_shot(out)]
    zero_shot = [out for _, out in sorted(results.items()) if extracts.is_zero_shot(out)]
    blocks = {
        (START, END): f'{table(rows).markdown()}\n\n{facts(rows)}' if rows else 'No finished runs yet.',
        SWEEPS: extracts.sweeps(sweeps),
        FEW_SHOT: extracts.few_shots(few_shot),
    }
    if zero_shot or ZERO_SHOT[0] in text:
        blocks[ZERO_SHOT] = extracts.zero_shots(zero_shot)
    for (start, end), block in blocks.items():
        text = _between(text, start, end, block, PAGE)
    return text


def _between(text: str, start: str, end: str, block: str, name: str) -> str:
    if start not in text or end not in text:
        raise ValueError(f"{name} must hold the marks '{start}' and '{end}'")
    before, rest = text.split(start)
    return f'{before}{start}\n{block}\n{end}{rest.split(end)[1]}'


def is_row(out: Any) -> bool:
    """Whether a file of results is a row's runs on all labels of all classes."""
    is_runs = isinstance(out, dict) and 'against_baseline' in out
    return is_runs and (out.get('config', {}).get('task') or {'name': 'full'})['name'] == 'full'


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """All files of a folder of results."""
    return {path.stem: read_json(path) for path in sorted(folder.glob('*.json')) if path.stem not in OTHERS}


@cli.door()
def main(argv: list[str]) -> int:
    parser = cli.parser('python -m experiments.summary', __doc__)
    parser.add_argument('runs', nargs='*', type=Path, help='run directories, folders that hold some, or JSON files')
    parser.add_argument('--root', type=Path, default=ROOT, help=f'where {PAGE} and results/ lie')
    args = parser.parse_args(argv)
    contents = dict(extracts.read(path) for path in args.runs if path.suffix == '.json')
    groups, notes = by_name([path for path in args.runs if path.suffix != '.json'])
    for note in notes:
        print(readable(note), file=sys.stderr)
    contents |= {name: summarise(group, baseline_of(name, groups)) for name, group in groups.items()}
    _write(args.root, contents)
    return 0


def write_promise(root: Path, rows: list[dict[str, Any]]) -> None:
    """Writes results/promise.json and its table in the README.

    Raises:
        ValueError: If the README lacks the marks, or there is no row.
    """
    if not rows:
        raise ValueError('none of these runs is of a regime that experiments/promise.py names')
    path = root / README
    text = _between(path.read_text(), *PROMISE, promise_table(rows).markdown(), README)
    write_json(root / 'results' / 'promise.json', rows)
    path.write_text(text)


def promise_table(rows: list[dict[str, Any]]) -> Table:
    """The README's table: a line a regime."""
    columns = ('regime', 'ML-SGM', 'baseline', 'gain [95 % interval]', 'best peer', 'graph alone', 'seeds')
    out = Table('', columns)
    for row in rows:
        peer = f'{row["peer"]} {row["peer_score"]:.2f}' if row['peer'] else ''
        graph = row.get('scores', {}).get('graph')
        means = [f'{row[key]:.2f}' for key in ('ours', 'baseline')]
        cells = [*means, interval(row | {'difference': row['gain']}), peer, '' if graph is None else f'{graph:.2f}']
        out.rows.append([row['regime'], *cells, ', '.join(map(str, row['seeds']))])
    return out


def _write(root: Path, contents: dict[str, dict[str, Any]]) -> None:
    folder, path = root / 'results', root / PAGE
    text = page(path.read_text(), load(folder) | contents)  # Nothing is written where this fails.
    for name, out in contents.items():
        write_json(folder / f'{name}.json', out)
        _say(f'wrote {folder / name}.json')
    path.write_text(text, errors='backslashreplace')
    found = load(folder)
    _say(table({name: out for name, out in found.items() if is_row(out)}).markdown())
    for name, out in found.items():
        if told := extracts.markdown(out):
            _say(f'\n{name}\n{told}')


def _say(text: str) -> None:
    print('\n'.join(map(readable, text.split('\n'))))


if __name__ == '__main__':
    sys.exit(main())

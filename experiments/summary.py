"""Turns finished runs into the small JSON files behind the README's numbers, and those into its table.

python -m experiments.summary RUN_OR_FOLDER ...     results/NAME.json of each row found, and the README's table
python -m experiments.summary                       the README's table again, from results/*.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
START, END = '<!-- results: python -m experiments.summary -->', '<!-- end of results -->'
KEPT = ('seed', 'mAP', 'mAP_by_score', 'metrics', 'instances_per_image', 'seconds', 'commit', 'command')
SHARED = ('name', 'score', 'ap', 'top3', 'difficult', 'test_view', 'evaluated_on', 'select', 'images', 'parameters')
TASK = ('task', 'labels')  # Not in runs of the first version.
BASELINE = '_baseline'


def collect(folders: list[Path]) -> dict[str, list[dict[str, Any]]]:
    """The result.json files under some folders, by row.

    Raises:
        FileNotFoundError: If a folder holds no finished run.
        ValueError: If runs of one name share a seed, or differ in anything but their seed.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for folder in folders:
        found = sorted(folder.rglob('result.json'))
        if not found:
            raise FileNotFoundError(f"'{folder}' holds no finished run: there is no result.json in it")
        for path in found:
            out = json.loads(path.read_text())
            groups.setdefault(out['name'], []).append(out | {'folder': str(path.parent)})
    for name, runs in groups.items():
        seeds = [run['seed'] for run in runs]
        options = [{**run['config'], 'seed': None} for run in runs]
        if len(set(seeds)) < len(seeds) or any(other != options[0] for other in options):
            raise ValueError(f"the runs of '{name}' differ in more than their seed: {[run['folder'] for run in runs]}")
    return {name: sorted(runs, key=lambda run: run['seed']) for name, runs in groups.items()}


def baseline_of(name: str, groups: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]] | None:
    """The runs of a row's baseline under the same task, by the names that runs have by default; none of a baseline."""
    row, task = groups[name][0]['config']['row'], _task(groups[name])
    if name.endswith(BASELINE) or row.endswith(BASELINE):
        return None
    rest = name.removeprefix(row) if name.startswith(row) else ''  # '_partial_0.1' and the like.
    candidates = [groups.get(other) for other in (name + BASELINE, row + BASELINE + rest, row + BASELINE)]
    return next((runs for runs in candidates if runs and _task(runs) == task), None)


def _task(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    task = runs[0]['config'].get('task')
    return None if task and task['name'] == 'full' else task


def summarise(runs: list[dict[str, Any]], theirs: list[dict[str, Any]] | None) -> dict[str, Any]:
    """One row: what its runs share, each run's numbers, and the paired bootstrap against its baseline."""
    from experiments.result import paired

    first = runs[0]
    out = {key: first[key] for key in SHARED} | {key: first[key] for key in TASK if key in first}
    out |= {'hardware': first['hardware'], 'versions': first['versions']}
    out |= {'config': first['config'], 'runs': [{key: run[key] for key in KEPT} for run in runs]}
    seeds = [run['seed'] for run in runs if run['seed'] in [other['seed'] for other in theirs or []]]
    out['against_baseline'] = paired(runs, theirs, seeds) | {'seeds': seeds} if seeds else None
    return out


def spread(values: list[float]) -> str:
    """Mean and standard deviation, or the one value."""
    mean = f'{statistics.mean(values):.2f}'
    return mean if len(values) < 2 else f'{mean} ± {statistics.stdev(values):.2f}'


def table(results: dict[str, dict[str, Any]]) -> str:
    """The README's table in Markdown."""
    lines = [
        '| row | seeds | mAP | CF1 | OF1 | against its baseline, mAP [95 % interval] |',
        '|---|---|---|---|---|---|',
    ]
    for name, row in sorted(results.items()):
        runs, found = row['runs'], row['against_baseline']
        gain = f'{found["difference"]:+.2f} [{found["low"]:+.2f}, {found["high"]:+.2f}]' if found else ''
        cells = [spread([run['metrics'][key] for run in runs]) for key in ('mAP', 'CF1', 'OF1')]
        seeds = ', '.join(str(run['seed']) for run in runs)
        lines.append(f'| `{name}` | {seeds} | {" | ".join(cells)} | {gain} |')
    return '\n'.join(lines)


def facts(results: dict[str, dict[str, Any]]) -> str:
    """The commands and the hardware behind the table."""
    lines = []
    for _, row in sorted(results.items()):
        for command in dict.fromkeys(run['command'] for run in row['runs']):
            lines.append(command)
    first = next(iter(results.values()))
    versions = ', '.join(f'{key} {value}' for key, value in first['versions'].items())
    hardware = f'{first["hardware"]["device"]}, {first["hardware"]["cores"]} cores; {versions}.'
    return '\n'.join([hardware, '', '```bash', *dict.fromkeys(lines), '```'])


def readme(text: str, results: dict[str, dict[str, Any]]) -> str:
    """The README with its results written anew between the two marks."""
    if START not in text or END not in text:
        raise ValueError(f"README.md must hold the marks '{START}' and '{END}'")
    before, rest = text.split(START)
    block = f'{table(results)}\n\n{facts(results)}' if results else 'No finished runs yet.'
    return f'{before}{START}\n{block}\n{END}{rest.split(END)[1]}'


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """All rows of a folder of results; sweeps and few-shot draws, which lie there too, are no rows."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob('*.json'))}
    return {name: content for name, content in found.items() if 'against_baseline' in content}


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='python -m experiments.summary',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('runs', nargs='*', type=Path, help='run directories, or folders that hold some')
    parser.add_argument('--root', type=Path, default=ROOT, help='where README.md and results/ lie')
    args = parser.parse_args(argv)
    try:
        groups = collect(args.runs)
    except (FileNotFoundError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    folder = args.root / 'results'
    folder.mkdir(exist_ok=True)
    for name, runs in groups.items():
        content = json.dumps(summarise(runs, baseline_of(name, groups)), indent=1, allow_nan=False)
        (folder / f'{name}.json').write_text(content + '\n')
        print(f'wrote {folder / name}.json')
    path = args.root / 'README.md'
    path.write_text(readme(path.read_text(), load(folder)))
    print(table(load(folder)))
    return 0


if __name__ == '__main__':
    sys.exit(main())

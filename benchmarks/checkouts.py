"""Is this checkout slower than another? Processes of both, five each, take turns; each runs `benchmarks/calls.py`.

python -m benchmarks.checkouts OTHER_FOLDER head throughput aggregation
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.page import FOLDER, block
from mlsgm_pyg.app.common.tables import Table

SECTIONS = ('head', 'throughput', 'aggregation')
HERE = FOLDER.parent


def run(folder: Path, sections: Sequence[str], quick: bool) -> dict[str, float]:
    """CPU seconds a call, row by row, in a fresh process of a checkout.

    Raises:
        SystemExit: If the process fails, or imports another checkout.
    """
    words = [sys.executable, '-P', '-W', 'ignore', str(FOLDER / 'calls.py'), *sections, *(['--quick'] if quick else [])]
    environment = os.environ | {'PYTHONPATH': str(folder), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f'the calls failed with the checkout {folder} (exit status {done.returncode})')
    found = json.loads(done.stdout.splitlines()[-1])
    if (imported := Path(found.pop('mlsgm_pyg'))) != folder:
        raise SystemExit(f'the calls must import mlsgm_pyg of {folder} (got {imported})')
    return found


def compared(here: list[dict[str, float]], other: list[dict[str, float]]) -> Table:
    """Medians and spreads of the processes, and their ratio."""
    table = Table('CPU milliseconds a call: median (least to most) of the processes', (
        'row', 'other', 'here', 'here / other', 'slower beyond the spread',
    ))  # fmt: skip
    for name in here[0]:
        ours, theirs = ([1e3 * found[name] for found in runs] for runs in (here, other))
        ratio = statistics.median(ours) / statistics.median(theirs)
        shown = [f'{statistics.median(x):.4g} ({min(x):.4g} to {max(x):.4g})' for x in (theirs, ours)]
        table.rows.append([name, *shown, ratio, 'yes' if min(ours) > max(theirs) else 'no'])
    table.notes.append('Slower beyond the spread: the quickest process here took longer than the slowest of the other.')
    return table


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.checkouts', description=__doc__)
    parser.add_argument('other', type=Path, help='the folder of another checkout')
    parser.add_argument('sections', nargs='*', metavar='SECTION', help=f'of {", ".join(SECTIONS)} (all)')
    parser.add_argument('--rounds', type=int, default=5, help='processes of each (%(default)s)')
    parser.add_argument('--quick', action='store_true', help='tiny sizes: tries the script, says nothing')
    args = parser.parse_intermixed_args(argv)
    if not (args.other / 'mlsgm_pyg' / '__init__.py').is_file():
        parser.error(f'OTHER must be the folder of a checkout, with mlsgm_pyg in it (got {args.other})')
    if unknown := set(args.sections) - set(SECTIONS):
        parser.error(f'sections are {", ".join(SECTIONS)} (got {", ".join(sorted(unknown))})')
    runs = {HERE: [], args.other.resolve(): []}
    for i in range(args.rounds):
        for folder in list(runs) if i % 2 == 0 else reversed(runs):
            runs[folder].append(run(folder, args.sections or SECTIONS, args.quick))
    here, other = runs.values()
    print(block(compared(here, other)))
    return 0


if __name__ == '__main__':
    sys.exit(main())

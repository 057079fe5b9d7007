"""Measures every section of a device within some minutes, each in its own process, and writes tables as they come.

python -m benchmarks.all --device cuda --minutes 9
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence
from importlib import import_module

from benchmarks import page

SECTIONS = {  # In order of interest, with the share of the time; what a section does not use, the next ones get.
    'head': 4, 'throughput': 5, 'peers': 4, 'growth': 3, 'aggregation': 4, 'graph_building': 1, 'loader': 1,
    'metrics': 1, 'predict': 1, 'engines': 2, 'complexity': 1, 'levers': 2, 'startup': 1,
}  # fmt: skip
GRACE = 30  # Seconds beyond its share, after which a section is ended.


def section(name: str, words: list[str]) -> None:
    """One script's command line; what is not installed is said in a line."""
    try:
        common, script = import_module('benchmarks.common'), import_module(f'benchmarks.{name}')
        status = common.main(name, script.__doc__, script.measure, words, getattr(script, 'options', None))
    except ImportError as error:
        raise SystemExit(f'{name}: {error}') from None
    sys.exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.all', description=__doc__)
    parser.add_argument('sections', nargs='*', metavar='SECTION', help=f'of {", ".join(SECTIONS)} (all)')
    parser.add_argument('--device', choices=list(page.DEVICES), required=True)
    parser.add_argument('--minutes', type=float, default=9, help='for everything together (%(default)s)')
    parser.add_argument('--quick', action='store_true', help='tiny sizes, nothing is written: tries the scripts')
    args = parser.parse_intermixed_args(argv)
    if unknown := set(args.sections) - set(SECTIONS):
        parser.error(f'sections are {", ".join(SECTIONS)} (got {", ".join(sorted(unknown))})')
    names = [name for name in args.sections or SECTIONS if args.device in page.devices(name)]
    lacking = run(names, args.device, 60 * args.minutes, '--quick' if args.quick else '--write')
    print(f'No tables of {"; ".join(lacking)}.' if lacking else f'All {len(names)} sections have their tables.')
    return 1 if lacking else 0


def run(names: list[str], device: str, seconds: float, how: str) -> list[str]:
    """Runs the sections; gives those that have no tables, and why."""
    context, lacking = multiprocessing.get_context('forkserver'), []
    context.set_forkserver_preload(['torch_geometric', 'benchmarks.common'])  # Once for all; it touches no GPU.
    end = time.perf_counter() + seconds
    for i, name in enumerate(names):
        left = end - time.perf_counter()
        share = left * SECTIONS[name] / sum(SECTIONS[other] for other in names[i:])
        words = ['--device', device, '--minutes', f'{share / 60:.1f}', how]
        process = context.Process(target=section, args=(name, words))
        process.start()
        process.join(max(0.0, min(left, share + GRACE)))
        if process.exitcode is None:
            process.kill()
            process.join()
            lacking.append(f'{name} (its time was over)')
        elif process.exitcode:
            lacking.append(f'{name} (exit status {process.exitcode}, see above)')
    return lacking


if __name__ == '__main__':
    sys.exit(main())

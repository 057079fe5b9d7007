"""Runs rows at several values of an option: a table, a curve and their average.

python -m experiments.sweep NAME ... task=partial task.known=0.1,0.5,0.9 [key=value ...]   partial labels (Table V)
python -m experiments.sweep NAME ... model.gamma=0.1,0.2,0.3 seeds=0,1,2 [key=value ...]   any option, several seeds

An option with commas takes each of its values in turn, several such options every combination, or with --together
first with first, second with second. Lists are written in brackets: 'model.block_channels=[256],[256,256]'. Finished
runs are read, unfinished ones go on; --jobs 2 makes two at a time. The first row is compared with each other row by a
paired bootstrap over images.
"""

from __future__ import annotations

import argparse
import sys

from experiments.plan import plan
from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.config.options import WHERE


def parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.parser('python -m experiments.sweep', __doc__, WHERE)
    parser.add_argument('words', nargs='+', metavar='NAME | key=value', help='rows and options, one with commas')
    parser.add_argument('--commands', action='store_true', help='print the command of every run and stop')
    parser.add_argument('--all-seeds', action='store_true', help='count finished runs of other seeds, too')
    parser.add_argument('--again', action='store_true', help='train finished runs once more')
    parser.add_argument('--together', action='store_true', help='several options change together, no combinations')
    parser.add_argument('--jobs', type=int, default=1, metavar='N', help='so many runs at a time (default: 1)')
    args = parser.parse_args(argv)
    cli.check_least(parser, args, jobs=1)
    return args


@cli.door('the same command goes on')
def main(argv: list[str]) -> int:
    args = parse(argv)
    planned = plan(args.words, args.together)
    if args.commands:
        print('\n'.join(dict.fromkeys(command for *_, command in planned)))
        return 0
    from experiments.sweeps import run as sweep  # Lightning and torch take seconds: after the words were understood.

    command = cli.typed('python -m experiments.sweep', argv)
    sweep.run(planned, command, args.jobs, args.again, args.together, args.all_seeds)
    return 0


if __name__ == '__main__':
    sys.exit(main())

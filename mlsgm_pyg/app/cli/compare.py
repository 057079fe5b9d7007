"""Compares finished runs: rows over their seeds, paired bootstraps over images, costs; on one page if asked for.

mlsgm compare runs                              every finished run below a folder
mlsgm compare runs/coco18 runs/coco18_ml_gcn ... --out comparison.html --json comparison.json
mlsgm compare runs --reference coco18 --speed   also images a second and multiply-adds, measured now

The reference (the first row) is compared with every other row, and each step of an ablation ladder (Table VII, where
runs of it are there) with the one before. Rows that were evaluated otherwise than the reference are shown and said,
never averaged or subtracted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.files import check_places, write_json


def parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.parser('mlsgm compare', __doc__)
    parser.add_argument('runs', nargs='+', type=Path, metavar='RUN', help='run directories, or folders that hold some')
    parser.add_argument('--out', type=Path, metavar='FILE.html', help='write one self-contained page')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all numbers')
    parser.add_argument('--reference', metavar='ROW', help='compared with every other row (the first)')
    parser.add_argument('--ladder', metavar='ROW,ROW,...', help='rows of which each is compared with the one before')
    parser.add_argument('--resamples', type=int, default=1000, help='of the bootstrap (%(default)s)')
    parser.add_argument('--speed', action='store_true', help='build and time the models, in turns')
    parser.add_argument('--batch', type=int, default=8, help='--speed: images at a time (%(default)s)')
    parser.add_argument('--rounds', type=int, default=3, help='--speed: turns of each model (%(default)s)')
    parser.add_argument('--device', choices=('cpu', 'cuda'), help='--speed: where (cuda where there is one)')
    args = parser.parse_args(argv)
    cli.check_least(parser, args, resamples=1, batch=1, rounds=1)
    return args


@cli.door()
def main(argv: list[str]) -> int:
    args = parse(argv)
    check_places(path for path in (args.json, args.out) if path)
    from mlsgm_pyg.app.reports import comparison  # torch takes seconds: after the words were understood.
    from mlsgm_pyg.app.results import comparison_tables
    from mlsgm_pyg.app.results.comparison import compare

    timed = {'batch': args.batch, 'rounds': args.rounds, 'device': args.device} if args.speed else None
    ladder = args.ladder and _names(args.ladder)
    summary = compare(args.runs, args.reference, ladder, args.resamples, timed)
    summary['command'] = cli.typed('mlsgm compare', argv)
    for table in comparison_tables.tables(summary):
        table.print(wide=True)
    if args.json:
        write_json(args.json, summary)
        print(args.json)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        comparison.write(summary, args.out)
        print(args.out)
    return 0


def _names(words: str) -> list[str]:
    """Labels may hold commas inside of their parentheses."""
    out, depth = [''], 0
    for letter in words:
        depth += (letter == '(') - (letter == ')')
        if letter == ',' and depth == 0:
            out.append('')
        else:
            out[-1] += letter
    return [name.strip() for name in out]

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
from typing import Any

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError
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
    from mlsgm_pyg.app.reports import comparison
    from mlsgm_pyg.app.results import (  # torch takes seconds: after the words were understood.
        comparison_tables as show_comparison,
    )

    summary = build(args) | {'command': cli.typed('mlsgm compare', argv)}
    for table in show_comparison.tables(summary):
        table.print(wide=True)
    if args.json:
        write_json(args.json, summary)
        print(args.json)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        comparison.write(summary, args.out)
        print(args.out)
    return 0


def build(args: argparse.Namespace) -> dict[str, Any]:
    """All numbers that the words ask for."""
    from mlsgm_pyg.app.results.bootstrap import Resamples
    from mlsgm_pyg.app.results.comparison import ladder, summarise
    from mlsgm_pyg.app.results.groups import collect, find

    rows, left_out = collect(args.runs)
    reference = find(rows, args.reference) if args.reference else rows[0]
    if args.ladder:
        steps, told = [find(rows, name) for name in _names(args.ladder)], []
    else:
        steps, told = ladder(rows, reference)
    summary = summarise(rows, reference, steps, Resamples(args.resamples))
    summary['notes'] += left_out + told
    if args.speed:
        summary['speed'] = _speed(args, rows)
    return summary


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


def _speed(args: argparse.Namespace, rows: list[Any]) -> dict[str, Any]:
    import torch

    from mlsgm_pyg.app.common.machine import environment
    from mlsgm_pyg.app.results import speed

    if args.device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError('--device cuda: there is no GPU here')
    device = torch.device(args.device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    found, without = speed.measure(rows, args.batch, device, args.rounds)
    return {'rows': found, 'without': without} | environment(device)

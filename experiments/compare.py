"""Compares finished runs: rows over their seeds, paired bootstraps over images, costs; on one page if asked for.

python -m experiments.compare runs                              every finished run below a folder
python -m experiments.compare runs/coco18 runs/coco18_ml_gcn ... --out comparison.html --json comparison.json
python -m experiments.compare runs --reference coco18 --speed   also images a second and multiply-adds, measured now

The reference (the first row) is compared with every other row, and each step of an ablation ladder (Table VII, where
runs of it are there) with the one before. Rows that were evaluated otherwise than the reference are shown and said,
never averaged or subtracted.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

from experiments import config as configs
from experiments.places import check_places


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m experiments.compare',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
    for name in ('resamples', 'batch', 'rounds'):
        if getattr(args, name) < 1:
            parser.error(f'--{name} must be at least 1 (got {getattr(args, name)})')
    return args


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse(argv)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', r'.*torch\.jit', FutureWarning)  # PyG's, when it is imported.
        from experiments import show_comparison  # torch takes seconds: after the words were understood.
    try:
        check_places(path for path in (args.json, args.out) if path)
        summary = build(args) | {'command': shlex.join(['python', '-m', 'experiments.compare', *argv])}
        show_comparison.text(summary)
        for path, content in _files(args, summary):
            path.parent.mkdir(parents=True, exist_ok=True)
            content(path)
            print(path)
    except (configs.ConfigError, FileNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


def build(args: argparse.Namespace) -> dict[str, Any]:
    """All numbers that the words ask for."""
    from experiments import grouping
    from experiments.bootstrap import Resamples
    from experiments.comparison import summarise

    rows, left_out = grouping.collect(args.runs)
    reference = grouping.find(rows, args.reference) if args.reference else rows[0]
    if args.ladder:
        steps, told = [grouping.find(rows, name) for name in _names(args.ladder)], []
    else:
        steps, told = grouping.ladder(rows, reference)
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

    from experiments import speed
    from experiments.result import environment

    if args.device == 'cuda' and not torch.cuda.is_available():
        raise configs.ConfigError('--device cuda: there is no GPU here')
    device = torch.device(args.device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    found, without = speed.measure(rows, args.batch, device, args.rounds)
    return {'rows': found, 'without': without} | environment(device)


def _files(args: argparse.Namespace, summary: dict[str, Any]) -> list[tuple[Path, Any]]:
    from experiments import comparison_page

    def as_json(path: Path) -> None:
        path.write_text(json.dumps(summary, indent=1, allow_nan=False) + '\n')

    wanted = [(args.json, as_json), (args.out, lambda path: comparison_page.write(summary, path))]
    return [(path, content) for path, content in wanted if path is not None]


if __name__ == '__main__':
    sys.exit(main())

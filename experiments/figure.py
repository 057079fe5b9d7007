"""Draws the paper's figures from finished runs, each as PNG and PDF.

python -m experiments.figure 2 [ROW | RUN]               the architecture with its real sizes, as SVG and PNG
python -m experiments.figure 5 RUN                       wrong and missed labels, with the threshold that lost them
python -m experiments.figure 6 RUN BASELINE              the three most probable labels of both
python -m experiments.figure 7 RUN BASELINE              class activation maps and boxes of both
python -m experiments.figure 8 ROW [key=value ...]       sensitivity; --run trains what is missing
python -m experiments.figure 9 RUN                       t-SNE of the labels' final vectors

RUN is a run directory (runs/NAME/seedS-HASH), or runs/NAME where there is one run. Each figure has options of its own:
python -m experiments.figure 5 --help
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.files import writing

FIGURES = {'2': 'architecture', '5': 'errors', '6': 'top3', '7': 'maps', '8': 'sensitivity', '9': 'labels'}
OUT = Path('runs/figures')


def parse(argv: list[str]) -> tuple[argparse.Namespace, object]:
    parser = cli.parser('python -m experiments.figure', __doc__)
    parser.add_argument('figure', choices=FIGURES, help='number of the figure in the paper')
    number = parser.parse_args(argv[:1]).figure
    module = importlib.import_module(f'experiments.figures.{FIGURES[number]}')
    own = cli.parser(f'experiments.figure {number}', module.__doc__)
    module.arguments(own)
    own.add_argument('--out', type=Path, default=OUT, metavar='DIR', help=f'where it is written (default: {OUT})')
    args = own.parse_args(argv[1:])
    if hasattr(args, 'number'):
        cli.check_least(own, args, number=1)
    return args, module


@cli.door()
def main(argv: list[str]) -> int:
    args, module = parse(argv)
    import matplotlib

    from experiments.figures import page

    written = []
    with matplotlib.rc_context(page.STYLE):
        for stem, figure in module.make(args):
            kinds, dpi = getattr(module, 'KINDS', page.KINDS), getattr(module, 'DPI', page.DPI)
            with writing(args.out):
                written += page.save(figure, args.out, stem, kinds, dpi)
    print('\n'.join(map(str, written)) or 'nothing to draw yet')
    return 0 if written else 1


if __name__ == '__main__':
    sys.exit(main())

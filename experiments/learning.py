"""How soon does a graph learn? Learning curves of finished runs, and when each passes the reference.

python -m experiments.learning REFERENCE RUN ... [--out learning.png]     folders of runs; first a linear layer's, say

Prints, for every run, the first epoch whose graph is at least as good as the reference's last one, and the seconds of
training and evaluation until then; draws mAP against epochs and against seconds.
"""

from __future__ import annotations

import sys
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import check_places, writing
from mlsgm_pyg.app.results.run import Run

COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9')  # Told apart by everyone (Okabe and Ito).


class Curve(NamedTuple):
    """A run's mAP after every epoch: its graph's, where it has one."""

    name: str
    epochs: list[int]
    values: list[float]
    seconds: list[float]  # Since the start.

    def passes(self, level: float) -> tuple[int, float] | None:
        """The first epoch, counted from 1, that reaches a level, and its seconds."""
        reached = [i for i, value in enumerate(self.values) if value >= level]
        return (self.epochs[reached[0]], self.seconds[reached[0]]) if reached else None


def read(folder: Path) -> Curve:
    """Reads the curve of a run."""
    run = Run.read(folder)
    seconds = list(accumulate(row['seconds'] for row in run.history))
    found = [i for i, row in enumerate(run.history) if row.get('mAP')]  # Every few epochs alone, perhaps.
    if not found:
        raise ConfigError(f"'{folder}' has no history of its epochs")
    values = [run.history[i].get('graph_mAP') or run.history[i]['mAP'] for i in found]
    return Curve(run.name, [i + 1 for i in found], values, [seconds[i] for i in found])


def draw(reference: Curve, curves: list[Curve], out: Path) -> None:
    """Draws all curves twice, over epochs and over seconds; the reference in grey, its last value as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout='constrained')
    for axes, what in zip(figure.subplots(1, 2, sharey=True), ('epochs', 'seconds')):
        axes.axhline(reference.values[-1], color='0.6', linewidth=1, linestyle=':')
        for curve, colour in zip((reference, *curves), ('0.4', *COLOURS)):
            x = curve.epochs if what == 'epochs' else curve.seconds
            axes.plot(x, curve.values, color=colour, marker='o', markersize=3, label=curve.name)
        axes.set_xlabel(what)
        axes.grid(color='0.92')
        axes.spines[['top', 'right']].set_visible(False)
    figure.axes[0].set_ylabel('mAP')
    lines, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(lines, names, loc='outside upper center', ncols=2, frameon=False)
    figure.savefig(out, dpi=150)


@cli.door()
def main(argv: list[str]) -> int:
    parser = cli.parser('python -m experiments.learning', __doc__)
    parser.add_argument('reference', type=Path, help="a run's folder")
    parser.add_argument('runs', nargs='+', type=Path, help=f'up to {len(COLOURS)} more')
    parser.add_argument('--out', type=Path, metavar='FILE', help='a picture, .png, .pdf or .svg')
    args = parser.parse_args(argv)
    if len(args.runs) > len(COLOURS):
        raise ConfigError(f'at most {len(COLOURS)} runs beside the reference (got {len(args.runs)})')
    check_places([args.out] if args.out else [])
    reference, *curves = map(read, (args.reference, *args.runs))
    level = reference.values[-1]
    print(f'{reference.name}: {level:.2f} mAP after {reference.epochs[-1]} epochs, {reference.seconds[-1]:.0f} s')
    for curve in curves:
        found = curve.passes(level)
        told = f'passed after {found[0]} epochs, {found[1]:.0f} s' if found else 'not passed'
        print(f'{curve.name}: {told}; {curve.values[-1]:.2f} at the end')
    if args.out:
        with writing(args.out):
            draw(reference, curves, args.out)
        print(args.out)
    return 0


if __name__ == '__main__':
    sys.exit(main())

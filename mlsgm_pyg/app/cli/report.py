"""Writes a report of a finished run: one HTML file that opens from disk and needs no network.

mlsgm report RUN                    RUN/report.html, beside the baseline found in the same runs folder
mlsgm report RUN --against OTHER    beside another finished run
mlsgm report RUN --data-root DIR    where the images lie now, if they have moved

It says what ran and how to run it again, metrics beside the baseline's and the paper's, every class, precision by
recall, calibration, labels that come together, mistakes, images, and the assignment graph of single images. What is
not there any more (images, checkpoint, scores) is left out, and named.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.files import check_places
from mlsgm_pyg.app.common.text import readable


def parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.parser('mlsgm report', __doc__)
    add = parser.add_argument
    add('run', type=Path, metavar='RUN', help='a finished run, a folder that holds one, or its checkpoint')
    add('--against', type=Path, metavar='RUN', help='compare with this run (default: the baseline beside it)')
    add('--out', type=Path, metavar='FILE', help='(default: RUN/report.html)')
    add('--data-root', metavar='DIR', help='where the data set lies (default: where it lay)')
    add('--images', type=int, default=500, metavar='N', help='images in the gallery, 0: none (default: %(default)s)')
    add('--graphs', type=int, default=40, metavar='N', help='images with their graphs, likewise (default: %(default)s)')
    args = parser.parse_args(argv)
    cli.check_least(parser, args, images=0, graphs=0)
    return args


@cli.door()
def main(argv: list[str]) -> int:
    args = parse(argv)
    check_places([args.out] if args.out else [])
    from mlsgm_pyg.app.reports.run_report import report  # torch takes seconds: after the words were understood.

    out, missing = report(args.run, args.out, args.against, args.data_root, args.images, args.graphs)
    for line in missing:
        print(f'note: {readable(line)}')
    print(f'{out} ({out.stat().st_size / 1e6:.1f} MB)')
    return 0

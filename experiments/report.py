"""Writes a report of a finished run: one HTML file that opens from disk and needs no network.

python -m experiments.report RUN                    RUN/report.html, beside the baseline found in the same runs folder
python -m experiments.report RUN --against OTHER    beside another finished run
python -m experiments.report RUN --data-root DIR    where the images lie now, if they have moved

It says what ran and how to run it again, metrics beside the baseline's and the paper's, every class, precision by
recall, calibration, labels that come together, mistakes, images, and the assignment graph of single images. What is
not there any more (images, checkpoint, scores) is left out, and named.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.common import cli
from experiments.common.errors import ConfigError, Gone
from experiments.common.files import check_places, writing

if TYPE_CHECKING:
    from experiments.common.markup import Markup
    from experiments.page import Page
    from experiments.results.run import Run

NAME = 'report.html'


def parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.parser('experiments.report', __doc__)
    add = parser.add_argument
    add('run', type=Path, metavar='RUN', help='the directory of a finished run, runs/NAME/seed0-...')
    add('--against', type=Path, metavar='RUN', help='compare with this run (default: the baseline beside it)')
    add('--out', type=Path, metavar='FILE', help=f'(default: RUN/{NAME})')
    add('--data-root', metavar='DIR', help='where the data set lies (default: where it lay)')
    add('--images', type=int, default=500, metavar='N', help='images in the gallery, 0: none (default: %(default)s)')
    add('--graphs', type=int, default=40, metavar='N', help='images with their graphs, likewise (default: %(default)s)')
    args = parser.parse_args(argv)
    cli.check_least(parser, args, images=0, graphs=0)
    return args


@cli.door()
def main(argv: list[str]) -> int:
    args = parse(argv)
    out = args.out or args.run / NAME
    check_places([args.out] if args.out else [])
    page, missing = build(args.run, args.against, args.data_root, args.images, args.graphs)
    with writing(out):
        page.write(out)
    for line in missing:
        print(f'note: {line}')
    print(f'{out} ({out.stat().st_size / 1e6:.1f} MB)')
    return 0


def build(
    folder: Path, against: Path | None = None, data_root: str | None = None, images: int = 500, graphs: int = 40
) -> tuple[Page, list[str]]:
    """Makes the page of a run, and says what is missing in it.

    Args:
        folder (Path): The run's directory.
        against (Path, optional): Of the run that it is compared with. (default: the baseline beside it)
        data_root (str, optional): Where the data set lies. (default: where it lay)
        images, graphs (int): How many images the gallery has, and how many are shown with their graphs.

    Raises:
        ConfigError: If one of the folders is not that of a finished run, or the two runs cannot be compared.
    """
    from experiments import report_numbers, report_overview
    from experiments.page import ASSETS, Page
    from experiments.results.groups import find_baseline, same_images
    from experiments.results.paper_table import paper_rows
    from experiments.results.run import Run

    run = Run.read(folder).at({'data.root': data_root} if data_root else {})
    other = Run.read(against) if against else find_baseline(run)
    if against and not same_images(run, other):
        raise ConfigError(f"'{against}' was evaluated on other images or labels than '{folder}': not comparable")
    rows, missing = paper_rows(run), []
    page = Page(run.title, report_overview.about(run), [ASSETS / 'report.js'], [ASSETS / 'report.css'])
    later: list[tuple[str, Markup]] = []
    try:
        run.scores  # noqa: B018
    except Gone as gone:
        missing.append(f'Curves, calibration, labels and pictures are left out, as {gone}.')
    else:
        later.append(('Precision and recall', report_numbers.precision_recall(run, other)))
        later.append(('Calibration', report_numbers.calibration(run, other)))
        later.append(('Labels together', report_numbers.labels(run)))
        found, gone = _pictures(page, run, images, graphs)
        later += found
        missing += gone
    page.tab('Overview', report_overview.overview(run, other, rows, missing))
    page.tab('Classes', report_numbers.classes(run, other, rows))
    for name, content in later:
        page.tab(name, content)
    return page, missing


def _pictures(page: Page, run: Run, images: int, graphs: int) -> tuple[list[tuple[str, Markup]], list[str]]:
    """The tabs that show images, as far as these and the checkpoint are still there, and what is not."""
    from experiments import report_pictures, report_scenes
    from experiments.analysis import chosen, losses

    part, missing = None, []
    try:
        part = run.images
    except Gone as gone:
        missing.append(f'No pictures: {gone}.')
    pictures = report_pictures.Pictures(run, part, page)
    tabs = [('Mistakes', report_pictures.mistakes(pictures))]
    if part is not None and images > 0:
        tabs.append(('Images', report_pictures.images(pictures, chosen(losses(run.logits, run.y), images))))
    if part is not None and graphs > 0:
        try:
            name, found, remarks = report_scenes.scenes(pictures, graphs)
        except Gone as gone:
            name, found = 'Graphs', report_scenes.missing(gone)
            remarks = [f'No instances, maps and graphs: {gone}.']
        tabs.append((name, found))
        missing += remarks
    return tabs, missing + report_pictures.broken(pictures)


if __name__ == '__main__':
    sys.exit(main())

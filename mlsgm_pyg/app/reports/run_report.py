"""The report of one finished run: its page, tab by tab."""

from __future__ import annotations

from pathlib import Path

from mlsgm_pyg.app.common.errors import ConfigError, Gone
from mlsgm_pyg.app.common.files import writing
from mlsgm_pyg.app.common.markup import Markup
from mlsgm_pyg.app.reports import graphs, numbers, overview, pictures
from mlsgm_pyg.app.reports.page import ASSETS, Page
from mlsgm_pyg.app.results.analysis import chosen, losses
from mlsgm_pyg.app.results.groups import find_baseline, find_one, same_images
from mlsgm_pyg.app.results.run import Run

NAME = 'report.html'


def report(
    run: str | Path,
    out: Path | None = None,
    against: str | Path | None = None,
    data_root: str | None = None,
    num_images: int = 500,
    num_graphs: int = 40,
) -> tuple[Path, list[str]]:
    """Writes the report of a finished run, one HTML file; returns where, and what is missing in it.

    Args:
        run (str or Path): The run: its folder, a folder that holds one finished run, or a checkpoint of it.
        out (Path, optional): The file. (default: `report.html` in the run's folder)
        against, data_root, num_images, num_graphs: See :func:`build`.

    Raises:
        ConfigError: If one of the runs is none, or the two cannot be compared, or the file cannot be written.
    """
    folder = find_one(Path(run))
    out = out or folder / NAME
    page, missing = build(folder, against and find_one(Path(against)), data_root, num_images, num_graphs)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        page.write(out)
    return out, missing


def build(
    folder: Path,
    against: Path | None = None,
    data_root: str | None = None,
    num_images: int = 500,
    num_graphs: int = 40,
) -> tuple[Page, list[str]]:
    """Makes the page of a run, and says what is missing in it.

    Args:
        folder (Path): The run's directory.
        against (Path, optional): Of the run that it is compared with. (default: the baseline beside it)
        data_root (str, optional): Where the data set lies. (default: where it lay)
        num_images, num_graphs (int): How many images the gallery has, and how many are shown with their graphs.

    Raises:
        ConfigError: If one of the folders is not that of a finished run, or the two runs cannot be compared.
    """
    run = Run.read(folder).at({'data.root': data_root} if data_root else {})
    other = Run.read(against) if against else find_baseline(run)
    if against and not same_images(run, other):
        raise ConfigError(f"'{against}' was evaluated on other images or labels than '{folder}': not comparable")
    missing: list[str] = []
    page = Page(run.title, overview.about(run), [ASSETS / 'report.js'], [ASSETS / 'report.css'])
    later: list[tuple[str, Markup]] = []
    try:
        run.scores  # noqa: B018
    except Gone as gone:
        missing.append(f'Curves, calibration, labels and pictures are left out, as {gone}.')
    else:
        later.append(('Precision and recall', numbers.precision_recall(run, other)))
        later.append(('Calibration', numbers.calibration(run, other)))
        later.append(('Labels together', numbers.labels(run)))
        found, gone = _pictures(page, run, num_images, num_graphs)
        later += found
        missing += gone
    apart = overview.paired(run, other)
    page.tab('Overview', overview.overview(run, other, missing, apart))
    page.tab('Classes', numbers.classes(run, other, apart['classes'] if isinstance(apart, dict) else ()))
    for name, content in later:
        page.tab(name, content)
    return page, missing


def _pictures(page: Page, run: Run, num_images: int, num_graphs: int) -> tuple[list[tuple[str, Markup]], list[str]]:
    """The tabs that show images, as far as these and the checkpoint are still there, and what is not."""
    part, missing = None, []
    try:
        part = run.images
    except Gone as gone:
        missing.append(f'No pictures: {gone}.')
    given = pictures.Pictures(run, part, page)
    tabs = [('Mistakes', pictures.mistakes(given))]
    if part is not None and num_images > 0:
        tabs.append(('Images', pictures.images(given, chosen(losses(run.logits, run.y), num_images))))
    if part is not None and num_graphs > 0:
        try:
            name, found, remarks = graphs.graphs(given, num_graphs)
        except Gone as gone:
            name, found = 'Graphs', graphs.missing(gone)
            remarks = [f'No instances, maps and graphs: {gone}.']
        tabs.append((name, found))
        missing += remarks
    return tabs, missing + pictures.broken(given)

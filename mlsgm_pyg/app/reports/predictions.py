"""The page beside drawn pictures: what was found in each, to be filtered and sorted; opens from disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlsgm_pyg.app.common.files import writing
from mlsgm_pyg.app.common.text import counted, readable
from mlsgm_pyg.app.drawing.boxes import COLOURS, PANEL, SHOWN, drawing_path, drawn_size
from mlsgm_pyg.app.reports.page import ASSETS, Page, Table, template
from mlsgm_pyg.app.results.analysis import POSITIVE

NAME = 'index.html'
NEAR = 3  # So many labels below their thresholds are shown, from half of it on.
UNREAD = 1000  # So many pictures that could not be read are listed.


def write_index(folder: Path, records: Iterable[dict[str, Any]], about: Mapping[str, Any]) -> Path:
    """Writes the page of a folder's drawings, whole or not at all; returns where.

    Args:
        folder (Path): Where the drawings are: what was not drawn there is not shown.
        records (iterable of dict): See :func:`mlsgm_pyg.app.prediction.records.record`; of older ones, which list every
            label, those from the threshold on count.
        about (mapping): What they were made with: `checkpoint`, `class_names`, `upright`, and `thresholds` of labels,
            by name, where they are others than 0.5 (None: it never counts).

    Raises:
        ConfigError: If it cannot be written.
    """
    names = about['class_names']
    limits = dict.fromkeys(names, POSITIVE) | (about.get('thresholds') or {})
    limits = {name: 1.0 if limits[name] is None else limits[name] for name in names}
    rows, unread = [], []
    for one in records:
        if 'error' in one:
            unread.append([readable(one['file']), one['error']])
        elif (drawn := drawing_path(folder, one['file'])).is_file():
            size = one['width'], one['height']
            size = drawn_size(size if about['upright'] or one['orientation'] < 5 else size[::-1])
            about_it = readable(one['file']), _address(one['file'], folder), quote(drawn.name), *size
            rows.append([*about_it, *_found(one, limits)])
    start = os.path.commonprefix([row[0] for row in rows]).rpartition(os.sep)[0]
    for row in rows:
        row[0] = row[0].removeprefix(start + os.sep)
    page = Page(
        counted(len(rows), 'photograph'),
        f'What {readable(str(about["checkpoint"]))} found in {start or "them"}.',
        [ASSETS / 'predictions.js'],
        [ASSETS / 'report.css', ASSETS / 'predictions.css'],
        images="'self' file:",
    )
    counts = Counter(i for row in rows for i in row[-1][: 2 * row[-2] : 2])
    labels = sorted(((i, name, counts[i]) for i, name in enumerate(names) if counts[i]), key=lambda one: one[1].lower())
    without = sum(not row[-2] for row in rows)
    page.data['photographs'] = {
        'labels': list(names), 'limits': [*limits.values()], 'colours': COLOURS[:SHOWN], 'panel': PANEL, 'rows': rows,
    }  # fmt: skip
    page.tab('Photographs', template('predictions').photographs(labels, len(rows), without, len(unread)))
    if unread:
        table = Table(['file', 'why'], unread[:UNREAD])
        page.tab('Not read', template('predictions').unread(table, len(unread) - len(table.rows)))
    with writing(folder / NAME):
        folder.mkdir(parents=True, exist_ok=True)
        page.write(folder / NAME)
    return folder / NAME


def _found(one: dict[str, Any], limits: Mapping[str, float]) -> tuple[int, list[int]]:
    """How many labels count, and these and those that nearly do, each with its probability in millionths."""
    listed = {label['label']: label['probability'] for label in one['labels']}
    all_of_it = one.get('probabilities', listed)
    counting = [name for name, p in listed.items() if 'probabilities' in one or p >= limits[name]]
    rest = sorted(all_of_it.keys() - counting, key=lambda name: -all_of_it[name])
    near = [name for name in rest[:NEAR] if all_of_it[name] >= limits[name] / 2]
    shown = counting + (near or ([] if counting else rest[:1]))
    places = {name: i for i, name in enumerate(limits)}
    labels = [value for name in shown for value in (places[name], round(10**6 * all_of_it[name]))]
    return len(counting), labels


def _address(file: str, folder: Path) -> str:
    """A photograph's address as its drawing's folder sees it, of any bytes."""
    try:
        return quote(os.fsencode(os.path.relpath(file, folder).replace(os.sep, '/')))
    except ValueError:  # On another drive of Windows.
        return Path(file).absolute().as_uri()

"""What the demo page shows of a picture, as HTML that holds everything: nothing is written, nothing is fetched."""

from __future__ import annotations

import base64
import io
import time
from html import escape
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

from experiments.common.text import one_line
from experiments.draw_graph import draw_graph
from experiments.drawing.boxes import COLOURS, heat, mark, num_positive, peaks
from experiments.viewer import Seen, Viewer
from mlsgm_pyg.datasets import ImageError, geometry
from mlsgm_pyg.tagger import Prediction

LISTED = 12  # Labels whose probabilities are listed.
MAP_SIDE = 400  # The longer side of a picture with one activation map, in pixels.


class Shown(NamedTuple):
    """What a step of the page changes; :obj:`None` stays as it is."""

    seen: Seen | None
    status: str
    labels: str | None = None
    figures: str | None = None


def drop(viewer: Viewer, path: str | Path | None, before: Seen | None, gamma: float | None, threshold: float) -> Shown:
    """A new picture; one that cannot be shown leaves the one before, and says why.

    Args:
        viewer (Viewer): The model.
        path (str or Path, optional): The file; none where it was removed before anyone looked at it.
        before (Seen, optional): The picture before.
        gamma (float, optional), threshold (float): See :func:`show`.
    """
    if path is None:
        return Shown(before, _status('the picture is gone: drop it again', is_error=True))
    name = Path(path).name
    try:
        return show(viewer, viewer.look(path), gamma, threshold)
    except ImageError as error:
        told = error.reason
    except (MemoryError, torch.OutOfMemoryError):
        told = 'there is not enough memory for this picture'
    kept = f'; {before.name} is still shown' if before else ''
    return Shown(before, _status(f'cannot show {name}: {told}{kept}', is_error=True))


def show(viewer: Viewer, seen: Seen | None, gamma: float | None, threshold: float) -> Shown:
    """A picture under other thresholds; the backbone's maps are there already.

    Args:
        viewer (Viewer): The model.
        seen (Seen, optional): The picture.
        gamma (float, optional): Selects the classes that become instances.
        threshold (float): Labels of at least this probability count as found.
    """
    if seen is None:
        return Shown(None, _status('Drop a picture first.'))
    started = time.perf_counter()
    try:
        found = viewer.find(seen, gamma)
    except ValueError as error:
        return Shown(seen, _status(str(error), is_error=True))
    head = time.perf_counter() - started
    number = num_positive(found, threshold)
    pictures = figures(viewer, seen, found, number)
    spent = f'backbone {1000 * seen.seconds:.0f} ms once, head {1000 * head:.0f} ms'
    number_of = len(found.instances)
    count = f', {number_of} instance{"s" * (number_of > 1)}' if number_of else ''
    told = f'{seen.name}: {seen.size[0]} x {seen.size[1]} pixels{count} ({spent})'
    return Shown(seen, _status(told), bars(found, number, threshold), pictures)


def bars(found: Prediction, number: int, threshold: float) -> str:
    """The most probable labels; those that are found in the colours of their boxes."""
    rows = []
    for i, (label, p) in enumerate(zip(found.labels[:LISTED], found.probabilities)):
        colour = COLOURS[i] if i < number else '#777777' if p >= threshold else '#bbbbbb'
        found_class = ' class="found"' if p >= threshold else ''
        style = f'--colour:{colour};--p:{100 * p:.2f}%'
        rows.append(f'<li{found_class} style="{style}"><span>{escape(label)}</span> <b>{100 * p:.1f} %</b><i></i></li>')
    more = len(found.labels) - LISTED
    rest = f'<p>and {more} less probable labels</p>' if more > 0 else ''
    return f'<ol class="labels" style="--t:{100 * threshold:.2f}%">{"".join(rows)}</ol>{rest}'


def figures(viewer: Viewer, seen: Seen, found: Prediction, number: int) -> str:
    """Boxes, maps and graph of the first labels."""
    names = ', '.join(found.labels[:number]) or 'no label'
    if not number:
        parts = [_figure('Picture', 'no label reaches the threshold', [(seen.image, 'The picture', '')])]
    elif found.instances:
        marked = mark(seen.image, found, number, is_upright=True)
        parts = [_figure('Boxes', 'of the instance that matches each label best', [(marked, f'Boxes of {names}', '')])]
    else:
        parts = [_figure('Picture', 'this model finds no boxes', [(seen.image, 'The picture', '')])]
    if number and viewer.has_maps:
        parts.append(_figure('Activation maps', 'where each label was seen', _maps(viewer, seen, found, number)))
    if found.match is not None:
        drawn = draw_graph(seen.image, found, number, is_upright=True)
        told = 'instances, their neighbours, and the strongest edges to labels'
        parts.append(_figure('Assignment graph', told, [(drawn, f'Assignment graph with {names}', '')], 'wide'))
    return f'<div class="figures">{"".join(parts)}</div>'


def _maps(viewer: Viewer, seen: Seen, found: Prediction, number: int) -> list[tuple[Image.Image, str, str]]:
    scale = MAP_SIDE / max(seen.image.size)
    small = seen.image.resize(tuple(max(round(scale * side), 1) for side in seen.image.size), reducing_gap=2.0)
    window = geometry.window(viewer.view.name, viewer.view.sizes[0])
    maps, out = peaks(found, number), []
    for i in range(number):
        told = f'{found.labels[i]} {100 * found.probabilities[i]:.0f} %'
        out.append((heat(small, maps[i : i + 1], window), f'Activation map of {found.labels[i]}', told))
    return out


def _figure(title: str, told: str, images: list[tuple[Image.Image, str, str]], kind: str = '') -> str:
    """Pictures with their alternative texts and captions under one title; a click enlarges one."""
    parts = []
    for image, alt, caption in images:
        line = f'<span>{escape(caption)}</span>' if caption else ''
        picture = f'<img src="{_data(image)}" alt="{escape(alt)}">'
        parts.append(f'<label><input type="checkbox" aria-label="enlarge: {escape(alt)}">{picture}{line}</label>')
    several = ' several' if len(images) > 1 else ''
    head = f'<figcaption><b>{title}</b> {told}</figcaption>'
    return f'<figure class="{kind}{several}">{head}<div>{"".join(parts)}</div></figure>'


def _data(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, 'JPEG', quality=88, subsampling=0)
    return 'data:image/jpeg;base64,' + base64.b64encode(file.getvalue()).decode()


def _status(text: str, is_error: bool = False) -> str:
    kind = ' class="error"' if is_error else ''
    return f'<p role="status"{kind}>{escape(one_line(text))}</p>'

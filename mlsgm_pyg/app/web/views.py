"""What the demo page shows of a picture, as HTML that holds everything: nothing is written, nothing is fetched."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

from mlsgm_pyg.app.common.markup import Markup, join, tag
from mlsgm_pyg.app.common.text import one_line
from mlsgm_pyg.app.drawing.boxes import COLOURS, data_uri, heat, listed, mark, num_drawn, peaks
from mlsgm_pyg.app.drawing.graph import draw_graph
from mlsgm_pyg.app.web.viewer import Seen, Viewer
from mlsgm_pyg.datasets import ImageError, geometry
from mlsgm_pyg.tagger import Choice, Prediction

LISTED = 12  # Labels whose probabilities are listed.
MAP_SIDE = 400  # The longer side of a picture with one activation map, in pixels.


class Shown(NamedTuple):
    """What a step of the page changes; :obj:`None` stays as it is."""

    seen: Seen | None
    status: str
    labels: str | None = None
    figures: str | None = None


def drop(viewer: Viewer, path: str | Path | None, before: Seen | None, gamma: float | None, threshold: float) -> Shown:
    """A new picture; one that cannot be shown, or was removed before anyone looked at it, leaves the one before, and
    says why."""
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
    """A picture under other thresholds; the backbone's maps are there already. Gamma selects the classes that become
    instances; labels of at least the threshold's probability count as found, at 0 of a model that has thresholds of its
    own those that these keep."""
    if seen is None:
        return Shown(None, _status('Drop a picture first.'))
    started = time.perf_counter()
    try:
        kept_from = threshold or (None if viewer.is_fitted else 0.0)
        found = viewer.find(seen, gamma, kept_from)
    except ValueError as error:
        return Shown(seen, _status(str(error), is_error=True))
    head = time.perf_counter() - started
    number = num_drawn(found)
    pictures = figures(viewer, seen, found, number)
    spent = f'backbone {1000 * seen.seconds:.0f} ms once, head {1000 * head:.0f} ms'
    number_of = len(found.instances)
    count = f', {number_of} instance{"s" * (number_of > 1)}' if number_of else ''
    width, height = seen.size if seen.orientation < 5 else seen.size[::-1]  # As it is shown.
    told = f'{seen.name}: {width} x {height} pixels{count} ({spent})'
    least = Choice(threshold=kept_from).least(viewer.engine.decisions, [*found.every])
    return Shown(seen, _status(told), bars(found, dict(zip(found.every, least))), pictures)


def bars(found: Prediction, least: dict[str, float]) -> Markup:
    """The most probable labels, each with its threshold; those that are found in the colours of their boxes."""
    number, rows = num_drawn(found), []
    for i, (label, p) in enumerate(listed(found, LISTED)):
        is_found = i < len(found.labels)
        colour = COLOURS[i] if i < number else '#777777' if is_found else '#bbbbbb'
        percent = tag('b', f'{100 * p:.1f} %')
        style = f'--colour:{colour};--p:{100 * p:.2f}%;--t:{100 * least[label]:.2f}%'
        told = join([tag('span', label), ' ', percent, tag('i')])
        rows.append(tag('li', told, class_='found' if is_found else None, style=style))
    more = len(found.every) - LISTED
    rest = tag('p', f'and {more} less probable labels') if more > 0 else None
    return join([tag('ol', *rows, class_='labels'), rest])


def figures(viewer: Viewer, seen: Seen, found: Prediction, number: int) -> Markup:
    """Boxes, maps and graph of the first labels."""
    names = ', '.join(found.labels[:number]) or 'no label'
    shown, alt = seen.image, 'The picture'
    if not number:
        head = 'Picture', 'no label reaches the threshold'
    elif found.instances:
        shown, alt = mark(seen.image, found, number, is_upright=True), f'Boxes of {names}'
        head = 'Boxes', 'of the instance that matches each label best'
    else:
        head = 'Picture', 'this model finds no boxes'
    parts = [_figure(*head, [_picture(shown, alt)])]
    if number and viewer.has_maps:
        parts.append(_figure('Activation maps', 'where each label was seen', _maps(viewer, seen, found, number)))
    if found.match is not None:
        drawn = draw_graph(found, seen.image, range(number), is_upright=True)
        told = 'instances, their neighbours, and the strongest edges to labels'
        larger = _enlarging(drawn, f'Assignment graph with {names}')
        parts.append(_figure('Assignment graph', told, [larger], 'wide'))
    return tag('div', *parts, class_='figures')


def _maps(viewer: Viewer, seen: Seen, found: Prediction, number: int) -> list[Markup]:
    scale = MAP_SIDE / max(seen.image.size)
    small = seen.image.resize(tuple(max(round(scale * side), 1) for side in seen.image.size), reducing_gap=2.0)
    window = geometry.window(viewer.view.name, viewer.view.sizes[0])
    maps, out = peaks(found, number), []
    for i, (name, p) in enumerate(zip(found.labels[:number], found.probabilities)):
        seen_at = heat(small, maps[i : i + 1], window, i)
        out.append(_picture(seen_at, f'Activation map of {name}', tag('span', f'{name} {100 * p:.0f} %')))
    return out


def _picture(image: Image.Image, alt: str, caption: Markup | None = None) -> Markup:
    return _enlarging(tag('img', src=data_uri(image), alt=alt), alt, caption)


def _enlarging(picture: Markup, alt: str, caption: Markup | None = None) -> Markup:
    """A picture that a click enlarges."""
    return tag('label', tag('input', type='checkbox', aria_label=f'enlarge: {alt}'), picture, caption)


def _figure(title: str, told: str, pictures: list[Markup], kind: str | None = None) -> Markup:
    """Pictures under one title."""
    head = tag('figcaption', tag('b', title), ' ', told)
    return tag('figure', head, tag('div', *pictures), class_='several' if len(pictures) > 1 else kind)


def _status(text: str, is_error: bool = False) -> Markup:
    return tag('p', one_line(text), role='status', class_='error' if is_error else None)

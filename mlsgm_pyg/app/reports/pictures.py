"""The pictures of a report, each with its labels and what was predicted: mistakes, and a gallery with filters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from PIL import Image

from mlsgm_pyg.app.common.markup import Markup
from mlsgm_pyg.app.common.text import counted, some
from mlsgm_pyg.app.data.parts import Part
from mlsgm_pyg.app.drawing.boxes import jpeg
from mlsgm_pyg.app.reports.page import Facet, Item, Page, template
from mlsgm_pyg.app.results import analysis
from mlsgm_pyg.app.results.analysis import Mistake
from mlsgm_pyg.app.results.run import Run
from mlsgm_pyg.datasets import ImageError

SIDE, BYTES = 288, 11_000  # Of a small picture: its longer side in pixels, and what it may take.
KINDS = (('wrong', 'something predicted that is not there'), ('missed', 'something missed'), ('right', 'all right'))
ORDERS = (('loss', 'hardest first'), ('wrong', 'most confidently wrong'), ('missed', 'most confidently missed'))
ORDERS += (('easy', 'easiest first'), ('row', 'as in the data'))
MISTAKES = 12  # Of each kind.


@dataclass
class Pictures:
    """The images of a run, where they are still there, read when they are asked for; small ones go to the page, those
    that cannot be read are listed."""

    run: Run
    part: Part | None
    page: Page
    broken: list[str] = field(default_factory=list)
    small: dict[int, tuple[bytes, tuple[int, int]] | None] = field(default_factory=dict)

    def name(self, row: int) -> str:
        index = int(self.run.scores['index'][row])
        return f'image {index}' if self.part is None else self.part.files[index]

    def read(self, row: int) -> Image.Image | None:
        """An image of the run, upright and RGB."""
        if self.part is None:
            return None
        try:
            return self.part.source.image(self.part.rows[int(self.run.scores['index'][row])])
        except ImageError as error:
            self.broken.append(f'{self.name(row)}: {error.reason}')
            return None

    def image(self, row: int) -> Markup:
        """The small picture of an image, or its place."""
        if row not in self.small:
            picture = self.read(row)
            self.small[row] = None if picture is None else jpeg(picture, SIDE, BYTES)
        if self.small[row] is None:
            return template('pictures').no_picture()
        content, size = self.small[row]
        return self.page.image(content, self.name(row), *size)


class Kind(NamedTuple):
    """How a label that is there or predicted is shown, and what that means."""

    style: str
    sign: str
    told: str


FOUND, LOST = Kind('found', '✓', 'there, and found'), Kind('lost', '○', 'there, but missed')
FALSE, UNKNOWN = Kind('false', '✕', 'predicted, not there'), Kind('unknown', '?', 'predicted, not known')
KEY = FOUND, LOST, FALSE, UNKNOWN


class Chip(NamedTuple):
    """A label of an image with its probability."""

    name: str
    kind: Kind
    percent: str


class Card(NamedTuple):
    """An image with its labels."""

    image: Markup
    told: str | None
    labels: list[Chip]
    name: str


class Group(NamedTuple):
    """Images that are mistaken alike."""

    head: str
    told: str | None
    cards: list[Item]


def kind(counts: bool, y: int) -> Kind:
    """That of a label that is there or predicted, which it is where it counts."""
    if y == 1:
        return FOUND if counts else LOST
    return FALSE if y == 0 else UNKNOWN


def chips(names: Sequence[str], p: np.ndarray, y: np.ndarray, limits: np.ndarray) -> list[Chip]:
    """An image's labels with their probabilities: those that are there, found or missed, then others predicted."""
    counts = p >= limits
    there = [i for i in np.argsort(-p, kind='stable').tolist() if y[i] == 1 or counts[i]]
    there.sort(key=lambda i: y[i] != 1)
    return [Chip(names[i], kind(counts[i], y[i]), f'{100 * p[i]:.0f} %') for i in there]


def mistakes(pictures: Pictures) -> Markup:
    """The hardest images, and those in which a label is most confidently wrong or missed."""
    run = pictures.run
    loss = analysis.losses(run.logits, run.y)
    hard = np.argsort(-np.nan_to_num(loss, nan=-1), kind='stable')[:MISTAKES].tolist()
    told = 'The highest mean cross-entropy over the labels of an image.'
    groups = [Group('Hardest', told, _cards(pictures, [(row, f'loss {loss[row]:.3f}') for row in hard]))]
    for head, told, found in (
        ('Most confidently wrong', 'predicted, yet not in the labels', analysis.wrong(run.p, run.y, MISTAKES)),
        ('Most confidently missed', 'in the labels, yet given', analysis.missed(run.p, run.y, MISTAKES)),
    ):
        groups.append(Group(head, None, _cards(pictures, [(one.image, _told(one, run, told)) for one in found])))
    return template('pictures').mistakes(KEY, groups)


def images(pictures: Pictures, rows: Sequence[int]) -> Markup:
    """Many images, with a filter by label and kind, in several orders."""
    run = pictures.run
    loss = np.nan_to_num(analysis.losses(run.logits, run.y))
    wrong, missed = np.where(run.y == 0, run.p, 0), np.where(run.y == 1, 1 - run.p, 0)
    items = []
    for row in rows:
        present, predicted = run.y[row] == 1, run.p[row] >= run.limits
        kinds = [name for name, there in zip(('wrong', 'missed'), _faults(run, row)) if there] or ['right']
        tokens = {'kind': kinds, 'label': [f'l{i}' for i in np.flatnonzero(present | predicted)]}
        ranks = {'loss': -loss[row], 'easy': loss[row], 'row': row}
        ranks |= {'wrong': -wrong[row].max(initial=0), 'missed': -missed[row].max(initial=0)}
        items.append(Item(_card(pictures, row, None), '', tokens, ranks))
    facets = [Facet('kind', 'Kind', KINDS), label_facet(run)]
    total = len(run.y)
    told = f'All {total:,} images.' if total > 1 else 'The one image.'
    if len(rows) < total:
        told = f'{len(rows):,} of {counted(total, "image")}: half of them the hardest, the others drawn by chance.'
    return template('pictures').images(told, KEY, items, facets, ORDERS)


def label_facet(run: Run) -> Facet:
    """A choice of images by one of their labels."""
    names = sorted(enumerate(run.class_names), key=lambda pair: pair[1].lower())
    return Facet('label', 'Label', [(f'l{i}', name) for i, name in names])


def broken(pictures: Pictures) -> list[str]:
    """Names the files that could not be read, if there are some."""
    told = list(dict.fromkeys(pictures.broken))
    if not told:
        return []
    return [f'{counted(len(told), "image")} cannot be read any more: {some(told, 10, "; ")}.']


def _faults(run: Run, row: int) -> tuple[bool, bool]:
    counts, y = run.p[row] >= run.limits, run.y[row]
    return bool((counts & (y == 0)).any()), bool((~counts & (y == 1)).any())


def _told(one: Mistake, run: Run, told: str) -> str:
    name, percent = run.class_names[one.label], f'{100 * one.p:.1f} %'
    return f'{name}: {told} {percent}' if told.endswith('given') else f'{name} {percent}: {told}'


def _cards(pictures: Pictures, rows: Iterable[tuple[int, str]]) -> list[Item]:
    return [Item(_card(pictures, row, told)) for row, told in rows]


def _card(pictures: Pictures, row: int, told: str | None) -> Card:
    run = pictures.run
    return Card(
        pictures.image(row), told, chips(run.class_names, run.p[row], run.y[row], run.limits), pictures.name(row)
    )

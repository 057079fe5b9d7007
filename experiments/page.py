"""One self-contained HTML page: tabs, tables that sort and filter, galleries, pictures that are decoded when they are
seen. It opens from disk and asks no network for anything (its own policy forbids that to the browser, too).

    page = Page('Title', 'what it is about')
    page.tab('Classes', tag('h2', 'Average precision'), table([Column('class'), Column('AP', 1)], [['cat', 71.3]]))
    page.tab('Pictures', gallery([Item(tag('figure', page.image(jpeg, 'a cat', 320, 240)), words='cat')]))
    page.write(Path('report.html'))

Whatever is not :class:`Markup` is escaped where it enters, so names from data may hold anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import escape

from experiments.common.files import replacing
from experiments.common.markup import Markup, join, number, tag

ASSETS = Path(__file__).with_name('assets')
UNFILTERED = 8  # Tables of at most so many rows have no field to filter them.


class Column(NamedTuple):
    """A column of a :func:`table`."""

    name: str
    digits: int | None = None  # Of numbers after the point; None: as they come.
    about: str = ''  # Shown when the pointer rests on the heading.


class Cell(NamedTuple):
    """A cell that sorts by another value than the one it shows."""

    shown: Any
    value: float | str | None


@dataclass(frozen=True)
class Item:
    """An entry of a :func:`gallery`."""

    content: Markup
    words: str = ''  # What the filter looks into, beside the text of the content.
    tokens: Mapping[str, Iterable[str]] = field(default_factory=dict)  # Facet -> the choices that show this item.
    ranks: Mapping[str, float] = field(default_factory=dict)  # Order -> where the item stands, the smallest first.


class Facet(NamedTuple):
    """A list of choices above a :func:`gallery`; :obj:`key` and the tokens of the choices are plain words."""

    key: str
    name: str
    choices: Sequence[tuple[str, str]]  # (token, text); 'all' comes by itself.


def table(
    columns: Sequence[Column | str], rows: Iterable[Sequence[Any]], caption: str = '', filter: bool | None = None
) -> Markup:
    """A table whose headings sort it and which, from some rows on, can be filtered.

    Args:
        columns (sequence of Column or str): The headings.
        rows (iterable of sequence): Cells: text, numbers, :obj:`None`, :class:`Markup` or :class:`Cell`.
        caption (str): What the table shows.
        filter (bool, optional): Whether there is a field to filter it. (default: where it has more than eight rows)
    """
    columns = [column if isinstance(column, Column) else Column(column) for column in columns]
    body = [tag('tr', *(_cell(value, column) for value, column in zip(row, columns, strict=True))) for row in rows]
    heads = [
        tag('th', tag('button', column.name, type='button'), scope='col', title=column.about or None)
        for column in columns
    ]
    inside = tag('table', caption and tag('caption', caption), tag('thead', tag('tr', *heads)), tag('tbody', *body))
    with_filter = len(body) > UNFILTERED if filter is None else filter
    controls = tag('div', _search(), class_='controls') if with_filter else None
    return tag('div', controls, tag('div', inside, class_='wide', tabindex=0), class_='filtered', data_items='tbody tr')


def gallery(
    items: Iterable[Item], facets: Sequence[Facet] = (), orders: Sequence[tuple[str, str]] = (), filter: bool = True
) -> Markup:
    """A grid of items that can be filtered by words and by facets, and ordered.

    Args:
        items (iterable of Item): What is shown, in its first order.
        facets (sequence of Facet): Choices, see :obj:`Item.tokens`.
        orders (sequence of tuple): (key, text) of the orders, see :obj:`Item.ranks`.
        filter (bool): Whether there is a field for words. (default: :obj:`True`)
    """
    controls = [_search() if filter else None]
    for facet in facets:
        choices = [('', 'all'), *facet.choices]
        controls.append(_select(facet.name, choices, data_facet=facet.key))
    if orders:
        controls.append(_select('Order', orders, data_order=True))
    body = []
    for item in items:
        about = {f'data_in_{key}': ' '.join(tokens) for key, tokens in item.tokens.items()}
        about |= {f'data_by_{key}': f'{rank:g}' for key, rank in item.ranks.items()}
        body.append(tag('div', item.content, class_='item', data_words=item.words or None, **about))
    shown = [tag('div', *controls, class_='controls')] if any(controls) else []
    return tag('div', *shown, tag('div', *body, class_='gallery'), class_='filtered', data_items='.item')


def facts(pairs: Iterable[tuple[str, Any]]) -> Markup:
    """Names and what they are, below each other; what is None or empty is left out."""
    given = [(name, value) for name, value in pairs if value not in (None, '')]
    return tag('dl', *(join([tag('dt', name), tag('dd', value)]) for name, value in given))


def command(words: str) -> Markup:
    """A command to copy."""
    return tag(
        'div', tag('pre', tag('code', words), tabindex=0), tag('button', 'Copy', type='button'), class_='command'
    )


def note(*content: Any) -> Markup:
    """A remark that stands out: what is missing, what to do about it."""
    return tag('p', *content, class_='note')


class Page:
    """Collects the tabs of a page, then writes it.

    Args:
        title (str): Its heading.
        about (str or Markup): A line below. (default: :obj:`''`)
        scripts, styles (sequence of Path): More of either, after the page's own, inlined.
    """

    def __init__(self, title: str, about: str | Markup = '', scripts: Sequence[Path] = (), styles: Sequence[Path] = ()):
        self.title, self.about = title, about
        self.scripts, self.styles = [ASSETS / 'page.js', *scripts], [ASSETS / 'page.css', *styles]
        self.tabs: list[tuple[str, Markup]] = []
        self.pictures: dict[str, bytes] = {}
        self.data: dict[str, Any] = {}  # Read in a script by `page.data('name')`.

    def tab(self, name: str, *content: Any) -> None:
        """Adds a tab."""
        self.tabs.append((name, join(content)))

    def image(self, jpeg: bytes, alt: str, width: int, height: int) -> Markup:
        """A picture of so many pixels, decoded only when it comes near the window; equal ones are kept once."""
        key = hashlib.sha256(jpeg).hexdigest()[:16]
        self.pictures.setdefault(key, jpeg)
        return tag('img', alt=alt, width=width, height=height, data_picture=key, decoding='async')

    def render(self) -> str:
        """The whole page."""
        template = (ASSETS / 'page.html').read_text()
        script = '\n'.join(path.read_text() for path in self.scripts)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        values = {
            'policy': f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
            'title': escape(self.title),
            'about': escape(self.about),
            'style': '\n'.join(path.read_text() for path in self.styles),
            'script': script,
            'tabs': self._buttons(),
            'panels': self._panels(),
            'data': join(self._data()),
            'pictures': join(self._pictures()),  # Last: the page is ready before all of them are read.
        }
        return re.sub(r'\{\{(\w+)\}\}', lambda found: values[found[1]], template)

    def write(self, path: Path) -> None:
        """Writes the page whole or not at all."""
        with replacing(path) as spare:
            spare.write_text(self.render(), encoding='utf-8', errors='replace')  # File names may be no text.

    def _ids(self) -> list[tuple[str, str, Markup]]:
        return [(f'tab-{i}-{_word(name)}', name, content) for i, (name, content) in enumerate(self.tabs)]

    def _buttons(self) -> Markup:
        return join(
            tag('button', name, type='button', role='tab', id=f'{key}-button', aria_controls=key, class_='tab')
            for key, name, _ in self._ids()
        )

    def _panels(self) -> Markup:
        return join(
            tag(
                'section',
                tag('h2', name, class_='panel-title'),
                content,
                role='tabpanel',
                id=key,
                aria_labelledby=f'{key}-button',
                tabindex=0,
            )
            for key, name, content in self._ids()
        )

    def _data(self) -> Iterable[Markup]:
        """What scripts read: the text of a script element of another type is neither parsed nor run."""
        for name, value in self.data.items():
            content = json.dumps(value, separators=(',', ':'), allow_nan=False).replace('<', '\\u003c')
            yield tag('script', Markup(content), type='application/json', id=f'data-{name}')

    def _pictures(self) -> Iterable[Markup]:
        for key, jpeg in self.pictures.items():
            content = Markup(base64.b64encode(jpeg).decode())
            yield tag('script', content, type='text/plain', id=f'picture-{key}')


def _word(name: str) -> str:
    return re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')


def _cell(value: Any, column: Column) -> Markup:
    shown, key = value if isinstance(value, Cell) else (value, value)
    is_number = isinstance(key, int | float) and not isinstance(key, bool)
    if isinstance(shown, int | float) and not isinstance(shown, bool):
        shown = number(shown, column.digits)
    shown = '–' if shown is None else shown
    value = (f'{key:.10g}' if math.isfinite(key) else '') if is_number else None
    value = '' if key is None else value
    return tag('td', shown, class_='number' if is_number or key is None else None, data_v=value)


def _search() -> Markup:
    return tag('label', 'Filter ', tag('input', type='search', placeholder='words'), class_='search')


def _select(name: str, choices: Sequence[tuple[str, str]], **attributes: Any) -> Markup:
    options = [tag('option', shown, value=value) for value, shown in choices]
    return tag('label', f'{name} ', tag('select', *options, **attributes))

"""One self-contained HTML page: tabs, tables that sort and filter, galleries, pictures that are decoded when they are
seen. It opens from disk and asks no network for anything (its own policy forbids that to the browser, too).

    page = Page('Title', 'what it is about')
    page.tab('Classes', template('parts').table(Table([Column('class'), Column('AP', 1)], [['cat', 71.3]])))
    page.tab('Pictures', template('parts').gallery([Item(page.image(jpeg, 'a cat', 320, 240), words='cat')]))
    page.write(Path('report.html'))

Whatever is not :class:`markupsafe.Markup` is escaped where it enters, so names from data may hold anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from mlsgm_pyg.app.common.files import replacing
from mlsgm_pyg.app.common.markup import Markup, join, number, tag
from mlsgm_pyg.app.common.text import clear
from mlsgm_pyg.app.results.schema import ABOUT, NAMES

HERE = Path(__file__).parent
ASSETS = HERE / 'assets'
UNFILTERED = 8  # Tables of at most so many rows have no field to filter them.
ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / 'templates'),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
    finalize=lambda value: '' if value is None else value,
)


@cache
def template(name: str) -> Any:
    """The macros of a template: each is a function that gives markup."""
    return ENVIRONMENT.get_template(f'{name}.html.j2').module


class Column(NamedTuple):
    """A column of a :class:`Table`."""

    name: str
    digits: int | None = None  # Of numbers after the point; None: as they come.
    about: str = ''  # Shown when the pointer rests on the heading.


class Cell(NamedTuple):
    """A cell that sorts by another value than the one it shows."""

    shown: Any
    value: float | str | None

    @property
    def attributes(self) -> dict[str, str | None]:
        """Those of its element: how it sorts, and whether as a number."""
        value = self.value
        is_number = _is_number(value)
        key = (f'{value:.10g}' if math.isfinite(value) else '') if is_number else '' if value is None else None
        return {'class': 'number' if is_number or value is None else None, 'data-v': key}


@dataclass(frozen=True)
class Table:
    """A table whose headings sort it. It can be filtered where that is wished, by default from nine rows on. Cells are
    text, numbers, :obj:`None`, markup or :class:`Cell`."""

    columns: Sequence[Column | str]
    rows: Sequence[Sequence[Any]]
    caption: str = ''
    filter: bool | None = None

    @property
    def has_filter(self) -> bool:
        return len(self.rows) > UNFILTERED if self.filter is None else self.filter

    @property
    def heads(self) -> list[Column]:
        return [column if isinstance(column, Column) else Column(column) for column in self.columns]

    @property
    def body(self) -> Iterator[list[Cell]]:
        """The rows, every cell with what is shown of it."""
        for row in self.rows:
            yield [_cell(value, column) for value, column in zip(row, self.heads, strict=True)]


@dataclass(frozen=True)
class Item:
    """An entry of a gallery."""

    content: Any  # What the template shows.
    words: str = ''  # What the filter looks into, beside the text of the content.
    tokens: Mapping[str, Iterable[str]] = field(default_factory=dict)  # Facet -> the choices that show this item.
    ranks: Mapping[str, float] = field(default_factory=dict)  # Order -> where the item stands, the smallest first.

    @property
    def attributes(self) -> dict[str, str | None]:
        """Those of its element, which filters and orders read."""
        about = {f'data-in-{key}': ' '.join(tokens) for key, tokens in self.tokens.items()}
        about |= {f'data-by-{key}': f'{rank:g}' for key, rank in self.ranks.items()}
        return {'data-words': self.words or None} | about


class Facet(NamedTuple):
    """A list of choices above a gallery; :obj:`key` and the tokens of the choices are plain words."""

    key: str
    name: str
    choices: Sequence[tuple[str, str]]  # (token, text); 'all' comes by itself.


def signed(value: float | None, digits: int = 2, found: Mapping[str, float] | None = None) -> Markup | str:
    """A difference, coloured where its interval excludes 0."""
    return '–' if value is None else tag('span', number(value, digits, signed=True), class_=clear(found))


def metric(key: str) -> Markup:
    """A metric's short name, which says what it is when pointed at."""
    return tag('abbr', NAMES[key], title=ABOUT[key])


class Page:
    """Collects the tabs of a page, then writes it; more scripts and styles stand after its own, inlined. Pictures are
    in it, but for those of sources that are named in the words of its policy."""

    def __init__(
        self,
        title: str,
        about: str | Markup = '',
        scripts: Sequence[Path] = (),
        styles: Sequence[Path] = (),
        images: str = '',
    ):
        self.title, self.about, self.images = title, about, f'data: {images}'.rstrip()
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
        script = '\n'.join(path.read_text() for path in self.scripts)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = f"default-src 'none'; img-src {self.images}; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        return ENVIRONMENT.get_template('page.html.j2').render(
            policy=Markup(policy),
            title=self.title,
            about=self.about,
            style=Markup('\n'.join(path.read_text() for path in self.styles)),
            script=Markup(script),
            tabs=[(f'tab-{i}-{_word(name)}', name, content) for i, (name, content) in enumerate(self.tabs)],
            data=[(name, _json(value)) for name, value in self.data.items()],
            pictures=((key, base64.b64encode(jpeg).decode()) for key, jpeg in self.pictures.items()),
        )

    def write(self, path: Path) -> None:
        """Writes the page whole or not at all."""
        with replacing(path) as spare:
            spare.write_text(self.render(), encoding='utf-8', errors='replace')  # File names may be no text.


def _word(name: str) -> str:
    return re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')


def _json(value: Any) -> Markup:
    """What cannot end the script element that it stands in."""
    return Markup(json.dumps(value, separators=(',', ':'), allow_nan=False).replace('<', '\\u003c'))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any, column: Column) -> Cell:
    shown, key = value if isinstance(value, Cell) else (value, value)
    shown = '–' if shown is None else number(shown, column.digits) if _is_number(shown) else shown
    return Cell(shown, key)

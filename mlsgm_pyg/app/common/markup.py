"""HTML and SVG from Python: elements whose text is escaped where it enters, and numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup, escape

VOID = ('br', 'hr', 'img', 'input')


def join(parts: Iterable[Any], between: str = '') -> Markup:
    """Puts pieces after each other; :obj:`None` is nothing."""
    return Markup(between).join(part for part in parts if part is not None)


def tag(name: str, *content: Any, **attributes: Any) -> Markup:
    """An element, ``tag('td', 'a < b', class_='low', data_v=1)``; None and False leave an attribute out."""
    written = ''
    for key, value in attributes.items():
        if value is not None and value is not False:
            key = key.rstrip('_').replace('_', '-')
            written += f' {key}' if value is True else f' {key}="{escape(str(value))}"'
    if name in VOID:
        return Markup(f'<{name}{written}>')
    return Markup(f'<{name}{written}>{join(content)}</{name}>')


def number(value: float | None, digits: int | None = None, signed: bool = False) -> str:
    """A number as it is shown; what is not there is a dash."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return '–'
    told = f'{value:{"+" if signed else ""},.{digits}f}' if digits is not None else f'{value:,}'
    return signs(told)


def signs(told: str) -> str:
    """Numbers with signs for minus instead of hyphens."""
    return told.replace('-', '−')

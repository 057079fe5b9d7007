"""A chart of differences with their intervals, a line each, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from experiments.common.markup import Markup, join, number, signs, tag
from experiments.common.text import cut, interval

WIDTH, LEFT, RIGHT, LINE, TOP = 900, 300, 200, 24, 26
LETTERS = 40  # Of a name; the whole of it is shown when the pointer rests on it.


def forest(found: Sequence[tuple[str, dict[str, float] | None]], about: str) -> Markup:
    """Differences below each other around a line at 0; what is clear of 0 has a colour.

    Args:
        found (sequence of tuple): (name, difference with `low` and `high`, or None where there is none).
        about (str): What the chart shows, for those who cannot see it.
    """
    ends = [one[key] for _, one in found if one for key in ('difference', 'low', 'high')]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    step = _step(high - low)
    low, high = step * math.floor(low / step), step * math.ceil(high / step)
    high = high if high > low else low + step

    def x(value: float) -> float:
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    bottom = TOP + LINE * len(found)
    ticks = [low + step * i for i in range(round((high - low) / step) + 1)]
    parts = [_tick(x(value), value, step, bottom) for value in ticks]
    parts += [_line(name, one, TOP + LINE * (i + 0.5), x) for i, (name, one) in enumerate(found)]
    return tag('svg', *parts, viewBox=f'0 0 {WIDTH} {bottom + 6}', width=WIDTH, role='img', aria_label=about)


def _tick(x: float, value: float, step: float, bottom: float) -> Markup:
    is_zero = abs(value) < step / 2
    style = f'stroke:var({"--text" if is_zero else "--line"})'
    digits = max(0, -math.floor(math.log10(step)))
    told = number(0.0 if is_zero else value, digits, signed=not is_zero)
    return join([
        tag('line', x1=x, x2=x, y1=TOP - 4, y2=bottom, style=style),
        _text(x, TOP - 10, told, 'middle', '--soft'),
    ])  # fmt: skip


def _line(name: str, one: dict[str, float] | None, y: float, x: Any) -> Markup:
    label = tag('g', tag('title', name), _text(LEFT - 10, y + 4, cut(name, LETTERS), 'end', '--text'))
    if one is None:
        return join([label, _text(WIDTH - RIGHT + 10, y + 4, '–', 'start', '--soft')])
    colour = '--good' if one['low'] > 0 else '--bad' if one['high'] < 0 else '--c'
    return join([
        label,
        tag('line', x1=x(one['low']), x2=x(one['high']), y1=y, y2=y, style=f'stroke:var({colour});stroke-width:2'),
        tag('circle', cx=x(one['difference']), cy=y, r=4.5, style=f'fill:var({colour})'),
        _text(WIDTH - RIGHT + 10, y + 4, signs(interval(one)), 'start', '--text'),
    ])  # fmt: skip


def _text(x: float, y: float, words: str, anchor: str, colour: str) -> Markup:
    return tag('text', words, x=x, y=y, text_anchor=anchor, style=f'fill:var({colour});font-size:13px')


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, some five to a span."""
    if span <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(span / 5))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= span / 5 * 0.999)

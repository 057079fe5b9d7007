"""Small charts as SVG that take the colours of the page they stand on (`page.css`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from mlsgm_pyg.app.common.markup import Markup, join, number, signs, tag
from mlsgm_pyg.app.common.text import clear, cut, interval

COLOURS = ('var(--a)', 'var(--b)', 'var(--c)', 'var(--good)', 'var(--bad)')
DASHES = (None, '6 3', '2 3', '8 3 2 3', '12 3')
ROOM = 44, 12, 26, 38  # For numbers and names around the plot: left, right, top, bottom.


class Line(NamedTuple):
    """One line of a chart."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]  # None breaks the line.


class Frame:
    """The plot's area, with room around it (left, right, top, bottom), and its axes: their ranges and names, and
    whether only whole numbers stand on the first one."""

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        names: tuple[str, str] = ('', ''),
        size: tuple[int, int] = (420, 260),
        room: tuple[int, int, int, int] = ROOM,
        whole_x: bool = False,
    ):
        self.x, self.y, self.names, self.size, self.room, self.whole_x = x, y, names, size, room, whole_x

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A point's place in pixels."""
        left, right, top, bottom = self.room
        width, height = self.size[0] - left - right, self.size[1] - top - bottom
        across, up = ((v - low) / (high - low) for v, (low, high) in ((x, self.x), (y, self.y)))
        return left + across * width, top + (1 - up) * height

    def axes(self) -> Markup:
        parts = []
        left, right, bottom, top = *(self.at(v, self.y[0])[0] for v in self.x), *(self.at(0, v)[1] for v in self.y)
        for value in ticks(*self.y):
            height = self.at(0, value)[1]
            parts.append(_stroke('M', [(left, height), (right, height)], stroke='var(--line)'))
            parts.append(_words(left - 6, height + 4, short(value), 'end'))
        for value in ticks(*self.x, whole=self.whole_x):
            place = self.at(value, 0)[0]
            parts.append(_stroke('M', [(place, bottom), (place, bottom + 4)], stroke='var(--c)'))
            parts.append(_words(place, bottom + 16, short(value), 'middle'))
        parts.append(_stroke('M', [(left, bottom), (right, bottom)], stroke='var(--c)'))
        parts.append(_words(right, bottom + 32, self.names[0], 'end'))
        parts.append(_words(2, top - 12, self.names[1], 'start'))
        return join(parts)

    def line(self, points: Iterable[tuple[float, float | None]], **style: Any) -> Markup:
        parts, run = [], []
        for x, y in [*points, (0, None)]:
            if y is not None and math.isfinite(y):
                run.append(self.at(x, y))
            elif run:
                parts.append(_stroke('M', run, **style))
                if len(run) == 1:  # A single epoch is a point.
                    parts.append(tag('circle', cx=f'{run[0][0]:.1f}', cy=f'{run[0][1]:.1f}', r=3, fill=style['stroke']))
                run = []
        return join(parts)

    def svg(self, title: str, *content: Any) -> Markup:
        return svg(self.size, title, self.axes(), *content)


def lines(
    title: str,
    series: Sequence[Line],
    names: tuple[str, str] = ('', ''),
    x: tuple[float, float] | None = None,
    y: tuple[float, float] | None = None,
    **how: Any,
) -> Markup:
    """Lines with a legend below; the ranges are the data's where they are not given."""
    values = [v for line in series for v in line.y if v is not None and math.isfinite(v)]
    places = [v for line in series for v in line.x]
    if not values:
        return tag('p', f'{title}: nothing to draw.', class_='soft')
    frame = Frame(x or padded(places, 0), y or padded(values), names, **how)
    drawn = [frame.line(zip(line.x, line.y), **style(i)) for i, line in enumerate(series)]
    names = [line.name for line in series]
    return tag('figure', frame.svg(title, *drawn), legend(names) if len(names) > 1 else None, class_='chart')


def reliability(title: str, confidence: Sequence[float], frequency: Sequence[float], count: Sequence[int]) -> Markup:
    """A reliability diagram: how often labels are there by the probability that they were given."""
    frame = Frame((0, 1), (0, 1), ('probability', 'part that is there'), (420, 340))
    width, bars, dots = 1 / len(count), [], []
    most = math.log1p(max(max(count), 1))
    for i, (c, f, n) in enumerate(zip(confidence, frequency, count)):
        if n:
            told = f'{n:,} labels: mean probability {c:.3f}, {100 * f:.1f} % there'
            (left, top), (right, bottom) = (
                frame.at(i * width, 0.25 * math.log1p(n) / most),
                frame.at((i + 1) * width, 0),
            )
            shape = {'x': f'{left + 1:.1f}', 'y': f'{top:.1f}', 'width': f'{right - left - 2:.1f}'}
            bars.append(tag('rect', tag('title', told), **shape, height=f'{bottom - top:.1f}', fill='var(--line)'))
            place = frame.at(c, f)
            dot = {'cx': f'{place[0]:.1f}', 'cy': f'{place[1]:.1f}', 'r': 4.5, 'fill': 'var(--a)'}
            dots.append(tag('circle', tag('title', told), **dot))
    ideal = frame.line([(0, 0), (1, 1)], stroke='var(--c)', stroke_dasharray='4 4')
    points = [(c, f) for c, f, n in zip(confidence, frequency, count) if n]
    return frame.svg(title, *bars, ideal, frame.line(points, stroke='var(--a)', stroke_width=2), *dots)


def heat(title: str, rate: Sequence[Sequence[float]], names: Sequence[str], told: Sequence[Sequence[str]]) -> Markup:
    """A square of rates in [0, 1], rows and columns by name; each cell says what it is when pointed at."""
    side, room = 22, 6.4 * min(max(map(len, names), default=0), 16) + 12
    parts = []
    for i, (row, about) in enumerate(zip(rate, told)):
        parts.append(_words(room - 6, room + (i + 0.7) * side, cut(names[i], 16), 'end'))
        x, y = room + (i + 0.65) * side, room - 6
        parts.append(_words(x, y, cut(names[i], 16), 'start', transform=f'rotate(-90 {x:.1f} {y:.1f})'))
        for j, (value, words) in enumerate(zip(row, about)):
            place = {
                'x': f'{room + j * side:.1f}',
                'y': f'{room + i * side:.1f}',
                'width': side - 1,
                'height': side - 1,
            }
            nothing = i == j or not math.isfinite(value)
            fill = 'var(--line)' if nothing else 'var(--a)'
            opacity = 0.35 if nothing else f'{0.04 + 0.96 * value:.2f}'
            parts.append(tag('rect', tag('title', words), **place, fill=fill, fill_opacity=opacity))
    total = math.ceil(room + side * len(names)) + 2
    return svg((total, total), title, *parts)


def forest(found: Sequence[tuple[str, dict[str, float] | None]], title: str) -> Markup:
    """Differences below each other around a line at 0, as HTML as wide as there is room, in the page's letters;
    what is clear of 0 has a colour, what is None a dash."""
    ends = [0.0] + [one[key] for _, one in found if one for key in ('difference', 'low', 'high')]
    low, high = padded(ends)

    def at(value: float) -> float:
        return 100 * (value - low) / (high - low)

    zero = tag('i', class_='zero', style=f'left:{at(0):.2f}%')
    axis = [tag('u', short(value, signed=value != 0), style=f'left:{at(value):.2f}%') for value in ticks(low, high)]
    lines = [tag('div', tag('span'), tag('span', *axis, class_='plot'), tag('span'))]
    for name, one in found:
        drawn, told = [zero], '–'
        if one is not None:
            kind, left, right = clear(one) or 'unclear', at(one['low']), at(one['high'])
            drawn.append(tag('i', class_=f'range {kind}', style=f'left:{left:.2f}%;width:{right - left:.2f}%'))
            drawn.append(tag('b', class_=kind, style=f'left:{at(one["difference"]):.2f}%'))
            told = signs(interval(one))
        parts = tag('span', name, class_='name'), tag('span', *drawn, class_='plot'), tag('span', told, class_='told')
        lines.append(tag('div', *parts))
    return tag('div', *lines, class_='forest', role='group', aria_label=title)


def legend(names: Sequence[str]) -> Markup:
    """Which line is whose."""
    parts = []
    for i, name in enumerate(names):
        sample = _stroke('M', [(0, 6), (24, 6)], **style(i))
        drawn = tag('svg', sample, width=24, height=12, viewBox='0 0 24 12', aria_hidden='true')
        parts.append(tag('span', drawn, name))
    return tag('figcaption', *parts, class_='legend')


def style(i: int) -> dict[str, Any]:
    """How the line of this number is drawn."""
    place = i % len(COLOURS)
    return {'stroke': COLOURS[place], 'stroke_width': 2, 'stroke_dasharray': DASHES[place]}


def svg(size: tuple[float, float], title: str, *content: Any, **attributes: Any) -> Markup:
    """A drawing of so many pixels that shrinks with its column."""
    width, height = size
    box = {'viewBox': f'0 0 {width:g} {height:g}', 'width': f'{width:g}', 'height': f'{height:g}'}
    return tag('svg', *content, role='img', aria_label=title, **box, **attributes)


def ticks(low: float, high: float, most: int = 6, whole: bool = False) -> list[float]:
    """Round numbers in a range, at most :obj:`most` + 1."""
    step = 10 ** math.floor(math.log10((high - low) / most))
    step *= next((factor for factor in (1, 2, 5) if (high - low) / (step * factor) <= most), 10)
    step = max(step, 1) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def padded(values: Sequence[float], part: float = 0.05) -> tuple[float, float]:
    """The range of some values with room at both ends; never empty."""
    low, high = min(values), max(values)
    room = part * (high - low) if high > low else max(abs(high) / 20, 0.5)
    return low - room, high + room


def short(value: float, signed: bool = False) -> str:
    """A number beside an axis."""
    sign = '+' if signed else ''
    return number(value, 0, signed) if value == round(value) else signs(f'{value:{sign}g}')


def _stroke(first: str, points: Sequence[tuple[float, float]], **style: Any) -> Markup:
    path = first + 'L'.join(f'{x:.1f} {y:.1f}' for x, y in points)
    return tag('path', d=path, fill='none', **style)


def _words(x: float, y: float, told: str, anchor: str, **attributes: Any) -> Markup:
    return tag('text', told, x=f'{x:.1f}', y=f'{y:.1f}', text_anchor=anchor, **attributes) if told else Markup()

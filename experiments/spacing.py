"""Where the nodes of a drawn graph lie: at their places in the picture, moved where they would hide each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

Point = tuple[float, float]


def apart(points: Sequence[Point], size: tuple[float, float], least: float) -> list[Point]:
    """Moves points that lie closer to an earlier one than :obj:`least` around it, inside of a picture of this size."""
    placed: list[Point] = []
    for point in points:
        placed.append(
            next(
                (at for at in _around(point, size, least) if all(math.dist(at, other) >= least for other in placed)),
                point,
            )
        )
    return placed


def _around(point: Point, size: tuple[float, float], step: float) -> Iterator[Point]:
    margin = step / 2
    for i in range(200):  # A spiral of the golden angle covers the plane evenly.
        radius, angle = step * math.sqrt(i) / 1.7, 2.39996 * i
        at = point[0] + radius * math.cos(angle), point[1] + radius * math.sin(angle)
        yield tuple(min(max(v, min(margin, side / 2)), max(side - margin, side / 2)) for v, side in zip(at, size))

"""What are the boxes worth? Of the labels that a run finds: how large their boxes are, and whether they hold them.

python -m experiments.boxes RUN [--limit N]     RUN: a run's folder; its test images, as many as it was evaluated on

A label is found where it is there and has a probability of at least 0.5; its box is the best instance's. Where the data
set knows the places of things (digits), a box holds its label if a digit's centre lies in it; the overlap is
intersection over union with the digit that it overlaps most.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlsgm_pyg import checkpoint
from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.data.parts import build_parts
from mlsgm_pyg.tagger import Prediction

STEP = 64
Box = tuple[float, float, float, float]


def found_boxes(config: Any, model: Any, limit: int = 0) -> Iterator[tuple[Box, list[Box]]]:
    """Every found label's box, as parts of the picture, and the true boxes of that label, if they are known."""
    _, part = build_parts(config.data, config.task)
    rows = part.rows[: limit or None]
    size, view = config.data.image_size, config.data.test_view
    for start in range(0, len(rows), STEP):
        some = rows[start : start + STEP]
        pictures = [part.source.image(row) for row in some]
        for row, found in zip(some, model.predict(pictures, threshold=0.5, image_size=size, view=view)):
            places = part.source.places(row) if hasattr(part.source, 'places') else []
            for label, box in boxes_of(found):
                number = model.class_names.index(label)
                if part.source.y[row, number] == 1:
                    yield box, [place for other, place in places if other == number]


def boxes_of(found: Prediction) -> Iterator[tuple[str, Box]]:
    width, height = found.size
    for label, (x, y, w, h) in zip(found.labels, found.boxes):
        yield label, (x / width, y / height, w / width, h / height)


def figures(found: list[tuple[Box, list[Box]]]) -> dict[str, float | int | None]:
    """The figures of some found labels, in percent: `found`, their number; `whole`, boxes of at least 99 % of the
    picture; `area`, the median box; `holds` and `overlap`, of those whose places are known."""
    areas = [w * h for (_, _, w, h), _ in found]
    known = [(box, places) for box, places in found if places]
    holds = [any(holds_centre(box, place) for place in places) for box, places in known]
    overlaps = [max(overlap(box, place) for place in places) for box, places in known]
    return {
        'found': len(found),
        'whole': 100 * statistics.mean(area >= 0.99 for area in areas) if found else None,
        'area': 100 * statistics.median(areas) if found else None,
        'holds': 100 * statistics.mean(holds) if known else None,
        'overlap': 100 * statistics.mean(overlaps) if known else None,
    }


def holds_centre(box: Box, place: Box) -> bool:
    x, y = place[0] + place[2] / 2, place[1] + place[3] / 2
    return box[0] <= x <= box[0] + box[2] and box[1] <= y <= box[1] + box[3]


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


@cli.door()
def main(argv: list[str]) -> int:
    parser = cli.parser('python -m experiments.boxes', __doc__)
    parser.add_argument('run', type=Path, help='the folder of a finished run')
    parser.add_argument('--limit', type=int, default=0, help='so many of its test images (default: all)')
    args = parser.parse_args(argv)
    cli.check_least(parser, args, limit=0)
    if not (args.run / 'config.yaml').is_file():
        raise ConfigError(f"'{args.run}' is no run: there is no config.yaml in it")
    model, config = checkpoint.load(args.run / 'last.ckpt'), configs.from_file(args.run / 'config.yaml')
    if not hasattr(model, 'csac'):
        raise ConfigError(f"the model of '{args.run}' draws no boxes: it is a {type(model).__name__}")
    print(json.dumps(figures(list(found_boxes(config, model, args.limit)))))
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""A prediction, and what `mlsgm predict` wrote."""

import json
from pathlib import Path

from mlsgm_pyg.tagger import Instance, Prediction

FOUND = Prediction(
    labels=['dog', 'cat'],
    probabilities=[0.98765432, 0.5],
    best=[1, 0],
    boxes=[(1.23456, 2.0, 30.0, 40.0), (0.0, 0.0, 64.0, 48.0)],
    instances=[Instance(None, 1.0, (0.0, 0.0, 64.0, 48.0)), Instance('dog', 0.75, (1.23456, 2.0, 30.0, 40.0))],
    size=(64, 48),
    orientation=6,
    every={'bird': 0.25, 'cat': 0.5, 'dog': 0.98765432},
)


def lines(path='predictions.jsonl'):
    return [json.loads(line) for line in Path(path).read_text(encoding='utf-8').splitlines()]


def files(path='predictions.jsonl'):
    return [one['file'] for one in lines(path)]

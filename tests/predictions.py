"""What `python -m experiments.predict` wrote."""

import json
from pathlib import Path


def lines(path='predictions.jsonl'):
    return [json.loads(line) for line in Path(path).read_text(encoding='utf-8').splitlines()]


def files(path='predictions.jsonl'):
    return [one['file'] for one in lines(path)]

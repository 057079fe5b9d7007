"""How long do mAP and the twelve other figures take at COCO's size, and are they scikit-learn's?"""

from __future__ import annotations

import argparse
import sys
import warnings

import numpy as np
import torch

from benchmarks.common import Table, main, percent, seconds
from mlsgm_pyg.app.common import cost
from mlsgm_pyg.metrics import MultiLabelMetrics

TOLERANCE = 1e-9


def reference(logits: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """The same thirteen figures by scikit-learn, in percent."""
    from sklearn.metrics import average_precision_score, precision_score, recall_score

    has = y.any(axis=0)
    out = {'mAP': average_precision_score(y[:, has], logits[:, has], average='macro')}
    likely = logits >= 0
    rank = np.argsort(-logits, axis=1, kind='stable')[:, :3]
    among_top3 = np.zeros_like(likely)
    np.put_along_axis(among_top3, rank, True, axis=1)
    for prefix, predicted in (('', likely), ('top3_', likely & among_top3)):
        for letter, average in (('C', 'macro'), ('O', 'micro')):
            columns = has if letter == 'C' else slice(None)
            pair = y[:, columns], predicted[:, columns]
            precision, recall = (f(*pair, average=average, zero_division=0) for f in (precision_score, recall_score))
            f1 = 2 * precision * recall / (precision + recall)
            out |= {f'{prefix}{letter}P': precision, f'{prefix}{letter}R': recall, f'{prefix}{letter}F1': f1}
    return {name: 100 * float(value) for name, value in out.items()}


def measure(args: argparse.Namespace) -> list[Table]:
    images, labels = (60, 4) if args.quick else (40_504, 80)
    y = (torch.rand(images, labels) < 0.04).to(torch.int8)
    y[0] = 1
    logits = (torch.randn(images, labels) + 3 * y - 2).to(args.device)
    index = torch.arange(images)

    def ours() -> dict:
        metrics = MultiLabelMetrics([str(i) for i in range(labels)]).to(args.device)
        for start in range(0, images, 512):
            at = slice(start, start + 512)
            metrics.update(logits[at], y[at].to(args.device), index[at])
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            return metrics.compute()

    numbers = logits.cpu().double().numpy(), y.numpy()
    found, expected = ours(), reference(*numbers)
    worst = max(abs(found[name] - value) for name, value in expected.items())
    if not worst <= TOLERANCE:
        raise AssertionError(f'the figures must equal scikit-learn to {TOLERANCE} (got {worst})')
    own = seconds({'ours': ours}, args)['ours']
    other = cost.seconds({'': lambda: reference(*numbers)}, args.quick, 3)['']  # On the CPU in any case.
    table = Table(
        f'mAP and twelve figures, {images:,} images x {labels} labels',
        ('form', 'seconds', 'spread %', 'largest difference, percent points'),
        [
            ['scikit-learn', other.median, percent(other), None],
            ['MultiLabelMetrics', own.median, percent(own), f'{worst:.1e}'],
        ],
    )
    table.notes.append('With `update` in batches of 512.')
    return [table]


if __name__ == '__main__':
    sys.exit(main('metrics', __doc__, measure))

"""Every metric of a run under resampling of its images, so that the difference of any two runs has an interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments import scores as score_files
from experiments.result import SIX
from mlsgm_pyg.metrics import top3

FIGURES = ('mAP', *SIX, *(f'top3_{key}' for key in SIX))
RESAMPLES, SEED, THRESHOLD = 1000, 0, 0.5
Sample = dict[str, np.ndarray]  # Metric -> [1 + R], 'AP' -> [1 + R, C]; the images themselves first.


def resample(run: dict[str, np.ndarray], name: str, top3_rule: str, resamples: int = RESAMPLES) -> Sample:
    """All metrics of one run's evaluation set and of its resamples, the same ones for every run.

    Args:
        run (dict): Its scores, see :func:`experiments.scores.load`.
        name (str): Which of them.
        top3_rule (str): See :class:`mlsgm_pyg.metrics.MultiLabelMetrics`.
        resamples (int): Number of resamples, R. (default: :obj:`1000`)
    """
    logits, y = torch.from_numpy(run[name]).double(), torch.from_numpy(run['y'])
    predicted = logits.sigmoid() >= THRESHOLD
    among = top3(logits, y)
    among = among & predicted if top3_rule == 'threshold' else among
    parts: list[Sample] = []
    for counts in score_files.draws(len(y), resamples, SEED):
        aps = score_files.bootstrap_aps(run[name], run['y'], counts)
        part = {'AP': aps, 'mAP': score_files.mean_over_classes(aps)}
        part |= precision_recall(predicted.numpy(), run['y'], counts)
        part |= {f'top3_{key}': value for key, value in precision_recall(among.numpy(), run['y'], counts).items()}
        parts.append(part)
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def precision_recall(predicted: np.ndarray, y: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """The six of :func:`mlsgm_pyg.metrics.precision_recall` of every resample, each [R].

    Args:
        predicted (ndarray): Whether a label is predicted, [n, C].
        y (ndarray): Labels [n, C] in {1, 0, -1}.
        counts (ndarray): How often each image is in each resample, [R, n].
    """
    weight = counts.astype(np.float64)
    right, guessed, positive = (
        weight @ mask.astype(np.float64) for mask in (predicted & (y == 1), predicted & (y >= 0), y == 1)
    )
    there = np.where(positive > 0, 1.0, np.nan)  # Means run over the classes that have a positive.
    cp, cr = (score_files.mean_over_classes(there * right / np.maximum(whole, 1)) for whole in (guessed, positive))
    op, or_ = (right.sum(1) / np.maximum(whole.sum(1), 1) for whole in (guessed, positive))
    six = (cp, cr, _harmonic(cp, cr), op, or_, _harmonic(op, or_))
    return {key: 100 * value for key, value in zip(SIX, six)}


def _harmonic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return 2 * a * b / np.where(a + b > 0, a + b, 1)


def difference(ours: Sequence[Sample], theirs: Sequence[Sample]) -> dict[str, Any]:
    """How much higher the first runs are than the second, a run a seed on both sides, with 95 % intervals over images.

    Returns:
        dict: `metrics`, name -> difference, low, high; `classes`, the same of every class's AP, in their order (None
        without a positive).
    """
    mine, other = ({key: np.mean([run[key] for run in runs], axis=0) for key in runs[0]} for runs in (ours, theirs))
    aps = mine['AP'] - other['AP']
    return {
        'metrics': {key: score_files.interval(mine[key] - other[key]) for key in FIGURES},
        'classes': [None if np.isnan(column[0]) else score_files.interval(column) for column in aps.T],
    }


class Resamples:
    """The resampled metrics of runs, each computed once.

    Args:
        resamples (int): Number of resamples. (default: :obj:`1000`)
    """

    def __init__(self, resamples: int = RESAMPLES):
        self.resamples = resamples
        self._found: dict[str, tuple[dict[str, np.ndarray], Sample]] = {}

    def of(self, out: dict[str, Any]) -> tuple[dict[str, np.ndarray], Sample]:
        """What a run was evaluated on, and its resampled metrics.

        Args:
            out (dict): Its result.json, with its `folder`.

        Raises:
            NotComparable: If its scores are gone or broken, or its AP is another one.
        """
        if out['ap'] != 'non_interpolated':
            raise score_files.NotComparable('intervals are of non-interpolated AP alone')
        key = out['folder']
        if key not in self._found:
            run = score_files.load_run(Path(key))
            sample = resample(run, out['score'], out['top3'], self.resamples)
            self._found[key] = {'index': run['index'], 'y': run['y']}, sample
        return self._found[key]

    def paired(self, ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The first row's gain on the seeds that both have, see :func:`difference`.

        Raises:
            NotComparable: If they share no seed, or were evaluated on other images.
        """
        seeds = [run['seed'] for run in ours if run['seed'] in {other['seed'] for other in theirs}]
        if not seeds:
            raise score_files.NotComparable('they have no seed in common')
        sides, images = [], None
        for runs in (ours, theirs):
            found = [self.of(run) for seed in seeds for run in runs if run['seed'] == seed]
            images = found[0][0] if images is None else images
            for one, _ in found:
                score_files.check_same_images(images, one)
            sides.append([sample for _, sample in found])
        counted = {'seeds': seeds, 'images': len(images['index']), 'resamples': self.resamples}
        return difference(*sides) | counted

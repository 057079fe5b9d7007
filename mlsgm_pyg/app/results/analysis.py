"""What the scores of an evaluation say beyond its metrics: curves, calibration, labels that come together, mistakes.

Labels `y` [n, C] are 1, 0 or -1 (unknown: adds nothing anywhere), probabilities `p` [n, C], scores their logits.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn import metrics

BINS = 15
POSITIVE = 0.5  # Probability from which a label is predicted.


class Curve(NamedTuple):
    """Precision and recall from the highest threshold to the lowest; points inside a vertical line are left out."""

    recall: np.ndarray
    precision: np.ndarray
    at_half: tuple[float, float] | None  # (recall, precision) of what is predicted; None where nothing is.


def precision_recall_curve(scores: np.ndarray, y: np.ndarray) -> Curve | None:
    """The curve of one class, of logits [n] and labels [n], equal scores as one step; None without a positive."""
    known = y >= 0
    scores, present = scores[known], y[known] == 1
    if not present.any():
        return None
    precision, recall, _ = metrics.precision_recall_curve(present, scores, drop_intermediate=True)
    predicted = scores >= 0
    found = np.count_nonzero(predicted & present)
    at_half = (float(found / present.sum()), float(found / predicted.sum())) if predicted.any() else None
    return Curve(recall[-2::-1], precision[-2::-1], at_half)  # Without scikit-learn's own last point, (0, 1).


def thinned(curve: Curve, points: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """About so many points of a curve, to be drawn: its ends and, of each stretch of recall, the last, the highest and
    the lowest."""
    if len(curve.recall) <= points:
        return curve.recall, curve.precision
    stretch = np.minimum((curve.recall * (points // 3)).astype(int), points // 3 - 1)
    keep = {0, len(curve.recall) - 1}
    starts = np.unique(stretch, return_index=True)[1].tolist()
    for start, stop in itertools.pairwise([*starts, len(stretch)]):
        inside = curve.precision[start:stop]
        keep |= {stop - 1, start + int(inside.argmax()), start + int(inside.argmin())}
    keep = sorted(keep)
    return curve.recall[keep], curve.precision[keep]


@dataclass
class Calibration:
    """How often labels are there that were given some probability: mean probability and part of present labels of each
    bin (NaN in empty ones), labels in each, and the expected calibration error, the sum of count / all * abs(frequency
    - confidence)."""

    confidence: np.ndarray
    frequency: np.ndarray
    count: np.ndarray
    error: float


def calibration(p: np.ndarray, y: np.ndarray, bins: int = BINS) -> Calibration:
    """Calibration of the known labels in bins of equal width; a bin has its upper edge, the first one 0, too."""
    known = y >= 0
    p, present = p[known].astype(np.float64), y[known] == 1
    at = np.clip(np.ceil(p * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(at, minlength=bins)
    with np.errstate(invalid='ignore'):
        confidence = np.bincount(at, p, bins) / count
        frequency = np.bincount(at, present, bins) / count
    error = float(np.nansum(count * np.abs(frequency - confidence)) / max(count.sum(), 1))
    return Calibration(confidence, frequency, count, error)


class Counts(NamedTuple):
    """Of each class: [C]."""

    known: np.ndarray
    positive: np.ndarray
    predicted: np.ndarray
    right: np.ndarray


def counts(p: np.ndarray, y: np.ndarray) -> Counts:
    """Known, present, predicted, and rightly predicted labels of each class."""
    known, present = y >= 0, y == 1
    predicted = (p >= POSITIVE) & known
    return Counts(*(mask.sum(0) for mask in (known, present, predicted, predicted & present)))


class Together(NamedTuple):
    """How often label j is there where label i is, row i and column j: [C, C]; NaN where i never is."""

    number: np.ndarray
    rate: np.ndarray


def together(present: np.ndarray, known: np.ndarray) -> Together:
    """Counts pairs of labels that are there, or are predicted, in images where both are known; [n, C] each."""
    there, known = (present & known).astype(np.float64), known.astype(np.float64)
    number, where = there.T @ there, there.T @ known
    with np.errstate(invalid='ignore'):
        return Together(number.astype(int), number / where)


def losses(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean binary cross-entropy of each image's known labels, [n]; NaN for one without any."""
    known = y >= 0
    loss = np.where(known, np.logaddexp(0, np.where(y == 1, -scores, scores)), 0)
    with np.errstate(invalid='ignore'):
        return loss.sum(1) / known.sum(1)


class Mistake(NamedTuple):
    """A label of an image that is wrong with confidence."""

    image: int  # Its row.
    label: int
    p: float


def wrong(p: np.ndarray, y: np.ndarray, number: int) -> list[Mistake]:
    """The absent labels of highest probability, the worst of each image."""
    return _worst(np.where(y == 0, p, -np.inf), p, number)


def missed(p: np.ndarray, y: np.ndarray, number: int) -> list[Mistake]:
    """The present labels of lowest probability, the worst of each image."""
    return _worst(np.where(y == 1, 1 - p, -np.inf), p, number)


def chosen(loss: np.ndarray, number: int, seed: int = 0) -> list[int]:
    """Rows of images to be shown: half of them the hardest, the others drawn by chance; all where there are no more."""
    order = np.argsort(-np.nan_to_num(loss, nan=-1), kind='stable')
    if len(order) <= number:
        return order.tolist()
    hard = order[: number - number // 2]
    rest = np.random.default_rng(seed).choice(order[len(hard) :], number // 2, replace=False)
    return np.concatenate([hard, rest[np.argsort(-loss[rest], kind='stable')]]).tolist()


def _worst(cost: np.ndarray, p: np.ndarray, number: int) -> list[Mistake]:
    if cost.size == 0:
        return []
    label = cost.argmax(1)
    value = cost[np.arange(len(cost)), label]
    order = np.argsort(-value, kind='stable')[:number]
    return [Mistake(int(i), int(label[i]), float(p[i, label[i]])) for i in order if value[i] > POSITIVE]

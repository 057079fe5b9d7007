"""How certain a difference between runs is: every metric under resampling of the images, the same resamples for all.

Whoever compares finished runs image by image does it here, and who may be compared is decided here alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mlsgm_pyg.app.common.errors import Gone
from mlsgm_pyg.app.results.run import Run, scored_alike
from mlsgm_pyg.app.results.schema import FIGURES, SIX
from mlsgm_pyg.metrics import top3

RESAMPLES, SEED, THRESHOLD = 1000, 0, 0.5
CELLS = 5_000_000  # Resamples times images that are counted at once: 40 MB a table, some 50 resamples of COCO's val.
Runs = Sequence[dict[str, Any]]  # One a seed: its result.json with its `folder`, and its `scores` where they are read.
Sample = dict[str, np.ndarray]  # Metric -> [1 + R], 'AP' -> [1 + R, C]; the images themselves first.


class NotComparable(ValueError):
    """Runs that cannot be compared image by image, and why."""


class Resamples:
    """So many resampled metrics of runs, each computed once."""

    def __init__(self, resamples: int = RESAMPLES):
        self.resamples = resamples
        self._found: dict[tuple[str, tuple[str, ...]], Sample] = {}

    def paired(self, ours: Runs, theirs: Runs, metrics: tuple[str, ...] = FIGURES) -> dict[str, Any]:
        """How much higher the first row is than the second, with 95 % intervals over images; runs of several seeds are
        averaged in each resample: `metrics`, name -> difference, low, high; `classes`, the same of every class's AP in
        their order, None without a positive; and what it was counted on, `resamples`, `images`, `seeds`."""
        found, counted = self.difference(ours, theirs, metrics)
        classes = [None if np.isnan(column[0]) else interval(column) for column in found['AP'].T]
        return {'metrics': {key: interval(found[key]) for key in metrics}, 'classes': classes} | counted

    def gain(self, ours: Runs, theirs: Runs) -> dict[str, Any]:
        """The difference in mAP alone, see :meth:`paired`: difference, low, high, and what it was counted on."""
        found, counted = self.difference(ours, theirs, ('mAP',))
        return interval(found['mAP']) | counted

    def gains(self, pairs: dict[str, tuple[Runs, Runs]]) -> tuple[dict[str, Any], dict[str, str]]:
        """The :meth:`gain` of every pair that can be compared, and why the others have none."""
        found, without = {}, {}
        for name, pair in pairs.items():
            try:
                found[name] = self.gain(*pair)
            except NotComparable as error:
                without[name] = str(error)
        return found, without

    def comparable(self, ours: Runs, theirs: Runs, metrics: tuple[str, ...]) -> tuple[list[int], list[list[Sample]]]:
        """The seeds that two rows share, and both rows' resampled metrics on them.

        NotComparable says if they share no seed, their AP is interpolated, scores are gone or broken, or they were
        evaluated on other images or labels.
        """
        mine, other = ({run['seed']: run for run in runs} for runs in (ours, theirs))
        seeds = [seed for seed in mine if seed in other]
        if not seeds:
            raise NotComparable('they have no seed in common')
        if any(runs[seed]['ap'] != 'non_interpolated' for runs in (mine, other) for seed in seeds):
            raise NotComparable('intervals are of non-interpolated AP alone')
        first = self._of(mine[seeds[0]], metrics)
        return seeds, [[self._of(runs[seed], metrics, first) for seed in seeds] for runs in (mine, other)]

    def _of(self, run: dict[str, Any], metrics: tuple[str, ...], like: Sample | None = None) -> Sample:
        """A run's resampled metrics, with the `index` and `y` that it was evaluated on."""
        key = run['folder'], metrics
        found = self._found.get(key) or run.get('scores') or _scores(run)
        check_same_images(like or found, found)
        if key not in self._found:
            images = {name: found[name] for name in ('index', 'y')}
            self._found[key] = images | resample(found, run, metrics, self.resamples)
        return self._found[key]

    def difference(self, ours: Runs, theirs: Runs, metrics: tuple[str, ...]) -> tuple[Sample, dict[str, Any]]:
        """The resampled differences of two rows, and what they were counted on, see :meth:`comparable`."""
        seeds, sides = self.comparable(ours, theirs, metrics)
        images = {key: sides[0][0][key] for key in ('index', 'y')}
        mine, other = ({key: np.mean([run[key] for run in side], axis=0) for key in ('AP', *metrics)} for side in sides)
        counted = {'resamples': self.resamples, 'images': len(images['index']), 'seeds': seeds}
        return images | {key: mine[key] - other[key] for key in mine}, counted


def _scores(run: dict[str, Any]) -> dict[str, np.ndarray]:
    try:
        return Run(Path(run['folder']), run).scores
    except Gone as gone:
        raise NotComparable(str(gone)) from gone


def check_same_images(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Raises NotComparable if two runs were evaluated on other images or labels."""
    if not scored_alike(one, other):
        told = ' and '.join(f'{len(run["index"]):,} images of {run["y"].shape[1]} classes' for run in (one, other))
        raise NotComparable(f'a paired comparison needs the same images and labels in every run (got {told})')


def resample(
    scores: dict[str, np.ndarray], run: dict[str, Any], metrics: Sequence[str] = FIGURES, resamples: int = RESAMPLES
) -> Sample:
    """AP and other metrics (mAP alone is the fastest) of one run's evaluation set and of its resamples, the same ones
    for every run: of the `score` that the run reports, by its rule of `top3`."""
    values, y = scores[run['score']], scores['y']
    predicted = {} if set(metrics) <= {'mAP'} else _predicted(values, y, run['top3'])
    parts: list[Sample] = []
    for counts in draws(len(y), resamples):
        aps = average_precision(values, y, counts)
        part = {'AP': aps, 'mAP': mean_over_classes(aps)}
        for prefix, among in predicted.items():
            part |= {prefix + key: value for key, value in precision_recall(among, y, counts).items()}
        parts.append(part)
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def draws(n: int, resamples: int) -> Iterable[np.ndarray]:
    """How often each of n images is in the set itself and in each resample, some resamples at a time: [r, n]."""
    return _drawn_once(n, resamples) if n * resamples <= CELLS else _drawn(n, resamples)


@lru_cache(maxsize=1)
def _drawn_once(n: int, resamples: int) -> list[np.ndarray]:
    return list(_drawn(n, resamples))


def _drawn(n: int, resamples: int) -> Iterator[np.ndarray]:
    yield np.ones((1, n), dtype=np.int64)
    draw, at_once = np.random.default_rng(SEED), max(CELLS // max(n, 1), 1)
    for start in range(0, resamples, at_once):
        yield draw.multinomial(n, np.full(n, 1 / n), size=min(at_once, resamples - start))


def average_precision(values: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The AP of every class in percent, [R, C], non-interpolated with ties grouped, of all resamples at once: of scores
    and labels [n, C], and of how often each image is in each resample [R, n]. NaN where a resample has no positive."""
    num_labels = y.shape[1]
    aps = np.full((len(counts), num_labels), np.nan)
    for c in range(num_labels):
        order = np.argsort(-values[:, c], kind='stable')
        order = order[y[order, c] >= 0]
        if len(order) == 0:
            continue
        value = values[order, c]
        last = np.append(np.flatnonzero(value[1:] != value[:-1]), len(value) - 1)  # The end of each group of ties.
        weight = counts[:, order].astype(np.float64)
        right = np.cumsum(weight * (y[order, c] == 1), axis=1)[:, last]
        seen = np.cumsum(weight, axis=1)[:, last]
        gain = np.diff(right, axis=1, prepend=0)
        total = right[:, -1]
        sums = np.ascontiguousarray(gain * right / np.maximum(seen, 1)).sum(1)  # Rows add up alike in any company.
        aps[:, c] = np.where(total > 0, sums / np.maximum(total, 1), np.nan)
    return 100 * aps


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """The mean over the classes that have a value, [R, C] -> [R]; NaN where none has."""
    counted = (~np.isnan(values)).sum(axis=1)
    return np.where(counted > 0, np.nansum(values, axis=1) / np.maximum(counted, 1), np.nan)


def _predicted(values: np.ndarray, y: np.ndarray, rule: str) -> dict[str, np.ndarray]:
    """Which labels are predicted, [n, C]: all, and among the three highest."""
    logits = torch.from_numpy(values).double()
    predicted, among = logits.sigmoid() >= THRESHOLD, top3(logits, torch.from_numpy(y))
    among = among & predicted if rule == 'threshold' else among
    return {'': predicted.numpy(), 'top3_': among.numpy()}


def precision_recall(predicted: np.ndarray, y: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """The six of :func:`mlsgm_pyg.metrics.precision_recall` of every resample, each [R], see :func:`average_precision`;
    `predicted` [n, C] says which labels are."""
    weight = counts.astype(np.float64)
    right, guessed, positive = (
        weight @ mask.astype(np.float64) for mask in (predicted & (y == 1), predicted & (y >= 0), y == 1)
    )
    there = np.where(positive > 0, 1.0, np.nan)  # Means run over the classes that have a positive.
    cp, cr = (mean_over_classes(there * right / np.maximum(whole, 1)) for whole in (guessed, positive))
    op, or_ = (right.sum(1) / np.maximum(whole.sum(1), 1) for whole in (guessed, positive))
    six = (cp, cr, _harmonic(cp, cr), op, or_, _harmonic(op, or_))
    return {key: 100 * value for key, value in zip(SIX, six)}


def _harmonic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return 2 * a * b / np.where(a + b > 0, a + b, 1)


def interval(difference: np.ndarray) -> dict[str, float]:
    """A difference [1 + resamples] and its 95 % interval; resamples without any positive are left out."""
    low, high = np.nanpercentile(difference[1:], [2.5, 97.5])
    return {'difference': float(difference[0]), 'low': float(low), 'high': float(high)}

"""The scores of an evaluation: gathered over processes, kept in a file, turned into metrics and intervals."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from experiments.common.files import replacing
from mlsgm_pyg.metrics import MultiLabelMetrics

CELLS = 5_000_000  # Resamples times images that are counted at once: 40 MB a table, some 50 resamples of COCO's val.


class NotComparable(ValueError):
    """Runs that cannot be compared image by image, and why."""


class Scores(Metric):
    """Every image's labels, scores and number of instances; an image that two processes saw counts once.

    Args:
        names (sequence of str): Names of the scores.
        num_labels (int): Number of labels, C.
    """

    full_state_update = False

    def __init__(self, names: Sequence[str], num_labels: int):
        super().__init__()
        self.names = list(names)
        self.num_labels = num_labels
        self.add_state('rows', default=[], dist_reduce_fx='cat')

    def update(self, index: Tensor, y: Tensor, logits: dict[str, Tensor], instances: Tensor) -> None:
        columns = [index[:, None], instances[:, None], y, *(logits[name].detach() for name in self.names)]
        dtype = torch.float if y.device.type == 'mps' else torch.double
        self.rows.append(torch.cat([column.to(dtype) for column in columns], dim=1))

    def compute(self) -> dict[str, np.ndarray]:
        rows = self.rows if isinstance(self.rows, Tensor) else torch.cat(self.rows)
        rows = rows.cpu().double().numpy()
        _, first = np.unique(rows[:, 0], return_index=True)
        rows = rows[first]
        tables = np.split(rows[:, 2:], 1 + len(self.names), axis=1)
        out = {'index': rows[:, 0].astype(np.int64), 'instances': rows[:, 1], 'y': tables[0].astype(np.int8)}
        return out | dict(zip(self.names, tables[1:]))

    def sync(self, *args, **kwargs) -> None:
        if len(self.rows) == 0:  # A process without images still takes part.
            columns = 2 + (1 + len(self.names)) * self.num_labels
            self.rows.append(torch.empty(0, columns, dtype=torch.double, device=self.device))
        super().sync(*args, **kwargs)


def mean_over_sizes(sizes: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """One table of scores of the same images seen at several sizes: the logits of the mean probabilities, taken without
    leaving logarithms, and the mean number of instances."""
    first = sizes[0]
    if len(sizes) == 1:
        return first

    def mean(name: str) -> np.ndarray:
        logits = np.stack([scores[name] for scores in sizes])
        present, absent = (-np.logaddexp(0, sign * logits) for sign in (-1, 1))
        return np.logaddexp.reduce(present) - np.logaddexp.reduce(absent)

    instances = np.mean([scores['instances'] for scores in sizes], axis=0)
    return first | {'instances': instances} | {name: mean(name) for name in names_of(first)}


def save(path: Path, scores: dict[str, np.ndarray]) -> None:
    """Writes scores whole or not at all."""
    with replacing(path) as spare, spare.open('wb') as file:
        np.savez_compressed(file, **scores)


def load(path: Path) -> dict[str, np.ndarray]:
    with path.open('rb') as handle, np.load(handle, allow_pickle=False) as file:
        return dict(file)


def load_run(folder: Path) -> dict[str, np.ndarray]:
    """The scores that a run left in its directory.

    Raises:
        NotComparable: If they are gone or broken.
    """
    path = folder / 'scores.npz'
    try:
        return load(path)
    except FileNotFoundError:
        raise NotComparable(f"there is no '{path}' any more") from None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise NotComparable(f"'{path}' cannot be read: {error}") from error


def names_of(scores: dict[str, np.ndarray]) -> list[str]:
    """Names of the scores in a file."""
    return [key for key in scores if key not in ('index', 'instances', 'y')]


def evaluate(scores: dict[str, np.ndarray], name: str, class_names: Sequence[str], ap: str, top3: str) -> dict:
    """All metrics of one of the scores, see :class:`mlsgm_pyg.metrics.MultiLabelMetrics`."""
    metrics = MultiLabelMetrics(class_names, ap=ap, top3=top3, sync_on_compute=False)  # These are all images already.
    metrics.update(*(torch.from_numpy(scores[key]) for key in (name, 'y', 'index')))
    return metrics.compute()


def bootstrap_map(logits: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """mAP in percent of every resample, non-interpolated with ties grouped, for all resamples at once.

    Args:
        logits (ndarray): Scores [n, C].
        y (ndarray): Labels [n, C] in {1, 0, -1}.
        counts (ndarray): How often each image is in each resample, [R, n].

    Returns:
        ndarray: [R]; a class without a positive in a resample is left out of its mean, and NaN where all are.
    """
    return mean_over_classes(bootstrap_aps(logits, y, counts))


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """The mean over the classes that have a value, [R, C] -> [R]; NaN where none has."""
    counted = (~np.isnan(values)).sum(axis=1)
    return np.where(counted > 0, np.nansum(values, axis=1) / np.maximum(counted, 1), np.nan)


def bootstrap_aps(logits: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The AP of every class in percent, [R, C], of which :func:`bootstrap_map` is the mean; NaN without a positive."""
    num_labels = y.shape[1]
    aps = np.full((len(counts), num_labels), np.nan)
    for c in range(num_labels):
        order = np.argsort(-logits[:, c], kind='stable')
        order = order[y[order, c] >= 0]
        if len(order) == 0:
            continue
        value = logits[order, c]
        last = np.append(np.flatnonzero(value[1:] != value[:-1]), len(value) - 1)  # The end of each group of ties.
        weight = counts[:, order].astype(np.float64)
        right = np.cumsum(weight * (y[order, c] == 1), axis=1)[:, last]
        seen = np.cumsum(weight, axis=1)[:, last]
        gain = np.diff(right, axis=1, prepend=0)
        total = right[:, -1]
        sums = np.ascontiguousarray(gain * right / np.maximum(seen, 1)).sum(1)  # Rows add up alike in any company.
        aps[:, c] = np.where(total > 0, sums / np.maximum(total, 1), np.nan)
    return 100 * aps


def paired_bootstrap(
    ours: Sequence[dict[str, np.ndarray]],
    theirs: Sequence[dict[str, np.ndarray]],
    names: tuple[str, str],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """The difference in mAP with its 95 % interval over images; runs of several seeds are averaged in each resample.

    Args:
        ours, theirs (sequence of dict): Scores of one run a seed, all on the same images.
        names (tuple): Which score of ours and of theirs.
        resamples (int): Number of resamples. (default: :obj:`1000`)
        seed (int): Seed of the resamples. (default: :obj:`0`)
    """
    sides = [resampled(runs, name, resamples, seed, like=ours[0]).mean(0) for runs, name in zip((ours, theirs), names)]
    return interval(sides[0] - sides[1]) | {'resamples': resamples, 'images': len(ours[0]['index'])}


def resampled(
    runs: Sequence[dict[str, np.ndarray]], name: str, resamples: int = 1000, seed: int = 0, like: dict | None = None
) -> np.ndarray:
    """mAP of runs on the same images: of the evaluation set itself, then of its resamples, [runs, 1 + resamples].

    Args:
        runs (sequence of dict): Scores of each run.
        name (str): Which of their scores.
        resamples (int): Number of resamples. (default: :obj:`1000`)
        seed (int): Seed of the resamples, the same for all runs. (default: :obj:`0`)
        like (dict, optional): Scores of a run whose images and labels they must have. (default: the first)

    Raises:
        NotComparable: If they have others.
    """
    like = runs[0] if like is None else like
    for run in runs:
        check_same_images(like, run)
    parts = [
        [bootstrap_map(run[name], run['y'], counts) for run in runs]
        for counts in draws(len(like['index']), resamples, seed)
    ]
    return np.concatenate(parts, axis=1)


def check_same_images(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Raises:
    NotComparable: If two runs were evaluated on other images or labels.
    """
    if np.array_equal(one['index'], other['index']) and np.array_equal(one['y'], other['y']):
        return
    told = ' and '.join(f'{len(run["index"]):,} images of {run["y"].shape[1]} classes' for run in (one, other))
    raise NotComparable(f'a paired comparison needs the same images and labels in every run (got {told})')


def draws(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of n images is in the set itself and in each resample, some resamples at a time: [r, n]."""
    yield np.ones((1, n), dtype=np.int64)
    draw, at_once = np.random.default_rng(seed), max(CELLS // max(n, 1), 1)
    for start in range(0, resamples, at_once):
        yield draw.multinomial(n, np.full(n, 1 / n), size=min(at_once, resamples - start))


def interval(difference: np.ndarray) -> dict[str, float]:
    """A difference [1 + resamples] and its 95 % interval; resamples without any positive are left out."""
    low, high = np.nanpercentile(difference[1:], [2.5, 97.5])
    return {'difference': float(difference[0]), 'low': float(low), 'high': float(high)}

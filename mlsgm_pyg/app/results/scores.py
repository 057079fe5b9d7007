"""The scores of an evaluation: gathered over processes, kept in a file, turned into metrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from mlsgm_pyg.app.common.files import replacing
from mlsgm_pyg.metrics import MultiLabelMetrics


class Scores(Metric):
    """Every image's labels, scores and number of instances; an image that two processes saw counts once."""

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


def names_of(scores: dict[str, np.ndarray]) -> list[str]:
    """Names of the scores in a file."""
    return [key for key in scores if key not in ('index', 'instances', 'y')]


def evaluate(scores: dict[str, np.ndarray], name: str, class_names: Sequence[str], ap: str, top3: str) -> dict:
    """All metrics of one of the scores, see :class:`mlsgm_pyg.metrics.MultiLabelMetrics`."""
    metrics = MultiLabelMetrics(class_names, ap=ap, top3=top3, sync_on_compute=False)  # These are all images already.
    metrics.update(*(torch.from_numpy(scores[key]) for key in (name, 'y', 'index')))
    return metrics.compute()

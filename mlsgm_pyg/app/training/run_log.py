"""What a run has come to so far: filled by the module and the callbacks, read by whoever sums up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import numpy as np

from mlsgm_pyg.app.results.schema import Epoch, misfit
from mlsgm_pyg.decisions import Decisions


class Evaluation(NamedTuple):
    """One evaluation."""

    scores: dict[str, np.ndarray]  # As `mlsgm_pyg.app.results.scores` has them.
    metrics: dict[str, dict[str, Any]]  # Of every score.
    fit: dict[str, np.ndarray] | None = None  # The scores of the images that `data.tune` keeps from training,
    decisions: Decisions | None = None  # and what was fitted on them,
    decided: dict[str, Any] | None = None  # in the words of result.json.


@dataclass
class RunLog:
    """A run's epochs, times, images that could not be read, and evaluations.

    All but the evaluations and :obj:`unread` travels in the checkpoint: a resumed run's equals an uninterrupted one's.
    """

    history: list[Annotated[Epoch, dict[str, float]]] = field(default_factory=list)  # A row an epoch.
    best: float = -1.0  # mAP.
    skipped: list[str] = field(default_factory=list)  # Images that no process could read, by part and name.
    unread: set[tuple[str, int]] = field(default_factory=set)  # Those that this process found, by part and number.
    train_seconds: float = 0.0
    total_seconds: float = 0.0
    epoch_seconds: float = 0.0
    steps: int = 0
    images: int = 0
    last: Evaluation | None = None
    kept: Evaluation | None = None  # Whose scores scores.npz has, where this process wrote them.

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds in all, and of training and evaluating an epoch, of training a step and an image."""
        return {
            'total': round(self.total_seconds, 2),
            'epoch': round(self.total_seconds / max(len(self.history), 1), 2),
            'step': round(self.train_seconds / max(self.steps, 1), 5),
            'image': round(self.train_seconds / max(self.images, 1), 6),
        }

    def state(self, *keys: str) -> dict[str, Any]:
        return {key: getattr(self, key) for key in keys}

    def load_state(self, state: dict[str, Any], *keys: str) -> None:
        if told := misfit(state, RunLog):
            raise ValueError(told)
        for key in keys:
            setattr(self, key, state[key])

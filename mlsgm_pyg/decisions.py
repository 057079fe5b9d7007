r"""Which labels to keep: one temperature that makes probabilities honest, and a threshold a class.

They are fitted on images that trained nothing. With :math:`\ell` the logits and :math:`y` the labels there,

.. math::
    T = \arg\max_T \prod p^{y} (1 - p)^{1 - y}, \quad p = \sigma(\ell / T), \quad
    t_c = \tfrac{1}{2} \max_t F_1(p_{\cdot c} \geq t)

: one half of the best F1 is the threshold of the best expected F1 where probabilities are calibrated (Lipton et al.,
2014), and follows the noise of few images less than the threshold at which that F1 was seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

LEAST = 40  #: A class with fewer positives takes the pooled threshold, which was no worse on held-out photographs.
PRIOR = 30  # What precision is expected of counts for as much as so many positives.
PRECISIONS = tuple(step / 100 for step in range(50, 100))  #: Those that thresholds are kept for.
TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True)
class Decision:
    """From which probability on one label is kept."""

    threshold: float  #: For the best F1.
    positives: int  #: Images that show it, of those it was fitted on.
    is_pooled: bool  #: Whether the threshold is that of all labels together, for want of positives.
    by_precision: tuple[float | None, ...]  #: For each of :data:`PRECISIONS`; None: no threshold promises it.


@dataclass(frozen=True)
class Decisions:
    """A model's temperature and thresholds."""

    temperature: float  #: Probabilities are :obj:`sigmoid(logits / temperature)`.
    classes: dict[str, Decision]  #: By name.
    pooled: Decision  #: Of all classes' labels together: for labels that the model was not trained on.

    def thresholds(self, names: Sequence[str], min_precision: float | None = None) -> np.ndarray:
        """The least probability of each label, :obj:`[C]`; of a name that is no class, the pooled one.

        Args:
            names (sequence of str): The labels.
            min_precision (float, optional): Thresholds from which on so large a part of what is kept is expected to be
                right, in [0.5, 0.99], rounded up to a hundredth; infinite where none is. (default: those of best F1)

        Raises:
            ValueError: If that precision is out of its range.
        """
        found = [self.classes.get(name, self.pooled) for name in names]
        if min_precision is None:
            return np.array([one.threshold for one in found])
        check_precision(min_precision)
        at = next(i for i, precision in enumerate(PRECISIONS) if precision >= min_precision - 1e-9)
        return np.array([math.inf if one.by_precision[at] is None else one.by_precision[at] for one in found])

    def renamed(self, names: Sequence[str], trained: Sequence[str | None]) -> Decisions:
        """The same for other names, each of a class or, where that is :obj:`None`, of a label without a decision."""
        return replace(self, classes={a: self.classes[b] for a, b in zip(names, trained) if b in self.classes})

    def plain(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Any) -> Decisions:
        """What :meth:`plain` gave; ValueError if it is something else."""
        try:
            classes = {str(name): _decision(one) for name, one in plain['classes'].items()}
            out = cls(float(plain['temperature']), classes, _decision(plain['pooled']))
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError("'decisions' must hold a temperature, and thresholds by class") from error
        if not TEMPERATURES[0] <= out.temperature <= TEMPERATURES[1]:
            raise ValueError(f"'decisions' must have a temperature in {list(TEMPERATURES)} (got {out.temperature})")
        return out


def check_precision(value: float) -> None:
    """ValueError if there are no thresholds for this precision."""
    if not PRECISIONS[0] <= value <= PRECISIONS[-1]:
        raise ValueError(f"'min_precision' must be in [{PRECISIONS[0]}, {PRECISIONS[-1]}] (got {value})")


def temperature_of(model: Any) -> float:
    """That of a model's decisions; 1 of a model without."""
    decisions = getattr(model, 'decisions', None)
    return 1.0 if decisions is None else decisions.temperature


def fit(logits: np.ndarray, y: np.ndarray, class_names: Sequence[str]) -> Decisions:
    """Fits a temperature and thresholds on images that trained nothing.

    Precision is that of labels between the known ones and the probabilities, :math:`(n y + 30 p) / (n + 30)` for a
    class with n positives: few images do not promise what they happen to show.

    Args:
        logits (ndarray): Scores, :obj:`[N, C]`.
        y (ndarray): Labels in 1, 0, -1 (unknown: such entries are left out), :obj:`[N, C]`.
        class_names (sequence of str): Of the C classes.

    Raises:
        ValueError: If no image is known to show any class.
    """
    if not (y == 1).any():
        raise ValueError(f'thresholds are fitted on images that show something (got {len(y)}, none that does)')
    logits, known = np.asarray(logits, np.float64), y >= 0
    temperature = fit_temperature(logits[known], y[known] == 1)
    p = probabilities(logits, temperature)
    pooled = _fit_one(p[known], y[known] == 1)
    classes = {}
    for c, name in enumerate(class_names):
        found = _fit_one(p[known[:, c], c], y[known[:, c], c] == 1)
        if found.positives < LEAST:
            found = replace(found, threshold=pooled.threshold, is_pooled=True)
        classes[name] = found
    return Decisions(temperature, classes, pooled)


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """:math:`\\sigma(\\ell / T)`, of any size, without overflow."""
    return np.exp(-np.logaddexp(0, -np.asarray(logits, np.float64) / temperature))


def fit_temperature(logits: np.ndarray, present: np.ndarray) -> float:
    """The likeliest temperature of some labels, :obj:`[n]` each, by bisection: likelihood is log-concave in 1 / T."""
    low, high = (1 / t for t in reversed(TEMPERATURES))
    for _ in range(60):
        middle = math.sqrt(low * high)
        slope = float(np.sum(logits * (present - probabilities(logits, 1 / middle))))
        low, high = (middle, high) if slope > 0 else (low, middle)
    return round(1 / middle, 6)


def _fit_one(p: np.ndarray, present: np.ndarray) -> Decision:
    """The decision of one class, or of all together, from probabilities and labels, :obj:`[n]` each."""
    positives = int(present.sum())
    order = np.argsort(-p, kind='stable')
    p, present = p[order], present[order]
    kept = np.arange(1, len(p) + 1)
    is_step = np.append(p[1:] != p[:-1], True)[: len(p)]  # Equal probabilities are kept together.
    f1 = 2 * np.cumsum(present) / (kept + positives)
    expected = (positives * present + PRIOR * p) / (positives + PRIOR)
    precision = np.where(is_step, np.cumsum(expected) / kept, 0)
    reached = [np.flatnonzero(precision >= least) for least in PRECISIONS]
    by_precision = tuple(float(p[at[-1]]) if len(at) else None for at in reached)
    threshold = float(f1[is_step].max(initial=0)) / 2
    return Decision(threshold, positives, False, by_precision)


def _decision(plain: dict[str, Any]) -> Decision:
    by_precision = tuple(None if value is None else _probability(value) for value in plain['by_precision'])
    if len(by_precision) != len(PRECISIONS):
        raise ValueError('thresholds of other precisions')
    return Decision(_probability(plain['threshold']), int(plain['positives']), bool(plain['is_pooled']), by_precision)


def _probability(value: Any) -> float:
    if not 0 <= value <= 1:
        raise ValueError('no probability')
    return float(value)

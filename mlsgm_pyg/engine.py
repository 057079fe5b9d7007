"""What every way to run a model has in common: views of pictures in, plain arrays out. torch is not loaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlsgm_pyg.datasets.views import View
from mlsgm_pyg.decisions import Decisions

if TYPE_CHECKING:
    from torch import Tensor


class Parts(NamedTuple):
    """The instances of one image, the whole image first; none by default."""

    labels: Sequence[int] = ()  #: The class that each came from, -1 for the whole image.
    scores: Sequence[float] = ()  #: That class's probability; 1 for the whole image.
    boxes: np.ndarray = np.empty((0, 4))  #: :obj:`[N, 4]`, (x, y, width, height) as parts of the view.
    best: np.ndarray | None = None  #: :obj:`[C]`, the instance that matches each label best; None without instances.
    match: Tensor | None = None  #: :obj:`[N, C]`, logits of Eq. 14, where the graph was asked for.
    near: Tensor | None = None  #: :obj:`[2, E]`, kNN edges, likewise.


class Answer(NamedTuple):
    """What a model says of a batch."""

    probabilities: np.ndarray  #: :obj:`[B, C]`.
    parts: Sequence[Parts]  #: One an image.
    maps: Tensor | None = None  #: :obj:`[B, C, h, w]` in [0, 1], where they were asked for.


class Engine:
    """A way to run a model.

    Attributes:
        name (str): What kind of model it is.
        view (View): How it looks at pictures.
        class_names (list[str], optional): Its labels, in the order of the probabilities.
        instance_names (list[str], optional): The classes of instances, where those are others.
        has_maps (bool): Whether it has activation maps.
        decisions (Decisions, optional): Its temperature, which its probabilities have, and its thresholds.
        told (str): What there is to be told of how it computes, in a line; empty at first.
    """

    name: str
    view: View
    class_names: list[str] | None = None
    instance_names: list[str] | None = None
    has_maps: bool = False
    decisions: Decisions | None = None
    told: str = ''

    def ready(self, number: int = 0) -> AbstractContextManager[Any]:
        """The scope in which it answers for about so many pictures; of many it may prepare for more."""
        return nullcontext()

    def see(self, images: Sequence[Any]) -> Any:
        """The costly part, which no threshold changes: uint8 :obj:`[B, 3, S, S]` at each size of the view -> what
        :meth:`answer` takes.
        """
        raise NotImplementedError

    def answer(self, seen: Any, maps: bool = False, graph: bool = False) -> Answer:
        """The rest, with activation maps and the edges of the graph if they are wanted and there."""
        raise NotImplementedError


def stacked(views: Sequence[Any]) -> Any:
    """Arrays as one, or tensors."""
    return np.stack(views) if isinstance(views[0], np.ndarray) else sys.modules['torch'].stack(views)

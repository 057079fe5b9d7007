"""Labels by name: which a model was trained on, the word vectors of those it was not, and which are near to them."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mlsgm_pyg.semantics import UnknownNames, fold
from mlsgm_pyg.semantics import word_vectors as look_up

UNSEEN_MAPS = ('label', 'none', 'nearest')


class Labels(NamedTuple):
    """Labels that a trained model is asked for."""

    labels: list[str]  #: Their names, in the order of the scores.
    index: Tensor  #: Each one's number among the trained labels and, after these, the new ones.
    new: list[str]  #: Names of those that it was not trained on.
    words: Tensor  #: Word vectors of these, [C_n, F].


def class_names(model: torch.nn.Module, num_labels: int) -> list[str]:
    """The names that came with a model's checkpoint, or the labels' numbers."""
    return getattr(model, 'class_names', None) or [str(label) for label in range(num_labels)]


def find_labels(
    model: torch.nn.Module,
    labels: Sequence[str],
    word_vectors: Tensor | None = None,
    semantics: str | Path | None = None,
) -> Labels:
    """Finds labels among those that a model was trained on, and word vectors of the others.

    Args:
        model (torch.nn.Module): With :obj:`num_labels` and :obj:`word_vectors`.
        labels, word_vectors, semantics: See :meth:`mlsgm_pyg.models.MLSGM.with_labels`.

    Raises:
        UnknownNames: If new labels have no word vector; lists them.
        ValueError: If word vectors are not of the trained ones' source, or labels repeat.
    """
    labels, trained = _names(labels), class_names(model, model.num_labels)
    known = _places(labels, trained)
    new = [i for i, place in enumerate(known) if place is None]
    new_names = [labels[i] for i in new]
    if word_vectors is not None:
        words = _given(model, word_vectors, labels, known)[new]
    else:
        words = _looked_up(model, new_names, trained, semantics) if new else model.word_vectors[:0]
    later = iter(range(model.num_labels, model.num_labels + len(new)))
    index = torch.tensor([next(later) if place is None else place for place in known])
    return Labels(labels, index, new_names, words)


def _names(labels: Sequence[str]) -> list[str]:
    if isinstance(labels, str) or not labels or not all(isinstance(label, str) and fold(label) for label in labels):
        raise ValueError(f"'labels' must be a list of at least one name (got {labels!r})")
    folded = [fold(label) for label in labels]
    repeated = [label for label, name in zip(labels, folded) if folded.count(name) > 1]
    if repeated:
        raise ValueError(f"'labels' must differ (got {', '.join(map(repr, repeated))})")
    return list(labels)


def _places(labels: list[str], trained: list[str]) -> list[int | None]:
    """Each label's number among the trained ones: as it is written, else by the one that is the same when folded."""
    folded = [fold(name) for name in trained]
    written = {name: folded.index(name) for name in folded if folded.count(name) == 1}
    return [trained.index(label) if label in trained else written.get(fold(label)) for label in labels]


def _given(model: torch.nn.Module, words: Tensor, labels: list[str], known: list[int | None]) -> Tensor:
    """Word vectors from the caller, checked."""
    expected = [len(labels), model.word_vectors.size(1)]
    if list(words.shape) != expected:
        raise ValueError(
            f"'word_vectors' must hold one row a label, as long as the trained ones: expected shape {expected} "
            f'(got {list(words.shape)})'
        )
    rows = [i for i, place in enumerate(known) if place is not None]
    theirs = model.word_vectors[[known[i] for i in rows]]
    _check_same(theirs, words[rows], [labels[i] for i in rows], "'word_vectors'")
    return words


def _looked_up(model: torch.nn.Module, new: list[str], trained: list[str], semantics: str | Path | None) -> Tensor:
    """Word vectors of new labels from the source of the trained ones."""
    source = semantics or ((getattr(model, 'config', None) or {}).get('semantics') or {}).get('source')
    if source is None:
        raise ValueError("new labels need word vectors: say where the model's came from (semantics=SOURCE)")
    if str(source) == 'onehot':
        raise ValueError("'onehot' says nothing of a label that the model has not seen: train it with word vectors")
    try:
        words = look_up(new, source)
        try:
            there, theirs = trained, look_up(trained, source)
        except UnknownNames as error:
            there = [name for name in trained if name not in error.names]
            theirs = look_up(there, source) if there else None
    except FileNotFoundError as error:
        raise ValueError(
            f"new labels need the file that the model's word vectors came from (semantics=PATH): {error}"
        ) from error
    size = model.word_vectors.size(1)
    if words.size(1) != size:
        raise ValueError(f"'{source}' has vectors of {words.size(1)} numbers; the model was trained on {size} a word")
    if there:
        _check_same(model.word_vectors[[trained.index(name) for name in there]], theirs, there, f"'{source}'")
    return words


def _check_same(mine: Tensor, theirs: Tensor, names: list[str], source: str) -> None:
    """Word vectors of trained labels must be those of training."""
    mine, theirs = mine.cpu().double(), theirs.cpu().double()
    differ = ~torch.isclose(mine, theirs, rtol=1e-3, atol=1e-4).all(1)
    if differ.any():
        raise ValueError(
            f'{source} must give the word vectors that the model was trained with: it has others for '
            f'{int(differ.sum())} of {len(names)} trained labels, first {names[int(differ.nonzero()[0])]!r}'
        )


def nearest_classes(words: Tensor, base_words: Tensor) -> Tensor:
    """The base class whose word vector has the largest cosine with each novel class's.

    Shapes:
        - **inputs:** :obj:`words` :math:`(C_n, F)`, :obj:`base_words` :math:`(C_b, F)`
        - **output:** :math:`(C_n)`
    """
    return (F.normalize(words, dim=1) @ F.normalize(base_words, dim=1).T).argmax(1)


def nearest_weights(words: Tensor, base_words: Tensor, k: int = 3) -> Tensor:
    r"""Each novel class as a convex combination of its :obj:`k` nearest base classes, weighted by similarity:

    .. math::
        a_{nb} = \frac{\max(\cos(\mathbf{w}_n, \mathbf{w}_b), \epsilon)}
        {\sum_{b' \in \mathcal{N}_k(n)} \max(\cos(\mathbf{w}_n, \mathbf{w}_{b'}), \epsilon)}
        \text{ for } b \in \mathcal{N}_k(n), \text{ else } 0

    With one, that is :func:`nearest_classes`.

    Args:
        words (Tensor): Word vectors of the novel classes.
        base_words (Tensor): Word vectors of the base classes.
        k (int): How many base classes; all, where there are fewer. (default: :obj:`3`)

    Shapes:
        - **inputs:** :obj:`words` :math:`(C_n, F)`, :obj:`base_words` :math:`(C_b, F)`
        - **output:** :math:`(C_n, C_b)`; rows add up to 1

    Raises:
        ValueError: If :obj:`k` is below 1.
    """
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"'num_nearest' must be a whole number, at least 1 (got {k})")
    similar = F.normalize(words, dim=1) @ F.normalize(base_words, dim=1).T
    value, index = similar.sort(dim=1, descending=True, stable=True)
    value, index = value[:, :k].clamp(min=1e-6), index[:, :k]
    return torch.zeros_like(similar).scatter(1, index, value / value.sum(1, keepdim=True))

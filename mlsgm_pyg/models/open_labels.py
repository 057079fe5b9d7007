"""Labels that a model was never trained on: ILMS has no weight of the size of the label set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from mlsgm_pyg.csac import CSAC, UNREDUCED
from mlsgm_pyg.models.ml_sgm import MLSGM
from mlsgm_pyg.models.output import Output
from mlsgm_pyg.models.prediction import class_names
from mlsgm_pyg.models.transfer import CARRIED, nearest_weights
from mlsgm_pyg.names import check_choice
from mlsgm_pyg.reduction import Reduction, Unreduced
from mlsgm_pyg.semantics import UnknownNames, fold
from mlsgm_pyg.semantics import word_vectors as look_up

UNSEEN_MAPS = ('none', 'nearest')
SHARED = (
    *CARRIED,
    'dropout',
    'graph_dropout',
    'word_dropout',
)  # The modules of a model that do not depend on its labels.
OPTIONS = ('in_channels', 'gamma', 'max_instances', 'pooling', 'score_pooling', 'prior', 'box_threshold', 'csac_input')


class ExtendedCSAC(CSAC):
    r"""CSAC with further classes, whose maps are convex combinations of the trained ones:

    .. math::
        \mathbf{M}_n = \sigma\left(\sum_c a_{nc} (\mathbf{w}_c^\top \mathbf{F} + b_c)\right)

    The trained classes select the instances that they would select alone, up to :obj:`max_instances`; up to as many of
    the further ones come beside them.

    Args:
        csac (CSAC): The trained one, whose classifier is shared.
        weights (Tensor): The combinations, one row a further class, :obj:`[C_n, C]`.
    """

    def __init__(self, csac: CSAC, weights: Tensor):
        torch.nn.Module.__init__(self)
        for name in OPTIONS:
            setattr(self, name, getattr(csac, name))
        self.parts = csac.num_labels, len(weights)
        self.num_labels = sum(self.parts)
        self.classifier = csac.classifier
        self.register_buffer('weights', weights)

    @property
    def num_slots(self) -> int:
        return 1 + sum(min(self.max_instances, part) for part in self.parts)

    def class_maps(self, feature: Tensor, reduce: Reduction | Unreduced = UNREDUCED) -> Tensor:
        maps = super().class_maps(feature, reduce)
        return torch.cat([maps, torch.einsum('nc,bchw->bnhw', self.weights, maps)], dim=1)

    def _rank(self, logits: Tensor, num_slots: int) -> tuple[Tensor, Tensor]:
        parts = logits.split(self.parts, dim=1)
        return super()._rank(torch.cat([_best(part, self.max_instances) for part in parts], dim=1), num_slots)


def _best(logits: Tensor, number: int) -> Tensor:
    """The highest logits of each image, ties by class; all others are put below any."""
    logits = logits.nan_to_num(nan=-torch.inf)
    order = logits.sort(dim=1, descending=True, stable=True).indices
    return logits.scatter(1, order[:, number:], -torch.inf)


class OpenMLSGM(MLSGM):
    r"""A trained ML-SGM that scores labels it was never trained on, alone or beside trained ones.

    New labels listen. Each is joined to every instance and hears from as many trained labels as these hear from each
    other, the most similar ones; neither instances nor trained labels hear from it. So, with
    :obj:`unseen_maps='none'`, trained labels have exactly the scores that they have without it, and its own score does
    not depend on what else is asked. The graph always holds all trained labels, asked or not.

    Instances are the whole image and those that the trained classes select. With :obj:`unseen_maps='nearest'` a new
    label has a class map as well, a convex combination of its nearest trained labels' classifiers
    (:func:`~mlsgm_pyg.models.transfer.nearest_weights`), and selects instances of its own; these take part in the graph
    and change all scores a little.

    All parameters are shared with the trained model. Move that one to another device, and then ask it for labels.

    Args:
        model (MLSGM): The trained model.
        labels (list[str]): Names of what is scored, in the order of the scores.
        index (Tensor): Each one's number among the trained labels and, after these, the new ones.
        new (list[str]): Names of the new labels.
        new_words (Tensor): Their word vectors, :obj:`[C_n, F]`.
        unseen_maps (str), num_nearest (int): See :meth:`~mlsgm_pyg.models.ml_sgm.MLSGM.with_labels`.

    Attributes:
        class_names (list[str]): The labels asked for.
        instance_names (list[str]): Trained and new labels: what :obj:`instances.label` numbers.
        num_labels (int): Number of labels in the graph, trained and new.

    Shapes:
        - **input:** image :math:`(B, 3, H, W)`
        - **output:** :class:`~mlsgm_pyg.models.output.Output` of the labels asked for; :obj:`csac_logits` only where
          all of them have a class map
    """

    def __init__(
        self,
        model: MLSGM,
        labels: list[str],
        index: Tensor,
        new: list[str],
        new_words: Tensor,
        unseen_maps: str = 'none',
        num_nearest: int = 3,
    ):
        torch.nn.Module.__init__(self)
        object.__setattr__(self, 'trained', model)  # No part of this one: its weights count once.
        for name in (*SHARED, 'csac'):
            setattr(self, name, getattr(model, name))
        self.score, self.checkpoint, self.num_blocks = model.score, model.checkpoint, model.num_blocks
        self.graph_gradient = model.graph_gradient
        self._labels_fixed, self._fixed_values = False, None
        self.register_buffer('word_vectors', torch.cat([model.word_vectors, new_words.to(model.word_vectors)]))
        self.register_buffer('asked', index.to(self.word_vectors.device))
        self.num_labels, self.assign, self.has_maps = len(self.word_vectors), model.assign, True
        if new:
            self.assign = model.assign.of(self.word_vectors.cpu(), model.num_labels)
            self.has_maps = unseen_maps == 'nearest'
        if new and unseen_maps == 'nearest':
            self.csac = ExtendedCSAC(model.csac, nearest_weights(self.new_words, model.word_vectors, num_nearest))
        self.score_names = model.score_names if self.has_maps else ('graph',)
        self.class_names, self.instance_names = labels, class_names(model, model.num_labels) + new
        self.config = getattr(model, 'config', None)
        self.training = model.training

    @property
    def new_words(self) -> Tensor:
        """Word vectors of the new labels."""
        return self.word_vectors[self.trained.num_labels :]

    def with_labels(self, *args, **options) -> OpenMLSGM:
        return self.trained.with_labels(*args, **options)

    def head(self, feature: Tensor) -> Output:
        out = super().head(feature)
        picked = {
            name: getattr(out, name).index_select(1, self.asked)
            for name in ('logits', 'graph_logits', 'match_logits', 'label_x')
        }
        csac = out.csac_logits
        csac = csac.index_select(1, self.asked) if csac is not None and self.has_maps else None
        return out._replace(csac_logits=csac, **picked)

    def maps(self, feature: Tensor) -> Tensor:
        """CSAC's activation maps of the labels asked for, [B, C, h, w]; zeros for a label without a class map."""
        maps = super().maps(feature)
        return F.pad(maps, (0, 0, 0, 0, 0, self.num_labels - maps.size(1))).index_select(1, self.asked)

    def _match_plain(self, graph: HeteroData) -> Output:
        if self.assign.num_senders is not None:
            raise ValueError('a model with new labels scores the graphs of its own features alone, see graphs()')
        return super()._match_plain(graph)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({len(self.class_names)} labels, {len(self.new_words)} of them new)'


def open_labels(
    model: MLSGM,
    labels: Sequence[str],
    word_vectors: Tensor | None = None,
    semantics: str | Path | None = None,
    unseen_maps: str = 'none',
    num_nearest: int = 3,
) -> OpenMLSGM:
    """Makes an :class:`OpenMLSGM`; see :meth:`mlsgm_pyg.models.ml_sgm.MLSGM.with_labels`."""
    check_choice('unseen_maps', unseen_maps, UNSEEN_MAPS)
    labels, trained = _names(labels), class_names(model, model.num_labels)
    known = _places(labels, trained)
    new = [i for i, place in enumerate(known) if place is None]
    if new and unseen_maps == 'nearest' and not isinstance(model.csac, CSAC):
        raise ValueError("unseen_maps='nearest' combines class maps, and this model has none: its instances are cells")
    if new and unseen_maps == 'none' and model.score != 'graph':
        raise ValueError(
            f"the score '{model.score}' needs a class map of every label: take unseen_maps='nearest', or a model with "
            "score='graph' (got unseen_maps='none')"
        )
    new_names = [labels[i] for i in new]
    if word_vectors is not None:
        words = _given(model, word_vectors, labels, known)[new]
    else:
        words = _looked_up(model, new_names, trained, semantics) if new else model.word_vectors[:0]
    later = iter(range(model.num_labels, model.num_labels + len(new)))
    index = torch.tensor([next(later) if place is None else place for place in known])
    return OpenMLSGM(model, labels, index, new_names, words, unseen_maps, num_nearest)


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


def _given(model: MLSGM, words: Tensor, labels: list[str], known: list[int | None]) -> Tensor:
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


def _looked_up(model: MLSGM, new: list[str], trained: list[str], semantics: str | Path | None) -> Tensor:
    """Word vectors of new labels from the source of the trained ones."""
    source = semantics or ((getattr(model, 'config', None) or {}).get('semantics') or {}).get('source')
    if source is None:
        raise ValueError("new labels need word vectors: say where the model's came from (semantics=SOURCE)")
    if str(source) == 'onehot':
        raise ValueError("'onehot' says nothing of a label that the model has not seen: train it with word vectors")
    try:
        words = look_up(new, source)
        there, theirs = _overlap(trained, source)
    except FileNotFoundError as error:
        raise ValueError(
            f"new labels need the file that the model's word vectors came from (semantics=PATH): {error}"
        ) from error
    size = model.word_vectors.size(1)
    if words.size(1) != size:
        raise ValueError(f"'{source}' has vectors of {words.size(1)} numbers; the model was trained on {size} a word")
    if there:
        mine = model.word_vectors[[trained.index(name) for name in there]]
        _check_same(mine, theirs, there, f"'{source}'")
    return words


def _overlap(names: list[str], source: str | Path) -> tuple[list[str], Tensor | None]:
    """Those of some names that a source has, and their vectors."""
    try:
        return names, look_up(names, source)
    except UnknownNames as error:
        names = [name for name in names if name not in error.names]
    return names, look_up(names, source) if names else None


def _check_same(mine: Tensor, theirs: Tensor, names: list[str], source: str) -> None:
    """Word vectors of trained labels must be those of training."""
    mine, theirs = mine.cpu().double(), theirs.cpu().double()
    differ = ~torch.isclose(mine, theirs, rtol=1e-3, atol=1e-4).all(1)
    if differ.any():
        raise ValueError(
            f'{source} must give the word vectors that the model was trained with: it has others for '
            f'{int(differ.sum())} of {len(names)} trained labels, first {names[int(differ.nonzero()[0])]!r}'
        )

"""ML-SGM: the data flow of the paper's Fig. 2 on one page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from mlsgm_pyg.assignment import COMPLETE
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.csac import CSAC, ExtendedCSAC
from mlsgm_pyg.labels import UNSEEN_MAPS, class_names, find_labels, nearest_classes, nearest_weights
from mlsgm_pyg.models.base import ImageModel
from mlsgm_pyg.models.ilms import ILMS, shallow
from mlsgm_pyg.models.output import BLEND, SCORES, Output
from mlsgm_pyg.names import check_choice
from mlsgm_pyg.nn.mlp import ReLUNorm
from mlsgm_pyg.schema import NEAR


class MLSGM(ImageModel):
    r"""Semantic-aware graph matching for multi-label recognition, the whole paper: a backbone,
    :class:`~mlsgm_pyg.csac.CSAC`, which turns its map into instances, and :class:`~mlsgm_pyg.models.ilms.ILMS`, which
    matches them with the labels.

    .. math::
        p^c = \max_{j = 0, \ldots, M} s^c_j \quad \text{(Eq. 15)}

    Args:
        backbone, feature_dropout: See :class:`~mlsgm_pyg.models.base.ImageModel`, as for the shapes.
        word_vectors (Tensor): One row a label, :obj:`[C, F]` (see :func:`mlsgm_pyg.semantics.word_vectors`).
        feature_channels (int, optional): The feature map is reduced to so many channels, D; :obj:`None` keeps the
            backbone's. (default: :obj:`1024`)
        gamma, max_instances, pooling, score_pooling: See :class:`~mlsgm_pyg.csac.CSAC`.
        prior, box_threshold, csac_input, maps: Likewise.
        k, label_graph, label_k: See :class:`~mlsgm_pyg.models.ilms.ILMS`.
        encoder_channels, hidden_channels, block_channels, decoder_channels, prune_last, checkpoint, backend: Likewise.
        product, block_residual, deep_scores: Likewise.
        evidence (bool): Whether matching edges bring what CSAC's classifier makes of the instance,
            :meth:`~mlsgm_pyg.csac.CSAC.evidence_of`, 0 for a label never trained; ours. (default: :obj:`False`)
        word_dropout (float): Likewise; it makes a label's score depend on what its word vector shares with others, for
            labels never trained (:meth:`with_labels`). (default: :obj:`0.0`)
        score (str): What evaluation reports: :obj:`'graph'` (Eq. 15), :obj:`'csac'`, :obj:`'average'` of both
            probabilities or a :obj:`'blend'` of both logits, whose weight, :attr:`blend`, is to be fitted
            (:func:`~mlsgm_pyg.models.blend.fit`) and is 0.5 till then. (default: :obj:`'graph'`)
        graph_dropout (float): Probability of dropping a number of what enters the graph (an instance's feature) and of
            what leaves it (the decoder's hidden layer); ours. (default: :obj:`0.0`)
        graph_gradient (float): Share of the graph's gradient that reaches CSAC's classifier and the backbone, in
            [0, 1]; with 0 these learn from CSAC's loss alone, as a classifier would, and the graph, with the reduction
            that serves it, reads what they found; ours. (default: :obj:`1.0`)

    Raises:
        ValueError: If an option is unknown or out of its range, or word vectors are not one row a label.
    """

    score_names = SCORES

    def __init__(
        self,
        backbone: Backbone,
        word_vectors: Tensor,
        feature_channels: int | None = 1024,
        gamma: float = 0.2,
        max_instances: int = 10,
        pooling: str = 'mean',
        score_pooling: str = 'max',
        prior: float | None = 0.05,
        box_threshold: float = 0.2,
        csac_input: str = 'reduced',
        k: int = 3,
        label_graph: str = COMPLETE,
        label_k: int = 11,
        encoder_channels: Sequence[int] = (512, 256),
        hidden_channels: int = 512,
        block_channels: Sequence[int] = (512, 256),
        decoder_channels: int = 128,
        prune_last: bool = True,
        score: str = 'graph',
        feature_dropout: float = 0.0,
        graph_dropout: float = 0.0,
        word_dropout: float = 0.0,
        graph_gradient: float = 1.0,
        maps: str = 'sigmoid',
        product: bool = False,
        evidence: bool = False,
        block_residual: bool = False,
        deep_scores: bool = False,
        checkpoint: bool = False,
        backend: str = 'auto',
    ):
        super().__init__(backbone, feature_dropout)
        check_choice('score', score, (*SCORES, BLEND))
        if not 0 <= graph_gradient <= 1:
            raise ValueError(f"'graph_gradient' must lie in [0, 1] (got {graph_gradient})")
        self.score, self.graph_gradient = score, graph_gradient
        if score == BLEND:
            self.score_names = (*SCORES, BLEND)
            self.register_buffer('blend', torch.tensor(0.5))
        options = gamma, max_instances, pooling, score_pooling, prior, box_threshold, csac_input, maps, evidence
        self.csac = CSAC(backbone.out_channels, len(word_vectors), feature_channels, *options)
        sizes = encoder_channels, hidden_channels, block_channels, decoder_channels
        levers = product, evidence, block_residual, deep_scores
        rest = *sizes, prune_last, graph_dropout, word_dropout, *levers, checkpoint, backend
        self.ilms = ILMS(self.csac.out_channels, word_vectors, k, label_graph, label_k, *rest)

    @property
    def num_labels(self) -> int:
        """Number of labels in the graph."""
        return self.ilms.num_labels

    @property
    def word_vectors(self) -> Tensor:
        """Word vectors of the labels in the graph, :obj:`[C, F]`."""
        return self.ilms.word_vectors

    def head(self, feature: Tensor) -> Output:
        """Everything after the backbone: feature map -> instances -> assignment graph -> scores."""
        feature = self.dropout(feature)
        csac = self.csac(feature)
        instances = self.csac.select(feature, csac, self.graph_gradient)
        graph = self.ilms.assign.batch(instances)
        out = self.match(graph, regular=True)
        csac_logits, near = self.ilms.of_asked(csac.logits), graph[NEAR].edge_index
        out = out._replace(csac_logits=csac_logits, instances=instances, near=near, blend=getattr(self, BLEND, None))
        return out._replace(logits=out.score(self.score))

    def match(self, graph: HeteroData, regular: bool = False) -> Output:
        """Scores a batch of assignment graphs (Eq. 5-15).

        Args:
            graph (HeteroData): Any graph of these types; own edges, attributes and ``label.x`` are taken as they are,
                and :obj:`match_logits` has one score a matching edge.
            regular (bool): Whether the caller knows that the graph is as :meth:`graphs` made it: then the fast form
                scores it, and :obj:`match_logits` is :obj:`[T, C]`. (default: :obj:`False`)
        """
        return self.ilms.regular(graph) if regular else self.ilms(graph)

    def graphs(self, feature: Tensor, y: Tensor | None = None) -> HeteroData:
        """The batch of assignment graphs of some feature maps, to be stored or looked at.

        Args:
            feature (Tensor): The backbone's maps, :obj:`[B, D', h, w]`.
            y (Tensor, optional): Targets, :obj:`[B, C]`.
        """
        feature = self.dropout(feature)
        return self.ilms.assign.batch(self.csac.select(feature, self.csac(feature)), y)

    def maps(self, feature: Tensor) -> Tensor:
        """CSAC's activation maps of a backbone's feature map: each label's probability at each place, [B, C, h, w]; 0
        for a label that has none.

        Raises:
            ValueError: If the instances are not CSAC's.
        """
        maps, asked = self.csac.activations(self.dropout(feature)), self.ilms.asked
        if asked is None:
            return maps
        return F.pad(maps, (0, 0, 0, 0, 0, self.num_labels - maps.size(1))).index_select(1, asked)

    def fixed_labels(self) -> AbstractContextManager[None]:
        return self.ilms.fixed_labels()

    def compile_dense(self) -> MLSGM:
        """Puts ReLU and LayerNorm of the whole graph through :func:`torch.compile`, for good.

        The results are the same up to rounding. It needs a C++ compiler, or Triton on a GPU.
        """
        for module in self.modules():
            if isinstance(module, ReLUNorm):
                module.compiled = True
        return self

    def with_labels(
        self,
        labels: Sequence[str],
        word_vectors: Tensor | None = None,
        *,
        semantics: str | Path | None = None,
        unseen_maps: str = 'label',
        num_nearest: int = 3,
    ) -> MLSGM:
        r"""A view of this model that scores other labels, trained or not, alone or beside trained ones.

        A new label has the score, box and map of the trained label whose word vector is the most similar. With another
        :obj:`unseen_maps` the graph scores its own word, and new labels listen: each is joined to every instance and
        hears from as many trained labels as these hear from each other, the most similar ones; neither instances nor
        trained labels hear from it. So, with :obj:`unseen_maps='none'`, trained labels have the scores that they have
        without it, up to rounding, and its own score does not depend on what else is asked. The graph always holds all
        trained labels, asked or not.

        Instances are the whole image and those that the trained classes select. With :obj:`unseen_maps='nearest'` a
        new label has a class map as well, a convex combination of its nearest trained labels' classifiers
        (:func:`~mlsgm_pyg.labels.nearest_weights`), and selects instances of its own; these take part in the graph and
        change all scores a little.

        The view shares all weights: it predicts what this model has learned by then, and where it moves (device, type)
        this model moves, too; move the model first, and then ask it for labels. Its :obj:`class_names` are the labels
        asked for, its :obj:`instance_names` trained and new labels, which :obj:`instances.label` numbers.

        Args:
            labels (sequence of str): The labels to score, by name; trained ones are recognised whatever their case,
                underscores and hyphens.
            word_vectors (Tensor, optional): Their word vectors, :obj:`[len(labels), F]`, from the source of the trained
                ones. (default: looked up)
            semantics (str or Path, optional): Where vectors of new labels are looked up, see
                :func:`mlsgm_pyg.semantics.word_vectors`. (default: where those of training came from)
            unseen_maps (str): Where a new label's score comes from: its nearest trained :obj:`'label'`, as it is, which
                was the better one where it was measured (guide, "Labels never trained"); its own word, without a class
                map, :obj:`'none'`, or with one of its :obj:`'nearest'` trained labels. (default: :obj:`'label'`)
            num_nearest (int): How many, with :obj:`'nearest'`. (default: :obj:`3`)

        Raises:
            UnknownNames: If new labels have no word vector; lists them.
            ValueError: If word vectors are not of the trained ones' source, labels repeat, or an option does not fit.
        """
        model = getattr(self, 'trained', self)
        check_choice('unseen_maps', unseen_maps, UNSEEN_MAPS)
        found, num_trained = find_labels(model, labels, word_vectors, semantics), model.num_labels
        if found.new and unseen_maps == 'nearest' and not isinstance(model.csac, CSAC):
            raise ValueError(
                "unseen_maps='nearest' combines class maps, and this model has none: its instances are cells"
            )
        if found.new and unseen_maps == 'none' and model.score != 'graph':
            raise ValueError(
                f"the score '{model.score}' needs a class map of every label: take unseen_maps='label' or 'nearest', "
                "or a model with score='graph' (got unseen_maps='none')"
            )
        view = shallow(model)
        object.__setattr__(view, 'trained', model)  # No part of the view: its weights count once.
        words = torch.cat([model.word_vectors, found.words.to(model.word_vectors)])
        index, instance_names = found.index, class_names(model, num_trained) + found.new
        if unseen_maps == 'label':
            nearest = nearest_classes(words[num_trained:], model.word_vectors).tolist()
            index = torch.tensor([i if i < num_trained else nearest[i - num_trained] for i in index.tolist()])
            words, instance_names = model.word_vectors, instance_names[:num_trained]
        view.ilms = model.ilms.with_words(words, num_trained, index)
        if found.new and unseen_maps == 'nearest':
            weights = nearest_weights(words[num_trained:], model.word_vectors, num_nearest)
            view.csac = ExtendedCSAC(model.csac, weights)
        if found.new and unseen_maps == 'none':
            view.score_names = ('graph',)
        view.class_names, view.instance_names = found.labels, instance_names
        if getattr(model, 'decisions', None) is not None:
            trained = class_names(model, num_trained)
            places = [trained[i] if i < num_trained else None for i in found.index.tolist()]
            view.decisions = model.decisions.renamed(found.labels, places)
        return view

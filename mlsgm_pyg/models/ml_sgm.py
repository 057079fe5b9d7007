"""ML-SGM: the data flow of the paper's Fig. 2 on one page."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.utils import scatter

from mlsgm_pyg.assignment import COMPLETE, AssignmentGraph
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.csac import CSAC
from mlsgm_pyg.models.output import SCORES, Output
from mlsgm_pyg.models.prediction import Predicts
from mlsgm_pyg.names import check_choice
from mlsgm_pyg.nn import Decoder, GraphEncoder, GraphNetworkBlock, regular
from mlsgm_pyg.nn.label_edges import LabelNeighbors
from mlsgm_pyg.nn.mlp import ReLUNorm
from mlsgm_pyg.reduction import build_reduction
from mlsgm_pyg.schema import INSTANCE, LABEL, MATCHES, METADATA, NEAR, RELATED

if TYPE_CHECKING:
    from mlsgm_pyg.models.open_labels import OpenMLSGM


class MLSGM(Predicts, torch.nn.Module):
    r"""Semantic-aware graph matching for multi-label recognition, the whole paper.

    .. math::
        p^c = \max_{j = 0, \ldots, M} s^c_j \quad \text{(Eq. 15)}

    Args:
        backbone (Backbone): Image -> feature map.
        word_vectors (Tensor): One row a label, :obj:`[C, F]` (see :func:`mlsgm_pyg.semantics.word_vectors`).
        feature_channels (int, optional): The feature map is reduced to so many channels, D; :obj:`None` keeps the
            backbone's. (default: :obj:`1024`)
        gamma, max_instances, pooling, score_pooling, prior, box_threshold: See :class:`mlsgm_pyg.csac.CSAC`.
        csac_input (str): Whether CSAC's classifier reads the :obj:`'reduced'` map, as in the paper, or the
            :obj:`'whole'` one of the backbone; instances are reduced in any case. (default: :obj:`'reduced'`)
        k, label_graph, label_k: See :class:`mlsgm_pyg.assignment.AssignmentGraph`.
        encoder_channels (Sequence[int]): Layers of each encoder. (default: :obj:`(512, 256)`)
        hidden_channels (int): Size of messages in the blocks. (default: :obj:`512`)
        block_channels (Sequence[int]): Output size of each graph network block. (default: :obj:`(512, 256)`)
        decoder_channels (int): Hidden size of the decoder. (default: :obj:`128`)
        prune_last (bool): Whether the last block leaves out the edges that the decoder never reads; :obj:`False` builds
            the paper's Table VIII. (default: :obj:`True`)
        score (str): :obj:`'graph'` (Eq. 15), :obj:`'csac'` or :obj:`'average'` of both: what evaluation reports.
            (default: :obj:`'graph'`)
        feature_dropout (float): Probability of dropping a channel of the feature map. (default: :obj:`0.0`)
        graph_dropout (float): Probability of dropping a number of what enters the graph (an instance's feature) and of
            what leaves it (the decoder's hidden layer); ours. (default: :obj:`0.0`)
        word_dropout (float): Probability of dropping a number of a word vector in training, so that a label's score
            comes to depend on what its word vector shares with others; for labels never trained
            (:meth:`with_labels`). (default: :obj:`0.0`)
        graph_gradient (float): Share of the graph's gradient that reaches CSAC and the backbone, in [0, 1]; with 0
            these learn from CSAC's loss alone, as a classifier would, and the graph reads what they found; ours.
            (default: :obj:`1.0`)
        checkpoint (bool): Whether training recomputes the label edges instead of keeping them. (default: :obj:`False`)
        backend (str): See :func:`mlsgm_pyg.nn.scatter_mean`. (default: :obj:`'auto'`)

    Shapes:
        - **input:** image :math:`(B, 3, H, W)`, uint8 in [0, 255] or float in [0, 1]
        - **output:** :class:`~mlsgm_pyg.models.output.Output`

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
        prior: float = 0.05,
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
        checkpoint: bool = False,
        backend: str = 'auto',
    ):
        super().__init__()
        if word_vectors.dim() != 2:
            raise ValueError(f"'word_vectors' must hold one row a label, [C, F] (got {list(word_vectors.shape)})")
        check_choice('score', score, SCORES)
        if not 0 <= graph_gradient <= 1:
            raise ValueError(f"'graph_gradient' must lie in [0, 1] (got {graph_gradient})")
        self.graph_gradient = graph_gradient
        self.num_labels, words = word_vectors.shape
        self.score, self.checkpoint, self.num_blocks = score, checkpoint, len(block_channels)
        self.register_buffer('word_vectors', word_vectors.float().clone())
        size = backbone.out_channels if feature_channels is None else feature_channels

        self.backbone = backbone
        self.dropout, self.graph_dropout = torch.nn.Dropout2d(feature_dropout), torch.nn.Dropout(graph_dropout)
        self.word_dropout = torch.nn.Dropout(word_dropout)
        self.reduce = build_reduction(backbone.out_channels, feature_channels)
        options = gamma, max_instances, pooling, score_pooling, prior, box_threshold, csac_input
        self.csac = CSAC(backbone.out_channels if csac_input == 'whole' else size, self.num_labels, *options)
        self.assign = AssignmentGraph(self.num_labels, k, label_graph, label_k, word_vectors)
        self.encoder = GraphEncoder(
            {INSTANCE: size, LABEL: words},
            {NEAR: (4, 4), RELATED: (words, words), MATCHES: (size, words)},
            encoder_channels,
        )
        sizes = [encoder_channels[-1], *block_channels]
        self.blocks = torch.nn.ModuleList(
            GraphNetworkBlock(
                METADATA,
                sizes[i],
                sizes[i + 1],
                hidden_channels,
                reverse=[MATCHES],
                update_edges=[MATCHES] if prune_last and i == len(block_channels) - 1 else None,
                backend=backend,
            )
            for i in range(len(block_channels))
        )
        self.decoder = Decoder(sizes[-1], decoder_channels, graph_dropout)
        self._labels_fixed, self._fixed_values = False, None

    def with_labels(
        self,
        labels: Sequence[str],
        word_vectors: Tensor | None = None,
        *,
        semantics: str | Path | None = None,
        unseen_maps: str = 'none',
        num_nearest: int = 3,
    ) -> 'OpenMLSGM':
        """The same model for other labels, trained or not; see :class:`~mlsgm_pyg.models.open_labels.OpenMLSGM`.

        Args:
            labels (sequence of str): The labels to score, by name; trained ones are recognised whatever their case,
                underscores and hyphens.
            word_vectors (Tensor, optional): Their word vectors, :obj:`[len(labels), F]`, from the source of the trained
                ones. (default: looked up)
            semantics (str or Path, optional): Where vectors of new labels are looked up, see
                :func:`mlsgm_pyg.semantics.word_vectors`. (default: where those of training came from)
            unseen_maps (str): :obj:`'nearest'` starts a class map of each new label from its nearest trained labels, so
                that it selects instances, too. (default: :obj:`'none'`)
            num_nearest (int): How many, with :obj:`'nearest'`. (default: :obj:`3`)

        Raises:
            UnknownNames: If new labels have no word vector; lists them.
            ValueError: If word vectors are not of the trained ones' source, labels repeat, or an option does not fit.
        """
        from mlsgm_pyg.models.open_labels import open_labels  # It extends this class.

        return open_labels(self, labels, word_vectors, semantics, unseen_maps, num_nearest)

    def compile_dense(self) -> 'MLSGM':
        """Puts ReLU and LayerNorm of the whole graph through :func:`torch.compile`, for good.

        The results are the same up to rounding. It needs a C++ compiler, or Triton on a GPU.
        """
        for module in self.modules():
            if isinstance(module, ReLUNorm):
                module.compiled = True
        return self

    def features(self, image: Tensor) -> Tensor:
        """The backbone's feature map, :obj:`[B, D', h, w]`."""
        return self.backbone(image)

    def forward(self, image: Tensor) -> Output:
        return self.head(self.features(image))

    def head(self, feature: Tensor) -> Output:
        """Everything after the backbone: feature map -> instances -> assignment graph -> scores."""
        feature = self.dropout(feature)
        csac = self.csac(feature, self.reduce)
        instances = self.csac.select(feature, csac, self.reduce)
        if self.graph_gradient < 1 and torch.is_grad_enabled():
            x = instances.x.detach()
            instances = instances._replace(x=x + self.graph_gradient * (instances.x - x))
        graph = self.assign.batch(instances)
        out = self.match(graph)._replace(csac_logits=csac.logits, instances=instances, near=graph[NEAR].edge_index)
        return out._replace(logits=out.score(self.score))

    def maps(self, feature: Tensor) -> Tensor:
        """CSAC's activation maps of a backbone's feature map: each label's probability at each place, [B, C, h, w].

        Raises:
            ValueError: If the instances are not CSAC's.
        """
        maps = self.csac(self.dropout(feature), self.reduce).maps
        if maps is None:
            raise ValueError('this model has no activation maps: its instances are not from CSAC')
        return maps.sigmoid()

    def graphs(self, feature: Tensor, y: Tensor | None = None) -> HeteroData:
        """The batch of assignment graphs of some feature maps, to be stored or looked at.

        Args:
            feature (Tensor): The backbone's maps, :obj:`[B, D', h, w]`.
            y (Tensor, optional): Targets, :obj:`[B, C]`.
        """
        feature = self.dropout(feature)
        csac = self.csac(feature, self.reduce)
        return self.assign.batch(self.csac.select(feature, csac, self.reduce), y)

    @contextmanager
    def fixed_labels(self) -> Iterator[None]:
        """A scope for evaluation in which what depends on the labels alone is computed once for all batches.

        Parameters must not change inside. :meth:`train`, :meth:`eval`, :meth:`load_state_dict` and moves to another
        device or type end it early, so nothing stale is ever used; with gradients enabled it has no effect.
        """
        self._labels_fixed, self._fixed_values = True, None
        try:
            yield
        finally:
            self._free_labels()

    def _free_labels(self) -> None:
        self._labels_fixed, self._fixed_values = False, None

    def train(self, mode: bool = True) -> 'MLSGM':
        self._free_labels()
        return super().train(mode)

    def load_state_dict(self, *args, **kwargs):
        self._free_labels()
        keys = super().load_state_dict(*args, **kwargs)
        self.assign = self.assign.of(self.word_vectors.cpu())  # The neighbours of the word vectors that came.
        return keys

    def _apply(self, *args, **kwargs):
        self._free_labels()
        return super()._apply(*args, **kwargs)

    def _label_values(self, layout: regular.Layout) -> regular.LabelValues:
        keep = self._labels_fixed and not torch.is_grad_enabled()
        if keep and self._fixed_values is not None:
            return self._fixed_values
        words = self.word_dropout(self.word_vectors)
        values = regular.label_values(self.encoder, self.blocks[0], layout, words, keep)
        if keep:
            self._fixed_values = values
        return values

    def match(self, graph: HeteroData) -> Output:
        """Scores a batch of assignment graphs (Eq. 5-15).

        Graphs that :class:`~mlsgm_pyg.assignment.AssignmentGraph` built take the fast form; any other (own edges, own
        ``label.x``) takes the plain one, with the same parameters. There, :obj:`match_logits` has one score an edge.
        """
        return self._match_regular(graph) if self.is_regular(graph) else self._match_plain(graph)

    def is_regular(self, graph: HeteroData) -> bool:
        """Whether each label has this model's neighbours and every instance is joined to every label."""
        if 'x' in graph[LABEL] or 'edge_attr' in graph[RELATED] or 'edge_attr' in graph[MATCHES]:
            return False
        instances, ptr = graph[INSTANCE].num_nodes, graph[INSTANCE].get('ptr')
        images = 1 if ptr is None else ptr.numel() - 1
        expected = (  # Subgraphs keep the mark but not the number of edges.
            (RELATED, self.assign.layout, images * self.assign.label_edges.size(1)),
            (MATCHES, COMPLETE, instances * self.num_labels),
        )
        for key, layout, edges in expected:
            mark = graph[key].get('layout')
            marks = {mark} if isinstance(mark, str) or mark is None else set(mark)  # Empty without images.
            if not marks <= {layout} or graph[key].edge_index.size(1) != edges:
                return False
        return True

    def _match_regular(self, graph: HeteroData) -> Output:
        instance = graph[INSTANCE]
        batch, ptr = instance.get('batch'), instance.get('ptr')
        if batch is None:  # One image that was never collated.
            ptr = torch.tensor([0, instance.num_nodes], device=instance.x.device)
            batch = torch.zeros(instance.num_nodes, dtype=torch.long, device=instance.x.device)
        neighbors = LabelNeighbors(self.num_labels, self.assign.at(batch.device)[1])
        near_index, senders = graph[NEAR].edge_index, self.assign.num_senders
        layout = regular.Layout(near_index, batch, ptr, neighbors, self.checkpoint, senders)
        near = _near_halves(graph)
        x = self.graph_dropout(instance.x)
        state = regular.encode(self.encoder, layout, x, near, self._label_values(layout))
        for i, block in enumerate(self.blocks):
            twice = i + 1 < self.num_blocks and RELATED in self.blocks[i + 1].update_edges
            state = regular.update(block, layout, state, read_once=not twice)
        match = self.decoder(state.matches)
        best = scatter(match, batch, dim=0, dim_size=layout.num_images, reduce='max')  # Eq. 15; commutes with sigmoid.
        return Output(best, graph_logits=best, match_logits=match, label_x=state.label)

    def _match_plain(self, graph: HeteroData) -> Output:
        words = graph[LABEL].get('x')
        words = self.word_dropout(self.word_vectors)[graph[LABEL].n_id] if words is None else words
        x = self.graph_dropout(graph[INSTANCE].x)
        halves = {
            NEAR: _near_halves(graph),
            RELATED: graph[RELATED].get('edge_attr', (words, words)),
            MATCHES: graph[MATCHES].get('edge_attr', (x, words)),
        }
        edge_index = {key: graph[key].edge_index for key in METADATA[1]}
        x, edge_attr = self.encoder({INSTANCE: x, LABEL: words}, edge_index, halves)
        for block in self.blocks:
            x, edge_attr = block(x, edge_index, edge_attr)
        match = self.decoder(edge_attr[MATCHES])
        lowest = match.new_full((words.size(0),), torch.finfo(match.dtype).min)  # Of a label that nothing matches.
        best = lowest.scatter_reduce(0, edge_index[MATCHES][1], match, 'amax')
        images = graph.num_graphs if 'ptr' in graph[LABEL] else 1
        best = best.view(images, -1)
        return Output(best, graph_logits=best, match_logits=match, label_x=x[LABEL].view(images, -1, x[LABEL].size(-1)))


def _near_halves(graph: HeteroData) -> Tensor | tuple[Tensor, Tensor]:
    """Eq. 2 as it is stored, or else the boxes that it is made of."""
    box = graph[INSTANCE].get('box')
    return graph[NEAR].get('edge_attr', (box, box))

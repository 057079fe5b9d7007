"""ML-SGM without some of its parts: the rows of the paper's Tables VII and IX, from the parts themselves."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.typing import EdgeType
from torch_geometric.utils import scatter

from mlsgm_pyg.assignment import COMPLETE, AssignmentGraph
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.cells import Cells
from mlsgm_pyg.csac import CSAC
from mlsgm_pyg.knn import knn_edges
from mlsgm_pyg.models.base import ImageModel
from mlsgm_pyg.models.ilms import ILMS, build_blocks
from mlsgm_pyg.models.ml_sgm import MLSGM
from mlsgm_pyg.models.output import SCORES, Output
from mlsgm_pyg.names import check_choice
from mlsgm_pyg.nn import Decoder, GraphEncoder, ScatterMean, SplitMLP
from mlsgm_pyg.schema import NEAR, RELATED

CSAC_PART, INSTANCE_GRAPH, LABEL_GRAPH = PARTS = ('csac', 'instance_graph', 'label_graph')


class WithoutCSAC(MLSGM):
    r"""ML-SGM on instances that no class map chose: "Our w/o CASC" of Table IX.

    All else is :class:`~mlsgm_pyg.models.ml_sgm.MLSGM`, matching edges included. The paper does not say what takes
    CSAC's place: here the :class:`~mlsgm_pyg.cells.Cells` of a grid. Nine of them and the whole image are about as
    many instances as CSAC may choose.

    Args:
        backbone, word_vectors: See :class:`~mlsgm_pyg.models.ml_sgm.MLSGM`, as for all that is not named here.
        grid (int): Rows and columns of the grid. (default: :obj:`3`)

    Raises:
        ValueError: If an option is out of its range.
    """

    score_names = ('graph',)

    def __init__(
        self,
        backbone: Backbone,
        word_vectors: Tensor,
        grid: int = 3,
        feature_channels: int | None = 1024,
        pooling: str = 'mean',
        k: int = 3,
        label_graph: str = COMPLETE,
        label_k: int = 11,
        encoder_channels: Sequence[int] = (512, 256),
        hidden_channels: int = 512,
        block_channels: Sequence[int] = (512, 256),
        decoder_channels: int = 128,
        prune_last: bool = True,
        feature_dropout: float = 0.0,
        graph_dropout: float = 0.0,
        checkpoint: bool = False,
        backend: str = 'auto',
    ):
        ImageModel.__init__(self, backbone, feature_dropout)
        self.score, self.graph_gradient = 'graph', 1.0
        self.csac = Cells(backbone.out_channels, grid, feature_channels, pooling)
        sizes = encoder_channels, hidden_channels, block_channels, decoder_channels
        rest = {'checkpoint': checkpoint, 'backend': backend, 'dropout': graph_dropout}
        self.ilms = ILMS(self.csac.out_channels, word_vectors, k, label_graph, label_k, *sizes, prune_last, **rest)


class GraphStack(torch.nn.Module):
    """One graph alone: its encoder and its graph network blocks; the last block updates nodes only.

    Args:
        edge_type (EdgeType): The graph's one relation, from a node type to itself.
        in_channels (int): Size of the nodes' attributes.
        half_channels (int): Size of the two halves of the edges' attributes.
        encoder_channels, hidden_channels, block_channels, backend: See :class:`~mlsgm_pyg.models.ml_sgm.MLSGM`.

    Shapes:
        - **inputs:** :obj:`x` :math:`(N, F)`, :obj:`edge_index` :math:`(2, E)`, :obj:`half` :math:`(N, F_h)`
        - **output:** :math:`(N, F_{out})`
    """

    def __init__(
        self,
        edge_type: EdgeType,
        in_channels: int,
        half_channels: int,
        encoder_channels: Sequence[int],
        hidden_channels: int,
        block_channels: Sequence[int],
        backend: str,
    ):
        super().__init__()
        self.edge_type, self.node_type = edge_type, edge_type[0]
        self.encoder = GraphEncoder(
            {self.node_type: in_channels}, {edge_type: (half_channels, half_channels)}, encoder_channels
        )
        sizes = encoder_channels[-1], *block_channels
        metadata = ([self.node_type], [edge_type])
        self.blocks = build_blocks(metadata, sizes, hidden_channels, last_edges=[], aggr=ScatterMean(backend))

    def forward(self, x: Tensor, edge_index: Tensor, half: Tensor) -> Tensor:
        index = {self.edge_type: edge_index}
        x, edge_attr = self.encoder({self.node_type: x}, index, {self.edge_type: (half, half)})
        for block in self.blocks:
            x, edge_attr = block(x, index, edge_attr)
        return x[self.node_type]


class Ablation(ImageModel):
    r"""ML-SGM without matching edges and, maybe, without more: rows 2 to 6 of Table VII.

    ====  =============================================  ==================================================
    row   :obj:`parts`                                   score of instance j and label c
    ====  =============================================  ==================================================
    2     :obj:`csac`                                    linear classifier of :math:`\mathbf{x}^j`
    3     :obj:`csac`, :obj:`instance_graph`             linear classifier of the instance's final vector
    4     :obj:`label_graph`                             decoder of [encoded :math:`\mathbf{x}^0`, label's final vector]
    5     :obj:`instance_graph`, :obj:`label_graph`      decoder of [instance's, label's final vector]
    6     all three ("w/o ILMS" of Table IX)             as 5
    ====  =============================================  ==================================================

    The best instance is the image's score, as in Eq. 15. Row 1 is :class:`~mlsgm_pyg.models.pooled.PooledLinear`,
    row 7 :class:`~mlsgm_pyg.models.ml_sgm.MLSGM`. The encoders, blocks and decoder are theirs, each graph with its own:
    they run in parallel, and the label graph is the same for all images.

    The paper says of row 6 that it concatenates instance and label features "directly ... to identify multiple
    labels", and leaves open the rest. Chosen here: the concatenation is read by the decoder of Eq. 14; without label
    graph there is no label vector, so instances have a linear classifier; without CSAC, instances are the
    :class:`~mlsgm_pyg.cells.Cells` of a grid where there is an instance graph (row 5, which the paper ticks no baseline
    for, is on the same backbone), else the whole image alone (row 4); CSAC's own loss stays wherever CSAC does.

    Args:
        backbone, word_vectors: See :class:`~mlsgm_pyg.models.ml_sgm.MLSGM`, as for all that is not named here.
        parts (Sequence[str]): What is kept of :obj:`'csac'`, :obj:`'instance_graph'` and :obj:`'label_graph'`.
        grid (int): Rows and columns of the grid that is an instance graph's without CSAC. (default: :obj:`3`)

    Raises:
        ValueError: If a part is unknown or there is none, or an option is out of its range.
    """

    def __init__(
        self,
        backbone: Backbone,
        word_vectors: Tensor,
        parts: Sequence[str],
        grid: int = 3,
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
        score: str = 'graph',
        feature_dropout: float = 0.0,
        graph_dropout: float = 0.0,
        backend: str = 'auto',
    ):
        super().__init__(backbone, feature_dropout)
        if not parts:
            raise ValueError(f"'parts' must name some of {', '.join(PARTS)} (got none, which is the 'baseline')")
        for part in parts:
            check_choice('parts', part, PARTS)
        self.parts = tuple(part for part in PARTS if part in parts)
        self.score_names = SCORES if CSAC_PART in self.parts else ('graph',)
        check_choice('score', score, self.score_names)
        self.num_labels, words = word_vectors.shape
        self.score, self.k, self.label_graph, self.label_k = score, k, label_graph, label_k
        self.graph_dropout = torch.nn.Dropout(graph_dropout)
        if CSAC_PART in self.parts:
            options = gamma, max_instances, pooling, score_pooling, prior, box_threshold, csac_input
            self.csac = CSAC(backbone.out_channels, self.num_labels, feature_channels, *options)
        else:
            grid = grid if INSTANCE_GRAPH in self.parts else 0
            self.csac = Cells(backbone.out_channels, grid, feature_channels, pooling)
        size = self.csac.out_channels
        stack = (encoder_channels, hidden_channels, block_channels, backend)
        final = (encoder_channels[-1], *block_channels)[-1]
        if INSTANCE_GRAPH in self.parts:
            self.instance_stack = GraphStack(NEAR, size, 4, *stack)
            size = final
        if LABEL_GRAPH in self.parts:
            if INSTANCE_GRAPH not in self.parts:
                self.encoder = SplitMLP(size, encoder_channels)
                size = encoder_channels[-1]
            self.register_buffer('word_vectors', word_vectors.float().clone())
            self._join_labels()
            self.label_stack = GraphStack(RELATED, words, words, *stack)
            self.decoder = Decoder((size, final), decoder_channels, graph_dropout)
        else:
            self.classifier = torch.nn.Linear(size, self.num_labels)

    def _join_labels(self) -> None:
        """The label graph's edges, which follow from the word vectors."""
        words = self.word_vectors.cpu()
        edges = AssignmentGraph(self.num_labels, self.k, self.label_graph, self.label_k, words).label_edges
        self.register_buffer('label_edges', edges.to(self.word_vectors.device), persistent=False)

    def state_loaded(self) -> None:
        super().state_loaded()
        if LABEL_GRAPH in self.parts:
            self._join_labels()  # The neighbours of the word vectors that came.

    def label_values(self, keep: bool = False) -> Tensor | None:
        """The labels' final vectors, [C, D]."""
        if LABEL_GRAPH not in self.parts:
            return None
        return self.label_stack(self.word_vectors, self.label_edges, self.word_vectors)

    def head(self, feature: Tensor) -> Output:
        feature = self.dropout(feature)
        csac = self.csac(feature)
        found = self.csac.select(feature, csac)
        x, label, near = self.graph_dropout(found.x), self.labels(), None
        if INSTANCE_GRAPH in self.parts:
            near = knn_edges(found.centre, found.ptr, self.k, found.sizes)
            x = self.instance_stack(x, near, found.box.to(x.dtype))
        if label is not None and INSTANCE_GRAPH not in self.parts:
            x = self.encoder(x)
        match = self.classifier(x) if label is None else self.decoder(x[:, None], label)
        best = scatter(match, found.batch, dim=0, dim_size=feature.size(0), reduce='max')  # Eq. 15.
        label = None if label is None else label.expand(feature.size(0), -1, -1)
        out = Output(best, best, csac.logits, match, found, label, near)
        return out._replace(logits=out.score(self.score))

    def maps(self, feature: Tensor) -> Tensor:
        """CSAC's activation maps, see :meth:`mlsgm_pyg.models.MLSGM.maps`."""
        return self.csac.activations(self.dropout(feature))

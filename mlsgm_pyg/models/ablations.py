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
from mlsgm_pyg.models.ml_sgm import MLSGM
from mlsgm_pyg.models.output import SCORES, Output
from mlsgm_pyg.models.prediction import Predicts
from mlsgm_pyg.names import check_choice
from mlsgm_pyg.nn import MLP, Decoder, GraphEncoder, GraphNetworkBlock
from mlsgm_pyg.reduction import build_reduction
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
        super().__init__(
            backbone,
            word_vectors,
            feature_channels=feature_channels,
            k=k,
            label_graph=label_graph,
            label_k=label_k,
            encoder_channels=encoder_channels,
            hidden_channels=hidden_channels,
            block_channels=block_channels,
            decoder_channels=decoder_channels,
            prune_last=prune_last,
            feature_dropout=feature_dropout,
            graph_dropout=graph_dropout,
            checkpoint=checkpoint,
            backend=backend,
        )
        self.csac = Cells(grid, pooling)


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
        sizes = [encoder_channels[-1], *block_channels]
        self.blocks = torch.nn.ModuleList(
            GraphNetworkBlock(
                ([self.node_type], [edge_type]),
                sizes[i],
                sizes[i + 1],
                hidden_channels,
                update_edges=[] if i == len(block_channels) - 1 else None,
                backend=backend,
            )
            for i in range(len(block_channels))
        )

    def forward(self, x: Tensor, edge_index: Tensor, half: Tensor) -> Tensor:
        index = {self.edge_type: edge_index}
        x, edge_attr = self.encoder({self.node_type: x}, index, {self.edge_type: (half, half)})
        for block in self.blocks:
            x, edge_attr = block(x, index, edge_attr)
        return x[self.node_type]


class Ablation(Predicts, torch.nn.Module):
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

    The best instance is the image's score, as in Eq. 15. Row 1 is :class:`~mlsgm_pyg.models.baseline.PooledLinear`,
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

    Shapes:
        - **input:** image :math:`(B, 3, H, W)`
        - **output:** :class:`~mlsgm_pyg.models.output.Output`

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
        score: str = 'graph',
        feature_dropout: float = 0.0,
        graph_dropout: float = 0.0,
        backend: str = 'auto',
    ):
        super().__init__()
        if not parts:
            raise ValueError(f"'parts' must name some of {', '.join(PARTS)} (got none, which is the 'baseline')")
        for part in parts:
            check_choice('parts', part, PARTS)
        self.parts = tuple(part for part in PARTS if part in parts)
        self.score_names = SCORES if CSAC_PART in self.parts else ('graph',)
        check_choice('score', score, self.score_names)
        self.num_labels, words = word_vectors.shape
        self.score, self.k = score, k
        size = backbone.out_channels if feature_channels is None else feature_channels

        self.backbone = backbone
        self.dropout, self.graph_dropout = torch.nn.Dropout2d(feature_dropout), torch.nn.Dropout(graph_dropout)
        self.reduce = build_reduction(backbone.out_channels, feature_channels)
        if CSAC_PART in self.parts:
            options = gamma, max_instances, pooling, score_pooling, prior, box_threshold, csac_input
            self.csac = CSAC(backbone.out_channels if csac_input == 'whole' else size, self.num_labels, *options)
        else:
            self.csac = Cells(grid if INSTANCE_GRAPH in self.parts else 0, pooling)
        stack = (encoder_channels, hidden_channels, block_channels, backend)
        final = (encoder_channels[-1], *block_channels)[-1]
        if INSTANCE_GRAPH in self.parts:
            self.instances = GraphStack(NEAR, size, 4, *stack)
            size = final
        if LABEL_GRAPH in self.parts:
            if INSTANCE_GRAPH not in self.parts:
                self.encoder = MLP(size, encoder_channels)
                size = encoder_channels[-1]
            self.register_buffer('word_vectors', word_vectors.float().clone())
            self.assign = AssignmentGraph(self.num_labels, k, label_graph, label_k, word_vectors)
            self.labels = GraphStack(RELATED, words, words, *stack)
            self.decoder = Decoder((size, final), decoder_channels, graph_dropout)
        else:
            self.classifier = torch.nn.Linear(size, self.num_labels)

    def features(self, image: Tensor) -> Tensor:
        """The backbone's feature map."""
        return self.backbone(image)

    def forward(self, image: Tensor) -> Output:
        return self.head(self.features(image))

    def head(self, feature: Tensor) -> Output:
        """Everything after the backbone."""
        feature = self.dropout(feature)
        csac = self.csac(feature, self.reduce)
        found = self.csac.select(feature, csac, self.reduce)
        x, label, near = self.graph_dropout(found.x), None, None
        if INSTANCE_GRAPH in self.parts:
            near = knn_edges(found.box[:, :2] + found.box[:, 2:] / 2, found.ptr, self.k, found.sizes)
            x = self.instances(x, near, found.box)
        if LABEL_GRAPH in self.parts:
            x = x if INSTANCE_GRAPH in self.parts else self.encoder(x)
            label = self.labels(self.word_vectors, self.assign.at(x.device)[0], self.word_vectors)
        match = self.classifier(x) if label is None else self.decoder(x[:, None], label)
        best = scatter(match, found.batch, dim=0, dim_size=feature.size(0), reduce='max')  # Eq. 15.
        label = None if label is None else label.expand(feature.size(0), -1, -1)
        out = Output(best, best, csac.logits, match, found, label, near)
        return out._replace(logits=out.score(self.score))

    maps = MLSGM.maps  # CSAC's; without it there are none.

    def load_state_dict(self, *args, **kwargs):
        keys = super().load_state_dict(*args, **kwargs)
        if LABEL_GRAPH in self.parts:  # The neighbours of the word vectors that came.
            old = self.assign
            self.assign = AssignmentGraph(self.num_labels, old.k, old.label_graph, old.label_k, self.word_vectors.cpu())
        return keys

"""ILMS, Instance-Label Matching Selection: an assignment graph in, every label's score out (paper, Section III-D)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType, Metadata

from mlsgm_pyg.assignment import COMPLETE, AssignmentGraph, evidence_of, label_sources
from mlsgm_pyg.csac import Slots
from mlsgm_pyg.knn import nearest_slots
from mlsgm_pyg.models.fixed import LabelsOnce
from mlsgm_pyg.models.output import Output
from mlsgm_pyg.nn import Decoder, GraphEncoder, GraphNetworkBlock, ScatterMean, fast
from mlsgm_pyg.nn.layouts import Padded, Ragged
from mlsgm_pyg.schema import EDGE_TYPES, INSTANCE, LABEL, MATCHES, METADATA, NEAR, RELATED


class ILMS(LabelsOnce):
    r"""Encoder, graph network blocks and decoder: the whole of ML-SGM behind its instances (paper, Eq. 5-15).

    .. math::
        p^c = \max_{j = 0, \ldots, M} s^c_j \quad \text{(Eq. 15)}

    It takes instances from anywhere: regions, a detector's boxes, patches. :attr:`assign` joins them to the labels::

        ilms = ILMS(256, word_vectors)
        data['instance'].x, data['instance'].box = features, relative_boxes(boxes, height, width)
        probabilities = ilms(ilms.assign(data)).logits.sigmoid()

    Args:
        in_channels (int): Size of an instance's feature, D.
        word_vectors (Tensor): One row a label, :obj:`[C, F]`; a graph that brings its own labels (``label.x``) has any
            number of others.
        k, label_graph, label_k: See :class:`~mlsgm_pyg.assignment.AssignmentGraph`.
        encoder_channels (Sequence[int]): Layers of each encoder. (default: :obj:`(512, 256)`)
        hidden_channels (int): Size of messages in the blocks. (default: :obj:`512`)
        block_channels (Sequence[int]): Output size of each graph network block. (default: :obj:`(512, 256)`)
        decoder_channels (int): Hidden size of the decoder. (default: :obj:`128`)
        prune_last (bool): Whether the last block leaves out the edges that the decoder never reads; :obj:`False` builds
            the paper's Table VIII. (default: :obj:`True`)
        dropout (float): Probability of dropping a number of an instance's feature and of the decoder's hidden layer;
            ours. (default: :obj:`0.0`)
        word_dropout (float): Probability of dropping a number of a word vector in training; ours. (default: :obj:`0.0`)
        product (bool): Whether matching edges see the product of feature and word vector, too, see
            :class:`~mlsgm_pyg.nn.encoder.PairMLP`; ours. (default: :obj:`False`)
        evidence (bool): Whether matching edges bring a score of their own, ``matches.edge_attr`` :math:`(E, 1)`: what
            a classifier makes of the instance, say; :attr:`assign` makes it of ``instance.evidence`` :math:`(T, C)`, 0
            for labels beyond its columns; ours. (default: :obj:`False`)
        block_residual (bool): :obj:`residual` of :class:`~mlsgm_pyg.nn.GraphNetworkBlock`. (default: :obj:`False`)
        deep_scores (bool): Whether a linear score of the matching edges before each block is added to the decoder's, as
            in deeply-supervised nets (Lee et al., 2015); ours. (default: :obj:`False`)
        checkpoint (bool): Whether training recomputes the label edges instead of keeping them. (default: :obj:`False`)
        backend (str): See :func:`mlsgm_pyg.nn.scatter_mean`. (default: :obj:`'auto'`)

    Shapes:
        - **input:** a graph, or a batch of B, with ``instance.x`` :math:`(T, D)`, ``instance.box`` :math:`(T, 4)` (or
          ``near.edge_attr`` :math:`(E, 8)`) and the edges that :attr:`assign` adds
        - **output:** :class:`~mlsgm_pyg.models.output.Output` with :obj:`logits` :math:`(B, C)`

    Raises:
        ValueError: If an option is unknown or out of its range, word vectors are not one row a label, a graph lacks
            what is read, or the graphs of a batch have different numbers of labels.
    """

    def __init__(
        self,
        in_channels: int,
        word_vectors: Tensor,
        k: int = 3,
        label_graph: str = COMPLETE,
        label_k: int = 11,
        encoder_channels: Sequence[int] = (512, 256),
        hidden_channels: int = 512,
        block_channels: Sequence[int] = (512, 256),
        decoder_channels: int = 128,
        prune_last: bool = True,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        product: bool = False,
        evidence: bool = False,
        block_residual: bool = False,
        deep_scores: bool = False,
        checkpoint: bool = False,
        backend: str = 'auto',
    ):
        super().__init__()
        if word_vectors.dim() != 2:
            raise ValueError(f"'word_vectors' must hold one row a label, [C, F] (got {list(word_vectors.shape)})")
        for name, sizes in (('encoder_channels', encoder_channels), ('block_channels', block_channels)):
            if not sizes:
                raise ValueError(f"'{name}' must hold at least one size (got none)")
        words = word_vectors.size(1)
        self.in_channels, self.k, self.backend, self.checkpoint = in_channels, k, backend, checkpoint
        self.label_graph, self.label_k, self.num_senders = label_graph, label_k, None
        self.register_buffer('asked', None, persistent=False)  # The labels that are scored; None: all.
        self.register_buffer('word_vectors', word_vectors.float().clone())
        self._join_labels()
        self.evidence = evidence
        self.dropout, self.word_dropout = torch.nn.Dropout(dropout), torch.nn.Dropout(word_dropout)
        self.encoder = GraphEncoder(
            {INSTANCE: in_channels, LABEL: words},
            {NEAR: (4, 4), RELATED: (words, words), MATCHES: (in_channels, words)},
            encoder_channels,
            product=[MATCHES] if product else [],
            evidence=[MATCHES] if evidence else [],
        )
        sizes = encoder_channels[-1], *block_channels
        options = {'reverse': [MATCHES], 'aggr': ScatterMean(backend), 'residual': block_residual}
        self.blocks = build_blocks(METADATA, sizes, hidden_channels, [MATCHES] if prune_last else None, **options)
        self.decoder = Decoder(sizes[-1], decoder_channels, dropout)
        #: Of the matching edges before each block.
        self.deep = torch.nn.ModuleList(torch.nn.Linear(size, 1) for size in sizes[:-1] if deep_scores)
        if product:
            self.encoder.edges[MATCHES].centre.copy_(self.word_vectors.mean(0))

    def reset_parameters(self) -> None:
        for module in (self.encoder, *self.blocks, self.decoder, *self.deep):
            module.reset_parameters()

    def _join_labels(self) -> None:
        """Finds who sends to each label, which follows from the word vectors."""
        sources = label_sources(self.word_vectors, self.label_graph, self.label_k, self.num_senders)
        #: Builds the graphs, of one image or of a batch.
        self.assign = AssignmentGraph(self.num_labels, self.k, sources=sources)
        sources = None if sources is None else sources.to(self.word_vectors.device)
        self.register_buffer('sources', sources, persistent=False)

    @property
    def num_labels(self) -> int:
        """Number of labels in the graph, C."""
        return self.word_vectors.size(0)

    def with_words(self, words: Tensor, num_senders: int, asked: Tensor) -> ILMS:
        """The same module, with the same weights, for other labels.

        Args:
            words (Tensor): Word vectors, :obj:`[C, F]`.
            num_senders (int): The first so many labels send; the others only listen.
            asked (Tensor): Numbers of the labels that are scored, in the order of the scores.
        """
        view = shallow(self)
        view.word_vectors, view.asked = words, asked.to(words.device)
        view.num_senders = num_senders if num_senders < len(words) else None
        view._join_labels()
        view._free_labels()
        return view

    def of_asked(self, csac_logits: Tensor | None) -> Tensor | None:
        """CSAC's scores of the labels asked for, where all of them have a class map."""
        if csac_logits is None or self.asked is None:
            return csac_logits
        return csac_logits.index_select(1, self.asked) if csac_logits.size(1) == self.num_labels else None

    def state_loaded(self) -> None:
        super().state_loaded()
        self._join_labels()  # The neighbours of the word vectors that came.

    def label_values(self, keep: bool = False) -> fast.LabelValues:
        words = self.word_dropout(self.word_vectors)
        return fast.label_values(self.encoder, self.blocks, self._labels_joined(), words, keep)

    def _labels_joined(self) -> fast.LabelGraph:
        return fast.LabelGraph(self.num_labels, self.sources, self.num_senders, self.checkpoint)

    def forward(self, graph: HeteroData) -> Output:
        """The plain form: message passing on the edges that the graph has; :obj:`match_logits` has a score an edge."""
        if self.asked is not None:
            raise ValueError('a view for other labels scores the graphs of its own features alone, see graphs()')
        images = _checked_images(graph)
        words = graph[LABEL].get('x')
        words = self.word_dropout(self.word_vectors)[graph[LABEL].n_id] if words is None else words
        x = self.dropout(graph[INSTANCE].x)
        edge_attr = {
            NEAR: _near(graph),
            RELATED: graph[RELATED].get('edge_attr', (words, words)),
            MATCHES: self._matches(graph, x, words),
        }
        edge_index = {key: graph[key].edge_index for key in EDGE_TYPES}
        nodes, edges = self.encoder({INSTANCE: x, LABEL: words}, edge_index, edge_attr)
        match = 0.0
        for i, block in enumerate(self.blocks):
            match = match + self.deep[i](edges[MATCHES]).squeeze(-1) if self.deep else match
            nodes, edges = block(nodes, edge_index, edges)
        match = match + self.decoder(edges[MATCHES])
        lowest = match.new_full((words.size(0),), torch.finfo(match.dtype).min)  # Of a label that nothing matches.
        best = lowest.scatter_reduce(0, edge_index[MATCHES][1], match, 'amax').view(images, -1)
        label = nodes[LABEL]
        return Output(best, graph_logits=best, match_logits=match, label_x=label.view(images, -1, label.size(-1)))

    def _matches(self, graph: HeteroData, x: Tensor, words: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The attributes of the matching edges: Eq. 4 as it is stored, or else its two halves, and the evidence."""
        if self.evidence:
            return x, words, _evidence(graph).to(x)
        attr = graph[MATCHES].get('edge_attr')
        return (x, words) if attr is None or attr.size(-1) == 1 else attr  # 1: evidence, for others to read.

    def regular(self, graph: HeteroData) -> Output:
        """The fast form, for graphs that :attr:`assign` built and nobody changed; :obj:`match_logits` is [T, C]."""
        instance = graph[INSTANCE]
        batch, ptr = instance.get('batch'), instance.get('ptr')
        if batch is None:  # One image that was never collated.
            batch = torch.zeros(instance.num_nodes, dtype=torch.long, device=instance.x.device)
        images = 1 if ptr is None else ptr.numel() - 1
        layout = Ragged(graph[NEAR].edge_index, batch, images, self.backend)
        evidence = _evidence(graph).view(-1, self.num_labels, 1) if self.evidence else None
        return self._match(layout, instance.x, _near(graph), evidence)

    def padded(self, slots: Slots, values: fast.LabelValues | None = None) -> Output:
        """The fast form with equally many slots an image, which never waits for the device and can be exported.

        Args:
            slots (Slots): From :meth:`mlsgm_pyg.csac.CSAC.slots`.
            values (LabelValues, optional): What :meth:`label_values` gave before. (default: computed)

        Returns:
            Output: :obj:`match_logits` is :obj:`[B, S, C]`, least in empty slots.
        """
        layout = Padded(nearest_slots(slots.centre, slots.valid, self.k), slots.valid)
        box = slots.box.to(slots.x.dtype)
        evidence = evidence_of(slots.evidence, self.num_labels)[..., None] if self.evidence else None
        return self._match(layout, slots.x, (box, box), evidence, values)

    def _match(
        self,
        layout: Ragged | Padded,
        x: Tensor,
        near: Tensor | tuple[Tensor, Tensor],
        evidence: Tensor | None,
        values: fast.LabelValues | None = None,
    ) -> Output:
        values = self.labels() if values is None else values
        x = self.dropout(x)
        graph = self._labels_joined()
        state = fast.forward(self.encoder, self.blocks, layout, graph, x, near, values, evidence, self.deep)
        match, label = layout.masked(self.decoder(state.matches) + state.score), state.label
        best = layout.best(match)  # Eq. 15; commutes with the sigmoid.
        if self.asked is not None:
            best, match = best.index_select(-1, self.asked), match.index_select(-1, self.asked)
            label = label.index_select(1, self.asked)
        return Output(best, graph_logits=best, match_logits=match, label_x=label)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.in_channels}, {self.num_labels} labels, {len(self.blocks)} blocks)'


def build_blocks(
    metadata: Metadata, sizes: Sequence[int], hidden_channels: int, last_edges: list[EdgeType] | None, **options: Any
) -> torch.nn.ModuleList:
    """Graph network blocks from each size to the next; the last one updates the edges :obj:`last_edges` (None: all)."""
    return torch.nn.ModuleList(
        GraphNetworkBlock(
            metadata,
            sizes[i],
            sizes[i + 1],
            hidden_channels,
            update_edges=last_edges if i == len(sizes) - 2 else None,
            **options,
        )
        for i in range(len(sizes) - 1)
    )


def shallow(module: torch.nn.Module) -> torch.nn.Module:
    """A view of a module: the same parts and parameters, which may be exchanged without changing the module."""
    view = copy.copy(module)
    own = {name: copy.copy(value) for name, value in vars(view).items() if isinstance(value, dict | set)}
    view.__dict__.update(own)  # Parameters, buffers, parts and hooks.
    return view


def _near(graph: HeteroData) -> Tensor | tuple[Tensor, Tensor]:
    """Eq. 2 as it is stored, or else the boxes that it is made of; in the features' type."""
    box, like = graph[INSTANCE].get('box'), graph[INSTANCE].x.dtype
    attr = graph[NEAR].get('edge_attr')
    if attr is not None:
        return attr.to(like)
    return box.to(like), box.to(like)


def _evidence(graph: HeteroData) -> Tensor:
    evidence = graph[MATCHES].get('edge_attr')
    if evidence is None or evidence.size(-1) != 1:
        got = 'none' if evidence is None else list(evidence.shape)
        raise ValueError(
            f"a model with evidence=True reads one score a matching edge, data['{MATCHES[0]}', '{MATCHES[1]}', "
            f"'{MATCHES[2]}'].edge_attr [E, 1] (got {got}); AssignmentGraph makes it of data['{INSTANCE}'].evidence"
        )
    return evidence


def _checked_images(graph: HeteroData) -> int:
    """How many images a batch holds.

    Raises:
        ValueError: If the graph lacks what is read, or its images have different numbers of labels.
    """
    missing = [key for key in EDGE_TYPES if key not in graph.edge_types]
    if missing:
        raise ValueError(
            f'the graph must have edges of {missing[0]}, as AssignmentGraph adds them (got {graph.edge_types})'
        )
    instance, label, ptr = graph[INSTANCE], graph[LABEL], graph[LABEL].get('ptr')
    count = torch.ones(1) if ptr is None else ptr.diff()
    if (count != count[:1]).any():
        raise ValueError(f'every graph of a batch must have the same number of labels (got {count.tolist()})')
    for name, is_there in (
        (f"['{INSTANCE}'].x", 'x' in instance),
        (f"['{INSTANCE}'].box", 'box' in instance or 'edge_attr' in graph[NEAR]),
        (f"['{LABEL}'].x or n_id", 'x' in label or 'n_id' in label),
    ):
        if not is_there:
            raise ValueError(f'the graph must have data{name} (got {graph.to_dict().keys()})')
    return count.numel()

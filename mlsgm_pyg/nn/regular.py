"""The fast forward of encoder and blocks where label relations are regular: the same parameters, the same function.

Every label has equally many neighbours and every instance is joined to every label, so an edge's place is its pair of
nodes: a mean over edges is a mean over an axis and node projections are broadcast instead of gathered. Label-only
values, which no image changes, carry a batch axis of size 1 until the first message of an instance reaches them, so
they are computed once a batch. The edges of the label graph are streamed over chunks of targets.
"""

from dataclasses import dataclass

from torch import Tensor

from mlsgm_pyg.nn.aggregate import scatter_mean
from mlsgm_pyg.nn.encoder import GraphEncoder
from mlsgm_pyg.nn.gn_block import GraphNetworkBlock
from mlsgm_pyg.nn.label_edges import LabelEdges, LabelNeighbors
from mlsgm_pyg.schema import INSTANCE, LABEL, MATCHES, NEAR, RELATED

CHUNK_ELEMENTS = 2**21  # Numbers in one chunk of label edges: 8 MiB in float32, near a core's cache.
MOST_CHUNKS = 16  # On a GPU, where each is a handful of launches.


@dataclass(frozen=True)
class LabelValues:
    """What no image changes: the encoded labels, and what the first block makes of the label graph alone.

    Args:
        node (Tensor): Encoded labels, :obj:`[1, C, D]`.
        word (Tensor): The labels' share of the matching edges' first encoder layer, :obj:`[C, H]`.
        related (LabelEdges): Encoded label edges.
        message (Tensor): What labels hear from each other in the first block (Eq. 8), :obj:`[1, C, H]`.
        share (LabelEdges, optional): The label edges' share of their own first update (Eq. 11).
    """

    node: Tensor
    word: Tensor
    related: LabelEdges
    message: Tensor
    share: LabelEdges | None


@dataclass
class RegularGraph:
    """The state of a batch of assignment graphs: T instances in B images, C labels.

    Args:
        instance (Tensor): :obj:`[T, D]`.
        label (Tensor): :obj:`[B, C, D]`, or :obj:`[1, C, D]` while no image has changed it.
        near (Tensor): :obj:`[E, D]`, the kNN edges.
        related (LabelEdges): The label edges by target.
        matches (Tensor): :obj:`[T, C, D]`.
        fixed (LabelValues, optional): What the next block makes of labels alone, where it is known already.
    """

    instance: Tensor
    label: Tensor
    near: Tensor | None
    related: LabelEdges | None
    matches: Tensor
    fixed: LabelValues | None = None


@dataclass(frozen=True)
class Layout:
    """What does not change from block to block: where each instance belongs, and who is joined to whom.

    Instances hear from the first :obj:`num_senders` labels, from all where that is :obj:`None`.
    """

    near_index: Tensor
    batch: Tensor
    ptr: Tensor
    neighbors: LabelNeighbors
    checkpoint: bool = False
    num_senders: int | None = None

    @property
    def num_images(self) -> int:
        return self.ptr.numel() - 1

    def of_image(self, label: Tensor) -> Tensor:
        """Label values for each instance, :obj:`[T or 1, C, D]`."""
        return label if label.size(0) == 1 else label.index_select(0, self.batch)

    def chunks(self, channels: int, batch: int) -> list[slice]:
        """Slices of target labels small enough for :obj:`CHUNK_ELEMENTS`; on a GPU :obj:`MOST_CHUNKS` at most."""
        num_labels = self.neighbors.num_labels
        step = max(1, CHUNK_ELEMENTS // max(1, batch * self.neighbors.width * channels))
        if self.ptr.device.type != 'cpu':
            step = max(step, -(-num_labels // MOST_CHUNKS))
        return [slice(start, min(start + step, num_labels)) for start in range(0, num_labels, step)]


def label_values(
    encoder: GraphEncoder, block: GraphNetworkBlock, layout: Layout, words: Tensor, keep: bool = False
) -> LabelValues:
    """Everything that depends on word vectors alone, computed once a batch, or once for many.

    Args:
        encoder (GraphEncoder): The encoder.
        block (GraphNetworkBlock): The first block.
        layout (Layout): Any batch's layout.
        words (Tensor): Word vectors, :obj:`[C, F]`.
        keep (bool): Whether to store what is otherwise streamed, for more than one batch. (default: :obj:`False`)
    """
    related = encoder.edge(RELATED)
    pair = layout.neighbors.pair(*related.first(words[None], words[None]))
    edges = pair.then(related.finish, related.parameters()).kept(layout.neighbors.num_labels)
    node = encoder.nodes[LABEL](words)[None]
    share = edge_share(block, edges) if RELATED in block.update_edges else None
    return LabelValues(
        node=node,
        word=encoder.edge(MATCHES).first.part(1, words),
        related=edges,
        message=label_messages(block, layout, node, edges),
        share=share.kept(layout.neighbors.num_labels) if keep and share else share,
    )


def encode(
    encoder: GraphEncoder, layout: Layout, x: Tensor, near: Tensor | tuple[Tensor, Tensor], labels: LabelValues
) -> RegularGraph:
    """Eq. 2-5 without the concatenations of Eq. 2-4.

    Args:
        encoder (GraphEncoder): The encoder.
        layout (Layout): The batch's layout.
        x (Tensor): Instance features, :obj:`[T, D]`.
        near (Tensor or tuple): Attributes of the kNN edges :obj:`[E, 8]` or their halves, the boxes :obj:`[T, 4]`.
        labels (LabelValues): The labels.
    """
    matches = encoder.edge(MATCHES)
    return RegularGraph(
        instance=encoder.nodes[INSTANCE](x),
        label=labels.node,
        near=encoder.encode_edge(NEAR, near, layout.near_index),
        related=labels.related,
        matches=matches.finish(matches.first.part(0, x)[:, None] + labels.word),
        fixed=labels,
    )


def update(block: GraphNetworkBlock, layout: Layout, graph: RegularGraph, read_once: bool = True) -> RegularGraph:
    """One block (Eq. 6-13); edges that the block does not update come out as :obj:`None`.

    Args:
        block (GraphNetworkBlock): The block, built on :data:`mlsgm_pyg.schema.METADATA` with matching edges reversed.
        layout (Layout): The batch's layout.
        graph (RegularGraph): The state; not changed.
        read_once (bool): Whether the next block reads label edges once at most, so that they can be streamed.
    """
    instance, label = _update_instances(block, layout, graph), _update_labels(block, layout, graph)
    near = related = None
    if NEAR in block.update_edges:
        near = block.edge_conv(NEAR)(instance, layout.near_index, graph.near)
    if RELATED in block.update_edges:
        share = edge_share(block, graph.related) if graph.fixed is None else graph.fixed.share
        related = related_edges(block, layout, label, share)
        related = related if read_once else related.kept(layout.neighbors.num_labels)
    return RegularGraph(instance, label, near, related, _update_matches(block, layout, instance, label, graph.matches))


def _update_instances(block: GraphNetworkBlock, layout: Layout, graph: RegularGraph) -> Tensor:
    phi = block.node_mlps[INSTANCE]
    near = block.node_conv(NEAR)(graph.instance, layout.near_index, graph.near)
    conv = block.node_conv(MATCHES, reverse=True)
    heard = slice(layout.num_senders)
    edge, node = conv.rho(graph.matches[:, heard], graph.label[:, heard])
    from_labels = conv.finish(edge.add_(layout.of_image(node))).mean(1)
    return phi(graph.instance, near, from_labels)


def _update_labels(block: GraphNetworkBlock, layout: Layout, graph: RegularGraph) -> Tensor:
    phi = block.node_mlps[LABEL]
    fixed = graph.fixed
    related = label_messages(block, layout, graph.label, graph.related) if fixed is None else fixed.message
    conv = block.node_conv(MATCHES)
    edge, node = conv.rho(graph.matches, graph.instance)
    message = conv.finish(edge.add_(node[:, None]))
    from_instances = scatter_mean(message, layout.batch, layout.num_images, conv.backend, layout.ptr)
    return phi(graph.label, related, from_instances)  # Label-only terms are projected once a batch and broadcast.


def label_messages(block: GraphNetworkBlock, layout: Layout, label: Tensor, related: LabelEdges) -> Tensor:
    """What labels hear from each other (Eq. 8), :obj:`[1 or B, C, H]`."""
    conv = block.node_conv(RELATED)
    nodes = LabelEdges(lambda x: x, (layout.neighbors.sources(conv.rho.part(1, label)),))

    def mean(edge: Tensor, node: Tensor) -> Tensor:
        return layout.neighbors.mean(conv.finish(conv.rho.part(0, edge).add_(node)))

    chunks = layout.chunks(conv.out_channels, label.size(0))
    return related.then(mean, conv.parameters(), nodes).by_targets(chunks, layout.checkpoint)


def edge_share(block: GraphNetworkBlock, related: LabelEdges) -> LabelEdges:
    """The old label edges' share of their update."""
    first = block.edge_conv(RELATED).phi.first
    return related.then(lambda edge: first.part(0, edge), first.parameters())


def related_edges(block: GraphNetworkBlock, layout: Layout, label: Tensor, share: LabelEdges) -> LabelEdges:
    """The new label edges (Eq. 11 and 13), from their old ones' share."""
    conv = block.edge_conv(RELATED)
    return layout.neighbors.pair(*conv.rho.first(label, label)).then(conv.finish, conv.parameters(), share)


def _update_matches(
    block: GraphNetworkBlock, layout: Layout, instance: Tensor, label: Tensor, matches: Tensor
) -> Tensor:
    conv = block.edge_conv(MATCHES)
    source, target = conv.rho.first(instance, label)
    return conv.finish(layout.of_image(target) + source[:, None], conv.phi.first.part(0, matches))

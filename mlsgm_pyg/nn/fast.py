"""The fast forward of encoder and blocks where label relations are regular: the same parameters, the same function.

Every label has equally many neighbours and every instance is joined to every label, so an edge's place is its pair of
nodes: a mean over edges is a mean over an axis and node projections are broadcast instead of gathered. Label-only
values, which no image changes, carry a batch axis of size 1 until the first message of an instance reaches them, so
they are computed once a batch. The edges of the label graph are streamed over chunks of targets.

Where instances lie is said by a layout of :mod:`mlsgm_pyg.nn.layouts`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mlsgm_pyg.nn.encoder import GraphEncoder
from mlsgm_pyg.nn.gn_block import GraphNetworkBlock
from mlsgm_pyg.nn.label_edges import LabelEdges, LabelNeighbors
from mlsgm_pyg.nn.layouts import Padded, Ragged
from mlsgm_pyg.schema import INSTANCE, LABEL, MATCHES, NEAR, RELATED

CHUNK_ELEMENTS = 2**21  # Numbers in one chunk of label edges: 8 MiB in float32, near a core's cache.
MOST_CHUNKS = 16  # On a GPU, where each is a handful of launches, and in an exported program.


@dataclass(frozen=True)
class LabelGraph(LabelNeighbors):
    """Who hears from which labels, the same in every image.

    Args:
        num_labels, source: See :class:`~mlsgm_pyg.nn.label_edges.LabelNeighbors`.
        num_senders (int, optional): Instances hear from the first so many labels. (default: from all)
        checkpoint (bool): Whether gradients compute label edges again instead of keeping them.
            (default: :obj:`False`)
    """

    num_senders: int | None = None
    checkpoint: bool = False

    def chunks(self, channels: int, images: int, few: bool) -> list[slice]:
        """Slices of target labels small enough for :obj:`CHUNK_ELEMENTS`; at most :obj:`MOST_CHUNKS` if few."""
        step = max(1, CHUNK_ELEMENTS // max(1, images * self.width * channels))
        if few:
            step = max(step, -(-self.num_labels // MOST_CHUNKS))
        return [slice(start, min(start + step, self.num_labels)) for start in range(0, self.num_labels, step)]


class LabelTerms(NamedTuple):
    """What one block makes of labels alone."""

    told: Tensor  #: [1 or B, C, H], the labels' share of what they tell the instances (Eq. 6), of those that send.
    own: Tensor  #: [1 or B, C, H], their own and their neighbours' share of their new state (Eq. 9).


class LabelValues(NamedTuple):
    """What no image changes: computed once a batch, or once for many."""

    node: Tensor  #: [1, C, D], encoded labels.
    word: tuple[Tensor, ...]  #: [C, H] each, the labels' shares of the matching edges' first encoder layer.
    related: LabelEdges  #: Encoded label edges.
    share: LabelEdges | None  #: The label edges' share of their own first update (Eq. 11), if there is one.
    terms: LabelTerms  #: Of the first block.


@dataclass
class State:
    """A batch of assignment graphs between two blocks."""

    instance: Tensor  #: [T, D] or [B, S, D].
    label: Tensor  #: [B, C, D], or [1, C, D] while no image has changed it.
    near: Tensor | None  #: [E, D] or [B, S, K, D].
    related: LabelEdges | None  #: Label edges by target.
    matches: Tensor  #: [T, C, D] or [B, S, C, D].
    score: Tensor | float = 0.0  #: [T, C] or [B, S, C], what deep scores have added up to.


def label_values(
    encoder: GraphEncoder, blocks: Sequence[GraphNetworkBlock], graph: LabelGraph, words: Tensor, keep: bool = False
) -> LabelValues:
    """Everything that depends on word vectors alone.

    Args:
        encoder, blocks, graph: See :func:`forward`.
        words (Tensor): Word vectors, :obj:`[C, F]`.
        keep (bool): Whether to store what is otherwise streamed, for more than one batch. (default: :obj:`False`)
    """
    encode = encoder.edges[RELATED]
    pair = graph.pair(*encode.first(words[None], words[None]))
    related = pair.then(encode.finish, encode.parameters()).kept(graph.num_labels)
    node = encoder.nodes[LABEL](words)[None]
    share = _share(blocks[0], related) if len(blocks) > 1 else None
    return LabelValues(
        node=node,
        word=encoder.edges[MATCHES].target(words),
        related=related,
        share=share.kept(graph.num_labels) if keep and share else share,
        terms=_terms(blocks[0], graph, node, related, 1),
    )


def forward(
    encoder: GraphEncoder,
    blocks: Sequence[GraphNetworkBlock],
    layout: Ragged | Padded,
    graph: LabelGraph,
    x: Tensor,
    near: Tensor | tuple[Tensor, Tensor],
    values: LabelValues,
    evidence: Tensor | None = None,
    deep: Sequence[torch.nn.Linear] = (),
) -> State:
    """Eq. 2-13 without the concatenations of Eq. 2-4; the last block gives what the decoder reads, and no more.

    Args:
        encoder (GraphEncoder): The encoder.
        blocks (sequence of GraphNetworkBlock): The blocks, built on :data:`mlsgm_pyg.schema.METADATA` with matching
            edges reversed.
        layout (Ragged or Padded): Where each instance lies.
        graph (LabelGraph): The label graph.
        x (Tensor): Instance features, :obj:`[T, D]` or :obj:`[B, S, D]`.
        near (Tensor or tuple): Attributes of the kNN edges :obj:`[E, 8]`, or their halves, the boxes.
        values (LabelValues): From :func:`label_values`.
        evidence (Tensor, optional): Of the matching edges, :obj:`[T, C, 1]` or :obj:`[B, S, C, 1]`.
        deep (sequence of Linear): Scores of the matching edges before each block. (default: none)
    """
    matches = encoder.edges[MATCHES]
    state = State(
        instance=encoder.nodes[INSTANCE](x),
        label=values.node,
        near=layout.encode_near(encoder, near),
        related=values.related,
        matches=matches.join([share[..., None, :] for share in matches.source(x)], values.word, evidence),
    )
    terms, share = values.terms, values.share
    for i, block in enumerate(blocks):
        old, state = state, _update_nodes_and_matches(block, layout, graph, state, terms)
        state.score = old.score + deep[i](old.matches).squeeze(-1) if deep else old.score
        if i + 1 == len(blocks):
            break
        state.near = block.add(layout.renew(block.edge_updates[NEAR], state.instance, old.near), old.near)
        share = _share(block, old.related) if share is None else share
        state.related = _update_related(block, graph, state.label, old.related, share)
        if i + 2 < len(blocks):  # It is read twice: by the next block's messages, and by its own update.
            state.related = state.related.kept(graph.num_labels)
        terms, share = _terms(blocks[i + 1], graph, state.label, state.related, layout.chunk_images), None
    return state


def _update_nodes_and_matches(
    block: GraphNetworkBlock, layout: Ragged | Padded, graph: LabelGraph, state: State, terms: LabelTerms
) -> State:
    """Eq. 6-9, and Eq. 10-13 of matching edges."""
    conv = block.node_conv(MATCHES, reverse=True)
    heard = conv.rho.part(0, state.matches[..., : graph.num_senders, :])
    from_labels = conv.norm(heard.add_(layout.of_image(terms.told))).mean(-2)
    near = layout.hear(block.node_conv(NEAR), state.instance, state.near)
    instance = block.add(block.node_mlps[INSTANCE](state.instance, near, from_labels), state.instance)

    conv, phi = block.node_conv(MATCHES), block.node_mlps[LABEL]
    edge, node = conv.rho(state.matches, state.instance)
    from_instances = layout.mean(conv.norm(edge.add_(node[..., None, :])))
    label = block.add(phi.finish(terms.own + phi.first.part(2, from_instances)), state.label)

    update = block.edge_updates[MATCHES]
    source, target = update.rho.first(instance, label)
    pair = layout.of_image(target) + source[..., None, :]
    matches = block.add(update.finish(pair, update.phi.first.part(0, state.matches)), state.matches)
    return State(instance, label, None, None, matches)


def _terms(
    block: GraphNetworkBlock, graph: LabelGraph, label: Tensor, related: LabelEdges, chunk_images: int
) -> LabelTerms:
    """The terms of labels :obj:`[1 or B, C, D]`; their neighbours' share is projected once a batch and broadcast."""
    first, conv = block.node_mlps[LABEL].first, block.node_conv(RELATED)
    told = block.node_conv(MATCHES, reverse=True).rho.part(1, label[:, : graph.num_senders])

    def mean(edge: Tensor, node: Tensor) -> Tensor:
        return graph.mean(conv.norm(conv.rho.part(0, edge).add_(node)))

    compiling = torch.compiler.is_compiling()
    if graph.width == 0 and compiling:  # ONNX has no empty arrays of edges.
        heard = label.new_zeros(1, label.size(1), conv.out_channels)
    else:  # What labels hear from each other (Eq. 8), [1 or B, C, H].
        nodes = LabelEdges(lambda x: x, (graph.sources(conv.rho.part(1, label)),))
        chunks = graph.chunks(conv.out_channels, chunk_images, few=label.device.type != 'cpu' or compiling)
        heard = related.then(mean, conv.parameters(), nodes).by_targets(chunks, graph.checkpoint)
    return LabelTerms(told, first.part(0, label) + first.part(1, heard))


def _share(block: GraphNetworkBlock, related: LabelEdges) -> LabelEdges:
    """The old label edges' share of their update."""
    first = block.edge_updates[RELATED].phi.first
    return related.then(lambda edge: first.part(0, edge), first.parameters())


def _update_related(
    block: GraphNetworkBlock, graph: LabelGraph, label: Tensor, old: LabelEdges, share: LabelEdges
) -> LabelEdges:
    """The new label edges (Eq. 11 and 13), from their old ones and these' share."""
    update = block.edge_updates[RELATED]
    new = graph.pair(*update.rho.first(label, label)).then(update.finish, update.parameters(), share)
    return new.then(block.add, (), old) if block.residual else new

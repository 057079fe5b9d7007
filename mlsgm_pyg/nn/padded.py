"""The forward of encoder and blocks with equally many slots an image: the same parameters, the same function.

No shape depends on what an image shows, nothing is scattered and nothing is read back, so :mod:`torch.export` can
follow it. Empty slots are computed along, and masked wherever someone listens to them. Label edges are those of
:mod:`mlsgm_pyg.nn.regular`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mlsgm_pyg.nn.gn_block import GraphNetworkBlock
from mlsgm_pyg.nn.label_edges import LabelEdges, LabelNeighbors
from mlsgm_pyg.nn.mlp import MLP
from mlsgm_pyg.nn.regular import MOST_CHUNKS, label_messages
from mlsgm_pyg.schema import INSTANCE, LABEL, MATCHES, NEAR

CHUNK_ELEMENTS = 2**19  # Numbers of one image in one chunk of label edges: 2 MiB in float32.


@dataclass(frozen=True)
class Near:
    """Who hears from whom by position.

    Args:
        index (Tensor): The neighbours of each slot, :obj:`[B, S, K]`.
        real (Tensor): Which of them there are, :obj:`[B, S, K]`.
    """

    index: Tensor
    real: Tensor

    @classmethod
    def of(cls, nearest: Tensor, valid: Tensor) -> 'Near':
        """The neighbours that :func:`mlsgm_pyg.knn.nearest_slots` found among the valid slots."""
        rank = torch.arange(nearest.size(2), device=nearest.device)
        others = valid.sum(1) - 1
        return cls(nearest, (rank < others[:, None])[:, None].expand_as(nearest))

    def pair(self, source: Tensor, target: Tensor) -> Tensor:
        """Adds the values :obj:`[B, S, D]` of source and target on the edges: :obj:`[B, S, K, D]`."""
        return self.sources(source) + target[:, :, None]

    def sources(self, value: Tensor) -> Tensor:
        index = self.index.flatten(1)[..., None].expand(-1, -1, value.size(2))
        return value.gather(1, index).unflatten(1, self.index.shape[1:])

    def mean(self, message: Tensor) -> Tensor:
        """The mean of what each slot hears, :obj:`[B, S, K, D]` to :obj:`[B, S, D]`; 0 where that is nothing."""
        return masked_mean(message, self.real, 2)


@dataclass(frozen=True)
class Layout:
    """What :mod:`mlsgm_pyg.nn.regular` asks about label edges, the same for every number of images."""

    neighbors: LabelNeighbors
    checkpoint: bool = False

    def chunks(self, channels: int, batch: int) -> list[slice]:
        num_labels = self.neighbors.num_labels
        step = max(1, CHUNK_ELEMENTS // max(1, self.neighbors.width * channels), -(-num_labels // MOST_CHUNKS))
        return [slice(start, min(start + step, num_labels)) for start in range(0, num_labels, step)]


class LabelTerms(NamedTuple):
    """What one block makes of labels alone; in the first block, where no image has changed them, it is constant."""

    told: Tensor  # [1 or B, C, H], the labels' share of what they tell the instances (Eq. 6).
    own: Tensor  # [1 or B, C, H], their own and their neighbours' share of their new state (Eq. 9).


def label_terms(block: GraphNetworkBlock, label: Tensor, heard: Tensor) -> LabelTerms:
    """The terms of some labels :obj:`[1 or B, C, D]` and of what they heard from each other."""
    first = block.node_mlps[LABEL].first
    told = block.node_conv(MATCHES, reverse=True).rho.part(1, label)
    return LabelTerms(told, first.part(0, label) + first.part(1, heard))


def heard_labels(block: GraphNetworkBlock, layout: Layout, label: Tensor, related: LabelEdges | None) -> Tensor:
    """What labels hear from each other (Eq. 8); 0 where no label has a neighbour."""
    if layout.neighbors.width == 0:
        return label.new_zeros(1, label.size(1), block.hidden_channels)
    return label_messages(block, layout, label, related)


def encode_near(mlp: MLP, near: Near, box: Tensor) -> Tensor:
    """Eq. 2 and 5."""
    return mlp.finish(near.pair(*mlp.first(box, box)))


def update_near(block: GraphNetworkBlock, near: Near, instance: Tensor, edges: Tensor) -> Tensor:
    """Eq. 10 and 12."""
    conv = block.edge_conv(NEAR)
    return conv.finish(near.pair(*conv.rho.first(instance, instance)), conv.phi.first.part(0, edges))


def heard_near(block: GraphNetworkBlock, near: Near, instance: Tensor, edges: Tensor) -> Tensor:
    """What instances hear from each other (Eq. 6)."""
    conv = block.node_conv(NEAR)
    edge, node = conv.rho(edges, instance)
    return near.mean(conv.finish(near.sources(node) + edge))


def update_instances(
    block: GraphNetworkBlock, near: Near, instance: Tensor, edges: Tensor, matches: Tensor, labels: LabelTerms
) -> Tensor:
    """Eq. 6 and 7, from kNN edges :obj:`[B, S, K, D]` and matching edges :obj:`[B, S, C, D]`."""
    conv = block.node_conv(MATCHES, reverse=True)
    from_labels = conv.finish(conv.rho.part(0, matches) + labels.told[:, None]).mean(2)
    return block.node_mlps[INSTANCE](instance, heard_near(block, near, instance, edges), from_labels)


def update_labels(
    block: GraphNetworkBlock, instance: Tensor, matches: Tensor, valid: Tensor, labels: LabelTerms
) -> Tensor:
    """Eq. 8 and 9."""
    conv, phi = block.node_conv(MATCHES), block.node_mlps[LABEL]
    edge, node = conv.rho(matches, instance)
    from_instances = masked_mean(conv.finish(edge + node[:, :, None]), valid[..., None], 1)
    return phi.finish(labels.own + phi.first.part(2, from_instances))


def update_matches(block: GraphNetworkBlock, instance: Tensor, label: Tensor, matches: Tensor) -> Tensor:
    """Eq. 10-13."""
    conv = block.edge_conv(MATCHES)
    source, target = conv.rho.first(instance, label)
    return conv.finish(source[:, :, None] + target[:, None], conv.phi.first.part(0, matches))


def masked_mean(value: Tensor, mask: Tensor, dim: int) -> Tensor:
    """The mean of values :obj:`[..., D]` over the places where the mask :obj:`[...]` is True; 0 if there are none."""
    count = mask.sum(dim, keepdim=True).clamp(min=1).to(value.dtype)
    return value.masked_fill(~mask[..., None], 0).sum(dim) / count

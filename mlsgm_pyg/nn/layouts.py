"""Where the instances of a batch lie, and what the fast forward asks of that: neighbours, and means over an image.

One after the other (:class:`Ragged`, [T, D]), or in equally many slots an image (:class:`Padded`, [B, S, D]), whose
shapes do not depend on what an image shows, so that :mod:`torch.export` can follow them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from mlsgm_pyg.nn.aggregate import scatter_mean
from mlsgm_pyg.nn.edge_update import EdgeUpdate
from mlsgm_pyg.nn.encoder import GraphEncoder
from mlsgm_pyg.nn.node_conv import NodeConv
from mlsgm_pyg.schema import NEAR

PADDED_IMAGES = 4  # So many images a chunk of label edges is made for where their number is not known.


@dataclass(frozen=True)
class Ragged:
    """Instances of B images one after the other, T in all; kNN edges :obj:`[E, D]`, matching edges :obj:`[T, C, D]`.

    Args:
        near (Tensor): The kNN edges, :obj:`[2, E]`.
        batch (Tensor): The image of each instance, :obj:`[T]`.
        num_images (int): B.
        backend (str): See :func:`mlsgm_pyg.nn.scatter_mean`.
    """

    near: Tensor
    batch: Tensor
    num_images: int
    backend: str = 'auto'

    @property
    def chunk_images(self) -> int:
        return self.num_images

    def encode_near(self, encoder: GraphEncoder, attr: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """Eq. 2 and 5, from what is stored on the edges or from the boxes of both ends."""
        return encoder.encode_edge(NEAR, attr, self.near)

    def hear(self, conv: NodeConv, x: Tensor, edges: Tensor) -> Tensor:
        """What instances hear from each other (Eq. 6)."""
        return conv(x, self.near, edges)

    def renew(self, update: EdgeUpdate, x: Tensor, edges: Tensor) -> Tensor:
        """The new kNN edges (Eq. 10 and 12)."""
        return update(x, self.near, edges)

    def of_image(self, label: Tensor) -> Tensor:
        """Label values :obj:`[1 or B, C, D]`, to be added to matching edges."""
        return label if label.size(0) == 1 else label.index_select(0, self.batch)

    def mean(self, message: Tensor) -> Tensor:
        """The mean over an image's instances, :obj:`[T, C, D]` to :obj:`[B, C, D]`."""
        return scatter_mean(message, self.batch, self.num_images, self.backend)

    def masked(self, match: Tensor) -> Tensor:
        """Scores, below any where there is no instance; here there always is one."""
        return match

    def best(self, match: Tensor) -> Tensor:
        """The best instance of each label (Eq. 15), :obj:`[T, C]` to :obj:`[B, C]`."""
        return scatter(match, self.batch, dim=0, dim_size=self.num_images, reduce='max')


@dataclass(frozen=True)
class Padded:
    """Instances in S slots an image; kNN edges :obj:`[B, S, K, D]`, matching edges :obj:`[B, S, C, D]`.

    Empty slots are computed along, and masked wherever someone listens to them.

    Args:
        nearest (Tensor): The neighbours of each slot, :obj:`[B, S, K]` (see :func:`mlsgm_pyg.knn.nearest_slots`).
        valid (Tensor): Which slots hold an instance, :obj:`[B, S]`; an image's come first.
    """

    nearest: Tensor
    valid: Tensor
    chunk_images = PADDED_IMAGES

    def encode_near(self, encoder: GraphEncoder, attr: tuple[Tensor, Tensor]) -> Tensor:
        source, target = encoder.edges[NEAR].first(*attr)
        return encoder.edges[NEAR].finish(self._sources(source) + target[:, :, None])

    def hear(self, conv: NodeConv, x: Tensor, edges: Tensor) -> Tensor:
        edge, node = conv.rho(edges, x)
        rank = torch.arange(self.nearest.size(2), device=x.device)
        real = (rank < self.valid.sum(1, keepdim=True) - 1)[:, None].expand_as(self.nearest)
        return _masked_mean(conv.norm(self._sources(node) + edge), real, 2)

    def renew(self, update: EdgeUpdate, x: Tensor, edges: Tensor) -> Tensor:
        source, target = update.rho.first(x, x)
        return update.finish(self._sources(source) + target[:, :, None], update.phi.first.part(0, edges))

    def of_image(self, label: Tensor) -> Tensor:
        return label[:, None]

    def mean(self, message: Tensor) -> Tensor:
        return _masked_mean(message, self.valid[..., None], 1)

    def best(self, match: Tensor) -> Tensor:
        return match.amax(1)

    def masked(self, match: Tensor) -> Tensor:
        """Scores :obj:`[B, S, C]`, those of empty slots below any."""
        return match.masked_fill(~self.valid[..., None], torch.finfo(match.dtype).min)

    def _sources(self, value: Tensor) -> Tensor:
        index = self.nearest.flatten(1)[..., None].expand(-1, -1, value.size(2))
        return value.gather(1, index).unflatten(1, self.nearest.shape[1:])


def _masked_mean(value: Tensor, mask: Tensor, dim: int) -> Tensor:
    """The mean of values :obj:`[..., D]` over the places where the mask :obj:`[...]` is True; 0 if there are none."""
    count = mask.sum(dim, keepdim=True).clamp(min=1).to(value.dtype)
    return value.masked_fill(~mask[..., None], 0).sum(dim) / count

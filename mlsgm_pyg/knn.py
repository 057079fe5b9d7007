"""Exact nearest neighbours of points, for many small sets at once."""

import torch
from torch import Tensor

from mlsgm_pyg import kernels
from mlsgm_pyg.names import check_choice

BACKENDS = ('auto', 'torch_cluster', 'torch')
LARGEST_ON_CUDA = 100  # torch-cluster's CUDA kernel finds no more neighbours than that.


def knn_edges(pos: Tensor, ptr: Tensor, k: int, largest: int, backend: str = 'auto') -> Tensor:
    r"""Joins each point to its :obj:`k` nearest neighbours within its own set.

    Neighbours are ordered by (squared distance, index): never more than :obj:`k`, never the point itself, the same
    edges whatever the backend. :func:`torch_cluster.knn_graph` alone breaks both rules on coincident or tied points, so
    it is asked for all points of a set, and the order decides among them.

    Args:
        pos (Tensor): The points, set by set.
        ptr (Tensor): Where each set begins; one longer than the number of sets.
        k (int): Neighbours a point; a set of n points gives each of them n - 1 at most.
        largest (int): Points in the largest set.
        backend (str): Who proposes the candidates: :obj:`'torch_cluster'`, :obj:`'torch'`, or :obj:`'auto'`, the former
            where it is installed (but for sets of more than 100 points on CUDA). (default: :obj:`'auto'`)

    Shapes:
        - **input:** :obj:`pos` :math:`(T, 2)`, :obj:`ptr` :math:`(B + 1)`
        - **output:** :math:`(2, E)`, neighbour -> point, sorted by point, then by rank

    Raises:
        ValueError: If the backend is unknown or :obj:`k` is negative.
        ImportError: If torch-cluster was asked for by name and is missing.
    """
    check_choice('backend', backend, BACKENDS)
    if k < 0:
        raise ValueError(f"'k' must be at least 0 (got {k})")
    if backend == 'auto':
        too_large = pos.is_cuda and largest > LARGEST_ON_CUDA
        kernel = not too_large and kernels.usable('torch_cluster', pos.device.type)
        backend = 'torch_cluster' if kernel else 'torch'
    if k == 0 or largest < 2:
        return ptr.new_empty(2, 0)
    candidates = _all_pairs_kernel if backend == 'torch_cluster' else _all_pairs
    source, target = candidates(pos, ptr, largest)
    delta = pos[source] - pos[target]
    distance = delta[:, 0] * delta[:, 0] + delta[:, 1] * delta[:, 1]  # The same rounding whoever proposed the pair.
    order = torch.sort(distance, stable=True).indices
    order = order[torch.sort(target[order], stable=True).indices]
    source, target = source[order], target[order]
    size = (ptr.diff() - 1).repeat_interleave(ptr.diff(), output_size=pos.size(0))  # Candidates of each point.
    first = size.cumsum(0) - size
    rank = torch.arange(source.numel(), device=pos.device) - first[target]
    return torch.stack([source, target])[:, rank < k]


def _all_pairs(pos: Tensor, ptr: Tensor, largest: int) -> tuple[Tensor, Tensor]:
    """All ordered pairs of different points of a set, by (target, source)."""
    slot = torch.arange(largest, device=pos.device)
    point = ptr[:-1, None] + slot
    real = slot < ptr.diff()[:, None]
    both = real[:, :, None] & real[:, None, :] & (slot[:, None] != slot)
    image, target, source = both.nonzero(as_tuple=True)
    return point[image, source], point[image, target]


def _all_pairs_kernel(pos: Tensor, ptr: Tensor, largest: int) -> tuple[Tensor, Tensor]:
    torch_cluster = kernels.find('torch_cluster', pos.device.type)
    if torch_cluster is None:
        raise ImportError(f"backend 'torch_cluster' needs torch-cluster: {kernels.HOW_TO_GET}")
    batch = torch.arange(ptr.numel() - 1, device=pos.device).repeat_interleave(ptr.diff(), output_size=pos.size(0))
    target, source = torch_cluster.knn(pos, pos, largest, batch, batch)
    other = source != target
    source, target = source[other], target[other]
    order = torch.sort(target * pos.size(0) + source).indices
    return source[order], target[order]

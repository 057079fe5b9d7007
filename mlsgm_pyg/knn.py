"""Exact nearest neighbours of points, for many small sets at once, the same in every type of numbers and engine."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mlsgm_pyg import kernels
from mlsgm_pyg.names import check_choice

BACKENDS = ('auto', 'torch_cluster', 'torch')
FARTHEST = 2**61  # No squared distance is larger.


def knn_edges(pos: Tensor, ptr: Tensor, k: int, sizes: Sequence[int], backend: str = 'auto') -> Tensor:
    r"""Joins each point to its :obj:`k` nearest neighbours within its own set.

    Neighbours are ordered by (squared distance, index): never more than :obj:`k`, never the point itself, the same
    edges whatever the backend. :func:`torch_cluster.knn_graph` alone breaks both rules on coincident or tied points, so
    it is asked for all points of a set, and the order decides among them.

    Distances between integers are exact. Those between other numbers are rounded to :math:`2^{-20}`, so that the last
    bit of a float decides no tie.

    Args:
        pos (Tensor): The points, set by set: integers (:func:`mlsgm_pyg.regions.grid_centres`), or numbers in [0, 1].
        ptr (Tensor): Where each set begins; one longer than the number of sets.
        k (int): Neighbours a point; a set of n points gives each of them n - 1 at most.
        sizes (Sequence[int]): Points in each set: what :obj:`ptr` says, without asking the device.
        backend (str): Who proposes the candidates: :obj:`'torch_cluster'`; :obj:`'torch'`, which never waits for the
            device; or :obj:`'auto'`, the former on the CPU where it is installed, else the latter, which is as fast
            there. (default: :obj:`'auto'`)

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
        kernel = pos.device.type == 'cpu' and kernels.find('torch_cluster', 'cpu') is not None
        backend = 'torch_cluster' if kernel else 'torch'
    largest = max(sizes, default=0)
    if k == 0 or largest < 2:
        return ptr.new_empty(2, 0)
    if backend == 'torch_cluster':
        return _nearest_of_candidates(pos, ptr, k, largest)
    return _nearest_of_all(pos, ptr, k, sizes)


def _distance(source: Tensor, target: Tensor) -> Tensor:
    """Squared, exact for integers; else in units of 2^-20, rounded, what is no number behind all others."""
    if not source.is_floating_point():
        return (target - source).square().sum(-1)
    squared = (target.double() - source.double()).square().sum(-1)
    return (squared * 2**20).round().nan_to_num(nan=torch.inf).clamp(max=FARTHEST)


def nearest_slots(pos: Tensor, valid: Tensor, k: int) -> Tensor:
    r"""The neighbours of :func:`knn_edges`, in sets that are padded to the same size.

    Args:
        pos (Tensor): The points.
        valid (Tensor): Which of them there are, bool.
        k (int): Neighbours a point.

    Shapes:
        - **input:** :obj:`pos` :math:`(B, S, 2)`, :obj:`valid` :math:`(B, S)`
        - **output:** :math:`(B, S, \min(k, S - 1))`, the nearest first; in a set of n points only the first n - 1 mean
          something
    """
    slot = torch.arange(valid.size(1), device=pos.device)
    distance = _distance(pos[:, None], pos[:, :, None])  # [B, target, source]
    no_pair = ~valid[:, None] | (slot == slot[:, None])
    distance = distance.masked_fill(no_pair, 2 * FARTHEST)  # Behind all pairs.
    return distance.sort(dim=2, stable=True).indices[:, :, : min(k, valid.size(1) - 1)]


def _nearest_of_all(pos: Tensor, ptr: Tensor, k: int, sizes: Sequence[int]) -> Tensor:
    """Every set as a square of distances, padded to the largest; all sizes are known beforehand."""
    count, device = ptr.diff(), pos.device
    slot = torch.arange(max(sizes), device=device)
    point = pos[(ptr[:-1, None] + slot).clamp(max=pos.size(0) - 1)]
    nearest = nearest_slots(point, slot < count[:, None], k)

    num_points, num_edges = sum(sizes), sum(n * min(k, n - 1) for n in sizes)
    image = torch.arange(len(sizes), device=device).repeat_interleave(count, output_size=num_points)
    degree = (count - 1).clamp(max=k)[image]
    target = torch.arange(num_points, device=device).repeat_interleave(degree, output_size=num_edges)
    rank = torch.arange(num_edges, device=device) - (degree.cumsum(0) - degree)[target]
    image = image[target]
    first = ptr[image]
    return torch.stack([nearest[image, target - first, rank] + first, target])


def _nearest_of_candidates(pos: Tensor, ptr: Tensor, k: int, largest: int) -> Tensor:
    """All pairs that torch-cluster finds, put in order and cut off after the first k of each point."""
    torch_cluster = kernels.find('torch_cluster', pos.device.type)
    if torch_cluster is None:
        raise ImportError(f"backend 'torch_cluster' needs torch-cluster: {kernels.HOW_TO_GET}")
    count = ptr.diff()
    batch = torch.arange(count.numel(), device=pos.device).repeat_interleave(count, output_size=pos.size(0))
    where = pos.float()  # It names the candidates alone: all of a set.
    target, source = torch_cluster.knn(where, where, largest, batch, batch)
    other = source != target
    source, target = source[other], target[other]
    order = source.argsort()  # By target, then by distance, then by source: the last first, and stable from then on.
    order = order[_distance(pos[source], pos[target])[order].argsort(stable=True)]
    order = order[target[order].argsort(stable=True)]
    source, target = source[order], target[order]
    size = (count - 1)[batch]  # Candidates of each point.
    rank = torch.arange(source.numel(), device=pos.device) - (size.cumsum(0) - size)[target]
    return torch.stack([source, target])[:, rank < k]

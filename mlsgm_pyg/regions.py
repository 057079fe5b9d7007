"""Regions: the box around the largest connected segment of each class map (paper, Section III-B c)."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from skimage import measure  # Loads its parts, and SciPy, on first use.
from torch import Tensor

from mlsgm_pyg.names import check_choice

BACKENDS = ('auto', 'skimage', 'torch')


@torch.no_grad()
def boxes(maps: Tensor, threshold: float = 0.2, backend: str = 'auto') -> Tensor:
    r"""Draws one box a map, around the largest 8-connected segment of the pixels that satisfy

    .. math::
        \mathbf{M}_c(x, y) \geq \text{threshold} \cdot \max \mathbf{M}_c

    Of several largest segments the one whose first pixel in row order comes first is taken. All maps are treated in
    one call, and all backends give the same boxes. A map of zeros is one segment, :math:`(0, 0, 1, 1)`. A map without
    such a pixel (it holds NaN, or its maximum is negative) has no box: four NaN.

    Args:
        maps (Tensor): Class maps as probabilities.
        threshold (float): Share of a map's maximum, compared in the map's own precision. (default: :obj:`0.2`)
        backend (str): :obj:`'skimage'` labels all maps on one canvas on the CPU; :obj:`'torch'` stays on the map's
            device and never waits for it; :obj:`'auto'` takes the first for maps on the CPU, else the second.
            (default: :obj:`'auto'`)

    Shapes:
        - **input:** maps :math:`(N, h, w)`
        - **output:** boxes :math:`(N, 4)`: (x, y, width, height) in [0, 1], x and y the top-left corner

    Raises:
        ValueError: If the maps are not of that shape or have no pixels, the threshold is outside [0, 1], or there is
            no such backend.
    """
    if maps.dim() != 3 or maps.size(1) * maps.size(2) == 0:
        raise ValueError(f"'maps' must be [N, h, w] with at least one pixel (got {list(maps.shape)})")
    if not 0 <= threshold <= 1:
        raise ValueError(f"'threshold' must be a share of the maximum in [0, 1] (got {threshold})")
    check_choice('backend', backend, BACKENDS)
    dtype = torch.promote_types(maps.dtype, torch.float32)
    if maps.size(0) == 0:
        return maps.new_zeros(0, 4, dtype=dtype)
    if backend == 'auto':
        backend = 'skimage' if maps.device.type == 'cpu' else 'torch'
    mask = maps >= threshold * maps.amax(dim=(1, 2), keepdim=True)
    segment = largest_segment_skimage(mask) if backend == 'skimage' else largest_segment_torch(mask)
    return _bounds(segment, dtype)


def largest_segment_skimage(mask: Tensor) -> Tensor:
    """Keeps the largest segment of each mask [N, h, w], with one call of scikit-image for all of them."""
    num_maps, height, width = mask.shape
    canvas = np.zeros((num_maps, height + 1, width), dtype=bool)  # A blank line below each map keeps them apart.
    canvas[:, :height] = mask.cpu().numpy()
    label = measure.label(canvas.reshape(-1, width), connectivity=2)
    size = np.bincount(label.reshape(-1))
    size[0] = 0  # Label 0 is the background.
    label = label.reshape(num_maps, -1)
    first = size[label].argmax(1)  # In row order, of the pixels of the largest segments.
    kept = (label > 0) & (label == label[np.arange(num_maps), first][:, None])
    return torch.from_numpy(kept.reshape(canvas.shape)[:, :height].copy()).to(mask.device)


def largest_segment_torch(mask: Tensor) -> Tensor:
    """Keeps the largest segment of each mask [N, h, w], on the mask's device and without waiting for it."""
    root = connected_components(mask).flatten(1)
    inside = mask.flatten(1)
    size = torch.zeros_like(root).scatter_add_(1, root, inside.long())  # Background pixels have size 0.
    first = size.gather(1, root).argmax(dim=1, keepdim=True)  # In row order, of the pixels of the largest segments.
    return (inside & (root == root.gather(1, first))).view_as(mask)


def connected_components(mask: Tensor) -> Tensor:
    r"""Names every pixel's 8-connected segment by one of its pixels, in Boruvka rounds of a fixed number.

    Each pixel starts as its own root. In a round every root takes as its parent the smallest other root it touches,
    then all pixels jump to the root of their tree. If :math:`r_1, r_2, \ldots` are roots that took each other in turn,
    :math:`r_i` and :math:`r_{i+2}` both touch :math:`r_{i+1}`, so :math:`r_{i+2} \leq r_i`: a cycle can only be a pair,
    whose smaller root is kept. A segment of :math:`k \geq 2` roots hence keeps at most :math:`k / 2` of them, and
    :math:`\lfloor \log_2 n \rfloor` rounds leave one root a segment of n pixels, whatever its shape; nothing has to be
    read back to know that it is done.

    Args:
        mask (Tensor): Pixels that belong to segments.

    Shapes:
        - **input:** mask :math:`(N, h, w)`, bool
        - **output:** :math:`(N, h, w)`, int64: an index into the flattened map, the same within a segment only;
          pixels outside of the mask have their own index
    """
    num_maps, height, width = mask.shape
    num_pixels = height * width
    inside = mask.flatten(1)
    pixel = torch.arange(num_pixels, device=mask.device).expand(num_maps, -1)
    root, num_roots = pixel, num_pixels
    while num_roots > 1:
        outside_root = root.masked_fill(~inside, num_pixels)
        around = F.pad(outside_root.view_as(mask), (1, 1, 1, 1), value=num_pixels).unfold(1, 3, 1).unfold(2, 3, 1)
        around = around.reshape(num_maps, num_pixels, 9)
        touched = around.masked_fill(around == root.unsqueeze(-1), num_pixels).amin(-1).masked_fill(~inside, num_pixels)
        touched = torch.full_like(root, num_pixels).scatter_reduce_(1, root, touched, 'amin')
        parent = torch.where(touched < num_pixels, touched, root)
        keeps = (parent.gather(1, parent) == pixel) & (pixel < parent)  # The smaller of a pair.
        root = torch.where(keeps, pixel, parent)
        for _ in range(math.ceil(math.log2(num_roots))):  # A tree of these roots is no deeper than their number.
            root = root.gather(1, root)
        num_roots //= 2
    return root.view_as(mask)


def _bounds(segment: Tensor, dtype: torch.dtype) -> Tensor:
    """The box around the True pixels of each map [N, h, w], divided by the map's size; NaN where there are none."""
    sides = []
    for size, taken in ((segment.size(2), segment.any(1)), (segment.size(1), segment.any(2))):
        at = torch.arange(size, device=segment.device)
        start = torch.where(taken, at, size).amin(1)
        stop = torch.where(taken, at + 1, 0).amax(1)
        sides.append((start.to(dtype) / size, (stop - start).to(dtype) / size))
    (x, width), (y, height) = sides
    box = torch.stack([x, y, width, height], dim=1)
    return box.masked_fill(~segment.flatten(1).any(1, keepdim=True), math.nan)


def grid_centres(box: Tensor, height: int, width: int) -> Tensor:
    """The centres of boxes that lie on a map's grid, as integers, so that distances between them are exact.

    They count half pixels, x times the map's height and y times its width, so that both have one unit, 1 / (2hw) of
    the image's side. A box that is NaN has its centre at 0.

    Args:
        box (Tensor): (x, y, width, height) as parts of the image's size.
        height, width (int): Size of the map.

    Shapes:
        - **input:** :math:`(*, 4)`
        - **output:** :math:`(*, 2)`, int64
    """
    corner, size = box[..., :2], box[..., 2:]
    half = [(2 * corner[..., i] + size[..., i]) * side for i, side in enumerate((width, height))]
    half = torch.stack([half[0].round() * height, half[1].round() * width], dim=-1)
    return half.nan_to_num(nan=0.0).long()

"""Instances that no class map chose: the cells of a grid, for models without CSAC."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mlsgm_pyg.csac import POOLINGS, CSACOutput, Instances, Slots
from mlsgm_pyg.names import check_choice
from mlsgm_pyg.nn.reduction import build_reduction
from mlsgm_pyg.regions import grid_centres


class Cells(torch.nn.Module):
    r"""Instances without class maps: the whole image, :math:`\mathbf{x}^0`, and the cells of a grid.

    It takes the place of :class:`~mlsgm_pyg.csac.CSAC` and has no scores, and no parameters but the reduction. The
    paper does not say what its instances are without CSAC; these are Eq. 1 with maps that are 1 inside a cell and 0
    outside, and the cells' boxes. Where the map's side is no multiple of the grid's, cells overlap by a pixel.

    Args:
        in_channels (int): Channels of the backbone's feature map, D'.
        grid (int): Rows and columns; 0: the whole image alone.
        out_channels, pooling: See :class:`~mlsgm_pyg.csac.CSAC`.

    Raises:
        ValueError: If the grid is negative or the pooling unknown.
    """

    def __init__(self, in_channels: int, grid: int, out_channels: int | None = 1024, pooling: str = 'mean'):
        super().__init__()
        check_choice('pooling', pooling, POOLINGS)
        if grid < 0:
            raise ValueError(f"'grid' must not be negative (got {grid})")
        self.in_channels, self.out_channels = in_channels, in_channels if out_channels is None else out_channels
        self.grid, self.pooling = grid, pooling
        self.reduce = build_reduction(in_channels, out_channels)

    def forward(self, feature: Tensor) -> CSACOutput:
        return CSACOutput(None, None)

    def activations(self, feature: Tensor) -> Tensor:
        """Raises:
        ValueError: There are no activation maps.
        """
        raise ValueError('this model has no activation maps: its instances are not from CSAC')

    def select(self, feature: Tensor, out: CSACOutput, gradient: float = 1.0) -> Instances:
        """The same instances in every image; see :meth:`mlsgm_pyg.csac.CSAC.select`."""
        slots = self.slots(feature, out)
        images, num = slots.valid.shape
        x, box, label, score, _, centre = (value.flatten(0, 1) for value in slots[:-1])
        image = torch.arange(images + 1, device=feature.device)
        return Instances(x, box, label, score, image[:-1].repeat_interleave(num), image * num, [num] * images, centre)

    def slots(self, feature: Tensor, out: CSACOutput) -> Slots:
        """As :meth:`select`, image by image; no slot is empty."""
        images, num, (height, width) = feature.size(0), 1 + self.grid**2, feature.shape[2:]
        dtype = torch.promote_types(feature.dtype, torch.float32)
        x, box = [feature.mean((2, 3))[:, None]], self.boxes(height, width).to(feature.device, dtype)
        if self.grid > 0:
            x.append(F.adaptive_avg_pool2d(feature, self.grid).flatten(2).transpose(1, 2))
        x = torch.cat(x, dim=1)
        x = self.reduce.pooled(x, x.new_ones(1))
        if self.pooling == 'sum':
            x = x * (box[:, 2] * box[:, 3] * height * width)[:, None].to(x.dtype)
        label = torch.full((images, num), -1, device=feature.device)
        centre = grid_centres(box, height, width).expand(images, -1, -1)
        return Slots(x, box.expand(images, -1, -1), label, box.new_ones(images, num), label < 0, centre)

    def boxes(self, height: int, width: int) -> Tensor:
        """The boxes of a map's instances, :obj:`[1 + grid * grid, 4]`, in the order of the instances."""
        cell, grid, sides = torch.arange(self.grid**2), max(self.grid, 1), []
        for at, size in ((cell % grid, width), (cell // grid, height)):
            start, stop = at * size // grid, -(-(at + 1) * size // grid)
            sides.append((start / size, (stop - start) / size))
        (x, across), (y, down) = sides
        return torch.cat([torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.stack([x, y, across, down], dim=1)])

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.in_channels}, {self.grid}, pooling='{self.pooling}')"

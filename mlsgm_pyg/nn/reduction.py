"""The 1x1 convolution between backbone and CSAC, without the reduced map."""

import torch
import torch.nn.functional as F
from torch import Tensor


class Reduction(torch.nn.Conv2d):
    r"""The 1x1 convolution that brings a feature map to D channels, for readers that never need the reduced map itself.

    With :math:`\mathbf{F}' = \mathbf{V} \mathbf{F} + \mathbf{v}` the reduced map, class maps and pooled instances
    (Eq. 1) are linear in it:

    .. math::
        \mathbf{W} \mathbf{F}' + \mathbf{b}
        = (\mathbf{W} \mathbf{V}) \mathbf{F} + (\mathbf{W} \mathbf{v} + \mathbf{b}), \quad
        \sum_{x, y} \mathbf{M}_c(x, y) \, \mathbf{F}'(x, y)
        = \mathbf{V} \left( \sum_{x, y} \mathbf{M}_c(x, y) \, \mathbf{F}(x, y) \right)
        + \mathbf{v} \sum_{x, y} \mathbf{M}_c(x, y)

    so that only class weights and instances are reduced, not every place.

    Args:
        in_channels (int): Channels of the backbone's map, D'.
        out_channels (int): D.

    Shapes:
        - **input:** :math:`(B, D', h, w)`
        - **output:** :math:`(B, D, h, w)`
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, kernel_size=1)

    def classified(self, classifier: torch.nn.Conv2d, feature: Tensor) -> Tensor:
        """What a 1x1 convolution makes of the reduced map."""
        weight = classifier.weight.flatten(1)
        both = (weight @ self.weight.flatten(1))[..., None, None]
        return F.conv2d(feature, both, weight @ self.bias + classifier.bias)

    def pooled(self, x: Tensor, mass: Tensor) -> Tensor:
        """Weighted sums over the map itself, :obj:`[..., D']` -> over the reduced map, :obj:`[..., D]`.

        Args:
            x (Tensor): The sums.
            mass (Tensor): The sums of the weights, :obj:`[..., 1]`.
        """
        return F.linear(x, self.weight.flatten(1)) + mass * self.bias


class Unreduced(torch.nn.Identity):
    """A map that stays as it is, in the place of :class:`Reduction`."""

    def classified(self, classifier: torch.nn.Conv2d, feature: Tensor) -> Tensor:
        return classifier(feature)

    def pooled(self, x: Tensor, mass: Tensor) -> Tensor:
        return x


def build_reduction(in_channels: int, out_channels: int | None) -> Reduction | Unreduced:
    """The reduction from :obj:`in_channels` to :obj:`out_channels`; none where these are :obj:`None`."""
    return Unreduced() if out_channels is None else Reduction(in_channels, out_channels)

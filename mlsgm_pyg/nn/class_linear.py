"""One linear classifier a class, each for its own class's vector."""

import math

import torch
from torch import Tensor


class ClassLinear(torch.nn.Module):
    r"""Scores the vector of every class with that class's own linear classifier:

    .. math::
        s_c = \mathbf{w}_c^\top \mathbf{x}_c + b_c

    Args:
        in_channels (int): Size of a class's vector.
        num_labels (int): Number of classes, C.

    Shapes:
        - **input:** :math:`(B, C, F)`
        - **output:** :math:`(B, C)`
    """

    def __init__(self, in_channels: int, num_labels: int):
        super().__init__()
        self.in_channels, self.num_labels = in_channels, num_labels
        self.weight = torch.nn.Parameter(torch.empty(num_labels, in_channels))
        self.bias = torch.nn.Parameter(torch.empty(num_labels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.in_channels)  # As torch.nn.Linear.
        torch.nn.init.uniform_(self.weight, -bound, bound)
        torch.nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).sum(-1) + self.bias

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.in_channels}, num_labels={self.num_labels})'

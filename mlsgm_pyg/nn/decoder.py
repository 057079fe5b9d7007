"""Scores each instance-label edge (Eq. 14)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mlsgm_pyg.nn.mlp import SplitMLP


class Decoder(torch.nn.Module):
    r"""Reads a score for each matching edge out of its final attribute (paper, Eq. 14):

    .. math::
        s_{ij} = \varphi^e_{dec}(\mathbf{e}^m_{ij})

    as a logit: Linear -> ReLU -> LayerNorm, then a linear layer to one number. Its sigmoid is the paper's score.

    Args:
        in_channels (int or Sequence[int]): Size of an edge's attribute, or of the parts that it concatenates.
        hidden_channels (int): Size of the hidden layer. (default: :obj:`128`)
        dropout (float): Probability of dropping a number of the hidden layer. (default: :obj:`0.0`)

    Shapes:
        - **input:** :math:`(*, F)`, or :math:`(*, F_k)` for each part :math:`k`, broadcastable against each other
        - **output:** :math:`(*)`, logits
    """

    def __init__(self, in_channels: int | Sequence[int], hidden_channels: int = 128, dropout: float = 0.0):
        super().__init__()
        self.in_channels, self.hidden_channels = in_channels, hidden_channels
        self.mlp = SplitMLP(in_channels, [hidden_channels])
        self.dropout = torch.nn.Dropout(dropout)
        self.lin = torch.nn.Linear(hidden_channels, 1)

    def reset_parameters(self) -> None:
        self.mlp.reset_parameters()
        self.lin.reset_parameters()

    def forward(self, *edge_attr: Tensor) -> Tensor:
        return self.lin(self.dropout(self.mlp(*edge_attr))).squeeze(-1)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.in_channels}, {self.hidden_channels})'

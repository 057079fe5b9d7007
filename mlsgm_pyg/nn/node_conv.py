"""What the edges of one relation tell their target nodes (Eq. 6 and 8)."""

from typing import Optional

from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.typing import OptTensor, PairTensor

from mlsgm_pyg.nn.aggregate import scatter_mean
from mlsgm_pyg.nn.mlp import ReLUNorm, SplitLinear


class NodeConv(MessagePassing):
    r"""Averages what the edges of one relation tell each target node (paper, Eq. 6 and 8):

    .. math::
        \hat{\mathbf{v}}_i = \frac{1}{|\mathcal{N}(i)|} \sum_{j \in \mathcal{N}(i)}
        \rho([\mathbf{e}_{ij} \, \Vert \, \mathbf{v}_j]), \quad
        \hat{\mathbf{v}}_i = \mathbf{0} \text{ if } \mathcal{N}(i) = \emptyset

    with :math:`\rho` a linear layer, ReLU and LayerNorm. To send messages the other way, flip the edges, not the layer.

    Args:
        in_channels (int or tuple[int, int]): Size of edge and of source node features, in this order; one number for
            both. An edge size of 0 leaves :math:`\mathbf{e}_{ij}` out.
        out_channels (int): Size of a message.
        backend (str): How the mean is taken; see :func:`mlsgm_pyg.nn.aggregate.scatter_mean`.
            (default: :obj:`'auto'`)

    Shapes:
        - **inputs:** :obj:`x` :math:`(N, F)` or :math:`((N_s, F_s), (N_t, F_t))`, :obj:`edge_index` :math:`(2, E)`,
          :obj:`edge_attr` :math:`(E, F_e)`, or :obj:`None` to leave its term out
        - **output:** :math:`(N_t, F_{out})`
    """

    def __init__(self, in_channels: int | tuple[int, int], out_channels: int, backend: str = 'auto'):
        super().__init__(aggr=None)
        self.in_channels = (in_channels, in_channels) if isinstance(in_channels, int) else tuple(in_channels)
        self.out_channels = out_channels
        self.backend = backend
        self.rho = SplitLinear(self.in_channels, out_channels)
        self.norm = ReLUNorm(out_channels)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.rho.reset_parameters()
        self.norm.reset_parameters()

    def forward(self, x: Tensor | PairTensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        x = (x, x) if isinstance(x, Tensor) else x
        edge, node = self.rho(edge_attr, x[0])  # Projected apart, added on the edge: no concatenation.
        return self.propagate(edge_index, x=node, edge_attr=edge, size=(x[0].size(0), x[1].size(0)))

    def message(self, x_j: Tensor, edge_attr: OptTensor) -> Tensor:
        return self.finish(x_j.clone() if edge_attr is None else x_j + edge_attr)

    def finish(self, x: Tensor) -> Tensor:
        """What follows the linear layer of :math:`\\rho`; :obj:`x` is overwritten."""
        return self.norm(x)

    def aggregate(self, inputs: Tensor, index: Tensor, dim_size: Optional[int] = None) -> Tensor:  # noqa: UP045 (PyG reads it)
        return scatter_mean(inputs, index, dim_size, self.backend)  # PyG's own mean never calls torch-scatter.

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.in_channels}, {self.out_channels})'

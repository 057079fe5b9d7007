"""What the edges of one relation tell their target nodes (Eq. 6 and 8)."""

from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.aggr import Aggregation
from torch_geometric.typing import Adj, OptTensor, PairTensor

from mlsgm_pyg.nn.aggregate import ScatterMean
from mlsgm_pyg.nn.mlp import ReLUNorm, SplitLinear


class NodeConv(MessagePassing):
    r"""Averages what the edges of one relation tell each target node (paper, Eq. 6 and 8):

    .. math::
        \hat{\mathbf{v}}_i = \frac{1}{|\mathcal{N}(i)|} \sum_{j \in \mathcal{N}(i)}
        \rho([\mathbf{e}_{ij} \, \Vert \, \mathbf{v}_j]), \quad
        \hat{\mathbf{v}}_i = \mathbf{0} \text{ if } \mathcal{N}(i) = \emptyset

    with :math:`\rho` a linear layer, ReLU and LayerNorm. To send messages the other way, flip the edges, not the layer.

    Args:
        in_channels (int or tuple[int, int]): Size of source and target node features, of which the source's are read;
            -1 takes it from the first call.
        out_channels (int): Size of a message.
        edge_dim (int, optional): Size of edge attributes; 0 leaves :math:`\mathbf{e}_{ij}` out, -1 takes it from the
            first call. (default: that of the source nodes)
        aggr (str or Aggregation): How messages are taken together, any of PyG's. (default: :obj:`'mean'`, taken by
            :class:`~mlsgm_pyg.nn.aggregate.ScatterMean`)

    Shapes:
        - **inputs:** :obj:`x` :math:`(N, F)` or :math:`((N_s, F_s), (N_t, F_t))`, :obj:`edge_index` :math:`(2, E)`,
          :obj:`edge_attr` :math:`(E, D)`, or :obj:`None` to leave its term out
        - **output:** :math:`(N_t, F_{out})`
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        edge_dim: int | None = None,
        aggr: str | Aggregation = 'mean',
    ):
        super().__init__(aggr=ScatterMean() if aggr == 'mean' else aggr)
        self.in_channels, self.out_channels = in_channels, out_channels
        source = in_channels if isinstance(in_channels, int) else in_channels[0]
        self.edge_dim = source if edge_dim is None else edge_dim
        self.rho = SplitLinear((self.edge_dim, source), out_channels)
        self.norm = ReLUNorm(out_channels)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.rho.reset_parameters()
        self.norm.reset_parameters()

    def forward(self, x: Tensor | PairTensor, edge_index: Adj, edge_attr: OptTensor = None) -> Tensor:
        x = (x, x) if isinstance(x, Tensor) else x
        edge, node = self.rho(edge_attr, x[0])  # Projected apart, added on the edge: no concatenation.
        return self.propagate(edge_index, x=node, edge_attr=edge, size=(x[0].size(0), x[1].size(0)))

    def message(self, x_j: Tensor, edge_attr: OptTensor) -> Tensor:
        return self.norm(x_j.clone() if edge_attr is None else x_j + edge_attr)  # It is overwritten.

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.in_channels}, {self.out_channels})'

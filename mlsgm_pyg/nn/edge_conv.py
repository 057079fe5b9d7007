"""The new attribute of an edge from the two nodes that it joins (Eq. 10-13)."""

from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.typing import OptTensor, PairTensor

from mlsgm_pyg.nn.mlp import MLP


class EdgeConv(MessagePassing):
    r"""Updates the edges of one relation from the nodes that they join (paper, Eq. 10-13):

    .. math::
        \hat{\mathbf{e}}_{ij} = \rho_e([\mathbf{v}_i \, \Vert \, \mathbf{v}_j]), \quad
        \mathbf{e}_{ij} \leftarrow \phi_e([\mathbf{e}_{ij} \, \Vert \, \hat{\mathbf{e}}_{ij}])

    with :math:`\mathbf{v}_i` the source and :math:`\mathbf{v}_j` the target of the edge, :math:`\rho_e` an
    :class:`~mlsgm_pyg.nn.mlp.MLP` of two layers and :math:`\phi_e` one of one layer.

    Args:
        in_channels (int): Size of edge features; 0 leaves :math:`\mathbf{e}_{ij}` out.
        node_channels (tuple[int, int]): Size of source and target node features.
        hidden_channels (int): Size of :math:`\hat{\mathbf{e}}_{ij}`.
        out_channels (int): Size of the new edge features.

    Shapes:
        - **inputs:** :obj:`x` :math:`(N, F)` or :math:`((N_s, F_s), (N_t, F_t))`, :obj:`edge_index` :math:`(2, E)`,
          :obj:`edge_attr` :math:`(E, F_e)`, or :obj:`None` to leave its term out
        - **output:** :math:`(E, F_{out})`
    """

    def __init__(self, in_channels: int, node_channels: tuple[int, int], hidden_channels: int, out_channels: int):
        super().__init__(aggr=None)
        self.in_channels, self.node_channels = in_channels, tuple(node_channels)
        self.hidden_channels, self.out_channels = hidden_channels, out_channels
        self.rho = MLP(self.node_channels, [hidden_channels, hidden_channels])
        self.phi = MLP((in_channels, hidden_channels), [out_channels])

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.rho.reset_parameters()
        self.phi.reset_parameters()

    def forward(self, x: Tensor | PairTensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        x = (x, x) if isinstance(x, Tensor) else x
        nodes = self.rho.first(*x)
        size = (x[0].size(0), x[1].size(0))
        return self.edge_updater(edge_index, x=nodes, edge_attr=edge_attr, size=size)

    def edge_update(self, x_i: Tensor, x_j: Tensor, edge_attr: OptTensor) -> Tensor:
        return self.finish(x_j + x_i, None if edge_attr is None else self.phi.first.part(0, edge_attr))

    def finish(self, pair: Tensor, edge: Tensor | None) -> Tensor:
        """What follows the first linear layer of :math:`\\rho_e` on the pair and of :math:`\\phi_e` on the edge."""
        new = self.phi.first.part(1, self.rho.finish(pair))
        return self.phi.finish(new if edge is None else new.add_(edge))

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.in_channels}, {self.node_channels}, {self.out_channels})'

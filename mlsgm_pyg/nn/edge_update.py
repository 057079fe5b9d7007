"""The new attribute of an edge from the two nodes that it joins (Eq. 10-13)."""

from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.typing import Adj, OptTensor, PairTensor

from mlsgm_pyg.nn.mlp import SplitMLP


class EdgeUpdate(MessagePassing):
    r"""Updates the edges of one relation from the nodes that they join (paper, Eq. 10-13):

    .. math::
        \hat{\mathbf{e}}_{ij} = \rho_e([\mathbf{v}_i \, \Vert \, \mathbf{v}_j]), \quad
        \mathbf{e}_{ij} \leftarrow \phi_e([\mathbf{e}_{ij} \, \Vert \, \hat{\mathbf{e}}_{ij}])

    with :math:`\mathbf{v}_i` the source and :math:`\mathbf{v}_j` the target of the edge, :math:`\rho_e` a
    :class:`~mlsgm_pyg.nn.mlp.SplitMLP` of two layers and :math:`\phi_e` one of one layer.

    Args:
        in_channels (int or tuple[int, int]): Size of source and target node features; -1 takes it from the first call.
        out_channels (int): Size of the new edge attributes.
        hidden_channels (int, optional): Size of :math:`\hat{\mathbf{e}}_{ij}`. (default: :obj:`out_channels`)
        edge_dim (int, optional): See :class:`~mlsgm_pyg.nn.NodeConv`.

    Shapes:
        - **inputs:** :obj:`x` :math:`(N, F)` or :math:`((N_s, F_s), (N_t, F_t))`, :obj:`edge_index` :math:`(2, E)`,
          :obj:`edge_attr` :math:`(E, D)`, or :obj:`None` to leave its term out
        - **output:** :math:`(E, F_{out})`
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        hidden_channels: int | None = None,
        edge_dim: int | None = None,
    ):
        super().__init__(aggr=None)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.hidden_channels = out_channels if hidden_channels is None else hidden_channels
        source, target = (in_channels, in_channels) if isinstance(in_channels, int) else in_channels
        self.edge_dim = source if edge_dim is None else edge_dim
        self.rho = SplitMLP((source, target), [self.hidden_channels, self.hidden_channels])
        self.phi = SplitMLP((self.edge_dim, self.hidden_channels), [out_channels])

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.rho.reset_parameters()
        self.phi.reset_parameters()

    def forward(self, x: Tensor | PairTensor, edge_index: Adj, edge_attr: OptTensor = None) -> Tensor:
        x = (x, x) if isinstance(x, Tensor) else x
        nodes = self.rho.first(*x)
        self.phi.first.infer(edge_attr)
        size = (x[0].size(0), x[1].size(0))
        return self.edge_updater(edge_index, x=nodes, edge_attr=edge_attr, size=size)

    def edge_update(self, x_i: Tensor, x_j: Tensor, edge_attr: OptTensor) -> Tensor:
        return self.finish(x_j + x_i, None if edge_attr is None else self.phi.first.part(0, edge_attr))

    def finish(self, pair: Tensor, edge: OptTensor) -> Tensor:
        """What follows the first linear layer of :math:`\\rho_e` on the pair and of :math:`\\phi_e` on the edge."""
        new = self.phi.first.part(1, self.rho.finish(pair))
        return self.phi.finish(new if edge is None else new.add_(edge))

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.in_channels}, {self.out_channels})'

"""Takes the attributes of a heterogeneous graph into one latent space (Eq. 5)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.nn.module_dict import ModuleDict
from torch_geometric.typing import Adj, EdgeType, NodeType

from mlsgm_pyg.nn.mlp import SplitMLP


class GraphEncoder(torch.nn.Module):
    r"""Encodes the attributes of all nodes and edges, one :class:`~mlsgm_pyg.nn.mlp.SplitMLP` a type (paper, Eq. 5):

    .. math::
        \mathbf{v}_i \leftarrow \varphi^v_{enc}(\mathbf{v}_i), \quad
        \mathbf{e}_{ij} \leftarrow \varphi^e_{enc}([\mathbf{a}_i \, \Vert \, \mathbf{a}_j])

    where :math:`\mathbf{a}` are the two halves of the edge's attribute (Eq. 2-4: the boxes, word vectors, or feature
    and word vector of the nodes joined). An attribute may be given whole, a row an edge, or as its two halves, a row a
    node: these are projected once a node and added on the edge.

    Args:
        node_channels (dict[NodeType, int]): Input size of each node type.
        edge_channels (dict[EdgeType, tuple[int, int]]): Input sizes of the source's and the target's half, by type.
        channels (Sequence[int]): Output sizes of the layers. (default: :obj:`(512, 256)`)

    Shapes:
        - **inputs:** :obj:`x_dict` :math:`(N, F)` by node type; :obj:`edge_index_dict` :math:`(2, E)` and
          :obj:`edge_attr_dict` by edge type, the latter :math:`(E, F_s + F_t)` or halves
          :math:`((N_s, F_s), (N_t, F_t))`
        - **outputs:** :math:`(N, F_{out})` by node type, :math:`(E, F_{out})` by edge type
    """

    def __init__(
        self,
        node_channels: dict[NodeType, int],
        edge_channels: dict[EdgeType, tuple[int, int]],
        channels: Sequence[int] = (512, 256),
    ):
        super().__init__()
        self.out_channels = channels[-1]
        names = [ModuleDict.to_internal_key(tuple(key)) for key in edge_channels]
        if twice := [key for key, name in zip(edge_channels, names) if names.count(name) > 1]:
            raise ValueError(f'these relations have one name, so that they would share weights; rename one: {twice}')
        self.nodes = ModuleDict({key: SplitMLP(size, channels) for key, size in node_channels.items()})
        self.edges = ModuleDict({tuple(key): SplitMLP(sizes, channels) for key, sizes in edge_channels.items()})

    def reset_parameters(self) -> None:
        for mlp in (*self.nodes.values(), *self.edges.values()):
            mlp.reset_parameters()

    def forward(
        self,
        x_dict: dict[NodeType, Tensor],
        edge_index_dict: dict[EdgeType, Adj],
        edge_attr_dict: dict[EdgeType, Tensor | tuple[Tensor, Tensor]],
    ) -> tuple[dict[NodeType, Tensor], dict[EdgeType, Tensor]]:
        nodes = {key: mlp(x_dict[key]) for key, mlp in self.nodes.items()}
        edges = {key: self.encode_edge(key, attr, edge_index_dict[key]) for key, attr in edge_attr_dict.items()}
        return nodes, edges

    def encode_edge(self, edge_type: EdgeType, attr: Tensor | tuple[Tensor, Tensor], edge_index: Adj) -> Tensor:
        """Encodes the edges of one type, see :meth:`forward`."""
        mlp = self.edges[edge_type]
        if isinstance(attr, Tensor):
            return mlp(attr)
        source, target = mlp.first(*attr)
        return mlp.finish(source[edge_index[0]] + target[edge_index[1]])

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.out_channels})'

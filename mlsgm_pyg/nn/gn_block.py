"""The graph network block: all nodes, then all edges, of any heterogeneous graph (Eq. 6-13)."""

from collections.abc import Collection

import torch
from torch import Tensor
from torch_geometric.nn.module_dict import ModuleDict
from torch_geometric.typing import EdgeType, Metadata, NodeType

from mlsgm_pyg.nn.edge_conv import EdgeConv
from mlsgm_pyg.nn.mlp import MLP
from mlsgm_pyg.nn.node_conv import NodeConv

REVERSE = 'rev'


class GraphNetworkBlock(torch.nn.Module):
    r"""Updates the nodes, then the edges of a heterogeneous graph (paper, Eq. 6-13).

    .. math::
        \mathbf{v}_i &\leftarrow \phi_n([\mathbf{v}_i \, \Vert \, \hat{\mathbf{v}}^{1}_i \, \Vert \, \ldots]), \quad
        \hat{\mathbf{v}}^{r}_i = \frac{1}{|\mathcal{N}_r(i)|} \sum_{j \in \mathcal{N}_r(i)}
        \rho^r_n([\mathbf{e}_{ij} \, \Vert \, \mathbf{v}_j]) \\
        \mathbf{e}_{ij} &\leftarrow \phi^r_e([\mathbf{e}_{ij} \, \Vert \,
        \rho^r_e([\mathbf{v}_i \, \Vert \, \mathbf{v}_j])])

    with own weights for each relation :math:`r` and direction. All nodes are updated from the same old state, edges
    from the new nodes and their own old state. A node type that no relation reaches is updated from itself; a node
    without neighbours in a relation gets 0 from it.

    Args:
        metadata (tuple): Node types and edge types, as :meth:`torch_geometric.data.HeteroData.metadata` gives them.
        in_channels (int or dict[NodeType, int]): Size of node features, by type where it differs.
        out_channels (int): Size of new node and edge features.
        hidden_channels (int, optional): Size of messages and hidden layers. (default: :obj:`out_channels`)
        edge_channels (int or dict[EdgeType, int], optional): Size of edge features; a type that a dictionary leaves out
            has none. (default: :obj:`in_channels` if that is a number, else none)
        reverse (Collection[EdgeType]): The relations that also send to their source, with own weights.
            (default: :obj:`()`)
        update_edges (Collection[EdgeType], optional): The edge types to update, the others are dropped from the output
            and have no weights for it. (default: all)
        backend (str): See :func:`mlsgm_pyg.nn.aggregate.scatter_mean`. (default: :obj:`'auto'`)

    Shapes:
        - **inputs:** :obj:`x_dict` :math:`(N, F)` by node type, :obj:`edge_index_dict` :math:`(2, E)` and
          :obj:`edge_attr_dict` :math:`(E, F_e)` by edge type; an edge type missing in the latter drops its term, a
          node type missing in :obj:`x_dict` sends nothing
        - **outputs:** :math:`(N, F_{out})` by node type and :math:`(E, F_{out})` by edge type, for the node types in
          :obj:`x_dict` and the edges between them

    Raises:
        ValueError: If :obj:`reverse`, :obj:`update_edges`, a size or an input names a type that :obj:`metadata` does
            not have, if features are not of the size that was declared or not one row an edge, or if
            :obj:`out_channels` or :obj:`hidden_channels` is below 1.
    """

    def __init__(
        self,
        metadata: Metadata,
        in_channels: int | dict[NodeType, int],
        out_channels: int,
        hidden_channels: int | None = None,
        edge_channels: int | dict[EdgeType, int] | None = None,
        reverse: Collection[EdgeType] = (),
        update_edges: Collection[EdgeType] | None = None,
        backend: str = 'auto',
    ):
        super().__init__()
        self.node_types, self.edge_types = list(metadata[0]), [tuple(key) for key in metadata[1]]
        hidden_channels = out_channels if hidden_channels is None else hidden_channels
        if out_channels < 1 or hidden_channels < 1:
            raise ValueError(
                f"'out_channels' and 'hidden_channels' must be at least 1 (got {out_channels} and {hidden_channels})"
            )
        self.out_channels, self.hidden_channels = out_channels, hidden_channels
        self.reverse = self._known(reverse, 'reverse')
        self.update_edges = self.edge_types if update_edges is None else self._known(update_edges, 'update_edges')
        node, edge = self.in_channels, self.edge_channels = self._sizes(in_channels, edge_channels)
        hidden = self.hidden_channels

        self.node_convs, incoming = torch.nn.ModuleDict(), dict.fromkeys(self.node_types, 0)
        for source, target, edge_type, flipped in self.directions():
            self.node_convs[name(edge_type, flipped)] = NodeConv(
                (edge.get(edge_type, 0), node[source]), hidden, backend
            )
            incoming[target] += 1
        self.node_mlps = ModuleDict(  # PyG's takes any name of a type, such as 'a.b' or 'type'.
            {key: MLP((node[key], *[hidden] * incoming[key]), [hidden, out_channels]) for key in self.node_types}
        )
        self.edge_convs = torch.nn.ModuleDict(
            {
                name(key): EdgeConv(edge.get(key, 0), (out_channels, out_channels), hidden, out_channels)
                for key in self.update_edges
            }
        )

    def directions(self) -> list[tuple[NodeType, NodeType, EdgeType, bool]]:
        """Every relation as it sends: source, target, edge type and whether against its edges; those come last."""
        forward = [(key[0], key[2], key, False) for key in self.edge_types]
        return forward + [(key[2], key[0], key, True) for key in self.reverse]

    def _known(self, edge_types: Collection[EdgeType], argument: str) -> list[EdgeType]:
        edge_types = [tuple(key) for key in edge_types]
        for key in edge_types:
            if key not in self.edge_types:
                raise ValueError(f"'{argument}' names edge types of the graph, {self.edge_types} (got {key})")
        return edge_types

    def _sizes(self, in_channels, edge_channels) -> tuple[dict[NodeType, int], dict[EdgeType, int]]:
        if edge_channels is None:
            edge_channels = in_channels if isinstance(in_channels, int) else {}
        if isinstance(in_channels, int):
            in_channels = dict.fromkeys(self.node_types, in_channels)
        if isinstance(edge_channels, int):
            edge_channels = dict.fromkeys(self.edge_types, edge_channels)
        if set(in_channels) != set(self.node_types):
            raise ValueError(
                f"'in_channels' must give the size of each node type, {self.node_types} (got {sorted(in_channels)})"
            )
        self._known(edge_channels, 'edge_channels')
        return in_channels, {tuple(key): size for key, size in edge_channels.items()}

    def reset_parameters(self) -> None:
        for module in (*self.node_convs.values(), *self.node_mlps.values(), *self.edge_convs.values()):
            module.reset_parameters()

    def node_conv(self, edge_type: EdgeType, reverse: bool = False) -> NodeConv:
        """The layer that sends along one relation, or against it."""
        return self.node_convs[name(edge_type, reverse)]

    def edge_conv(self, edge_type: EdgeType) -> EdgeConv:
        """The layer that updates the edges of one relation."""
        return self.edge_convs[name(edge_type)]

    def forward(
        self,
        x_dict: dict[NodeType, Tensor],
        edge_index_dict: dict[EdgeType, Tensor],
        edge_attr_dict: dict[EdgeType, Tensor] | None = None,
    ) -> tuple[dict[NodeType, Tensor], dict[EdgeType, Tensor]]:
        edge_attr_dict = {} if edge_attr_dict is None else edge_attr_dict
        _check_types('x_dict', x_dict, 'node', self.node_types)
        _check_types('edge_index_dict', edge_index_dict, 'edge', self.edge_types)
        _check_types('edge_attr_dict', edge_attr_dict, 'edge', self.edge_types)
        _check_counts(edge_index_dict, edge_attr_dict)
        _check_sizes('in_channels', x_dict, self.in_channels)
        _check_sizes('edge_channels', edge_attr_dict, dict.fromkeys(self.edge_types, 0) | self.edge_channels)
        x_dict = self.update_nodes(x_dict, edge_index_dict, edge_attr_dict)
        edges = {}
        for key in self.update_edges:
            if key in edge_index_dict and key[0] in x_dict and key[2] in x_dict:
                pair = (x_dict[key[0]], x_dict[key[2]])
                edges[key] = self.edge_conv(key)(pair, edge_index_dict[key], edge_attr_dict.get(key))
        return x_dict, edges

    def update_nodes(
        self,
        x_dict: dict[NodeType, Tensor],
        edge_index_dict: dict[EdgeType, Tensor],
        edge_attr_dict: dict[EdgeType, Tensor],
    ) -> dict[NodeType, Tensor]:
        """Updates all nodes from the same old state (Eq. 6-9)."""
        parts = {key: [self.node_mlps[key].first.part(0, x)] for key, x in x_dict.items()}
        for source, target, edge_type, flipped in self.directions():
            if target not in x_dict:
                continue
            edge_index = edge_index_dict.get(edge_type)
            if edge_index is None or source not in x_dict:
                message = x_dict[target].new_zeros(1, self.hidden_channels)
            else:
                conv, pair = self.node_conv(edge_type, flipped), (x_dict[source], x_dict[target])
                edge_index = edge_index.flip(0) if flipped else edge_index
                message = conv(pair, edge_index, edge_attr_dict.get(edge_type))
            parts[target].append(self.node_mlps[target].first.part(len(parts[target]), message))
        return {key: self.node_mlps[key].finish(sum(part[1:], part[0])) for key, part in parts.items()}

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.hidden_channels} -> {self.out_channels}, '
            f'edges={[name(key) for key in self.edge_types]})'
        )


def _check_types(argument: str, given: dict, kind: str, known: list) -> None:
    for key in given:
        if key not in known:
            raise ValueError(f"'{argument}' holds {kind} types of the graph, {known} (got {key!r})")


def _check_counts(edge_index_dict: dict[EdgeType, Tensor], edge_attr_dict: dict[EdgeType, Tensor]) -> None:
    for key, value in edge_attr_dict.items():
        if value is not None and key in edge_index_dict and value.size(0) != edge_index_dict[key].size(1):
            raise ValueError(
                f"'edge_attr_dict' must hold one row an edge of {key!r}: expected {edge_index_dict[key].size(1)} rows "
                f'(got {value.size(0)})'
            )


def _check_sizes(argument: str, features: dict, sizes: dict) -> None:
    for key, value in features.items():
        if value is not None and key in sizes and (value.dim() != 2 or value.size(1) != sizes[key]):
            raise ValueError(
                f"'{argument}' says that the features of {key!r} have the shape [*, {sizes[key]}] "
                f'(got {list(value.shape)})'
            )


def name(edge_type: EdgeType, reverse: bool = False) -> str:
    """An edge type as a key of a :class:`torch.nn.ModuleDict`, which allows no dots."""
    return '__'.join([*edge_type, *([REVERSE] if reverse else [])]).replace('.', '-')

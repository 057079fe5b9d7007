"""The graph network block: all nodes, then all edges, of any heterogeneous graph (Eq. 6-13)."""

from collections.abc import Collection
from copy import deepcopy

import torch
from torch import Tensor
from torch_geometric.nn.aggr import Aggregation
from torch_geometric.nn.module_dict import ModuleDict
from torch_geometric.typing import Adj, EdgeType, Metadata, NodeType

from mlsgm_pyg.nn.edge_update import EdgeUpdate
from mlsgm_pyg.nn.mlp import SplitMLP
from mlsgm_pyg.nn.node_conv import NodeConv


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
        in_channels (int or dict[NodeType, int]): Size of node features, by type where it differs; -1 takes it from the
            first call.
        out_channels (int): Size of new node and edge features.
        hidden_channels (int, optional): Size of messages and hidden layers. (default: :obj:`out_channels`)
        edge_channels (int or dict[EdgeType, int], optional): Size of edge features; a type that a dictionary leaves out
            has none; -1 takes it from the first call. (default: :obj:`in_channels` if that is a number, else none)
        reverse (Collection[EdgeType]): The relations that also send to their source, with own weights. Unlike
            :class:`~torch_geometric.transforms.ToUndirected`, whose :obj:`'rev_...'` relations are edges of their own,
            both directions read one edge, and it is updated once. (default: :obj:`()`)
        update_edges (Collection[EdgeType], optional): The edge types to update, the others are dropped from the output
            and have no weights for it. (default: all)
        aggr (str or Aggregation): How messages are taken together, any of PyG's; a copy for each relation and
            direction. (default: :obj:`'mean'`, by :class:`~mlsgm_pyg.nn.aggregate.ScatterMean`)
        residual (bool): Whether nodes and edges whose size stays the same are added to their new state; ours.
            (default: :obj:`False`)
        allow_missing (bool): Whether inputs may lack what :obj:`metadata` and :obj:`edge_channels` declare: a missing
            node or edge type sends nothing, missing attributes drop their term. (default: :obj:`False`)

    Shapes:
        - **inputs:** :obj:`x_dict` :math:`(N, F)` by node type, :obj:`edge_index_dict` :math:`(2, E)` and
          :obj:`edge_attr_dict` :math:`(E, D)` by edge type
        - **outputs:** :math:`(N, F_{out})` by node type and :math:`(E, F_{out})` by edge type, for the node types in
          :obj:`x_dict` and the edges between them

    Raises:
        ValueError: If :obj:`reverse`, :obj:`update_edges`, a size or an input names a type that :obj:`metadata` does
            not have, or an input lacks one that it has; if features are not of the size that was declared or not one
            row an edge; if :obj:`out_channels` or :obj:`hidden_channels` is below 1; or if two relations have one name.
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
        aggr: str | Aggregation = 'mean',
        residual: bool = False,
        allow_missing: bool = False,
    ):
        super().__init__()
        self.node_types, self.edge_types = list(metadata[0]), [tuple(key) for key in metadata[1]]
        hidden_channels = out_channels if hidden_channels is None else hidden_channels
        if out_channels < 1 or hidden_channels < 1:
            raise ValueError(
                f"'out_channels' and 'hidden_channels' must be at least 1 (got {out_channels} and {hidden_channels})"
            )
        self.out_channels, self.hidden_channels = out_channels, hidden_channels
        self.residual, self.allow_missing = residual, allow_missing
        self.reverse = self._known(reverse, 'reverse')
        self.update_edges = self.edge_types if update_edges is None else self._known(update_edges, 'update_edges')
        node, edge = self.in_channels, self.edge_channels = self._sizes(in_channels, edge_channels)
        self._check_names()

        self.node_convs, incoming = ModuleDict(), dict.fromkeys(self.node_types, 0)
        for source, target, edge_type, flipped in self.directions():
            conv = NodeConv((node[source], node[target]), hidden_channels, edge[edge_type], deepcopy(aggr))
            self.node_convs[_sends(edge_type, flipped)] = conv
            incoming[target] += 1
        self.node_mlps = ModuleDict()
        for key, number in incoming.items():
            sizes = (node[key], *[hidden_channels] * number)
            self.node_mlps[key] = SplitMLP(sizes, [hidden_channels, out_channels])
        self.edge_updates = ModuleDict(
            {key: EdgeUpdate(out_channels, out_channels, hidden_channels, edge[key]) for key in self.update_edges}
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
        edge_channels = {tuple(key): size for key, size in edge_channels.items()}
        return dict(in_channels), {key: edge_channels.get(key, 0) for key in self.edge_types}

    def _check_names(self) -> None:
        """That no two relations, as they send, would share their weights under one name of a ModuleDict."""
        sent = [key for *_, key, _ in self.directions()]
        names = [ModuleDict.to_internal_key(_sends(key, flipped)) for *_, key, flipped in self.directions()]
        twice = [key for key, name in zip(sent, names) if names.count(name) > 1]
        if twice:
            raise ValueError(f'these relations have one name, so that they would share weights; rename one: {twice}')

    def reset_parameters(self) -> None:
        for module in (*self.node_convs.values(), *self.node_mlps.values(), *self.edge_updates.values()):
            module.reset_parameters()

    def node_conv(self, edge_type: EdgeType, reverse: bool = False) -> NodeConv:
        """The layer that sends along one relation, or against it."""
        return self.node_convs[_sends(edge_type, reverse)]

    def forward(
        self,
        x_dict: dict[NodeType, Tensor],
        edge_index_dict: dict[EdgeType, Adj],
        edge_attr_dict: dict[EdgeType, Tensor] | None = None,
    ) -> tuple[dict[NodeType, Tensor], dict[EdgeType, Tensor]]:
        edge_attr_dict = {} if edge_attr_dict is None else edge_attr_dict
        self._check(x_dict, edge_index_dict, edge_attr_dict)
        new = self.update_nodes(x_dict, edge_index_dict, edge_attr_dict)
        edges = {}
        for key in self.update_edges:
            if key in edge_index_dict and key[0] in new and key[2] in new:
                pair, old = (new[key[0]], new[key[2]]), edge_attr_dict.get(key)
                edges[key] = self.add(self.edge_updates[key](pair, edge_index_dict[key], old), old)
        return new, edges

    def update_nodes(
        self,
        x_dict: dict[NodeType, Tensor],
        edge_index_dict: dict[EdgeType, Adj],
        edge_attr_dict: dict[EdgeType, Tensor],
    ) -> dict[NodeType, Tensor]:
        """Updates all nodes from the same old state (Eq. 6-9)."""
        for key, x in x_dict.items():
            self.node_mlps[key].first.infer(x)
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
        return {
            key: self.add(self.node_mlps[key].finish(sum(part[1:], part[0])), x_dict[key])
            for key, part in parts.items()
        }

    def add(self, new: Tensor, old: Tensor | None) -> Tensor:
        """The new state of nodes or edges, with the old one where :obj:`residual` asks for it and sizes agree."""
        return new + old if self.residual and old is not None and old.size(-1) == new.size(-1) else new

    def _check(self, x_dict: dict, edge_index_dict: dict, edge_attr_dict: dict) -> None:
        """That the inputs are of the graph's types, whole, and of the sizes that were declared."""
        has = {key for key, size in self.edge_channels.items() if size != 0}
        for argument, given, kind, known, needed in (
            ('x_dict', x_dict, 'node', self.node_types, set(self.node_types)),
            ('edge_index_dict', edge_index_dict, 'edge', self.edge_types, set(self.edge_types)),
            ('edge_attr_dict', edge_attr_dict, 'edge', self.edge_types, has & edge_index_dict.keys()),
        ):
            for key in given:
                if key not in known:
                    raise ValueError(f"'{argument}' holds {kind} types of the graph, {known} (got {key!r})")
            missing = [key for key in known if key in needed and given.get(key) is None]
            if missing and not self.allow_missing:
                raise ValueError(
                    f"'{argument}' lacks {missing[0]!r}, which the block was built for (got {list(given)}); with "
                    'allow_missing=True it would send nothing'
                )
        for key, value in edge_attr_dict.items():
            if value is not None and key in edge_index_dict and value.size(0) != edge_index_dict[key].size(1):
                raise ValueError(
                    f"'edge_attr_dict' must hold one row an edge of {key!r}: expected {edge_index_dict[key].size(1)} "
                    f'rows (got {value.size(0)})'
                )
        declared = {'in_channels': (x_dict, self.in_channels), 'edge_channels': (edge_attr_dict, self.edge_channels)}
        for argument, (given, sizes) in declared.items():
            for key, value in given.items():
                if value is not None and (value.dim() != 2 or sizes[key] not in (-1, value.size(1))):  # -1: any size.
                    raise ValueError(
                        f"'{argument}' says that the features of {key!r} have the shape [*, {sizes[key]}] "
                        f'(got {list(value.shape)})'
                    )
        for given, sizes in declared.values():
            sizes.update({key: x.size(1) for key, x in given.items() if x is not None and sizes[key] == -1})

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.hidden_channels} -> {self.out_channels}, '
            f'edges={["__".join(key) for key in self.edge_types]})'
        )


def _sends(edge_type: EdgeType, reverse: bool = False) -> EdgeType:
    """A relation as it sends: as it is, or turned round under PyG's name for that."""
    source, relation, target = edge_type
    return (target, f'rev_{relation}', source) if reverse else (source, relation, target)

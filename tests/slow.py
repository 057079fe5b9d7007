"""The definitions as slow loops, written from the paper's equations alone: one row, one edge, one node at a time."""

import torch
from torch import Tensor


def slow_layer(linear: torch.nn.Linear, norm: torch.nn.LayerNorm, x: Tensor) -> Tensor:
    """Linear -> ReLU -> LayerNorm of one row."""
    x = (linear.weight @ x + linear.bias).clamp(min=0)
    return (x - x.mean()) / (x.var(unbiased=False) + norm.eps).sqrt() * norm.weight + norm.bias


def slow_mlp(mlp, x: Tensor) -> Tensor:
    """An MLP of one row that is concatenated already."""
    for linear, norm in zip([mlp.first, *mlp.lins], mlp.norms, strict=True):
        x = slow_layer(linear, norm, x)
    return x


def slow_node_conv(conv, source: Tensor, num_targets: int, edge_index: Tensor, edge_attr: Tensor | None) -> Tensor:
    """Eq. 6 and 8: the mean of rho([e_ij, v_j]) over the neighbours j of each node i; 0 without neighbours."""
    out = []
    for i in range(num_targets):
        messages = []
        for edge in range(edge_index.size(1)):
            if edge_index[1, edge] == i:
                parts = [] if edge_attr is None else [edge_attr[edge]]
                parts.append(source[edge_index[0, edge]])
                messages.append(slow_layer(conv.rho, conv.norm, torch.cat(parts)))
        out.append(torch.stack(messages).mean(0) if messages else source.new_zeros(conv.out_channels))
    return torch.stack(out) if out else source.new_zeros(0, conv.out_channels)


def slow_edge_update(conv, source: Tensor, target: Tensor, edge_index: Tensor, edge_attr: Tensor | None) -> Tensor:
    """Eq. 10-13, edge by edge."""
    out = []
    for edge in range(edge_index.size(1)):
        i, j = edge_index[:, edge].tolist()
        new = slow_mlp(conv.rho, torch.cat([source[i], target[j]]))
        out.append(slow_mlp(conv.phi, new if edge_attr is None else torch.cat([edge_attr[edge], new])))
    return torch.stack(out) if out else source.new_zeros(0, conv.out_channels)


def slow_block(block, x: dict, edge_index: dict, edge_attr: dict) -> tuple[dict, dict]:
    """Eq. 6-13: all nodes from the same old state, then the edges from the new nodes."""
    gathered = {key: [value] for key, value in x.items()}
    for edge_type in block.edge_types:
        source, _, target = edge_type
        conv = block.node_conv(edge_type)
        gathered[target].append(
            slow_node_conv(conv, x[source], len(x[target]), edge_index[edge_type], edge_attr.get(edge_type))
        )
    for edge_type in block.reverse:
        source, _, target = edge_type
        conv, flipped = block.node_conv(edge_type, reverse=True), edge_index[edge_type].flip(0)
        gathered[source].append(slow_node_conv(conv, x[target], len(x[source]), flipped, edge_attr.get(edge_type)))
    new = {
        key: torch.stack([slow_mlp(block.node_mlps[key], torch.cat(row)) for row in zip(*value, strict=True)])
        for key, value in gathered.items()
    }
    edges = {
        key: slow_edge_update(block.edge_updates[key], new[key[0]], new[key[2]], edge_index[key], edge_attr.get(key))
        for key in block.update_edges
    }
    return new, edges

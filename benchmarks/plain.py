"""ML-SGM's graph as the equations read: every edge's inputs concatenated, one matrix product an edge.

The reference of every comparison: the same parameters and the same function as the model's own forward, from the
attributes of Eq. 2-4 on, without any of its identities.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.utils import scatter

from mlsgm_pyg.models import MLSGM
from mlsgm_pyg.nn import GraphNetworkBlock, NodeConv
from mlsgm_pyg.schema import INSTANCE, LABEL, MATCHES, METADATA, NEAR, RELATED


def plain_match(model: MLSGM, graph: HeteroData) -> Tensor:
    """The scores of a batch of assignment graphs (Eq. 5-15), :obj:`[B, C]`."""
    ilms = model.ilms
    words, x, box = ilms.word_vectors[graph[LABEL].n_id], graph[INSTANCE].x, graph[INSTANCE].box
    index = {key: graph[key].edge_index for key in METADATA[1]}
    tables = {NEAR: (box, box), RELATED: (words, words), MATCHES: (x, words)}
    nodes = {key: ilms.encoder.nodes[key](value) for key, value in ((INSTANCE, x), (LABEL, words))}
    edges = {key: ilms.encoder.edges[key](_pairs(*tables[key], index[key])) for key in METADATA[1]}
    for block in ilms.blocks:
        nodes, edges = plain_block(block, nodes, index, edges)
    score = ilms.decoder(edges[MATCHES])
    best = scatter(score, index[MATCHES][1], dim=0, dim_size=graph[LABEL].num_nodes, reduce='max')
    return best.view(-1, model.num_labels)


def plain_block(
    block: GraphNetworkBlock, nodes: dict[str, Tensor], index: dict[tuple, Tensor], edges: dict[tuple, Tensor]
) -> tuple[dict[str, Tensor], dict[tuple, Tensor]]:
    """One block (Eq. 6-13)."""
    gathered = {key: [value] for key, value in nodes.items()}
    for source, target, key, flipped in block.directions():
        conv, (start, end) = block.node_conv(key, flipped), index[key].flip(0) if flipped else index[key]
        message = _message(conv, edges[key], nodes[source][start])
        gathered[target].append(scatter(message, end, dim=0, dim_size=len(nodes[target]), reduce='mean'))
    nodes = {key: block.node_mlps[key](torch.cat(parts, dim=1)) for key, parts in gathered.items()}
    out = {}
    for key in block.update_edges:
        update = block.edge_updates[key]
        new = update.rho(_pairs(nodes[key[0]], nodes[key[2]], index[key]))
        out[key] = update.phi(torch.cat([edges[key], new], dim=1))
    return nodes, out


def _message(conv: NodeConv, edge: Tensor, source: Tensor) -> Tensor:
    both = torch.cat([edge, source], dim=1)
    return conv.norm(F.linear(both, conv.rho.weight, conv.rho.bias))


def _pairs(source: Tensor, target: Tensor, index: Tensor) -> Tensor:
    return torch.cat([source[index[0]], target[index[1]]], dim=1)

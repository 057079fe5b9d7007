"""The layers of ML-SGM, for any PyG project."""

from mlsgm_pyg.nn.aggregate import ScatterMean, scatter_mean
from mlsgm_pyg.nn.decoder import Decoder
from mlsgm_pyg.nn.edge_update import EdgeUpdate
from mlsgm_pyg.nn.encoder import GraphEncoder
from mlsgm_pyg.nn.gn_block import GraphNetworkBlock
from mlsgm_pyg.nn.mlp import SplitLinear, SplitMLP
from mlsgm_pyg.nn.node_conv import NodeConv

__all__ = [
    'Decoder',
    'EdgeUpdate',
    'GraphEncoder',
    'GraphNetworkBlock',
    'NodeConv',
    'ScatterMean',
    'SplitLinear',
    'SplitMLP',
    'scatter_mean',
]

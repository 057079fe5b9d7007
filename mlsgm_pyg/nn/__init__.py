"""The layers of ML-SGM, for any PyG project."""

from mlsgm_pyg.nn.aggregate import scatter_mean
from mlsgm_pyg.nn.class_linear import ClassLinear
from mlsgm_pyg.nn.decoder import Decoder
from mlsgm_pyg.nn.edge_conv import EdgeConv
from mlsgm_pyg.nn.encoder import GraphEncoder
from mlsgm_pyg.nn.gn_block import GraphNetworkBlock
from mlsgm_pyg.nn.mlp import MLP, SplitLinear
from mlsgm_pyg.nn.node_conv import NodeConv

__all__ = [
    'MLP',
    'ClassLinear',
    'Decoder',
    'EdgeConv',
    'GraphEncoder',
    'GraphNetworkBlock',
    'NodeConv',
    'SplitLinear',
    'scatter_mean',
]

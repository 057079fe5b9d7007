"""ML-SGM: multi-label image recognition by matching a graph of image regions with a graph of labels."""

__version__ = '0.1.0'  #: The library's version.

from mlsgm_pyg.assignment import AssignmentGraph
from mlsgm_pyg.backbone import Backbone, build_backbone
from mlsgm_pyg.checkpoint import load
from mlsgm_pyg.csac import CSAC
from mlsgm_pyg.losses import build_loss
from mlsgm_pyg.models import MLSGM, PooledLinear
from mlsgm_pyg.nn import GraphNetworkBlock
from mlsgm_pyg.semantics import word_vectors
from mlsgm_pyg.statistics import co_occurrence

__all__ = [
    'CSAC',
    'MLSGM',
    'AssignmentGraph',
    'Backbone',
    'GraphNetworkBlock',
    'PooledLinear',
    '__version__',
    'build_backbone',
    'build_loss',
    'co_occurrence',
    'load',
    'word_vectors',
]

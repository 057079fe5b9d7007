"""ML-SGM: multi-label image recognition by matching a graph of image regions with a graph of labels."""

__version__ = '0.1.0'

from mlsgm_pyg.assignment import AssignmentGraph
from mlsgm_pyg.checkpoint import load
from mlsgm_pyg.models import MLSGM

__all__ = ['MLSGM', 'AssignmentGraph', '__version__', 'load']

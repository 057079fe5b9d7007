"""Trained models as files that run without this package: :mod:`torch.export` programs and ONNX."""

from mlsgm_pyg.export.exportable import Exportable
from mlsgm_pyg.export.files import describe, to_onnx, to_torch_export
from mlsgm_pyg.exported import ABOUT

__all__ = ['ABOUT', 'Exportable', 'describe', 'to_onnx', 'to_torch_export']

"""Trained models as files that run without this package: :mod:`torch.export` programs and ONNX."""

from mlsgm_pyg.export.exportable import Exportable
from mlsgm_pyg.export.files import ABOUT, describe, to_onnx, to_torch_export

__all__ = ['ABOUT', 'Exportable', 'describe', 'to_onnx', 'to_torch_export']

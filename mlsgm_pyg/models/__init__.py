"""The models: ML-SGM and what it is compared with."""

import inspect

import torch
from torch import Tensor

from mlsgm_pyg.backbone import build_backbone
from mlsgm_pyg.models.baseline import PooledLinear
from mlsgm_pyg.models.ml_sgm import MLSGM
from mlsgm_pyg.models.output import Output
from mlsgm_pyg.models.prediction import Instance, Prediction
from mlsgm_pyg.models.transfer import carry_over, nearest_classes
from mlsgm_pyg.names import nearest

NAMES = ('ml_sgm', 'baseline')


def build(
    name: str,
    *,
    num_labels: int,
    word_vectors: Tensor | None = None,
    backbone: str = 'resnet101',
    weights: str = 'DEFAULT',
    last_stride: int = 2,
    **options,
) -> torch.nn.Module:
    """Builds a model by name.

    Args:
        name (str): :obj:`'ml_sgm'` or :obj:`'baseline'`.
        num_labels (int): Number of labels, C.
        word_vectors (Tensor, optional): :obj:`[C, F]`; needed by :obj:`'ml_sgm'`.
        backbone, weights, last_stride: See :func:`mlsgm_pyg.backbone.build_backbone`.
        **options: The model's own, see :class:`MLSGM` and :class:`PooledLinear`.

    Raises:
        ValueError: If there is no such model or option, or word vectors are missing or not one a label.
    """
    if name not in NAMES:
        raise ValueError(f"there is no model '{name}'{nearest(name, NAMES)}: choose from {', '.join(NAMES)}")
    _check_options(name, PooledLinear if name == 'baseline' else MLSGM, options)
    if name == 'baseline':
        return PooledLinear(build_backbone(backbone, weights, last_stride), num_labels, **options)
    if word_vectors is None or word_vectors.size(0) != num_labels:
        got = 'none' if word_vectors is None else word_vectors.size(0)
        raise ValueError(f"'ml_sgm' needs one word vector for each of its {num_labels} labels (got {got})")
    return MLSGM(build_backbone(backbone, weights, last_stride), word_vectors, **options)


def _check_options(name: str, kind: type, options: dict) -> None:
    known = [key for key in inspect.signature(kind).parameters if key not in ('backbone', 'word_vectors', 'num_labels')]
    for key in options:
        if key not in known:
            raise ValueError(f"'{name}' has no option '{key}'{nearest(key, known)}: it has {', '.join(known)}")


__all__ = [
    'MLSGM',
    'NAMES',
    'Instance',
    'Output',
    'PooledLinear',
    'Prediction',
    'build',
    'carry_over',
    'nearest_classes',
]

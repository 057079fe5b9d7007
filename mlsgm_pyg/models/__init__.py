"""The models: ML-SGM, its ablations, and what it is compared with."""

import inspect

import torch
from torch import Tensor

from mlsgm_pyg.backbone import build_backbone
from mlsgm_pyg.models.ablations import Ablation, WithoutCSAC
from mlsgm_pyg.models.add_gcn import ADDGCN
from mlsgm_pyg.models.base import ImageModel
from mlsgm_pyg.models.ilms import ILMS
from mlsgm_pyg.models.ml_gcn import MLGCN
from mlsgm_pyg.models.ml_sgm import MLSGM
from mlsgm_pyg.models.output import Output
from mlsgm_pyg.models.pooled import PooledLinear, PooledMLP
from mlsgm_pyg.models.ssgrl import SSGRL
from mlsgm_pyg.models.transfer import carry_over
from mlsgm_pyg.names import nearest

#: The class of every model, by the name that :func:`build` takes.
MODELS = {
    'ml_sgm': MLSGM,
    'baseline': PooledLinear,
    'mlp': PooledMLP,
    'ml_gcn': MLGCN,
    'add_gcn': ADDGCN,
    'ssgrl': SSGRL,
    'ablation': Ablation,
    'wo_csac': WithoutCSAC,
}
OF_LABELS = ('num_labels', 'word_vectors', 'co_occurrence')  # What a model may need to know of its labels.


def build(
    name: str,
    *,
    num_labels: int,
    word_vectors: Tensor | None = None,
    co_occurrence: Tensor | None = None,
    backbone: str = 'resnet101',
    weights: str = 'DEFAULT',
    last_stride: int = 2,
    **options,
) -> torch.nn.Module:
    """Builds a model by name.

    Args:
        name (str): :obj:`'ml_sgm'`, :obj:`'baseline'`, :obj:`'mlp'`, :obj:`'ml_gcn'`, :obj:`'add_gcn'`,
            :obj:`'ssgrl'`, :obj:`'ablation'` or :obj:`'wo_csac'`.
        num_labels (int): Number of labels, C.
        word_vectors (Tensor, optional): :obj:`[C, F]`; needed by all but :obj:`'baseline'`, :obj:`'mlp'`
            and :obj:`'add_gcn'`.
        co_occurrence (Tensor, optional): :obj:`[C, C]`, see :func:`mlsgm_pyg.statistics.co_occurrence`; needed by
            :obj:`'ml_gcn'` and :obj:`'ssgrl'`.
        backbone, weights, last_stride: See :func:`mlsgm_pyg.backbone.build_backbone`.
        **options: The model's own, see its class in :data:`MODELS`.

    Raises:
        ValueError: If there is no such model or option, or word vectors or co-occurrence are missing or of other
            labels.
    """
    known = arguments(name)
    own = [key for key in known if key not in ('backbone', *OF_LABELS)]
    for key in options:
        if key not in own:
            raise ValueError(f"'{name}' has no option '{key}'{nearest(key, own)}: it has {', '.join(own)}")
    if 'word_vectors' in known and (word_vectors is None or word_vectors.size(0) != num_labels):
        got = 'none' if word_vectors is None else word_vectors.size(0)
        raise ValueError(f"'{name}' needs one word vector for each of its {num_labels} labels (got {got})")
    if 'co_occurrence' in known and co_occurrence is None:
        raise ValueError(f"'{name}' needs the co-occurrence of its {num_labels} labels (got none)")
    given = {'num_labels': num_labels, 'word_vectors': word_vectors, 'co_occurrence': co_occurrence}
    given = {key: value for key, value in given.items() if key in known}
    return MODELS[name](build_backbone(backbone, weights, last_stride), **given, **options)


def arguments(name: str) -> list[str]:
    """The arguments of a model's class: the backbone, what it needs to know of its labels, and its options.

    Args:
        name (str): A name in :data:`MODELS`.

    Raises:
        ValueError: If there is no such model.
    """
    if name not in MODELS:
        raise ValueError(f"there is no model '{name}'{nearest(name, MODELS)}: choose from {', '.join(MODELS)}")
    return list(inspect.signature(MODELS[name]).parameters)


__all__ = [
    'ADDGCN',
    'ILMS',
    'MLGCN',
    'MLSGM',
    'MODELS',
    'SSGRL',
    'Ablation',
    'ImageModel',
    'Output',
    'PooledLinear',
    'PooledMLP',
    'WithoutCSAC',
    'arguments',
    'build',
    'carry_over',
]

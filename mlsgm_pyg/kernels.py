"""The optional compiled kernels: torch-scatter and torch-cluster, found once, missed with one warning."""

import importlib
import warnings
from functools import cache
from types import ModuleType

import torch

HOW_TO_GET = (
    "'make kernels' in a clone builds both; elsewhere install torch first, then "
    "'pip install --no-build-isolation torch-scatter torch-cluster' (some ten minutes on two cores)"
)


def find(name: str, device: str = 'cpu') -> ModuleType | None:
    """Imports :obj:`'torch_scatter'` or :obj:`'torch_cluster'`; :obj:`None` if it does not run here, or while
    :func:`torch.compile`, which cannot see into it, is tracing.

    Args:
        name (str): The module.
        device (str): Type of the device that it has to run on; a build without CUDA serves the CPU only.
            (default: :obj:`'cpu'`)
    """
    return None if torch.compiler.is_compiling() else _find(name, device)


@cache
def _find(name: str, device: str) -> ModuleType | None:
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError):  # The last two: built against another version of torch or CUDA.
        module = None
    if module is None or not _runs_on(name, device):
        _warn_once()
        return None
    return module


def _runs_on(name: str, device: str) -> bool:
    return device == 'cpu' or (device == 'cuda' and getattr(torch.ops, name).cuda_version() >= 0)


@cache
def _warn_once() -> None:
    warnings.warn(
        'torch-scatter and torch-cluster are not both usable here; PyTorch versions of the same operations run '
        f'instead, with the same results. To get the kernels: {HOW_TO_GET}',
        stacklevel=4,
    )

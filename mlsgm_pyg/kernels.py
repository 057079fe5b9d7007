"""The optional compiled kernels: torch-scatter and torch-cluster; PyTorch versions of the same operations give the same
results where they are missing."""

import importlib
from functools import cache
from types import ModuleType

import torch

HOW_TO_GET = (
    "'make kernels' in a clone builds both; elsewhere install torch first, then "
    "'pip install --no-build-isolation torch-scatter torch-cluster' (some ten minutes on two cores)"
)


def find(name: str, device: str = 'cpu') -> ModuleType | None:
    """A kernel, or :obj:`None` where it cannot run: it is missing, or :func:`torch.compile`, which cannot see into it,
    is tracing.

    Args:
        name (str): :obj:`'torch_scatter'` or :obj:`'torch_cluster'`.
        device (str): Type of the device that it has to run on; a build without CUDA serves the CPU only.
            (default: :obj:`'cpu'`)
    """
    return None if torch.compiler.is_compiling() else _installed(name, device)


@cache
def _installed(name: str, device: str) -> ModuleType | None:
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError):  # The last two: built against another version of torch or CUDA.
        return None
    runs = device == 'cpu' or (device == 'cuda' and getattr(torch.ops, name).cuda_version() >= 0)
    return module if runs else None

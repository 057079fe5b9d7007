"""The optional compiled kernels: torch-scatter and torch-cluster, found once, missed with one warning."""

import importlib
import warnings
from functools import cache
from types import ModuleType

HOW_TO_GET = (
    "'make kernels' in a clone builds both; elsewhere install torch first, then "
    "'pip install --no-build-isolation torch-scatter torch-cluster' (some ten minutes on two cores)"
)


@cache
def find(name: str) -> ModuleType | None:
    """Imports :obj:`'torch_scatter'` or :obj:`'torch_cluster'`; else :obj:`None`, after one warning for both."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):  # OSError: built against another version of torch.
        _warn_once()
        return None


@cache
def _warn_once() -> None:
    warnings.warn(
        'torch-scatter and torch-cluster are not both usable here; PyTorch versions of the same operations run '
        f'instead, with the same results. To get the kernels: {HOW_TO_GET}',
        stacklevel=4,
    )

"""The tool: what `mlsgm train`, `predict`, `check`, `report`, ... do, and the same as functions.

Nothing is loaded before it is asked for.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    'check': 'data.check_folder',
    'compare': 'results.comparison',
    'predict': 'prediction.job',
    'predict_shards': 'prediction.shards',
    'report': 'reports.run_report',
    'train': 'training.choose',
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

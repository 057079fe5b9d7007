"""ML-SGM: multi-label image recognition by matching a graph of image regions with a graph of labels.

What is named here is loaded when it is first asked for, so importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

__version__ = '0.1.0'  #: The library's version.

_HOMES = {
    'CSAC': 'csac',
    'ILMS': 'models',
    'MLSGM': 'models',
    'AssignmentGraph': 'assignment',
    'Backbone': 'backbone',
    'GraphNetworkBlock': 'nn',
    'PooledLinear': 'models',
    'Tagger': 'tagger',
    'build_backbone': 'backbone',
    'build_loss': 'losses',
    'co_occurrence': 'statistics',
    'load': 'checkpoint',
    'predict': 'tagger',
    'relative_boxes': 'assignment',
    'word_vectors': 'semantics',
}

__all__ = ['__version__', *_HOMES]


def __getattr__(name: str) -> Any:
    if name in {*_HOMES.values(), 'datasets', 'export'}:
        return import_module(f'{__name__}.{name}')
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = globals()[name] = getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

import warnings
from types import SimpleNamespace

import pytest
import torch

from mlsgm_pyg import kernels


@pytest.fixture(autouse=True)
def not_found_before():
    kernels._installed.cache_clear()
    yield
    kernels._installed.cache_clear()


def test_a_missing_kernel_is_none_without_a_word():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        assert kernels.find('no_such_kernel') is None
    assert not told


def test_an_installed_module_is_found_but_not_while_a_graph_is_traced(monkeypatch):
    assert kernels.find('math').pi > 3
    monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: True)
    assert kernels.find('math') is None


@pytest.mark.parametrize(
    ('cuda_version', 'device', 'found'), [(-1, 'cpu', True), (-1, 'cuda', False), (12080, 'cuda', True)]
)
def test_a_build_without_cuda_serves_the_cpu_only(cuda_version, device, found, monkeypatch):
    monkeypatch.setattr(torch.ops, 'math', SimpleNamespace(cuda_version=lambda: cuda_version), raising=False)
    assert (kernels.find('math', device) is not None) == found


@pytest.mark.parametrize('error', [ImportError, OSError, RuntimeError])
def test_a_kernel_that_does_not_fit_is_missing(error, monkeypatch):
    def fail(name):
        raise error('built for another version')

    monkeypatch.setattr(kernels.importlib, 'import_module', fail)
    assert kernels.find('torch_scatter') is None

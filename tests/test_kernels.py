import warnings
from types import SimpleNamespace

import pytest
import torch

from mlsgm_pyg import kernels


def test_a_missing_kernel_is_told_once(monkeypatch):
    kernels._warn_once.cache_clear()
    with pytest.warns(
        UserWarning, match='not both usable here; PyTorch versions .* same results.*make kernels'
    ) as told:
        assert kernels.find.__wrapped__('no_such_kernel') is None
        assert kernels.find.__wrapped__('no_such_kernel_either') is None
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert kernels.find.__wrapped__('no_such_kernel') is None


def test_an_installed_module_is_found():
    assert kernels.find.__wrapped__('math').pi > 3


@pytest.mark.parametrize(
    ('cuda_version', 'device', 'found'), [(-1, 'cpu', True), (-1, 'cuda', False), (12080, 'cuda', True)]
)
def test_a_build_without_cuda_serves_the_cpu_only(cuda_version, device, found, monkeypatch):
    monkeypatch.setattr(kernels, '_warn_once', lambda: None)
    monkeypatch.setattr(torch.ops, 'math', SimpleNamespace(cuda_version=lambda: cuda_version), raising=False)
    assert (kernels.find.__wrapped__('math', device) is not None) == found


@pytest.mark.parametrize('error', [ImportError, OSError, RuntimeError])
def test_a_kernel_that_does_not_fit_is_missing(error, monkeypatch):
    def fail(name):
        raise error('built for another version')

    monkeypatch.setattr(kernels, '_warn_once', lambda: None)
    monkeypatch.setattr(kernels.importlib, 'import_module', fail)
    assert kernels.find.__wrapped__('torch_scatter') is None

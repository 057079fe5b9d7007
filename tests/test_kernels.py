import warnings

import pytest

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

import pytest
import torch

from mlsgm_pyg import kernels
from mlsgm_pyg.nn import ScatterMean, aggregate, scatter_mean

SRC = torch.tensor([[1.0, 10.0], [2.0, 20.0], [4.0, 60.0], [7.0, 0.0]])
INDEX = torch.tensor([0, 2, 2, 3])
EXPECTED = torch.tensor([[1.0, 10.0], [0.0, 0.0], [3.0, 40.0], [7.0, 0.0], [0.0, 0.0]])  # By hand; 1 and 4 are empty.


def skip_without_kernel(backend):
    if backend == 'torch_scatter':
        pytest.importorskip('torch_scatter', reason='torch-scatter is not installed', exc_type=ImportError)


@pytest.mark.parametrize('backend', aggregate.BACKENDS)
def test_scatter_mean(backend):
    skip_without_kernel(backend)
    torch.testing.assert_close(scatter_mean(SRC, INDEX, 5, backend), EXPECTED)
    torch.testing.assert_close(ScatterMean(backend)(SRC, INDEX, dim_size=5), EXPECTED)
    torch.testing.assert_close(ScatterMean(backend)(SRC, ptr=torch.tensor([0, 1, 1, 3, 4, 4])), EXPECTED)


@pytest.mark.parametrize('backend', aggregate.BACKENDS)
def test_gradients(backend):
    skip_without_kernel(backend)
    src = torch.randn(6, 2, 3, dtype=torch.double, requires_grad=True)
    index = torch.tensor([0, 0, 0, 2, 4, 4])
    assert torch.autograd.gradcheck(lambda x: scatter_mean(x, index, 5, backend), src)


@pytest.mark.parametrize('backend', aggregate.BACKENDS)
def test_order_never_matters(backend):
    skip_without_kernel(backend)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(scatter_mean(SRC[order], INDEX[order], 5, backend), EXPECTED)


@pytest.mark.parametrize('backend', aggregate.BACKENDS)
@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16])
def test_many_rows_in_half_precision(backend, dtype):
    """Neither 3,000 nor a sum of so many is a number of bfloat16's."""
    skip_without_kernel(backend)
    src, index = torch.full((3001, 2), 3.0, dtype=dtype), torch.ones(3001, dtype=torch.long)
    index[0] = 0
    out = scatter_mean(src, index, 2, backend)
    assert out.dtype == dtype and torch.equal(out, torch.full_like(out, 3))


def test_size_follows_the_index_if_not_given():
    torch.testing.assert_close(scatter_mean(SRC, INDEX), EXPECTED[:4])
    assert scatter_mean(SRC[:0], INDEX[:0]).shape == (0, 2)


def test_the_kernel_is_what_runs_where_it_is_installed(monkeypatch):
    torch_scatter = pytest.importorskip('torch_scatter', reason='torch-scatter is not installed')
    calls = []
    monkeypatch.setattr(torch_scatter, 'scatter', lambda src, *args, **kwargs: calls.append('scatter') or src)
    scatter_mean(SRC, INDEX, 5)
    ScatterMean()(SRC, INDEX, dim_size=5)
    assert calls == ['scatter', 'scatter']


def test_without_the_kernel_the_result_is_the_same(monkeypatch):
    monkeypatch.setattr(kernels, 'find', lambda name, device: None)
    torch.testing.assert_close(scatter_mean(SRC, INDEX, 5), EXPECTED)
    with pytest.raises(ImportError, match="backend 'torch_scatter' needs torch-scatter: 'make kernels'"):
        scatter_mean(SRC, INDEX, 5, 'torch_scatter')


@pytest.mark.parametrize('backend', [*aggregate.BACKENDS])
@pytest.mark.parametrize('wrong', [INDEX[:3], INDEX[:1], INDEX[:0], INDEX[:, None], torch.tensor(0)])
def test_an_index_that_is_not_one_a_row(backend, wrong):
    with pytest.raises(ValueError) as error:
        scatter_mean(SRC, wrong, 5, backend)
    got = list(wrong.shape)
    assert str(error.value) == f"'index' must hold one number a row of 'src': expected shape [4] (got {got})"


def test_unknown_backend():
    for call in (lambda: scatter_mean(SRC, INDEX, 5, 'fast'), lambda: ScatterMean('fast')):
        with pytest.raises(ValueError, match=r"'backend' must be one of auto, torch_scatter, pyg \(got 'fast'\)"):
            call()

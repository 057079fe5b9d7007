import pytest
import torch

from mlsgm_pyg.nn import SplitLinear, SplitMLP
from tests.slow import slow_mlp


def test_split_linear_is_a_linear_layer_on_the_concatenation():
    linear = SplitLinear((3, 0, 2), 4).double()
    assert str(linear) == 'SplitLinear([3, 0, 2], 4)'
    a, b, c = torch.randn(5, 3).double(), torch.randn(5, 0).double(), torch.randn(5, 2).double()
    expected = torch.cat([a, b, c], dim=1) @ linear.weight.t() + linear.bias
    torch.testing.assert_close(sum(linear(a, b, c)), expected)


def test_split_linear_leaves_out_what_is_absent():
    linear = SplitLinear((3, 2), 4)
    nothing, rest = linear(None, torch.ones(1, 2))
    assert nothing is None
    torch.testing.assert_close(rest[0], linear.weight[:, 3:].sum(1) + linear.bias)


def test_split_linear_counts_its_inputs():
    with pytest.raises(ValueError, match=r'takes 2 inputs \(got 1\)'):
        SplitLinear((3, 2), 4)(torch.ones(1, 3))


@pytest.mark.parametrize('sizes', [(5,), (3, 2)])
def test_mlp(sizes):
    mlp = SplitMLP(sizes if len(sizes) > 1 else sizes[0], [6, 4]).double()
    assert str(mlp) == f'SplitMLP({list(sizes)} -> [6, 4])'
    for norm in mlp.norms:
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    x = torch.randn(7, 5).double()
    expected = torch.stack([slow_mlp(mlp, row) for row in x])
    torch.testing.assert_close(mlp(x), expected)
    torch.testing.assert_close(mlp(*x.split(sizes, dim=1)), expected)


def test_a_row_does_not_depend_on_the_others():
    mlp, x = SplitMLP(5, [6, 4]), torch.randn(7, 5)
    torch.testing.assert_close(mlp(x)[2:3], mlp(x[2:3]))


def test_inputs_are_not_changed():
    mlp, x, z = SplitMLP((3, 2), [4]), torch.randn(7, 3), torch.randn(7, 2)
    before = x.clone(), z.clone()
    mlp(x, z)
    assert torch.equal(x, before[0]) and torch.equal(z, before[1])


def test_reset_parameters_draws_anew():
    mlp = SplitMLP((3, 2), [4, 4])
    before = [parameter.clone() for parameter in (mlp.first.weight, mlp.lins[0].weight)]
    mlp.reset_parameters()
    assert all(not torch.equal(a, b) for a, b in zip(before, (mlp.first.weight, mlp.lins[0].weight), strict=True))

import pytest
import torch

from mlsgm_pyg.nn import EdgeConv
from tests.slow import slow_edge_conv

EDGE_INDEX = torch.tensor([[0, 1, 2, 4, 4, 3], [2, 2, 0, 1, 2, 1]])


@pytest.fixture
def toy():
    return (torch.randn(5, 3).double(), torch.randn(4, 2).double()), EDGE_INDEX, torch.randn(6, 7).double()


def test_edge_conv(toy):
    x, edge_index, edge_attr = toy
    conv = EdgeConv(7, (3, 2), 6, 5).double()
    assert str(conv) == 'EdgeConv(7, (3, 2), 5)'
    torch.testing.assert_close(conv(*toy), slow_edge_conv(conv, *x, edge_index, edge_attr))


def test_edges_are_updated_each_for_itself(toy):
    x, edge_index, edge_attr = toy
    conv, order = EdgeConv(7, (3, 2), 6, 5).double(), torch.tensor([3, 0, 5])
    torch.testing.assert_close(conv(x, edge_index[:, order], edge_attr[order]), conv(*toy)[order])


def test_without_edge_attributes(toy):
    x, edge_index, _ = toy
    conv = EdgeConv(0, (3, 2), 6, 5).double()
    torch.testing.assert_close(conv(x, edge_index), slow_edge_conv(conv, *x, edge_index, None))


def test_one_set_of_nodes(toy):
    x, edge_index, edge_attr = toy
    conv = EdgeConv(7, (3, 3), 6, 5).double()
    torch.testing.assert_close(
        conv(x[0], edge_index, edge_attr), slow_edge_conv(conv, x[0], x[0], edge_index, edge_attr)
    )


def test_every_parameter_trains(toy):
    conv = EdgeConv(7, (3, 2), 6, 5).double()
    conv(*toy).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in conv.parameters())


def test_reset_parameters():
    conv = EdgeConv(7, (3, 2), 6, 5)
    before = conv.rho.first.weight.clone()
    conv.reset_parameters()
    assert not torch.equal(conv.rho.first.weight, before)

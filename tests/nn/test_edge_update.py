import pytest
import torch

from mlsgm_pyg.nn import EdgeUpdate
from tests.slow import slow_edge_update

EDGE_INDEX = torch.tensor([[0, 1, 2, 4, 4, 3], [2, 2, 0, 1, 2, 1]])


@pytest.fixture
def toy():
    return (torch.randn(5, 3).double(), torch.randn(4, 2).double()), EDGE_INDEX, torch.randn(6, 7).double()


def test_edge_update(toy):
    x, edge_index, edge_attr = toy
    update = EdgeUpdate((3, 2), 5, 6, edge_dim=7).double()
    assert str(update) == 'EdgeUpdate((3, 2), 5)'
    torch.testing.assert_close(update(*toy), slow_edge_update(update, *x, edge_index, edge_attr))


def test_edges_are_updated_each_for_itself(toy):
    x, edge_index, edge_attr = toy
    update, order = EdgeUpdate((3, 2), 5, 6, edge_dim=7).double(), torch.tensor([3, 0, 5])
    torch.testing.assert_close(update(x, edge_index[:, order], edge_attr[order]), update(*toy)[order])


def test_without_edge_attributes(toy):
    x, edge_index, _ = toy
    update = EdgeUpdate((3, 2), 5, 6, edge_dim=0).double()
    torch.testing.assert_close(update(x, edge_index), slow_edge_update(update, *x, edge_index, None))


def test_one_set_of_nodes(toy):
    x, edge_index, edge_attr = toy
    update = EdgeUpdate(3, 5, 6, edge_dim=7).double()
    torch.testing.assert_close(
        update(x[0], edge_index, edge_attr), slow_edge_update(update, x[0], x[0], edge_index, edge_attr)
    )


def test_every_parameter_trains(toy):
    update = EdgeUpdate((3, 2), 5, 6, edge_dim=7).double()
    update(*toy).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in update.parameters())


def test_reset_parameters():
    update = EdgeUpdate((3, 2), 5, 6, edge_dim=7)
    before = update.rho.first.weight.clone()
    update.reset_parameters()
    assert not torch.equal(update.rho.first.weight, before)

import pytest
import torch
from torch_geometric.nn import HeteroConv

from mlsgm_pyg.nn import NodeConv
from tests.slow import slow_node_conv

EDGE_INDEX = torch.tensor([[0, 1, 2, 4, 4, 3], [2, 2, 0, 1, 2, 1]])  # Five sources, four targets: the last is isolated.


@pytest.fixture
def toy():
    return (torch.randn(5, 8).double(), torch.randn(4, 8).double()), EDGE_INDEX, torch.randn(6, 8).double()


def test_node_conv(toy):
    x, edge_index, edge_attr = toy
    conv = NodeConv(8, 16).double()
    assert str(conv) == 'NodeConv(8, 16)'
    out = conv(x, edge_index, edge_attr)
    torch.testing.assert_close(out, slow_node_conv(conv, x[0], 4, edge_index, edge_attr))
    assert torch.equal(out[3], torch.zeros(16).double())


def test_edge_order_never_matters(toy):
    x, edge_index, edge_attr = toy
    conv, order = NodeConv(8, 16).double(), torch.tensor([3, 5, 0, 2, 1, 4])
    torch.testing.assert_close(conv(x, edge_index[:, order], edge_attr[order]), conv(x, edge_index, edge_attr))


def test_renumbering_nodes_renumbers_the_output(toy):
    x, edge_index, edge_attr = toy
    conv, source, target = NodeConv(8, 16).double(), torch.randperm(5), torch.randperm(4)
    moved = torch.stack([source.argsort()[edge_index[0]], target.argsort()[edge_index[1]]])
    expected = conv(x, edge_index, edge_attr)[target]
    torch.testing.assert_close(conv((x[0][source], x[1][target]), moved, edge_attr), expected)


def test_without_edge_attributes(toy):
    x, edge_index, _ = toy
    conv = NodeConv(8, 16, edge_dim=0).double()
    torch.testing.assert_close(conv(x, edge_index), slow_node_conv(conv, x[0], 4, edge_index, None))


def test_one_set_of_nodes_and_sizes_that_differ():
    x, edge_attr = torch.randn(5, 3).double(), torch.randn(6, 2).double()
    conv, before = NodeConv(3, 4, edge_dim=2).double(), x.clone()
    out = conv(x, EDGE_INDEX, edge_attr)
    torch.testing.assert_close(out, slow_node_conv(conv, x, 5, EDGE_INDEX, edge_attr))
    assert torch.equal(x, before)


def test_every_parameter_trains(toy):
    conv = NodeConv(8, 16).double()
    conv(*toy).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in conv.parameters())


def test_reset_parameters():
    conv = NodeConv(8, 16)
    before = conv.rho.weight.clone()
    conv.reset_parameters()
    assert not torch.equal(conv.rho.weight, before)


def test_the_targets_size_is_never_read(toy):
    x, edge_index, edge_attr = toy
    conv = NodeConv((8, 3), 16, edge_dim=8).double()  # (source, target), as everywhere in PyG.
    out = conv((x[0], torch.randn(4, 3).double()), edge_index, edge_attr)
    torch.testing.assert_close(out, slow_node_conv(conv, x[0], 4, edge_index, edge_attr))


def test_sizes_that_are_not_known_yet(toy):
    known, lazy = NodeConv(8, 16).double(), NodeConv(-1, 16, edge_dim=-1).double()
    lazy(*toy)
    lazy.load_state_dict(known.state_dict())
    torch.testing.assert_close(lazy(*toy), known(*toy))


@pytest.mark.filterwarnings('ignore:There exist node types')  # 'a' sends alone.
def test_it_is_a_layer_of_hetero_conv(toy):
    (x, target), edge_index, _ = toy
    key, conv = ('a', 'to', 'b'), NodeConv(8, 16, edge_dim=0).double()
    out = HeteroConv({key: conv})({'a': x, 'b': target}, {key: edge_index})
    torch.testing.assert_close(out['b'], conv((x, target), edge_index))

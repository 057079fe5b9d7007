import pickle
import re
from copy import deepcopy

import pytest
import torch
from torch_geometric import EdgeIndex
from torch_geometric.data import HeteroData
from torch_geometric.datasets import FakeHeteroDataset
from torch_geometric.nn import SoftmaxAggregation

from mlsgm_pyg.assignment import AssignmentGraph
from mlsgm_pyg.nn import GraphNetworkBlock
from mlsgm_pyg.schema import NEAR
from tests import slow
from tests.slow import slow_block

LIKES, FOLLOWS = ('user', 'likes', 'item'), ('user', 'follows', 'user')
METADATA = (['user', 'item', 'shop'], [LIKES, FOLLOWS])


@pytest.fixture
def toy():
    x = {'user': torch.randn(4, 3), 'item': torch.randn(3, 2), 'shop': torch.randn(2, 5)}
    edge_index = {LIKES: torch.tensor([[0, 1, 3], [2, 2, 0]]), FOLLOWS: torch.tensor([[0, 1, 2], [1, 0, 1]])}
    edge_attr = {LIKES: torch.randn(3, 6)}
    return tuple(
        {key: v.double() if v.is_floating_point() else v for key, v in d.items()} for d in (x, edge_index, edge_attr)
    )


def make(**options):
    sizes = {'user': 3, 'item': 2, 'shop': 5}
    return GraphNetworkBlock(METADATA, sizes, 4, 7, edge_channels={LIKES: 6}, **options).double()


def assert_equal(out, expected):
    for got, want in zip(out, expected, strict=True):
        assert got.keys() == want.keys()
        for key in want:
            torch.testing.assert_close(got[key], want[key])


@pytest.mark.parametrize('reverse', [(), (LIKES,), (LIKES, FOLLOWS)])
def test_block_equals_the_equations(toy, reverse):
    """Sizes by type, a relation without attributes, a type (shop) that nothing reaches, isolated nodes."""
    block = make(reverse=reverse)
    assert str(block) == "GraphNetworkBlock(7 -> 4, edges=['user__likes__item', 'user__follows__user'])"
    assert_equal(block(*toy), slow_block(block, *toy))


def test_every_parameter_trains(toy):
    block = make(reverse=[LIKES])
    x, edges = block(*toy)
    sum(value.square().sum() for value in (*x.values(), *edges.values())).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in block.parameters())


def test_inputs_are_not_changed(toy):
    before = [{key: value.clone() for key, value in part.items()} for part in toy]
    make(reverse=[LIKES])(*toy)
    assert all(torch.equal(part[key], old[key]) for part, old in zip(toy, before, strict=True) for key in part)


def test_a_missing_attribute_drops_its_term(toy):
    x, edge_index, _ = toy
    block = make(allow_missing=True)
    with torch.no_grad():
        block.node_conv(LIKES).rho.weight[:, :6] = 0
        block.edge_updates[LIKES].phi.first.weight[:, :6] = 0
    with_zeros = block(x, edge_index, {LIKES: torch.randn(3, 6).double()})
    assert_equal(block(x, edge_index), with_zeros)


def test_a_missing_relation_and_a_missing_type_send_nothing(toy):
    x, edge_index, edge_attr = toy
    block = make(reverse=[LIKES], allow_missing=True)
    empty = {LIKES: torch.zeros(2, 0, dtype=torch.long), FOLLOWS: edge_index[FOLLOWS]}
    expected = block(x, empty, {LIKES: edge_attr[LIKES][:0]})
    out = block(x, {FOLLOWS: edge_index[FOLLOWS]}, {})
    assert_equal([out[0], out[1]], [expected[0], {FOLLOWS: expected[1][FOLLOWS]}])
    alone, _ = block({'shop': x['shop']}, {}, {})
    torch.testing.assert_close(alone['shop'], expected[0]['shop'])


def test_edges_of_a_type_without_features_are_left_out(toy):
    x, edge_index, edge_attr = toy
    block = make(reverse=[LIKES], allow_missing=True)
    _, edges = block({'user': x['user']}, edge_index, edge_attr)
    expected = block({'user': x['user']}, {FOLLOWS: edge_index[FOLLOWS]})[1]
    assert_equal([edges], [expected])
    assert list(edges) == [FOLLOWS]


def test_any_name_of_a_type():
    odd = ('a.b', 'to', 'type')
    block = GraphNetworkBlock((['a.b', 'type'], [list(odd)]), 3, 3).double()  # An edge type as a list, too.
    args = (
        {'a.b': torch.randn(2, 3).double(), 'type': torch.randn(3, 3).double()},
        {odd: torch.tensor([[0, 1], [2, 2]])},
    )
    edge_attr = {odd: torch.randn(2, 3).double()}
    assert_equal(block(*args, edge_attr), slow_block(block, *args, edge_attr))


def test_copies_are_equal(toy):
    block = make(reverse=[LIKES])
    for copy in (deepcopy(block), pickle.loads(pickle.dumps(block))):
        assert_equal(copy(*toy), block(*toy))


def test_features_of_another_size(toy):
    x, edge_index, edge_attr = toy
    block = make()
    message = r"'in_channels' says that the features of 'item' have the shape \[\*, 2\] \(got \[3, 9\]\)"
    with pytest.raises(ValueError, match=message):
        block({**x, 'item': torch.zeros(3, 9)}, edge_index, edge_attr)
    for wrong in (torch.zeros(3), torch.zeros(3, 1)):
        got = re.escape(str(list(wrong.shape)))
        message = rf"'edge_channels' says .* \('user', 'follows', 'user'\) .* \[\*, 0\] \(got {got}\)"
        with pytest.raises(ValueError, match=message):
            block(x, edge_index, {LIKES: edge_attr[LIKES], FOLLOWS: wrong})


def test_types_that_the_graph_has_not(toy):
    x, edge_index, edge_attr = toy
    block, odd = make(), ('user', 'hates', 'item')
    with pytest.raises(ValueError) as error:
        block({**x, 'c': torch.zeros(2, 3)}, edge_index, edge_attr)
    assert str(error.value) == "'x_dict' holds node types of the graph, ['user', 'item', 'shop'] (got 'c')"
    known = "[('user', 'likes', 'item'), ('user', 'follows', 'user')] (got ('user', 'hates', 'item'))"
    with pytest.raises(ValueError) as error:
        block(x, edge_index, {odd: edge_attr[LIKES]})
    assert str(error.value) == f"'edge_attr_dict' holds edge types of the graph, {known}"
    with pytest.raises(ValueError) as error:
        block(x, {**edge_index, odd: edge_index[LIKES]})
    assert str(error.value) == f"'edge_index_dict' holds edge types of the graph, {known}"


def test_one_attribute_an_edge(toy):
    x, edge_index, edge_attr = toy
    for number in (2, 1, 4):  # One would be broadcast.
        with pytest.raises(ValueError) as error:
            make()(x, edge_index, {LIKES: edge_attr[LIKES][:1].expand(number, -1)})
        assert str(error.value) == (
            f"'edge_attr_dict' must hold one row an edge of ('user', 'likes', 'item'): expected 3 rows (got {number})"
        )


def test_only_the_edges_asked_for_are_updated_and_have_weights(toy):
    block = make(update_edges=[FOLLOWS])
    x, edges = block(*toy)
    assert list(edges) == [FOLLOWS] and block.edge_updates.keys() == [FOLLOWS]
    full = make()
    full.load_state_dict(block.state_dict(), strict=False)
    assert_equal([x, edges], [full(*toy)[0], {FOLLOWS: full(*toy)[1][FOLLOWS]}])


def test_fake_hetero_dataset():
    """Another graph, straight from PyG, names with dots included."""
    data = FakeHeteroDataset(num_graphs=1, avg_num_nodes=6, avg_degree=2, avg_num_channels=5, edge_dim=3)[0]
    block = GraphNetworkBlock(
        data.metadata(),
        data.num_node_features,
        8,
        edge_channels={key: data[key].edge_attr.size(1) for key in data.edge_types if 'edge_attr' in data[key]},
        reverse=data.edge_types[:1],
    ).double()
    data = data.apply(lambda value: value.double() if value.is_floating_point() else value)
    args = data.x_dict, data.edge_index_dict, data.collect('edge_attr', allow_empty=True)
    assert_equal(block(*args), slow_block(block, *args))


def test_it_learns_on_another_graph():
    data = FakeHeteroDataset(num_graphs=1, avg_num_nodes=30, avg_num_channels=8, num_classes=3, edge_dim=2)[0]
    target = next(key for key in data.node_types if 'y' in data[key])
    sizes = {key: data[key].edge_attr.size(1) for key in data.edge_types}
    block = GraphNetworkBlock(data.metadata(), data.num_node_features, 16, edge_channels=sizes)
    out = torch.nn.Linear(16, 3)
    optimizer = torch.optim.Adam([*block.parameters(), *out.parameters()], lr=0.01)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        x, _ = block(data.x_dict, data.edge_index_dict, data.edge_attr_dict)
        loss = torch.nn.functional.cross_entropy(out(x[target]), data[target].y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_reset_parameters(toy):
    block = make()
    before = block.node_mlps['user'].first.weight.clone()
    block.reset_parameters()
    assert not torch.equal(block.node_mlps['user'].first.weight, before)


@pytest.mark.parametrize(
    'options, message',
    [
        (
            {'reverse': [('item', 'likes', 'user')]},
            r"'reverse' names edge types of the graph, .*\(got \('item', 'likes'",
        ),
        ({'update_edges': [('a', 'b', 'c')]}, r"'update_edges' names edge types of the graph"),
        ({'edge_channels': {('a', 'b', 'c'): 1}}, r"'edge_channels' names edge types of the graph"),
        ({'out_channels': 0}, r"'out_channels' and 'hidden_channels' must be at least 1 \(got 0 and 0\)"),
        ({'hidden_channels': 0}, r"'out_channels' and 'hidden_channels' must be at least 1 \(got 4 and 0\)"),
        ({'in_channels': {'user': 3}}, r"'in_channels' must give the size of each node type, .* \(got \['user'\]\)"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        GraphNetworkBlock(METADATA, **{'in_channels': 3, 'out_channels': 4, **options})


def test_what_the_block_was_built_for_must_be_there(toy):
    x, edge_index, edge_attr = toy
    block = make()
    told = 'which the block was built for (got {}); with allow_missing=True it would send nothing'
    for args, missing, got in (
        (({'user': x['user']}, edge_index, edge_attr), "'x_dict' lacks 'item', ", "['user']"),
        ((x, {LIKES: edge_index[LIKES]}, edge_attr), f"'edge_index_dict' lacks {FOLLOWS}, ", f'[{LIKES}]'),
        ((x, edge_index), f"'edge_attr_dict' lacks {LIKES}, ", '[]'),
        ((x, edge_index, {LIKES: None}), f"'edge_attr_dict' lacks {LIKES}, ", f'[{LIKES}]'),
    ):
        with pytest.raises(ValueError) as error:
            block(*args)
        assert str(error.value) == missing + told.format(got)


@pytest.mark.parametrize(
    'one, other',
    [(('a', 'b__c', 'd'), ('a__b', 'c', 'd')), (('a', 'x.y', 'd'), ('a', 'x-y', 'd'))],
)
def test_relations_with_names_alike_have_weights_of_their_own(one, other):
    block = GraphNetworkBlock((['a', 'a__b', 'd'], [one, other]), 3, 3)
    assert (
        block.node_conv(one) is not block.node_conv(other) and block.edge_updates[one] is not block.edge_updates[other]
    )


@pytest.mark.parametrize(
    'edge_types, reverse',
    [
        ([('a_', 'b', 'c'), ('a', '_b', 'c')], []),
        ([('a', 'x.y', 'c'), ('a', 'x#y', 'c')], []),
        ([('a', 'r', 'c'), ('c', 'rev_r', 'a')], [('a', 'r', 'c')]),
    ],
)
def test_relations_that_would_share_their_weights(edge_types, reverse):
    with pytest.raises(ValueError, match='these relations have one name, so that they would share weights') as error:
        GraphNetworkBlock((['a_', 'a', 'c'], edge_types), 3, 3, reverse=reverse)
    assert all(str(key) in str(error.value) for key in edge_types)


AGGREGATIONS = {
    'mean': lambda message: message.mean(0),
    'sum': lambda message: message.sum(0),
    'max': lambda message: message.max(0).values,
    'softmax': lambda message: (message.softmax(0) * message).sum(0),
}


@pytest.mark.parametrize('aggr', AGGREGATIONS)
def test_any_aggregation(toy, aggr, monkeypatch):
    x, edge_index, edge_attr = toy
    block = make(aggr=aggr, reverse=[LIKES])
    whole = slow.slow_node_conv

    def slow_node_conv(conv, source, num_targets, index, attr):
        out = []
        for i in range(num_targets):
            at = index[1] == i
            parts = [whole(conv, source, num_targets, index[:, e : e + 1], None if attr is None else attr[e : e + 1])[i]
                     for e in at.nonzero().flatten().tolist()]  # fmt: skip
            out.append(AGGREGATIONS[aggr](torch.stack(parts)) if parts else source.new_zeros(conv.out_channels))
        return torch.stack(out)

    monkeypatch.setattr(slow, 'slow_node_conv', slow_node_conv)
    assert_equal(block(*toy), slow.slow_block(block, *toy))


def test_an_aggregation_with_parameters_is_each_relations_own(toy):
    block = make(aggr=SoftmaxAggregation(learn=True), reverse=[LIKES])
    learned = [p for name, p in block.named_parameters() if 'aggr_module' in name]
    assert len(learned) == 3
    sum(value.square().sum() for value in block(*toy)[0].values()).backward()
    assert all(p.grad is not None for p in learned)


def test_sizes_that_are_not_known_yet(toy):
    torch.manual_seed(1)
    known = make(reverse=[LIKES])
    lazy = GraphNetworkBlock(METADATA, -1, 4, 7, edge_channels={LIKES: -1}, reverse=[LIKES]).double()
    with pytest.raises(
        RuntimeError,
        match=r'user___likes___item>.rho.weight has a size that is not known yet \(-1\): call the layer once, then',
    ):
        lazy.load_state_dict(known.state_dict())
    lazy(*toy)
    lazy.load_state_dict(known.state_dict())
    assert_equal(lazy(*toy), known(*toy))
    x, edge_index, edge_attr = toy
    with pytest.raises(ValueError, match=r"the features of 'item' have the shape \[\*, 2\] \(got \[3, 9\]\)"):
        lazy({**x, 'item': torch.zeros(3, 9).double()}, edge_index, edge_attr)


@pytest.mark.parametrize('out_channels', [3, 4])
def test_residual(out_channels):
    x = {'user': torch.randn(4, 3).double(), 'item': torch.randn(3, 3).double(), 'shop': torch.randn(2, 3).double()}
    edge_index = {LIKES: torch.tensor([[0, 1, 3], [2, 2, 0]]), FOLLOWS: torch.tensor([[0, 1, 2], [1, 0, 1]])}
    edge_attr = {LIKES: torch.randn(3, 3).double()}
    sizes = {'reverse': [LIKES], 'edge_channels': {LIKES: 3}}
    block = GraphNetworkBlock(METADATA, 3, out_channels, 7, residual=True, **sizes).double()
    nodes, edges = block(x, edge_index, edge_attr)
    plain_nodes, _ = slow_block(block, x, edge_index, edge_attr)
    for key in x:
        torch.testing.assert_close(nodes[key], plain_nodes[key] + (x[key] if out_channels == 3 else 0))
    for key, old in ((LIKES, edge_attr[LIKES]), (FOLLOWS, None)):  # From the new nodes.
        expected = slow.slow_edge_update(block.edge_updates[key], nodes[key[0]], nodes[key[2]], edge_index[key], old)
        expected = expected + old if out_channels == 3 and old is not None else expected
        torch.testing.assert_close(edges[key], expected)


def test_pygs_edge_index(toy):
    x, edge_index, edge_attr = toy
    block = make(reverse=[LIKES])
    sizes = {key: (len(x[key[0]]), len(x[key[2]])) for key in edge_index}
    wrapped = {key: EdgeIndex(value, sparse_size=sizes[key]) for key, value in edge_index.items()}
    assert_equal(block(x, wrapped, edge_attr), block(*toy))


def test_it_compiles_whole(toy, request):
    request.addfinalizer(torch._dynamo.reset)
    block = make(reverse=[LIKES])
    with torch.no_grad():
        assert_equal(torch.compile(block, fullgraph=True, backend='aot_eager')(*toy), block(*toy))


def test_the_assignment_graph_goes_into_a_block():
    data = HeteroData()
    data['instance'].x, data['instance'].box = torch.randn(3, 6), torch.rand(3, 4) / 2
    data = AssignmentGraph(5, word_vectors=torch.randn(5, 4))(data)
    matches = ('instance', 'matches', 'label')
    block = GraphNetworkBlock(data.metadata(), -1, 8, edge_channels={NEAR: 8}, reverse=[matches])
    x, edges = block(data.x_dict, data.edge_index_dict, data.collect('edge_attr', allow_empty=True))
    assert x['label'].shape == (5, 8) and edges[matches].shape == (15, 8)

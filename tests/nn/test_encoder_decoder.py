import torch

from mlsgm_pyg.nn import Decoder, GraphEncoder
from tests.slow import slow_layer, slow_mlp

EDGE = ('a', 'to', 'b')


def test_encoder_is_one_mlp_a_type():
    encoder = GraphEncoder({'a': 3, 'b': 2}, {EDGE: (3, 2)}, (6, 4)).double()
    assert str(encoder) == 'GraphEncoder(4)'
    x = {'a': torch.randn(4, 3).double(), 'b': torch.randn(2, 2).double()}
    edge_index = torch.tensor([[0, 3, 1, 1, 2], [0, 1, 1, 0, 0]])
    nodes, edges = encoder(x, {EDGE: edge_index}, {EDGE: (x['a'], x['b'])})
    for key in x:
        torch.testing.assert_close(nodes[key], torch.stack([slow_mlp(encoder.nodes[key], row) for row in x[key]]))
    whole = torch.stack([torch.cat([x['a'][i], x['b'][j]]) for i, j in edge_index.t().tolist()])
    torch.testing.assert_close(edges[EDGE], torch.stack([slow_mlp(encoder.edges[EDGE], row) for row in whole]))
    _, stored = encoder(x, {EDGE: edge_index}, {EDGE: whole})  # An attribute that is stored already.
    torch.testing.assert_close(stored[EDGE], edges[EDGE])


def test_encoder_takes_any_name_of_a_type():
    odd = ('a.b', 'to', 'type')
    encoder = GraphEncoder({'a.b': 3, 'type': 2}, {odd: (3, 2)}, (4,))
    x = {'a.b': torch.randn(1, 3), 'type': torch.randn(1, 2)}
    nodes, edges = encoder(x, {odd: torch.zeros(2, 1, dtype=torch.long)}, {odd: tuple(x.values())})
    assert list(nodes) == ['a.b', 'type'] and list(edges) == [odd]


def test_encoder_reset_parameters():
    encoder = GraphEncoder({'a': 3}, {}, (6, 4))
    before = encoder.nodes['a'].first.weight.clone()
    encoder.reset_parameters()
    assert not torch.equal(encoder.nodes['a'].first.weight, before)


def test_decoder():
    decoder = Decoder(5, 4).double()
    assert str(decoder) == 'Decoder(5, 4)'
    edge_attr = torch.randn(2, 3, 5).double()
    out = decoder(edge_attr)
    for i in range(2):
        for j in range(3):
            hidden = slow_layer(decoder.mlp.first, decoder.mlp.norms[0], edge_attr[i, j])
            torch.testing.assert_close(out[i, j], (decoder.lin.weight @ hidden + decoder.lin.bias).squeeze())


def test_decoder_reset_parameters():
    decoder = Decoder(5, 4)
    before = decoder.lin.weight.clone()
    decoder.reset_parameters()
    assert not torch.equal(decoder.lin.weight, before)

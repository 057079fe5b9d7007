import pytest
import torch
from torch_geometric.nn import GatedGraphConv

from mlsgm_pyg import co_occurrence
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.models import SSGRL
from mlsgm_pyg.models.ssgrl import DenseGatedGraphConv, SemanticDecoupling


def make(num_labels=6, **options):
    together = co_occurrence((torch.rand(40, num_labels) < 0.5).int())
    backbone = Backbone('toy', torch.nn.Conv2d(3, 10, 1), 10)
    options = {'joint_channels': 7, 'output_channels': 9, **options}
    return SSGRL(backbone, torch.randn(num_labels, 5), together, **options).double().eval()


def slow_decoupling(layer, x, words):
    """Eq. 2-5 of one map [N, places], label by label, with the biases that the softmax never sees."""
    u, v, p, a = (lin.weight for lin in (layer.lin_image, layer.lin_word, layer.lin_joint, layer.lin_score))
    b, out = torch.randn(len(p)).double(), []
    for word in words:
        score = [a[0] @ (p @ torch.tanh((u @ place) * (v @ word)) + b) + 0.7 for place in x.t()]
        attention = torch.stack(score).softmax(0)
        out.append(sum(weight * place for weight, place in zip(attention, x.t())))
    return torch.stack(out)


def slow_propagation(layer, h, adj):
    """Eq. 6 and 7 of one image, node by node."""
    size = layer.channels
    (wz, wr, w), (bz, br, b) = layer.lin_message.weight.split(size), layer.lin_message.bias.split(size)
    uz, ur = layer.lin_gates.weight.split(size)
    u = layer.lin_state.weight
    for _ in range(layer.num_steps):
        new = []
        for c in range(len(h)):
            ahead = sum(adj[c, k] * h[k] for k in range(len(h)))
            a = torch.cat([ahead, sum(adj[k, c] * h[k] for k in range(len(h)))])
            z = torch.sigmoid(wz @ a + bz + uz @ h[c])
            r = torch.sigmoid(wr @ a + br + ur @ h[c])
            new.append((1 - z) * h[c] + z * torch.tanh(w @ a + b + u @ (r * h[c])))
        h = torch.stack(new)
    return h


def test_semantic_decoupling():
    layer = SemanticDecoupling(4, 3, 6).double()
    feature, words = torch.randn(2, 4, 3, 5).double(), torch.randn(7, 3).double()
    expected = torch.stack([slow_decoupling(layer, x, words) for x in feature.flatten(2)])
    torch.testing.assert_close(layer(feature, words), expected, rtol=1e-10, atol=1e-10)
    before, _ = layer.lin_word.weight.clone(), layer.reset_parameters()
    assert str(layer) == 'SemanticDecoupling(4, 3, 6)' and not torch.equal(before, layer.lin_word.weight)


@pytest.mark.parametrize('num_steps', [1, 3])
def test_gated_propagation(num_steps):
    layer, x, adj = DenseGatedGraphConv(4, num_steps).double(), torch.randn(2, 6, 4).double(), torch.rand(6, 6).double()
    expected = torch.stack([slow_propagation(layer, h, adj) for h in x])
    torch.testing.assert_close(layer(x, adj), expected, rtol=1e-10, atol=1e-10)
    before, _ = layer.lin_state.weight.clone(), layer.reset_parameters()
    assert str(layer) == f'DenseGatedGraphConv(4, num_steps={num_steps})'
    assert not torch.equal(before, layer.lin_state.weight)


def test_gated_propagation_is_pygs_where_the_two_agree():
    """One way, and a reset gate that is open: PyG's GRU and the paper's are then the same."""
    ours, theirs = DenseGatedGraphConv(4, num_steps=2).double(), GatedGraphConv(4, num_layers=2).double()
    x, adj = torch.randn(6, 4).double(), torch.rand(6, 6).double()
    with torch.no_grad():
        theirs.weight.copy_(torch.eye(4).expand(2, -1, -1))
        theirs.rnn.weight_ih[:4] = theirs.rnn.weight_hh[:4] = 0  # PyG's order: reset, update, new.
        theirs.rnn.bias_ih[:4], theirs.rnn.bias_hh[:] = 50, 0
        update, new = -theirs.rnn.weight_ih[4:8], theirs.rnn.weight_ih[8:]  # PyG's z keeps, the paper's renews.
        ours.lin_message.weight.zero_()
        ours.lin_message.weight[:, :4] = torch.cat([update, theirs.rnn.weight_ih[:4], new])
        ours.lin_message.bias.copy_(
            torch.cat([-theirs.rnn.bias_ih[4:8], theirs.rnn.bias_ih[:4], theirs.rnn.bias_ih[8:]])
        )
        ours.lin_gates.weight.copy_(torch.cat([-theirs.rnn.weight_hh[4:8], theirs.rnn.weight_hh[:4]]))
        ours.lin_state.weight.copy_(theirs.rnn.weight_hh[8:])
    target, source = torch.ones(6, 6).nonzero().t()
    expected = theirs(x, torch.stack([source, target]), adj[target, source])
    torch.testing.assert_close(ours(x[None], adj)[0], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('options', [{}, {'feature_channels': 8, 'num_steps': 2}, {'map_pooling': 2}])
def test_scores_are_the_equations(options):
    model, feature = make(**options), torch.randn(2, 10, 4, 6).double()
    out = model.head(feature).logits
    for image, x in enumerate(feature):
        if options.get('map_pooling') == 2:
            x = torch.stack([x[:, i : i + 2, j : j + 2].mean((1, 2)) for i in (0, 2) for j in (0, 2, 4)], dim=1)
        x = x.flatten(1)
        if 'feature_channels' in options:
            x = model.reduce.weight.flatten(1) @ x + model.reduce.bias[:, None]
        first = slow_decoupling(model.decouple, x, model.word_vectors)
        last = slow_propagation(model.propagate, first, model.co_occurrence)
        for c in range(6):
            o = torch.tanh(model.lin_out.weight @ torch.cat([last[c], first[c]]) + model.lin_out.bias)
            expected = model.classifier.weight[c] @ o + model.classifier.bias[c]
            torch.testing.assert_close(out[image, c], expected, rtol=1e-10, atol=1e-10)


def test_pooling_leaves_no_row_out():
    model = make(map_pooling=2)
    feature = torch.randn(1, 10, 3, 1).double()
    before = model.head(feature).logits
    feature[:, :, 2] += 1
    assert not torch.allclose(model.head(feature).logits, before)


def test_permuting_labels_permutes_scores():
    model, feature, order = make(), torch.randn(3, 10, 4, 5).double(), torch.randperm(6)
    expected = model.head(feature).logits
    with torch.no_grad():
        model.word_vectors.copy_(model.word_vectors[order])
        model.co_occurrence.copy_(model.co_occurrence[order][:, order])
        model.classifier.weight.copy_(model.classifier.weight[order])
        model.classifier.bias.copy_(model.classifier.bias[order])
    torch.testing.assert_close(model.head(feature).logits, expected[:, order], rtol=1e-10, atol=1e-10)


def test_errors():
    with pytest.raises(ValueError, match=r"'map_pooling' and 'num_steps' must be at least 1 \(got 1 and 0\)"):
        make(num_steps=0)
    with pytest.raises(ValueError, match=r"'co_occurrence' .* expected shape \[4, 4\] \(got \[3, 3\]\)"):
        SSGRL(Backbone('toy', torch.nn.Conv2d(3, 10, 1), 10), torch.randn(4, 5), torch.zeros(3, 3))

import pytest
import torch
import torch.nn.functional as F

from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.models import ADDGCN
from mlsgm_pyg.models.add_gcn import DynamicGCN


def make(num_labels=6, **options):
    backbone = Backbone('toy', torch.nn.Conv2d(3, 10, 1), 10)
    return ADDGCN(backbone, num_labels, feature_channels=8, **options).double().eval()


def slow_gcn(gcn, v):
    """Section 3.3, node by node, of one image."""
    size = len(v)
    weight, bias = gcn.lin_graph.weight, gcn.lin_graph.bias
    hidden = []
    for i in range(size):
        heard = sum(gcn.static[i, j] * v[j] for j in range(size))
        hidden.append(F.leaky_relu(gcn.lin_static.weight @ heard, 0.2) + (v[i] if gcn.residual else 0))
    whole = gcn.lin_global.weight @ (sum(hidden) / size) + gcn.lin_global.bias
    out = []
    for i in range(size):
        edges = [torch.sigmoid(weight[i] @ torch.cat([hidden[j], whole]) + bias[i]) for j in range(size)]
        heard = sum(edge * h for edge, h in zip(edges, hidden))
        out.append(F.leaky_relu(gcn.lin_dynamic.weight @ heard, 0.2))
    return torch.stack(out)


@pytest.mark.parametrize('residual', [True, False])
def test_dynamic_gcn(residual):
    gcn, x = DynamicGCN(4, 5, residual).double(), torch.randn(3, 5, 4).double()
    assert str(gcn) == f'DynamicGCN(4, num_labels=5, residual={residual})'
    torch.testing.assert_close(gcn(x), torch.stack([slow_gcn(gcn, v) for v in x]), rtol=1e-10, atol=1e-10)
    before = gcn.static.clone()
    gcn.reset_parameters()
    assert not torch.equal(before, gcn.static)


@pytest.mark.parametrize('residual', [True, False])
@pytest.mark.parametrize('pooling, top_k', [('sum', 1), ('mean', 3), ('sum', 99)])
def test_scores_are_the_equations(pooling, top_k, residual):
    model = make(pooling=pooling, top_k=top_k, residual=residual)
    feature = torch.randn(2, 10, 3, 4).double()
    out = model.head(feature).logits
    for image, x in enumerate(feature.flatten(2)):
        logits = model.attention.weight.flatten(1) @ x + model.attention.bias[:, None]
        reduced = model.reduce.weight.flatten(1) @ x + model.reduce.bias[:, None]
        v = []
        for c in range(6):
            mask = logits[c].sigmoid()
            total = sum(mask[place] * reduced[:, place] for place in range(12))
            v.append(total / mask.sum() if pooling == 'mean' else total)
        v = torch.stack(v)
        z = slow_gcn(model.gcn, v)
        for c in range(6):
            related = model.classifier.weight[c] @ (z[c] + v[c] if residual else z[c]) + model.classifier.bias[c]
            from_map = logits[c].sort(descending=True).values[:top_k].mean()
            torch.testing.assert_close(out[image, c], (related + from_map) / 2, rtol=1e-10, atol=1e-10)


def test_permuting_labels_permutes_scores():
    model, feature, order = make(), torch.randn(3, 10, 4, 5).double(), torch.randperm(6)
    expected = model.head(feature).logits
    with torch.no_grad():
        for layer in (model.attention, model.classifier, model.gcn.lin_graph):
            layer.weight.copy_(layer.weight[order])
            layer.bias.copy_(layer.bias[order])
        model.gcn.static.copy_(model.gcn.static[order][:, order])
    torch.testing.assert_close(model.head(feature).logits, expected[:, order], rtol=1e-10, atol=1e-10)


def test_errors():
    with pytest.raises(ValueError, match=r"'top_k' must be at least 1 \(got 0\)"):
        make(top_k=0)
    with pytest.raises(ValueError, match=r"'pooling' must be one of mean, sum \(got 'max'\)"):
        make(pooling='max')

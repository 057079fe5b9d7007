import pytest
import torch
import torch.nn.functional as F

from mlsgm_pyg import co_occurrence
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.models import MLGCN
from mlsgm_pyg.models.ml_gcn import correlation


def make(num_labels=6, **options):
    y = (torch.rand(40, num_labels) < 0.5).int()
    y[:, -1] = 0  # A label without neighbours.
    backbone = Backbone('toy', torch.nn.Conv2d(3, 10, 1), 10)
    return MLGCN(backbone, torch.randn(num_labels, 5), co_occurrence(y), hidden_channels=7, **options).double().eval()


def slow_correlation(p, tau, weight):
    """Eq. 7 and 8, pair by pair."""
    size = len(p)
    out = torch.zeros_like(p)
    for i in range(size):
        neighbors = [j for j in range(size) if j != i and p[i, j] >= tau]
        for j in neighbors:
            out[i, j] = weight / len(neighbors)
        out[i, i] = 1 - weight if neighbors else 1
    return out


@pytest.mark.parametrize('tau, weight', [(0.4, 0.2), (0.55, 0.25), (1.0, 0.2), (0.01, 0.0)])
def test_correlation(tau, weight):
    p = make().co_occurrence
    found = correlation(p, tau, weight)
    torch.testing.assert_close(found, slow_correlation(p, tau, weight))
    torch.testing.assert_close(found.sum(1), torch.ones(6).double())


def test_correlation_by_hand():
    p = torch.tensor([[1, 0.5, 0.4], [0.1, 1, 0.39], [0.9, 0, 1]])
    expected = torch.tensor([[0.8, 0.1, 0.1], [0, 1, 0], [0.2, 0, 0.8]])
    torch.testing.assert_close(correlation(p), expected)


def test_scores_are_the_equations():
    model, feature = make(), torch.randn(3, 10, 4, 5).double()
    adj = slow_correlation(model.co_occurrence, 0.4, 0.2)
    degree = adj.sum(1)
    adj = adj / (degree[:, None] * degree).sqrt()  # Kipf and Welling's normalisation, which changes nothing.
    x = model.word_vectors
    for layer, conv in enumerate(model.convs):
        new = [sum(adj[i, j] * (conv.lin.weight @ x[j]) for j in range(6)) for i in range(6)]
        x = torch.stack(new) if layer else F.leaky_relu(torch.stack(new), 0.2)
    out = model.head(feature).logits
    for image in range(3):
        for c in range(6):
            expected = x[c] @ feature[image].flatten(1).max(1).values
            torch.testing.assert_close(out[image, c], expected, rtol=1e-10, atol=1e-10)


def test_permuting_labels_permutes_scores():
    model, feature, order = make(), torch.randn(3, 10, 4, 5).double(), torch.randperm(6)
    expected = model.head(feature).logits
    model.word_vectors.copy_(model.word_vectors[order])
    model.co_occurrence.copy_(model.co_occurrence[order][:, order])
    torch.testing.assert_close(model.head(feature).logits, expected[:, order], rtol=1e-10, atol=1e-10)


def test_errors():
    with pytest.raises(ValueError, match=r"'tau' must be in \(0, 1\] and 'reweight' in \[0, 1\] \(got 0 and 0.2\)"):
        make(tau=0)
    with pytest.raises(ValueError, match=r"'co_occurrence' .* expected shape \[4, 4\] \(got \[3, 3\]\)"):
        MLGCN(Backbone('toy', torch.nn.Conv2d(3, 10, 1), 10), torch.randn(4, 5), torch.zeros(3, 3))

"""Neighbourhoods as array axes, and gradients that are computed from them once more."""

import pytest
import torch

from benchmarks.common import peak_memory
from mlsgm_pyg.nn.label_edges import LabelEdges, LabelNeighbors, stored

SOURCES = torch.tensor([[1, 3], [0, 2], [3, 0], [2, 1]])


@pytest.mark.parametrize('source', [None, SOURCES])
@pytest.mark.parametrize('rows', [slice(0, 4), slice(1, 3), slice(3, 4)])
def test_pair_and_mean_are_loops_over_neighbours(source, rows):
    neighbors = LabelNeighbors(4, source)
    a, b = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    message = neighbors.pair(a, b)(rows)
    assert message.shape == (2, rows.stop - rows.start, neighbors.width, 3)
    out = neighbors.mean(message)
    for image in range(2):
        for row, target in enumerate(range(rows.start, rows.stop)):
            others = [i for i in range(4) if i != target] if source is None else source[target].tolist()
            expected = torch.stack([a[image, i] + b[image, target] for i in others]).mean(0)
            torch.testing.assert_close(out[image, row], expected)


@pytest.mark.parametrize('source', [None, SOURCES])
@pytest.mark.parametrize('rows', [slice(0, 4), slice(1, 3), slice(3, 4)])
def test_gradients_of_a_pair(source, rows):
    neighbors = LabelNeighbors(4, source)
    a, b = (torch.randn(2, 4, 3, dtype=torch.double, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: neighbors.pair(a, b)(rows), (a, b))
    assert torch.autograd.gradgradcheck(lambda a, b: neighbors.pair(a, b)(rows).sin(), (a, b))


def test_other_labels_are_not_copied():
    value = torch.randn(2, 50, 3)
    others = LabelNeighbors(50).sources(value).take(slice(10, 40))
    assert others.shape == (2, 30, 49, 3)
    assert others.untyped_storage().nbytes() <= 2 * value.untyped_storage().nbytes()


@pytest.mark.parametrize('source', [None, torch.zeros(1, 0, dtype=torch.long)])
def test_a_label_alone_hears_nothing(source):
    neighbors = LabelNeighbors(1, source)
    message = neighbors.pair(torch.randn(2, 1, 3), torch.randn(2, 1, 3))(slice(0, 1))
    assert torch.equal(neighbors.mean(message), torch.zeros(2, 1, 3))


def chunks_of(size):
    return [slice(start, min(start + size, 4)) for start in range(0, 4, size)]


def messages(source, a, b, edge, lin, own):
    """Some function of nodes and edges, with a parameter in two places and one that is never used."""
    neighbors = LabelNeighbors(4, source)
    node = LabelEdges(lambda x: x * own, (neighbors.sources(b),), (own,))
    share = stored(edge).then(lambda x: lin(x), lin.parameters())
    pair = neighbors.pair(a, b).then(lambda x, e: (lin(x) + e).tanh(), lin.parameters(), share)
    return pair.then(lambda x, n: neighbors.mean(x * n), (), node)


@pytest.mark.parametrize('source', [None, SOURCES])
@pytest.mark.parametrize('size', [1, 3, 4])
def test_recomputed_gradients_are_those_of_everything_at_once(source, size):
    torch.manual_seed(0)
    width = 3 if source is None else 2
    a, b = (torch.randn(2, 4, 3, dtype=torch.double, requires_grad=True) for _ in range(2))
    edge = torch.randn(1, 4, width, 3, dtype=torch.double, requires_grad=True)
    lin, own = torch.nn.Linear(3, 3).double(), torch.nn.Parameter(torch.tensor(1.5).double())
    inputs = [a, b, edge, own, *lin.parameters()]

    def gradients(out):
        return torch.autograd.grad(out.sin().sum(), inputs)

    edges = messages(source, a, b, edge, lin, own)
    usual = edges.by_targets(chunks_of(4))
    out = edges.by_targets(chunks_of(size), recompute=True)
    torch.testing.assert_close(out, usual, rtol=1e-12, atol=1e-12)
    for found, expected in zip(gradients(out), gradients(usual), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)

    with torch.no_grad():
        torch.testing.assert_close(edges.by_targets(chunks_of(size)), usual, rtol=1e-12, atol=1e-12)

    def function(a, b, edge):
        return messages(source, a, b, edge, lin, own).by_targets(chunks_of(size), recompute=True)

    assert torch.autograd.gradcheck(function, (a, b, edge))


def test_recomputing_needs_what_it_read_unchanged():
    a, lin = torch.randn(2, 4, 3, requires_grad=True), torch.nn.Linear(3, 3)
    edges = LabelNeighbors(4).pair(a, a).then(lambda x: lin(x).mean(2), lin.parameters())
    out = edges.by_targets(chunks_of(2), recompute=True)
    with torch.no_grad():
        lin.weight.add_(1)
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        out.sum().backward()


def test_recomputing_leaves_frozen_inputs_and_parameters_alone():
    a, b = torch.randn(2, 4, 3, requires_grad=True), torch.randn(2, 4, 3)
    lin = torch.nn.Linear(3, 3)
    lin.bias.requires_grad_(False)
    edges = LabelNeighbors(4).pair(a, b).then(lambda x: lin(x).mean(2), lin.parameters())
    edges.by_targets(chunks_of(2), recompute=True).sin().sum().backward()
    assert a.grad is not None and lin.weight.grad is not None
    assert b.grad is None and lin.bias.grad is None
    with torch.no_grad():
        assert edges.by_targets(chunks_of(2), recompute=True).grad_fn is None


def test_recomputing_in_mixed_precision():
    """Both passes compute in bfloat16, wherever backward is called."""
    torch.manual_seed(0)
    a, lin, seen = torch.randn(2, 4, 8, requires_grad=True), torch.nn.Linear(8, 8), []

    def mean(x):
        out = lin(x)
        seen.append(out.dtype)
        return out.float().sin().mean(2)

    edges = LabelNeighbors(4).pair(a, a).then(mean, lin.parameters())
    found = []
    for recompute in (False, True):
        with torch.autocast('cpu', torch.bfloat16):
            out = edges.by_targets(chunks_of(2), recompute)
        found.append(torch.autograd.grad(out.sum(), [a, lin.weight]))
    assert set(seen) == {torch.bfloat16} and len(seen) == 2 + 2 * 2
    for usual, recomputed in zip(*found, strict=True):
        assert recomputed.dtype == torch.float
        torch.testing.assert_close(usual, recomputed, rtol=2e-2, atol=2e-2)


def test_recomputing_holds_no_more_than_some_targets_edges():
    neighbors, lin, a = LabelNeighbors(48), torch.nn.Linear(16, 16), torch.randn(2, 48, 16, requires_grad=True)
    chunks = [slice(row, row + 1) for row in range(48)]

    def peak(recompute):
        def step():
            edges = neighbors.pair(a, a).then(lambda x: lin(x).tanh().mean(2), lin.parameters())
            edges.by_targets(chunks, recompute).sum().backward()

        return peak_memory(step, a.device)

    assert peak(True) < peak(False) / 5
    assert peak(True) < 2 * 48 * 47 * 16 * 4  # Less than the edges once.

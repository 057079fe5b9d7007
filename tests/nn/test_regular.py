"""Neighbourhoods as array axes; tests/models/test_ml_sgm.py holds the whole fast forward equal to the plain one."""

import pytest
import torch

from mlsgm_pyg.nn import regular
from mlsgm_pyg.nn.regular import LabelNeighbors, Layout

SOURCES = torch.tensor([[1, 3], [0, 2], [3, 0], [2, 1]])


@pytest.mark.parametrize('source', [None, SOURCES])
@pytest.mark.parametrize('rows', [slice(0, 4), slice(1, 3), slice(3, 4)])
def test_pair_and_mean_are_loops_over_neighbours(source, rows):
    neighbors = LabelNeighbors(4, source)
    a, b = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    message = neighbors.pair(a, b, rows)
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
    assert torch.autograd.gradcheck(lambda a, b: neighbors.pair(a, b, rows), (a, b))
    assert torch.autograd.gradgradcheck(lambda a, b: neighbors.pair(a, b, rows).sin(), (a, b))


def test_other_labels_are_not_copied():
    value = torch.randn(2, 50, 3)
    others = LabelNeighbors(50).sources(value, slice(10, 40))
    assert others.shape == (2, 30, 49, 3)
    assert others.untyped_storage().nbytes() < 2 * value.untyped_storage().nbytes()


@pytest.mark.parametrize('source', [None, torch.zeros(1, 0, dtype=torch.long)])
def test_a_label_alone_hears_nothing(source):
    neighbors = LabelNeighbors(1, source)
    message = neighbors.pair(torch.randn(2, 1, 3), torch.randn(2, 1, 3), slice(0, 1))
    assert torch.equal(neighbors.mean(message), torch.zeros(2, 1, 3))


@pytest.mark.parametrize('limit', [1, 100, 10**9])
def test_chunks_cover_every_label_once_and_keep_the_limit(limit, monkeypatch):
    monkeypatch.setattr(regular, 'CHUNK_ELEMENTS', limit)
    layout = Layout(torch.zeros(2, 0), torch.zeros(3), torch.tensor([0, 3]), LabelNeighbors(7))
    chunks = layout.chunks(channels=2, batch=3)
    assert [row for rows in chunks for row in range(7)[rows]] == list(range(7))
    for rows in chunks:
        size = rows.stop - rows.start
        assert size == 1 or size * 3 * 6 * 2 <= limit


def test_a_gpu_gets_few_chunks():
    ptr = torch.tensor([0, 3], device='meta')
    layout = Layout(torch.zeros(2, 0), torch.zeros(3), ptr, LabelNeighbors(100))
    assert len(layout.chunks(channels=10**6, batch=3)) == 15  # Of 7 labels.
    assert (
        len(
            Layout(layout.near_index, layout.batch, ptr.new_empty(2, device='cpu'), layout.neighbors).chunks(
                channels=10**6, batch=3
            )
        )
        == 100
    )

from fractions import Fraction

import pytest
import torch

from mlsgm_pyg import kernels
from mlsgm_pyg.knn import knn_edges, nearest_slots
from mlsgm_pyg.regions import grid_centres


def slow_knn(pos, ptr, k):
    """The definition: the k others of the same set by (squared distance, index), point by point."""
    edges = []
    for start, end in zip(ptr.tolist(), ptr[1:].tolist(), strict=False):
        for i in range(start, end):
            others = [j for j in range(start, end) if j != i]
            others.sort(key=lambda j: (sum((a - b) ** 2 for a, b in zip(pos[i].tolist(), pos[j].tolist())), j))
            edges += [[j, i] for j in others[:k]]
    return torch.tensor(edges, dtype=torch.long).view(-1, 2).t()


def random_sets(generator, count, grid):
    """Sets of 1 to 14 points; on a grid so coarse that many coincide and more are tied."""
    sizes = torch.randint(1, 15, (count,), generator=generator)
    ptr = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    return torch.randint(0, grid, (int(ptr[-1]), 2), generator=generator).double() / 4, ptr


def sizes(ptr):
    return ptr.diff().tolist()


@pytest.mark.parametrize('grid', [1, 3, 100])  # All coincident, mostly tied, mostly distinct.
@pytest.mark.parametrize('k', [1, 3, 11, 20])
def test_knn_is_the_definition(grid, k):
    pos, ptr = random_sets(torch.Generator().manual_seed(k), 40, grid)
    assert torch.equal(knn_edges(pos, ptr, k, sizes(ptr), 'torch'), slow_knn(pos, ptr, k))


def test_kernel_equals_fallback_on_ten_thousand_sets():
    pytest.importorskip('torch_cluster', reason='torch-cluster is not installed')
    generator = torch.Generator().manual_seed(0)
    for grid in (1, 2, 3, 5, 1000):
        pos, ptr = random_sets(generator, 2000, grid)
        for dtype in (torch.float32, torch.float64):
            fast, plain = (knn_edges(pos.to(dtype), ptr, 3, sizes(ptr), name) for name in ('torch_cluster', 'torch'))
            assert torch.equal(fast, plain)


def test_by_hand():
    pos = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [3.0, 0.0]])  # 1 and 2 coincide, both tied for 0 and 3.
    edges = knn_edges(pos, torch.tensor([0, 4]), 2, [4])
    assert edges.t().tolist() == [[1, 0], [2, 0], [2, 1], [0, 1], [1, 2], [0, 2], [1, 3], [2, 3]]


def test_one_point_and_no_set():
    assert knn_edges(torch.zeros(1, 2), torch.tensor([0, 1]), 3, [1]).shape == (2, 0)
    assert knn_edges(torch.zeros(0, 2), torch.tensor([0]), 3, []).shape == (2, 0)
    assert knn_edges(torch.zeros(2, 2), torch.tensor([0, 2]), 0, [2]).shape == (2, 0)


def test_without_the_kernel(monkeypatch):
    monkeypatch.setattr(kernels, 'find', lambda name, device: None)
    pos, ptr = random_sets(torch.Generator().manual_seed(1), 5, 3)
    assert torch.equal(knn_edges(pos, ptr, 3, sizes(ptr)), slow_knn(pos, ptr, 3))
    with pytest.raises(ImportError, match="backend 'torch_cluster' needs torch-cluster: 'make kernels'"):
        knn_edges(pos, ptr, 3, sizes(ptr), 'torch_cluster')


def test_errors():
    with pytest.raises(ValueError, match=r"'backend' must be one of auto, torch_cluster, torch \(got 'x'\)"):
        knn_edges(torch.zeros(2, 2), torch.tensor([0, 2]), 1, [2], 'x')
    with pytest.raises(ValueError, match=r"'k' must be at least 0 \(got -1\)"):
        knn_edges(torch.zeros(2, 2), torch.tensor([0, 2]), -1, [2])


def test_points_that_are_nowhere_come_last():
    pos = torch.tensor([[0.0, 0.0], [torch.nan, 0.0], [1.0, 0.0]])
    edges = knn_edges(pos, torch.tensor([0, 3]), 2, [3], 'torch')
    assert edges.t().tolist() == [[2, 0], [1, 0], [0, 1], [2, 1], [0, 2], [1, 2]]


@pytest.mark.parametrize('height, width', [(7, 7), (14, 14), (10, 6), (20, 13)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_boxes_on_a_maps_grid_have_exact_neighbours(height, width, dtype):
    """In rational numbers; a last bit of a float used to decide among tied distances in up to 28 % of images."""
    generator = torch.Generator().manual_seed(height)
    wrong, images, n, k = 0, 100, 8, 3
    for _ in range(images):
        start = torch.stack([torch.randint(0, side, (n,), generator=generator) for side in (width, height)], 1)
        room = torch.tensor([width, height]) - start
        size = 1 + (torch.rand(n, 2, generator=generator) * room).long().clamp(max=room - 1)
        box = torch.cat([start, size], 1).to(dtype) / torch.tensor([width, height] * 2, dtype=dtype)
        centre = grid_centres(box, height, width)
        exact = [
            (Fraction(2 * x + w, 2 * width), Fraction(2 * y + h, 2 * height))
            for (x, y), (w, h) in zip(start.tolist(), size.tolist())
        ]
        expected = []
        for i in range(n):
            order = sorted((sum((a - b) ** 2 for a, b in zip(exact[i], exact[j])), j) for j in range(n) if j != i)
            expected += [[j, i] for _, j in order[:k]]
        padded = nearest_slots(centre[None], torch.ones(1, n, dtype=torch.bool), k)[0]
        assert padded.flatten().tolist() == [j for j, _ in expected]
        for backend in ('auto', 'torch'):
            edges = knn_edges(centre, torch.tensor([0, n]), k, [n], backend)
            wrong += edges.t().tolist() != expected
    assert wrong == 0


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_last_bit_decides_no_tie(dtype):
    pos = torch.tensor([[0.7, 0.1], [0.1, 0.1], [0.4, 0.1]], dtype=dtype)  # 0.7 - 0.4 and 0.4 - 0.1 differ as floats.
    assert (pos[0, 0] - pos[2, 0]) != (pos[2, 0] - pos[1, 0])
    assert knn_edges(pos, torch.tensor([0, 3]), 1, [3], 'torch')[0, 2] == 0
    assert knn_edges(pos[[1, 0, 2]], torch.tensor([0, 3]), 1, [3], 'torch')[0, 2] == 0

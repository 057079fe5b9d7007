import pytest
import torch

from mlsgm_pyg.cells import Cells


@pytest.mark.parametrize('pooling', ['mean', 'sum'])
@pytest.mark.parametrize('grid, size', [(2, (4, 6)), (3, (4, 5)), (0, (3, 3)), (3, (2, 7))])
def test_each_instance_is_its_box(grid, size, pooling):
    """Eq. 1 with the map of a box: the mean, or the sum, of the pixels that the box covers."""
    cells, feature = Cells(5, grid, None, pooling), torch.randn(2, 5, *size)
    found = cells.select(feature, cells(feature))
    assert found.sizes == [1 + grid**2] * 2 and found.ptr.tolist() == [0, 1 + grid**2, 2 + 2 * grid**2]
    assert found.batch.tolist() == [0] * found.sizes[0] + [1] * found.sizes[0]
    assert (found.label == -1).all() and (found.score == 1).all()
    for x, box, image in zip(found.x, found.box, found.batch):
        left, top, width, height = (box * torch.tensor([size[1], size[0]] * 2)).round().int().tolist()
        pixels = feature[image, :, top : top + height, left : left + width].flatten(1)
        torch.testing.assert_close(x, pixels.mean(1) if pooling == 'mean' else pixels.sum(1))


def test_boxes_by_hand():
    boxes = Cells(5, 2).boxes(3, 4)  # Three rows in two halves: the middle row is in both.
    half = 2 / 3
    assert boxes[0].tolist() == [0, 0, 1, 1]
    torch.testing.assert_close(
        boxes[1:],
        torch.tensor([[0, 0, 0.5, half], [0.5, 0, 0.5, half], [0, 1 / 3, 0.5, half], [0.5, 1 / 3, 0.5, half]]),
    )


def test_no_scores_and_errors():
    assert Cells(2, 3)(torch.zeros(1, 2, 3, 3)) == (None, None) and str(Cells(2, 3)) == "Cells(2, 3, pooling='mean')"
    with pytest.raises(ValueError, match=r"'grid' must not be negative \(got -1\)"):
        Cells(2, -1)
    with pytest.raises(ValueError, match=r"'pooling' must be one of mean, sum \(got 'max'\)"):
        Cells(2, 3, pooling='max')


@pytest.mark.parametrize('pooling', ['mean', 'sum'])
@pytest.mark.parametrize('grid', [0, 3])
def test_as_if_the_map_had_been_reduced(pooling, grid):
    cells, usual = Cells(10, grid, 6, pooling).double(), Cells(6, grid, None, pooling)
    feature = torch.randn(2, 10, 7, 5).double()
    reduced = cells.reduce(feature)
    expected = usual.select(reduced, usual(reduced)).x
    torch.testing.assert_close(cells.select(feature, cells(feature)).x, expected, rtol=1e-10, atol=1e-10)

"""Boxes on their way back: found by painting a block into a picture and looking for it in what the model sees."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2.functional import pil_to_tensor

from mlsgm_pyg.datasets import build_view, read_picture
from mlsgm_pyg.datasets.geometry import FIXED_VIEWS, from_stored, to_pixels, to_stored, to_upright, window


def bounds(mask):
    """(x, y, width, height) of the True pixels of a mask [H, W]."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_a_block_is_found_where_it_was_painted(tmp_path, orientation, suffix):
    """Pillow turns the picture, torchvision makes the view; the block's box there must lead back to the block."""
    pixels = np.zeros((480, 320, 3), np.uint8)  # 320 wide, 480 high, as stored.
    x, y, width, height = 120, 180, 48, 96
    pixels[y : y + height, x : x + width] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f'turned.{suffix}'
    Image.fromarray(pixels).save(path, exif=exif)
    picture = read_picture(path)
    assert picture.size == (320, 480) and picture.orientation == orientation
    assert picture.image.size == ((320, 480) if orientation < 5 else (480, 320))

    upright = bounds(np.asarray(picture.image)[:, :, 0] > 127)
    side = 448
    for view in FIXED_VIEWS:
        seen = build_view(view, side)(pil_to_tensor(picture.image))
        box = torch.tensor([bounds(seen[0].numpy() > 127)]) / side
        back = to_pixels(box, picture.size, orientation, view, side)
        assert np.abs(back - [x, y, width, height]).max() < 1.5, view  # A pixel of the view.
        back = to_pixels(box, picture.size, orientation, view, side, upright=True)
        assert np.abs(back - upright).max() < 1.5, view


@pytest.mark.parametrize('orientation', range(1, 9))
def test_turning_agrees_with_pillow_and_undoes_itself(orientation):
    """Each pixel of a small picture, turned by Pillow."""
    stored = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    height, width = upright.shape
    for row in range(height):
        for column in range(width):
            box = torch.tensor([[column / width, row / height, 1 / width, 1 / height]], dtype=torch.float64)
            x, y, *size = (to_stored(box, orientation) * [3, 2, 3, 2])[0].tolist()
            assert size == pytest.approx([1, 1])
            assert stored[round(y), round(x)] == upright[row, column]
            np.testing.assert_allclose(from_stored(to_stored(box, orientation), orientation), box, atol=1e-12)


def test_the_whole_view():
    whole = torch.tensor([[0.0, 0, 1, 1]])
    assert to_pixels(whole, (640, 480)).tolist() == [[0, 0, 640, 480]]
    assert to_pixels(whole, (640, 480), 6).tolist() == [[0, 0, 640, 480]]
    assert to_pixels(whole, (640, 480), 6, upright=True).tolist() == [[0, 0, 480, 640]]
    # Resize 640, centre crop 448: 96 pixels on each side.
    assert window('paper', 448) == (0.15, 0.15, 0.7, 0.7)
    assert to_pixels(whole, (1000, 100), view='paper').tolist() == [pytest.approx([150, 15, 700, 70])]
    assert to_upright(torch.tensor([[0.0, 0, 0.25, 1]]), 'resize_flip', 448).tolist() == [[0.75, 0, 0.25, 1]]
    assert to_pixels(torch.zeros(0, 4), (5, 5)).shape == (0, 4)


def test_random_views_lead_nowhere():
    with pytest.raises(ValueError, match=r"'view' must be one of resize, .*\(got 'train'\)"):
        window('train', 448)

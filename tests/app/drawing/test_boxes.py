"""Drawings: colours where the maps and boxes are, also on turned pictures and through a crop."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from mlsgm_pyg.app.drawing import boxes
from mlsgm_pyg.tagger import Instance, Prediction


def found(box, size=(200, 100), orientation=1, p=0.9, labels=('dog',)):
    maps = torch.zeros(len(labels), 4, 4)
    maps[:, 0, 0] = 0.5
    number = len(labels)
    whole = Instance(None, 1.0, (0.0, 0.0, *map(float, size)))
    return Prediction(
        list(labels), [p] * number, [0] * number, [box] * number, [whole], size, orientation, maps=maps
    )  # fmt: skip


def near(image, colour):
    """Where an image has about a colour."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return (abs(np.asarray(image).astype(int) - rgb) < 30).all(2)


def bounds(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


@pytest.mark.parametrize('is_upright', [False, True])
@pytest.mark.parametrize('orientation', [1, 6])
def test_a_box_is_drawn_where_it_is(orientation, is_upright):
    """Upright, the box of 60 x 40 pixels at (100, 50) of a picture of 400 x 300; the stored one lies on its side."""
    box, size = (100.0, 50.0, 60.0, 40.0), (400, 300)
    if orientation == 6 and not is_upright:  # Stored (s, t) = (v, W - u) for upright (u, v).
        box, size = (50.0, 400.0 - 160, 40.0, 60.0), (300, 400)
    blank = Image.new('RGB', (400, 300), '#808080')
    drawn = boxes.draw(blank, found(box, size, orientation), 'resize', 32, is_upright)
    frame = near(drawn.crop((0, 0, 400, 300)), boxes.COLOURS[0])
    frame[:50] = False  # The tag above it.
    assert bounds(frame) == pytest.approx((100, 50, 160, 90), abs=1.01)


def test_activation_is_drawn_where_it_is():
    blank = Image.new('RGB', (400, 300), '#808080')
    changed = np.asarray(boxes.heat(blank, found(None).maps, (0.0, 0.0, 1.0, 1.0))).astype(int) - 128
    assert abs(changed[:60, :80]).max() > 20 and abs(changed[150:, 200:]).max() == 0
    changed = np.asarray(boxes.heat(blank, found(None).maps, (0.15, 0.15, 0.7, 0.7))).astype(int) - 128
    assert abs(changed[:44]).max() == 0 and abs(changed[:, :59]).max() == 0  # Outside of the crop.
    assert abs(changed[46:80, 61:100]).max() > 20


def test_names_never_hide_each_other():
    blank = Image.new('RGB', (400, 300), '#808080')
    drawn = boxes.draw(
        blank, found((50.0, 60.0, 100.0, 100.0), (400, 300), labels=('dog', 'cat', 'cow')), 'resize', 32, True
    )
    areas = [near(drawn.crop((0, 0, 400, 300)), colour).sum() for colour in boxes.COLOURS[:3]]
    assert min(areas) > 500
    assert near(drawn, boxes.COLOURS[3]).sum() == 0


@pytest.mark.parametrize('size', [(1, 1), (3000, 10), (10, 3000), (640, 480)])
def test_any_picture_can_be_drawn(tmp_path, size):
    folder = tmp_path / 'drawn'
    path = boxes.drawing_path(folder, 'x')
    image = boxes.shrink(Image.new('RGB', size))
    assert boxes.SMALLEST <= max(image.size) <= boxes.LARGEST
    nothing = Prediction(size=size, maps=torch.zeros(0, 4, 4))
    for one in (found((0.0, 0.0, *map(float, size)), size), found(None, size), nothing):
        boxes.save(folder, 'x', image, one, view='resize', image_size=32, is_upright=False)
        with Image.open(path) as drawn:
            assert drawn.width == image.width + boxes.PANEL
    assert list(path.parent.iterdir()) == [path]


def test_equal_names_stay_apart(tmp_path):
    names = [boxes.drawing_path(tmp_path, name) for name in ('a/x.jpg', 'b/x.jpg', 'a/x.png', 'a/' + 'ü' * 80 + '.png')]
    assert len(set(names)) == 4 and all(len(path.name.encode()) < 255 for path in names)
    assert names[0].name.startswith('x-') and names[0].suffix == '.jpg'


def test_jpeg_keeps_to_its_size():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 600, 3), dtype=np.uint8))
    content, size = boxes.jpeg(noise, 288, 20_000)
    assert size == (288, 144) and len(content) <= 20_000
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == size and image.format == 'JPEG'
    assert boxes.jpeg(noise, 900, 10**9)[1] == (600, 300)  # Never larger than it is.
    assert boxes.jpeg(Image.new('RGB', (1000, 1)), 100, 1000)[1] == (100, 1)

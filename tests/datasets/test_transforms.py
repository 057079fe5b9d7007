import pytest
import torch

from mlsgm_pyg.datasets import VIEWS, build_view


def ramp(height, width):
    """Red rises to the right, green downwards."""
    x = torch.linspace(0, 255, width).expand(height, width)
    y = torch.linspace(0, 255, height).unsqueeze(1).expand(height, width)
    return torch.stack([x, y, torch.full_like(x, 9)]).round().to(torch.uint8)


@pytest.mark.parametrize('view', VIEWS)
@pytest.mark.parametrize('size', [(300, 200), (33, 1), (448, 448)])
def test_every_view_gives_a_square_of_bytes(view, size):
    out = build_view(view, 56)(ramp(*size))
    assert out.shape == (3, 56, 56) and out.dtype == torch.uint8


def test_resize_sees_the_whole_image_and_paper_its_middle():
    image = ramp(300, 500)
    whole, middle = build_view('resize', 56)(image), build_view('paper', 56)(image)
    assert whole[0].min() < 5 and whole[0].max() > 250
    margin = 255 * (1 - 448 / 640) / 2  # The crop leaves out the same on all sides.
    for channel in (0, 1):
        assert abs(middle[channel].min() - margin) < 4 and abs(middle[channel].max() - (255 - margin)) < 4


@pytest.mark.parametrize('view', ['resize', 'paper'])
def test_flip_mirrors(view):
    image = ramp(90, 120)
    assert torch.equal(build_view(f'{view}_flip', 32)(image), build_view(view, 32)(image).flip(-1))


def test_train_crops_anywhere_and_flips_and_crop_never_flips():
    image = ramp(100, 100)
    flipped, corners = {'train': 0, 'crop': 0}, {'train': set(), 'crop': set()}
    for view in flipped:
        transform = build_view(view, 28)
        for _ in range(60):
            out = transform(image).int()
            flipped[view] += int(out[0, 0, 0] > out[0, 0, -1])
            corners[view].add((min(out[0, 0, 0].item(), out[0, 0, -1].item()), out[1, 0, 0].item()))
    assert flipped['crop'] == 0 and 15 < flipped['train'] < 45
    assert all(len(places) > 20 for places in corners.values())


def test_errors():
    with pytest.raises(
        ValueError, match=r"'view' must be one of train, crop, .* \(got 'trian'\) \(did you mean 'train'\?\)"
    ):
        build_view('trian')
    with pytest.raises(ValueError, match=r"'image_size' must be at least 1 pixel \(got 0\)"):
        build_view('resize', 0)

"""What NumPy makes of a picture equals what torch makes of it, byte for byte."""

import numpy as np
import pytest
import torch
from PIL import Image

from mlsgm_pyg.datasets.geometry import FIXED_VIEWS
from mlsgm_pyg.datasets.transforms import TorchView
from mlsgm_pyg.datasets.views import View, resize

SIZES = [(1, 1), (1, 50), (3, 2), (224, 224), (224, 301), (97, 224), (700, 33), (17, 1500), (223, 225), (640, 480)]


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() not in ('AVX2', 'AVX512'), reason='torch takes floats here')
@pytest.mark.parametrize('view', FIXED_VIEWS)
def test_it_is_torchs(view):
    rng = np.random.default_rng(0)
    for width, height in SIZES:
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for ours, torchs in zip(View(view, (224, 7))(image), TorchView(view, (224, 7))(image), strict=True):
            assert ours.flags.c_contiguous and ours.dtype == np.uint8
            np.testing.assert_array_equal(ours, torchs.numpy())


def test_by_hand():
    """Twice as wide: new pixels lie a quarter of the way from each old one; a mean where it shrinks."""
    row = np.array([[[0] * 3, [200] * 3]], np.uint8)
    assert resize(row.repeat(4, 0), 4)[2, :, 0].tolist() == [0, 50, 150, 200]
    assert resize(np.array([[0, 90], [30, 120]], np.uint8)[:, :, None].repeat(3, 2), 1).tolist() == [[[60] * 3]]


def test_random_views_need_torch():
    with pytest.raises(ValueError, match=r"'view' must be one of resize, .*\(got 'train'\)"):
        View('train')(Image.new('RGB', (4, 4)))

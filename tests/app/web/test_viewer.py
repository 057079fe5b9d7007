"""The viewer: one pass of the backbone a picture, and under any gamma what a model of that gamma says."""

import numpy as np
import pytest
import torch
from PIL import Image

import mlsgm_pyg
from mlsgm_pyg import models
from mlsgm_pyg.app.web.viewer import SIDE, Viewer
from mlsgm_pyg.datasets import ImageError


@pytest.fixture
def picture(tmp_path):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    small.resize((60, 40)).save(tmp_path / 'a.png')
    return tmp_path / 'a.png'


def test_under_any_gamma_the_head_alone_runs(checkpoint, picture):
    model, calls = mlsgm_pyg.load(checkpoint), []
    model.backbone.register_forward_hook(lambda *args: calls.append(1))
    counts = []
    with Viewer(model) as viewer:
        seen = viewer.look(picture)
        assert seen.name == 'a.png' and max(seen.image.size) == SIDE and seen.size == (60, 40)
        for gamma in (0.0, viewer.gamma, 0.99):
            found = viewer.find(seen, gamma)
            other = mlsgm_pyg.load(checkpoint)
            other.csac.gamma = gamma
            expected = other.predict(picture, upright=True, maps=True, graph=True)[0]
            assert found == expected
            for name in ('maps', 'match', 'near'):
                torch.testing.assert_close(getattr(found, name), getattr(expected, name))
            counts.append(len(found.instances))
        assert len(calls) == 1 and counts[0] > counts[-1] == 1
        assert viewer.find(seen) == viewer.find(seen, viewer.gamma) and model.csac.gamma == viewer.gamma
        with pytest.raises(ValueError, match=r"'gamma' must be in \[0, 1\] \(got nan\)"):
            viewer.find(seen, float('nan'))
    assert model.csac.gamma == viewer.gamma


def test_pixels_are_bounded(checkpoint, picture):
    with pytest.raises(ImageError, match='60 x 40 pixels are more than the 2,399 that are allowed'):
        Viewer(mlsgm_pyg.load(checkpoint), 2399).look(picture)


@pytest.mark.parametrize(
    ('name', 'options', 'has'),
    [
        ('baseline', {}, (False, True, False, False)),
        ('wo_csac', {'grid': 2}, (False, False, True, True)),
        ('ablation', {'parts': ['csac']}, (True, True, True, False)),
        ('ablation', {'parts': ['instance_graph']}, (False, False, True, True)),
    ],
)
def test_other_models(name, options, has, picture):
    """What each has of gamma, maps, instance-label scores and kNN edges."""
    torch.manual_seed(0)
    words = None if name == 'baseline' else torch.randn(4, 5)
    model = models.build(name, num_labels=4, word_vectors=words, backbone='resnet18', weights='none', **options).eval()
    model.config = {'data': {'image_size': 64}}
    viewer = Viewer(model)
    found = viewer.find(viewer.look(picture), 0.0, 0.0)
    assert (viewer.gamma is not None, viewer.has_maps, found.match is not None, found.near is not None) == has
    assert (found.maps is not None) == viewer.has_maps and len(found.labels) == 4

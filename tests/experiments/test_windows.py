"""Windows of cached maps: all of them come, only training sees them, CSAC's loss can see whole maps beside them."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import mlsgm_pyg
from experiments import train
from experiments.windows import crop, forward
from mlsgm_pyg.models import MLSGM


def test_windows_of_maps_are_random_parts_of_them():
    torch.manual_seed(0)
    maps = torch.arange(2 * 3 * 5 * 4, dtype=torch.float).view(2, 3, 5, 4)
    seen = set()
    for _ in range(400):
        window = crop(maps, 0.5)
        top, left = divmod(int(window[0, 0, 0, 0]), 4)
        high, wide = window.shape[2:]
        assert torch.equal(window, maps[:, :, top : top + high, left : left + wide])
        seen.add((top, left, high, wide))
    rows, columns = ([(n, at) for n in sides for at in range(max(sides) - n + 1)] for sides in ((3, 4, 5), (2, 3, 4)))
    assert seen == {(top, left, high, wide) for high, top in rows for wide, left in columns}
    assert torch.equal(crop(maps, 1.0), maps) and crop(maps, 0.0) is maps


@pytest.mark.slow
def test_only_training_sees_windows(tiny, frozen, monkeypatch):
    sides = {True: set(), False: set()}

    def head(self, feature):
        sides[self.training].add(tuple(feature.shape[2:]))
        return original(self, feature)

    original = MLSGM.head
    monkeypatch.setattr(MLSGM, 'head', head)
    train.run(tiny(*frozen, 'features.crop=0.5', 'data.image_size=128', 'data.num_images=40', 'trainer.max_epochs=1'))
    assert sides[False] == {max(sides[True] | sides[False])} and len(sides[True]) > 1


@pytest.fixture
def model(trained):
    return mlsgm_pyg.load(Path(trained['folder']) / 'last.ckpt')


def test_csac_may_see_the_whole_maps_while_the_graph_sees_the_window(model):
    maps = torch.randn(3, model.backbone.out_channels, 5, 6).relu()
    torch.manual_seed(1)
    both = forward(model, maps, 0.5)
    torch.manual_seed(1)
    parted = forward(model, maps, 0.5, csac_too=False)
    assert torch.equal(parted.graph_logits, both.graph_logits)
    assert torch.equal(parted.instances.box, both.instances.box)
    whole = model.head(maps)
    assert_close(parted.csac_logits, whole.csac_logits)
    assert not torch.allclose(both.csac_logits, whole.csac_logits)
    assert torch.equal(forward(model, maps, 0.0, csac_too=False).csac_logits, whole.csac_logits)


def test_csac_learns_from_the_whole_maps_in_training_alone(tiny, frozen, monkeypatch):
    sides = {True: set(), False: set()}
    scores = MLSGM.csac_scores

    def seen(self, feature):
        sides[self.training].add(tuple(feature.shape[2:]))
        return scores(self, feature)

    monkeypatch.setattr(MLSGM, 'csac_scores', seen)
    options = ['features.crop=0.5', 'features.crop_csac=false', 'data.image_size=96', 'trainer.max_epochs=1']
    train.run(tiny(*frozen, *options))
    assert sides == {True: {(6, 6)}, False: set()}

"""The figures of boxes, by hand; and a run from its folder."""

import json

import numpy as np
import pytest

from experiments import boxes
from mlsgm_pyg.app.training import train
from mlsgm_pyg.datasets import Digits


def test_figures_by_hand():
    whole, corner = (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 0.5)
    found = [(whole, [(0.2, 0.2, 0.1, 0.1)]), (corner, [(0.25, 0.0, 0.5, 0.5), (0.9, 0.9, 0.1, 0.1)])]
    found += [(corner, [(0.6, 0.6, 0.2, 0.2)]), ((0.0, 0.0, 0.2, 0.5), [])]
    out = boxes.figures(found)
    assert (out['found'], out['whole'], out['area']) == (4, 25.0, 25.0)
    assert out['holds'] == pytest.approx(200 / 3)  # The second one's centre lies on its edge.
    assert out['overlap'] == pytest.approx(100 * (0.01 + 0.125 / 0.375 + 0) / 3)
    assert boxes.figures([])['whole'] is None


def test_digits_know_their_places():
    """In the square of a digit the scene differs from its ground; every label has a place and every place a label."""
    data = Digits('test', size=64, num_images=40)
    for i in range(40):
        places = data.places(i)
        assert {label for label, _ in places} == set(np.flatnonzero(data.y[i]).tolist())
        for _, (x, y, w, h) in places:
            assert 0 <= x and 0 <= y and x + w <= 1 + 1e-6 and y + h <= 1 + 1e-6 and w == h and 0.2 < w < 0.4
    inside, outside = [], []
    for i in range(40):
        mask = np.zeros((64, 64), bool)
        for _, (x, y, w, h) in data.places(i):
            mask[int(64 * y) : int(64 * (y + h)), int(64 * x) : int(64 * (x + w))] = True
        bright = data.images[i].max(2).astype(float)
        inside.append(np.percentile(bright[mask], 90) - np.median(bright))
        outside.append(np.percentile(bright[~mask], 90) - np.median(bright))
    assert np.mean(inside) > 2 * np.mean(outside)


def test_a_run_and_what_is_none(tiny, tmp_path, capsys):
    out = train.run(tiny('model.gamma=0.04', 'trainer.max_epochs=1'))
    capsys.readouterr()
    assert boxes.main([out['folder'], '--limit', '5']) == 0
    assert set(json.loads(capsys.readouterr().out)) == {'found', 'whole', 'area', 'holds', 'overlap'}
    assert boxes.main([str(tmp_path)]) == 2
    assert 'is no run: there is no config.yaml in it' in capsys.readouterr().err
    out = train.run(tiny('trainer.max_epochs=1', row='digits_baseline'))
    assert boxes.main([out['folder']]) == 2 and 'draws no boxes: it is a PooledLinear' in capsys.readouterr().err

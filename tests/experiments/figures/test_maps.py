"""Figure 7: which labels are shown, and that maps and boxes lie where the model sees them."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from experiments.figures import choose, maps
from mlsgm_pyg.app.results.run import Run


@pytest.fixture
def ours(trained):
    return Run.read(Path(trained['folder']))


@pytest.fixture
def theirs(tiny, frozen, trained):
    """The baseline of :func:`ours`, on its maps."""
    from mlsgm_pyg.app.training import train

    cached = [*frozen, f'features.dir={trained["config"]["features"]["dir"]}', 'trainer.max_epochs=1']
    return Run.read(Path(train.run(tiny(*cached, row='digits_baseline'))['folder']))


def test_what_is_seen_is_the_models_map_and_the_box_around_its_largest_segment(ours):
    image, labels = choose.picture(ours, 3), [4, 0, 7]
    seen = maps.look(ours, image, labels)
    view = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    with torch.no_grad():
        feature = ours.model.features(view)
        expected, out = ours.model.maps(feature)[0], ours.model.head(feature)
    for label, one in zip(labels, seen):
        np.testing.assert_allclose(one.map, expected[label], atol=1e-6)
        assert one.p == pytest.approx(out.logits.sigmoid()[0, label].item(), abs=1e-6)
        best = int(out.match_logits[:, label].argmax())
        np.testing.assert_allclose(one.best, out.instances.box[best], atol=1e-6)
        x, y, width, height = one.box  # The strongest place is in some segment; the box holds no less than one pixel.
        assert width * 2 >= 1 - 1e-6 and height * 2 >= 1 - 1e-6 and x + width <= 1 + 1e-6 and y + height <= 1 + 1e-6


def test_the_baselines_map_at_one_place_averages_to_its_score(theirs):
    (seen,) = maps.look(theirs, choose.picture(theirs, 0), [2])
    logits = np.log(seen.map / (1 - seen.map))
    assert logits.mean() == pytest.approx(math.log(seen.p / (1 - seen.p)), abs=1e-4)
    assert seen.best is None


@pytest.mark.parametrize('window', [(0.0, 0.0, 1.0, 1.0), (0.15, 0.15, 0.7, 0.7)])
def test_the_map_and_the_boxes_are_drawn_where_they_are(window):
    axes = Figure().subplots()
    seen = maps.Seen(0.9, np.array([[0.0, 0.5], [0.1, 0.2]]), (0.5, 0.0, 0.5, 0.5), (0.0, 0.0, 1.0, 1.0))
    maps.overlay(axes, seen, (200, 100), window, '#ff1744')
    (shown,) = axes.get_images()
    x, y, width, height = window
    assert shown.get_extent() == pytest.approx([200 * x, 200 * (x + width), 100 * (y + height), 100 * y])
    assert shown.get_array().max() == 1 and shown.get_array()[1, 0] == pytest.approx(0.2)  # Of its own maximum.
    boxes = {(p.get_bbox().bounds, p.get_linestyle()) for p in axes.patches}
    assert boxes == {((100.0, 0.0, 100.0, 50.0), '-'), ((0.0, 0.0, 200.0, 100.0), '--')}
    colours = [patch.get_edgecolor() for patch in axes.patches[1::2]]
    assert all(colour == pytest.approx((1.0, 0x17 / 255, 0x44 / 255, 1.0)) for colour in colours)


def test_a_box_that_is_its_own_instances_is_drawn_once():
    axes = Figure().subplots()
    box = (0.0, 0.25, 0.5, 0.5)
    maps.overlay(axes, maps.Seen(0.9, np.ones((2, 2)), box, box), (10, 10), (0, 0, 1, 1), 'white')
    assert {patch.get_linestyle() for patch in axes.patches} == {'-'}


def test_labels_are_those_there_or_wrongly_named_and_the_most_different_come_first(scored):
    runs = [scored(), scored(row='digits_baseline', seed=1)]
    for i in range(30):
        labels = maps.labels_of(runs, i, 10)
        p, q, y = runs[0].p[i], runs[1].p[i], runs[0].y[i]
        assert set(labels) == {c for c in range(10) if y[c] == 1 or p[c] >= 0.5 or q[c] >= 0.5}
        gaps = [abs(p[c] - q[c]) for c in labels]
        assert gaps == sorted(gaps, reverse=True)
        assert maps.labels_of(runs, i, 2) == labels[:2]


@pytest.mark.slow
def test_the_figure_from_two_runs(ours, theirs, draw_figure):
    _, sizes = draw_figure('7', ours.folder, theirs.folder, '--images', choose.files(ours)[0], choose.files(ours)[5])
    labels = max(len(maps.labels_of([ours, theirs], i, 3)) for i in (0, 5))
    width = (1 + 2 * labels) * maps.CELL + labels * maps.GAP + 0.1
    assert sizes['figure7'] == pytest.approx((width, 0.3 + 2 * (maps.PICTURE + maps.ABOVE + 0.08)), abs=0.01)
    told, _ = draw_figure('7', ours.folder, theirs.folder, '--labels', 'tow', status=2)
    assert "has no label 'tow': did you mean 'two'?" in told.err

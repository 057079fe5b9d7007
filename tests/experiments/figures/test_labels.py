"""Figure 9: the vectors that are shown, and what is counted beside them."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.figures import choose, labels
from mlsgm_pyg.app.results.run import Run
from mlsgm_pyg.datasets import coco, voc


def test_label_vectors_are_those_of_each_image(trained):
    run = Run.read(Path(trained['folder']))
    found = labels.label_vectors(run, [2, 0, 12])
    assert found.shape == (3, 10, 8)
    for i, number in enumerate((2, 0, 12)):
        view = torch.from_numpy(np.array(choose.picture(run, number))).permute(2, 0, 1)[None]
        with torch.no_grad():
            expected = run.model(view).label_x[0]
        np.testing.assert_allclose(found[i], expected, atol=1e-4)


def test_pairs_of_labels_against_a_slow_loop():
    y = np.random.default_rng(0).integers(-1, 2, (40, 6))
    shares = {}
    for a, b in combinations(range(6), 2):
        first, second = {i for i in range(40) if y[i, a] == 1}, {i for i in range(40) if y[i, b] == 1}
        shares[a, b] = len(first & second) / len(first | second)
    expected = sorted(shares, key=lambda pair: -shares[pair])[:4]
    assert labels.together(y, 4) == expected
    assert labels.together(np.eye(3, dtype=int), 3) == []  # Never together: no line.


def test_nearest_labels_of_the_same_concept_by_hand():
    names = ['dog', 'cat', 'bus', 'car', 'person', 'unheard of']
    vectors = np.array([[1, 0.1], [1, 0], [0, 1], [1, 0.05], [0.5, 0.5], [0, 0.9]])
    # dog and cat have car as the nearest, bus the unknown one, car both dog and cat: dog comes first. Nobody is beside
    # person in its concept, and the unknown one has none.
    cosine = labels.unit(vectors) @ labels.unit(vectors).T
    assert cosine[0].argsort()[-2] == 3 and cosine[1].argsort()[-2] == 3
    assert labels.same_concept(names, vectors) == (0, 4)
    vectors[3] = [0.1, 1]
    assert labels.same_concept(names, vectors) == (3, 4)  # All but bus, which is as the unknown one.
    assert labels.same_concept(['a', 'b'], np.eye(2)) is None


def test_every_name_of_coco_and_voc_has_its_concept():
    counts = {}
    for name in coco.NAMES:
        counts[labels.concept_of(name)] = counts.get(labels.concept_of(name), 0) + 1
    # As COCO's own annotations count them.
    assert counts == {
        'person': 1, 'vehicle': 8, 'outdoor': 5, 'animal': 10, 'accessory': 5, 'sports': 10, 'kitchen': 7, 'food': 10,
        'furniture': 6, 'electronic': 6, 'appliance': 5, 'indoor': 7,
    }  # fmt: skip
    assert {labels.concept_of(name) for name in voc.NAMES} <= counts.keys()
    assert set(labels.COLOURS) == {*counts, 'other'} and len(set(labels.COLOURS.values())) == 13


def test_t_sne_depends_on_the_seed_alone():
    vectors = np.random.default_rng(0).normal(size=(12, 5))
    first = labels.embed(vectors, 0)
    assert first.shape == (12, 2)
    np.testing.assert_array_equal(first, labels.embed(vectors, 0))


@pytest.mark.slow
def test_the_figure_from_a_run(trained, draw_figure):
    _, sizes = draw_figure('9', trained['folder'], '--number', 4)
    assert sizes['figure9'] == pytest.approx((2 * labels.PANEL + 0.3, labels.PANEL + 0.75), abs=0.01)
    draw_figure('9', trained['folder'], '--number', 3, '--sampled')


def test_a_model_without_label_vectors(tiny, frozen, trained, draw_figure):
    from mlsgm_pyg.app.training import train

    cached = [*frozen, f'features.dir={trained["config"]["features"]["dir"]}', 'trainer.max_epochs=1']
    out = train.run(tiny(*cached, row='digits_baseline'))
    told, _ = draw_figure('9', out['folder'], status=2)
    assert told.err == f"error: the model of '{out['folder']}' (baseline) has no final label vectors\n"

"""Temperature and thresholds by class: laws, and brute force."""

import math

import numpy as np
import pytest

from mlsgm_pyg import decisions
from mlsgm_pyg.decisions import LEAST, PRECISIONS, PRIOR, Decisions, fit, probabilities


@pytest.fixture(scope='module')
def scored():
    """Logits that are twice too large, of labels drawn by their own probabilities: 600 images, 4 classes, one rare."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=(600, 4)) * 2 + [0, -1, 1, -6]
    y = (rng.random((600, 4)) < probabilities(true)).astype(np.int8)
    return 2 * true, y


NAMES = ['a', 'b', 'c', 'rare']


def test_the_temperature_of_scaled_logits_is_the_scale(scored):
    logits, y = scored
    one = decisions.fit_temperature(logits.ravel(), y.ravel() == 1)
    assert 1.8 < one < 2.2
    assert decisions.fit_temperature(3 * logits.ravel(), y.ravel() == 1) == pytest.approx(3 * one, rel=1e-5)
    near = [probabilities(logits, one * factor) for factor in (0.98, 1, 1.02)]
    likely = [np.log(np.where(y == 1, p, 1 - p)).sum() for p in near]
    assert likely[1] == max(likely)


def test_thresholds_are_half_of_the_best_f1_and_rare_classes_take_the_pooled_one(scored):
    logits, y = scored
    found = fit(logits, y, NAMES)
    p = probabilities(logits, found.temperature)

    def best_f1(p, y):
        return max(2 * ((p >= t) & (y == 1)).sum() / ((p >= t).sum() + (y == 1).sum()) for t in np.unique(p))

    for c, name in enumerate(NAMES[:3]):
        assert found.classes[name].threshold == pytest.approx(best_f1(p[:, c], y[:, c]) / 2)
        assert not found.classes[name].is_pooled
    assert found.pooled.threshold == pytest.approx(best_f1(p.ravel(), y.ravel()) / 2)
    rare = found.classes['rare']
    assert rare.positives == (y[:, 3] == 1).sum() < LEAST
    assert rare.is_pooled and rare.threshold == found.pooled.threshold
    assert [one.positives for one in found.classes.values()] == (y == 1).sum(0).tolist()


def test_precision_is_of_labels_between_the_known_and_the_probable_ones(scored):
    logits, y = scored
    found = fit(logits, y, NAMES)
    p, least = probabilities(logits, found.temperature)[:, 1], found.thresholds(['b'], 0.9)[0]
    n = (y[:, 1] == 1).sum()
    soft = (n * (y[:, 1] == 1) + PRIOR * p) / (n + PRIOR)
    reached = [t for t in np.unique(p) if soft[p >= t].mean() >= 0.9]
    assert least == min(reached)
    table = np.array([found.thresholds(NAMES, precision) for precision in PRECISIONS])
    assert (np.diff(np.minimum(table, 2), axis=0) >= 0).all(), 'more precision, no lower threshold'
    assert found.thresholds(['a'], 0.895) == found.thresholds(['a'], 0.9), 'rounded up to a hundredth'
    assert found.thresholds(['never trained'], 0.9) == found.pooled.by_precision[40]
    for wrong in (0.4, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"'min_precision' must be in \[0.5, 0.99\] \(got "):
            found.thresholds(['a'], wrong)


def test_unknown_labels_change_nothing_and_nothing_is_promised_of_a_hopeless_class(scored):
    logits, y = scored
    more = np.concatenate([logits, 9 * logits[:50]]), np.concatenate([y, np.full((50, 4), -1, np.int8)])
    assert fit(*more, NAMES) == fit(logits, y, NAMES)
    never = fit(np.full((80, 1), -3.0), np.eye(80, 1, dtype=np.int8), ['never'])
    assert never.classes['never'].by_precision == (None,) * len(PRECISIONS)
    assert never.thresholds(['never'], 0.5) == math.inf
    with pytest.raises(ValueError, match=r'on images that show something \(got 2, none that does\)'):
        fit(np.zeros((2, 1)), np.array([[0], [-1]]), ['a'])


def test_plain_values_and_back(scored):
    found = fit(*scored, NAMES)
    assert Decisions.of(found.plain()) == found
    asked = found.renamed(['B', 'new'], ['b', None])
    assert asked.thresholds(['B', 'new']).tolist() == [found.classes['b'].threshold, found.pooled.threshold]
    for wrong in (None, {}, {**found.plain(), 'pooled': {}}, {**found.plain(), 'classes': {'a': 1}}):
        with pytest.raises(ValueError, match="'decisions' must hold a temperature, and thresholds by class"):
            Decisions.of(wrong)
    with pytest.raises(ValueError, match=r"'decisions' must have a temperature in \[0.05, 20.0\] \(got 0.0\)"):
        Decisions.of({**found.plain(), 'temperature': 0.0})

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from mlsgm_pyg.app.results import analysis


@pytest.fixture
def scored():
    """Logits with ties and labels with unknown ones: 40 images, 5 classes."""
    rng = np.random.default_rng(3)
    logits = np.round(rng.normal(size=(40, 5)), 1)
    y = (rng.random((40, 5)) < 0.3).astype(np.int8)
    y[rng.random((40, 5)) < 0.2] = -1
    return logits, y


def test_the_curve_is_what_a_slow_loop_over_thresholds_gives(scored):
    logits, y = scored
    for c in range(5):
        known = y[:, c] >= 0
        curve = analysis.precision_recall_curve(logits[:, c], y[:, c])
        slow = []
        for threshold in sorted(set(logits[known, c]), reverse=True):
            taken = y[known, c][logits[known, c] >= threshold] == 1
            slow.append((taken.sum() / (y[:, c] == 1).sum(), taken.mean()))
        corners = [  # The others lie on a vertical line between two of these.
            point
            for i, point in enumerate(slow)
            if i in (0, len(slow) - 1) or not slow[i - 1][0] == point[0] == slow[i + 1][0]
        ]
        np.testing.assert_allclose(np.stack([curve.recall, curve.precision], 1), corners)
        area = (np.diff(curve.recall, prepend=0) * curve.precision).sum()
        assert area == pytest.approx(average_precision_score(y[known, c], logits[known, c]))


def test_the_point_of_the_curve_at_one_half():
    logits, y = np.array([2.0, 1.0, 0.0, -1.0, -2.0]), np.array([1, 0, 1, 1, -1])
    assert analysis.precision_recall_curve(logits, y).at_half == (2 / 3, 2 / 3)
    assert analysis.precision_recall_curve(logits - 3, y).at_half is None
    assert analysis.precision_recall_curve(logits, np.array([0, 0, 0, 0, -1])) is None
    assert analysis.precision_recall_curve(logits[:0], y[:0]) is None


def test_a_thinned_curve_keeps_its_shape():
    rng = np.random.default_rng(0)
    y = (rng.random(3000) < 0.2).astype(np.int8)
    curve = analysis.precision_recall_curve(rng.normal(size=3000) + y, y)
    recall, precision = analysis.thinned(curve, 60)
    assert len(recall) <= 62 and (np.diff(recall) >= 0).all()
    assert (recall[0], precision[0]) == (curve.recall[0], curve.precision[0])
    assert (recall[-1], precision[-1]) == (curve.recall[-1], curve.precision[-1])
    apart = np.abs(np.interp(curve.recall, recall, precision) - curve.precision)
    assert apart[curve.recall > 0.1].max() < 0.05
    assert analysis.thinned(curve._replace(recall=recall, precision=precision), 100)[0] is recall


def test_calibration_is_what_a_slow_loop_counts(scored):
    logits, y = scored
    p = 1 / (1 + np.exp(-logits))
    found = analysis.calibration(p, y, bins=4)
    error = total = 0
    for b in range(4):
        low, high = b / 4, (b + 1) / 4
        inside = [(p[i, c], y[i, c]) for i in range(40) for c in range(5) if y[i, c] >= 0 and low < p[i, c] <= high]
        mean, part = np.mean([v for v, _ in inside]), np.mean([label for _, label in inside])
        assert found.count[b] == len(inside)
        assert found.confidence[b] == pytest.approx(mean) and found.frequency[b] == pytest.approx(part)
        error += len(inside) * abs(mean - part)
        total += len(inside)
    assert total == (y >= 0).sum()
    assert found.error == pytest.approx(error / total)


def test_calibration_at_the_edges():
    p, y = np.array([[0.0, 1.0, 0.5, 0.5]]), np.array([[0, 1, 0, 1]])
    found = analysis.calibration(p, y, bins=2)
    assert found.count.tolist() == [3, 1]  # A half belongs to the lower bin.
    assert found.error == pytest.approx(3 / 4 * abs(1 / 3 - 1 / 3))
    empty = analysis.calibration(p, np.full((1, 4), -1))
    assert empty.error == 0 and empty.count.sum() == 0


def test_counts_and_pairs_are_what_slow_loops_count(scored):
    logits, y = scored
    p = 1 / (1 + np.exp(-logits))
    found = analysis.counts(p, y)
    data = analysis.together(y == 1, y >= 0)
    guessed = analysis.together(p >= 0.5, y >= 0)
    for i in range(5):
        rows = [n for n in range(40) if y[n, i] >= 0]
        assert found.known[i] == len(rows)
        assert found.positive[i] == sum(y[n, i] == 1 for n in rows)
        assert found.predicted[i] == sum(p[n, i] >= 0.5 for n in rows)
        assert found.right[i] == sum(p[n, i] >= 0.5 and y[n, i] == 1 for n in rows)
        for j in range(5):
            both = [n for n in rows if y[n, j] >= 0]
            shown = [n for n in both if y[n, i] == 1]
            assert data.number[i, j] == sum(y[n, j] == 1 for n in shown)
            assert data.rate[i, j] == pytest.approx(np.mean([y[n, j] == 1 for n in shown]))
            shown = [n for n in both if p[n, i] >= 0.5]
            assert guessed.number[i, j] == sum(p[n, j] >= 0.5 for n in shown)
            assert guessed.rate[i, j] == pytest.approx(np.mean([p[n, j] >= 0.5 for n in shown]))


def test_pairs_of_the_data_are_the_librarys_co_occurrence(scored):
    torch = pytest.importorskip('torch')
    from mlsgm_pyg.statistics import co_occurrence

    _, y = scored
    np.testing.assert_allclose(
        analysis.together(y == 1, y >= 0).rate, co_occurrence(torch.from_numpy(y)).numpy(), rtol=1e-6
    )


def test_a_label_that_never_comes_has_no_rate():
    found = analysis.together(np.array([[True, False], [True, False]]), np.ones((2, 2), bool))
    assert found.rate[0].tolist() == [1, 0] and np.isnan(found.rate[1]).all()


def test_losses_are_the_mean_cross_entropy_of_known_labels(scored):
    logits, y = scored
    y[7] = -1
    p = 1 / (1 + np.exp(-logits))
    found = analysis.losses(logits, y)
    for n in range(40):
        each = [-np.log(p[n, c] if y[n, c] == 1 else 1 - p[n, c]) for c in range(5) if y[n, c] >= 0]
        assert np.isnan(found[n]) if n == 7 else found[n] == pytest.approx(np.mean(each))
    assert np.isfinite(analysis.losses(np.array([[900.0, -900.0]]), np.array([[0, 1]]))).all()


def test_confident_mistakes_are_the_worst_of_each_image():
    p = np.array([[0.9, 0.8, 0.1], [0.95, 0.2, 0.3], [0.97, 0.7, 0.9], [0.4, 0.4, 0.4]])
    y = np.array([[0, 0, 1], [1, 0, 1], [-1, 0, 1], [0, 0, 1]])
    assert analysis.wrong(p, y, 9) == [(0, 0, 0.9), (2, 1, 0.7)]  # Unknown labels are no mistake.
    assert analysis.missed(p, y, 9) == [(0, 2, 0.1), (1, 2, 0.3), (3, 2, 0.4)]
    assert analysis.missed(p, y, 1) == [(0, 2, 0.1)]
    assert analysis.wrong(p[:0], y[:0], 3) == []


def test_chosen_images_are_hard_and_random_ones():
    loss = np.array([0.1, 5.0, 0.3, 4.0, np.nan, 0.2, 3.0, 0.4])
    assert analysis.chosen(loss, 8)[:3] == [1, 3, 6] and sorted(analysis.chosen(loss, 8)) == list(range(8))
    some = analysis.chosen(loss, 5)
    assert some[:3] == [1, 3, 6] and len(set(some)) == 5
    assert some == analysis.chosen(loss, 5) and len({tuple(analysis.chosen(loss, 5, seed)) for seed in range(9)}) > 1
    assert analysis.chosen(loss, 0) == []

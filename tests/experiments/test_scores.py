"""Scores: an image counts once, mAP under resampling, the paired interval."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from experiments import scores


def drawn(seed, n=40, labels=4, unknown=True):
    """Scores with many ties, labels with unknown ones, a class without a positive and one hardly seen."""
    rng = np.random.default_rng(seed)
    y = rng.integers(-1 if unknown else 0, 2, (n, labels)).astype(np.int8)
    y[:, 1] = np.minimum(y[:, 1], 0)
    return {'index': np.arange(n), 'y': y, 'graph': rng.integers(-3, 4, (n, labels)) / 2.0 + 0.5 * y}


def slow_map(logits, y):
    """mAP of images that may come several times, by scikit-learn."""
    aps = []
    for c in range(y.shape[1]):
        known = y[:, c] >= 0
        if (y[known, c] == 1).any():
            aps.append(average_precision_score(y[known, c], logits[known, c]))
    return 100 * np.mean(aps)


def test_resampled_map_equals_scikit_learn_on_repeated_images():
    one = drawn(0)
    counts = np.random.default_rng(1).multinomial(40, np.full(40, 1 / 40), size=25)
    values = scores.bootstrap_map(one['graph'], one['y'], counts)
    for value, count in zip(values, counts):
        rows = np.repeat(np.arange(40), count)
        assert value == pytest.approx(slow_map(one['graph'][rows], one['y'][rows]), abs=1e-9)


def test_paired_bootstrap_equals_a_slow_loop():
    labels = drawn(0)
    ours = [labels | {'graph': drawn(seed)['graph'] + 0.3 * labels['y']} for seed in (1, 2)]
    theirs = [labels | {'logits': drawn(seed)['graph']} for seed in (3, 4)]
    found = scores.paired_bootstrap(ours, theirs, ('graph', 'logits'), resamples=60, seed=5)
    counts = np.random.default_rng(5).multinomial(40, np.full(40, 1 / 40), size=60)

    def difference(rows):
        sides = [
            np.mean([slow_map(run[name][rows], labels['y'][rows]) for run in runs])
            for runs, name in ((ours, 'graph'), (theirs, 'logits'))
        ]
        return sides[0] - sides[1]

    drawn_again = [difference(np.repeat(np.arange(40), count)) for count in counts]
    assert found['difference'] == pytest.approx(difference(np.arange(40)), abs=1e-9)
    assert (found['low'], found['high']) == pytest.approx(tuple(np.percentile(drawn_again, [2.5, 97.5])), abs=1e-9)
    assert (found['resamples'], found['images']) == (60, 40)


def test_resamples_come_a_few_at_a_time_and_are_the_same(monkeypatch):
    """All at once, in parts of seven and one by one: the very same numbers, and no part is larger than it may be."""
    runs = [drawn(seed) | {'y': drawn(0)['y']} for seed in (1, 2)]
    counts = np.random.default_rng(3).multinomial(40, np.full(40, 1 / 40), size=25)
    counts = np.concatenate([np.ones((1, 40), dtype=np.int64), counts])
    whole = np.stack([scores.bootstrap_map(run['graph'], run['y'], counts) for run in runs])
    bootstrap, seen = scores.bootstrap_map, []
    monkeypatch.setattr(
        scores, 'bootstrap_map', lambda x, y, counts: seen.append(len(counts)) or bootstrap(x, y, counts)
    )
    for cells, largest in ((scores.CELLS, 25), (7 * 40, 7), (1, 1)):
        monkeypatch.setattr(scores, 'CELLS', cells)
        seen.clear()
        np.testing.assert_array_equal(scores.resampled(runs, 'graph', 25, 3), whole)
        assert max(seen) == largest


def test_a_run_against_itself_differs_by_nothing():
    run = drawn(0)
    found = scores.paired_bootstrap([run], [run], ('graph', 'graph'), resamples=20)
    assert found['difference'] == found['low'] == found['high'] == 0


def test_a_comparison_wants_the_same_images():
    run = drawn(0)
    with pytest.raises(ValueError, match='a paired comparison needs the same images and labels in every run'):
        scores.paired_bootstrap([run], [run | {'index': run['index'] + 1}], ('graph', 'graph'))


def test_metrics_of_scores_equal_scikit_learn():
    run = drawn(7)
    names = ['a', 'b', 'c', 'd']
    found = scores.evaluate(run, 'graph', names, 'non_interpolated', 'threshold')
    assert found['mAP'] == pytest.approx(slow_map(run['graph'], run['y']), abs=1e-9)
    assert found['left_out'] == ['b']


def test_an_image_counts_once_and_comes_in_order(tmp_path):
    metric = scores.Scores(['graph'], 2)
    y, logits = torch.tensor([[1, 0], [0, -1], [1, 1]], dtype=torch.int8), torch.tensor([[0.1, 2], [3, 4], [5, 6]])
    metric.update(torch.tensor([2, 0]), y[[2, 0]], {'graph': logits[[2, 0]]}, torch.tensor([3, 1]))
    metric.update(torch.tensor([1, 2]), y[[1, 2]], {'graph': 0 * logits[[1, 2]]}, torch.tensor([2, 9]))
    out = metric.compute()
    assert out['index'].tolist() == [0, 1, 2] and out['instances'].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(out['y'], y)
    np.testing.assert_array_equal(out['graph'], np.array([[0.1, 2], [0, 0], [5, 6]], dtype=np.float32))
    scores.save(tmp_path / 'scores.npz', out)
    again = scores.load(tmp_path / 'scores.npz')
    assert scores.names_of(again) == ['graph'] and all(np.array_equal(again[key], out[key]) for key in out)
    assert [path.name for path in tmp_path.iterdir()] == ['scores.npz']


def test_the_mean_over_sizes_is_the_mean_of_probabilities():
    rng = np.random.default_rng(0)
    sizes = [
        {'index': np.arange(5), 'instances': np.full(5, k), 'y': drawn(0, 5)['y'], 'graph': rng.normal(size=(5, 4))}
        for k in (1.0, 2.0, 6.0)
    ]
    one = scores.mean_over_sizes(sizes)
    probability = np.mean([1 / (1 + np.exp(-part['graph'])) for part in sizes], axis=0)
    np.testing.assert_allclose(1 / (1 + np.exp(-one['graph'])), probability, rtol=1e-12)
    np.testing.assert_array_equal(one['instances'], np.full(5, 3.0))
    assert scores.mean_over_sizes(sizes[:1]) is sizes[0]
    far = [sizes[0] | {'graph': np.full((5, 4), value)} for value in (800.0, 900.0, -1.0)]  # Their sigmoids round to 1.
    np.testing.assert_allclose(scores.mean_over_sizes(far)['graph'], np.log((2 + 0.2689414) / 0.7310586), rtol=1e-6)


def test_a_resample_without_any_positive_is_left_out_of_the_interval():
    y, logits = np.array([[1], [0], [0]]), np.array([[0.5], [0.9], [0.1]])
    counts = np.array([[1, 1, 1], [0, 2, 1], [2, 1, 0]])
    values = scores.bootstrap_map(logits, y, counts)
    np.testing.assert_allclose(values, [50, np.nan, 100 * 2 / 3])  # Ranked second; never; second and third of three.
    found = scores.interval(np.array([1.0, np.nan, 0.0, 2.0]))
    assert (found['difference'], found['low'], found['high']) == pytest.approx((1.0, 0.05, 1.95))

"""Scores: an image counts once, files, metrics, means over sizes."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from mlsgm_pyg.app.results import scores


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
    again = np.load(tmp_path / 'scores.npz')
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

"""The bootstrap: metrics of the images as often as they come, the difference of two rows, who may be compared."""

from pathlib import Path

import numpy as np
import pytest

from mlsgm_pyg.app.results import bootstrap, scores
from mlsgm_pyg.app.results.bootstrap import NotComparable, Resamples, average_precision, mean_over_classes
from tests.app.results.test_scores import drawn, slow_map

NAMES = ['a', 'b', 'c', 'd']


def counted(resamples, n=40, seed=bootstrap.SEED):
    """How often each image comes, from the definition."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)


def at_hand(seed, table, score='graph', **more):
    """A run whose scores need not be read."""
    out = {'seed': seed, 'folder': f'{score}/{seed}', 'score': score, 'ap': 'non_interpolated', 'top3': 'threshold'}
    return out | {'scores': table} | more


def slow_gain(ours, theirs, resamples):
    """The gain and its interval by scikit-learn, on images that come several times."""

    def difference(rows):
        sides = [
            np.mean([slow_map(run['scores'][run['score']][rows], run['scores']['y'][rows]) for run in runs])
            for runs in (ours, theirs)
        ]
        return sides[0] - sides[1]

    n = len(ours[0]['scores']['y'])
    again = [difference(np.repeat(np.arange(n), count)) for count in counted(resamples, n)]
    return difference(np.arange(n)), *np.percentile(again, [2.5, 97.5])


def test_resampled_map_equals_scikit_learn_on_repeated_images():
    one, counts = drawn(0), counted(25, seed=1)
    values = mean_over_classes(average_precision(one['graph'], one['y'], counts))
    for value, count in zip(values, counts):
        rows = np.repeat(np.arange(40), count)
        assert value == pytest.approx(slow_map(one['graph'][rows], one['y'][rows]), abs=1e-9)


@pytest.mark.parametrize('rule', ['threshold', 'plain'])
def test_each_resample_is_the_metrics_of_its_images(rule):
    """The definition: every image as often as it was drawn, with a number of its own, through the library's metrics."""
    run = drawn(3)
    found = bootstrap.resample(run, {'score': 'graph', 'top3': rule}, resamples=15)
    counts = np.concatenate(list(bootstrap.draws(40, 15)))
    assert found['AP'].shape == (16, 4) and counts.shape == (16, 40) and (counts[0] == 1).all()
    for i, count in enumerate(counts):
        rows = np.repeat(np.arange(40), count)
        again = {'index': np.arange(40), 'y': run['y'][rows], 'graph': run['graph'][rows]}
        expected = scores.evaluate(again, 'graph', NAMES, 'non_interpolated', rule)
        for key in bootstrap.FIGURES:
            assert found[key][i] == pytest.approx(expected[key], abs=1e-9), key
        np.testing.assert_allclose(found['AP'][i], list(expected['AP'].values()), atol=1e-9)


def test_the_gain_equals_a_slow_loop():
    labels = drawn(0)
    ours = [at_hand(seed, labels | {'graph': drawn(seed)['graph'] + 0.3 * labels['y']}) for seed in (1, 2)]
    theirs = [at_hand(seed, labels | {'logits': drawn(seed + 2)['graph']}, 'logits') for seed in (1, 2)]
    found = Resamples(60).gain(ours, theirs)
    assert (found['difference'], found['low'], found['high']) == pytest.approx(slow_gain(ours, theirs, 60), abs=1e-9)
    assert (found['resamples'], found['images']) == (60, 40)


def test_resamples_come_a_few_at_a_time_and_are_the_same(monkeypatch):
    """All at once, in parts of seven and one by one: the very same numbers, and no part is larger than it may be."""
    run, counts = drawn(1), np.concatenate([np.ones((1, 40), dtype=np.int64), counted(25)])
    whole, seen = average_precision(run['graph'], run['y'], counts), []
    monkeypatch.setattr(
        bootstrap, 'average_precision', lambda x, y, counts: seen.append(len(counts)) or average_precision(x, y, counts)
    )
    for cells, largest in ((bootstrap.CELLS, 25), (7 * 40, 7), (1, 1)):
        monkeypatch.setattr(bootstrap, 'CELLS', cells)
        seen.clear()
        found = bootstrap.resample(run, {'score': 'graph'}, ('mAP',), 25)
        np.testing.assert_array_equal(found['AP'], whole)
        np.testing.assert_array_equal(found['mAP'], mean_over_classes(whole))
        assert max(seen) == largest


@pytest.fixture
def kept(tmp_path):
    """Writes the scores of runs, and gives what result.json says of each."""

    def keep(row, seed, lift, images=40, **more):
        folder = tmp_path / row / f'seed{seed}'
        folder.mkdir(parents=True)
        run = drawn(seed, images, unknown=False) | {'y': drawn(0, images, unknown=False)['y']}
        run |= {'graph': run['graph'] + lift * run['y'], 'instances': np.ones(images)}
        scores.save(folder / 'scores.npz', run)
        out = {'seed': seed, 'folder': str(folder), 'score': 'graph', 'ap': 'non_interpolated', 'top3': 'threshold'}
        return out | {'metrics': {'AP': dict.fromkeys(NAMES)}} | more

    return keep


def test_two_rows_differ_on_the_seeds_that_both_have(kept):
    ours, theirs = [kept('a', seed, 1.0) for seed in (0, 1, 2)], [kept('b', seed, 0.5) for seed in (1, 2)]
    found = Resamples(60).paired(ours, theirs)
    sides = [
        [run | {'scores': np.load(Path(run['folder'], 'scores.npz'))} for run in runs] for runs in (ours[1:], theirs)
    ]
    assert (found['seeds'], found['images'], found['resamples']) == ([1, 2], 40, 60)
    gain = found['metrics']['mAP']
    assert (gain['difference'], gain['low'], gain['high']) == pytest.approx(slow_gain(*sides, 60), abs=1e-9)
    assert found['classes'][1] is None  # No image shows it.
    means = [one['difference'] for one in found['classes'] if one]
    assert np.mean(means) == pytest.approx(found['metrics']['mAP']['difference'], abs=1e-9)
    assert found['metrics']['OF1']['difference'] > 0 and found['metrics']['OF1']['low'] > 0
    alone = Resamples(60)
    assert alone.gain(ours, theirs) == gain | {key: found[key] for key in ('resamples', 'images', 'seeds')}
    assert alone.paired(ours, theirs, ('mAP', 'OF1'))['metrics'] == {'mAP': gain, 'OF1': found['metrics']['OF1']}


def test_a_run_against_itself_differs_by_nothing(kept):
    run = [kept('a', 0, 1.0)]
    found = Resamples(20).paired(run, run)
    assert all(one == {'difference': 0, 'low': 0, 'high': 0} for one in found['metrics'].values())


def test_scores_are_read_once(kept, monkeypatch):
    ours, theirs = [kept('a', 0, 1.0)], [kept('b', 0, 0.0)]
    load, seen = bootstrap._scores, []
    monkeypatch.setattr(bootstrap, '_scores', lambda run: seen.append(run) or load(run))
    samples = Resamples(10)
    there, back = (samples.paired(*pair)['metrics']['mAP'] for pair in ((ours, theirs), (theirs, ours)))
    assert there['difference'] == -back['difference'] and there['low'] == pytest.approx(-back['high'])
    assert len(seen) == 2


@pytest.mark.parametrize(
    ('other', 'message'),
    [
        ({'seed': 5}, 'they have no seed in common'),
        ({'images': 39}, r'needs the same images and labels in every run \(got 40 images of 4 classes and 39 images'),
        ({'ap': 'interpolated_11'}, 'intervals are of non-interpolated AP alone'),
    ],
)
def test_not_comparable(kept, other, message):
    ours, theirs = [kept('a', 0, 1.0)], [kept('b', other.pop('seed', 0), 0.0, **other)]
    with pytest.raises(NotComparable, match=message):
        Resamples(10).paired(ours, theirs)
    assert Resamples(10).gains({'b': (ours, theirs), 'a': (ours, ours)})[1].keys() == {'b'}
    (Path(ours[0]['folder']) / 'scores.npz').unlink()
    with pytest.raises(NotComparable, match="there is no '.*scores.npz' any more"):
        Resamples(10).paired(ours, ours)


def test_a_comparison_wants_the_same_images():
    """Of two rows, and of the seeds of one row."""
    run = drawn(0)
    one, other = at_hand(0, run), at_hand(0, run | {'index': run['index'] + 1}, folder='other')
    samples = Resamples(10)
    for compare in (
        lambda: samples.gain([one], [other]),
        lambda: samples.gain([one, other | {'seed': 1}], [one, one | {'seed': 1}]),
    ):
        with pytest.raises(ValueError, match='a paired comparison needs the same images and labels in every run'):
            compare()


def test_a_resample_without_any_positive_is_left_out_of_the_interval():
    y, logits = np.array([[1], [0], [0]]), np.array([[0.5], [0.9], [0.1]])
    counts = np.array([[1, 1, 1], [0, 2, 1], [2, 1, 0]])
    values = mean_over_classes(average_precision(logits, y, counts))
    np.testing.assert_allclose(values, [50, np.nan, 100 * 2 / 3])  # Ranked second; never; second and third of three.
    found = bootstrap.interval(np.array([1.0, np.nan, 0.0, 2.0]))
    assert (found['difference'], found['low'], found['high']) == pytest.approx((1.0, 0.05, 1.95))

"""Resampled metrics: those of the images as often as they come, and the difference of two rows."""

from pathlib import Path

import numpy as np
import pytest

from experiments import resampling, scores
from tests.experiments.test_scores import drawn

NAMES = ['a', 'b', 'c', 'd']


@pytest.mark.parametrize('rule', ['threshold', 'plain'])
def test_each_resample_is_the_metrics_of_its_images(rule):
    """The definition: every image as often as it was drawn, with a number of its own, through the library's metrics."""
    run = drawn(3)
    found = resampling.resample(run, 'graph', rule, resamples=15)
    counts = np.concatenate(list(scores.draws(40, 15, resampling.SEED)))
    assert found['AP'].shape == (16, 4) and counts.shape == (16, 40) and (counts[0] == 1).all()
    for i, count in enumerate(counts):
        rows = np.repeat(np.arange(40), count)
        again = {'index': np.arange(40), 'y': run['y'][rows], 'graph': run['graph'][rows]}
        expected = scores.evaluate(again, 'graph', NAMES, 'non_interpolated', rule)
        for key in resampling.FIGURES:
            assert found[key][i] == pytest.approx(expected[key], abs=1e-9), key
        np.testing.assert_allclose(found['AP'][i], list(expected['AP'].values()), atol=1e-9)


@pytest.fixture
def kept(tmp_path):
    """Writes the scores of runs, and gives what result.json says of each."""

    def keep(row, seed, lift, images=40, **more):
        folder = tmp_path / row / f'seed{seed}'
        folder.mkdir(parents=True)
        run = drawn(seed, images, unknown=False) | {'y': drawn(0, images, unknown=False)['y']}
        run['graph'] = run['graph'] + lift * run['y']
        scores.save(folder / 'scores.npz', run)
        out = {'seed': seed, 'folder': str(folder), 'score': 'graph', 'ap': 'non_interpolated', 'top3': 'threshold'}
        return out | more

    return keep


def test_the_difference_of_two_rows_is_that_of_the_paired_bootstrap(kept):
    ours, theirs = [kept('a', seed, 1.0) for seed in (0, 1, 2)], [kept('b', seed, 0.5) for seed in (1, 2)]
    found = resampling.Resamples(200).paired(ours, theirs)
    sides = [[scores.load(Path(run['folder']) / 'scores.npz') for run in runs] for runs in (ours[1:], theirs)]
    expected = scores.paired_bootstrap(*sides, ('graph', 'graph'), resamples=200)
    assert (found['seeds'], found['images'], found['resamples']) == ([1, 2], 40, 200)
    for key in ('difference', 'low', 'high'):
        assert found['metrics']['mAP'][key] == pytest.approx(expected[key], abs=1e-9)
    assert found['classes'][1] is None  # No image shows it.
    means = [one['difference'] for one in found['classes'] if one]
    assert np.mean(means) == pytest.approx(found['metrics']['mAP']['difference'], abs=1e-9)
    assert found['metrics']['OF1']['difference'] > 0 and found['metrics']['OF1']['low'] > 0


def test_a_run_against_itself_differs_by_nothing(kept):
    run = [kept('a', 0, 1.0)]
    found = resampling.Resamples(20).paired(run, run)
    assert all(one == {'difference': 0, 'low': 0, 'high': 0} for one in found['metrics'].values())


def test_scores_are_read_once(kept, monkeypatch):
    ours, theirs = [kept('a', 0, 1.0)], [kept('b', 0, 0.0)]
    load, seen = scores.load_run, []
    monkeypatch.setattr(scores, 'load_run', lambda folder: seen.append(folder) or load(folder))
    samples = resampling.Resamples(10)
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
    with pytest.raises(scores.NotComparable, match=message):
        resampling.Resamples(10).paired(ours, theirs)
    (Path(ours[0]['folder']) / 'scores.npz').unlink()
    with pytest.raises(scores.NotComparable, match="there is no '.*scores.npz' any more"):
        resampling.Resamples(10).paired(ours, ours)

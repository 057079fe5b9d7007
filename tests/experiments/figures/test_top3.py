"""Figure 6: the three highest labels, counted by hand."""

import numpy as np
import pytest

from experiments.figures import top3


def test_top_and_found_by_hand():
    p = np.array([[0.1, 0.9, 0.5, 0.4], [0.3, 0.3, 0.3, 0.3]])
    labels = top3.top(p)
    assert labels.tolist() == [[1, 2, 3], [0, 1, 2]]  # Of equal ones the first.
    y = np.array([[1, 1, 0, 1], [0, 0, 0, 1]])
    assert top3.found(labels, y) == (2, 4)  # Three and one are there; labels 1 and 3 of the first image are named.
    assert top3.found(labels, np.array([[1, 1, 1, 1], [-1, -1, 0, 0]])) == (3, 3)


@pytest.mark.slow
def test_the_figure_from_two_runs(scored, draw_figure):
    ours, theirs = scored(), scored(row='digits_baseline', seed=1)
    told, sizes = draw_figure('6', ours.folder, theirs.folder, '--number', 5)
    for run in (ours, theirs):
        right = sum(run.y[i, c] == 1 for i in range(30) for c in sorted(range(10), key=lambda c: -run.p[i, c])[:3])
        could = sum(min(3, (row == 1).sum()) for row in run.y)
        assert f'{run.name}: {right} of the {could} labels that three an image can name' in told.out
    assert sizes['figure6'] == pytest.approx((4 * top3.CELL + 0.1, 0.42 + 2 * (top3.PICTURE + top3.BELOW)), abs=0.01)
    first = {path.name: path.read_bytes() for path in (ours.folder.parents[2] / 'out').iterdir()}
    draw_figure('6', ours.folder, theirs.folder, '--number', 5)
    assert first == {path.name: path.read_bytes() for path in (ours.folder.parents[2] / 'out').iterdir()}


def test_images_on_which_the_two_differ(scored):
    import argparse

    ours, theirs = scored(), scored(row='digits_baseline', seed=1)
    parser = argparse.ArgumentParser()
    top3.arguments(parser)
    tops = [top3.top(run.p) for run in (ours, theirs)]
    found = top3.chosen(ours, tops, parser.parse_args(['a', 'b', '--differ', '--number', '30']))
    expected = [i for i in range(30) if set(tops[0][i]) != set(tops[1][i]) and (ours.y[i] == 1).sum() >= 2]
    assert sorted(found) == expected and 0 < len(expected) < 30
    assert top3.line(ours, 0, 3).split()[0] == ('✓' if ours.y[0, 3] == 1 else '✗')

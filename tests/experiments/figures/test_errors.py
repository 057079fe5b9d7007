"""Figure 5: the step that lost a label, against the definition and against CSAC's own selection."""

import numpy as np
import pytest
import torch

from experiments.figures import choose, errors
from mlsgm_pyg.csac import CSAC, CSACOutput


def slow_missed(run, gamma, most):
    out = np.zeros(run.y.shape, dtype=int)
    graph, csac = ((1 / (1 + np.exp(-run.scores[kind]))) for kind in ('graph', 'csac'))
    for i in range(len(run.y)):
        ranked = sorted(range(run.y.shape[1]), key=lambda c: (-csac[i, c], c))
        for c in range(run.y.shape[1]):
            if run.y[i, c] == 1 and graph[i, c] < 0.5:
                if csac[i, c] <= gamma:
                    out[i, c] = errors.BELOW_GAMMA
                elif ranked.index(c) >= most:
                    out[i, c] = errors.NO_PLACE
                else:
                    out[i, c] = errors.UNMATCHED
    return out


def test_the_step_that_lost_a_label(scored):
    run = scored('model.gamma=0.4', 'model.max_instances=3')
    lost = errors.missed(run)
    np.testing.assert_array_equal(lost, slow_missed(run, 0.4, 3))
    assert set(np.unique(lost)) == {0, errors.BELOW_GAMMA, errors.NO_PLACE, errors.UNMATCHED}  # All of them occur.


def test_a_label_without_an_instance_is_one_that_csac_does_not_select(scored):
    run = scored('model.gamma=0.4', 'model.max_instances=3')
    csac = CSAC(4, run.y.shape[1], gamma=0.4, max_instances=3)
    n = len(run.y)
    logits = torch.from_numpy(run.scores['csac']).float()
    instances = csac.select(torch.rand(n, 4, 2, 2), CSACOutput(torch.randn(n, run.y.shape[1], 2, 2), logits))
    selected = np.zeros(run.y.shape, dtype=bool)
    for image, label in zip(instances.batch.tolist(), instances.label.tolist()):
        if label >= 0:
            selected[image, label] = True
    lost = errors.missed(run)
    np.testing.assert_array_equal(selected[lost > 0], lost[lost > 0] == errors.UNMATCHED)


def test_a_model_without_instances_misses_by_its_probability_alone(scored):
    run = scored(row='digits_baseline')
    lost = errors.missed(run)
    np.testing.assert_array_equal(lost > 0, (run.y == 1) & (run.p < 0.5))
    assert set(np.unique(lost)) == {0, errors.UNMATCHED}
    assert not any('CSAC' in line.text for i in range(len(run.y)) for line in errors.lines(run, lost, i))


def test_the_lines_below_a_picture_name_every_error_and_the_truth(scored):
    run = scored('model.gamma=0.4', 'model.max_instances=3')
    lost = errors.missed(run)
    for i in range(len(run.y)):
        lines = errors.lines(run, lost, i)
        text = [line.text for line in lines]
        assert len(lines) <= errors.ROWS
        wrong = [c for c in range(10) if run.y[i, c] == 0 and run.p[i, c] >= 0.5]
        missed = [c for c in range(10) if lost[i, c]]
        if len(wrong) + 2 * len(missed) <= errors.ROWS - 1:
            assert sum(line.startswith('✗') for line in text) == len(wrong)
            assert sum(line.startswith('○') for line in text) == len(missed)
        assert text[-1].startswith('truth: ')
    image, label = np.argwhere(lost == errors.BELOW_GAMMA)[0]
    p = run.probabilities('csac')[image]
    assert errors.reason(run, errors.BELOW_GAMMA, p, label) == f'CSAC {p[label]:.2f} ≤ γ 0.4'
    image, label = np.argwhere(lost == errors.NO_PLACE)[0]
    p = run.probabilities('csac')[image]
    place = 1 + sorted(range(10), key=lambda c: -p[c]).index(label)
    assert errors.reason(run, errors.NO_PLACE, p, label) == f'CSAC {p[label]:.2f}, but no. {place} of 3'


def test_the_figure_from_a_run(scored, draw_figure):
    run = scored('model.gamma=0.4', 'model.max_instances=3')
    told, sizes = draw_figure('5', run.folder, '--number', 3)
    lost, wrong = slow_missed(run, 0.4, 3), (run.y == 0) & (run.p >= 0.5)
    assert f'{wrong.sum()} wrong and {(lost > 0).sum()} missed of {(run.y == 1).sum()} labels on 30 images' in told.out
    assert f'{(lost == errors.BELOW_GAMMA).sum()} no instance: CSAC ≤ γ = 0.4' in told.out
    width, height = sizes['figure5']
    assert width == pytest.approx(3 * errors.CELL + 0.2, abs=0.01) and height > 2 * errors.PICTURE


def test_examples_are_of_the_label_that_is_wrong_or_missed_most_often_or_of_the_one_named(scored):
    run = scored('model.gamma=0.4', 'model.max_instances=3')
    lost, wrong = errors.missed(run), errors.wrong_labels(run)

    def rows(*words):
        import argparse

        parser = argparse.ArgumentParser()
        errors.arguments(parser)
        return errors.rows_of(run, lost, wrong, parser.parse_args(['run', *words]))

    (title, images), (_, missed) = rows()
    label = int(wrong.sum(0).argmax())
    assert title == f'“{run.class_names[label]}”, wrong in {wrong[:, label].sum()} of 30 images'
    assert wrong[images, label].all() and len(set(images)) == len(images) == min(5, wrong[:, label].sum())
    assert (lost[missed, int((lost > 0).sum(0).argmax())] > 0).all()
    assert rows('--seed', '0') == rows() != rows('--seed', '1')
    (_, named), _ = rows('--labels', 'two', 'three')
    assert wrong[named, 2].all()
    assert rows('--images', choose.files(run)[4], choose.files(run)[2]) == [('', [4, 2])]

"""Base and novel classes, and the drawing of examples."""

import re

import pytest
import torch

from mlsgm_pyg.datasets import (
    COCO_NOVEL,
    LabelledImages,
    draw_novel,
    draw_shots,
    select_classes,
    split_classes,
    without_classes,
)
from mlsgm_pyg.datasets.partial import random_keys

NAMES = ['bus', 'boat', 'car', 'bird', 'dog', 'stop sign']


class Photos(LabelledImages):
    def __init__(self, n=60, seed=0):
        generator = torch.Generator().manual_seed(seed)
        chance = torch.tensor([0.3, 0.1, 0.9, 0.2, 0.3, 0.05])
        self.y = (torch.rand(n, 6, generator=generator) < chance).to(torch.int8)
        self.y[torch.rand(n, 6, generator=generator) < 0.1] = -1
        self.class_names, self.files = NAMES, [f'{i}.jpg' for i in range(n)]


def test_the_papers_novel_classes_of_coco():
    assert len(COCO_NOVEL) == len(set(COCO_NOVEL)) == 16
    printed = (  # Section IV-F.
        'bicycle, boat, stop sign, bird, backpack, frisbee, snowboard, surfboard, cup, fork, spoon, broccoli, chair, '
        'keyboard, microwave, and vase'
    )
    assert list(COCO_NOVEL) == re.split(r', (?:and )?', printed)


def test_base_and_novel_classes_keep_the_data_sets_order():
    assert split_classes(NAMES, ['dog', 'bus']) == (['boat', 'car', 'bird', 'stop sign'], ['bus', 'dog'])


@pytest.mark.parametrize(
    ('novel', 'message'),
    [
        (['bsu'], "there is no class 'bsu' to be novel (did you mean 'bus'?)"),
        (['bus', 'bus'], 'a novel class is named once (got bus, bus)'),
        ([], 'of 6 classes, at least one must be novel and one base (got 0)'),
        (NAMES, 'of 6 classes, at least one must be novel and one base (got 6)'),
    ],
)
def test_a_wrong_split(novel, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        split_classes(NAMES, novel)


def test_drawn_novel_classes():
    names = [f'object {i}' for i in range(500)]  # Visual Genome 500: 400 base and 100 novel classes.
    base, novel = split_classes(names, draw_novel(names, 100))
    assert (len(base), len(novel)) == (400, 100) and set(base) | set(novel) == set(names)
    assert draw_novel(names[::-1], 100) == novel[::-1]  # By name, whatever their order.
    assert draw_novel(names, 100, seed=1) != novel
    assert set(draw_novel(names, 10)) < set(novel)
    for number in (0, 500):
        with pytest.raises(ValueError, match=rf'of 500 classes, 1 to 499 can be novel \(got {number}\)'):
            draw_novel(names, number)


def test_selected_classes_are_columns_by_name():
    source = Photos()
    chosen = select_classes(source, ['dog', 'bus'])
    assert chosen.class_names == ['dog', 'bus'] and chosen.files == source.files
    assert torch.equal(chosen.y[:, 0], source.y[:, 4]) and torch.equal(chosen.y[:, 1], source.y[:, 0])
    chosen.y.fill_(0)
    assert source.y.any()  # A copy.


def test_images_without_classes():
    source = Photos()
    expected = [i for i in range(60) if source.y[i, 1] != 1 and source.y[i, 4] != 1]
    assert without_classes(source, ['boat', 'dog']) == expected and 0 < len(expected) < 60


@pytest.mark.parametrize('shots', [1, 2, 5, 100])
@pytest.mark.parametrize('seed', range(4))
def test_every_class_has_its_number_of_examples(shots, seed):
    source = Photos()
    chosen = draw_shots(source.y, source.files, shots, seed)
    assert chosen == sorted(set(chosen))
    count, there = (source.y[chosen] == 1).sum(0), (source.y == 1).sum(0)
    assert (count >= there.clamp(max=shots)).all()  # K, or all there are.
    assert all((source.y[i] == 1).any() for i in chosen)


def slow_draw(source, shots, order):
    """The rule as it is written: the rarest class first, images that are there count."""
    chosen = []
    for c in sorted(range(6), key=lambda c: (int((source.y[:, c] == 1).sum()), c)):
        for i in order:
            have = sum(int(source.y[j, c] == 1) for j in chosen)
            if have < shots and source.y[i, c] == 1 and i not in chosen:
                chosen.append(i)
    return sorted(chosen)


def test_the_draw_follows_its_rule():
    source = Photos()
    order = sorted(range(60), key=lambda i: int(random_keys(source.files, 3, 'shot')[i]))
    for shots in (1, 3):
        assert draw_shots(source.y, source.files, shots, 3) == slow_draw(source, shots, order)


def test_a_draw_depends_on_the_seed_and_the_names_only():
    source = Photos()
    first = draw_shots(source.y, source.files, 2, 0)
    torch.rand(3)
    assert draw_shots(source.y, source.files, 2, 0) == first
    assert len({tuple(draw_shots(source.y, source.files, 2, seed)) for seed in range(6)}) > 3
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1)).tolist()
    files = [source.files[i] for i in order]
    shuffled = draw_shots(source.y[order], files, 2, 0)
    assert sorted(files[i] for i in shuffled) == sorted(source.files[i] for i in first)


def test_draws_are_fair():
    """Of a class that ten images show alone, each is drawn about as often as the others (5 sigma)."""
    y, files = torch.ones(10, 1, dtype=torch.int8), [f'{i}.jpg' for i in range(10)]
    counts = torch.zeros(10)
    for seed in range(1000):
        counts[draw_shots(y, files, 1, seed)] += 1
    assert (counts - 100).abs().max() < 5 * (1000 * 0.1 * 0.9) ** 0.5


def test_nothing_to_draw():
    y = torch.tensor([[1, 0, -1], [1, 0, 0]])
    with pytest.raises(ValueError, match=r'2 of 3 novel classes have no example to draw: numbers \[1, 2\]'):
        draw_shots(y, ['a', 'b'], 1)
    with pytest.raises(ValueError, match=r"'shots' is the number of examples of each class, at least 1 \(got 0\)"):
        draw_shots(y, ['a', 'b'], 0)

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from sklearn.datasets import load_digits

from mlsgm_pyg.datasets import Digits, digits
from mlsgm_pyg.statistics import co_occurrence


@pytest.fixture(scope='module')
def scenes():
    return Digits('train', num_images=600, seed=3)


def test_scenes_are_labelled_images(scenes):
    assert scenes.class_names == ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine']
    image = scenes.image(4)
    assert image.mode == 'RGB' and image.size == (96, 96)
    np.testing.assert_array_equal(np.asarray(image), scenes.images[4])
    assert len(scenes) == len(set(scenes.files)) == 600
    assert scenes.y.shape == (600, 10) and scenes.y.dtype == torch.int8
    assert str(scenes) == 'Digits(600, num_classes=10)'
    assert len(Digits('test', size=32)) == 500


def test_a_scene_depends_on_seed_split_and_number_only(scenes):
    again = Digits('train', num_images=8, seed=3)  # Also: fewer than are drawn at a time.
    np.testing.assert_array_equal(again.images, scenes.images[:8])
    assert torch.equal(again.y, scenes.y[:8])
    for other in (Digits('train', num_images=8, seed=4), Digits('test', num_images=8, seed=3)):
        assert not (other.images == again.images).all((1, 2, 3)).any()
        assert not torch.equal(other.y, again.y)
    small = Digits('train', 48, 8, seed=3)
    assert small.images.shape == (8, 48, 48, 3) and torch.equal(small.y, again.y)


def test_the_same_scenes_are_drawn_once_and_nobody_writes_them():
    first, again = (Digits('train', num_images=6, seed=5) for _ in range(2))
    assert again.images is first.images and again.y is not first.y
    with pytest.raises(ValueError, match='read-only'):
        again.images[0] = 0
    again.y.zero_()
    assert first.y.sum() > 0 and Digits('train', num_images=6, seed=5).y.sum() > 0


def test_training_and_test_use_different_digits():
    (train, train_class), (test, test_class) = digits.glyph_bank('train'), digits.glyph_bank('test')
    bank = {}
    for name, glyphs, classes in (('train', train, train_class), ('test', test, test_class)):
        real = glyphs[: len(classes), 1:-1, 1:-1]
        bank[name] = {(c, (g * 16).round().astype(int).tobytes()) for g, c in zip(real, classes)}
        assert set(classes) == set(range(10))
    data = load_digits()
    everything = {(c, image.astype(int).tobytes()) for c, image in zip(data.target, data.images)}
    assert not bank['train'] & bank['test']
    assert bank['train'] | bank['test'] == everything


def test_labels_have_the_structure_described(scenes):
    num = scenes.y.sum(1)
    assert num.min() == 1 and num.max() == 4
    for a, b in digits.EXCLUSIVE:
        assert not (scenes.y[:, a] & scenes.y[:, b]).any()
        assert not any({a, b} <= set(theme) for theme in digits.THEMES)
    table = co_occurrence(scenes.y)
    friends = {(i, j) for theme in digits.THEMES for i in theme for j in theme if i != j}
    strangers = {(i, j) for i in range(10) for j in range(10) if i != j} - friends
    assert min(table[pair] for pair in friends) > 3 * max(table[pair] for pair in strangers)
    assert scenes.y.sum(0).min() > 50


def test_labels_are_what_is_painted(monkeypatch):
    """The glyphs that changed pixels, each in its own cell, are real digits of the scene's labels, or clutter."""
    labels = []
    draw_labels = digits.draw_labels
    monkeypatch.setattr(digits, 'draw_labels', lambda draw: labels.append(draw_labels(draw)) or labels[-1])
    painted = []
    paint = digits.paint

    def spy(draw, canvas, glyphs, visible, cell, *args, **options):
        before = canvas.copy()
        where = paint(draw, canvas, glyphs, visible, cell, *args, **options)
        painted.append((glyphs, visible, cell, abs(canvas - before).max(3)))
        return where

    monkeypatch.setattr(digits, 'paint', spy)
    digits.all_scenes.cache_clear()  # Or scenes that another test had drawn are taken.
    scenes = Digits('train', num_images=20)
    bank, classes = digits.glyph_bank('train')
    real = {glyph.tobytes(): c for glyph, c in zip(bank[: len(classes)], classes)}
    found = [[] for _ in range(20)]
    cells = [[] for _ in range(20)]
    for glyphs, visible, cell, change in painted:
        for i in range(20):
            assert bool(visible[i]) == bool(change[i].max() > 0)
            if visible[i]:
                label = real.get(glyphs[i].tobytes())
                found[i] += [] if label is None else [label]
                cells[i].append(cell[i])
                row, column = (np.argwhere(change[i] > change[i].max() / 3).mean(0) / 32).clip(0, 2.99).astype(int)
                assert abs(row - cell[i] // 3) <= 1 and abs(column - cell[i] % 3) <= 1
    for i in range(20):
        assert sorted(found[i]) == sorted(labels[0][i][labels[0][i] >= 0])
        assert set(found[i]) == set(scenes.y[i].nonzero().flatten().tolist()) and 1 <= len(found[i]) <= 5
        assert len(set(cells[i])) == len(cells[i])  # One piece a cell.


def test_bilinear_sampling_equals_scipy():
    rng = np.random.default_rng(0)
    glyphs = np.pad(rng.random((4, 8, 8)), ((0, 0), (1, 1), (1, 1)))
    y, x = rng.uniform(-3, 12, (2, 4, 6, 5))
    out = digits.sample(glyphs, y, x)
    for i in range(4):
        inside = map_coordinates(glyphs[i], [y[i], x[i]], order=1, mode='constant')
        np.testing.assert_allclose(out[i], inside, atol=2e-3)  # 8.999 stands for 9 at the far border.


def test_errors():
    with pytest.raises(ValueError, match=r"'split' must be one of train, test \(got 'val'\)"):
        Digits('val')
    with pytest.raises(ValueError, match=r"'size' must be at least 32 pixels \(got 31\)"):
        Digits(size=31)
    with pytest.raises(ValueError, match=r"'num_images' must be at least 1 \(got 0\)"):
        Digits(num_images=0)

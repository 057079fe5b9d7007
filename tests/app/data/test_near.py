"""Pictures that look alike: the hash bit by bit, what does not change it, and the pairs as a slow loop finds them."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from mlsgm_pyg.app.data import near


def photograph(seed, size=(240, 180)):
    """Something smooth: a few colours blown up."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def saved_anew(image):
    file = io.BytesIO()
    image.save(file, 'JPEG', quality=60)
    return Image.open(file).convert('RGB')


TWINS = {
    'saved anew': saved_anew,
    'half': lambda image: image.resize((image.width // 2, image.height // 2)),
    'brighter': lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    'without its border': lambda image: image.crop((5, 4, image.width - 5, image.height - 4)),
}


def bits(a, b):
    return bin(int(a) ^ int(b)).count('1')


def test_the_hash_bit_by_bit():
    pictures = np.random.default_rng(0).integers(0, 3, (5, 8, 9), dtype=np.uint8)  # With equal neighbours.
    for picture, found in zip(pictures, near.dhash(pictures), strict=True):
        steps = [picture[y, x + 1] > picture[y, x] for y in range(8) for x in range(8)]
        assert found == sum(1 << (63 - k) for k, step in enumerate(steps) if step)


@pytest.mark.parametrize('twin', TWINS.values(), ids=TWINS)
def test_what_hardly_changes_it(twin):
    for seed in range(20):
        images = photograph(seed), twin(photograph(seed)), photograph(seed + 100)
        first, second, other = near.dhash(np.array([near.small(image) for image in images]))
        assert bits(first, second) <= near.BITS < bits(first, other)


def slow(pictures, content, parts):
    """Every picture's best among all others, one by one."""
    hashes, grey = near.dhash(pictures), pictures.reshape(len(pictures), -1).astype(float)
    out = set()
    for i in range(len(pictures)):
        fitting = [
            (parts[i] == parts[j], bits(hashes[i], hashes[j]), j)
            for j in range(len(pictures))
            if content[i] != content[j]
            and hashes[i] != 0 != hashes[j]
            and bits(hashes[i], hashes[j]) <= near.BITS
            and np.corrcoef(grey[i], grey[j])[0, 1] >= near.ALIKE
        ]
        if fitting:
            within, d, j = min(fitting)
            out.add((within, d, min(i, j), max(i, j)))
    return [(i, j, d) for _, d, i, j in sorted(out)]


def test_pairs_are_those_of_a_slow_loop(monkeypatch):
    rng = np.random.default_rng(1)
    kinds = rng.integers(0, 256, (12, 8, 9))
    noise = rng.normal(0, 12, (90, 8, 9))
    pictures = np.clip(kinds[rng.integers(12, size=90)] + noise, 0, 255).astype(np.uint8)
    pictures[7] = pictures[8] = 9  # Flat, both.
    pictures[5] = pictures[6]
    content = [str(i if i != 5 else 6) for i in range(90)]
    parts = rng.choice(['train', 'val'], 90).tolist()
    wanted = slow(pictures, content, parts)
    for block in (1, 32, 1000):
        monkeypatch.setattr(near, 'BLOCK', block)
        assert near.near(pictures, content, parts) == wanted
    across = [parts[i] != parts[j] for i, j, _ in wanted]
    assert across == sorted(across, reverse=True) and {True, False} == set(across)


def test_planted_twins_are_found_and_nothing_else():
    images = [photograph(seed) for seed in range(40)]
    twins = [twin(images[i]) for i, twin in zip(range(12), itertools.cycle(TWINS.values()))]
    flat = [Image.new('RGB', (50, 40), (v, v, v)) for v in (0, 90, 255)]
    pictures = np.array([near.small(image) for image in images + twins + flat])
    parts = ['train'] * 40 + ['val'] * 12 + ['train', 'val', 'val']
    found = near.near(pictures, [str(i) for i in range(55)], parts)
    assert sorted((i, j) for i, j, _ in found) == [(i, 40 + i) for i in range(12)]
    assert near.near(pictures[:0], [], []) == []

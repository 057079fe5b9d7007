"""Hidden labels: how many, which ones, and that nothing but seed, image and class decides."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, get_worker_info

from mlsgm_pyg.datasets import LabelledImages, Relabelled, hide_labels
from mlsgm_pyg.datasets.partial import hidden, random_keys

ROOT = Path(__file__).resolve().parents[2]
TENTHS = [i / 10 for i in range(1, 11)]


class Photos(LabelledImages):
    """Labels without files: 37 images of 7 classes, some labels unknown from the start."""

    def __init__(self, order=None, columns=None):
        y = torch.randint(-1, 2, (37, 7), generator=torch.Generator().manual_seed(0), dtype=torch.int8)
        y[:, :4].clamp_(min=0)
        order, columns = order or list(range(37)), columns or list(range(7))
        self.y = y[order][:, columns]
        self.files = [f'{i}.jpg' for i in order]
        self.class_names = [f'class {c}' for c in columns]

    def image(self, index):
        return Image.new('RGB', (4, 4), (int(self.files[index][:-4]), 0, 0))


def known_of(source):
    """The known labels by name, whatever their order."""
    rows = source.y.tolist()
    return {
        (file, name): value
        for file, row in zip(source.files, rows)
        for name, value in zip(source.class_names, row)
        if value >= 0
    }


@pytest.mark.parametrize('known', [0.01, 0.1, 1 / 3, 0.5, 0.999, 1.0])
def test_the_known_part_is_exact_to_one_label(known):
    source = Photos()
    total = int((source.y >= 0).sum())
    assert 0 < total < source.y.numel()
    masked = hide_labels(source, known)
    assert int((masked.y >= 0).sum()) == round(known * total)
    kept = masked.y >= 0
    assert torch.equal(masked.y[kept], source.y[kept])  # What stays keeps its value; nothing unknown became known.


def test_the_source_stays_as_it_is():
    source = Photos()
    before = source.y.clone()
    masked = hide_labels(source, 0.5)
    assert torch.equal(source.y, before) and masked.files == source.files
    assert masked.image(3).getpixel((0, 0)) == source.image(3).getpixel((0, 0)) == (3, 0, 0)


def test_what_is_known_stays_known_at_larger_proportions():
    parts = [known_of(hide_labels(Photos(), known)) for known in TENTHS]
    for small, large in zip(parts, parts[1:]):
        assert small.items() < large.items()
    assert parts[-1] == known_of(Photos())


def test_neither_the_order_of_images_nor_of_classes_matters():
    order, columns = torch.randperm(37).tolist(), torch.randperm(7).tolist()
    shuffled = Photos(order, columns)
    assert shuffled.files != Photos().files
    assert known_of(hide_labels(shuffled, 0.4, 5)) == known_of(hide_labels(Photos(), 0.4, 5))


def test_another_seed_is_another_mask_and_the_same_seed_the_same():
    first, again, other = (hide_labels(Photos(), 0.5, seed) for seed in (0, 0, 1))
    assert torch.equal(first.y, again.y) and not torch.equal(first.y, other.y)
    torch.rand(3)  # Random numbers drawn elsewhere change nothing.
    assert torch.equal(hide_labels(Photos(), 0.5).y, first.y)


def test_labels_are_hidden_alike_in_every_image_and_class():
    """On 4,000 labels an image and 400 a class the known part is the proportion, up to chance (5 sigma)."""
    y = torch.zeros(400, 4000, dtype=torch.int8)
    kept = ~hidden(y, [f'{i}.jpg' for i in range(400)], [f'{c}' for c in range(4000)], 0.3)
    sigma = (0.3 * 0.7) ** 0.5
    assert (kept.double().mean(1) - 0.3).abs().max() < 5 * sigma / 4000**0.5
    assert (kept.double().mean(0) - 0.3).abs().max() < 5 * sigma / 400**0.5
    corr = torch.corrcoef(kept.double()[:50])  # An image's labels say nothing of the next image's.
    assert corr.fill_diagonal_(0).abs().max() < 5 / 4000**0.5


class HiddenInside(Dataset):
    """Hides the labels in the process that reads them, once in each."""

    def __init__(self):
        self.masked = None

    def __len__(self):
        return 37

    def __getitem__(self, index):
        if self.masked is None:
            self.masked = hide_labels(Photos(), 0.4)
        return self.masked.y[index], get_worker_info().id


@pytest.mark.parametrize('workers', [1, 2, 4])
def test_worker_processes_hide_the_same_labels(workers):
    source = HiddenInside()
    batches = list(DataLoader(source, batch_size=5, num_workers=workers))
    assert source.masked is None  # Nothing was hidden in this process.
    assert {worker for _, workers_of in batches for worker in workers_of.tolist()} == set(range(workers))
    assert torch.equal(torch.cat([y for y, _ in batches]), hide_labels(Photos(), 0.4).y)


@pytest.mark.slow
def test_two_processes_agree():
    """With another hash seed: nothing hangs on Python's own hashes."""
    code = (
        'import hashlib, torch; from mlsgm_pyg.datasets.partial import hidden; '
        "mask = hidden(torch.zeros(20, 5), [f'{i}' for i in range(20)], list('abcde'), 0.3, 7); "
        'print(hashlib.sha256(mask.numpy().tobytes()).hexdigest())'
    )
    mask = hidden(torch.zeros(20, 5), [f'{i}' for i in range(20)], list('abcde'), 0.3, 7)
    here = hashlib.sha256(mask.numpy().tobytes()).hexdigest()
    env = dict(os.environ, PYTHONHASHSEED='1')
    command = [sys.executable, '-W', 'ignore', '-c', code]
    found = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == here


def test_keys_are_fixed_for_good():
    """The first bytes of BLAKE2b of 'file 0 a', and of 'class 1 a': masks of other versions must be the same."""
    assert random_keys(['a'])[0] == 0xC86735AFE641A338
    assert random_keys(['a'], 1, 'class')[0] == 0xD16D776FA429493


@pytest.mark.parametrize('known', [0, -0.1, 1.1, float('nan')])
def test_a_proportion_outside_its_range(known):
    with pytest.raises(ValueError, match=r"'known' is the part of the labels that stays known, in \(0, 1\] \(got"):
        hide_labels(Photos(), known)


def test_a_proportion_of_no_label():
    total = int((Photos().y >= 0).sum())
    with pytest.raises(ValueError) as error:
        hide_labels(Photos(), 0.4 / total)
    assert str(error.value) == (
        f"'known' leaves no label to learn from: at least one of the {total} known labels must stay known "
        f'(got {0.4 / total}, which rounds to none)'
    )
    assert int((hide_labels(Photos(), 0.6 / total).y >= 0).sum()) == 1


def test_other_labels_must_fit_the_images():
    source = Photos()
    with pytest.raises(ValueError, match=r'one column a class: expected shape \[37, 2\] \(got \[37, 3\]\)'):
        Relabelled(source, ['a', 'b'], source.y[:, :3])

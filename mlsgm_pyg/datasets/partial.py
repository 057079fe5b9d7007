"""Hides labels of a training set: multi-label recognition with partial labels (paper, Section III-E b)."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from mlsgm_pyg.datasets.base import LabelledImages, Relabelled

ROWS = 4096  # Images whose labels are looked at together.


def hide_labels(source: LabelledImages, known: float, seed: int = 0) -> Relabelled:
    """The same images, of whose labels only a part is known; see :func:`hidden`.

    Args:
        source (LabelledImages): The whole training set: a mask of a part of it is another mask.
        known (float): Part of the labels that stays known, in (0, 1].
        seed (int): Seed of the mask. (default: :obj:`0`)
    """
    y = source.y.clone()
    y[hidden(y, source.files, source.class_names, known, seed)] = -1
    return Relabelled(source, source.class_names, y)


def hidden(y: Tensor, files: Sequence[str], class_names: Sequence[str], known: float, seed: int = 0) -> Tensor:
    r"""Which labels are to be hidden so that :obj:`round(known * n)` of the :math:`n` known ones stay.

    Every label has a random key that depends on the seed, the image's name and the class's name only, and the labels
    with the smallest keys stay. So one mask goes over the whole label matrix (images have more and fewer known labels,
    some perhaps none), what stays at 10 % stays at 20 %, and neither the order of images and classes nor the number of
    processes matters.

    Args:
        y (Tensor): Labels in :math:`\{1, 0, -1\}`; those that are unknown already (-1) are not counted.
        files (sequence of str): Name of each image, all different.
        class_names (sequence of str): Name of each class, all different.
        known (float): Part of the known labels that stays, in (0, 1].
        seed (int): Seed of the mask. (default: :obj:`0`)

    Shapes:
        - **inputs:** :obj:`y` :math:`(n, C)`
        - **output:** :math:`(n, C)`, :obj:`bool`

    Raises:
        ValueError: If :obj:`known` is outside (0, 1], or no label would be known.
    """
    last = threshold(y, files, class_names, known, seed)
    parts = [(y[i : i + ROWS] >= 0) & (label_keys(files[i : i + ROWS], class_names, seed) > last) for i in _starts(y)]
    return torch.cat(parts)


def label_keys(files: Sequence[str], class_names: Sequence[str], seed: int = 0) -> Tensor:
    r"""The random key of each label of some images, :math:`(n, C)`, :obj:`int64`. A label stays known if its key is not
    above the :func:`threshold` of the whole training set: so one who reads images in a stream knows its mask, too."""
    return torch.from_numpy(_mixed(random_keys(files, seed), random_keys(class_names, seed, 'class')))


def threshold(y: Tensor, files: Sequence[str], class_names: Sequence[str], known: float, seed: int = 0) -> int:
    """The largest key of a label that stays known; see :func:`hidden`. It takes no room for all keys at once."""
    if not 0 < known <= 1:
        raise ValueError(f"'known' is the part of the labels that stays known, in (0, 1] (got {known})")
    images, classes = random_keys(files, seed), random_keys(class_names, seed, 'class')

    def keys() -> Iterator[np.ndarray]:
        for i in _starts(y):
            yield _mixed(images[i : i + ROWS], classes)[np.asarray(y[i : i + ROWS] >= 0)]

    counts = sum((np.bincount(_first_bits(key), minlength=2**16) for key in keys()), np.zeros(2**16, np.int64))
    ends = counts.cumsum()
    number = round(known * int(ends[-1]))
    if number == 0:
        raise ValueError(
            f"'known' leaves no label to learn from: at least one of the {ends[-1]} known labels must stay known "
            f'(got {known}, which rounds to none)'
        )
    place = int(np.searchsorted(ends, number))  # The first bits of the key that is looked for.
    near = np.concatenate([key[_first_bits(key) == place] for key in keys()])
    return int(np.sort(near)[number - 1 - (ends[place] - counts[place])])


def _starts(y: Tensor) -> range:
    return range(0, len(y), ROWS)


def _first_bits(key: np.ndarray) -> np.ndarray:
    return (key >> 48) + 2**15


def _mixed(images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return scramble(images[:, None] ^ classes[None]).view(np.int64)


def random_keys(names: Sequence[str], seed: int = 0, salt: str = 'file') -> np.ndarray:
    """One random 64-bit number a name; it depends on nothing else but the seed and the salt."""
    digests = (hashlib.blake2b(f'{salt} {seed} {name}'.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(b''.join(digests), dtype='<u8').astype(np.uint64)


def scramble(key: np.ndarray) -> np.ndarray:
    """Spreads 64-bit numbers so that near ones have nothing in common (the finaliser of SplitMix64)."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))

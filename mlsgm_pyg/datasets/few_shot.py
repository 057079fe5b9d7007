"""Base and novel classes, and a few examples of the novel ones (paper, Sections III-E c and IV-F)."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from mlsgm_pyg.datasets.base import LabelledImages, Relabelled
from mlsgm_pyg.datasets.partial import random_keys
from mlsgm_pyg.names import nearest

#: The 16 novel classes of MS-COCO (Section IV-F); the other 64 are base classes.
COCO_NOVEL = (
    'bicycle', 'boat', 'stop sign', 'bird', 'backpack', 'frisbee', 'snowboard', 'surfboard', 'cup', 'fork', 'spoon',
    'broccoli', 'chair', 'keyboard', 'microwave', 'vase',
)  # fmt: skip


def split_classes(class_names: Sequence[str], novel: Sequence[str]) -> tuple[list[str], list[str]]:
    """Base and novel classes, both in the data set's order.

    Args:
        class_names (sequence of str): All classes.
        novel (sequence of str): The novel ones, in any order.

    Raises:
        ValueError: If a novel class is not there (the nearest one is named) or named twice, or no base class is left.
    """
    novel = list(novel)
    for name in novel:
        if name not in class_names:
            raise ValueError(f'there is no class {name!r} to be novel{nearest(name, class_names)}')
    if len(set(novel)) < len(novel):
        raise ValueError(f'a novel class is named once (got {", ".join(novel)})')
    base = [name for name in class_names if name not in novel]
    if not novel or not base:
        raise ValueError(f'of {len(class_names)} classes, at least one must be novel and one base (got {len(novel)})')
    return base, [name for name in class_names if name in novel]


def draw_novel(class_names: Sequence[str], number: int, seed: int = 0) -> list[str]:
    """So many novel classes, drawn by :obj:`seed` and by name: the order of the classes does not matter.

    The paper draws 100 of Visual Genome's 500.

    Args:
        class_names (sequence of str): All classes.
        number (int): How many are novel.
        seed (int): Seed of the draw. (default: :obj:`0`)

    Raises:
        ValueError: If no base class would be left.
    """
    if not 0 < number < len(class_names):
        raise ValueError(f'of {len(class_names)} classes, 1 to {len(class_names) - 1} can be novel (got {number})')
    order = np.argsort(random_keys(class_names, seed, 'novel'), kind='stable')
    chosen = {class_names[i] for i in order[:number]}
    return [name for name in class_names if name in chosen]


def select_classes(source: LabelledImages, names: Sequence[str]) -> Relabelled:
    """The same images with the labels of some classes alone, in the order given.

    Args:
        source (LabelledImages): The images.
        names (sequence of str): The classes, all of them the source's.
    """
    columns = [source.class_names.index(name) for name in names]
    return Relabelled(source, names, source.y[:, columns].clone())


def without_classes(source: LabelledImages, names: Sequence[str]) -> list[int]:
    """The numbers of the images that show none of some classes, as far as is known.

    Args:
        source (LabelledImages): The images.
        names (sequence of str): The classes, all of them the source's.
    """
    columns = [source.class_names.index(name) for name in names]
    return (source.y[:, columns] != 1).all(1).nonzero().flatten().tolist()


def draw_shots(y: Tensor, files: Sequence[str], shots: int, seed: int = 0) -> list[int]:
    r"""Draws images so that every class has :obj:`shots` examples, or all of them where it has fewer.

    An image counts for every class that it shows. Classes are filled one after the other, the rarest first (ties in
    their order): each takes images in a random order until it has its number, counting those that were drawn for
    classes before it. So an image comes once, no class has too few, and a class has more than its number only where
    images of others show it. The random order depends on the seed and the images' names only, not on their order.

    Args:
        y (Tensor): Labels of the novel classes in :math:`\{1, 0, -1\}`.
        files (sequence of str): Name of each image.
        shots (int): Examples of each class, K.
        seed (int): Number of the draw. (default: :obj:`0`)

    Shapes:
        - **inputs:** :obj:`y` :math:`(n, C)`

    Returns:
        list[int]: The images' numbers, rising.

    Raises:
        ValueError: If :obj:`shots` is below 1, or a class has no example at all.
    """
    if shots < 1:
        raise ValueError(f"'shots' is the number of examples of each class, at least 1 (got {shots})")
    there = (y == 1).cpu().numpy()
    empty = np.flatnonzero(~there.any(0)).tolist()
    if empty:
        raise ValueError(f'{len(empty)} of {there.shape[1]} novel classes have no example to draw: numbers {empty}')
    order = np.argsort(random_keys(files, seed, 'shot'), kind='stable')
    chosen: list[int] = []
    count = np.zeros(there.shape[1], dtype=np.int64)
    for c in np.argsort(there.sum(0), kind='stable'):
        for i in order[there[order, c]].tolist():
            if count[c] >= shots:
                break
            if i not in chosen:
                chosen.append(i)
                count += there[i]
    return sorted(chosen)

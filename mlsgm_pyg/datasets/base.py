"""What every data set of labelled images offers, and how it becomes batches."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import pil_to_tensor

from mlsgm_pyg.datasets.images import ImageError, read_image
from mlsgm_pyg.datasets.sampling import mix
from mlsgm_pyg.names import check_choice


class LabelledImages(Dataset):
    r"""Images with labels: all labels at once without opening an image, and image :obj:`i` as RGB.

    Attributes:
        class_names (list[str]): The :math:`C` class names.
        y (Tensor): Labels :math:`(n, C)`, :obj:`int8`: 1 present, 0 absent, -1 unknown.
        files (sequence of str): Name of each image, unique in the data set.
        paths (list[Path]): Where each image lies; empty if :meth:`image` does not read files.
    """

    class_names: list[str]
    y: Tensor
    files: Sequence[str]
    paths: Sequence[Path] = ()

    def image(self, index: int) -> Image.Image:
        return read_image(self.paths[index], index)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Image.Image, Tensor]:
        return self.image(index), self.y[index]

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({len(self)}, num_classes={len(self.class_names)})'


class Subset(LabelledImages):
    """Some images of another data set, in the order given; image :obj:`i` is number :obj:`indices[i]` there.

    Args:
        source (LabelledImages): The other data set.
        indices (sequence of int): Numbers of its images.
    """

    def __init__(self, source: LabelledImages, indices: Sequence[int]):
        self.source = source
        self.indices = list(indices)
        self.class_names = source.class_names
        self.y = source.y[torch.tensor(self.indices, dtype=torch.long)]

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def files(self) -> list[str]:
        return [self.source.files[i] for i in self.indices]

    def image(self, index: int) -> Image.Image:
        return self.source.image(self.indices[index])


class Relabelled(LabelledImages):
    """The images of another data set under other labels.

    Args:
        source (LabelledImages): The images.
        class_names (sequence of str): The :math:`C` classes.
        y (Tensor): Their labels :math:`(n, C)` in 1, 0, -1, one row an image of the source.

    Raises:
        ValueError: If there is not one row an image, or one column a class.
    """

    def __init__(self, source: LabelledImages, class_names: Sequence[str], y: Tensor):
        if list(y.shape) != [len(source), len(class_names)]:
            raise ValueError(
                f"'y' must hold one row an image and one column a class: expected shape [{len(source)}, "
                f'{len(class_names)}] (got {list(y.shape)})'
            )
        self.source = source
        self.class_names = list(class_names)
        self.y = y
        self.files = source.files
        self.paths = source.paths

    def image(self, index: int) -> Image.Image:
        return self.source.image(index)


class ImageDataset(Dataset):
    """The images of a data set as tensors, seen through a random or fixed view.

    An item is :obj:`dict(image, y, index)`: :obj:`uint8` :math:`(3, H, W)`, :obj:`int8` :math:`(C)` and the image's
    number. Augmentation depends on (seed, epoch, index) only: not on the order, the number of worker processes, or any
    random number drawn elsewhere, and it leaves the global random state as it was. The epoch lies in shared memory, so
    :meth:`set_epoch` also reaches worker processes that stay alive.

    Args:
        source (LabelledImages): The images.
        transform (callable, optional): Maps a :obj:`uint8` image to a :obj:`uint8` image; see :func:`build_view`.
        seed (int): Seed of the augmentation. (default: :obj:`0`)
        on_error (str): What a broken image does: :obj:`'raise'`, or :obj:`'skip'`, which marks the item by an
            :obj:`error` (its message) beside a black image. :func:`collate` leaves it out and lists its number.
            (default: :obj:`'raise'`)

    Raises:
        ImageError: Naming the file, from :meth:`__getitem__` with :obj:`on_error='raise'`.
    """

    def __init__(
        self,
        source: LabelledImages,
        transform: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
        on_error: str = 'raise',
    ):
        check_choice('on_error', on_error, ('raise', 'skip'))
        self.source = source
        self.transform = transform
        self.seed = seed
        self.on_error = on_error
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict:
        item = {'y': self.source.y[index], 'index': index}
        try:
            image = pil_to_tensor(self.source.image(index))
        except ImageError as error:
            if self.on_error == 'raise':
                raise
            image = torch.zeros(3, 1, 1, dtype=torch.uint8)
            item['error'] = str(error)
        return {'image': self.view(image, index), **item}

    def view(self, image: Tensor, index: int) -> Tensor:
        if self.transform is None:
            return image.contiguous()
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: it would reset the generators of all accelerators as well.
            torch.default_generator.manual_seed(mix(self.seed, self.epoch, index))
            return self.transform(image).contiguous()


def collate(items: Sequence[dict]) -> dict:
    r"""Stacks items of :class:`ImageDataset`; those with an error are left out and listed.

    Returns:
        :obj:`dict(image, y, index, skipped)`: :obj:`uint8` :math:`(B, 3, H, W)`, :obj:`int8` :math:`(B, C)`,
        :obj:`int64` :math:`(B)`, and the list of the numbers left out. If all were, :math:`B = 0`.

    Raises:
        ValueError: If images differ in size.
    """
    good = [item for item in items if 'error' not in item]
    shapes = {tuple(item['image'].shape) for item in good}
    if len(shapes) > 1:
        raise ValueError(f'images of a batch must have one size: give the data set a view (got {sorted(shapes)})')
    chosen = good or items[:1]
    return {
        'image': torch.stack([item['image'] for item in chosen])[: len(good)],
        'y': torch.stack([item['y'] for item in chosen])[: len(good)],
        'index': torch.tensor([item['index'] for item in good], dtype=torch.int64),
        'skipped': [item['index'] for item in items if 'error' in item],
    }

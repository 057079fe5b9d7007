"""Visual Genome in its real layout: VG-200 and VG-500."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mlsgm_pyg.datasets.base import LabelledImages
from mlsgm_pyg.datasets.files import check_images, check_once, listing, read_lines
from mlsgm_pyg.datasets.sampling import generator
from mlsgm_pyg.datasets.vg_objects import API, Shown, clean, read_objects
from mlsgm_pyg.names import check_choice, nearest

SPLITS = ['train', 'test']
FOLDERS = ['VG_100K', 'VG_100K_2']
SIZES = [108_077, 108_249]  # Images in the objects files of versions 1.2 and 1.4, and of version 1.0.
TEST_SIZE = 10_000


class VisualGenome(LabelledImages):
    r"""Visual Genome with its most frequent categories: VG-200 and VG-500 of the paper (Section IV-A).

    It lies in :obj:`root`: :obj:`objects.json` (version 1.4, 1.2 or 1.0) and the images as :obj:`<id>.jpg` in
    :obj:`VG_100K` and :obj:`VG_100K_2`.

    **Categories.** An image shows a category if one of its objects does, and the classes are the :obj:`num_classes`
    categories that most images show, over all images of the file, train and test alike (as in the papers). The most
    frequent comes first and ties follow the alphabet, so VG-200 is the first 200 classes of VG-500. An object's
    category is its WordNet synset (version 1.0 has them in :obj:`object_synsets.json`; objects without one count for
    nothing) or, with :obj:`by='names'`, its name in lower case, without quotes and full stops around it.

    **Class names** are words: the synset :obj:`traffic_light.n.01` becomes :obj:`'traffic light'`. Of several synsets
    of one word, the most frequent has the word to itself and the others add their number (:obj:`'man 3'`), so names
    differ, and so do their word vectors.

    **Split.** There is no official one. 10,000 images drawn by :obj:`seed` are :obj:`'test'`; it depends on the ids in
    the objects file alone. All others are :obj:`'train'`: 98,249 with the 108,249 images of the archives. Images that
    no one described (versions 1.2 and 1.4 describe 108,077) are trained on too if they are there, with all their labels
    unknown (-1, which counts in no loss or metric). Both parts come in the order of ids.

    **Lists.** A folder :obj:`lists` replaces the split: its :obj:`train.txt` and :obj:`test.txt` have one image a line,
    by id or file name (:obj:`2363419` or :obj:`2363419.jpg`), and their order is kept. Where it also has
    :obj:`categories.txt`, with a synset or name (as :obj:`by` says) a line, those are the classes, in that order.

    What the large objects file says is cached beside it, so the next start does not read it.

    Args:
        root (str or Path): The folder.
        split (str): :obj:`'train'` or :obj:`'test'`. (default: :obj:`'train'`)
        num_classes (int): Number of classes. (default: :obj:`200`)
        by (str): What a category is: :obj:`'synsets'` or :obj:`'names'`. (default: :obj:`'synsets'`)
        lists (str or Path): Folder of the lists, relative to :obj:`root`; empty for none. (default: :obj:`''`)
        seed (int): Seed of the split. (default: :obj:`0`)
        missing (str): :obj:`'raise'` looks for every image at once; :obj:`'skip'` leaves missing ones to whoever reads
            them. (default: :obj:`'raise'`)
        verify (bool): Check that the objects file has the official number of images. Without it, a smaller file's test
            part is the same share of it. (default: :obj:`True`)

    Attributes:
        categories (list[str]): The synset or name behind each class.

    Raises:
        FileNotFoundError: If the objects file, a list or an image is not there, with where to get it.
        ValueError: For an unknown option, and for anything wrong in the files, with file and line.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = 'train',
        num_classes: int = 200,
        by: str = 'synsets',
        lists: str | Path = '',
        seed: int = 0,
        missing: str = 'raise',
        verify: bool = True,
    ):
        check_choice('split', split, SPLITS)
        check_choice('by', by, ('synsets', 'names'))
        check_choice('missing', missing, ('raise', 'skip'))
        root = Path(root)
        folder = root / lists if str(lists) else None
        self.split = split
        shown = read_objects(root / 'objects.json', by)
        if verify and len(shown.ids) not in SIZES:
            raise ValueError(
                f"'{root / 'objects.json'}' must hold {SIZES[0]:,} images (version 1.2 or 1.4) or {SIZES[1]:,} (1.0) "
                f'(got {len(shown.ids):,}); give verify=False for a part of them'
            )
        chosen = choose_categories(shown, num_classes, by, folder)
        self.categories = [shown.keys[i] for i in chosen]
        self.class_names = label_names(self.categories) if by == 'synsets' else list(self.categories)
        there = find_images(root)
        parts = split_ids(shown.ids, there, seed) if folder is None else read_lists(folder, shown.ids, there)
        ids = parts[split]
        self.files = [f'{i}.jpg' for i in ids]
        self.paths = [there.get(i, root / FOLDERS[0] / f'{i}.jpg') for i in ids]
        if missing == 'raise':
            check_images(f"'{split}' of Visual Genome", self.paths, f'images.zip and images2.zip of {API}')
        self.y = torch.from_numpy(label_matrix(shown, ids, chosen))


def choose_categories(shown: Shown, num_classes: int, by: str, lists: Path | None) -> list[int]:
    """The numbers of the categories that are classes, in the order of classes."""
    path = lists / 'categories.txt' if lists else None
    if path is None or not path.is_file():
        if not 1 <= num_classes <= len(shown.keys):
            raise ValueError(
                f"'num_classes' must lie in [1, {len(shown.keys):,}], the number of {by} in the objects file "
                f'(got {num_classes})'
            )
        num_images = np.bincount(shown.category, minlength=len(shown.keys))
        return np.argsort(-num_images, kind='stable')[:num_classes].tolist()
    place = {key: i for i, key in enumerate(shown.keys)}
    seen: dict[str, str] = {}
    for where, line in read_list(path):
        key = clean(line) if by == 'names' else line
        if key not in place:
            near = nearest(key, shown.keys, cutoff=0.7)
            raise ValueError(f"{where}: none of the {by} in the objects file is '{key}'{near}")
        check_once(seen, key, where, f"'{key}'")
    if len(seen) != num_classes:
        raise ValueError(f"'{path}' must hold {num_classes} categories, as 'num_classes' says (got {len(seen)})")
    return [place[key] for key in seen]


def label_names(synsets: Sequence[str]) -> list[str]:
    """A name of plain words for each synset, all different: the first of several with the same word has it alone."""
    names: dict[str, str] = {}
    for synset in synsets:
        match = re.fullmatch(r'(.+)\.([a-z])\.(\d+)', synset)
        lemma, kind, number = match.groups() if match else (synset, '', '0')
        word = lemma.replace('_', ' ')
        choices = [word, f'{word} {int(number)}', f'{word} {kind} {int(number)}', synset]
        names[next(name for name in choices if name not in names)] = synset
    return list(names)


def find_images(root: Path) -> dict[int, Path]:
    """Where the images are, by id."""
    there: dict[int, Path] = {}
    for folder in (root / name for name in FOLDERS):
        for name in listing(folder):
            if number := re.fullmatch(r'(0|[1-9]\d*)\.jpg', name, re.ASCII):
                there.setdefault(int(number[1]), folder / name)
    return there


def split_ids(ids: np.ndarray, there: dict[int, Path], seed: int) -> dict[str, list[int]]:
    """The seeded split of the images in the objects file; images beyond it are trained on."""
    num_test = TEST_SIZE if len(ids) in SIZES else max(1, round(len(ids) * TEST_SIZE / SIZES[1]))
    order = torch.randperm(len(ids), generator=generator(seed, TEST_SIZE)).numpy()
    test = np.sort(ids[order[:num_test]]).tolist()
    return {'train': sorted((set(ids.tolist()) | there.keys()) - set(test)), 'test': test}


def read_lists(folder: Path, ids: np.ndarray, there: dict[int, Path]) -> dict[str, list[int]]:
    """Reads a user's split."""
    known = set(ids.tolist()) | there.keys()
    parts: dict[str, list[int]] = {split: [] for split in SPLITS}
    seen: dict[int, str] = {}
    for split, part in parts.items():
        for where, line in read_list(folder / f'{split}.txt'):
            number = re.fullmatch(r'(?:.*[/\\])?(\d+)(?:\.jpg)?', line, re.ASCII)
            if number is None:
                raise ValueError(f"{where}: expected an id or file name such as '2363419.jpg' (got '{line}')")
            image = int(number[1])
            if image not in known:
                raise ValueError(f'{where}: image {image} is neither in the objects file nor in {" or ".join(FOLDERS)}')
            check_once(seen, image, where, f'image {image}')
            part.append(image)
    return parts


def read_list(path: Path) -> list[tuple[str, str]]:
    try:
        lines = read_lines(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no list '{path}': 'lists' must hold train.txt and test.txt") from None
    if not lines:
        raise ValueError(f"'{path}' is empty")
    return lines


def label_matrix(shown: Shown, ids: list[int], chosen: list[int]) -> np.ndarray:
    """The labels of images in int8, :math:`(n, C)`: 1 shown, 0 not; all -1 for an image that no one described."""
    place = {image: i for i, image in enumerate(ids)}
    row = np.array([place.get(image, -1) for image in shown.ids.tolist()])
    y = np.full((len(ids), len(chosen)), -1, dtype=np.int8)
    y[row[row >= 0]] = 0
    column = np.full(len(shown.keys), -1)
    column[chosen] = np.arange(len(chosen))
    row, column = np.repeat(row, np.diff(shown.start)), column[shown.category]
    there = (row >= 0) & (column >= 0)
    y[row[there], column[there]] = 1
    return y

"""Visual Genome in its real layout: VG-200 and VG-500."""

import json
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mlsgm_pyg.cache import Cache
from mlsgm_pyg.datasets.base import LabelledImages
from mlsgm_pyg.datasets.files import check_images, check_once, listing, read_lines
from mlsgm_pyg.datasets.sampling import generator
from mlsgm_pyg.names import check_choice, nearest

API = 'https://homes.cs.washington.edu/~ranjay/visualgenome/api.html'
SPLITS = ['train', 'test']
FOLDERS = ['VG_100K', 'VG_100K_2']
SIZES = [108_077, 108_249]  # Images in the objects files of versions 1.2 and 1.4, and of version 1.0.
TEST_SIZE = 10_000
FORM = '1'  # Of the cache.


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


class Shown(NamedTuple):
    """What the images show: image :obj:`ids[i]` the categories :obj:`category[start[i]:start[i + 1]]`."""

    ids: np.ndarray  # [n] int64, rising.
    start: np.ndarray  # [n + 1] int64.
    category: np.ndarray  # int32, rising within an image.
    keys: list[str]  # The categories (synsets or names), in the order of the alphabet.


def read_objects(path: Path, by: str) -> Shown:
    """Reads the objects file, whose categories are synsets or names, by way of its cache.

    The cache holds what all images show, so that any number of classes, seed and lists share it.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no '{path}': unpack objects.json.zip (version 1.4) of {API} in '{path.parent}'"
        )
    synsets = path.with_name('object_synsets.json')  # Version 1.0 needs it; who adds or changes it, reads anew.
    cache = Cache(path, form=f'{FORM} {by}', kind=by, others=[synsets])
    found = cache.read('ids', 'start', 'category', 'keys')
    if found is not None:
        ids, start, category, keys = found
        return Shown(ids, start, category, keys.tobytes().decode('utf-8').split('\n'))
    shown = parse(path, by)
    keys = np.frombuffer('\n'.join(shown.keys).encode('utf-8'), dtype=np.uint8)  # An array of strings is far larger.
    cache.write(ids=shown.ids, start=shown.start, category=shown.category, keys=keys)
    return shown


def parse(path: Path, by: str) -> Shown:
    """Reads the objects file itself, of version 1.0, 1.2 or 1.4."""
    reader = ObjectReader(path, by)
    try:
        with path.open(encoding='utf-8') as file:
            images = json.load(file, object_hook=reader)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"'{path}' is not valid JSON: {error}; unpack it again") from error
    if not isinstance(images, list) or not images or not all(isinstance(image, Image) for image in images):
        raise ValueError(f"'{path}' must hold a list of images with 'image_id' and 'objects', as of {API}")
    images.sort(key=lambda image: image.number)
    for one, other in zip(images, images[1:]):
        if one.number == other.number:
            raise ValueError(f"'{path}' has image {one.number} twice")
    if not reader.keys:
        raise ValueError(f"'{path}' has no object with {by}")
    keys = sorted(reader.keys)
    place = {key: i for i, key in enumerate(keys)}
    number = [place[key] for key in reader.keys]  # By the order in which they were met.
    rows = [sorted(number[i] for i in image.categories) for image in images]
    start = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    category = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=start[-1])
    return Shown(np.array([image.number for image in images], dtype=np.int64), start, category, keys)


class Image(NamedTuple):
    """An image as it is read: its id, and its categories by the order in which they were met."""

    number: int
    categories: set[int]


class ObjectReader:
    """Makes every object its categories and every image an :class:`Image` while the JSON file is read.

    So the millions of objects of the file are never in memory at once.
    """

    def __init__(self, path: Path, by: str):
        self.path = path
        self.by = by
        self.keys: dict[str, int] = {}  # Category -> number.
        self.written: dict[str, int | None] = {}  # As it is written in the file -> number of its category.
        self.synset_of: dict[str, str] | None = None

    def __call__(self, item: dict) -> object:
        return self.image(item) if 'objects' in item else self.object(item)

    def image(self, item: dict) -> Image:
        number = item.get('image_id', item.get('id'))  # Version 1.0 says id.
        if type(number) is not int or number < 0:
            raise ValueError(f"'{self.path}': an image must have a whole number as 'image_id' (got {number!r})")
        objects = item['objects']
        wrong = [part for part in objects if type(part) is not tuple] if isinstance(objects, list) else [objects]
        if wrong:
            raise ValueError(
                f"'{self.path}', image {number}: an object must have lists of strings as 'names' and 'synsets' "
                f'(got {str(wrong[0])[:200]})'
            )
        return Image(number, set(chain.from_iterable(objects)))

    def object(self, item: dict) -> tuple[int, ...] | dict:
        """The categories of an object, or what is there in its place."""
        words = item.get(self.by)
        if words is None and self.by == 'synsets' and _are_strings(item.get('names')):
            words = self.look_up(item['names'])
        if not _are_strings(words):
            return item
        for word in words:
            if word not in self.written:
                key = clean(word) if self.by == 'names' else ''.join(word.split())
                self.written[word] = self.keys.setdefault(key, len(self.keys)) if key else None
        return tuple([self.written[word] for word in words if self.written[word] is not None])

    def look_up(self, names: list[str]) -> list[str]:
        """The synsets of names, which version 1.0 has in a file of its own."""
        if self.synset_of is None:
            path = self.path.with_name('object_synsets.json')
            try:
                self.synset_of = json.loads(path.read_text(encoding='utf-8'))
            except FileNotFoundError:
                raise FileNotFoundError(
                    f"the objects of '{self.path}' have no 'synsets', and there is no '{path}': unpack "
                    f"object_synsets.json.zip of {API} there, take objects.json of version 1.4, or choose by='names'"
                ) from None
            except ValueError as error:
                raise ValueError(f"'{path}' is not valid JSON: {error}; unpack it again") from error
            if not isinstance(self.synset_of, dict) or not _are_strings(list(self.synset_of.values())):
                raise ValueError(f"'{path}' must hold a synset for each name, as of {API}")
        return [self.synset_of[name] for name in names if name in self.synset_of]


def clean(name: str) -> str:
    """An object's name in lower case, with single spaces and no quotes or full stops around it."""
    return ' '.join(name.lower().split()).strip(' "\'.,;:!?()[]')


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
            number = re.fullmatch(r'(0|[1-9]\d*)\.jpg', name, re.ASCII)
            if number:
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
    column = np.full(len(shown.keys), -1)
    column[chosen] = np.arange(len(chosen))
    label = column[shown.category]
    owner = np.repeat(np.arange(len(shown.ids)), np.diff(shown.start))
    table = np.zeros((len(shown.ids) + 1, len(chosen)), dtype=np.int8)
    table[owner[label >= 0], label[label >= 0]] = 1
    table[-1] = -1
    row = np.searchsorted(shown.ids, ids)
    described = shown.ids[np.minimum(row, len(shown.ids) - 1)] == ids
    return table[np.where(described, row, len(shown.ids))]


def _are_strings(value: object) -> bool:
    return isinstance(value, list) and all(type(word) is str for word in value)

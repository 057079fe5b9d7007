"""The objects file of Visual Genome: which categories each image shows, read once and cached."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlsgm_pyg.cache import Cache

API = 'https://homes.cs.washington.edu/~ranjay/visualgenome/api.html'
FORM = '1'  # Of the cache.


class Shown(NamedTuple):
    """What the images show: image :obj:`ids[i]` the categories :obj:`category[start[i]:start[i + 1]]`."""

    ids: np.ndarray  # [n] int64, rising.
    start: np.ndarray  # [n + 1] int64.
    category: np.ndarray  # int32, rising within an image.
    keys: list[str]  # The categories (synsets or names), in the order of the alphabet.

    def counts(self) -> np.ndarray:
        """Number of images that show each category."""
        return np.bincount(self.category, minlength=len(self.keys))


def read_objects(path: Path, by: str) -> Shown:
    """Reads the objects file by way of its cache, a file beside it that ends in :obj:`.cache.npz`.

    The cache holds what all images show, so that any number of classes, seed and lists share it; it is checked by name,
    size and time of change of the file.

    Args:
        path (Path): :obj:`objects.json` of version 1.0, 1.2 or 1.4.
        by (str): Categories are :obj:`'synsets'` or :obj:`'names'`.
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
    """Reads the objects file itself."""
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
    return collect(images, reader.keys)


def collect(images: list['Image'], met: dict[str, int]) -> Shown:
    """Puts the images, sorted by id, into arrays; categories change from the order met to that of the alphabet."""
    keys = sorted(met)
    place = {key: i for i, key in enumerate(keys)}
    number = np.array([place[key] for key in met], dtype=np.int32)
    lengths = [len(image.categories) for image in images]
    shown = np.fromiter((i for image in images for i in image.categories), dtype=np.int64, count=sum(lengths))
    category = number[shown]
    owner = np.repeat(np.arange(len(images)), lengths)
    ids = np.array([image.number for image in images], dtype=np.int64)
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Shown(ids, start, category[np.lexsort((category, owner))], keys)


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
        return Image(number, {i for part in objects for i in part})

    def object(self, item: dict) -> object:
        """The categories of an object, or the object itself where it is not one."""
        names, synsets = item.get('names'), item.get('synsets')
        if self.by == 'synsets':
            written = self.look_up(names) if synsets is None and _are_strings(names) else synsets
        else:
            written = names
        if not _are_strings(written):
            return item
        found = []
        for word in written:
            if word not in self.written:
                key = clean(word) if self.by == 'names' else ''.join(word.split())
                self.written[word] = self.keys.setdefault(key, len(self.keys)) if key else None
            if self.written[word] is not None:
                found.append(self.written[word])
        return tuple(found)

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


def _are_strings(value: object) -> bool:
    return isinstance(value, list) and all(type(word) is str for word in value)

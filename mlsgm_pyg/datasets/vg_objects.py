"""What the objects file of Visual Genome says: which categories each image shows."""

import json
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlsgm_pyg.cache import Cache
from mlsgm_pyg.names import repeated

API = 'https://homes.cs.washington.edu/~ranjay/visualgenome/api.html'
FORM = '1'  # Of the cache.


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
    ids, start, category, keys = cache.read('ids', 'start', 'category', 'keys') or cache.write(**parse(path, by))
    return Shown(ids, start, category, keys.tobytes().decode('utf-8').split('\n'))


def parse(path: Path, by: str) -> dict[str, np.ndarray]:
    """Reads the objects file itself, of version 1.0, 1.2 or 1.4: the arrays of :class:`Shown`, its keys as one text."""
    reader = ObjectReader(path, by)
    try:
        with path.open(encoding='utf-8') as file:
            images = json.load(file, object_hook=reader)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"'{path}' is not valid JSON: {error}; unpack it again") from error
    if not isinstance(images, list) or not images or not all(isinstance(image, Image) for image in images):
        raise ValueError(f"'{path}' must hold a list of images with 'image_id' and 'objects', as of {API}")
    images.sort(key=lambda image: image.number)
    if twins := repeated(image.number for image in images):
        raise ValueError(f"'{path}' has image {twins[0]} twice")
    keys = sorted({*reader.key_of.values()} - {''})
    if not keys:
        raise ValueError(f"'{path}' has no object with {by}")
    place = {key: i for i, key in enumerate(keys)}
    rows = [sorted(place[key] for key in image.categories) for image in images]
    return {
        'ids': np.array([image.number for image in images], dtype=np.int64),
        'start': np.cumsum([0, *map(len, rows)], dtype=np.int64),
        'category': np.fromiter(chain.from_iterable(rows), dtype=np.int32),
        'keys': np.frombuffer('\n'.join(keys).encode('utf-8'), dtype=np.uint8),  # An array of strings is far larger.
    }


class Image(NamedTuple):
    """An image as it is read."""

    number: int
    categories: set[str]


class ObjectReader:
    """Makes every object its categories and every image an :class:`Image` while the JSON file is read.

    So the millions of objects of the file are never in memory at once.
    """

    def __init__(self, path: Path, by: str):
        self.path = path
        self.by = by
        self.key_of: dict[str, str] = {}  # As it is written in the file -> its category, '' for none.

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

    def object(self, item: dict) -> tuple[str, ...] | dict:
        """The categories of an object, or what is there in its place."""
        words = item.get(self.by)
        if words is None and self.by == 'synsets' and _are_strings(item.get('names')):
            words = [self.synset_of[name] for name in item['names'] if name in self.synset_of]
        if not _are_strings(words):
            return item
        for word in words:
            if word not in self.key_of:
                self.key_of[word] = clean(word) if self.by == 'names' else ''.join(word.split())
        return tuple([self.key_of[word] for word in words if self.key_of[word]])

    @cached_property
    def synset_of(self) -> dict[str, str]:
        """The synset of each name, which version 1.0 has in a file of its own."""
        path = self.path.with_name('object_synsets.json')
        try:
            synset_of = json.loads(path.read_text(encoding='utf-8'))
        except FileNotFoundError:
            raise FileNotFoundError(
                f"the objects of '{self.path}' have no 'synsets', and there is no '{path}': unpack "
                f"object_synsets.json.zip of {API} there, take objects.json of version 1.4, or choose by='names'"
            ) from None
        except ValueError as error:
            raise ValueError(f"'{path}' is not valid JSON: {error}; unpack it again") from error
        if not isinstance(synset_of, dict) or not _are_strings(list(synset_of.values())):
            raise ValueError(f"'{path}' must hold a synset for each name, as of {API}")
        return synset_of


def clean(name: str) -> str:
    """An object's name in lower case, with single spaces and no quotes or full stops around it."""
    return ' '.join(name.lower().split()).strip(' "\'.,;:!?()[]')


def _are_strings(value: object) -> bool:
    return isinstance(value, list) and all(type(word) is str for word in value)

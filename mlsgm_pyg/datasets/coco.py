"""MS-COCO 2014 in its official layout."""

import json
from pathlib import Path

import numpy as np
import torch

from mlsgm_pyg.cache import Cache
from mlsgm_pyg.datasets.base import LabelledImages
from mlsgm_pyg.datasets.files import check_count, check_images, check_once
from mlsgm_pyg.names import check_choice

CATEGORIES = {
    1: 'person', 2: 'bicycle', 3: 'car', 4: 'motorcycle', 5: 'airplane', 6: 'bus', 7: 'train', 8: 'truck', 9: 'boat',
    10: 'traffic light', 11: 'fire hydrant', 13: 'stop sign', 14: 'parking meter', 15: 'bench', 16: 'bird', 17: 'cat',
    18: 'dog', 19: 'horse', 20: 'sheep', 21: 'cow', 22: 'elephant', 23: 'bear', 24: 'zebra', 25: 'giraffe',
    27: 'backpack', 28: 'umbrella', 31: 'handbag', 32: 'tie', 33: 'suitcase', 34: 'frisbee', 35: 'skis',
    36: 'snowboard', 37: 'sports ball', 38: 'kite', 39: 'baseball bat', 40: 'baseball glove', 41: 'skateboard',
    42: 'surfboard', 43: 'tennis racket', 44: 'bottle', 46: 'wine glass', 47: 'cup', 48: 'fork', 49: 'knife',
    50: 'spoon', 51: 'bowl', 52: 'banana', 53: 'apple', 54: 'sandwich', 55: 'orange', 56: 'broccoli', 57: 'carrot',
    58: 'hot dog', 59: 'pizza', 60: 'donut', 61: 'cake', 62: 'chair', 63: 'couch', 64: 'potted plant', 65: 'bed',
    67: 'dining table', 70: 'toilet', 72: 'tv', 73: 'laptop', 74: 'mouse', 75: 'remote', 76: 'keyboard',
    77: 'cell phone', 78: 'microwave', 79: 'oven', 80: 'toaster', 81: 'sink', 82: 'refrigerator', 84: 'book',
    85: 'clock', 86: 'vase', 87: 'scissors', 88: 'teddy bear', 89: 'hair drier', 90: 'toothbrush',
}  # fmt: skip
NAMES = list(CATEGORIES.values())
COUNTS = {'train': 82_783, 'val': 40_504}
WITHOUT_LABELS = ('keep', 'drop')
SITE = 'http://images.cocodataset.org'
ANNOTATIONS = f'{SITE}/annotations/annotations_trainval2014.zip'
PREPARE = "`python -m experiments.prepare coco --root '{}'` gets it"
FIELDS = {  # What is read of the entries of each list.
    'images': {'id': int, 'file_name': str},
    'annotations': {'image_id': int, 'category_id': int},
    'categories': {'id': int, 'name': str},
}
FORM = '1'  # Of the cache.


class Coco(LabelledImages):
    r"""MS-COCO 2014: 80 classes in the order of their official ids (:data:`CATEGORIES`), 82,783 images to train and
    40,504 to validate, on which the paper evaluates.

    :obj:`root` holds :obj:`annotations/instances_{train,val}2014.json` and the folders :obj:`train2014` and
    :obj:`val2014`. A class is present (1) where at least one instance of it is annotated, crowds (:obj:`iscrowd=1`)
    included, and absent (0) elsewhere. Images come in the order of their ids.

    What was parsed is kept in a small file beside the annotations (checked by the file's name, size and time of
    change), so that the next start reads no JSON.

    Args:
        root (str or Path): The folder of the data set.
        split (str): :obj:`'train'` or :obj:`'val'`. (default: :obj:`'train'`)
        images_without_labels (str): Images that show none of the classes are images like any other (:obj:`'keep'`) or
            left out (:obj:`'drop'`). (default: :obj:`'keep'`)
        missing (str): :obj:`'raise'` looks for every image at once; :obj:`'skip'` leaves missing ones to whoever reads
            them. (default: :obj:`'raise'`)
        verify (bool): The file must list as many images as the official one; :obj:`False` takes a part of it.
            (default: :obj:`True`)
        cache (str or Path, optional): Folder of what was parsed. (default: the folder of the annotations)

    Raises:
        FileNotFoundError: If the annotations or an image are not there, with where to get them.
        ValueError: For an unknown split or policy, for a wrong number of images, and for anything wrong in the
            annotations, with file and place.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = 'train',
        images_without_labels: str = 'keep',
        missing: str = 'raise',
        verify: bool = True,
        cache: str | Path | None = None,
    ):
        check_choice('split', split, COUNTS)
        check_choice('images_without_labels', images_without_labels, WITHOUT_LABELS)
        check_choice('missing', missing, ('raise', 'skip'))
        self.split = split
        self.images_without_labels = images_without_labels
        self.class_names = list(NAMES)
        part, path = f"'{split}' of MS-COCO 2014", Path(root) / 'annotations' / f'instances_{split}2014.json'
        files, y = load(path, cache)
        if verify:
            check_count(part, COUNTS[split], len(files), path, ANNOTATIONS)
        if images_without_labels == 'drop':
            kept = y.any(1)
            files, y = files[kept], y[kept]
        self.files = files.tolist()
        folder = Path(root) / f'{split}2014'
        self.paths = [folder / file for file in self.files]
        if missing == 'raise':
            check_images(part, self.paths, f'{SITE}/zips/{split}2014.zip ({PREPARE.format(root)})')
        self.y = torch.from_numpy(y.astype(np.int8))


def load(path: Path, cache: str | Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The images of an annotation file and what they show, by way of the cache.

    Returns:
        File names :math:`(n)`, and :obj:`bool` labels :math:`(n, 80)`.
    """
    if not path.is_file():
        root = path.parents[1]
        raise FileNotFoundError(f"there is no '{path}': {PREPARE.format(root)}, or unpack {ANNOTATIONS} in '{root}'")
    kept = Cache(path, cache, FORM)
    files, bits = kept.read('files', 'bits') or kept.write(**parse(path))
    return files, np.unpackbits(bits, axis=1, count=len(NAMES)).astype(bool)


def parse(path: Path) -> dict[str, np.ndarray]:
    """Reads an annotation file: file names in the order of the images' ids, and, as bits, what each image shows."""
    images, annotations, categories = read(path)
    check_categories(path, dict(categories))
    seen: dict[int, str] = {}
    for at, (id, _) in enumerate(images):
        check_once(seen, id, f"'{path}', images[{at}]", f'image {id}')
    files = [file for _, file in sorted(images)]
    row = {id: at for at, id in enumerate(sorted(seen))}
    column = {id: at for at, id in enumerate(CATEGORIES)}
    y = np.zeros((len(row), len(column)), dtype=bool)
    for at, (image, category) in enumerate(annotations):
        if image not in row:
            raise ValueError(f"'{path}', annotations[{at}]: unknown image {image}: it is not in 'images'")
        if category not in column:
            raise ValueError(
                f"'{path}', annotations[{at}]: unknown category {category}: the {len(CATEGORIES)} of MS-COCO have ids "
                f'from 1 to {max(CATEGORIES)}, not all of them taken'
            )
        y[row[image], column[category]] = True
    return {'files': np.array(files, dtype=str), 'bits': np.packbits(y, axis=1)}


def read(path: Path) -> list[list[tuple]]:
    """The lists of an annotation file: of every entry, the :data:`FIELDS`, each of its type."""
    try:
        with path.open('rb') as file:
            data = json.load(file)
    except ValueError as error:  # Broken JSON, or not even text.
        raise ValueError(f"'{path}' is not valid JSON: {error}") from error
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in FIELDS):
        got = f'the keys {", ".join(map(str, data)) or "none"}' if isinstance(data, dict) else type(data).__name__
        raise ValueError(f"'{path}' must hold the lists {', '.join(FIELDS)} (got {got})")
    lists = []
    for key, fields in FIELDS.items():
        lists.append([])
        for at, entry in enumerate(data[key]):
            found = tuple([entry.get(name) for name in fields]) if isinstance(entry, dict) else ()
            if [type(value) for value in found] != list(fields.values()):
                wanted = ' and '.join(f"'{name}' ({kind.__name__})" for name, kind in fields.items())
                raise ValueError(f"'{path}', {key}[{at}] must have {wanted} (got {str(entry)[:200]})")
            lists[-1].append(found)
    return lists


def check_categories(path: Path, found: dict[int, str]) -> None:
    """Checks that a file has the official categories: its ids would mean other classes otherwise."""
    for id, name in found.items():
        if CATEGORIES.get(id) != name:
            known = f"is '{CATEGORIES[id]}'" if id in CATEGORIES else f'is not one of the {len(CATEGORIES)}'
            raise ValueError(f"'{path}': category {id} of MS-COCO {known} (got '{name}')")
    lacking = [name for id, name in CATEGORIES.items() if id not in found]
    if lacking:
        raise ValueError(
            f"'{path}' must have the {len(CATEGORIES)} categories of MS-COCO (got {len(found)}, without '{lacking[0]}')"
        )

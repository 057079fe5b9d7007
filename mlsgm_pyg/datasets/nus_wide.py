"""NUS-WIDE in its official layout."""

from pathlib import Path

import numpy as np
import torch

from mlsgm_pyg.datasets.base import LabelledImages
from mlsgm_pyg.datasets.files import are_there, check_count, check_once, listing, read_lines
from mlsgm_pyg.names import check_choice, nearest

CONCEPTS = [
    'airport', 'animal', 'beach', 'bear', 'birds', 'boats', 'book', 'bridge', 'buildings', 'cars', 'castle', 'cat',
    'cityscape', 'clouds', 'computer', 'coral', 'cow', 'dancing', 'dog', 'earthquake', 'elk', 'fire', 'fish', 'flags',
    'flowers', 'food', 'fox', 'frost', 'garden', 'glacier', 'grass', 'harbor', 'horses', 'house', 'lake', 'leaf',
    'map', 'military', 'moon', 'mountain', 'nighttime', 'ocean', 'person', 'plane', 'plants', 'police', 'protest',
    'railroad', 'rainbow', 'reflection', 'road', 'rocks', 'running', 'sand', 'sign', 'sky', 'snow', 'soccer', 'sports',
    'statue', 'street', 'sun', 'sunset', 'surf', 'swimmers', 'tattoo', 'temple', 'tiger', 'tower', 'town', 'toy',
    'train', 'tree', 'valley', 'vehicle', 'water', 'waterfall', 'wedding', 'whales', 'window', 'zebra',
]  # fmt: skip
OTHER = {'earthquake': 'earthq'}  # What some copies of the files call a concept.
COUNTS = {'train': 161_789, 'test': 107_859}
SITE = 'https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/NUS-WIDE.html'


class NusWide(LabelledImages):
    r"""NUS-WIDE, 81 concepts in the order of :obj:`Concepts81.txt`; 161,789 images to train and 107,859 to test.

    It lies in :obj:`root` as its authors give it away (their archives unpacked there):

    - :obj:`ImageList/TrainImagelist.txt` and :obj:`TestImagelist.txt`: an image a line, such as
      :obj:`actor\0001_2124494179.jpg`;
    - :obj:`Groundtruth/TrainTestLabels/Labels_<concept>_{Train,Test}.txt` (or :obj:`TrainTestLabels` itself): 1 or 0 a
      line, in the order of the list;
    - :obj:`Flickr/<folder>/<image>.jpg`: the images;
    - :obj:`ConceptsList/Concepts81.txt` or :obj:`Concepts81.txt`, which is compared where it is there.

    Flickr has lost some of the images since, so hardly anyone has all of them: those that are not there are left out,
    and :attr:`lost` lists them. Images without any concept stay, as in the official split.

    Args:
        root (str or Path): The folder.
        split (str): :obj:`'train'` or :obj:`'test'`. (default: :obj:`'train'`)
        missing (str): :obj:`'raise'` leaves out the images that are not there, but raises where none is there at all;
            :obj:`'skip'` does not look: all of the list stay, for whoever reads them. (default: :obj:`'raise'`)
        verify (bool): Check that the list has the official number of images. (default: :obj:`True`)

    Attributes:
        lost (list[str]): The images of the list that are not there; empty with :obj:`missing='skip'`.

    Raises:
        FileNotFoundError: If a list, a file of labels, or all images are not there, with where to get them.
        ValueError: For an unknown split, and for anything wrong in the files, with file and line.
    """

    def __init__(self, root: str | Path, split: str = 'train', missing: str = 'raise', verify: bool = True):
        check_choice('split', split, COUNTS)
        check_choice('missing', missing, ('raise', 'skip'))
        self.split = split
        self.class_names = list(CONCEPTS)
        root = Path(root)
        path = find(root, [f'ImageList/{split.capitalize()}Imagelist.txt'], 'ImageList.zip')
        files = read_list(path)
        if verify:
            check_count(f"'{split}' of NUS-WIDE", COUNTS[split], len(files), path, f'ImageList.zip of {SITE}')
        check_concepts(root)
        y = read_labels(root, split, len(files))
        folder = root / 'Flickr'
        paths = [folder / file for file in files]
        kept = np.arange(len(files)) if missing == 'skip' else np.flatnonzero(are_there(paths))
        if not len(kept):
            raise FileNotFoundError(
                f"none of the {len(files):,} images of '{split}' of NUS-WIDE is in '{folder}', such as '{files[0]}'; "
                f'its authors send the images on request ({SITE})'
            )
        self.files = [files[i] for i in kept]
        self.paths = [paths[i] for i in kept]
        self.lost = sorted(set(files) - set(self.files))
        self.y = torch.from_numpy(y[kept])


def find(root: Path, names: list[str], archive: str) -> Path:
    """The first of some paths that is there."""
    for name in names:
        if (root / name).exists():
            return root / name
    others = ''.join(f" or '{name}'" for name in names[1:])
    raise FileNotFoundError(
        f"NUS-WIDE is incomplete: there is no '{root / names[0]}'{others}; unpack {archive} of {SITE} in '{root}'"
    )


def read_list(path: Path) -> list[str]:
    """Reads a list of images as :obj:`folder/image`, whichever slashes and folders above it has."""
    seen: dict[str, str] = {}
    for where, line in read_lines(path):
        parts = line.replace('\\', '/').split('/')
        if len(parts) < 2 or not all(parts[-2:]):
            raise ValueError(f"{where}: expected an image such as 'actor\\0001_2124494179.jpg' (got '{line}')")
        file = '/'.join(parts[-2:])
        check_once(seen, file, where, f"the image '{file}'")
    if not seen:
        raise ValueError(f"'{path}' lists no images")
    return list(seen)


def check_concepts(root: Path) -> None:
    """Compares the official list of concepts, where it is there, with ours."""
    known = dict(zip(CONCEPTS, CONCEPTS)) | {other: concept for concept, other in OTHER.items()}
    for path in (root / 'ConceptsList' / 'Concepts81.txt', root / 'Concepts81.txt'):
        names = [name for _, name in read_lines(path)] if path.is_file() else CONCEPTS
        for at, name in enumerate(names, start=1):
            if name not in known:
                raise ValueError(f"'{path}': unknown concept '{name}'{nearest(name, CONCEPTS)}")
            if at > len(CONCEPTS) or known[name] != CONCEPTS[at - 1]:
                wanted = f"'{CONCEPTS[at - 1]}'" if at <= len(CONCEPTS) else f'the end after {len(CONCEPTS)} concepts'
                raise ValueError(f"'{path}', concept {at}: expected {wanted} (got '{name}')")
        if len(names) < len(CONCEPTS):
            raise ValueError(f"'{path}' must hold {len(CONCEPTS)} concepts (got {len(names)})")


def read_labels(root: Path, split: str, num_images: int) -> np.ndarray:
    """Reads the files of all concepts: :math:`(n, 81)` in int8."""
    archive = 'Groundtruth.zip'
    folder = find(root, ['Groundtruth/TrainTestLabels', 'TrainTestLabels'], archive)
    there, name_of = listing(folder), f'Labels_{{}}_{split.capitalize()}.txt'.format
    names = [name_of(concept) for concept in CONCEPTS]
    for concept, other in OTHER.items():
        if name_of(other) in there and name_of(concept) not in there:
            names[CONCEPTS.index(concept)] = name_of(other)
    lacking = [name for name in names if name not in there]
    if lacking:
        raise FileNotFoundError(
            f"NUS-WIDE is incomplete: {len(lacking)} of the {len(names)} files of labels of '{split}' are not in "
            f"'{folder}', such as '{lacking[0]}'; unpack {archive} of {SITE} in '{root}'"
        )
    return np.stack([read_column(folder / name, num_images) for name in names], axis=1)


def read_column(path: Path, num_images: int) -> np.ndarray:
    """Reads the labels of one concept, 0 or 1 a line."""
    content = path.read_bytes()
    cells = np.frombuffer(content.replace(b'\r', b'').removesuffix(b'\n') + b'\n', dtype=np.uint8)
    if len(cells) == 2 * num_images and (cells[1::2] == ord('\n')).all() and np.isin(cells[::2], (48, 49)).all():
        return (cells[::2] - 48).astype(np.int8)
    lines = content.decode('utf-8', 'replace').rstrip().splitlines()  # Spaces or something wrong: line by line.
    for at, line in enumerate(lines, start=1):
        if line.strip() not in ('0', '1'):
            raise ValueError(f"'{path}', line {at}: expected 0 or 1 (got '{line}')")
    if len(lines) != num_images:
        raise ValueError(f"'{path}' must have a line for each of the {num_images:,} images (got {len(lines):,})")
    return np.array([int(line) for line in lines], dtype=np.int8)

"""PASCAL VOC 2007 in its real layout."""

from pathlib import Path
from xml.etree import ElementTree

import torch

from mlsgm_pyg.datasets.base import LabelledImages
from mlsgm_pyg.names import check_choice, nearest

NAMES = [
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow',
    'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor',
]  # fmt: skip
SPLITS = ['trainval', 'test', 'train', 'val']
DIFFICULT = {'ignore': -1, 'negative': 0, 'positive': 1}  # What a class is that only difficult objects show.
ARCHIVES = {'test': 'VOCtest_06-Nov-2007.tar'}
SITE = 'http://host.robots.ox.ac.uk/pascal/VOC/voc2007/'


class Voc2007(LabelledImages):
    r"""PASCAL VOC 2007, 20 classes in the order of its development kit; 5,011 images to train and 4,952 to test.

    It lies in :obj:`root/VOCdevkit/VOC2007` with its folders :obj:`Annotations`, :obj:`ImageSets/Main` and
    :obj:`JPEGImages`. Labels come from :obj:`ImageSets/Main/<class>_<split>.txt`, or from :obj:`Annotations` where
    those are not there; both say the same.

    Args:
        root (str or Path): The folder that holds, or will hold, :obj:`VOCdevkit`.
        split (str): :obj:`'trainval'`, :obj:`'test'`, :obj:`'train'` or :obj:`'val'`. (default: :obj:`'trainval'`)
        difficult (str): What a class is of which an image has difficult objects only: :obj:`'ignore'` (unknown: it
            counts in no loss or metric), :obj:`'negative'` or :obj:`'positive'`. (default: :obj:`'ignore'`)
        download (bool): Download it through torchvision if it is not there. (default: :obj:`False`)
        missing (str): :obj:`'raise'` looks for every image at once; :obj:`'skip'` leaves missing ones to whoever reads
            them. (default: :obj:`'raise'`)

    Raises:
        FileNotFoundError: If a part of the data set is not there, with what to do.
        ValueError: For an unknown split or policy, and for anything wrong in its files, with file and line.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = 'trainval',
        difficult: str = 'ignore',
        download: bool = False,
        missing: str = 'raise',
    ):
        check_choice('split', split, SPLITS)
        check_choice('difficult', difficult, DIFFICULT)
        self.split = split
        self.difficult = difficult
        self.class_names = list(NAMES)
        folder = find(Path(root), split, download)
        numbers = [line.split()[0] for _, line in _lines(folder / 'ImageSets' / 'Main' / f'{split}.txt')]
        self.files = [f'{number}.jpg' for number in numbers]
        self.paths = [folder / 'JPEGImages' / file for file in self.files]
        if missing == 'raise':
            for path in self.paths:
                if not path.is_file():
                    raise FileNotFoundError(f"'{split}' of PASCAL VOC 2007 is incomplete: there is no image '{path}'")
        seen = read_lists(folder, split, numbers)
        if seen is None:
            seen = [read_annotation(folder / 'Annotations' / f'{number}.xml') for number in numbers]
        unsure = DIFFICULT[difficult]
        value = {1: 1, 0: unsure, -1: 0}
        self.y = torch.tensor([[value[row.get(name, -1)] for name in NAMES] for row in seen], dtype=torch.int8)


def find(root: Path, split: str, download: bool) -> Path:
    """Returns the folder of the data set, downloaded first if it lacks the split and that is wanted."""
    folder = root / 'VOCdevkit' / 'VOC2007'
    part = folder / 'ImageSets' / 'Main' / f'{split}.txt'
    if not part.is_file() and download:
        fetch(root, split)
    if not part.is_file():
        raise FileNotFoundError(
            f"there is no '{part}': '{root}' does not hold '{split}' of PASCAL VOC 2007. Give download=True, or unpack "
            f'{SITE}{ARCHIVES.get(split, "VOCtrainval_06-Nov-2007.tar")} there'
        )
    return folder


def fetch(root: Path, split: str) -> None:
    """Downloads one split through torchvision."""
    from torchvision.datasets import VOCDetection

    root.mkdir(parents=True, exist_ok=True)
    try:
        VOCDetection(str(root), year='2007', image_set=split, download=True)
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(f"could not download '{split}' of PASCAL VOC 2007 to '{root}': {error}") from error


def read_lists(folder: Path, split: str, numbers: list[str]) -> list[dict[str, int]] | None:
    """Reads what each image shows from the lists of the classes: 1 present, 0 difficult only, -1 absent."""
    paths = {name: folder / 'ImageSets' / 'Main' / f'{name}_{split}.txt' for name in NAMES}
    if not all(path.is_file() for path in paths.values()):
        return None
    tables = {}
    for name, path in paths.items():
        table = {}
        for at, line in _lines(path):
            cells = line.split()
            if len(cells) != 2 or cells[1] not in ('1', '0', '-1'):
                raise ValueError(f"'{path}', line {at}: expected an image and 1, 0 or -1 (got '{line}')")
            table[cells[0]] = int(cells[1])
        lacking = [number for number in numbers if number not in table]
        if lacking:
            raise ValueError(f"'{path}' lacks {len(lacking)} of the {len(numbers)} images, such as '{lacking[0]}'")
        tables[name] = table
    return [{name: table[number] for name, table in tables.items()} for number in numbers]


def read_annotation(path: Path) -> dict[str, int]:
    """Reads what an image shows from its annotation: 1 present, 0 difficult only; what is absent is not there."""
    try:
        objects = ElementTree.parse(path).getroot().iter('object')
    except FileNotFoundError:
        raise FileNotFoundError(f"PASCAL VOC 2007 is incomplete: there is no annotation '{path}'") from None
    except ElementTree.ParseError as error:
        raise ValueError(f"'{path}' is not a valid annotation: {error}") from error
    seen: dict[str, int] = {}
    for item in objects:
        name = (item.findtext('name') or '').strip()
        if name not in NAMES:
            raise ValueError(f"'{path}': unknown class '{name}'{nearest(name, NAMES)}")
        easy = (item.findtext('difficult') or '0').strip() != '1'
        seen[name] = max(seen.get(name, 0), int(easy))
    return seen


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, with their numbers."""
    lines = enumerate(path.read_text(encoding='utf-8').splitlines(), start=1)
    return [(at, line) for at, line in lines if line.strip()]

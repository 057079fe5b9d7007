"""PASCAL VOC in its real layout, whichever the year."""

from pathlib import Path
from xml.etree import ElementTree

import torch

from mlsgm_pyg.datasets.base import LabelledImages
from mlsgm_pyg.datasets.files import check_count, check_images
from mlsgm_pyg.names import check_choice, nearest

NAMES = [
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow',
    'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor',
]  # fmt: skip
DIFFICULT = {'ignore': -1, 'negative': 0, 'positive': 1}  # What a class is that only difficult objects show.
SITE = 'https://thor.robots.ox.ac.uk/pascal/VOC'


class Voc(LabelledImages):
    r"""PASCAL VOC of one year, 20 classes in the order of its development kit.

    It lies in :obj:`root/VOCdevkit/VOC<year>` with its folders :obj:`Annotations`, :obj:`ImageSets/Main` and
    :obj:`JPEGImages`. Labels come from :obj:`ImageSets/Main/<class>_<split>.txt`, or from :obj:`Annotations` where
    those are not there; both say the same.

    Args:
        root (str or Path): The folder that holds, or will hold, :obj:`VOCdevkit`.
        split (str): One of :attr:`counts`.
        difficult (str): What a class is of which an image has difficult objects only: :obj:`'ignore'` (unknown: it
            counts in no loss or metric), :obj:`'negative'` or :obj:`'positive'`. (default: :obj:`'ignore'`)
        download (bool): Download it through torchvision if it is not there. (default: :obj:`False`)
        missing (str): :obj:`'raise'` looks for every image at once; :obj:`'skip'` leaves missing ones to whoever reads
            them. (default: :obj:`'raise'`)
        verify (bool): The list of the split must have as many images as the official one; :obj:`False` takes a part of
            it. (default: :obj:`True`)

    Attributes:
        year (int): Which VOC.
        counts (dict[str, int]): Its splits and how many images each has.
        archives (dict[str, str]): Where each split can be downloaded.

    Raises:
        FileNotFoundError: If a part of the data set is not there, with what to do.
        ValueError: For an unknown split or policy, for a wrong number of images, and for anything wrong in its files,
            with file and line.
    """

    year: int
    counts: dict[str, int]
    archives: dict[str, str]

    def __init__(
        self,
        root: str | Path,
        split: str = 'trainval',
        difficult: str = 'ignore',
        download: bool = False,
        missing: str = 'raise',
        verify: bool = True,
    ):
        check_choice('split', split, self.counts)
        check_choice('difficult', difficult, DIFFICULT)
        check_choice('missing', missing, ('raise', 'skip'))
        self.split = split
        self.difficult = difficult
        self.class_names = list(NAMES)
        self.part, root = f"'{split}' of PASCAL VOC {self.year}", Path(root)
        folder = root / 'VOCdevkit' / f'VOC{self.year}'
        path = folder / 'ImageSets' / 'Main' / f'{split}.txt'
        if not path.is_file() and download:
            self._download(root)
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no '{path}': '{root}' does not hold {self.part}. Give data.download=true "
                f'(in Python download=True), or unpack {self.archives[split]} there'
            )
        numbers = [line.split()[0] for _, line in _lines(path)]
        if verify:
            check_count(self.part, self.counts[split], len(numbers), path, self.archives[split])
        self.files = [f'{number}.jpg' for number in numbers]
        self.paths = [folder / 'JPEGImages' / file for file in self.files]
        if missing == 'raise':
            check_images(self.part, self.paths, self.archives[split])
        seen = read_lists(folder, split, numbers)
        if seen is None:
            seen = [read_annotation(folder / 'Annotations' / f'{number}.xml') for number in numbers]
        value = {1: 1, 0: DIFFICULT[difficult], -1: 0}
        self.y = torch.tensor([[value[row.get(name, -1)] for name in NAMES] for row in seen], dtype=torch.int8).reshape(
            -1, len(NAMES)
        )

    def _download(self, root: Path) -> None:
        from torchvision.datasets import VOCDetection

        root.mkdir(parents=True, exist_ok=True)
        try:
            VOCDetection(str(root), year=str(self.year), image_set=self.split, download=True)
        except (OSError, RuntimeError) as error:
            raise FileNotFoundError(f"could not download {self.part} to '{root}': {error}") from error


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
        raise FileNotFoundError(f"PASCAL VOC is incomplete: there is no annotation '{path}'") from None
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
    try:
        text = path.read_bytes().decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path}' is not UTF-8 text: {error}") from error
    return [(at, line) for at, line in enumerate(text.splitlines(), start=1) if line.strip()]

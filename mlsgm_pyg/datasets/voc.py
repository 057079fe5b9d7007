"""PASCAL VOC 2007 and 2012 in their real layout."""

from pathlib import Path
from xml.etree import ElementTree

import torch

from mlsgm_pyg.datasets.base import LabelledImages
from mlsgm_pyg.datasets.files import check_count, check_images, read_lines
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
        split (str, optional): One of :attr:`counts`. (default: the first of them)
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
        split: str | None = None,
        difficult: str = 'ignore',
        download: bool = False,
        missing: str = 'raise',
        verify: bool = True,
    ):
        split = next(iter(self.counts)) if split is None else split
        if split == 'test' and split not in self.counts:
            raise ValueError(
                f"the annotations of PASCAL VOC {self.year}'s test images are not public, only its evaluation server "
                "has them: train on 'train' and evaluate on 'val' (got split='test')"
            )
        check_choice('split', split, self.counts)
        check_choice('difficult', difficult, DIFFICULT)
        check_choice('missing', missing, ('raise', 'skip'))
        self.split = split
        self.difficult = difficult
        self.class_names = list(NAMES)
        self.part = f"'{split}' of PASCAL VOC {self.year}"
        folder = Path(root) / 'VOCdevkit' / f'VOC{self.year}'
        path = folder / 'ImageSets' / 'Main' / f'{split}.txt'
        if not path.is_file() and download:
            self._download(Path(root))
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no '{path}': '{root}' does not hold {self.part}. Give data.download=true "
                f'(in Python download=True), or unpack {self.archives[split]} there'
            )
        numbers = [line.split()[0] for _, line in read_lines(path)]
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
        y = [[value[row.get(name, -1)] for name in NAMES] for row in seen]
        self.y = torch.tensor(y, dtype=torch.int8).view(-1, len(NAMES))

    def _download(self, root: Path) -> None:
        from torchvision.datasets import VOCDetection

        root.mkdir(parents=True, exist_ok=True)
        try:
            VOCDetection(str(root), year=str(self.year), image_set=self.split, download=True)
        except (OSError, RuntimeError) as error:
            raise FileNotFoundError(f"could not download {self.part} to '{root}': {error}") from error


class Voc2007(Voc):
    """PASCAL VOC 2007: 5,011 images to train (:obj:`'trainval'`, the default) and 4,952 to test, 20 classes; the splits
    :obj:`'train'` (2,501) and :obj:`'val'` (2,510) share out :obj:`'trainval'`. Layout and options are those of
    :class:`~mlsgm_pyg.datasets.voc.Voc`.
    """

    year = 2007
    counts = {'trainval': 5011, 'test': 4952, 'train': 2501, 'val': 2510}
    archives = dict.fromkeys(counts, f'{SITE}/voc2007/VOCtrainval_06-Nov-2007.tar')
    archives['test'] = f'{SITE}/voc2007/VOCtest_06-Nov-2007.tar'


class Voc2012(Voc):
    """PASCAL VOC 2012: 5,717 images to train (:obj:`'train'`, the default) and 5,823 to validate (:obj:`'val'`),
    together :obj:`'trainval'` (11,540), 20 classes. What the test images show is known to its evaluation server alone,
    so :obj:`'val'` is what is evaluated here. Layout and options are those of :class:`~mlsgm_pyg.datasets.voc.Voc`.
    """

    year = 2012
    counts = {'train': 5717, 'val': 5823, 'trainval': 11540}
    archives = dict.fromkeys(counts, f'{SITE}/voc2012/VOCtrainval_11-May-2012.tar')


def read_lists(folder: Path, split: str, numbers: list[str]) -> list[dict[str, int]] | None:
    """Reads what each image shows from the lists of the classes: 1 present, 0 difficult only, -1 absent."""
    paths = {name: folder / 'ImageSets' / 'Main' / f'{name}_{split}.txt' for name in NAMES}
    if not all(path.is_file() for path in paths.values()):
        return None
    tables = {}
    for name, path in paths.items():
        tables[name] = table = {}
        for where, line in read_lines(path):
            number, *mark = line.split()
            if mark not in (['1'], ['0'], ['-1']):
                raise ValueError(f"{where}: expected an image and 1, 0 or -1 (got '{line}')")
            table[number] = int(mark[0])
        lacking = [number for number in numbers if number not in table]
        if lacking:
            raise ValueError(f"'{path}' lacks {len(lacking)} of the {len(numbers)} images, such as '{lacking[0]}'")
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

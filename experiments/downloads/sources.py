"""Where each data set comes from, what its files must be, and how one sees that all of it is there.

The sizes are those that the official servers give. VOC's checksums are torchvision's; COCO's and GloVe's are those that
many projects agree on. Visual Genome has none: its archives are checked by size and by the checksums inside the zip
files, and then, like all, by the images they unpack to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mlsgm_pyg import datasets
from mlsgm_pyg.datasets import coco, nus_wide, voc
from mlsgm_pyg.datasets.base import LabelledImages
from mlsgm_pyg.semantics import word_vectors


class Archive(NamedTuple):
    """A file to download."""

    url: str
    size: int  # Bytes.
    holds: dict[str, int]  # What is there once it is unpacked: a file (1), or a folder/ with at least that many files.
    checksum: str = ''  # md5:... or sha256:...
    only: tuple[str, ...] = ()  # Unpack these alone; empty: all.
    listed: tuple[str, ...] = ()  # A file that it holds and a folder: each number in the one is an image in the other.

    @property
    def name(self) -> str:
        return PurePosixPath(self.url).name


class Source(NamedTuple):
    """A data set."""

    about: str
    root: str  # Where it goes, as the rows have it.
    archives: tuple[Archive, ...]
    verify: Callable[[Path], list[str]]  # Reads all of it, which also fills the caches, and says what it saw.
    by_hand: str = ''  # What to do where nothing may be downloaded.


def describe(data: LabelledImages, part: str) -> str:
    """One part of a data set in a line."""
    present = (data.y == 1).sum(1)
    labels = present.double().mean().item() if len(data) else 0.0
    return (
        f'{part}: {len(data):,} images, {len(data.class_names)} classes, {labels:.2f} labels an image, '
        f'{int((present == 0).sum()):,} images without any'
    )


def parts(kind: Callable[[Path, str], LabelledImages], *splits: str) -> Callable[[Path], list[str]]:
    """Reads the splits of a data set."""
    return lambda root: [describe(kind(root, split), split) for split in splits]


def verify_nus_wide(root: Path) -> list[str]:
    read = {split: datasets.NusWide(root, split) for split in ('train', 'test')}
    return [f'{describe(data, split)}; {len(data.lost):,} lost by Flickr' for split, data in read.items()]


def verify_visual_genome(root: Path) -> list[str]:
    read = {split: datasets.VisualGenome(root, split, VG_CLASSES) for split in ('train', 'test')}
    return [describe(data, f'{split} (VG-{VG_CLASSES})') for split, data in read.items()]


def verify_glove(root: Path) -> list[str]:
    path = root / GLOVE
    lines = []
    for name, names in {'MS-COCO': coco.NAMES, 'PASCAL VOC': voc.NAMES, 'NUS-WIDE': nus_wide.CONCEPTS}.items():
        length = word_vectors(names, path).size(1)  # Also fills the cache.
        lines.append(f'{name}: all {len(names)} class names have a vector of {length} numbers')
    return [*lines, f'semantics.source={path}']


GLOVE = 'glove.6B.300d.txt'
COCO_FILES = ('annotations/instances_train2014.json', 'annotations/instances_val2014.json')
VG_CLASSES = 200  # Of the check; VG-500 reads the same files.
VG_SITE = 'https://homes.cs.washington.edu/~ranjay/visualgenome/data/dataset'
VG_IMAGES = 'https://cs.stanford.edu/people/rak248/VG_100K_2'
NUS_SITE = nus_wide.SITE.rpartition('/')[0]


def coco_images(split: str, size: int, md5: str) -> Archive:
    url, folder = f'{coco.SITE}/zips/{split}2014.zip', f'{split}2014/'
    return Archive(url, size, {folder: coco.COUNTS[split]}, f'md5:{md5}')


def voc_archive(kind: type[voc.Voc], split: str, size: int, md5: str) -> Archive:
    folder = f'VOCdevkit/VOC{kind.year}'
    names = f'{folder}/ImageSets/Main/{split}.txt'
    return Archive(kind.archives[split], size, {names: 1}, f'md5:{md5}', listed=(names, f'{folder}/JPEGImages'))


SOURCES = {
    'coco': Source(
        'MS-COCO 2014: images and instances',
        'data/coco',
        (
            Archive(
                coco.ANNOTATIONS,
                252_872_794,
                dict.fromkeys(COCO_FILES, 1),
                'md5:0a379cfc70b0e71301e0f377548639bd',
                COCO_FILES,
            ),
            coco_images('train', 13_510_573_713, '0da8c0bd3d6becc4dcb32757491aca88'),
            coco_images('val', 6_645_013_297, 'a3d79f5ed8d289b7a7554ce06a5782b3'),
        ),
        parts(datasets.Coco, 'train', 'val'),
    ),
    'voc2007': Source(
        'PASCAL VOC 2007: trainval and test',
        'data/voc2007',
        (
            voc_archive(datasets.Voc2007, 'trainval', 460_032_000, 'c52e279531787c972589f7e41ab4ae64'),
            voc_archive(datasets.Voc2007, 'test', 451_020_800, 'b6e924de25625d8de591ea690078ad9f'),
        ),
        parts(datasets.Voc2007, 'trainval', 'test'),
    ),
    'voc2012': Source(
        'PASCAL VOC 2012: train and val (the labels of its test images are not public)',
        'data/voc2012',
        (voc_archive(datasets.Voc2012, 'trainval', 1_999_639_040, '6cd6e144f989b92b3379bac3b3de84fd'),),
        parts(datasets.Voc2012, 'train', 'val'),
    ),
    'visual_genome': Source(
        'Visual Genome: objects (version 1.4) and images, for VG-200 and VG-500',
        'data/visual_genome',
        (
            Archive(f'{VG_SITE}/objects.json.zip', 55_323_929, {'objects.json': 1}),
            Archive(f'{VG_IMAGES}/images.zip', 9_731_705_982, {'VG_100K/': 64_346}),
            Archive(f'{VG_IMAGES}/images2.zip', 5_471_658_058, {'VG_100K_2/': 43_903}),
        ),
        verify_visual_genome,
    ),
    'glove': Source(
        'GloVe 6B: 300 numbers for each of 400,000 words',
        'data/glove',
        (
            Archive(
                'https://nlp.stanford.edu/data/glove.6B.zip',
                862_182_613,
                {GLOVE: 1},
                'sha256:617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb',
                (GLOVE,),
            ),
        ),
        verify_glove,
    ),
    'nus_wide': Source(
        'NUS-WIDE: what to fetch by hand, and whether it is all there',
        'data/nus_wide',
        (),
        verify_nus_wide,
        f"""NUS-WIDE's authors ask who takes it, so it is fetched by hand ({nus_wide.SITE}):
  {NUS_SITE}/ImageList.zip     unpack in {{root}}: ImageList/TrainImagelist.txt, TestImagelist.txt
  {NUS_SITE}/Groundtruth.zip   unpack in {{root}}: Groundtruth/TrainTestLabels/Labels_<concept>_<Train or Test>.txt
  {NUS_SITE}/ConceptsList.zip  unpack in {{root}}: ConceptsList/Concepts81.txt (compared where it is there)
  the images, by the form on that page; unpack them as {{root}}/Flickr/<folder>/<image>.jpg
Then once more: python -m experiments.prepare nus_wide""",
    ),
}

"""Small data sets as the archives that a server would have; the counts that the library knows are made theirs."""

import tarfile
import zipfile
from pathlib import Path

from experiments.downloads import sources
from mlsgm_pyg import datasets, semantics
from mlsgm_pyg.datasets import coco, nus_wide, visual_genome, voc
from tests.miniature_visual_genome import write_vg
from tests.miniatures import write_coco, write_voc

TRAIN, VAL = {9: [(1, 0)], 25: [(17, 0), (1, 0)], 30: []}, {42: [(18, 1)]}
CAT, DOG = {'000001': [('cat', 0)], '000002': [('cat', 1)]}, {'000003': [('dog', 0)]}


def zipped(folder: Path, *parts: str) -> bytes:
    """Some files and folders of a folder as a zip file."""
    path = folder / 'archive'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for part in parts:
            for file in sorted([folder / part, *(folder / part).rglob('*')]):
                archive.write(file, file.relative_to(folder))
    return path.read_bytes()


def tarred(folder: Path) -> bytes:
    path = folder / 'archive'
    with tarfile.open(path, 'w') as archive:
        archive.add(folder / 'VOCdevkit', 'VOCdevkit')
    return path.read_bytes()


def small_coco(folder, monkeypatch):
    monkeypatch.setattr(coco, 'COUNTS', {'train': 3, 'val': 1})
    write_coco(folder, 'train', TRAIN)
    write_coco(folder, 'val', VAL)
    (folder / 'annotations' / 'captions_val2014.json').write_text('{}')
    return [zipped(folder, part) for part in ('annotations', 'train2014', 'val2014')], {'train2014/': 3, 'val2014/': 1}


def small_voc2007(folder, monkeypatch):
    monkeypatch.setattr(datasets.Voc2007, 'counts', {'trainval': 2, 'test': 1})
    contents = []
    for split, images in {'trainval': CAT, 'test': DOG}.items():
        write_voc(folder / split, 2007, voc.NAMES, {split: images})
        contents.append(tarred(folder / split))
    return contents, {}


def small_voc2012(folder, monkeypatch):
    monkeypatch.setattr(datasets.Voc2012, 'counts', {'train': 2, 'val': 1})
    write_voc(folder, 2012, voc.NAMES, {'train': CAT, 'val': DOG, 'trainval': CAT | DOG})
    return [tarred(folder)], {}


def small_vg(folder, monkeypatch):
    monkeypatch.setattr(visual_genome, 'SIZES', [6, 7])
    monkeypatch.setattr(visual_genome, 'TEST_SIZE', 2)
    monkeypatch.setattr(sources, 'VG_CLASSES', 2)
    write_vg(folder, {i: [(['dog'], ['dog.n.01']), (['sky'], ['sky.n.01'])] for i in range(1, 7)}, extra=(9,))
    parts = ('objects.json', 'VG_100K', 'VG_100K_2')
    return [zipped(folder, part) for part in parts], {'VG_100K/': 4, 'VG_100K_2/': 3}


def small_glove(folder, monkeypatch):
    names = [*coco.NAMES, *voc.NAMES, *nus_wide.CONCEPTS]
    words = sorted({word for name in names for word in semantics.split_name(name)})
    for length in (50, 300):
        lines = (f'{word} {" ".join(map(str, range(length)))}\n' for word in words)
        (folder / f'glove.6B.{length}d.txt').write_text(''.join(lines))
    return [zipped(folder, 'glove.6B.50d.txt', 'glove.6B.300d.txt')], {}


SMALL = {
    'coco': small_coco,
    'voc2007': small_voc2007,
    'voc2012': small_voc2012,
    'visual_genome': small_vg,
    'glove': small_glove,
}

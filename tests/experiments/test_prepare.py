"""Data sets are downloaded from a server on this machine, whose lines break; no test asks the internet."""

import hashlib
import shutil

import pytest

from experiments import prepare
from experiments.downloads import download, sources
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.datasets import coco, nus_wide
from tests.miniature_nus_wide import write_nus_wide
from tests.miniatures import write_coco
from tests.server import running
from tests.sites import SMALL, TRAIN, VAL

SEEN = {
    'coco': 'val: 1 images, 80 classes, 1.00 labels an image, 0 images without any',
    'voc2007': 'trainval: 2 images, 20 classes, 0.50 labels an image, 1 images without any',
    'voc2012': 'train: 2 images, 20 classes, 0.50 labels an image, 1 images without any',
    'visual_genome': 'test (VG-2): 2 images, 2 classes, 2.00 labels an image, 0 images without any',
    'glove': 'MS-COCO: all 80 class names have a vector of 300 numbers',
}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download.time, 'sleep', lambda seconds: None)
    with running() as server:
        yield server


@pytest.fixture
def serve(server, tmp_path, monkeypatch):
    """Puts a small data set on the server; the table then says its sizes, checksums and counts."""

    def make(name):
        folder = tmp_path / 'site'
        folder.mkdir()
        contents, counts = SMALL[name](folder, monkeypatch)
        source, archives = sources.SOURCES[name], []
        for archive, content in zip(source.archives, contents, strict=True):
            server.files[f'/{archive.name}'] = content
            checksum = f'md5:{hashlib.md5(content).hexdigest()}' if archive.checksum else ''
            holds = archive.holds | {place: counts[place] for place in archive.holds if place in counts}
            archives.append(archive._replace(size=len(content), checksum=checksum, holds=holds))
        monkeypatch.setitem(sources.SOURCES, name, source._replace(archives=tuple(archives)))
        return lambda *words: prepare.main([name, '--root', str(tmp_path / 'data'), '--mirror', server.url, *words])

    return make


@pytest.mark.parametrize('name', SMALL)
def test_a_data_set_from_nothing_to_ready(serve, server, tmp_path, capsys, name):
    run, root = serve(name), tmp_path / 'data'
    assert run() == 0
    out = capsys.readouterr().out
    assert SEEN[name] in out and f'all there: {root}' in out and 'no longer needed' in out
    assert len(server.asked) == len(server.files) and not list(root.rglob('*.part'))
    for archive in root.glob('*[rp]'):  # .tar, .zip
        archive.unlink()
    assert run() == 0 and run('--check') == 0  # Nothing is fetched twice.
    out = capsys.readouterr().out
    assert len(server.asked) == len(server.files) and 'no longer needed' not in out and out.count(SEEN[name]) == 2
    caches = {
        'coco': ['instances_train2014.json.cache.npz', 'instances_val2014.json.cache.npz'],
        'visual_genome': ['objects.json.synsets.cache.npz'],
        'glove': ['glove.6B.300d.txt.cache.npz'],
    }
    assert sorted(path.name for path in root.rglob('*.cache.npz')) == caches.get(name, [])


def test_only_what_is_needed_is_unpacked(serve, tmp_path):
    assert serve('coco')() == 0
    assert not (tmp_path / 'data' / 'annotations' / 'captions_val2014.json').exists()
    shutil.rmtree(tmp_path / 'data')
    shutil.rmtree(tmp_path / 'site')
    assert serve('glove')() == 0
    assert not (tmp_path / 'data' / 'glove.6B.50d.txt').exists()


@pytest.mark.parametrize('ranges', [True, False])
def test_cut_lines(serve, server, ranges):
    run = serve('coco')
    server.ranges, server.cuts = ranges, [300, 500]
    assert run() == 0
    asked = [wanted for path, wanted in server.asked if path == '/annotations_trainval2014.zip']
    assert asked == ([None, 'bytes=300-', 'bytes=800-'] if ranges else [None, 'bytes=300-', 'bytes=500-'])


def test_a_download_that_is_given_up_goes_on_with_the_next_command(serve, server, tmp_path, capsys):
    run = serve('coco')
    server.cuts = [300] + [0] * 9
    assert run() == 1
    error = capsys.readouterr().err
    assert error.startswith('error: http://127.0.0.1') and 'another call goes on from there' in error
    server.cuts = []
    assert run() == 0 and ('/annotations_trainval2014.zip', 'bytes=300-') in server.asked[-4:]


def test_a_wrong_checksum(serve, server, tmp_path, capsys):
    run = serve('coco')
    content = server.files['/val2014.zip']
    server.files['/val2014.zip'] = content[:50] + bytes([content[50] ^ 1]) + content[51:]
    assert run() == 1
    error = capsys.readouterr().err
    assert f'expected md5 {hashlib.md5(content).hexdigest()} (got ' in error and '/val2014.zip is not what' in error
    assert not list((tmp_path / 'data').glob('val2014*'))
    server.files['/val2014.zip'] = content
    assert run() == 0


@pytest.mark.parametrize(('wrong', 'message'), [('absent', '404 Not Found'), ('longer', 'has another size: expected ')])
def test_what_the_server_does_not_have(serve, server, capsys, wrong, message):
    run = serve('coco')
    content = server.files.pop('/train2014.zip')
    if wrong == 'longer':
        server.files['/train2014.zip'] = content + b'more'
    assert run() == 1
    assert message in capsys.readouterr().err


def test_an_unpacking_that_was_broken_off_goes_on(serve, server, tmp_path):
    run, root = serve('voc2007'), tmp_path / 'data'
    assert run() == 0
    (root / 'VOCtest_06-Nov-2007.tar.unpacking').touch()
    (root / 'VOCdevkit/VOC2007/ImageSets/Main/dog_test.txt').unlink()
    assert run() == 0 and len(server.asked) == 2
    assert (root / 'VOCdevkit/VOC2007/ImageSets/Main/dog_test.txt').is_file()
    assert not (root / 'VOCtest_06-Nov-2007.tar.unpacking').exists()


def test_an_archive_that_holds_something_else(serve, tmp_path, monkeypatch, capsys):
    run, source = serve('coco'), sources.SOURCES['coco']
    wanting = source.archives[1]._replace(holds={'train2014/': 4})
    monkeypatch.setitem(sources.SOURCES, 'coco', source._replace(archives=(source.archives[0], wanting)))
    assert run() == 1
    assert "train2014.zip' does not hold what it should: expected train2014/ (4 files) in '" in capsys.readouterr().err


def test_a_broken_archive_without_a_checksum_says_what_to_do(serve, server, tmp_path, capsys):
    run, root = serve('visual_genome'), tmp_path / 'data'
    content = server.files['/images.zip']
    server.files['/images.zip'] = content[:60] + bytes(200) + content[260:]
    for _ in range(2):
        assert run() == 1
        message = f"'{root}/images.zip' is broken: "
        error = capsys.readouterr().err
        assert message in error and error.endswith('; delete it, and the same command downloads it again\n')
    server.files['/images.zip'] = content
    (root / 'images.zip').unlink()
    assert run() == 0


@pytest.mark.parametrize(
    ('name', 'image'),
    [
        ('visual_genome', 'VG_100K_2/2.jpg'),
        ('voc2007', 'VOCdevkit/VOC2007/JPEGImages/000001.jpg'),
        ('voc2007', 'VOCdevkit/VOC2007/JPEGImages/000003.jpg'),
        ('voc2012', 'VOCdevkit/VOC2012/JPEGImages/000003.jpg'),
    ],
)
def test_a_lost_image_comes_back(serve, server, tmp_path, name, image):
    run = serve(name)
    assert run() == 0
    (tmp_path / 'data' / image).unlink()
    assert run('--check') == 1
    assert run() == 0 and (tmp_path / 'data' / image).is_file() and len(server.asked) == len(server.files)


def test_check_sees_an_unpacking_that_was_broken_off(serve, tmp_path, capsys):
    run = serve('coco')
    run()
    (tmp_path / 'data' / 'val2014.zip.unpacking').touch()
    assert run('--check') == 1
    assert "the unpacking of 'val2014.zip' in '" in capsys.readouterr().err
    assert run() == 0 and run('--check') == 0


def test_wrong_counts(serve, monkeypatch, capsys):
    run = serve('coco')
    monkeypatch.setitem(coco.COUNTS, 'val', 2)
    assert run() == 1
    assert "error: 'val' of MS-COCO 2014 has 2 images (got 1 in '" in capsys.readouterr().err


def test_check_downloads_nothing(serve, server, tmp_path, capsys):
    run = serve('coco')
    assert run('--check') == 1 and server.asked == [] and not (tmp_path / 'data').exists()
    assert capsys.readouterr().err.startswith("error: there is no '")
    run()
    next((tmp_path / 'data' / 'train2014').iterdir()).unlink()
    asked = len(server.asked)
    assert run('--check') == 1 and len(server.asked) == asked
    assert "error: 'train' of MS-COCO 2014 lacks 1 of its 3 images" in capsys.readouterr().err
    assert run() == 0 and len(server.asked) == asked  # From the archive, which is still there.


def test_the_users_own_copy_is_enough(server, tmp_path, monkeypatch):
    monkeypatch.setattr(coco, 'COUNTS', {'train': 3, 'val': 1})
    write_coco(tmp_path, 'train', TRAIN)
    write_coco(tmp_path, 'val', VAL)
    assert prepare.main(['coco', '--root', str(tmp_path), '--check']) == 0


def test_nus_wide_is_fetched_by_hand(server, tmp_path, monkeypatch, capsys):
    command = ['nus_wide', '--root', str(tmp_path), '--mirror', server.url]
    assert prepare.main(command) == 1
    out, error = capsys.readouterr()
    for name in ('ImageList.zip', 'Groundtruth.zip', 'ConceptsList.zip', f'{tmp_path}/Flickr/<folder>/<image>.jpg'):
        assert name in out
    assert error.startswith('error: NUS-WIDE is incomplete: ') and server.asked == []
    monkeypatch.setattr(nus_wide, 'COUNTS', {'train': 2, 'test': 1})
    write_nus_wide(tmp_path, 'Train', {'actor/1.jpg': {'sky'}, 'actor/2.jpg': set()})
    write_nus_wide(tmp_path, 'Test', {'zoo/3.jpg': {'tiger', 'cat'}})
    (tmp_path / 'Flickr' / 'actor' / '2.jpg').unlink()
    assert prepare.main(command) == 0
    out = capsys.readouterr().out
    assert 'train: 1 images, 81 classes, 1.00 labels an image, 0 images without any; 1 lost by Flickr' in out
    assert 'unpack in' not in out


def test_glove_that_lacks_a_word(serve, tmp_path, capsys):
    run = serve('glove')
    run()
    path = tmp_path / 'data' / 'glove.6B.300d.txt'
    lines = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith('zebra ')]
    path.write_text(''.join(lines))
    assert run() == 1
    assert "has no word vector for 1 of 80 class names: 'zebra'" in capsys.readouterr().err


def test_words(capsys):
    assert prepare.main(['coc']) == 2
    assert capsys.readouterr().err == "error: unknown data set 'coc': did you mean 'coco'?\n"
    assert prepare.main([]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in [*sources.SOURCES, 'mlsgm check FOLDER', '20.4 GB', 'by hand'])
    for words, told in [
        (['coco', 'PATH'], 'unrecognized arguments: PATH'),
        (['coco', '--chekc'], 'unrecognized arguments: --chekc'),
    ]:
        with pytest.raises(SystemExit):
            prepare.main(words)
        assert capsys.readouterr().err.endswith(f'error: {told}\n')
    with pytest.raises(SystemExit) as end:
        prepare.main(['csv', 'my photos', 'data.labels=x.csv'])
    told = "error: this command has moved: mlsgm check 'my photos' data.labels=x.csv\n"
    assert end.value.code == 2 and capsys.readouterr().err == told


def test_stopped_by_hand(monkeypatch, capsys):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, 'prepare', stop)
    assert prepare.main(['coco']) == 130
    assert capsys.readouterr().err == 'stopped; the same command goes on from there\n'


def test_the_table():
    rows = {
        'nus_wide': 'nus_wide',
        'visual_genome': 'vg200',
        'coco': 'coco',
        'voc2007': 'voc2007',
        'voc2012': 'voc2012',
    }
    for name, source in sources.SOURCES.items():
        assert name == 'glove' or configs.load(rows[name]).data.root == source.root
        for archive in source.archives:
            kind, _, digits = archive.checksum.partition(':')
            assert archive.checksum == '' or len(digits) == {'md5': 32, 'sha256': 64}[kind]
            assert set(archive.only) <= set(archive.holds) and archive.name.endswith(('.zip', '.tar'))
        assert len({archive.name for archive in source.archives}) == len(source.archives)
    assert configs.load('coco').semantics.source == f'{sources.SOURCES["glove"].root}/{sources.GLOVE}'


def test_checksums_are_torchvisions():
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    known = {entry['url']: f'md5:{entry["md5"]}' for entry in DATASET_YEAR_DICT.values()}
    for name in ('voc2007', 'voc2012'):
        for archive in sources.SOURCES[name].archives:
            assert archive.checksum == known[archive.url]

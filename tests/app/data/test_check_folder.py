"""The survey of a folder: what it counts, what it finds wrong, and that its command is one that runs."""

import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mlsgm_pyg.app.cli import check
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.data import check_folder
from mlsgm_pyg.datasets import files, images


def picture(path, seed, size=(12, 8), mode='RGB'):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def folder(tmp_path):
    """Eight listed images: two equal ones in two splits, one broken, one that is not there; one more is not listed."""
    images = tmp_path / 'photos of mine' / 'images'
    for seed, name in enumerate(['a.png', 'b.png', 'c.png', 'sub/A.png', 'd.png']):
        picture(images / name, seed)
    picture(images / 'grey.png', 9, (40, 30), 'L')
    picture(images / 'forgotten.png', 10)
    picture(images / '.hidden' / 'x.png', 11)
    (images / 'notes.txt').write_text('no image')
    (images / 'd.png').write_bytes((images / 'a.png').read_bytes())
    (images / 'broken.png').write_bytes((images / 'b.png').read_bytes()[:60])
    lines = [
        'file,split,cat,dog,qwxyzz',
        'a.png,train,1,1,0',
        'b.png,train,1,1,0',
        'c.png,train,0,0,-1',
        'sub/A.png,train,1,0,0',
        'broken.png,train,0,0,1',
        'd.png,val,1,0,0',
        'grey.png,val,0,0,-1',
        'gone.png,val,0,1,0',
    ]
    (images.parent / 'labels.csv').write_text('\n'.join(lines) + '\n')
    return images.parent


def surveyed(folder, tmp_path, capsys, *options):
    status = check.main([str(folder), *options, '--json', str(tmp_path / 'out.json')])
    captured = capsys.readouterr()
    assert status in (0, 1), captured.err
    return status, json.loads((tmp_path / 'out.json').read_text()), captured.out


def test_everything_is_found(folder, tmp_path, capsys):
    npz = tmp_path / 'vectors.npz'
    np.savez(npz, names=['cat', 'dog'], vectors=np.eye(2, dtype=np.float32))
    status, out, text = surveyed(folder, tmp_path, capsys, f'semantics.source={npz}')
    assert status == 1
    assert out['splits'] == {'train': 5, 'val': 3} and out['images'] == 8 and not out['splits_drawn']
    assert out['counts']['train']['cat'] == {'present': 3, 'absent': 2, 'unknown': 0}
    assert out['counts']['val']['qwxyzz'] == {'present': 0, 'absent': 2, 'unknown': 1}
    assert out['labels_per_image'] == {'train': {'0': 1, '1': 2, '2': 2}, 'val': {'0': 1, '1': 2}}
    assert out['without_positive'] == {'train': [], 'val': ['qwxyzz']}
    assert set(out['broken']) == {'broken.png', 'gone.png'}
    assert out['broken']['gone.png'] == 'No such file or directory' and 'truncated' in out['broken']['broken.png']
    assert out['not_listed'] == ['images/forgotten.png']
    assert out['same_content'] == [{'files': ['a.png', 'd.png'], 'across_splits': True, 'labels_differ': True}]
    assert out['same_name'] == [['a.png', 'sub/A.png']]
    assert out['sizes']['width'] == {'smallest': 12, 'median': 12.0, 'largest': 40}
    assert out['sizes']['shorter side']['largest'] == 30
    assert out['sizes']['modes'] == {'RGB': 5, 'L': 1} and out['sizes']['formats'] == {'PNG': 6}
    assert out['semantics']['without_vector'] == ['qwxyzz']
    assert [reason.split(':')[0].split(' in ')[0] for reason in out['stops']] == [
        '2 images cannot be read',
        '1 class has no word vector',
    ]
    for part in ('1 in several splits, 1 with different labels', 'a.png = d.png', 'forgotten.png', 'unknown', '40'):
        assert part in text
    assert text.rstrip().endswith(out['command'])


def test_pairs_by_hand(folder, tmp_path, capsys):
    _, out, _ = surveyed(folder, tmp_path, capsys, 'semantics.source=onehot')
    first = out['pairs'][0]
    assert first['classes'] == ['cat', 'dog'] and first['together'] == 2 and len(out['pairs']) == 1
    assert (first['second_given_first'], first['first_given_second']) == pytest.approx((2 / 4, 2 / 3))
    assert first['lift'] == pytest.approx((2 / 8) / (4 / 8 * 3 / 8))
    columns = [1, 1, 0, 1, 0, 1, 0, 0], [1, 1, 0, 0, 0, 0, 0, 1]
    assert first['correlation'] == pytest.approx(np.corrcoef(*columns)[0, 1])


def test_pairs_count_images_where_both_are_known():
    rng = np.random.default_rng(0)
    y = rng.integers(-1, 2, (60, 5)).astype(np.int8)
    names = list('abcde')
    for pair in check_folder.pairs(y, names):
        a, b = (y[:, names.index(name)] for name in pair['classes'])
        a, b = (column[(a >= 0) & (b >= 0)] for column in (a, b))
        assert pair['together'] == (a * b).sum()
        assert pair['second_given_first'] == pytest.approx(b[a == 1].mean())
        assert pair['first_given_second'] == pytest.approx(a[b == 1].mean())
        assert pair['correlation'] == pytest.approx(np.corrcoef(a, b)[0, 1])


def test_the_command_trains_on_the_folder_as_it_is(folder, tmp_path, capsys):
    _, out, _ = surveyed(folder, tmp_path, capsys, 'semantics.source=onehot')
    words = shlex.split(out['command'])
    assert words[:3] == ['mlsgm', 'train', str(folder)]
    config = configs.for_folder(words[2], options=words[3:])
    assert (config.data.root, config.data.train_split, config.data.test_split) == (str(folder), 'train', 'val')
    assert (config.data.on_error, config.semantics.source, config.name) == ('skip', 'onehot', 'photos of mine/ml_sgm')


def test_twins_dark_and_flat_pictures_and_what_is_none(tmp_path, capsys):
    images, lines = tmp_path / 'images', []
    images.mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        pixels = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        pixels.resize((160, 120), Image.Resampling.BICUBIC).save(images / f'{i}.png')
        lines.append(f'{i}.png,{"val" if i > 3 else "train"},{int(i == 1)}')
    for twin, of, label in [('x', 0, 1), ('y', 1, 1), ('z', 2, 0)]:
        Image.open(images / f'{of}.png').convert('RGB').save(images / f'{twin}.jpg', quality=60)
        lines.append(f'{twin}.jpg,{"train" if twin == "y" else "val"},{label}')
    Image.fromarray(rng.integers(0, 4096, (50, 60), dtype=np.uint16)).save(images / 'scan.tif')
    Image.new('RGB', (30, 20), 'black').save(images / 'flat.bmp')
    (images / 'text').write_text('no picture')
    lines += ['scan.tif,train,0', 'flat.bmp,train,0']
    (tmp_path / 'labels.csv').write_text('\n'.join(['file,split,cat', *lines]) + '\n')
    _, out, text = surveyed(tmp_path, tmp_path, capsys, 'semantics.source=onehot')
    found = [(pair['files'], pair['splits'], pair['labels_differ']) for pair in out['near']]
    assert sorted(found[:2]) == [
        (['0.png', 'x.jpg'], ['train', 'val'], True),
        (['2.png', 'z.jpg'], ['train', 'val'], False),
    ]
    assert found[2:] == [(['1.png', 'y.jpg'], ['train', 'train'], False)] and out['same_content'] == []
    assert (out['dark'], out['flat']) == (['scan.tif'], ['flat.bmp'])
    assert out['ignored'] == {'without a suffix that are no pictures': 1} and out['not_listed'] == []
    for line in (
        'Pairs of images that look the same (2 in two splits: trained on and tested on; 1 with different labels): 3',
        '  0.png (train) ~ x.jpg (val), with different labels',
        '  1.png (train) ~ y.jpg (train)',
        'ignored: 1 without a suffix that are no pictures',
        'Images that are nearly black (as 12 bits are that lie in 16): 1 (scan.tif)',
        'Images that are of one colour alone: 1 (flat.bmp)',
    ):
        assert f'{line}\n' in text


def test_names_without_splits_and_another_label_file(folder, tmp_path, capsys):
    files = ['a.png', 'b.png', 'c.png', 'grey.png', 'sub/A.png']
    (folder / 'names.json').write_text(json.dumps({file: ['cat'] for file in files}))
    status, out, text = surveyed(folder, tmp_path, capsys, 'data.labels=names.json', 'semantics.source=onehot')
    assert (
        status == 0
        and out['stops'] == []
        and out['splits_drawn']
        and '(dealt out by a seed: the file names none)' in text
    )
    assert out['splits'] == {'fit': 1, 'train': 3, 'val': 1} and 'data.labels=names.json' in out['command']
    assert 'on_error' not in out['command'] and 'images/d.png' in out['not_listed']


def test_one_split_alone_holds_out_a_fifth(folder, tmp_path, capsys):
    text = (folder / 'labels.csv').read_text().replace(',val,', ',all,').replace(',train,', ',all,')
    (folder / 'labels.csv').write_text(text)
    _, out, _ = surveyed(folder, tmp_path, capsys, 'semantics.source=onehot')
    config = configs.for_folder(folder, options=shlex.split(out['command'])[3:])
    assert out['parts'] == ['all', 'all'] and (config.data.train_split, config.data.dev) == ('all', 0.2)


def test_what_may_not_be_read_is_listed(folder, tmp_path, capsys, monkeypatch):
    def refuse(path):
        if path.name in refused:
            raise PermissionError(13, 'Permission denied', str(path))

    refused = ['a.png']
    for module in (files, images):
        monkeypatch.setattr(module, 'check_regular', refuse)
    _, out, _ = surveyed(folder, tmp_path, capsys, 'semantics.source=onehot')
    assert out['broken']['a.png'] == 'Permission denied'
    refused.append('labels.csv')
    assert check.main([str(folder)]) == 2
    path = folder / 'labels.csv'
    assert capsys.readouterr().err == f"error: the label file '{path}' cannot be read: Permission denied\n"


def test_where_the_numbers_cannot_be_written(folder, capsys, monkeypatch):
    words = [str(folder), 'semantics.source=onehot', '--json']
    path = folder / 'labels.csv' / 'such.json'
    with monkeypatch.context() as patch:
        patch.setattr(check_folder, 'survey', lambda *of: pytest.fail('it is surveyed'))
        assert check.main([*words, str(path)]) == 2
        assert capsys.readouterr() == ('', f"error: cannot write '{path}': '{path.parent}': Not a directory\n")
    full = lambda *of: (_ for _ in ()).throw(OSError(28, 'No space left on device'))  # noqa: E731
    monkeypatch.setattr(type(folder), 'write_text', full)
    assert check.main([*words, str(folder / 'new' / 'x.json')]) == 2  # It is printed all the same.
    out, err = capsys.readouterr()
    assert 'To train, ' in out and err.endswith('No space left on device\n')


@pytest.mark.parametrize(
    ('lines', 'stops'),
    [
        (['a.png,train,0,0', 'b.png,val,0,0'], ['no image shows any class: nothing to evaluate']),
        (
            ['a.png,train,-1,-1', 'b.png,val,-1,-1'],
            ["no image of 'train' has a known label: nothing to train on", 'no image shows any class: nothing to'],
        ),
        (['a.png,train,1,0', 'b.png,val,0,-1'], ["no image of 'val' shows any class: nothing to evaluate"]),
        (['a.png,train,-1,-1', 'b.png,val,0,1'], ["no image of 'train' has a known label: nothing to train on"]),
        (['a.png,train,1,0', 'b.png,train,0,0'], []),  # A part of it is held out.
        (['a.png,train,0,0', 'b.png,val,0,1'], []),
        (
            ['a.png,train,1,0', 'b.png,fit,0,0', 'c.png,test,0,1'],
            ["no image of 'fit' is known to show a class: thresholds cannot be fitted"],
        ),
    ],
)
def test_labels_that_train_nothing(folder, tmp_path, capsys, lines, stops):
    (folder / 'labels.csv').write_text('\n'.join(['file,split,cat,dog', *lines]) + '\n')
    status, out, text = surveyed(folder, tmp_path, capsys, 'semantics.source=onehot')
    assert status == bool(stops) and len(out['stops']) == len(stops)
    for told, start in zip(out['stops'], stops):
        assert told.startswith(start) and f'Training would stop: {told}\n' in text


def test_one_is_not_several(folder, tmp_path, capsys):
    (folder / 'labels.csv').write_text('file,split,cat\nbroken.png,train,1\n')
    np.savez(tmp_path / 'words.npz', names=['dog'], vectors=np.eye(1, dtype=np.float32))
    status, out, text = surveyed(folder, tmp_path, capsys, f'semantics.source={tmp_path / "words.npz"}')
    assert status == 1 and ': 1 image, 1 class; 1 train' in text
    assert out['stops'] == [
        '1 image cannot be read: mend it, or skip it by data.on_error=skip',
        f"1 class has no word vector in '{tmp_path / 'words.npz'}': rename it, or take semantics.source=onehot",
    ]


def test_the_words(capsys):
    with pytest.raises(SystemExit):
        check.main([])
    assert capsys.readouterr().err.endswith('error: the following arguments are required: FOLDER\n')


@pytest.mark.slow  # PyG is imported anew.
def test_no_warning_of_a_library(folder):
    command = [sys.executable, '-m', 'mlsgm_pyg', 'check', str(folder), 'semantics.source=onehot']
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1 and 'Warning' not in done.stderr, done.stderr


def test_splits_that_are_no_names(folder, capsys):
    (folder / 'names.json').write_text('[{"file": "a.png", "labels": ["cat"], "split": ["train"]}]')
    assert check.main([str(folder), 'data.labels=names.json']) == 2
    assert "entry 1: the image 'a.png' has no split name, but others have (got ['train'])" in capsys.readouterr().err


def test_a_missing_file_of_vectors_is_told(folder, tmp_path, capsys):
    status, out, _ = surveyed(folder, tmp_path, capsys, 'semantics.source=none.npz')
    assert status == 1 and "No file of word vectors 'none.npz'" in out['stops'][-1]
    assert 'semantics.source=onehot' in out['command']


def test_a_wrong_file_of_vectors_is_told_once(folder, tmp_path, capsys):
    np.savez(tmp_path / 'wrong.npz', nothing=np.eye(2))
    _, out, _ = surveyed(folder, tmp_path, capsys, f'semantics.source={tmp_path / "wrong.npz"}')
    assert out['semantics']['without_vector'] == []
    assert "must hold word vectors as arrays 'names' (strings) and 'vectors'" in out['stops'][-1]


@pytest.mark.parametrize(
    ('text', 'options', 'message'),
    [
        (
            'file,cat\na.png,2\n',
            [],
            "line 2, column 'cat': a label is 1 (present), 0 (absent) or -1 (unknown) (got '2')",
        ),
        ('file,cat\na.png,1\na.png,1\n', [], "the image 'a.png' is there already"),
        ('file,cat\na.png,1\n', ['data.label=x'], "unknown option 'data.label' in the command line"),
        ('file,cat\na.png,1\n', ['data.labels=x.csv'], 'there is no label file'),
    ],
)
def test_errors(folder, text, options, message, capsys):
    (folder / 'labels.csv').write_text(text)
    assert check.main([str(folder), *options]) == 2
    assert message in capsys.readouterr().err

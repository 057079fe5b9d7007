import json
import os
import time

import pytest
import torch
from PIL import Image

from mlsgm_pyg.datasets import CsvDataset, ImageDataset, build_view, files
from mlsgm_pyg.datasets.csv import find_labels, split_names


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'images').mkdir()
    for name in ('a', 'b', 'c'):
        Image.new('RGB', (5, 4)).save(tmp_path / 'images' / f'{name}.png')
    Image.new('RGB', (5, 4)).save(tmp_path / 'd.png')  # Beside the label file.
    return tmp_path


def read(folder, text, labels='labels.csv', **options):
    content = text if isinstance(text, bytes) else (text if isinstance(text, str) else json.dumps(text)).encode()
    (folder / labels).write_bytes(content)
    return CsvDataset(folder, labels=labels, **options)


def test_columns(folder):
    text = 'file,split,traffic light,cat\na.png,train,1,0\nb.png,train,-1,1\nc.png,val,0,0\nd.png,val,1.0,-1.0\n'
    data = read(folder, text, split='train')
    assert data.class_names == ['traffic light', 'cat'] and data.files == ['a.png', 'b.png']
    assert data.y.tolist() == [[1, 0], [-1, 1]] and data.y.dtype == torch.int8
    val = CsvDataset(folder, 'val')
    assert val.y.tolist() == [[0, 0], [1, -1]]
    assert val.paths == [folder / 'images' / 'c.png', folder / 'd.png']
    assert len(CsvDataset(folder)) == 4
    assert CsvDataset(folder, class_names=['cat']).y.tolist() == [[0], [1], [0], [-1]]
    assert CsvDataset(folder, class_names=['cat', 'traffic light']).y[1].tolist() == [1, -1]


def test_bom_blank_lines_windows_ends_spaces_and_quotes(folder):
    text = '\ufefffile, cat ,"dog, small"\r\n\r\n a.png , 1,0\r\n,,\r\n"b.png",0, -1 \r\n\r\n'.encode()
    data = read(folder, text)
    assert data.class_names == ['cat', 'dog, small'] and data.files == ['a.png', 'b.png']
    assert data.y.tolist() == [[1, 0], [0, -1]]


@pytest.mark.parametrize('mark', [';', '|', ','])
def test_names(folder, mark):
    data = read(folder, f'file,labels,unknown\na.png,"dog {mark} traffic light",\nb.png,,cat\nc.png,dog,"cat{mark}"\n')
    assert data.class_names == ['cat', 'dog', 'traffic light']  # A class that is only ever unknown is one, too.
    assert data.y.tolist() == [[0, 1, 1], [-1, 0, 0], [-1, 1, 0]]


def test_a_class_may_be_called_labels(folder):
    assert read(folder, 'file,labels,cat\na.png,1,0\n').class_names == ['labels', 'cat']


def test_json(folder):
    names = {'a.png': ['dog', 'cat'], 'b.png': [], 'd.png': ['dog']}
    data = read(folder, names, 'labels.json')
    assert data.class_names == ['cat', 'dog'] and data.y.tolist() == [[1, 1], [0, 0], [0, 1]]
    entries = [
        {'file': 'a.png', 'labels': ['dog'], 'split': 'train'},
        {'file': 'b.png', 'labels': ['dog'], 'unknown': ['cat'], 'split': 'val'},
    ]
    data = read(folder, entries, 'other.json', split='train')
    assert data.class_names == ['cat', 'dog']  # The same in all splits.
    assert data.y.tolist() == [[0, 1]]
    assert CsvDataset(folder, 'val', labels='other.json').y.tolist() == [[-1, 1]]
    assert read(folder, names, 'labels.json', class_names=['zebra', 'dog', 'cat']).y[0].tolist() == [0, 1, 1]


def test_without_splits_three_parts_are_drawn(folder):
    text = 'file,cat\n' + ''.join(f'{i}.png,{i % 2}\n' for i in range(20))
    parts = {split: read(folder, text, split=split, missing='skip') for split in ('train', 'fit', 'val', None)}
    assert {split: len(part) for split, part in parts.items()} == {'train': 14, 'fit': 2, 'val': 4, None: 20}
    assert [int(part.y.sum()) for part in parts.values()] == [7, 1, 2, 10]  # Each has its share of the class.
    drawn = [parts[split].files for split in ('train', 'fit', 'val')]
    assert sorted(sum(drawn, [])) == sorted(parts[None].files) and parts[None].splits == ['fit', 'train', 'val']
    assert parts['val'].files == CsvDataset(folder, 'val', missing='skip').files
    assert parts['val'].files != CsvDataset(folder, 'val', missing='skip', seed=1).files


@pytest.mark.parametrize('name', ['Filename', 'IMAGE', 'path', 'file'])
def test_the_column_of_the_files_has_several_names(folder, name):
    data = read(folder, f'{name},Split,cat\na.png,train,1\nb.png,val,0\n')
    assert data.files == ['a.png', 'b.png'] and data.class_names == ['cat'] and data.splits == ['train', 'val']
    assert read(folder, f'{name},Labels\na.png,Path|cat\n').class_names == ['Path', 'cat']
    assert read(folder, [{name: 'a.png', 'labels': ['dog']}], 'labels.json').files == ['a.png']


def test_of_several_such_columns_the_first_name_counts(folder):
    data = read(folder, 'path,file,cat\n1,a.png,0\n')
    assert data.files == ['a.png'] and data.class_names == ['path', 'cat'] and data.y.tolist() == [[1, 0]]


def test_a_label_file_is_found_by_its_usual_names(folder):
    with pytest.raises(FileNotFoundError) as error:
        find_labels(folder)
    usual = 'labels.csv, labels.json, annotations.csv, annotations.json or index.npz'
    assert str(error.value) == f"there is no label file in '{folder}': {usual} (data.labels=NAME takes another)"
    for name in ('annotations.csv', 'Labels.JSON', 'labels.csv'):  # From the last to the first.
        (folder / name).write_text('file,cat\na.png,1\n')
        assert find_labels(folder) == name
    assert split_names(folder / 'labels.csv') == []
    (folder / 'labels.csv').write_text('file,split,cat\na.png,b,1\nb.png,a,0\n')
    assert split_names(folder / 'labels.csv') == ['b', 'a']


TABLE = 'file,cat,dog\na.png,1,0\n'


@pytest.mark.parametrize(
    'text, message',
    [
        ('', "has no column 'file' (got an empty file)"),
        ('name,cat\na.png,1\n', "labels.csv' has no column 'file' (got 'name', 'cat')"),
        ('file;cat;dog\na.png;1;0\n', "no column 'file' (got 'file;cat;dog'); is it separated by ','?"),
        ('file\tcat\na.png\t1\n', "no column 'file' (got 'file\\tcat'); is it separated by ','?"),
        ('file,split\na.png,train\n', "has neither class columns nor a column 'labels'"),
        ('file,cat,cat\na.png,1,0\n', "has column 'cat' twice"),
        ('file,cat,\na.png,1,0\n', 'has an empty column name'),
        ('file,cat\n\n', "labels.csv' lists no images"),
        (TABLE + '\nb.png,2,0\n', "labels.csv', line 4, column 'cat': a label is 1 (present), 0 (absent) or -1 (unkn"),
        (TABLE + 'b.png,0,\n', "labels.csv', line 3, column 'dog': a label is 1 (present), 0 (absent) or -1 (unkno"),
        (TABLE + 'b.png,0\n', "labels.csv', line 3: expected 3 cells, as in the header (got 2)"),
        (TABLE + 'b.png,0,0,1\n', "labels.csv', line 3: expected 3 cells, as in the header (got 4)"),
        (TABLE + ',0,1\n', "labels.csv', line 3: 'file' must be the name of an image (got '')"),
        (
            TABLE + 'b.png,0,1\n./a.png,0,1\n',
            "line 4: the image 'a.png' is there already ('{root}/labels.csv', line 2)",
        ),
        (
            'file,split,cat\na.png,train,1\nb.png,,1\n',
            "line 3: the image 'b.png' has no split name, but others have (got '')",
        ),
        ('file,labels\na.png,\n', "labels.csv' names no class"),
        ('file,labels,unknown\na.png,cat;dog,dog\n', "line 2: 'dog' is both in 'labels' and in 'unknown'"),
        (b'file,cat\n\xe9.png,1\n', "labels.csv' is not UTF-8 text: "),
        (TABLE + '"' + 'x' * 140000 + '",0,1', "labels.csv' is not a valid CSV file: field larger than field limit"),
    ],
)
def test_csv_errors(folder, text, message):
    with pytest.raises(ValueError) as error:
        read(folder, text)
    assert message.replace('{root}', str(folder)) in str(error.value)


@pytest.mark.parametrize(
    'content, message',
    [
        ('{"a.png": [', "labels.json' is not valid JSON: "),
        ('{"a.png": ["cat"], "a.png": []}', "labels.json' is not valid JSON: 'a.png' is there twice"),
        (3, "labels.json' must hold {file: [names]} or a list of entries (got int)"),
        ([], "labels.json' lists no images"),
        (['a.png'], "entry 1: expected {'file': ..., 'labels': [...]} (got 'a.png')"),
        ([{'file': 'a.png'}], "entry 1: expected {'file': ..., 'labels': [...]} (got {'file': 'a.png'})"),
        ({'a.png': [], 'b.png': 'cat'}, "entry 2, image 'b.png': 'labels' must be a list of names (got 'cat')"),
        ([{'file': 'a', 'labels': [], 'unknown': [1]}], "'a': 'unknown' must be a list of names (got [1])"),
        ([{'file': 'a', 'labels': [], 'spilt': 'x'}], "entry 1: unknown key 'spilt' (did you mean 'split'?)"),
        ([{'file': 7, 'labels': []}], "entry 1: 'file' must be the name of an image (got 7)"),
        (
            [{'file': 'a', 'labels': ['x'], 'split': 't'}, {'file': 'b', 'labels': []}],
            "entry 2: the image 'b' has no split name, but others have (got None)",
        ),
    ],
)
def test_json_errors(folder, content, message):
    with pytest.raises(ValueError) as error:
        read(folder, content, 'labels.json')
    assert message in str(error.value)


def test_missing_files(folder):
    with pytest.raises(FileNotFoundError, match=r"there is no label file '.*other\.csv'"):
        CsvDataset(folder, labels='other.csv')
    with pytest.raises(FileNotFoundError, match=r"labels\.csv', line 3: there is no image 'x\.png' in '.*images' or '"):
        read(folder, TABLE + 'x.png,0,1\n')
    assert len(CsvDataset(folder, missing='skip')) == 2


def test_a_label_file_that_cannot_be_read(folder, monkeypatch):
    (folder / 'labels.csv').mkdir()
    with pytest.raises(ValueError) as error:
        CsvDataset(folder)
    assert str(error.value) == f"the label file '{folder / 'labels.csv'}' cannot be read: Is a directory"

    os.mkfifo(folder / 'pipe.csv')  # Not waited for.
    with pytest.raises(ValueError, match=r"the label file '.*pipe\.csv' cannot be read: Not a regular file$"):
        CsvDataset(folder, labels='pipe.csv')

    def refuse(path):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(files, 'check_regular', refuse)
    with pytest.raises(ValueError, match=r"the label file '.*other\.csv' cannot be read: Permission denied$"):
        CsvDataset(folder, labels='other.csv')


@pytest.mark.parametrize('other', ['images/a.png', '../images/a.png', 'images/../images/a.png', '{root}/images/a.png'])
@pytest.mark.parametrize('split', ['train', 'val'])
def test_one_image_under_two_names(folder, other, split):
    other = other.replace('{root}', str(folder))
    with pytest.raises(ValueError) as error:
        read(folder, f'file,split,cat\na.png,train,1\nb.png,val,0\n{other},{split},1\n', split='train')
    labels = folder / 'labels.csv'
    assert str(error.value) == (
        f"'{labels}', line 4: the image '{other}' is there already as 'a.png' ('{labels}', line 2): "
        f"both are '{(folder / 'images' / 'a.png').resolve()}'"
    )


def test_two_images_of_one_name(folder):
    (folder / 'images' / 'd.png').write_bytes((folder / 'd.png').read_bytes())
    data = read(folder, 'file,cat\nd.png,1\n../d.png,0\n')
    assert data.paths == [folder / 'images' / 'd.png', folder / 'images' / '../d.png']
    (folder / 'other').symlink_to(folder / 'images')
    with pytest.raises(ValueError, match=r"line 3: the image 'other/d\.png' is there already as 'd\.png'"):
        read(folder, 'file,cat\nd.png,1\nother/d.png,0\n')


def test_one_image_cannot_be_split(folder):
    with pytest.raises(ValueError) as error:
        read(folder, TABLE, split='train')
    assert str(error.value) == (
        f"'{folder / 'labels.csv'}' has no 'split', and a fifth of its images cannot be drawn for 'val': expected at "
        'least 2 images (got 1)'
    )
    assert len(CsvDataset(folder)) == 1


def test_unknown_split_and_class(folder):
    with pytest.raises(
        ValueError, match=r"no split 'val'; it has train; data\.dev=0\.2 evaluates on a fifth of it, held"
    ):
        read(folder, 'file,split,cat\na.png,train,1\nb.png,train,0\n', split='val')
    with pytest.raises(ValueError, match=r"has no split 'test'; it has train, val$"):
        read(folder, 'file,split,cat\na.png,train,1\nb.png,val,0\n', split='test')
    with pytest.raises(
        ValueError, match=r"'trian' \(did you mean 'train'\?\); it has train, val \(drawn: the file has"
    ):
        read(folder, TABLE + 'b.png,0,1\n', split='trian')
    with pytest.raises(ValueError, match=r"has no class 'dgo' \(did you mean 'dog'\?\); it has cat, dog"):
        CsvDataset(folder, class_names=['dgo'])
    with pytest.raises(ValueError, match=r"'class_names' holds a name twice"):
        CsvDataset(folder, class_names=['cat', 'cat'])
    with pytest.raises(ValueError, match=r"entry 1: unknown class 'motorbik' \(did you mean 'motorbike'\?\)"):
        read(folder, {'a.png': ['motorbik']}, 'labels.json', class_names=['motorbike', 'car'])


def test_coco18(coco18):
    start = time.perf_counter()
    train = CsvDataset(coco18, 'train')
    seconds = time.perf_counter() - start
    val = CsvDataset(coco18, 'val')
    assert (len(train), len(val)) == (6000, 1000) and seconds < 5
    assert len(train.class_names) == 18 and train.class_names[9] == 'traffic light'
    assert train.y.shape == (6000, 18) and set(train.y.unique().tolist()) == {0, 1}
    assert train.y.sum(0).min() > 30 and not set(train.files) & set(val.files)
    item = ImageDataset(val, build_view('resize', 64))[17]
    assert item['image'].shape == (3, 64, 64) and item['image'].float().std() > 1

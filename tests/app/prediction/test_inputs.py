"""Files, folders, globs and lists: what they name, each picture once."""

import io
import os
from pathlib import Path

import pytest

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.prediction.inputs import Inputs


def find(words, without=()):
    """What is named, twice the same."""
    inputs = Inputs(words, without)
    found = list(inputs)
    assert list(inputs) == found
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """photos/: a.jpg, 'b ü.PNG', c.txt, .hidden.jpg, sub/d.webp, .git/e.jpg, drawn/f.jpg, empty/."""
    monkeypatch.chdir(tmp_path)
    for name in ('a.jpg', 'b ü.PNG', 'notes.md', '.hidden.jpg', 'sub/d.webp', '.git/e.jpg', 'drawn/f.jpg'):
        path = tmp_path / 'photos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / 'photos' / 'empty').mkdir()
    return tmp_path


def test_a_folder_is_searched_through(folder):
    assert find(['photos']) == ['photos/a.jpg', 'photos/b ü.PNG', 'photos/drawn/f.jpg', 'photos/sub/d.webp']
    assert find(['photos'], without=[Path('photos/drawn')]) == ['photos/a.jpg', 'photos/b ü.PNG', 'photos/sub/d.webp']


def test_what_in_a_folder_is_no_picture(folder):
    inputs = Inputs(['photos', 'photos/s*', 'photos/notes.md'])
    assert len(list(inputs)) == len(list(inputs)) == 6
    assert +inputs.ignored == {'hidden': 2, '.md': 1}
    (folder / 'photos' / 'empty' / 'movie.mp4').touch()
    with pytest.raises(ConfigError, match=r"^there is no picture in 'photos/empty' \(ignored: 1 \.mp4\)$"):
        find(['photos/empty'])


def test_what_is_named(folder):
    words = ['photos/sub/../a.jpg', './photos', str(folder / 'photos' / 'a.jpg'), 'photos/notes.md', 'nowhere.jpg']
    assert find(words, [Path('photos/drawn')]) == [
        'photos/a.jpg', 'photos/a.jpg', 'photos/b ü.PNG', 'photos/sub/d.webp', str(folder / 'photos' / 'a.jpg'),
        'photos/notes.md', 'nowhere.jpg',
    ]  # fmt: skip


def test_globs(folder):
    assert find(['photos/*.jpg']) == ['photos/a.jpg']
    assert find(['photos/**/*.webp']) == find([str(Path('photos/**/*.webp'))]) == ['photos/sub/d.webp']
    assert find([f'{folder}/photos/su*/d.w?bp']) == [f'{folder}/photos/sub/d.webp']
    assert find(['photos/.h*.jpg']) == ['photos/.hidden.jpg']
    for name in ('up', 'sub/up'):  # Links in circles.
        (folder / 'photos' / name).symlink_to('..')
    assert find(['photos/**/*.webp']) == find(['photos/**/d.webp']) == ['photos/sub/d.webp']
    assert find(['photos/sub']) == ['photos/sub/d.webp']
    assert find(['photos/s?b']) == ['photos/sub/d.webp']
    (folder / 'photos' / 'x[1].jpg').touch()  # A file of that very name comes first.
    assert find(['photos/x[1].jpg']) == ['photos/x[1].jpg']
    with pytest.raises(ConfigError, match=r"^there is no picture in 'photos/\*\.bmp'$"):
        find(['photos/*.bmp'])


def test_lists(folder, monkeypatch):
    def given(text):
        monkeypatch.setattr('sys.stdin', io.TextIOWrapper(io.BytesIO(text.encode())))

    (folder / 'list.txt').write_text('photos/b ü.PNG\n\nphotos/a.jpg\nphotos/lost.jpg\n')
    names = ['photos/b ü.PNG', 'photos/a.jpg', 'photos/lost.jpg']
    assert find(['list.txt']) == names
    given('photos/b ü.PNG\nphotos/a.jpg\nphotos/lost.jpg')
    assert find(['-']) == names
    marked = '\ufeffphotos/b ü.PNG\r\nphotos/a.jpg\r\nphotos/lost.jpg\r\n'  # As Windows' Notepad writes it.
    (folder / 'marked.txt').write_bytes(marked.encode())
    assert find(['marked.txt']) == names
    given(marked)
    assert find(['-']) == names
    odd = os.fsdecode(b'photos/\xff.jpg')  # A name need not be UTF-8.
    (folder / 'odd.txt').write_bytes(b'photos/\xff.jpg\n')
    assert find(['odd.txt']) == [odd]


def test_nothing_there(folder):
    (folder / 'empty.txt').touch()
    for word in ('photos/empty', 'empty.txt'):
        with pytest.raises(ConfigError, match=f"there is no picture in '{word}'"):
            find(['photos/a.jpg', word])
    with pytest.raises(ConfigError, match=r"cannot read the list 'lost\.txt': No such file or directory"):
        find(['lost.txt'])
    for word in ('fotos', 'photos/sub/e', 'notes.md'):  # Mistyped.
        with pytest.raises(ConfigError, match=f"^there is no file or folder '{word}'$"):
            find(['photos/a.jpg', word])
    os.mkfifo(folder / 'pipe.txt')
    with pytest.raises(ConfigError, match=r"cannot read the list 'pipe\.txt': Not a regular file"):
        find(['pipe.txt'])
    (folder / 'names.txt').write_text('fotos\n')
    assert find(['names.txt']) == ['fotos']  # Of a list, it is one of many: found out by reading.

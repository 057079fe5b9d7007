"""Places are tried, and left as they were; files are written whole or not at all."""

import errno

import pytest

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import check_places, read_json, replacing, write_json


def test_what_can_be_written_is_left_as_it_was(tmp_path):
    (tmp_path / 'old.csv').write_text('old')
    check_places([tmp_path / 'old.csv', tmp_path / 'a' / 'b' / 'new.csv'], [tmp_path / 'c' / 'd', tmp_path])
    assert [path.name for path in tmp_path.iterdir()] == ['old.csv'] and (tmp_path / 'old.csv').read_text() == 'old'


def test_what_cannot_is_named(tmp_path):
    (tmp_path / 'file').touch()
    path = tmp_path / 'file' / 'a' / 'x.csv'
    for files, folders, told in [
        ([path], [], f"cannot write '{path}': '{path.parent}': Not a directory"),
        ([tmp_path], [], f"cannot write '{tmp_path}': it is a folder"),
        ([], [tmp_path / 'file'], f"cannot write into the folder '{tmp_path / 'file'}': Not a directory"),
    ]:
        with pytest.raises(ConfigError) as error:
            check_places(files, folders)
        assert str(error.value) == told


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'x.txt'
    for several in (False, True):
        with replacing(path, several) as spare:
            spare.write_text(f'{several}')
            assert not path.exists() or path.read_text() == 'False'
        assert path.read_text() == f'{several}'
    with pytest.raises(KeyboardInterrupt), replacing(path) as spare:
        spare.write_text('half')
        raise KeyboardInterrupt
    assert path.read_text() == 'True' and [one.name for one in tmp_path.iterdir()] == ['x.txt']


def test_an_error_names_the_file_and_not_the_spare_one(tmp_path):
    path, other = tmp_path / 'x.txt', tmp_path / 'other.txt'
    full = OSError(errno.ENOSPC, 'a stream that knows no name')
    with pytest.raises(OSError, match='No space left on device') as error, replacing(path):
        raise full
    assert error.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as error, replacing(tmp_path / 'gone' / 'x.txt') as spare:
        spare.write_text('x')
    assert error.value.filename == str(tmp_path / 'gone' / 'x.txt')
    with pytest.raises(FileNotFoundError) as error, replacing(path) as spare:
        spare.write_bytes(other.read_bytes())
    assert error.value.filename == str(other) and list(tmp_path.iterdir()) == []


def test_json_comes_back_and_what_is_none_is_named(tmp_path):
    path = tmp_path / 'a' / 'b.json'
    write_json(path, {'x': [1, None]})
    assert read_json(path) == {'x': [1, None]} and path.read_text().endswith('}\n')
    with pytest.raises(ValueError, match='JSON'):
        write_json(path, {'x': float('nan')})
    assert read_json(path) == {'x': [1, None]}
    for content in (b'{', b'\xff\xfe', b''):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"b.json' is not valid JSON: "):
            read_json(path)

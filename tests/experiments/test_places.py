"""Places are tried, and left as they were."""

import pytest

from experiments.common.errors import ConfigError
from experiments.places import check_places


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

"""A set of names, against Python's own."""

import os
import tracemalloc
from pathlib import Path

from mlsgm_pyg.app.prediction.file_set import AT_ONCE, FileSet


def test_it_is_a_set_of_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = os.fsdecode(b'\xff.jpg')
    given = ['b', './a', 'sub/../a', str(tmp_path / 'b'), odd, 'c\n', *map(str, range(10_000))]
    names = FileSet(given)
    assert len(names) == len({os.path.abspath(name) for name in given}) == 10_004
    assert names.has(['a', str(tmp_path / odd), 'c', 'd', '9999']) == [True, True, False, False, True]
    assert names.has([]) == [] == FileSet().has([]) and FileSet().has(['a']) == [False] and len(FileSet()) == 0
    left = names - FileSet(['a', odd, 'nowhere', *map(str, range(9_990))])
    assert list(left.once(['a', 'x', *given])) == ['b', 'c\n', *map(str, range(9_990, 10_000))]
    assert len(left) == 12 and list(FileSet().once(given)) == []
    assert list(names.once(iter(['b', str(Path('b').absolute()), 'a', './b']))) == ['b', 'a']


def test_it_keeps_no_name():
    tracemalloc.start()
    try:
        one = FileSet(f'a/folder/and/a/photograph-{i:09}.jpg' for i in range(20_000))
        kept, peak = tracemalloc.get_traced_memory()
        assert len(one) == 20_000 and kept < 20 * 20_000 and peak < 80 * 20_000  # Bytes; the names alone have 36 each.
        tracemalloc.reset_peak()
        assert sum(1 for _ in one.once(f'a/folder/and/a/photograph-{i:09}.jpg' for i in range(20_000))) == 20_000
        assert tracemalloc.get_traced_memory()[1] < kept + 300 * AT_ONCE
    finally:
        tracemalloc.stop()

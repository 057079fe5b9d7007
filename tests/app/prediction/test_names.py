"""A set of names, against Python's own."""

import os
from pathlib import Path

from mlsgm_pyg.app.prediction.names import Names


def test_it_is_a_set_of_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = os.fsdecode(b'\xff.jpg')
    given = ['b', './a', 'sub/../a', str(tmp_path / 'b'), odd, 'c\n', *map(str, range(10_000))]
    names = Names(given)
    assert len(names) == len({os.path.abspath(name) for name in given}) == 10_004
    assert names.has(['a', str(tmp_path / odd), 'c', 'd', '9999']) == [True, True, False, False, True]
    assert names.has([]) == [] == Names().has([]) and Names().has(['a']) == [False] and len(Names()) == 0
    left = names - Names(['a', odd, 'nowhere', *map(str, range(9_990))])
    assert list(left.once(['a', 'x', *given])) == ['b', 'c\n', *map(str, range(9_990, 10_000))]
    assert len(left) == 12 and list(Names().once(given)) == []
    assert list(names.once(iter(['b', str(Path('b').absolute()), 'a', './b']))) == ['b', 'a']

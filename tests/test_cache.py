import os

import numpy as np
import pytest

from mlsgm_pyg.cache import Cache, read_arrays


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'big.txt'
    path.write_text('1 2 3')
    return path


def test_what_was_written_is_read_back(file, tmp_path):
    assert Cache(file).read('x') is None
    Cache(file).write(x=np.arange(3), y=['a', 'b'])
    x, y = Cache(file).read('x', 'y')
    assert x.tolist() == [0, 1, 2] and y.tolist() == ['a', 'b']
    assert sorted(os.listdir(tmp_path)) == ['big.txt', 'big.txt.cache.npz']  # No unfinished file is left.
    Cache(file, tmp_path / 'new' / 'folder', kind='words').write(x=np.zeros(1))
    assert os.listdir(tmp_path / 'new' / 'folder') == ['big.txt.words.cache.npz']
    assert Cache(file).read('z') is None


def test_the_cache_of_anything_else_is_not_taken(file, tmp_path):
    other = tmp_path / 'more.txt'
    Cache(file, form='1', others=[other]).write(x=np.arange(3))
    assert Cache(file, form='1', others=[other]).read('x')
    assert Cache(file, form='2', others=[other]).read('x') is None
    other.write_text('')  # It was not there.
    assert Cache(file, form='1', others=[other]).read('x') is None
    before = Cache(file, form='1')
    os.utime(file, ns=(0, 0))
    assert Cache(file, form='1').read('x') is None
    before.write(x=np.arange(3))  # Parsed before the change.
    assert Cache(file, form='1').read('x') is None


def test_a_damaged_one_is_none(file):
    kept = Cache(file)
    kept.write(x=np.random.default_rng(0).random(400))
    whole = kept.path.read_bytes()
    (x,) = kept.read('x')
    for at in range(0, len(whole), 97):
        kept.path.write_bytes(whole[:at])
        assert kept.read('x') is None
        kept.path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        found = kept.read('x')
        assert found is None or np.array_equal(found[0], x)  # A bit that no one reads, such as one of a date.


def test_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / 'x.npz', x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match='Object arrays cannot be loaded'):
        read_arrays(tmp_path / 'x.npz', 'x')

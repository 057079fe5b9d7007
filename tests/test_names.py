import re

import pytest

from mlsgm_pyg.names import check_choice, nearest, repeated


def test_nearest():
    assert nearest('trian', ['test', 'train']) == " (did you mean 'train'?)"
    assert nearest('xyz', ['test', 'train']) == ''
    assert nearest(7, {'test': 1}) == ''
    assert nearest('tran', ['train'], cutoff=0.95) == ''


def test_check_choice():
    check_choice('pooling', 'sum', ('mean', 'sum'))
    message = "'pooling' must be one of mean, sum (got 'summ') (did you mean 'sum'?)"
    with pytest.raises(ValueError, match=re.escape(message) + '$'):
        check_choice('pooling', 'summ', ('mean', 'sum'))
    with pytest.raises(ValueError, match=r'\(got None\)$'):
        check_choice('pooling', None, ('mean', 'sum'))


def test_repeated():
    assert repeated(['b', 'a', 'c', 'a', 'b', 'a']) == ['b', 'a'] and repeated('abc') == []

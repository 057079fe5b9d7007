"""One of something is not several; numbers, errors and names read the same everywhere."""

from mlsgm_pyg.app.common.text import counted, cut, interval, limits, mean_sd, one_line, some, spread


def test_counted():
    assert [counted(n, 'picture') for n in (0, 1, 7000)] == ['0 pictures', '1 picture', '7,000 pictures']
    assert [counted(n, 'class', 'classes') for n in (1, 2)] == ['1 class', '2 classes']


def test_a_mean_and_its_deviation():
    assert (
        mean_sd([1.0, None, 3.0]) == (2.0, 2**0.5) and mean_sd([5.0, None]) == (5.0, None) and mean_sd([None]) is None
    )
    assert [spread(mean_sd(v)) for v in ([1, 3], [5], [])] == ['2.00 ± 1.41', '5.00', '-']
    assert spread((1234.5, 0.0), 0) == '1,234 ± 0'


def test_a_difference_and_its_interval():
    found = {'difference': -1.234, 'low': -2.0, 'high': 0.5}
    assert interval(found) == '-1.23 [-2.00, +0.50]' and limits(found) == '[-2.00, +0.50]'
    assert interval({'difference': 1.0, 'low': None, 'high': None}) == '+1.00' and interval(None) == ''


def test_errors_and_names():
    assert one_line(ValueError('a\n  b')) == 'a b' and one_line(KeyboardInterrupt()) == 'KeyboardInterrupt'
    assert one_line('') == ''
    assert [cut(name, 4) for name in ('abcd', 'abcde')] == ['abcd', 'abc…']
    assert some(['a', 'b', 'c']) == 'a, b, c' and some(['a', 'b', 'c'], 1) == 'a, and 2 more'
    assert some('abc', 2, '; ') == 'a; b; and 1 more'

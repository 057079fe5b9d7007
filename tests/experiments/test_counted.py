"""One of something is not several."""

from experiments.counted import counted


def test_counted():
    assert [counted(n, 'picture') for n in (0, 1, 7000)] == ['0 pictures', '1 picture', '7,000 pictures']
    assert [counted(n, 'class', 'classes') for n in (1, 2)] == ['1 class', '2 classes']

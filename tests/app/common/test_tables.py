"""One table in three forms, against text written by hand."""

import io

import pytest
from rich.console import Console

from mlsgm_pyg.app.common import tables
from mlsgm_pyg.app.common.tables import Table


@pytest.fixture
def table():
    rows = [['`a|b`', 1234, None], [], ['[red]c\\*[/red]\nd', 0.123456, '+1.20 [-0.40, +2.80]']]
    return Table('T of `x`', ('row', 'number', 'gain over `y`'), rows, ['[1] A note.', 'Another.'])


def printed(table, width=80, **how):
    """The lines on a terminal of some width, without the blanks at their ends."""
    console = Console(file=io.StringIO(), width=width)
    table.print(console, **how)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_terminal_gets_frames_and_names_as_they_are(table):
    assert printed(table) == [
        '                     T of x',
        '┏━━━━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━┓',
        '┃ row           ┃ number ┃          gain over y ┃',
        '┡━━━━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━┩',
        '│ a|b           │  1,234 │                    - │',
        '├───────────────┼────────┼──────────────────────┤',
        '│ [red]c*[/red] │   0.12 │ +1.20 [-0.40, +2.80] │',
        '│ d             │        │                      │',
        '└───────────────┴────────┴──────────────────────┘',
        '[1] A note.',
        'Another.',
    ]


def test_a_narrow_terminal_loses_nothing():
    assert printed(Table('', ('a name', 'b'), [['letters', 1]]), width=13) == [
        '┏━━━━━━━┳━━━┓',
        '┃ a     ┃   ┃',
        '┃ name  ┃ b ┃',
        '┡━━━━━━━╇━━━┩',
        '│ lette │ 1 │',
        '│ rs    │   │',
        '└───────┴───┘',
    ]


def test_as_wide_as_its_cells(table):
    assert printed(table, width=20, wide=True) == [
        'T of x',
        '',
        '  row             number            gain over y',
        ' ───────────────────────────────────────────────',
        '  a|b              1,234                      -',
        '',
        '  [red]c*[/red]     0.12   +1.20 [-0.40, +2.80]',
        '  d',
        '',
        '[1] A note.',
        'Another.',
    ]


def test_columns_on_the_left():
    lines = printed(Table('', ('one', 'two', 'three'), [[1, 2, 3]], left=2), wide=True)
    assert lines[1::2] == ['  one   two   three', '  1     2         3']


def test_markdown_escapes_what_is_its_own(table):
    assert table.markdown() == (
        '| row | number | gain over `y` |\n'
        '|---|---|---|\n'
        '| `a\\|b` | 1,234 | - |\n'
        '| [red]c\\*[/red]<br>d | 0.12 | +1.20 [-0.40, +2.80] |'
    )
    assert Table('', ('', 'b'), [['', 'y']]).markdown() == '| | b |\n|---|---|\n|  | y |'
    assert table.markdown(' --- ').splitlines()[1] == '| --- | --- | --- |'
    assert table.markdown(['---', '---:', '---']).splitlines()[1] == '|---|---:|---|'


def test_csv_has_all_digits(table):
    assert table.csv() == ('row,number,gain over y\na|b,1234,\n"[red]c*[/red]\nd",0.123456,"+1.20 [-0.40, +2.80]"\n')


def test_without_rows():
    empty = Table('E', ('a', 'b'))
    assert printed(empty) == ['    E', '┏━━━┳━━━┓', '┃ a ┃ b ┃', '┡━━━╇━━━┩', '└───┴───┘']
    assert empty.markdown() == '| a | b |\n|---|---|' and empty.csv() == 'a,b\n'


@pytest.mark.parametrize(
    ('value', 'text'),
    [(None, '-'), (1234567, '1,234,567'), (0.01234, '0.0123'), (9.876, '9.88'), (98.76, '98.8'), (9876.5, '9,876')],
)
def test_numbers(value, text):
    assert Table('', ('a',), [[value]]).markdown().splitlines()[-1] == f'| {text} |'


def test_what_is_no_terminal_gets_lines_of_120(capsys, monkeypatch):
    Table('', ('a', 'b'), [['x ' * 100, 'y']]).print()
    assert max(map(len, capsys.readouterr().out.splitlines())) == 120
    monkeypatch.setattr(Console, 'is_terminal', True)
    monkeypatch.setenv('COLUMNS', '60')
    assert tables.terminal().width == 60

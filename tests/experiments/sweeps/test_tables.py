"""A sweep as a table."""

from rich.console import Console

from experiments.sweeps import tables as sweep_tables


def test_the_table_without_a_terminal_is_text(capsys, tmp_path):
    runs = {'a': {'mAP': [1.0]}, 'b': {'mAP': [0.5, 1.5]}}
    gains = {'b': {'difference': 0.0, 'low': -1.0, 'high': 1.0}}
    summary = {
        'rows': ['a', 'b'],
        'swept': {'optimizer.ema_epochs': [0.5]},
        'points': [{'values': {'optimizer.ema_epochs': 0.5}, 'runs': runs, 'gains': gains}],
        'average': {'mAP': {'a': 1.0, 'b': 1.0}, 'gains': gains},
        'evaluated_on': 'val',
    }
    with (tmp_path / 'out.txt').open('w') as file:
        sweep_tables.table(summary).print(Console(file=file))
    text = (tmp_path / 'out.txt').read_text()
    assert '1.00 ± 0.71 (2)' in text and '+0.00 [-1.00, +1.00]' in text and 'mAP (val)' in text
    assert '├──' in text and '± is over seeds' in text  # A line above the average.
    assert sweep_tables.table(summary, count=False).markdown() == (
        '| optimizer.ema_epochs | `a` | `b` | gain over `b` [95 % interval] |\n'
        '|---|---|---|---|\n'
        '| 0.5 | 1.00 | 1.00 ± 0.71 | +0.00 [-1.00, +1.00] |\n'
        '| average | 1.00 | 1.00 | +0.00 [-1.00, +1.00] |'
    )

"""What a run leaves behind for people: result.json and its tables."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import mlsgm_pyg
from mlsgm_pyg.app.common.files import write_json
from mlsgm_pyg.app.results import run_tables
from mlsgm_pyg.app.results import scores as score_files
from mlsgm_pyg.app.training import train
from mlsgm_pyg.app.training.result import _without_nan


def text(show, *args):
    """What is printed, without line breaks and frames."""
    console = Console(file=io.StringIO(), width=200)
    show(*args, console)
    return ' '.join(console.file.getvalue().split())


def test_result_json_says_everything(trained):
    folder = Path(trained['folder'])
    assert trained == json.loads((folder / 'result.json').read_text())
    kept = dict(np.load(folder / 'scores.npz'))
    names = list(trained['metrics']['AP'])
    again = score_files.evaluate(kept, 'graph', names, 'non_interpolated', 'threshold')
    for key in ('mAP', 'CP', 'CR', 'CF1', 'OP', 'OR', 'OF1', 'top3_CF1', 'top3_OF1'):
        assert trained['metrics'][key] == again[key]
    assert trained['images'] == {'train': 21, 'test': 13} and trained['skipped'] == []
    assert (trained['evaluated_on'], trained['select'], trained['difficult']) == ('test', 'last', None)
    model = mlsgm_pyg.load(folder / 'last.ckpt')
    sizes = [p.numel() for p in model.parameters()]
    backbone = sum(p.numel() for p in model.backbone.parameters())
    assert trained['parameters'] == {'trained': sum(sizes) - backbone, 'all': sum(sizes)}
    assert trained['hardware']['kind'] == 'cpu' and trained['hardware']['processes'] == 1
    assert trained['versions']['torch'].split('+')[0] == torch.__version__.split('+')[0]
    assert [row['epoch'] for row in trained['history']] == [0, 1]
    assert trained['best_epoch_mAP'] == max(row['mAP'] for row in trained['history'])
    assert 0 < trained['seconds']['image'] < trained['seconds']['step'] < trained['seconds']['total']


def test_a_run_is_shown_with_each_class_and_the_six_metrics(trained):
    shown = text(run_tables.show, trained)
    assert 'digits, seed 0: AP (non_interpolated, graph score, test)' in shown
    metrics = trained['metrics']
    for name, value in metrics['AP'].items():
        assert name in shown and ('-' if value is None else f'{value:.1f}') in shown
    rows = {'all': '', 'top-3 (threshold)': 'top3_'}
    for row, prefix in rows.items():
        cells = ' │ '.join(f'{metrics[prefix + key]:.1f}' for key in run_tables.SIX)
        line = next(part for part in shown.split('│ ' + row)[1:])
        assert [float(cell) for cell in line.split('│')[1:7]] == [float(cell) for cell in cells.split('│')]
    assert 'best epoch' in shown and trained['folder'] in shown


def test_many_classes_come_one_a_line_and_a_class_without_a_positive_as_a_dash(trained):
    aps = {f'class{i}': None if i == 3 else 10.0 * i for i in range(13)}
    shown = text(run_tables.show, trained | {'metrics': trained['metrics'] | {'AP': aps}})
    assert '│ class3 │ - │' in shown and '│ class4 │ 40.0 │' in shown


@pytest.mark.parametrize(
    ('unread', 'line'),
    [
        (['test [p07].jpg'], '1 image could not be read: test [p07].jpg'),
        (['test a', 'test b'], '2 images could not be read: test a, test b'),
        ([f'train {i}' for i in range(5)], '5 images could not be read: train 0, train 1, train 2, and 2 more'),
    ],
)
def test_images_that_could_not_be_read_are_told(trained, unread, line):
    assert f' {line} {trained["folder"]}' in text(run_tables.show, trained | {'skipped': unread})
    assert 'could not be read' not in text(run_tables.show, trained)


def test_no_number_is_null_in_json_and_files_are_whole(tmp_path):
    values = {'mAP': 1.0, 'AP': {'a': float('nan'), 'b': 2.0}, 'history': [{'epoch': 0, 'loss': float('inf')}]}
    history = [{'epoch': 0, 'loss': None}]
    assert _without_nan(values) == {'mAP': 1.0, 'AP': {'a': None, 'b': 2.0}, 'history': history}
    with pytest.raises(ValueError, match='JSON'):
        write_json(tmp_path / 'result.json', values)
    write_json(tmp_path / 'result.json', _without_nan(values))
    assert [path.name for path in tmp_path.iterdir()] == ['result.json']


def test_the_progress_is_a_line_an_epoch_without_a_terminal(tiny, capsys):
    train.run(tiny('trainer.max_epochs=1', 'data.limit=8'))
    assert capsys.readouterr().out.splitlines()[-1].startswith('epoch 1/1  mAP ')

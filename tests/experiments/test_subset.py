"""Some classes of a folder of photographs as a folder of their own, which the data set reads."""

import csv

from experiments import subset
from mlsgm_pyg.datasets import CsvDataset


def test_some_classes_become_a_folder(photos, tmp_path, capsys):
    source, target = tmp_path / 'photos', tmp_path / 'some'
    assert subset.main([str(source), str(target), '--classes', 'red,blue', '--train', '7']) == 0
    rows = list(csv.DictReader((source / 'labels.csv').read_text().splitlines()))
    shown = [row for row in rows if '1' in (row['red'], row['blue'])]
    expected = [row for row in shown if row['split'] == 'train'][:7] + [row for row in shown if row['split'] == 'test']
    data = {split: CsvDataset(target, split) for split in ('train', 'test')}
    files = [row['file'] for row in expected]
    assert [file for split in data.values() for file in split.files] == files
    assert data['train'].class_names == ['red', 'blue'] and len(data['train']) == 7
    y = [[int(row['red']), int(row['blue'])] for row in expected]
    assert data['train'].y.tolist() + data['test'].y.tolist() == y
    assert (target / 'images' / files[0]).read_bytes() == (source / 'images' / files[0]).read_bytes()
    assert str(len(data['test'])) in capsys.readouterr().out

    for words, told in (
        ([str(source), str(target), '--classes', 'red'], f"'{target}' is there already"),
        ([str(source), 'x', '--classes', 'red,pink'], 'has no class pink: it has red, green, blue'),
        ([str(tmp_path), 'x', '--classes', 'red'], 'labels.csv: No such file or directory'),
    ):
        assert subset.main(words) == 2 and told in capsys.readouterr().err

"""Rows of a comparison: what is one row, what sets two apart, and the order of Table VII."""

import json
import shutil

import pytest

from experiments import grouping
from experiments.common.errors import ConfigError
from tests.experiments.finished_runs import finish


def labels(rows):
    return [row.label for row in rows]


def rows_of(folders):
    rows, left_out = grouping.collect(folders)
    assert left_out == []
    return rows


def test_runs_that_differ_in_their_seed_are_a_row(tmp_path):
    for seed in (2, 0, 1):
        finish(tmp_path, 'coco18', seed=seed)
    finish(tmp_path, 'coco18_baseline')
    rows = rows_of([tmp_path])
    assert labels(rows) == ['coco18', 'coco18_baseline'] and rows[0].seeds == [0, 1, 2]
    again = rows_of([tmp_path / 'coco18_baseline', tmp_path / 'coco18', tmp_path])
    assert labels(again) == ['coco18_baseline', 'coco18'] and again[1].seeds == [0, 1, 2]


def test_other_options_are_another_row_and_are_named(tmp_path):
    finish(tmp_path, 'coco18')
    finish(tmp_path, 'coco18', 'trainer.max_epochs=3', seed=1)
    finish(tmp_path, 'coco18', 'optimizer.lr=1e-3', seed=1)
    assert sorted(labels(rows_of([tmp_path]))) == [
        'coco18 (optimizer.lr=0.0005, trainer.max_epochs=3)',
        'coco18 (optimizer.lr=0.0005, trainer.max_epochs=6)',
        'coco18 (optimizer.lr=0.001, trainer.max_epochs=6)',
    ]


def test_where_the_files_lie_makes_no_row(tmp_path):
    finish(tmp_path / 'a', 'coco18', 'data.root=/here/coco18', 'semantics.source=/here/w.npz', 'data.num_workers=0')
    finish(tmp_path / 'b', 'coco18', 'data.root=../there/coco18', 'semantics.source=../there/w.npz', seed=1)
    finish(tmp_path / 'c', 'coco18', 'data.root=../there/other', 'semantics.source=../there/w.npz', seed=2)
    one, other = rows_of([tmp_path])
    assert one.seeds == [0, 1] and labels([one, other]) == ['coco18 on coco18', 'coco18 on other']


def test_a_seed_counts_once_and_other_numbers_of_it_are_said(tmp_path):
    where = finish(tmp_path / 'a', 'coco18')
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    (row,) = rows_of([tmp_path])
    assert row.runs[0]['folder'] == str(where) and row.left_out == []
    path = next((tmp_path / 'b').rglob('result.json'))
    out = json.loads(path.read_text())
    path.write_text(json.dumps(out | {'metrics': out['metrics'] | {'mAP': 1.0}}))
    (row,) = rows_of([tmp_path])
    assert len(row.runs) == 1 and row.left_out == [str(path.parent)]


def test_rows_are_found_by_label_and_name(tmp_path):
    finish(tmp_path, 'coco18')
    finish(tmp_path, 'coco18_baseline')
    finish(tmp_path, 'coco18_baseline', 'optimizer.momentum=0.5')
    rows = rows_of([tmp_path])
    assert grouping.find(rows, 'coco18') is rows[0]
    assert grouping.find(rows, 'coco18_baseline (optimizer.momentum=0.5)').config['optimizer']['momentum'] == 0.5
    with pytest.raises(
        ConfigError, match=r"several rows are called 'coco18_baseline': coco18_baseline \(optimizer.momentum=0"
    ):
        grouping.find(rows, 'coco18_baseline')
    with pytest.raises(ConfigError, match="no row is called 'coco81': did you mean 'coco18'?"):
        grouping.find(rows, 'coco81')


@pytest.mark.parametrize(
    ('options', 'more', 'why'),
    [
        ([], {}, ''),
        (['optimizer.lr=1'], {}, ''),
        (['data.test_split=test'], {}, 'evaluated on: test, not val'),
        ([], {'images': 50}, 'images: 50, not 60'),
        (['metrics.ap=interpolated_11'], {}, 'AP: interpolated_11, not non_interpolated'),
        (['metrics.top3=plain'], {}, 'top 3: plain, not threshold'),
        ([], {'names': ['a', 'b', 'c', 'd']}, 'other classes'),
        (['data.root=x/mine'], {}, 'data set: mine, not coco18'),
    ],
)
def test_what_sets_rows_apart(tmp_path, options, more, why):
    finish(tmp_path / 'a', 'coco18')
    finish(tmp_path / 'b', 'coco18_baseline', *options, **more)
    reference, row = rows_of([tmp_path / 'a', tmp_path / 'b'])
    assert grouping.apart(row, reference) == why


def test_options_beside_the_model(tmp_path):
    finish(tmp_path, 'coco18', 'model.gamma=0.3', 'data.root=elsewhere/coco18')
    finish(tmp_path, 'coco18_ml_gcn', 'trainer.max_epochs=3', 'model.hidden_channels=256', 'model.feature_dropout=0.5')
    finish(tmp_path, 'coco18', 'name=other', 'model.feature_dropout=0.2', 'model.tau=0.3')
    rows = {row.name: row for row in rows_of([tmp_path])}
    found = grouping.beside(rows['coco18_ml_gcn'], rows['coco18'])
    # The rate is the row's own.
    assert found == {
        'model.feature_dropout': (0.5, 0.2), 'optimizer.lr': (2e-3, 5e-4), 'trainer.max_epochs': (3, 6),
    }  # fmt: skip
    assert grouping.beside(rows['other'], rows['coco18']) == {'model.gamma': (0.2, 0.3)}  # ML-SGM takes no tau.


def test_the_ladder_is_table_vii(tmp_path):
    names = [f'coco18_ablation_{i}' for i in (6, 2, 5, 3, 4)]
    for row in ['coco18_ssgrl', 'coco18', *names, 'coco18_baseline']:
        finish(tmp_path, row)
    rows = rows_of([tmp_path])
    steps, notes = grouping.ladder(rows, grouping.find(rows, 'coco18'))
    assert labels(steps) == ['coco18_baseline', *(f'coco18_ablation_{i}' for i in range(2, 7)), 'coco18'] and not notes
    told = [grouping.change(after, before) for after, before in zip(steps[1:], steps)]
    assert told == [
        '+ CSAC', '+ instance graph', '+ label graph, - CSAC, - instance graph', '+ instance graph', '+ CSAC',
        '+ matching edges',
    ]  # fmt: skip
    ssgrl = grouping.find(rows, 'coco18_ssgrl')
    assert ssgrl.parts is None and grouping.change(steps[0], ssgrl) == ''


def test_a_ladder_leaves_out_what_cannot_be_compared_and_says_what_it_chose(tmp_path):
    finish(tmp_path, 'coco18_ablation_2')
    finish(tmp_path, 'coco18_ablation_3', 'data.test_split=test')
    finish(tmp_path, 'coco18', 'name=far', 'optimizer.lr=1', 'optimizer.momentum=0.5')
    finish(tmp_path, 'coco18', 'name=near', 'optimizer.lr=2e-3', 'optimizer.momentum=0.5')  # The rate of rows 2 and 3.
    rows = rows_of([tmp_path])
    steps, notes = grouping.ladder(rows, rows[0])
    assert rows[0].label == 'coco18_ablation_2' and labels(steps) == ['coco18_ablation_2', 'near']
    assert notes == ['row 7 of Table VII is near here, not far (--ladder names others)']
    steps, _ = grouping.ladder(rows, grouping.find(rows, 'far'))
    assert labels(steps) == ['coco18_ablation_2', 'far']
    assert grouping.ladder(rows[2:], rows[2]) == ([], [])  # Without an ablation there is none.


def test_a_damaged_run_is_left_out_and_named(tmp_path):
    finish(tmp_path, 'coco18')
    where = finish(tmp_path, 'coco18_baseline')
    path = where / 'result.json'
    path.write_text(path.read_text()[:200])
    rows, left_out = grouping.collect([tmp_path])
    assert labels(rows) == ['coco18'] and len(left_out) == 1
    assert left_out[0].startswith(f"left out: '{path}' is not valid JSON: ")
    for folder in (where, where.parent):  # Named itself, or all that there is in it.
        with pytest.raises(ConfigError, match=r"result.json' is not valid JSON"):
            grouping.collect([tmp_path / 'coco18', folder])
    for old in tmp_path.rglob('result.json'):
        old.write_text('[]')
    with pytest.raises(ConfigError, match=r"^there is no finished run; left out: '.*' is not what a run leaves"):
        grouping.collect([tmp_path])


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match='holds no finished run: there is no result.json in it'):
        grouping.collect([tmp_path])
    (tmp_path / 'result.json').write_text('{"name": "x"}')
    with pytest.raises(
        ConfigError, match=r"result.json' is not what a run leaves: it lacks seed, metrics, config, sco"
    ):
        grouping.collect([tmp_path])
    (tmp_path / 'result.json').write_text('{')
    with pytest.raises(ConfigError, match=r"result.json' is not valid JSON"):
        grouping.collect([tmp_path])

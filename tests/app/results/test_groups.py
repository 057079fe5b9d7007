"""Groups of finished runs: what is one, how they are called, and what is left out."""

import json
import os
import shutil

import pytest

from mlsgm_pyg.app.common.errors import ConfigError, Damaged
from mlsgm_pyg.app.results import groups
from mlsgm_pyg.app.results.run import Run
from tests.app.finished_runs import finish


def labels(rows):
    return [row.label for row in rows]


def rows_of(folders):
    rows, left_out = groups.collect(folders)
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
    assert row.runs[0].folder == where and row.left_out == []
    path = next((tmp_path / 'b').rglob('result.json'))
    out = json.loads(path.read_text())
    path.write_text(json.dumps(out | {'metrics': out['metrics'] | {'mAP': 1.0}}))
    (row,) = rows_of([tmp_path])
    assert len(row.runs) == 1 and row.left_out == [path.parent]


def test_rows_are_found_by_label_and_name(tmp_path):
    finish(tmp_path, 'coco18')
    finish(tmp_path, 'coco18_baseline')
    finish(tmp_path, 'coco18_baseline', 'optimizer.momentum=0.5')
    rows = rows_of([tmp_path])
    assert groups.find(rows, 'coco18') is rows[0]
    assert groups.find(rows, 'coco18_baseline (optimizer.momentum=0.5)').options['optimizer']['momentum'] == 0.5
    with pytest.raises(
        ConfigError, match=r"several rows are called 'coco18_baseline': coco18_baseline \(optimizer.momentum=0"
    ):
        groups.find(rows, 'coco18_baseline')
    with pytest.raises(ConfigError, match="no row is called 'coco81': did you mean 'coco18'?"):
        groups.find(rows, 'coco81')


def test_a_damaged_run_is_left_out_and_named(tmp_path):
    finish(tmp_path, 'coco18')
    where = finish(tmp_path, 'coco18_baseline')
    path = where / 'result.json'
    path.write_text(path.read_text()[:200])
    rows, left_out = groups.collect([tmp_path])
    assert labels(rows) == ['coco18'] and len(left_out) == 1
    assert left_out[0].startswith(f"left out: '{path}' is not valid JSON: ")
    rows, left_out = groups.collect([tmp_path / 'coco18', where.parent])
    assert labels(rows) == ['coco18'] and len(left_out) == 1
    with pytest.raises(Damaged, match=r"^'.*result.json' is not valid JSON"):  # Named itself.
        groups.collect([tmp_path / 'coco18', where])
    for old in tmp_path.rglob('result.json'):
        old.write_text('[]')
    with pytest.raises(ConfigError, match=r"^there is no finished run; left out: '.*' is not what a run leaves"):
        groups.collect([tmp_path])


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match='holds no finished run: there is no result.json in it'):
        groups.collect([tmp_path])
    (tmp_path / 'result.json').write_text('{"name": "x"}')
    with pytest.raises(Damaged, match=r"result.json' is not what a run leaves: it lacks seed, task, mAP, and 19 more"):
        groups.collect([tmp_path])


def test_one_run_is_found_in_a_folder(tmp_path):
    where = finish(tmp_path, 'coco18')
    assert groups.find_one(where) == groups.find_one(where.parent) == where
    other = finish(tmp_path, 'coco18', seed=1)
    os.utime(where / 'result.json', (0, 0))
    with pytest.raises(ConfigError, match=rf"coco18' holds 2 runs, name one: {other} \(20.*\), {where} \(19.*\)$"):
        groups.find_one(where.parent)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ConfigError, match=r"' is not the directory of a run: it has no result.json$"):
        groups.find_one(tmp_path / 'empty')
    with pytest.raises(ConfigError, match=r"nothing' is not the directory of a run: there is no such folder$"):
        groups.find_one(tmp_path / 'nothing')


def test_a_curve_is_of_all_proportions(tmp_path):
    for known in (0.5, 0.1):
        for seed in (1, 0):
            finish(tmp_path, 'coco18', 'task=partial', f'task.known={known}', seed=seed)
    runs = list(groups.walk([tmp_path], []))
    (curve,) = groups.grouped(runs, groups.CURVE)
    assert [(run.known, run.seed) for run in curve.runs] == [(0.1, 0), (0.1, 1), (0.5, 0), (0.5, 1)]
    assert labels(groups.grouped(runs)) == ['coco18_partial_0.1', 'coco18_partial_0.5']


def test_the_baseline_is_the_one_of_the_same_images_task_seed_and_options(copy):
    run = Run.read(copy('digits'))
    assert groups.find_baseline(run) is None
    copy('a_partial_baseline', config__model__name='baseline', config__task__name='partial', config__task__known=0.5)
    copy('b_other_images', config__model__name='baseline', scores={**run.scores, 'y': 1 - run.y.clip(0)})
    copy('c_peer', config__model__name='ml_gcn')
    assert groups.find_baseline(run) is None
    copy('d_other_seed', config__model__name='baseline', seed=1)
    assert groups.find_baseline(run).name == 'd_other_seed'
    copy('e_other_rate', config__model__name='baseline', config__optimizer__lr=9.0)
    assert groups.find_baseline(run).name == 'e_other_rate'
    broken = copy('f_broken', config__model__name='baseline')
    (broken / 'result.json').write_text('{')
    folder = copy('g_baseline', config__model__name='baseline')
    assert groups.find_baseline(run).name == 'g_baseline'
    assert groups.find_baseline(Run.read(folder)) is None  # It is one itself.


def test_runs_without_scores_are_compared_by_their_options(copy):
    run = Run.read(copy('digits'))
    same, other = copy('same'), copy('other', config__data__test_images=14)
    for folder in (same, other):
        (folder / 'scores.npz').unlink()
    assert groups.same_images(run, Run.read(same)) and not groups.same_images(run, Run.read(other))

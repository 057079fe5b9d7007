import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments import reported
from experiments import scores as score_files
from experiments.common.errors import ConfigError


@pytest.fixture
def make(trained, tmp_path):
    """Makes copies of a finished run under other names, with what is to differ."""

    def copy(name, folder='seed0-x', scores=None, **changes):
        target = tmp_path / 'runs' / name / folder
        shutil.copytree(trained['folder'], target, ignore=shutil.ignore_patterns('*.ckpt', 'tensorboard'))
        out = json.loads((target / 'result.json').read_text()) | {'name': name}
        for key, value in changes.items():
            place = out
            *above, last = key.split('__')
            for part in above:
                place = place[part]
            place[last] = value
        (target / 'result.json').write_text(json.dumps(out))
        if scores is not None:
            score_files.save(target / 'scores.npz', scores)
        return target

    return copy


def test_load_reads_what_a_run_left(trained):
    run = reported.load(Path(trained['folder']))
    assert run.name == 'digits' and run.missing == []
    assert run.class_names[:2] == ['zero', 'one'] and run.p.shape == (13, 10)
    scores = score_files.load(Path(trained['folder']) / 'scores.npz')
    np.testing.assert_allclose(run.p, 1 / (1 + np.exp(-scores['graph'])))
    assert [row['epoch'] for row in run.history] == [0, 1]
    del run.out['history']  # From metrics.csv then.
    assert [row['mAP'] for row in run.history] == pytest.approx([row['mAP'] for row in trained['history']])


def test_what_is_no_finished_run_is_an_error(make, tmp_path):
    with pytest.raises(ConfigError, match=r"nothing' is not the directory of a run: it has no result.json"):
        reported.load(tmp_path / 'nothing')
    folder = make('digits')
    (folder / 'result.json').rename(folder / 'kept.json')
    with pytest.raises(ConfigError, match=r'is not finished \(python -m experiments.run --resume\)'):
        reported.load(folder)
    (folder / 'result.json').write_text('{"seed": 0}')
    with pytest.raises(ConfigError, match='is not what a run leaves: it lacks'):
        reported.load(folder)
    (folder / 'result.json').write_text('{')
    with pytest.raises(ConfigError, match='not valid JSON'):
        reported.load(folder)


def test_scores_that_are_gone_broken_or_others_are_named(make):
    folder = make('digits')
    (folder / 'scores.npz').write_bytes(b'broken')
    assert 'cannot be read' in reported.load(folder).missing[0]
    (folder / 'scores.npz').unlink()
    run = reported.load(folder)
    assert run.scores is None and "there is no '" in run.missing[0] and 'left out' in run.missing[0]
    score_files.save(folder / 'scores.npz', {'index': np.arange(2), 'y': np.zeros((2, 3)), 'graph': np.zeros((2, 3))})
    assert 'does not hold labels and scores of 10 classes (got [2, 3])' in reported.load(folder).missing[0]
    score_files.save(folder / 'scores.npz', {'index': np.arange(2), 'y': np.zeros((2, 10))})
    assert "lacks 'graph'" in reported.load(folder).missing[0]


def test_the_baseline_is_the_one_of_the_same_images_task_seed_and_options(make):
    run = reported.load(make('digits'))
    assert reported.find_baseline(run) is None
    make('a_partial_baseline', config__model__name='baseline', config__task__name='partial', config__task__known=0.5)
    make('b_other_images', config__model__name='baseline', scores={**run.scores, 'y': 1 - run.y.clip(0)})
    make('c_peer', config__model__name='ml_gcn')
    assert reported.find_baseline(run) is None
    make('d_other_seed', config__model__name='baseline', seed=1)
    assert reported.find_baseline(run).name == 'd_other_seed'
    make('e_other_rate', config__model__name='baseline', config__optimizer__lr=9.0)
    assert reported.find_baseline(run).name == 'e_other_rate'
    broken = make('f_broken', config__model__name='baseline')
    (broken / 'result.json').write_text('{')
    folder = make('g_baseline', config__model__name='baseline')
    assert reported.find_baseline(run).name == 'g_baseline'
    assert reported.find_baseline(reported.load(folder)) is None  # It is one itself.


def test_runs_without_scores_are_compared_by_their_options(make):
    run = reported.load(make('digits'))
    same, other = make('same'), make('other', config__data__test_images=14)
    for folder in (same, other):
        (folder / 'scores.npz').unlink()
    assert run.same_images(reported.load(same)) and not run.same_images(reported.load(other))


def test_the_papers_row_is_that_of_data_task_and_pixels(make):
    def voc(**more):
        options = {'row': 'voc2007', 'data__name': 'voc2007', 'data__image_size': 448, 'data__test_sizes': []}
        return {f'config__{key}': value for key, value in (options | more).items()}

    assert reported.paper_rows(reported.load(make('digits'))) == []
    rows = reported.paper_rows(reported.load(make('full', **voc())))
    assert [(row.table, row.method) for row in rows][:1] == [('Table II', 'Ours')]
    assert rows[0].values['mAP'] == 95.2 and rows[0].values['AP.aeroplane'] == 99.9
    assert 'AP.tvmonitor' in rows[0].values and len(rows[0].values) == 21
    assert reported.paper_rows(reported.load(make('small', **voc(data__image_size=224)))) == []
    partial = voc(task__name='partial', task__known=0.3)
    rows = reported.paper_rows(reported.load(make('partial', **partial)))
    assert [(row.table, row.values) for row in rows] == [('Table V', {'mAP': 91.3})]
    assert reported.paper_rows(reported.load(make('between', **voc(task__name='partial', task__known=0.35)))) == []

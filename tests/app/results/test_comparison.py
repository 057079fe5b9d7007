"""What a comparison is of: what sets two rows apart, and the order of Table VII."""

import pytest

from mlsgm_pyg.app.results import comparison, groups
from tests.app.finished_runs import finish


def labels(rows):
    return [row.label for row in rows]


def rows_of(folders):
    return groups.collect(folders)[0]


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
    assert comparison.apart(row, reference) == why


def test_options_beside_the_model(tmp_path):
    finish(tmp_path, 'coco18', 'model.gamma=0.3', 'data.root=elsewhere/coco18')
    finish(tmp_path, 'coco18_ml_gcn', 'trainer.max_epochs=3', 'model.hidden_channels=256', 'model.feature_dropout=0.5')
    finish(tmp_path, 'coco18', 'name=other', 'model.feature_dropout=0.2', 'model.tau=0.3')
    rows = {row.name: row for row in rows_of([tmp_path])}
    found = comparison.beside(rows['coco18_ml_gcn'], rows['coco18'])
    # The rate is the row's own.
    assert found == {
        'model.feature_dropout': (0.5, 0.2), 'optimizer.lr': (2e-3, 5e-4), 'trainer.max_epochs': (3, 6),
    }  # fmt: skip
    assert comparison.beside(rows['other'], rows['coco18']) == {'model.gamma': (0.2, 0.3)}  # ML-SGM takes no tau.


def test_the_ladder_is_table_vii(tmp_path):
    names = [f'coco18_ablation_{i}' for i in (6, 2, 5, 3, 4)]
    for row in ['coco18_ssgrl', 'coco18', *names, 'coco18_baseline']:
        finish(tmp_path, row)
    rows = rows_of([tmp_path])
    steps, notes = comparison.ladder_of(rows, groups.find(rows, 'coco18'))
    assert labels(steps) == ['coco18_baseline', *(f'coco18_ablation_{i}' for i in range(2, 7)), 'coco18'] and not notes
    told = [comparison.change(after, before) for after, before in zip(steps[1:], steps)]
    assert told == [
        '+ CSAC', '+ instance graph', '+ label graph, - CSAC, - instance graph', '+ instance graph', '+ CSAC',
        '+ matching edges',
    ]  # fmt: skip
    ssgrl = groups.find(rows, 'coco18_ssgrl')
    assert comparison.parts(ssgrl) is None and comparison.change(steps[0], ssgrl) == ''


def test_a_ladder_leaves_out_what_cannot_be_compared_and_says_what_it_chose(tmp_path):
    finish(tmp_path, 'coco18_ablation_2')
    finish(tmp_path, 'coco18_ablation_3', 'data.test_split=test')
    finish(tmp_path, 'coco18', 'name=far', 'optimizer.lr=1', 'optimizer.momentum=0.5')
    finish(tmp_path, 'coco18', 'name=near', 'optimizer.lr=2e-3', 'optimizer.momentum=0.5')  # The rate of rows 2 and 3.
    rows = rows_of([tmp_path])
    steps, notes = comparison.ladder_of(rows, rows[0])
    assert rows[0].label == 'coco18_ablation_2' and labels(steps) == ['coco18_ablation_2', 'near']
    assert notes == ['row 7 of Table VII is near here, not far (--ladder names others)']
    steps, _ = comparison.ladder_of(rows, groups.find(rows, 'far'))
    assert labels(steps) == ['coco18_ablation_2', 'far']
    assert comparison.ladder_of(rows[2:], rows[2]) == ([], [])  # Without an ablation there is none.

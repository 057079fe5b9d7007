"""The one answer of training: who is ahead, in words, and which model is taken."""

import json
import shutil
from pathlib import Path

import pytest

from mlsgm_pyg.app.common.errors import ConfigError, Damaged, Gone
from mlsgm_pyg.app.results import answer
from mlsgm_pyg.app.results.groups import chosen_run, find_checkpoint, find_one
from mlsgm_pyg.app.results.run import Run
from tests.app.finished_runs import finish


@pytest.fixture
def pair(tmp_path):
    """Makes two finished runs, and the scores of both on the photographs that thresholds are fitted on."""

    def make(ours, baseline, on_fit=None, images=60):
        runs = []
        for model, row, lift, fit in [('ml_sgm', 'photos', ours, 0), ('baseline', 'photos_baseline', baseline, 1)]:
            folder = finish(tmp_path, row, f'name=my pets/{model}', lift=lift, images=images)
            (folder / 'last.ckpt').write_text(model)
            if on_fit is not None:
                other = finish(tmp_path / 'fit', row, f'name={model}', lift=on_fit[fit], images=images)
                shutil.copyfile(other / 'scores.npz', folder / answer.FIT)
            runs.append(Run.read(folder))
        return runs

    return make


def test_level_ahead_and_behind(pair, tmp_path):
    runs = pair(0.5, 0.5)
    place = tmp_path / 'my pets'
    out = answer.settle(*runs)
    gain = out['gain']
    assert gain['low'] <= 0 <= gain['high'] and out['chosen'] == 'ml_sgm' and out['gain_on_fit'] is None
    told = answer.sentences(out, place).splitlines()
    ours, theirs = (run.result['mAP'] for run in runs)
    assert told[0] == (
        f'ML-SGM and the linear baseline are level: {ours:.1f} and {theirs:.1f} mAP on 60 photographs that neither saw '
        f'(from {-gain["low"]:.1f} behind to {gain["high"]:.1f} ahead, 95 % interval).'
    )
    assert told[1] == (f"Taken: ML-SGM, which draws boxes. (The linear baseline, without boxes: '{runs[1].folder}')")
    assert told[3:] == [f"mlsgm predict '{place}' PHOTOGRAPHS --draw drawn", f"mlsgm report '{place}'"]


def test_the_model_with_boxes_is_taken_unless_it_is_behind_where_one_chooses(pair, tmp_path):
    place = tmp_path / 'my pets'
    runs = pair(2.0, 0.2, on_fit=(0.2, 2.0))  # Ahead where nobody may choose.
    out = answer.settle(*runs)
    first, second = answer.sentences(out, place).splitlines()[:2]
    gain, fit = out['gain'], out['gain_on_fit']
    least, most = f'{gain["low"]:.1f}', f'{gain["high"]:.1f}'
    assert first.startswith(f'ML-SGM is ahead of the linear baseline by {least} to {most} points (95 % interval): ')
    assert out['chosen'] == 'baseline' and fit['high'] < 0
    assert second == (
        f'Taken: the linear baseline, ahead by {-fit["high"]:.1f} to {-fit["low"]:.1f} points on the 60 photographs '
        f"kept to choose. It draws no boxes; ML-SGM, which does: '{runs[0].folder}'"
    )
    assert (place / 'model.ckpt').read_text() == 'baseline'


def test_behind_but_level_where_one_chooses(pair, tmp_path):
    out = answer.settle(*pair(0.2, 2.0, on_fit=(0.5, 0.5)))
    assert out['chosen'] == 'ml_sgm' and (tmp_path / 'my pets' / 'model.ckpt').read_text() == 'ml_sgm'
    told = answer.sentences(out, tmp_path / 'my pets')
    assert told.startswith('The linear baseline is ahead of ML-SGM by ')


def test_run_means_the_chosen_one(pair, tmp_path, monkeypatch):
    ours, baseline = pair(0.2, 2.0, on_fit=(0.2, 2.0))
    place = tmp_path / 'my pets'
    with pytest.raises(ConfigError, match='holds 2 runs, name one'):
        find_one(place)
    answer.settle(ours, baseline)
    assert find_one(place) == baseline.folder == chosen_run(place) and chosen_run(place, 'ml_sgm') == ours.folder
    assert find_checkpoint(place) == place / 'model.ckpt' and find_checkpoint(ours.folder).parent == ours.folder
    assert chosen_run(place, 'another') == baseline.folder
    shutil.rmtree(tmp_path / 'fit')
    assert find_one(tmp_path) == baseline.folder and find_one(place / 'ml_sgm') == ours.folder
    monkeypatch.chdir(place / 'ml_sgm')
    assert find_one(Path('.')).resolve() == ours.folder
    (place / 'answer.json').write_text(json.dumps({'chosen': 'neither'}))
    with pytest.raises(Damaged, match="my pets/answer.json' is not what mlsgm train leaves: delete it, or train once"):
        find_one(place)


def test_scores_that_cannot_be_read(pair):
    runs = pair(0.5, 0.5, on_fit=(0.5, 0.5))
    whole = (runs[0].folder / answer.FIT).read_bytes()
    for content in (b'x', whole[:100]):  # Also a zip that is cut off.
        (runs[0].folder / answer.FIT).write_bytes(content)
        with pytest.raises(Gone, match=r"fit.npz' cannot be read: .*; --again trains it once more"):
            answer.settle(Run.read(runs[0].folder), runs[1])


def test_the_table_has_every_class_of_both(pair):
    ours, baseline = pair(1.0, 0.5)
    table = answer.table(ours, baseline)
    assert table.title == 'Average precision, percent, on 60 photographs (val)'
    ap = ours.result['metrics']['AP'], baseline.result['metrics']['AP']
    assert table.rows[0] == ('cat', f'{ap[0]["cat"]:.1f}', f'{ap[1]["cat"]:.1f}')
    assert [row[0] for row in table.rows] == ['cat', 'dog', 'owl', 'emu', 'mean of 4 classes']


def test_what_says_little_is_said(pair, tmp_path):
    ours, baseline = pair(0.5, 0.5, images=12)
    told = answer.sentences(answer.settle(ours, baseline), tmp_path / 'my pets').splitlines()[0]
    assert told.endswith(' So few photographs say little: fewer than 30.')
    ours.result['skipped'] = ['train 3.jpg', 'test 4.jpg']
    ours.result['metrics']['AP']['owl'] = None
    table = answer.table(ours, baseline)
    assert table.notes == ['2 photographs could not be read: train 3.jpg, test 4.jpg']
    assert table.rows[-1][0] == 'mean of 3 classes' and table.rows[2][1] == '-'

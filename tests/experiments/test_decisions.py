"""What fitted thresholds are worth on a run: from its own scores, or from its checkpoint alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import decisions
from mlsgm_pyg.app.results.run import Run
from mlsgm_pyg.app.training import train
from mlsgm_pyg.decisions import Decision, Decisions


def test_a_run_with_its_scores_or_without(tiny, frozen, tmp_path, capsys):
    out = train.run(tiny(*frozen, 'model.name=baseline', 'data.tune=0.3', 'trainer.max_epochs=1'))
    files = [tmp_path / f'{name}.json' for name in ('kept', 'again')]
    assert decisions.main([out['folder'], '--out', str(files[0])]) == 0
    assert 'What --min-precision 0.9 reached' in capsys.readouterr().out
    (Path(out['folder']) / 'fit.npz').unlink()
    assert decisions.main([out['folder'], '--out', str(files[1])]) == 0
    one, other = (json.loads(file.read_text())[0] for file in files)
    images = out['decisions'].pop('images')
    assert one['fitted'] == out['decisions'] and images == 6
    assert other['fitted']['temperature'] == pytest.approx(one['fitted']['temperature'], rel=1e-3)
    assert one['reached']['all']['positives'] == (Run.read(Path(out['folder'])).y == 1).sum()
    assert [*one['reached']] == ['the rest together', 'all']  # No class is shown by thirty of these images.
    capsys.readouterr()
    out = train.run(tiny(*frozen, 'model.name=baseline', 'data.tune=0', 'trainer.max_epochs=1'))
    assert decisions.main([out['folder'], '--out', str(files[0])]) == 2
    assert 'kept no images to fit thresholds on: it was trained with data.tune=0' in capsys.readouterr().err


def test_what_is_reached_by_hand():
    class Scored:
        class_names = ['often', 'rare']
        y = np.array([[1, 1]] * 20 + [[1, 0]] * 15 + [[0, 0]] * 4 + [[-1, -1]])
        logits = np.where(np.arange(40)[:, None] % 2, 3.0, -3.0) * [1, -1]

    one = Decision(0.5, 50, False, (0.5,) * 50)
    found = decisions.reached(Scored, Decisions(1.0, {'often': one, 'rare': one}, one))
    assert found['often'] == {'positives': 35, 'kept': 19, 'precision': 100 * 17 / 19, 'recall': 100 * 17 / 35}
    assert found['the rest together'] == {'positives': 20, 'kept': 20, 'precision': 50.0, 'recall': 50.0}
    assert found['all']['kept'] == 39 and found['all']['precision'] == pytest.approx(100 * 27 / 39)

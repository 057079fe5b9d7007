"""What a run has come to: its times, and that nothing is read back or evaluated twice."""

from pathlib import Path

import numpy as np
import pytest

from mlsgm_pyg.app.results import scores
from mlsgm_pyg.app.training import module, result, train
from mlsgm_pyg.app.training.run_log import RunLog


def test_seconds_are_shared_out():
    log = RunLog(history=[{}, {}], train_seconds=6.0, total_seconds=9.0, steps=4, images=24)
    assert log.seconds == {'total': 9.0, 'epoch': 4.5, 'step': 1.5, 'image': 0.25}
    assert RunLog().seconds == {'total': 0.0, 'epoch': 0.0, 'step': 0.0, 'image': 0.0}


def test_scores_are_evaluated_once_and_not_read_back(tiny, monkeypatch):
    """But for a run that was killed after its last epoch: then from the file, to the same numbers."""
    evaluated, read, evaluate, load = [], [], scores.evaluate, result.read_scores
    monkeypatch.setattr(module, 'evaluate', lambda *args: evaluated.append(args[1]) or evaluate(*args))
    monkeypatch.setattr(result, 'read_scores', lambda *args: read.append(args[0]) or load(*args))
    config = tiny('data.limit=9', 'data.test_limit=7', 'select=best')
    out = train.run(config)
    assert evaluated == 2 * ['graph', 'csac', 'average'] and not read
    kept = np.load(Path(out['folder']) / 'scores.npz')
    again = evaluate(kept, 'graph', list(out['metrics']['AP']), out['ap'], out['top3'])
    assert again['mAP'] == out['mAP'] == pytest.approx(out['best_epoch_mAP'], rel=1e-6)
    np.testing.assert_array_equal(kept['index'], np.arange(7))

    (Path(out['folder']) / 'result.json').unlink()
    evaluated.clear()
    resumed = train.run(config)
    assert len(read) == 1 and evaluated == ['graph', 'csac', 'average']
    assert all(resumed[key] == out[key] for key in ('metrics', 'mAP_by_score', 'history', 'seconds', 'skipped'))

"""Thresholds and temperature in words and tables: of a run, a model card and a report."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

import mlsgm_pyg
from mlsgm_pyg.app.reports import numbers, overview, pictures
from mlsgm_pyg.app.results import decided, model_card, run_tables
from mlsgm_pyg.app.results.run import Run
from mlsgm_pyg.decisions import fit, probabilities


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    y = (rng.random((300, 2)) < [0.4, 0.05]).astype(np.int8)
    return {'index': np.arange(300), 'y': y, 'graph': 3.0 * y + rng.normal(size=y.shape) - 1.5}


def test_figures_are_of_what_is_kept(found):
    decisions = fit(found['graph'], found['y'], ['often', 'rare'])
    told = decided.figures(decisions, found, 'graph')
    kept = probabilities(found['graph'], decisions.temperature) >= [
        told['classes'][c]['threshold'] for c in ('often', 'rare')
    ]
    assert told['metrics']['OF1'] == pytest.approx(100 * f1_score(found['y'], kept, average='micro'))
    assert [one['is_pooled'] for one in told['classes'].values()] == [False, True]
    assert told['classes']['rare']['threshold'] == told['pooled'] and told['ece']['after'] < told['ece']['before']


def test_a_run_with_decisions_tells_of_them(found, trained, tmp_path):
    out = json.loads(json.dumps(trained))
    plain = [table.markdown() for table in run_tables.tables(out)]
    assert 'fitted' not in ''.join(plain)
    names = list(out['metrics']['AP'])
    y = np.tile(found['y'], 5)
    decisions = fit(np.tile(found['graph'], 5), y, names)
    told = decided.figures(decisions, {'graph': np.tile(found['graph'], 5), 'y': y}, 'graph') | {'images': 300}
    out['decisions'] = told
    table = run_tables.tables(out)[1]
    assert table.rows[1] == (
        'fitted',
        *(f'{told["metrics"][key]:.1f}' for key in ('CP', 'CR', 'CF1', 'OP', 'OR', 'OF1')),
    )
    assert table.title.startswith('Labels at probability >= 0.5, at fitted thresholds')
    assert 'calibration error 0.' in ' '.join(table.notes)
    card = mlsgm_pyg.load(Path(trained['folder']) / 'last.ckpt').card
    assert model_card.RAW in card['limits'] and 'fitted' not in model_card.page(card)
    card['evaluation']['decisions'] = told
    page = model_card.page(card)
    assert '| fitted thresholds |' in page and f'| {told["pooled"]:.2f}* |' in page and decided.said(told) in page
    (tmp_path / 'result.json').write_text(json.dumps(out))
    run = Run.read(tmp_path)
    assert run.limits.tolist() == [one['threshold'] for one in told['classes'].values()]
    chip = pictures.chips(['a', 'b'], np.array([0.4, 0.4]), np.array([1, 0]), np.array([0.3, 0.5]))
    assert [(one.name, one.kind) for one in chip] == [('a', pictures.FOUND)]  # At 0.5 it was missed.
    page = str(overview.overview(run, None, []))
    assert f'At the fitted thresholds: CF1 {told["metrics"]["CF1"]:.2f}, OF1 ' in page
    assert 'are fitted on 300 images that trained nothing' in page and 'Too few positives (under 40)' in page
    classes = str(numbers.classes(run, None))
    assert f'{told["pooled"]:.2f}*' in classes and 'fitted on' in classes

"""The comparison of finished runs: its numbers, its text, its page, its costs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from mlsgm_pyg.app.cli import compare
from mlsgm_pyg.app.results import groups, speed
from mlsgm_pyg.app.results.bootstrap import Resamples
from mlsgm_pyg.app.results.comparison import summarise
from mlsgm_pyg.app.results.schema import FIGURES
from tests.app.finished_runs import NAMES, finish
from tests.app.results.test_bootstrap import slow_gain


@pytest.fixture
def runs(tmp_path):
    """ML-SGM of two seeds, a baseline of two others, an ablation, and a row on another split."""
    folder = tmp_path / 'runs'
    for seed in (0, 1):
        finish(folder, 'coco18', seed=seed, lift=1.0)
        finish(folder, 'coco18_baseline', seed=seed + 1, lift=0.3)
    finish(folder, 'coco18_ablation_2', lift=0.6)
    finish(folder, 'coco18_ml_gcn', 'data.test_split=test', lift=0.5, parameters=7)
    return folder


def test_a_summary_is_of_the_runs_own_numbers(runs):
    rows = groups.collect([runs])[0]
    reference = groups.find(rows, 'coco18')
    out = summarise(rows, reference, samples=Resamples(100))
    first, _, baseline, _ = out['rows']
    maps = [run.result['mAP'] for run in reference.runs]
    assert first['metrics']['mAP'] == {'mean': np.mean(maps), 'sd': pytest.approx(np.std(maps, ddof=1)), 'values': maps}
    assert set(first['metrics']) == set(FIGURES) and list(first['AP']) == NAMES
    assert out['rows'][1]['metrics']['mAP']['sd'] is None  # One seed.
    against = {found['rows'][1]: found for found in out['against']}
    assert list(against) == ['coco18_ablation_2', 'coco18_baseline']
    found = against['coco18_baseline']
    assert found['seeds'] == [1] and baseline['seeds'] == [1, 2] and found['images'] == 60
    pair = [[run.result | {'scores': run.scores}] for run in (reference.runs[1], rows[2].runs[0])]
    difference, low, _ = slow_gain(*pair, 100)
    assert found['metrics']['mAP']['difference'] == pytest.approx(difference)
    assert found['metrics']['mAP']['low'] == pytest.approx(low)
    assert list(found['classes']) == NAMES
    (without,) = out['not_compared']
    assert without['rows'] == ['coco18', 'coco18_ml_gcn']
    assert without['why'] == 'they are not evaluated alike (evaluated on: test, not val)'
    assert out['beside']['coco18_baseline']['optimizer.lr'] == {'here': 0.01, 'reference': 0.0005}


def test_the_command_prints_and_writes(runs, tmp_path, capsys):
    page, numbers = tmp_path / 'new' / 'a.html', tmp_path / 'a.json'
    typed = [str(runs), '--reference', 'coco18', '--resamples', '50', '--out', str(page), '--json', str(numbers)]
    assert compare.main(typed) == 0
    shown = re.sub(r' +', ' ', capsys.readouterr().out)
    out = json.loads(numbers.read_text())
    assert out['ladder'] == ['coco18_baseline', 'coco18_ablation_2', 'coco18']
    assert [found['change'] for found in out['steps']] == [  # The other step shares no seed.
        '+ instance graph, + label graph, + matching edges'
    ]
    mean, sd = (out['rows'][0]['metrics']['mAP'][key] for key in ('mean', 'sd'))
    assert f'coco18 2 (0 and 1) {mean:.2f} ± {sd:.2f}' in shown and 'Among the three' not in shown
    gain = out['against'][0]['metrics']['mAP']
    told = f'{gain["difference"]:+.2f} [{gain["low"]:+.2f}, {gain["high"]:+.2f}]'
    assert f'coco18_ablation_2 {told}' in shown
    assert 'coco18_ablation_2 - coco18_baseline: no difference, as they have no seed in common' in shown
    assert 'coco18 - coco18_ml_gcn: no difference, as they are not evaluated alike' in shown
    assert 'coco18_baseline differs from coco18 beside its model: features.crop=0.0 (0.6)' in shown
    assert 'coco18_ml_gcn 7 14 10 -' in shown and 'images/s' not in shown  # Nothing is measured.
    assert 'In mAP, coco18 is ' in shown
    text = page.read_text()
    words = [f'{gain["difference"]:+.2f}<small>[{gain["low"]:+.2f}, {gain["high"]:+.2f}]</small>', told]
    assert all(one.replace('-', '−') in text for one in words) and out['command'] == f'mlsgm compare {" ".join(typed)}'
    for name in (*NAMES, 'evaluated on: test, not val', 'Ladder', 'python -m experiments.run coco18 seed=1'):
        assert name in text
    assert '://' not in text  # It asks nobody for anything.


def test_a_ladder_may_be_named(runs, tmp_path, capsys):
    numbers = tmp_path / 'a.json'
    words = [str(runs), '--ladder', 'coco18_ablation_2, coco18', '--resamples', '20', '--json', str(numbers)]
    assert compare.main(words) == 0
    out = json.loads(numbers.read_text())
    assert out['reference'] == 'coco18' and [found['rows'] for found in out['steps']] == [
        ['coco18', 'coco18_ablation_2']
    ]
    assert compare._names('a (x=1, y=2), b') == ['a (x=1, y=2)', 'b']


def test_a_damaged_run_does_not_stop_the_others(runs, capsys):
    path = sorted(runs.rglob('result.json'))[-1]
    path.write_text(path.read_text()[:100])
    assert compare.main([str(runs), '--resamples', '5']) == 0
    out = capsys.readouterr().out
    assert f"Left out: '{path}' is not valid JSON: " in out and 'coco18_ablation_2' in out
    assert compare.main([str(runs), str(path.parent), '--resamples', '5']) == 2
    assert capsys.readouterr().err.startswith(f"error: '{path}' is not valid JSON: ")


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--json', '/proc/nowhere/x.json'], "error: cannot write '/proc/nowhere/x.json': '/proc/nowhere': No such"),
        (['--reference', 'coco81'], "error: no row is called 'coco81': did you mean 'coco18'?"),
        (['--ladder', 'coco18,x'], "error: no row is called 'x': there are coco18, "),
        (['--speed', '--device', 'cuda'], 'error: --device cuda: there is no GPU here'),
        (['--batch', '0'], '--batch must be at least 1 (got 0)'),
    ],
)
def test_errors(runs, words, message, capsys, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    try:
        status = compare.main([str(runs), '--resamples', '5', *words])
    except SystemExit as error:
        status = error.code
    assert status == 2 and message in capsys.readouterr().err


def test_what_must_be_known_is_noted(tmp_path):
    finish(tmp_path, 'coco18', 'select=best', images=20, lift=1.0)
    finish(tmp_path, 'coco18_baseline', images=20, skipped=['test 3.png'])
    rows = groups.collect([tmp_path])[0]
    rows[0].left_out.append('there')
    notes = ' | '.join(summarise(rows, rows[0], samples=Resamples(5))['notes'])
    for told in (
        'an evaluation of 20 images says little',
        'one seed only, so no spread: coco18, coco18_baseline',
        'the best epoch by the evaluation itself, which is optimistic: coco18 |',
        'there repeats a seed of coco18, with other numbers: left out',
        'images that could not be read were left out: coco18_baseline',
    ):
        assert told in notes


def test_a_trained_model_is_measured_on_its_own_images(trained, tmp_path, capsys):
    numbers = tmp_path / 'a.json'
    words = [trained['folder'], '--speed', '--batch', '3', '--rounds', '1', '--device', 'cpu', '--resamples', '5']
    assert compare.main([*words, '--json', str(numbers)]) == 0
    found = json.loads(numbers.read_text())['speed']
    one = found['rows'][trained['name']]
    assert one['images_per_second'] > 0 and (one['batch'], one['pixels']) == (3, 32)
    assert 1 <= one['instances_per_image'] <= 5 and 0 < one['head_macs'] < one['macs'] and one['label_macs'] > 0
    assert found['hardware']['kind'] == 'cpu' and not found['without']
    assert f'{one["images_per_second"]:,.1f}' in capsys.readouterr().out


def test_what_cannot_be_measured_is_said(runs, trained, monkeypatch):
    rows = groups.collect([runs / 'coco18', Path(trained['folder'])])[0]
    found, without = speed.measure(rows, 999, speed.torch.device('cpu'), quick=True)
    assert not found and 'last.ckpt' in without['coco18']
    assert without[trained['name']] == '--batch takes images of the evaluation: there are 13 (got 999)'


def test_a_table_is_as_wide_as_it_is(runs, capsys):
    compare.main([str(runs), '--resamples', '5'])
    lines = capsys.readouterr().out.splitlines()
    assert any(len(line) > 120 and 'coco18_baseline' in line for line in lines)

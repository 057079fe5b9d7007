import json

import numpy as np
import pytest

from experiments import summary
from experiments.summary import by_name
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.results import scores
from tests.app.finished_runs import result_of


def write_run(folder, name, seed, logits, y, score, row=None, task=None):
    """A finished run with some scores, as experiments.run leaves it."""
    folder.mkdir(parents=True)
    found = {'index': np.arange(len(y)), 'instances': np.zeros(len(y)), 'y': y, score: logits}
    scores.save(folder / 'scores.npz', found)
    metrics = scores.evaluate(found, score, ['a', 'b'], 'non_interpolated', 'threshold')
    config = configs.default()
    config.name, config.seed, config.row = name, seed, row or name
    out = result_of(config, metrics, len(y), score=score)
    out |= {'versions': {'torch': '2'}, 'command': f'run {name}'}
    out['config'] |= {'task': task} if task else {}
    (folder / 'result.json').write_text(json.dumps(out))


@pytest.fixture
def runs(tmp_path):
    y = np.random.default_rng(0).integers(0, 2, (40, 2))
    noise = np.random.default_rng(1).normal(size=(4, 40, 2))
    for seed in (0, 1):
        write_run(tmp_path / 'runs' / 'row' / f'seed{seed}', 'row', seed, y + 0.1 * noise[seed], y, 'graph')
        write_run(
            tmp_path / 'runs' / 'row_baseline' / f'seed{seed}', 'row_baseline', seed, noise[seed + 2], y, 'logits'
        )
    marks = ((summary.START, summary.END), summary.SWEEPS, summary.FEW_SHOT)
    page = '\n'.join(f'{start}\nold\n{end}' for start, end in marks)
    (tmp_path / 'docs').mkdir()
    (tmp_path / summary.PAGE).write_text(f'before\n{page}\nafter\n')
    return tmp_path


def test_runs_become_results_and_a_table(runs, capsys):
    assert summary.main([str(runs / 'runs'), '--root', str(runs)]) == 0
    row = json.loads((runs / 'results' / 'row.json').read_text())
    baseline = json.loads((runs / 'results' / 'row_baseline.json').read_text())
    assert [run['seed'] for run in row['runs']] == [0, 1] and baseline['against_baseline'] is None
    gain = row['against_baseline']
    means = [np.mean([run['mAP'] for run in part['runs']]) for part in (row, baseline)]
    assert gain['difference'] == pytest.approx(means[0] - means[1]) and gain['low'] < gain['difference'] < gain['high']
    text = (runs / summary.PAGE).read_text()
    assert text.startswith('before\n') and text.endswith('after\n') and 'old' not in text
    assert f'| `row` | 0, 1 | {means[0]:.2f} ± ' in text and 'run row_baseline' in text
    assert '| `row_baseline` | 0, 1 |' in capsys.readouterr().out
    (runs / 'results' / 'other.json').write_text('{"points": []}')  # Not a row.
    assert summary.main(['--root', str(runs)]) == 0  # From the files alone: the same page.
    assert (runs / summary.PAGE).read_text() == text


def test_nothing_found_names_the_folder(runs, tmp_path, capsys):
    assert summary.main([str(tmp_path / 'none')]) == 2
    assert "none' holds no finished run: there is no result.json in it" in capsys.readouterr().err


def test_runs_that_differ_in_more_than_their_seed_are_not_averaged(runs, capsys):
    path = runs / 'runs' / 'row' / 'seed1' / 'result.json'
    path.write_text(path.read_text().replace('"select": "last"', '"select": "best"'))
    assert summary.main([str(runs / 'runs'), '--root', str(runs)]) == 2
    assert "the runs of 'row' differ in more than their seed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('content', 'told'),
    [
        ('{"seed"', 'is not valid JSON: Expecting'),
        ('{"seed": 0}', 'is not what a run leaves: it lacks name, task, mAP, and 19 more'),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_written(runs, capsys, content, told):
    before = {path: path.read_bytes() for path in runs.rglob('*') if path.is_file()}
    path = runs / 'runs' / 'row' / 'seed1' / 'result.json'
    path.write_text(content)
    assert summary.main([str(runs / 'runs'), str(path.parent), '--root', str(runs)]) == 2
    assert capsys.readouterr().err.startswith(f"error: '{path}' {told}")
    path.write_bytes(before[path])
    assert before == {path: path.read_bytes() for path in runs.rglob('*') if path.is_file()}


def test_a_damaged_file_that_was_not_asked_for_is_left_out(runs, capsys):
    path = runs / 'runs' / 'row' / 'seed1' / 'result.json'
    path.write_text('[]')
    assert summary.main([str(runs / 'runs'), '--root', str(runs)]) == 0
    assert capsys.readouterr().err.startswith(f"left out: '{path}' is not what a run leaves: ")
    assert [run['seed'] for run in json.loads((runs / 'results' / 'row.json').read_text())['runs']] == [0]


def test_the_page_is_what_its_results_say():
    text = (summary.ROOT / summary.PAGE).read_text()
    assert text == summary.page(text, summary.load(summary.ROOT / 'results'))
    with pytest.raises(ValueError, match=r'docs/results.md must hold the marks'):
        summary.page('nothing here', {})


def test_partial_runs_meet_the_baseline_with_as_many_labels(tmp_path):
    """Rows of several known parts beside full ones, among them runs from before there were tasks."""
    y = np.random.default_rng(0).integers(0, 2, (40, 2))
    full = {'name': 'full', 'known': 1.0, 'mask_seed': 0}
    for number, (row, score) in enumerate((('row', 'graph'), ('row_baseline', 'logits'))):
        for known in (0.1, 0.2):
            name, task = f'{row}_partial_{known}', {'name': 'partial', 'known': known, 'mask_seed': 0}
            noise = np.random.default_rng([number, int(10 * known)]).normal(size=y.shape)
            write_run(tmp_path / 'runs' / name / 'seed0', name, 0, noise, y, score, row, task)
        write_run(tmp_path / 'runs' / row / 'seed0', row, 0, y + 0.1, y, score, row, full if number else None)
    groups, _ = by_name([tmp_path / 'runs'])
    found = {name: summary.baseline_of(name, groups) for name in groups}
    assert {name: group and group.name for name, group in found.items()} == {
        'row': 'row_baseline', 'row_baseline': None,
        'row_partial_0.1': 'row_baseline_partial_0.1', 'row_baseline_partial_0.1': None,
        'row_partial_0.2': 'row_baseline_partial_0.2', 'row_baseline_partial_0.2': None,
    }  # fmt: skip
    del groups['row_baseline_partial_0.1']
    assert summary.baseline_of('row_partial_0.1', groups) is None  # Never the full labels' baseline.


def test_every_machine_is_named_once():
    rows = {
        name: {'hardware': {'device': device, 'cores': 2}, 'versions': {'torch': '2'}, 'runs': [{'command': name}]}
        for name, device in (('a', 'one'), ('b', 'other'), ('c', 'one'))
    }
    told = summary.facts(rows).splitlines()
    made = ['- `a`, `c`: one, 2 cores; torch 2.', '- `b`: other, 2 cores; torch 2.']
    assert told == [*made, '', '```bash', 'a', 'b', 'c', '```']
    del rows['b']
    assert summary.facts(rows).splitlines()[:2] == ['one, 2 cores; torch 2.', '']  # All rows.


def test_a_row_built_on_another_meets_that_ones_baseline(tmp_path, monkeypatch):
    monkeypatch.setattr(configs, 'FOLDERS', [tmp_path])
    for row, base in (('row', ''), ('narrow', 'row'), ('other', 'narrow'), ('other_baseline', 'other')):
        (tmp_path / f'{row}.yaml').write_text(f'# A row.\nbase: {base}\n' if base else '# A row.\n')
    y = np.random.default_rng(0).integers(0, 2, (40, 2))
    for row in ('row', 'row_baseline', 'narrow', 'other'):
        write_run(tmp_path / 'runs' / row / 'seed0', row, 0, y + 0.1, y, 'graph', row)
    groups, _ = by_name([tmp_path / 'runs'])
    assert configs.bases('other') == ['narrow', 'row'] and configs.bases('gone') == []
    assert [summary.baseline_of(row, groups).name for row in ('row', 'narrow', 'other')] == ['row_baseline'] * 3
    write_run(tmp_path / 'runs' / 'other_baseline' / 'seed0', 'other_baseline', 0, y, y, 'logits', 'other_baseline')
    groups, _ = by_name([tmp_path / 'runs'])
    assert summary.baseline_of('other', groups).name == 'other_baseline'


MADE = {'commit': 'abc', 'hardware': {'device': 'cpu', 'cores': 2}, 'versions': {'torch': '2'}}


def a_sweep(folder):
    """What experiments.sweep writes, of two proportions."""
    gain = {'difference': 1.5, 'low': -0.25, 'high': 3.0}
    points = [
        {
            'values': {'task.known': known},
            'runs': {
                'row': {'mAP': [50 + 10 * known, 52.0], 'seeds': [0, 1]},
                'row_baseline': {'mAP': [49.5], 'seeds': [0]},
            },
            'gains': gains,
            'without_gain': without,
        }
        for known, gains, without in ((0.1, {'row_baseline': gain}, {}), (0.9, {}, {'row_baseline': "no '/a/b/c.npz'"}))
    ]
    average = {'mAP': {'row': 53.5, 'row_baseline': 49.5}, 'gains': {'row_baseline': gain}}
    out = {'rows': ['row', 'row_baseline'], 'swept': {'task.known': [0.1, 0.9]}, 'points': points, 'average': average}
    out |= {'evaluated_on': 'val', 'made_by': [MADE | {'runs': 6}]}
    out['command'] = 'python -m experiments.sweep row data.root=/home/me/photos runs_dir=/big/disk task.known=0.1,0.9'
    path = folder / 'sweeps' / 'row-task.known-0123.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(out))
    return path


def a_few_shot(folder):
    """What experiments.few_shot writes, of 1 and 5 examples."""

    def found(mean, values):
        return {'mAP': mean, 'std': 0.5, 'values': values}

    gain = {'difference': 4.0, 'low': 1.0, 'high': 7.0, 'ahead': 2, 'draws': 2}
    alone = {'difference': 4.0, 'low': None, 'high': None, 'ahead': 1, 'draws': 1}
    one = {'ml_sgm': found(44.0, [43, 45]), 'linear': found(40.0, [39, 41, 40])}
    five = {'ml_sgm': found(54.0, [54]), 'linear': found(50.0, [50])}
    points = [
        {'shots': 1, 'first': 'ml_sgm', 'methods': one, 'gains': {'linear': gain}},
        {'shots': 5, 'first': 'ml_sgm', 'methods': five, 'gains': {'linear': alone}},
    ]
    draws = [{'shots': 1, 'draw': 0, 'files': ['a.jpg'], 'methods': {'ml_sgm': {'mAP': 43, 'AP': {'dog': 43}}}}]
    out = {'name': 'few', 'row': 'row', 'task': 'few_shot', 'first': 'ml_sgm', 'evaluated_on': 'val'}
    out |= {'classes': {'base': ['cat', 'bus'], 'novel': ['dog']}, 'summary': points, 'draws': draws, **MADE}
    out |= {'command': 'x', 'made_by': [{'command': 'python few task.base=/home/me/last.ckpt', 'commit': 'abc'}]}
    words = ['data.root=/home/me/photos', 'runs_dir=/big/disk', 'task.base=/home/me/last.ckpt']
    out['config'] = configs.plain(configs.load('coco18_few_shot', words))
    path = folder / 'few' / 'few_shot-0123' / 'few_shot.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(out))
    return path


def test_a_sweep_and_few_shot_draws_become_results_and_tables(runs, capsys):
    paths = [a_sweep(runs / 'runs'), a_few_shot(runs / 'runs')]
    assert summary.main([*map(str, paths), '--root', str(runs)]) == 0
    names = ['few-few_shot-0123.json', 'row-task.known-0123.json']
    assert sorted(path.name for path in (runs / 'results').iterdir()) == names
    written = [(runs / 'results' / name).read_text() for name in names]
    text = (runs / summary.PAGE).read_text()
    for one in (*written, text):  # No folder of this machine, in no option and no command.
        assert '/home' not in one and '/big' not in one and "'/a" not in one
    assert json.loads(written[1])['points'][1]['without_gain'] == {'row_baseline': "no 'PATH/c.npz'"}
    assert json.loads(written[0])['config']['data']['root'] == 'PATH/photos'
    assert json.loads(written[0])['draws'][0]['methods'] == {'ml_sgm': {'mAP': 43}}
    for line in (
        '| known | `row` | `row_baseline` | gain over `row_baseline` [95 % interval] |',
        '| 0.1 | 51.50 ± 0.71 | 49.50 | +1.50 [-0.25, +3.00] |',
        '| 0.9 | 55.50 ± 4.95 | 49.50 |  |',
        '| average | 53.50 | 49.50 | +1.50 [-0.25, +3.00] |',
        'python -m experiments.sweep row data.root=PATH/photos task.known=0.1,0.9',
        '| examples | `ml_sgm` | `linear` | `ml_sgm` - `linear` [95 % interval] |',
        '| 1 | 44.00 ± 0.50 (2) | 40.00 ± 0.50 (3) | +4.00 [+1.00, +7.00], ahead in 2 of 2 |',
        '| 5 | 54.00 ± 0.50 (1) | 50.00 ± 0.50 (1) | +4.00, ahead in 1 of 1 |',
        'python few task.base=PATH/last.ckpt',
    ):
        assert f'\n{line}\n' in text, line
    assert 'No finished runs yet.' in text and 'old' not in text
    assert '| 0.1 | 51.50' in capsys.readouterr().out
    assert summary.main(['--root', str(runs)]) == 0 and (runs / summary.PAGE).read_text() == text


def a_zero_shot(folder):
    """What experiments.zero_shot writes, of two seeds."""

    def method(unseen, seen):
        parts = {'unseen': unseen, 'seen': seen, 'harmonic': unseen}
        return {part: {'mAP': 0.0, 'std': 0.0, 'values': values} for part, values in parts.items()} | {'AP': {}}

    methods = {'ml_sgm': method([20.0, 22.0], [70.0, 71.0]), 'nearest_label': method([18.0, 18.0], [70.0, 71.0])}
    out = {'name': 'zero', 'row': 'row', 'task': 'zero_shot', 'evaluated_on': 'val', 'seeds': [0, 1], **MADE}
    out |= {'classes': {'seen': ['cat', 'bus'], 'unseen': ['dog']}, 'nearest': {'dog': {'cat': 0.6, 'bus': 0.4}}}
    gain = {'difference': 3.0, 'low': 1.0, 'high': 5.0}
    out |= {'methods': methods, 'chance': {'unseen': 5.0, 'seen': 9.0}, 'gains': {'ml_sgm': gain}}
    out['config'] = configs.plain(configs.load('coco18_few_shot', ['data.root=/home/me/photos']))
    out |= {'command': 'python zero data.root=/home/me/photos', 'stage_one': [{'seed': 0, 'command': 'python one'}]}
    path = folder / 'zero' / 'zero_shot-0123' / 'zero_shot.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(out))
    return path


def test_a_zero_shot_experiment_becomes_a_result_and_a_table(runs, capsys):
    path, page = a_zero_shot(runs / 'runs'), runs / summary.PAGE
    before = page.read_text()
    assert summary.main([str(path), '--root', str(runs)]) == 2  # There is no place for it.
    assert f"docs/results.md must hold the marks '{summary.ZERO_SHOT[0]}'" in capsys.readouterr().err
    page.write_text(before + '\n'.join(summary.ZERO_SHOT))
    assert summary.main(['--root', str(runs)]) == 0
    assert 'No finished zero-shot experiments yet.' in page.read_text()
    assert summary.main([str(path), '--root', str(runs)]) == 0
    text = page.read_text()
    for line in (
        '| ML-SGM | 21.00 ± 1.41 | 70.50 ± 0.71 | 21.00 ± 1.41 | +3.00 [+1.00, +5.00] |',
        '| score of the nearest label | 18.00 ± 0.00 | 70.50 ± 0.71 | 18.00 ± 0.00 |  |',
        '| chance | 5.00 | 9.00 |  |',
        'python one',
        'python zero data.root=PATH/photos',
    ):
        assert f'\n{line}' in text, line
    assert 'Nearest by word: dog: cat 0.60, bus 0.40.' in text and '| ML-SGM | 21.00' in capsys.readouterr().out
    assert [one.name for one in (runs / 'results').iterdir()] == ['zero-zero_shot-0123.json']


def test_runs_with_a_part_of_the_labels_stand_in_no_table_of_rows(runs):
    y = np.random.default_rng(0).integers(0, 2, (40, 2))
    task = {'name': 'partial', 'known': 0.1, 'mask_seed': 0}
    write_run(runs / 'runs' / 'part' / 'seed0', 'row_partial_0.1', 0, y + 0.1, y, 'graph', 'row', task)
    assert summary.main([str(runs / 'runs'), '--root', str(runs)]) == 0
    assert (runs / 'results' / 'row_partial_0.1.json').is_file()
    text = (runs / summary.PAGE).read_text()
    assert 'row_partial' not in text and '| `row` |' in text


def test_a_file_that_is_neither(runs, capsys):
    path = runs / 'x.json'
    for content, told in (
        ('{}', "x.json' is neither a sweep nor a few_shot.json or zero_shot"),
        ('{', "x.json' is not valid JSON: "),
    ):
        path.write_text(content)
        assert summary.main([str(path), '--root', str(runs)]) == 2
        assert told in capsys.readouterr().err


def test_a_gain_that_cannot_be_is_left_out_of_a_row(runs):
    (runs / 'runs' / 'row' / 'seed0' / 'scores.npz').unlink()
    assert summary.main([str(runs / 'runs'), '--root', str(runs)]) == 0
    row = json.loads((runs / 'results' / 'row.json').read_text())
    assert row['against_baseline'] is None and row['without_gain'].startswith("there is no 'PATH/scores.npz'")
    for seed in (0, 1):
        path = runs / 'runs' / 'row' / f'seed{seed}' / 'result.json'
        path.write_text(json.dumps(json.loads(path.read_text()) | {'seed': seed + 5}))
    assert summary.main([str(runs / 'runs'), '--root', str(runs)]) == 0
    row = json.loads((runs / 'results' / 'row.json').read_text())
    assert row['against_baseline'] is None and row['without_gain'] == 'they have no seed in common'


def test_a_run_made_before_there_was_an_option_had_its_default(runs, capsys):
    path = runs / 'runs' / 'row' / 'seed1' / 'result.json'
    path.write_text(path.read_text().replace('"row": "row"', '"row": "row", "ema": 0.0'))
    assert summary.main([str(runs / 'runs'), '--root', str(runs)]) == 0

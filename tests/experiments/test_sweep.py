"""Sweeps: which runs they are, what is made of them, and that finished ones are read."""

import json
import statistics
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import sweep
from experiments.sweeps import curve
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.results import scores
from mlsgm_pyg.app.results.bootstrap import Resamples, average_precision, mean_over_classes
from mlsgm_pyg.app.results.run import Run
from mlsgm_pyg.app.training import train
from tests.app.finished_runs import result_of


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (
            ['coco18', 'optimizer.ema_epochs=0.5'],
            'a sweep needs an option with several values, such as task.known=0.1,0.5,0.9 (got ',
        ),
        (
            ['coco18', 'optimizer.ema_epochs=0.5,0.5'],
            "'optimizer.ema_epochs' takes several values, each once (got 0.5,0.5)",
        ),
        (['coco18', 'optimizer.ema_epochs=0.5,'], "'optimizer.ema_epochs' takes several values, each once (got 0.5,)"),
        (['coco18', 'seed=0,1'], 'several seeds are written seeds=0,1 (got seed=0,1)'),
        (['coco18', 'optimizer.ema_epochs=0.1,0.5', 'name=x'], "'name' is for one run: a sweep names its runs itself"),
        (['coco18', 'model.gama=0.1,0.5'], "unknown option 'model.gama' in the command line: did you mean 'model.ga"),
        (['coco18', 'task=partial', 'task.known=0.5,5'], "'task.known' is the part of the labels that is known, in "),
        (
            ['coco18', 'data.num_workers=0,2'],
            "a sweep over 'data.num_workers' has nothing to compare, data.num_workers=0 and data.num_workers=2 are the",
        ),
        (
            ['coco18_few_shot', 'seed=3', 'task.linear_lr=0.1,0.2'],
            "a sweep over 'task.linear_lr' has nothing to compare, task.linear_lr=0.1 and task.linear_lr=0.2 are the "
            'same run of coco18_few_shot: it belongs to stage two, python -m experiments.few_shot with one value',
        ),
        (
            ['coco18', 'optimizer.ema_epochs=0.5,0.50'],
            "a sweep over 'optimizer.ema_epochs' has nothing to compare, optimizer.ema_epochs=0.5 and "
            'optimizer.ema_epochs=0.5 are the same run',
        ),
        (['coc18', 'optimizer.ema_epochs=0.1,0.5'], "unknown experiment 'coc18': did you mean 'coco18'?"),
    ],
)
def test_errors(words, message, capsys):
    assert sweep.main(words) == 2
    assert capsys.readouterr().err.startswith(f'error: {message}')


@pytest.fixture
def trained_at_once(monkeypatch):
    """Runs that take no time: better scores for more labels, and for ML-SGM."""
    y = np.random.default_rng(0).integers(0, 2, (30, 4)).astype(np.int8)
    seen = []

    def fake(config, again=False, command=''):
        folder = train.run_dir(config)
        path = folder / 'result.json'
        if path.is_file() and not again:
            return Run.read(folder).result
        folder.mkdir(parents=True, exist_ok=True)
        seen.append(command)
        baseline = config.model.name == 'baseline'
        kind = 'logits' if baseline else 'graph'
        rng = np.random.default_rng([config.seed, baseline, round(100 * config.task.known)])
        values = rng.normal(size=y.shape) + (2 - baseline) * config.task.known * y
        found = {'index': np.arange(30), 'instances': np.zeros(30), 'y': y, kind: values}
        scores.save(folder / 'scores.npz', found)
        metrics = scores.evaluate(found, kind, list('abcd'), 'non_interpolated', 'threshold')
        out = result_of(config, metrics, 30, score=kind) | {'commit': f'c{config.seed}', 'folder': str(folder)}
        path.write_text(json.dumps(out))
        return out

    monkeypatch.setattr(train, 'run', fake)
    return seen, y


def interval_of(pairs, y):
    """The mean gain of pairs of runs and its interval, from the definition."""
    counts = np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30), size=1000)
    counts = np.concatenate([np.ones((1, 30), dtype=int), counts])
    gains = []
    for pair in pairs:
        loaded = [np.load(path / 'scores.npz')[kind] for path, kind in pair]
        ours, theirs = (mean_over_classes(average_precision(values, y, counts)) for values in loaded)
        gains.append(ours - theirs)
    gain = np.mean(gains, axis=0)
    return gain[0], *np.percentile(gain[1:], [2.5, 97.5])


@pytest.mark.slow
def test_a_sweep_from_command_to_table_and_picture(trained_at_once, tmp_path, capsys):
    seen, y = trained_at_once
    folder = tmp_path / 'runs'
    words = ['coco18', 'coco18_baseline', 'task=partial', f'runs_dir={folder}']
    assert sweep.main([*words, 'task.known=0.9,0.1']) == 0
    assert len(seen) == 4
    capsys.readouterr()
    assert (
        sweep.main([*words, 'task.known=0.1', 'seeds=0,1,2', 'optimizer.ema_epochs=0,0.5']) == 0
    )  # Another sweep, with some in common.
    assert len(seen) == 4 + 2 * 3 * 2 - 2
    assert sweep.main([*words, 'task.known=0.9,0.1', '--all-seeds']) == 0
    assert len(seen) == 14  # All of it was there.
    table = ' '.join(capsys.readouterr().out.split())
    assert '± ' in table and 'average' in table and 'gain over coco18_baseline' in table

    (path,) = folder.glob('sweeps/coco18-task.known-*.json')
    out = json.loads(path.read_text())
    assert str(tmp_path) not in path.read_text().replace(out['command'], '')  # No folder of this machine.
    assert out['swept'] == {'task.known': [0.9, 0.1]} and out['rows'] == ['coco18', 'coco18_baseline']
    many, few = out['points']
    assert many['runs']['coco18']['seeds'] == [0] and few['runs']['coco18']['seeds'] == [0, 1, 2]
    for row in out['rows']:
        means = [statistics.mean(point['runs'][row]['mAP']) for point in (many, few)]
        assert out['average']['mAP'][row] == pytest.approx(statistics.mean(means))  # Each value counts the same.

    def pairs(known, seeds):
        runs = [
            [train.run_dir(configs.load(row, [*words[2:], f'task.known={known}', f'seed={seed}'])) for row in words[:2]]
            for seed in seeds
        ]
        return [((ours, 'graph'), (theirs, 'logits')) for ours, theirs in runs]

    gain = few['gains']['coco18_baseline']
    expected = interval_of(pairs(0.1, (0, 1, 2)), y)
    assert (gain['difference'], gain['low'], gain['high']) == pytest.approx(expected, abs=1e-9)
    assert gain['seeds'] == [0, 1, 2] and gain['images'] == 30
    assert gain['difference'] == pytest.approx(
        statistics.mean(few['runs']['coco18']['mAP']) - statistics.mean(few['runs']['coco18_baseline']['mAP'])
    )
    average = out['average']['gains']['coco18_baseline']
    assert average['difference'] == pytest.approx(
        (gain['difference'] + many['gains']['coco18_baseline']['difference']) / 2
    )
    expected = interval_of(pairs(0.9, (0,)) * 3 + pairs(0.1, (0, 1, 2)), y)
    assert (average['low'], average['high']) == pytest.approx(expected[1:], abs=1e-9)
    made = [(by['commit'], by['runs']) for by in out['made_by']]  # Every commit that made a run, not the first alone.
    assert made == [('c0', 4), ('c1', 2), ('c2', 2)] and out['made_by'][0]['versions'] == {'python': '3'}
    with Image.open(path.with_suffix('.png')) as picture:
        assert picture.size == (900, 600)


@pytest.mark.slow
@pytest.mark.parametrize('broken', ['images', 'gone', 'cut'])
def test_a_gain_that_cannot_be_is_left_out_with_a_line_why(broken, trained_at_once, tmp_path, capsys):
    words = ['coco18', 'coco18_baseline', 'task=partial', f'runs_dir={tmp_path / "runs"}', 'task.known=0.1,0.9']
    assert sweep.main(words) == 0
    capsys.readouterr()
    config = configs.load('coco18_baseline', [*words[2:4], 'task.known=0.9'])
    path = train.run_dir(config) / 'scores.npz'
    if broken == 'images':
        found = np.load(path)
        scores.save(path, {key: value[:-1] for key, value in found.items()})
        why = 'a paired comparison needs the same images and labels in every run (got 30 images of 4 classes and 29'
    elif broken == 'gone':
        path.unlink()
        why = f"there is no '{path}' any more"
    else:
        path.write_bytes(path.read_bytes()[:100])
        why = f"'{path}' cannot be read: "
    assert sweep.main(words) == 0
    shown = capsys.readouterr().out.replace('\n', ' ').replace('  ', ' ')
    assert f'coco18 - coco18_baseline at task.known=0.9: no gain, as {why}'[:90] in shown
    (path,) = (tmp_path / 'runs').glob('sweeps/*.json')
    out = json.loads(path.read_text())
    few, many = out['points']
    assert few['gains'].keys() == {'coco18_baseline'} and few['without_gain'] == {}
    assert many['gains'] == {} and many['without_gain']['coco18_baseline'].startswith(why)
    assert out['average']['gains'] == {} and len(out['average']['mAP']) == 2


def test_commands_are_printed_and_nothing_runs(trained_at_once, capsys):
    assert sweep.main(['coco18', 'optimizer.ema_epochs=0,0.5', 'seeds=0,1', '--commands']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'python -m experiments.run coco18 optimizer.ema_epochs=0 seed=0' and len(lines) == 4
    assert not trained_at_once[0]


def test_rows_evaluated_on_other_images_have_no_average_gain():
    """At each value the interval stands; over values of other photographs there is none."""
    same = {'index': np.arange(3), 'y': np.ones((3, 1)), 'logits': np.ones((3, 1))}
    about = {'seed': 0, 'ap': 'non_interpolated', 'score': 'logits'}
    runs = [[about | {'folder': f'{i}', 'scores': same | {'index': np.arange(3) + i}}] for i in range(2)]
    points, samples = [{'a': run, 'b': run} for run in runs], Resamples(5)
    assert [samples.gain(*groups.values())['difference'] for groups in points] == [0, 0]
    assert curve._average_gains(['a', 'b'], points, samples) == {}
    assert curve._average_gains(['a', 'b'], points[:1], samples)['b']['difference'] == 0


@pytest.mark.parametrize(('values', 'scale'), [(['sum', 'mean'], 'linear'), ([0.001, 0.5], 'log'), ([0, 5], 'linear')])
def test_pictures_of_names_and_numbers(values, scale, tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    found = []
    legend = Axes.legend
    monkeypatch.setattr(Axes, 'legend', lambda self, **kwargs: found.append(self) or legend(self, **kwargs))
    points = [
        {'values': {'a.b': value, 'c': c}, 'runs': {'row': {'mAP': [1.0, 2.0]}}}
        for c in (True, False)
        for value in values
    ]
    summary = {'rows': ['row'], 'swept': {'a.b': values, 'c': [True, False]}, 'points': points, 'evaluated_on': 'val'}
    curve.draw(summary, tmp_path / 'a.png')
    (axes,) = found
    assert axes.get_xscale() == scale and axes.get_xlabel() == 'a.b'
    assert axes.get_legend_handles_labels()[1] == ['row, c=True', 'row, c=False']
    if isinstance(values[0], str):
        assert [label.get_text() for label in axes.get_xticklabels()] == values


@pytest.mark.slow
def test_a_sweep_over_known_labels_trains(tiny, command_line, capsys):
    config = tiny('trainer.max_epochs=1', 'data.num_images=12', 'data.test_images=20')
    own = ('name=', 'model.name=', 'seed=', 'task.', 'loss.name=')
    words = [word for word in command_line.words(config) if not word.startswith(own)]
    assert sweep.main(['digits', 'digits_baseline', 'task=partial', 'task.known=0.2,0.8', *words]) == 0
    (path,) = Path(config.runs_dir).glob('sweeps/*.json')
    out = json.loads(path.read_text())
    assert [point['runs']['digits']['labels']['known'] for point in out['points']] == [24, 96]
    assert out['points'][0]['gains']['digits_baseline']['images'] == 20

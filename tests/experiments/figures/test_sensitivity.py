"""Figure 8: which runs it is of, what is drawn of them, and the commands for those that are missing."""

import json
import re
import shlex

import pytest
from matplotlib.figure import Figure

from experiments import sweep
from experiments.figures import parameters, sensitivity
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.results.run import Run
from mlsgm_pyg.app.training import train
from tests.app.finished_runs import result_of


def planned(sweeps, name):
    return sensitivity.planned_of(sweeps[name])


@pytest.mark.slow
def test_each_parameter_takes_four_values_beside_which_all_is_as_the_row_has_it():
    sweeps = parameters.sweeps_of(['coco18', 'data.limit=2000'])
    assert list(sweeps) == ['gamma', 'blocks', 'width', 'beta', 'k', 'box']
    usual = configs.flat(configs.load('coco18', ['data.limit=2000']))
    values, every = {}, set()
    for name in sweeps:
        found = []
        for _, config, _ in planned(sweeps, name):
            every.add(train.run_dir(config))
            differ = {key: value for key, value in configs.flat(config).items() if value != usual[key]}
            assert set(differ) <= set(parameters.PARAMETERS[name].options)
            found.append(differ)
        assert len(found) == 4 and sum(not differ for differ in found) == 1  # The row itself is one of them.
        values[name] = found
    assert [d.get('model.gamma', 0.2) for d in values['gamma']] == [0.05, 0.1, 0.2, 0.5]
    assert [d.get('model.block_channels', [256] * 2) for d in values['blocks']] == [[256] * n for n in (1, 2, 3, 4)]
    assert values['width'][0] == {'model.hidden_channels': 64, 'model.block_channels': [64, 64]}
    assert values['width'][3] == {'model.hidden_channels': 512, 'model.block_channels': [512, 512]}
    assert len(every) == 6 * 3 + 1  # The row's own run is shared.


def test_blocks_of_the_paper_end_with_its_last():
    sweeps = parameters.sweeps_of(['coco'], ['blocks', 'width'])
    found = [list(config.model.block_channels) for _, config, _ in planned(sweeps, 'blocks')]
    assert found == [[256], [512, 256], [512, 512, 256], [512, 512, 512, 256]]
    found = [(c.model.hidden_channels, *c.model.block_channels) for _, c, _ in planned(sweeps, 'width')]
    assert found == [(128, 128, 64), (256, 256, 128), (512, 512, 256), (1024, 1024, 512)]


def test_values_can_be_given():
    words = ['coco18', 'model.gamma=0.1,0.3', 'model.hidden_channels=128,256,512', 'model.block_channels=[8],[8,8]']
    sweeps = parameters.sweeps_of(words, ['gamma', 'width', 'blocks', 'k'])
    assert sweeps['gamma'] == ['coco18', 'model.gamma=0.1,0.3']
    assert sweeps['width'][1:] == [
        'model.hidden_channels=128,256,512', 'model.block_channels=[128,128],[256,256],[512,512]', '--together'
    ]  # fmt: skip
    assert sweeps['blocks'] == ['coco18', 'model.block_channels=[8],[8,8]']
    assert sweeps['k'] == ['coco18', 'model.k=1,2,3,5']
    assert (
        parameters.sweeps_of(['coco18', 'model.gamma=0.3'], ['gamma'])['gamma'][-1]
        == 'model.gamma=0.05,0.1,0.2,0.3,0.5'
    )
    assert 'beta' not in parameters.sweeps_of(['coco18', 'loss.name=asymmetric_focal'])


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """Writes what a finished run leaves, without training; says which were asked for."""
    seen = []

    def fake(config, again=False, command=''):
        folder = train.run_dir(config)
        path = folder / 'result.json'
        if not path.is_file():
            seen.append(config.name)
            folder.mkdir(parents=True)
            mean = 60 + 10 * config.model.gamma + config.seed
            out = result_of(config, {'mAP': mean}, score='graph')
            path.write_text(json.dumps(out))
        return Run.read(folder).result

    monkeypatch.setattr(train, 'run', fake)
    fake.seen, fake.words = seen, ['coco18', f'runs_dir={tmp_path / "runs"}', 'seeds=0,1']
    return fake


@pytest.mark.slow
def test_points_are_the_finished_runs_and_the_command_fills_the_rest(finished, capsys):
    words = parameters.sweeps_of(finished.words, ['gamma'])['gamma']
    for values, config, _ in sensitivity.planned_of(words):
        if (values['model.gamma'], config.seed) not in ((0.1, 1), (0.5, 0), (0.5, 1)):
            finished(config)
    panel = sensitivity.read('gamma', words)
    assert panel.rows == {'coco18': [[60.5, 61.5], [61.0], [62.0, 63.0], []]}
    assert panel.ticks == ['0.05', '0.1', '0.2', '0.5'] and panel.own == 2 and panel.evaluated_on == 'val'
    head, command = capsys.readouterr().out.splitlines()
    assert head == 'gamma: 3 of 8 runs are missing:'
    assert sweep.main([*shlex.split(command)[3:]]) == 0
    assert finished.seen[-3:] == ['coco18_gamma_0.5', 'coco18_gamma_0.1', 'coco18_gamma_0.5']
    assert sensitivity.read('gamma', words).rows == {'coco18': [[60.5, 61.5], [61, 62], [62, 63], [65, 66]]}
    assert 'missing' not in capsys.readouterr().out


@pytest.mark.slow
def test_a_sweeps_file_is_enough(finished, tmp_path, capsys):
    words = parameters.sweeps_of(finished.words[:2], ['width'])['width']
    assert sweep.main(words) == 0
    before = sensitivity.read('width', words)
    for path in (tmp_path / 'runs').rglob('result.json'):
        path.unlink()
    assert sensitivity.read('width', words) == before and before.ticks == ['64', '128', '256', '512']
    (path,) = (tmp_path / 'runs' / 'sweeps').glob('*.json')
    panel = sensitivity.of_sweep(path)
    assert panel.rows == before.rows and panel.ticks == before.ticks and panel.name == 'width'


@pytest.mark.slow
def test_one_command_trains_what_is_missing_and_draws_it(finished, draw_figure):
    words = ['8', *finished.words, '--parameters', 'gamma', 'k', '--run']
    told, sizes = draw_figure(*words)
    assert len(finished.seen) == 2 * (4 + 4 - 1)
    assert re.search(
        r'2 parameters, 14 runs, 14 of them trained now in \d+\.\d minutes of wall time \(1 at a', told.out
    )
    assert set(sizes) == {'figure8', 'figure8-gamma', 'figure8-k'}
    width, height = sensitivity.PANEL + 0.1, sensitivity.HEIGHT + 0.1
    assert sizes['figure8-k'] == pytest.approx((width, height), abs=0.01)
    assert sizes['figure8'] == pytest.approx((2 * sensitivity.PANEL + 0.1, height), abs=0.01)
    told, _ = draw_figure(*words)
    assert '14 runs, 0 of them trained now' in told.out and len(finished.seen) == 14


@pytest.mark.slow
def test_nothing_finished_is_no_picture_but_commands(finished, draw_figure):
    told, sizes = draw_figure('8', *finished.words[:2], '--parameters', 'width', 'k', status=1)
    assert told.out.count('python -m experiments.sweep coco18') == 2 and 'nothing to draw yet' in told.out
    assert '--together' in told.out and not sizes and not finished.seen


def test_a_curve_is_the_mean_and_spans_the_seeds():
    axes = Figure().subplots()
    sensitivity._curves(axes, sensitivity.Panel('k', 'k', ['1', '2', '3'], {'a': [[1.0, 4.0], [], [3.0]]}, 2, 'val'))
    ((line, _, (bars,)),) = axes.containers
    assert line.get_xydata().tolist() == [[0, 2.5], [2, 3.0]]
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[1, 4], [3, 3]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ['1', '2', '3']


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['coco18', 'coco'], 'Figure 8 is of one row (got coco18 coco)'),
        (['model.k=3'], 'Figure 8 is of one row (got none)'),
        (['coco18', '--parameters', 'gama'], "Figure 8 has no parameter 'gama': did you mean 'gamma'?"),
        (['coco18', 'model.gama=0.2'], "unknown option 'model.gama' in the command line: did you mean 'model.gamma'?"),
        (['coco18', '--jobs', '0'], '--jobs must be at least 1 (got 0)'),
        (['nothing.json'], "there is no sweep 'nothing.json'"),
        (['{a}.json'], "'{a}.json' is not what experiments.sweep writes: it lacks swept, points or rows"),
        (['{b}.json'], "a picture is of one parameter, '{b}.json' is a grid of ema, seed"),
    ],
)
def test_errors(words, message, tmp_path, draw_figure):
    (tmp_path / 'a.json').write_text('{}')
    (tmp_path / 'b.json').write_text('{"swept": {"ema": [], "seed": []}, "points": [], "rows": []}')
    places = {'a': tmp_path / 'a', 'b': tmp_path / 'b'}
    told, _ = draw_figure('8', *(word.format(**places) for word in words), status=2)
    assert told.err == f'error: {message.format(**places)}\n'

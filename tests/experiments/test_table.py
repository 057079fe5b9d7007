"""Tables: our finished runs beside the paper's rows, never mixed with other data, and what fills the rest."""

import csv
import io
import json
import shlex

import numpy as np
import pytest

from experiments import table
from experiments.paper import few_shot
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.results.settings import identity
from tests.app.finished_runs import result_of

NAMES = ['a', 'b']


def write_run(folder, row, mAP, options=(), seed=0, command=None, old=False):
    """A finished run as experiments.run leaves it, or left it before there were tasks and test sizes."""
    config = configs.load(row, [*options, f'seed={seed}'])
    six = ('CP', 'CR', 'CF1', 'OP', 'OR', 'OF1')
    metrics = {'mAP': mAP} | {f'{top}{key}': mAP + 1 for top in ('', 'top3_') for key in six}
    out = result_of(config, metrics | {'AP': {'a': mAP - 1, 'b': None}}, score='graph')
    out['command'] = command or f'python -m experiments.run {" ".join([row, *options])} seed={seed}'
    if old:
        del out['config']['task'], out['config']['data']['test_sizes'], out['task']
    where = folder / config.name / f'seed{seed}-{abs(hash(tuple(options)))}'
    where.mkdir(parents=True)
    (where / 'result.json').write_text(json.dumps(out))
    return out


@pytest.fixture
def printed(tmp_path, capsys):
    """What the command prints, and its status."""
    (tmp_path / 'runs').mkdir()
    (tmp_path / 'results').mkdir()

    def run(*words):
        places = ['--runs', str(tmp_path / 'runs'), '--results', str(tmp_path / 'results')]
        status = table.main([words[0], *places, *words[1:]])
        out, err = capsys.readouterr()
        return status, out, err

    run.runs, run.results = tmp_path / 'runs', tmp_path / 'results'
    return run


def numbers(printed, *words):
    """The CSV form as (source, method, column) -> (data, value, std)."""
    status, out, err = printed(*words, '--format', 'csv')
    assert status == 0
    lines = csv.DictReader(io.StringIO(out))
    found = {(line['source'], line['method'], line['column']): line for line in lines}
    return {key: (line['data'], float(line['value']), line['std']) for key, line in found.items()}, err


def test_runs_stand_beside_the_papers_rows(printed):
    for seed, mAP in ((0, 90.0), (1, 92.0)):
        write_run(printed.runs, 'voc2007', mAP, seed=seed)
    found, err = numbers(printed, '2')
    assert found['paper', 'Ours', 'mAP'] == ('voc2007', 95.2, '')
    data, mean, std = found['ours', 'voc2007', 'mAP']
    assert (data, mean, float(std)) == ('voc2007', 91.0, pytest.approx(2**0.5))
    assert 'missing: Table II, VOC 2007, ResNet-101: python -m experiments.run voc2007_baseline\n' in err
    assert 'VOC 2007, Ours' not in err
    text = printed('II')[1]
    assert 'resnet101, 448 px, graph score, 2 seeds' in text and '91.0 ± 1.4' in text
    assert '[1] Ours, mAP: the arithmetic gives 95.28, the mean of the 20 printed APs' in text


def test_a_column_of_voc_is_found_by_its_class(printed):
    out = write_run(printed.runs, 'voc2007', 90.0)
    out['metrics']['AP'] = {'tvmonitor': 81.0, 'aeroplane': 82.0}
    next(printed.runs.rglob('result.json')).write_text(json.dumps(out))
    found, _ = numbers(printed, '2')
    assert (found['ours', 'voc2007', 'tv'][1], found['ours', 'voc2007', 'aero'][1]) == (81.0, 82.0)


def test_other_pixels_do_not_fill_a_row(printed):
    write_run(printed.runs, 'voc2007', 90.0, ['data.image_size=224'])
    write_run(printed.runs, 'voc2007_448_576', 91.0)
    _, err = numbers(printed, '2')
    assert 'missing: Table II, VOC 2007, Ours: python -m experiments.run voc2007\n' in err
    text = printed('2')[1]
    assert 'resnet101, 224 px, graph' in text and 'resnet101, 448 px, tested at 576, graph' in text


def test_what_was_evaluated_otherwise_is_said_and_equal_names_are_told_apart(printed):
    for options in (['optimizer.lr=0.5'], ['optimizer.lr=0.25'], ['data.difficult=negative', 'select=best']):
        write_run(printed.runs, 'voc2007', 90.0, options)
    text = printed('7')[1]
    for lr in ('0.5', '0.25'):
        assert f'resnet101, 448 px, graph score, optimizer.lr={lr}, seed 0 ' in text
    assert 'resnet101, 448 px, graph score, best epoch, difficult: negative, seed 0 ' in text
    for source in ('a.npz', 'b.npz'):
        write_run(printed.runs, 'voc2012', 90.0, [f'semantics.source={source}'])
    text = printed('2', '--dataset', 'voc2012')[1]
    for source in ('a.npz', 'b.npz'):
        name = configs.fingerprint(configs.load('voc2012', [f'semantics.source={source}']))
        assert f'resnet101, 448 px, graph score, seed 0 [{name}]' in text


@pytest.mark.parametrize(
    'option',
    ['trainer.max_epochs=1', 'metrics.top3=plain', 'data.test_view=paper', 'model.gamma=0.3', 'model.pooling=sum',
     'semantics.source=onehot', 'optimizer.lr=0.5'],
)  # fmt: skip
def test_another_option_is_said_and_does_not_fill_the_papers_row(printed, option):
    write_run(printed.runs, 'voc2007', 90.0, [option])
    status, out, _ = printed('2')
    assert f'resnet101, 448 px, graph score, {option}, seed 0' in out
    assert 'Table II, VOC 2007, Ours: python -m experiments.run voc2007\n' in out


def test_places_and_seeds_are_no_other_options(printed, tmp_path):
    given = [f'data.root={tmp_path}', 'data.num_workers=1', 'semantics.source=glove.txt', 'data.download=true']
    write_run(printed.runs, 'voc2007', 90.0, [*given, 'name=mine'], seed=3)
    _, out, _ = printed('2')
    assert 'resnet101, 448 px, graph score, seed 3 ' in out and 'Table II, VOC 2007, Ours' not in out


def test_own_data_has_a_section_of_its_own(printed, tmp_path):
    write_run(printed.runs, 'coco18', 70.0, [f'data.root={tmp_path / "mine"}'])
    write_run(printed.runs, 'coco18', 60.0, [f'data.root={tmp_path / "coco"}', 'name=tricky'])
    found, _ = numbers(printed, '3')
    assert found['ours', 'coco18', 'mAP'][:2] == ('mine', 70.0) and found['ours', 'coco18', 'top3_OF1'][1] == 71.0
    assert found['ours', 'tricky (row coco18)', 'mAP'][:2] == ('coco (csv)', 60.0)  # A folder's name is no data set.
    assert found['paper, other data', 'Ours, on MS-COCO', 'mAP'][:2] == ('mine', 86.3)
    text = printed('3', '--dataset', 'mine')[1]
    assert "mine: not in the paper's Table III; its lines here are of other data and cannot be compared" in text
    assert 'CNN-RNN' not in text and 'Ours, on MS-COCO' in text
    found, _ = numbers(printed, '2', '--dataset', 'mine')
    assert found['ours', 'coco18', 'a'] == ('mine', 69.0, '') and ('ours', 'coco18', 'b') not in found
    assert not [key for key in found if key[0].startswith('paper') and key[2] != 'mAP']


def test_partial_labels(printed, tmp_path):
    root = f'data.root={tmp_path / "mine"}'
    for tenth in range(1, 10):
        write_run(printed.runs, 'coco18', 50.0 + tenth, [root, 'task=partial', f'task.known={tenth / 10}'])
    write_run(printed.runs, 'coco18', 53.0, [root, 'task=partial', 'task.known=0.1'], seed=1)
    write_run(printed.runs, 'coco18', 99.0, [root])  # All labels: not of this table.
    write_run(printed.runs, 'coco18_baseline', 40.0, [root, 'task=partial', 'task.known=0.5'])
    found, err = numbers(printed, '5')
    assert found['ours', 'coco18', '10'][:2] == ('mine', 52.0)
    assert found['ours', 'coco18', '90'][:2] == ('mine', 59.0)
    assert found['ours', 'coco18', 'average'][1] == 55.0  # Of the seed that has all nine.
    assert found['ours', 'coco18_baseline', '50'][1] == 40.0
    assert ('ours', 'coco18_baseline', 'average') not in found
    assert not [key for key, value in found.items() if value[1] == 99.0]
    lacking = '0.1,0.2,0.3,0.4,0.6,0.7,0.8,0.9'
    assert f'python -m experiments.sweep coco18_baseline {root} task=partial task.known={lacking}\n' in err
    assert 'mine, coco18,' not in err
    assert 'python -m experiments.sweep voc2007 task=partial task.known=0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9\n' in err


def test_partial_labels_of_other_options_are_another_curve(printed, tmp_path):
    given = [f'data.root={tmp_path / "my own"}', 'task=partial']
    for tenth in range(1, 10):  # Together nine, but no mask has all of them.
        write_run(
            printed.runs, 'coco18', 50.0, [*given, f'task.known={tenth / 10}', f'task.mask_seed={tenth % 3 // 2}']
        )
    _, err = numbers(printed, '5')
    lacking = "python -m experiments.sweep coco18 'data.root="
    line = next(line for line in err.splitlines() if lacking in line)
    row, *options = shlex.split(line.partition('experiments.sweep ')[2])
    assert options == [given[0], 'task=partial', 'task.known=0.2,0.5,0.8'] and row == 'coco18'
    for tenth in (1, 2):
        options = ['data.root=elsewhere', 'task=partial', f'task.known={tenth / 10}', 'model.gamma=0.3']
        write_run(printed.runs, 'voc2007', 50.0, options)
    out = printed('5')[1]
    assert 'task=partial task.known=0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9' in out and 'model.gamma=0.3, seed 0' in out


def write_few_shot(folder, root, row='coco18', novel=('a', 'b'), shots=(1, 5), draws=3, **data):
    """A finished experiment as experiments.few_shot leaves it."""
    config = configs.plain(configs.load(row, [f'data.root={root}']))
    config['data'] |= data
    values = {'ml_sgm': [30.0, 31.0, 32.0][:draws], 'linear': [20.0, 20.0, 26.0][:draws]}
    spread = {
        method: {'mAP': float(np.mean(v)), 'std': float(np.std(v, ddof=1)) if draws > 1 else 0.0, 'values': v}
        for method, v in values.items()
    }
    out = {'name': f'{row}_few_shot', 'row': row, 'task': 'few_shot', 'config': config}
    out |= {'classes': {'base': ['c'], 'novel': list(novel)}}
    out |= {'summary': [{'shots': number, 'first': 'ml_sgm', 'methods': spread, 'gains': {}} for number in shots]}
    out |= {'first': 'ml_sgm', 'evaluated_on': 'val', 'draws': [], 'command': 'x', 'versions': {'python': '3'}}
    out |= {'hardware': {'device': 'cpu', 'cores': 2}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'few_shot.json').write_text(json.dumps(out))
    return out


def test_few_shot(printed, tmp_path):
    root = tmp_path / 'mine'
    out = write_few_shot(printed.runs / 'coco18_few_shot' / 'few_shot-1', root, shots=(1, 2, 5))
    (printed.results / 'coco18_few_shot.json').write_text(json.dumps(out))  # The same once more.
    write_few_shot(printed.runs / 'trial', root, limit=64)
    found, err = numbers(printed, '6')
    assert found['paper', 'Ours', '5'][:2] == ('vg500', 31.9) and found['paper', 'KGGR [12]', '1'][1] == 20.7
    data, mean, std = found['ours', 'coco18_few_shot: ml_sgm', '1']
    assert (data, mean, float(std)) == ('mine', 31.0, 1.0)
    assert found['ours', 'coco18_few_shot: linear classifier, same maps', '2'][:2] == ('mine', 22.0)
    assert found['paper, other data', 'Ours, on MS-COCO, 16 novel classes', '1'][:2] == ('mine', 54.1)
    text = printed('6', '--dataset', 'mine')[1]
    assert text.count('coco18_few_shot: ml_sgm') == 1 and '31.0 ± 1.0' in text
    assert 'frozen efficientnet_lite0, 320 px, 2 novel classes, 3 draws' in text
    assert '1 finished runs saw a part of the images only' in text
    assert 'MS-COCO, Ours' not in text and "mine: not in the paper's Table VI" in text


def test_few_shot_experiments_of_other_options_are_told_apart(printed, tmp_path):
    out = write_few_shot(printed.runs / 'usual', tmp_path / 'mine')
    for name, change in (('steps', {'ml_sgm_steps': 5}), ('decay', {'decay': 0.5})):
        config = out['config'] | {'task': out['config']['task'] | change}
        methods = {'ml_sgm': {'mAP': 30.0, 'std': 1.0, 'values': [29.0, 31.0], 'score': 'csac'}}
        points = [{'shots': 1, 'first': 'ml_sgm', 'methods': methods, 'gains': {}}]
        other = out | {'config': config, 'summary': points, 'evaluated_on': 'a tenth'}
        (printed.runs / name).mkdir()
        (printed.runs / name / 'few_shot.json').write_text(json.dumps(other))
    text = printed('6', '--dataset', 'mine')[1]
    assert '320 px, 2 novel classes, 3 draws' in text
    for option in ('task.ml_sgm_steps=5', 'task.decay=0.5'):
        assert f'320 px, csac score, on a tenth, {option}, 2 novel classes, 2 draws' in text


def test_full_runs_name_the_few_shot_ones_that_could_stand_there(printed, tmp_path):
    out = write_run(printed.runs, 'coco18', 70.0, [f'data.root={tmp_path / "mine"}', 'name=tried'])
    out['metrics']['AP'] = dict.fromkeys('abcdefghijklmnopqr', 50.0)
    next(printed.runs.rglob('result.json')).write_text(json.dumps(out))
    _, err = numbers(printed, '6', '--dataset', 'mine')
    assert f'python -m experiments.few_shot coco18 data.root={tmp_path / "mine"} task.num_novel=4\n' in err
    out['metrics']['AP'] |= dict.fromkeys(['bus', 'boat', 'bird', 'dog'], 50.0)  # The novel ones of coco18_few_shot.
    next(printed.runs.rglob('result.json')).write_text(json.dumps(out))
    _, err = numbers(printed, '6', '--dataset', 'mine')
    assert f'python -m experiments.few_shot coco18_few_shot data.root={tmp_path / "mine"}\n' in err
    write_few_shot(printed.runs / 'few', tmp_path / 'mine')
    assert numbers(printed, '6', '--dataset', 'mine')[1] == ''


def test_a_papers_row_is_filled_by_its_own_novel_classes_and_shots():
    words = "coco 'task.novel=dog,stop sign'"
    config = {'row': 'coco', 'data': {'name': 'coco'}}

    def one(novel, shots, draws=10, method='ml_sgm', **more):
        methods = {method: {'values': [50.0] * draws}}
        summary = [{'shots': k, 'methods': methods} for k in shots]
        out = {'config': config | more, 'classes': {'novel': novel}, 'summary': summary}
        return few_shot.FewShot(out)

    command = f'python -m experiments.few_shot {words}'
    assert few_shot.missing(words, [one(['stop sign', 'dog'], (1, 5))], ['1', '5']) is None
    assert few_shot.missing(words, [one(['stop sign', 'cat'], (1, 5))], ['1', '5']) == command
    assert few_shot.missing(words, [one(['stop sign', 'dog'], (1,))], ['1', '5']) == command
    assert few_shot.missing(words, [one(['stop sign', 'dog'], (1, 5), row='mine')], ['1', '5']) == command
    for other in ({'draws': 1}, {'method': 'linear'}, {'task': {'ml_sgm_steps': 1}}, {'model': {'gamma': 0.3}}):
        assert few_shot.missing(words, [one(['stop sign', 'dog'], (1, 5), **other)], ['1', '5']) == command
    drawn = 'coco task.num_novel=2'
    assert few_shot.missing(drawn, [one(['x', 'y'], (5, 1))], ['1', '5']) is None
    assert few_shot.missing(drawn, [one(['x'], (5, 1))], ['1', '5']) is not None


def test_full_runs_name_the_partial_ones_that_could_stand_there(printed, tmp_path):
    root = f'data.root={tmp_path / "mine"}'
    command = f'python -m experiments.run coco18 coco18_baseline {root} seeds=0,1'
    write_run(printed.runs, 'coco18', 70.0, [root], command=command)
    status, out, err = printed('5')
    assert f'python -m experiments.sweep coco18 {root} task=partial task.known=0.1,' in out
    assert "mine: not in the paper's" not in out


def test_committed_results_count_once(printed):
    run = write_run(printed.runs, 'digits', 84.0, old=True)
    other = run | {'seed': 1, 'mAP': 86.0, 'metrics': run['metrics'] | {'mAP': 86.0}}
    row = run | {'runs': [run, other]}
    (printed.results / 'digits.json').write_text(json.dumps(row))
    (printed.results / 'something_else.json').write_text('{"average": 3}')
    found, _ = numbers(printed, '4')
    assert found['ours', 'digits', 'mAP'][:2] == ('digits', 85.0)  # Seed 0 lies in both places.
    assert identity(run['config']) == identity(configs.plain(configs.load('digits')))  # Before there were tasks.


@pytest.mark.parametrize(
    'option', ['data.limit=64', 'data.dev=0.1', 'data.test_limit=5', 'trainer.limit_val_batches=1']
)
def test_trials_are_left_out(printed, option):
    write_run(printed.runs, 'voc2007', 90.0, [option])
    _, out, _ = printed('2')
    assert 'resnet101, 448 px' not in out and '1 finished runs saw a part of the images only' in out


def test_complexity_and_speed_are_not_measured_yet(printed):
    write_run(printed.runs, 'coco18', 70.0)
    out = printed('8')[1]
    assert '+Encoder' in out and '44.89' in out and 'the arithmetic gives 44.85' in out
    assert 'Table VIII, measured here: not measured; ' in out and 'benchmarks/complexity' in out.replace('.', '/')
    out = printed('9')[1]
    assert '52.4' in out and 'Table IX, measured here: not measured; ' in out and 'ours ' not in out


@pytest.mark.parametrize('number', range(2, 10))
def test_every_command_can_be_run(printed, tmp_path, number):
    write_run(printed.runs, 'coco18', 70.0, [f'data.root={tmp_path / "mine"}'])
    _, _, err = printed(str(number), '--format', 'csv')
    for line in err.splitlines():
        how = line.removeprefix('missing: ').split(': ', 1)[1]
        if how.startswith('python -m experiments.'):
            row, *options = shlex.split(how)[3:]
            several = 'experiments.sweep' in how
            options += ['task=few_shot'] if 'experiments.few_shot' in how else []
            configs.load(row, [option.partition(',')[0] if several else option for option in options])
        else:
            assert how.startswith(('not available yet: there is no row', 'not measured; '))


def test_markdown(printed):
    write_run(printed.runs, 'voc2007', 90.0)
    out = printed('7', '--format', 'markdown')[1]
    assert '| | method | setting | mAP |\n|---|---|---|---:|\n' in out
    assert '| paper | 1. BL |  | 89.9 |\n' in out
    assert '| ours | voc2007 | resnet101, 448 px, graph score, seed 0 | 90.0 |\n' in out


def test_errors(printed, tmp_path):
    assert printed('12')[::2] == (2, "error: the paper's tables of results are 2 to 9, or II to IX (got '12')\n")
    status, _, err = printed('5', '--dataset', 'voc2008')
    assert status == 2 and "has the data set 'voc2008': did you mean 'voc2007'?" in err
    assert table.main(['5', '--runs', str(tmp_path / 'none')]) == 2
    assert table.main(['5', '--results', str(tmp_path / 'none')]) == 2


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('result.json', b'{"seed": 0', 'is not valid JSON: Expecting'),
        ('result.json', b'\xff\xfe', 'is not valid JSON: '),
        ('result.json', b'{"accuracy": 0.5}', 'is not what a run leaves: it lacks name, seed, task, and 20 more'),
        ('few_shot.json', b'[]', 'is not what a few-shot experiment leaves: it must hold names (got a list)'),
        (
            'few_shot.json',
            b'{"task": 3}',
            'is not what a few-shot experiment leaves: it lacks name, evaluated_on, config, and 7 ',
        ),
        ('few_shot.json', b'', 'is not valid JSON: '),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_left_out(printed, name, content, message):
    status, whole, _ = printed('4')
    (printed.runs / 'some').mkdir()
    (printed.runs / 'some' / name).write_bytes(content)
    assert status == 0 and printed('4')[:2] == (0, whole)
    err = printed('4')[2]
    assert err.startswith(f"left out: '{printed.runs / 'some' / name}' {message}") and err.count('left out') == 1

"""A finished run: whatever is wrong with its file is one error in one line, and what is gone is named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mlsgm_pyg.app.common.errors import ConfigError, Damaged, Gone
from mlsgm_pyg.app.results import scores
from mlsgm_pyg.app.results.run import LATER, Run, of_results
from tests.app.finished_runs import finish

RESULTS = Path(__file__).resolve().parents[3] / 'results'
WRONG = ([], {}, 'x', 0.5, 10**400)
OPEN = {'task', 'folder', 'left_out'}  # What is in these is not looked at.
EPOCH = {'epoch': 0, 'step': 3.0, 'lr': 0.1, 'seconds': 2.0, 'mAP': 50.0, 'loss': None}
PART = {'images': 60, 'files': 'a', 'y': 'b'}


DECIDED = {
    'temperature': 1.5,
    'pooled': 0.3,
    'classes': {'cat': {'threshold': 0.4, 'positives': 50, 'is_pooled': False}},
    'metrics': {'CF1': 50.0},
    'ece': {'before': 0.02, 'after': 0.01},
    'images': 60,
}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A run that says all that a run can say."""
    trained_on = {'class_names': ['cat', 'dog', 'owl', 'emu'], 'train': PART, 'test': PART}
    where = finish(tmp_path_factory.mktemp('runs'), 'coco18', history=[EPOCH], trained_on=trained_on, decisions=DECIDED)
    path = where / 'result.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | {'folder': '/gone'}))
    return where


def places(values, path=()):
    """Every place in some containers, as keys from the top, and what is there."""
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        yield (*path, key), value
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def put(out, path, *value):
    """The content with another value at a place; without one, without the place."""
    out = json.loads(json.dumps(out))
    inside = out
    for key in path[:-1]:
        inside = inside[key]
    if value:
        inside[path[-1]] = value[0]
    else:
        del inside[path[-1]]
    return out


def read(folder, content):
    (folder / 'result.json').write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return Run.read(folder)


def test_a_run_is_what_its_file_says_and_lies_where_it_lies(whole):
    run = Run.read(whole)
    out = json.loads((whole / 'result.json').read_text())
    assert run.result == out | {'folder': str(whole)} and Run.read(whole / 'result.json').result == run.result
    assert (run.name, run.seed, run.title, run.row, run.task, run.known) == (
        'coco18', 0, 'coco18, seed 0', 'coco18', 'full', 1.0,
    )  # fmt: skip
    assert run.class_names == ['cat', 'dog', 'owl', 'emu'] and run.history == [EPOCH] and not run.is_trial
    assert run.options == out['config'] and run.config.model.gamma == out['config']['model']['gamma']
    assert run.checkpoint == whole / 'last.ckpt'


def test_what_is_lacking_is_one_line_or_filled(whole, tmp_path):
    out = Run.read(whole).result
    needed = []
    for path, _ in places(out):
        try:
            run = read(tmp_path, put(out, path))
        except Damaged as error:
            name = '.'.join(map(str, path))
            assert str(error) == f"'{tmp_path / 'result.json'}' is not what a run leaves: it lacks {name}"
            needed.append(name)
        else:
            assert path[0] not in out or path[0] in run.result
    assert set(out) - set(needed) == {'task', *LATER}
    nested = {'metrics.AP', 'metrics.top3_OF1', 'seconds.step', 'parameters.all', 'images.test', 'hardware.device'}
    nested |= {'labels.known', 'history.0.epoch', 'trained_on.class_names', 'trained_on.test.y', 'config.row'}
    assert nested <= set(needed) and {'config.data', 'config.data.name', 'config.model.backbone'} <= set(needed)
    assert not {'config.model.gamma', 'config.task', 'metrics.AP.cat', 'history.0.loss'} & set(needed)


@pytest.mark.parametrize('value', WRONG, ids=lambda value: json.dumps(value)[:5])
def test_what_is_of_another_type_is_one_line(whole, tmp_path, value):
    out = Run.read(whole).result
    tried = 0
    for path, was in places(out):
        is_open = OPEN & {path[0], path[-1]} or (path[:2] == ('config', 'trainer') and len(path) > 2)
        if is_open or type(was) is type(value) or (was is None and value != {}) or (was == [] and value == {}):
            continue
        with pytest.raises(Damaged) as error:
            read(tmp_path, put(out, path, value))
        name = '.'.join(map(str, path))
        assert str(error.value).startswith(f"'{tmp_path / 'result.json'}' is not what a run leaves: '{name}' must "), (
            path
        )
        assert str(error.value).count('\n') == 0 and len(str(error.value)) < 300
        tried += 1
    assert tried > 100


@pytest.mark.parametrize(
    ('content', 'told'),
    [
        (b'', 'is not valid JSON: Expecting value'),
        (b'{"seed": 0', 'is not valid JSON: Expecting'),
        (b'\xff\xfe', 'is not valid JSON: '),
        (b'[' * 100_000, 'is not valid JSON: maximum recursion depth exceeded'),
        (b'{"seed": ' + b'9' * 5000 + b'}', 'is not valid JSON: Exceeds the limit'),
        (b'[]', 'is not what a run leaves: it must hold names (got a list)'),
        (b'3', 'is not what a run leaves: it must hold names (got 3)'),
        (b'{"accuracy": 0.5}', 'is not what a run leaves: it lacks name, seed, task, and 20 more'),
    ],
)
def test_what_is_no_result_is_one_line(tmp_path, content, told):
    with pytest.raises(Damaged) as error:
        read(tmp_path, content)
    assert str(error.value).startswith(f"'{tmp_path / 'result.json'}' {told}") and '\n' not in str(error.value)


def test_no_file_and_no_folder(whole, tmp_path):
    with pytest.raises(ConfigError, match=r"nothing' is not the directory of a run: it has no result.json$"):
        Run.read(tmp_path / 'nothing')
    shutil.copytree(whole, tmp_path / 'run')
    (tmp_path / 'run' / 'result.json').rename(tmp_path / 'run' / 'config.yaml')
    with pytest.raises(ConfigError, match=r'is not finished \(the command that began it goes on\): it has no result'):
        Run.read(tmp_path / 'run')
    (tmp_path / 'run' / 'result.json').mkdir()
    with pytest.raises(Damaged, match=r"result.json' cannot be read: Is a directory$"):
        Run.read(tmp_path / 'run')


def test_options_of_other_versions_are_read(whole, tmp_path):
    out = Run.read(whole).result
    run = read(tmp_path, out | {'config': out['config'] | {'later': 3, 'ema': 0.0}})
    assert run.options['later'] == 3
    with pytest.raises(Gone, match="its options cannot be used any more: unknown option 'later'"):
        run.config.name  # noqa: B018
    first = put(put(out, ('config', 'task')), ('config', 'data', 'test_sizes'))
    run = read(tmp_path, {key: value for key, value in first.items() if key not in ('task', *LATER)})
    assert (run.task, run.known, run.history) == ('full', 1.0, [])


def test_the_small_files_of_results_are_runs(tmp_path):
    path = RESULTS / 'coco18.json'
    out = json.loads(path.read_text())
    runs = of_results(path)
    assert [run.seed for run in runs] == [one['seed'] for one in out['runs']]
    assert runs[0].result['metrics'] == out['runs'][0]['metrics'] and runs[0].result['images'] == out['images']
    assert runs[0].history == [] and not runs[0].has_scores
    assert sum(len(of_results(one)) for one in RESULTS.glob('*.json')) > 20
    path = tmp_path / 'x.json'
    for damaged in ({'runs': {}}, {'runs': [3]}, {'config': []}, {'runs': [{'seed': 0}]}):
        path.write_text(json.dumps(out | damaged))
        with pytest.raises(Damaged, match=r"x.json' is not what a run leaves: "):
            of_results(path)


def test_scores_that_are_gone_broken_or_others_are_named(whole, tmp_path):
    target = tmp_path / 'run'
    shutil.copytree(whole, target)
    path = target / 'scores.npz'
    kept = dict(Run.read(target).scores)
    np.testing.assert_allclose(Run.read(target).p, 1 / (1 + np.exp(-kept['logits'] / 1.5)))
    np.testing.assert_allclose(Run.read(target).probabilities(), Run.read(target).p, rtol=1e-6)

    def told():
        run = Run.read(target)
        assert not run.has_scores
        with pytest.raises(Gone) as error:
            run.p  # noqa: B018
        return str(error.value)

    for change, message in (
        ({'index': kept['index'][:-1]}, 'does not hold the numbers of its images and their scores'),
        ({'index': np.array(3)}, 'does not hold the numbers of its images'),
        ({'index': np.array(['a'] * 60)}, 'does not hold the numbers of its images'),
        (
            {'y': kept['y'][:, :3], 'logits': kept['logits'][:, :3]},
            'does not hold labels and scores of 4 classes (',
        ),
        ({'y': np.array(3)}, 'does not hold labels and scores of 4 classes (got [])'),
        ({'logits': kept['logits'].astype(str)}, 'does not hold the numbers of its images and their scores'),
    ):
        scores.save(path, kept | change)
        assert told().startswith(f"'{path}' {message}")
    scores.save(path, {key: value for key, value in kept.items() if key != 'logits'})
    assert told() == f"'{path}' lacks 'logits'"
    np.save(target / 'x.npy', np.zeros(3))
    (target / 'x.npy').rename(path)
    assert told() == f"'{path}' cannot be read: it holds no tables"
    path.write_bytes(b'broken')
    assert told().startswith(f"'{path}' cannot be read: ")
    path.unlink()
    assert told() == f"there is no '{path}' any more"


@pytest.fixture
def real(trained):
    return Run.read(Path(trained['folder']))


def test_a_run_may_look_for_its_images_elsewhere(real, tmp_path):
    run = real.at({'data.root': str(tmp_path)})
    assert run.config.data.root == str(tmp_path) != real.config.data.root and len(run.images.rows) == 13


def changed(run, **options):
    """The run with other data options."""
    out = json.loads(json.dumps(run.result))
    out['config']['data'] |= options
    return Run(run.folder, out)


def test_images_that_are_gone_or_others_are_named(real, tmp_path):
    with pytest.raises(Gone, match=r'the images cannot be read: .*nowhere'):
        changed(real, name='csv', root=str(tmp_path / 'nowhere')).images  # noqa: B018
    with pytest.raises(Gone, match='changed since: it has 5 images to test on, and had at least 13'):
        changed(real, test_images=5).images  # noqa: B018
    target = tmp_path / 'run'
    shutil.copytree(real.folder, target)
    scores.save(target / 'scores.npz', real.scores | {'y': 1 - real.y})
    with pytest.raises(Gone, match='its labels are others'):
        Run.read(target).images  # noqa: B018


def test_other_classes_are_named(real):
    def told(names):
        other = Run(real.folder, json.loads(json.dumps(real.result)))
        other.__dict__['scores'] = real.scores
        other.result['metrics']['AP'] = dict.fromkeys(names, 50.0)
        with pytest.raises(Gone) as error:
            other.images  # noqa: B018
        return str(error.value).removeprefix('the data set has changed since: ')

    first, second, *rest = real.class_names
    assert told([first, 'eule', *rest]) == f"it has other classes (new: '{second}'; gone: 'eule')"
    assert told([second, first, *rest]) == 'its classes are in another order'
    assert told([first, *rest]) == f"it has other classes (new: '{second}')"


def test_a_checkpoint_that_is_gone_or_broken_is_named(real, tmp_path):
    folder = tmp_path / 'run'
    shutil.copytree(real.folder, folder)
    (folder / 'last.ckpt').write_bytes(b'broken')
    with pytest.raises(Gone, match=r'the model cannot be loaded: .*last.ckpt is not a readable checkpoint'):
        Run.read(folder).model  # noqa: B018
    (folder / 'last.ckpt').unlink()
    with pytest.raises(Gone, match=r"there is no '.*last.ckpt' any more"):
        Run.read(folder).model  # noqa: B018
    best = Run(folder, real.result | {'select': 'best'})  # Its scores are those of the best epoch.
    assert best.model.class_names == real.class_names

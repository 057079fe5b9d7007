"""`mlsgm`: what RUN means, the same as functions, and a wheel that is enough for every verb."""

import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from mlsgm_pyg import app
from mlsgm_pyg.app.cli import main
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.results.groups import find_checkpoint, find_one
from mlsgm_pyg.app.results.run import Run
from tests.predictions import lines

ROOT = Path(__file__).resolve().parents[2]


def test_verbs_are_told_and_a_wrong_one_is_not(capsys):
    assert main(['--help']) == 0
    told = capsys.readouterr().out
    assert all(f'\n  {verb} ' in told for verb in ('train', 'predict', 'check', 'report', 'compare', 'export', 'card'))
    assert main([]) == 2 and capsys.readouterr().err == told
    assert main(['--version']) == 0 and capsys.readouterr().out == 'mlsgm 0.1.0\n'


def test_packages_that_are_missing_are_named(monkeypatch, capsys):
    monkeypatch.setattr('mlsgm_pyg.app.cli.find_spec', lambda name: None if name in ('rich', 'lightning') else name)
    assert main(['train']) == 2
    told = "error: the commands need lightning, rich, not installed here: pip install 'mlsgm_pyg[app]'\n"
    assert capsys.readouterr().err == told
    assert main(['predict', 'x.onnx', 'photos', '--draw=drawn']) == 2 and 'lightning, rich' in capsys.readouterr().err
    assert main(['predict', 'x.onnx', 'photos']) == 2 and 'need rich, not' in capsys.readouterr().err


def test_what_has_moved_says_where_to():
    words = ['-m', 'experiments.predict', 'last.ckpt', 'my photos']
    run = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    told = "error: this command has moved: mlsgm predict last.ckpt 'my photos'\n"
    assert (run.returncode, run.stdout, run.stderr) == (2, '', told)


def test_run_means_a_folder_one_that_holds_one_or_a_checkpoint(copy):
    folder = copy('digits')
    (folder / 'last.ckpt').write_bytes(b'x')
    for place in (folder, folder.parent, folder.parent.parent, folder / 'last.ckpt'):
        assert find_one(place) == folder and find_checkpoint(place) == folder / 'last.ckpt'
    (folder.parent / 'mine.ckpt').write_bytes(b'x')  # Beside runs, and of none of them.
    with pytest.raises(ConfigError, match="' is not the directory of a run: it has no result.json"):
        find_one(folder.parent / 'mine.ckpt')
    other = copy('other', select='best')
    os.utime(other / 'result.json', (0, 2 * 10**9))
    with pytest.raises(ConfigError) as error:
        find_one(folder.parents[1])
    then = time.strftime('%F %H:%M', time.localtime(2 * 10**9))
    assert str(error.value).startswith(f"'{folder.parents[1]}' holds 2 runs, name one: {other} ({then}), {folder} (")
    with pytest.raises(ConfigError, match="there is no checkpoint '.*best.ckpt' any more"):
        find_checkpoint(other)
    (other / 'result.json').unlink()
    (other / 'last.ckpt').write_bytes(b'x')
    assert find_checkpoint(other) == other / 'last.ckpt'  # It is not finished.
    (other / 'last.ckpt').unlink()
    (other / 'config.yaml').write_text('row: digits')
    for read in (find_checkpoint, app.report):
        with pytest.raises(
            ConfigError, match=r"other.*' is not finished \(the command that began it goes on\): it has no result"
        ):
            read(other)


def test_a_folder_trains_a_row_and_gives_its_runs_their_name(tmp_path):
    folder = tmp_path / 'my pets'
    folder.mkdir()
    (folder / 'Labels.csv').write_text('file,cat\na.png,1\n')
    config = configs.for_folder(folder, options=['seed=3'])
    assert (config.row, config.name, config.data.root, config.seed) == ('photos', 'my pets/ml_sgm', str(folder), 3)
    assert (config.data.labels, config.data.train_split, config.data.test_split) == ('Labels.csv', 'train', 'val')
    for row, options, name in [
        ('photos_baseline', [], 'my pets/baseline'),
        ('photos', ['name=x'], 'x/ml_sgm'),
        ('photos', ['task=partial', 'task.known=0.1'], 'my pets_partial_0.1/ml_sgm'),
        ('photos_baseline', ['task=partial', 'task.known=0.1'], 'my pets_partial_0.1/baseline'),
        ('photos_finetune_baseline', [], 'my pets_finetune/baseline'),
    ]:
        assert configs.for_folder(folder, row, options).name == name
    assert configs.for_folder(f'{folder}/').data.root == str(folder)  # The same run, however it is written.
    assert configs.for_folder(None, 'digits').name == 'digits'
    for arguments, told in [
        ((folder, 'digits'), f"the row 'digits' brings its own images (got the folder '{folder}')"),
        ((None,), "the row 'photos' needs a folder of photographs: mlsgm train FOLDER"),
        ((folder, 'photos', ['seeds=4,5']), 'one run has one seed: seed=4 (got seeds=4,5)'),
        ((folder / 'x',), f"there is no folder '{folder / 'x'}'"),
        ((folder, 'photos', ['data.root=x']), f"the folder is '{folder}': it takes no data.root beside it"),
    ]:
        with pytest.raises(ConfigError) as error:
            configs.for_folder(*arguments)
        assert str(error.value) == told


@pytest.mark.parametrize(
    'named, options, found',
    [
        ('train val', [], ('train', 'val', 0)),
        ('train val test', [], ('train', 'test', 0)),
        ('train fit test', [], ('train', 'test', 0)),
        ('learn check', [], ('learn', 'check', 0)),
        ('all', [], ('all', 'val', 0.2)),
        ('train fit', [], ('train', 'val', 0.2)),
        ('train val test', ['data.test_split=val'], ('train', 'val', 0)),
        ('train val test', ['data.dev=0.1'], ('train', 'val', 0.1)),
    ],
)
def test_the_parts_that_a_label_file_names_are_kept(tmp_path, named, options, found):
    rows = ''.join(f'{i}.png,{name},1\n' for i, name in enumerate(named.split()))
    (tmp_path / 'labels.csv').write_text(f'file,split,cat\n{rows}')
    data = configs.for_folder(tmp_path, options=options).data
    assert (data.train_split, data.test_split, data.dev) == found


def test_the_tool_in_python(narrow, tmp_path, pictures):
    places = [f'runs_dir={tmp_path / "runs"}', f'features.dir={tmp_path / "maps"}', 'trainer.max_epochs=1']
    run = app.train(row='digits', options=[*narrow, *places])
    assert isinstance(run, Run) and run.folder.parent == tmp_path / 'runs' / 'digits' and 0 <= run.result['mAP'] <= 100
    job = app.predict(run.folder, [pictures], tmp_path / 'found.jsonl', workers=0)
    assert len(lines(tmp_path / 'found.jsonl')) == 7 and job.status == 0
    out, missing = app.report(run.folder.parent, num_images=2, num_graphs=1)
    assert out == run.folder / 'report.html' and out.stat().st_size > 10_000 and not missing
    assert set(app.__all__) <= set(dir(app))
    with pytest.raises(AttributeError, match="module 'mlsgm_pyg.app' has no attribute 'trane'"):
        app.trane  # noqa: B018


@pytest.mark.slow
def test_a_wheel_is_enough_for_every_verb(narrow, photos, tmp_path):
    pytest.importorskip('setuptools')
    source, place = tmp_path / 'source', tmp_path / 'elsewhere'
    place.mkdir()
    shutil.copytree(ROOT / 'mlsgm_pyg', source / 'mlsgm_pyg', ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.cfg', 'setup.py', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '-w', str(tmp_path)]
    subprocess.run([*build, str(source)], check=True)
    venv.create(tmp_path / 'venv', with_pip=True)
    python = tmp_path / 'venv' / 'bin' / 'python'
    (wheel,) = tmp_path.glob('*.whl')
    subprocess.run([python, '-m', 'pip', 'install', '--quiet', '--no-deps', str(wheel)], check=True)
    (site,) = (tmp_path / 'venv' / 'lib').glob('python*/site-packages')
    (site / 'others.pth').write_text(next(path for path in sys.path if path.endswith('site-packages')) + '\n')
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'} | {'OMP_NUM_THREADS': '1'}

    def mlsgm(*words: str) -> str:
        command = [str(python.with_name('mlsgm')), *map(str, words)]
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    folder = Path(photos[1].removeprefix('data.root='))
    for name in ('5.png', '24.png'):  # Those that cannot be read.
        shutil.copy(folder / 'images' / '0.png', folder / 'images' / name)
    options = [word for word in narrow if not word.startswith(('data.scene', 'data.num_im', 'data.test_im'))]
    options += ['model.backbone=resnet18', 'model.weights=none', 'semantics.source=onehot', 'trainer.max_epochs=1']
    assert 'mlsgm train' in mlsgm('check', folder, 'semantics.source=onehot')
    told = mlsgm('train', folder, *options)
    assert told.endswith('\nmlsgm predict runs/photos PHOTOGRAPHS --draw drawn\nmlsgm report runs/photos\n')
    files = [folder / 'images' / f'{i}.png' for i in (1, 2)]
    assert '2 pictures' in mlsgm('predict', 'runs', *files, '--workers', 0)
    assert 'report.html' in mlsgm('report', 'runs')
    assert 'photos' in mlsgm('compare', 'runs') and 'Evaluation' in mlsgm('card', 'runs', '--markdown')
    assert 'model.pt2' in mlsgm('export', 'runs/photos', '--format', 'torch_export')
    assert mlsgm('demo', '--help').startswith('usage: mlsgm demo') and 'digits' in mlsgm('train', '--rows')
    assert not (place / 'mlsgm_pyg').exists()

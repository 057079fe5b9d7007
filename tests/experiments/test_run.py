"""The command line: what it lists, shows, refuses and runs."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from experiments import config as configs
from experiments import run, train

ROOT = Path(__file__).resolve().parents[2]


def test_the_list_names_every_row_and_needs_no_torch(capsys):
    assert run.main(['--list']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(configs.rows())
    assert all(len(line.split(maxsplit=1)[1]) > 20 for line in lines)
    code = "import sys; from experiments import run; run.main(['--list']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True).returncode == 0


def test_help_says_how_to_use_it(capsys):
    with pytest.raises(SystemExit) as stop:
        run.main(['--help'])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    for words in ('--resume RUN', 'NAME [key=value ...]', 'seeds=0,1,2', 'experiments/options.py'):
        assert words in out
    assert (ROOT / 'experiments' / 'options.py').is_file()


def test_show_prints_what_would_run(capsys):
    assert run.main(['coco18', 'optimizer.lr=0.5', '--show']) == 0
    shown = OmegaConf.create(capsys.readouterr().out)
    assert shown == configs.load('coco18', ['optimizer.lr=0.5'])


def test_without_a_name_it_is_digits_and_its_baseline():
    found = run.configurations(['seeds=0,1'])
    assert [(c.row, c.seed) for c in found] == [
        ('digits', 0), ('digits', 1), ('digits_baseline', 0), ('digits_baseline', 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['coc18'], "unknown experiment 'coc18': did you mean 'coco18'?"),
        (['digits', 'model.gama=1'], "unknown option 'model.gama' in the command line: did you mean 'model.gamma'?"),
        (['digits', 'digits'], 'a row is named twice (got digits digits)'),
        (['--resume', 'nowhere'], "'nowhere' is not a run directory: it has no config.yaml"),
        (['--resume', 'nowhere', 'seed=1'], 'a resumed run keeps its own options (got seed=1)'),
        (['digits', 'trainer.max_epoch=1'], "unknown option 'trainer.max_epoch': did you mean 'trainer.max_epochs'?"),
        (['digits', 'data.limit'], "an option is written key=value (got 'data.limit')"),
        (['digits', 'seeds=0,0'], 'each seed counts once (got seeds=0,0)'),
        (['digits', 'coco18', 'name=x'], "'name' is for one row: give each its own (got digits coco18)"),
    ],
)
def test_errors(words, message, capsys):
    assert run.main(words) == 2
    assert capsys.readouterr().err.strip() == f'error: {message}'


@pytest.mark.slow
def test_two_rows_are_compared_and_a_finished_run_is_read_again(tiny, command_line, capsys):
    config = tiny('trainer.max_epochs=1', 'data.num_images=8', 'data.test_images=30')
    own = ('name=', 'model.name=', 'seed=')
    words = [word for word in command_line.words(config) if not word.startswith(own)]
    assert run.main(['digits', 'digits_baseline', *words]) == 0
    out = ' '.join(capsys.readouterr().out.split())
    assert 'digits, seed 0: AP' in out and 'digits_baseline, seed 0: AP' in out
    assert 'digits - digits_baseline: ' in out and '(paired bootstrap over 30 images' in out
    assert run.main(['--resume', str(train.run_dir(config))]) == 0
    assert 'is finished (--again trains it once more)' in capsys.readouterr().out


def test_missing_data_is_an_error_of_one_line(tmp_path, capsys):
    assert run.main(['coco18', f'data.root={tmp_path}', f'runs_dir={tmp_path / "runs"}']) == 2
    assert capsys.readouterr().err.startswith('error: ')

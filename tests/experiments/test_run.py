"""The command line: what it lists, shows, refuses and runs."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from experiments import run
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.training import train

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
    for words in ('--resume RUN', 'NAME [key=value ...]', 'seeds=0,1,2', 'mlsgm_pyg/app/config/options.py'):
        assert words in out
    assert (ROOT / 'mlsgm_pyg' / 'app' / 'config' / 'options.py').is_file()


def test_show_prints_what_would_run(capsys):
    assert run.main(['coco18', 'optimizer.lr=0.5', '--show']) == 0
    shown = OmegaConf.create(capsys.readouterr().out)
    assert shown == configs.load('coco18', ['optimizer.lr=0.5'])


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['coc18'], "unknown experiment 'coc18': did you mean 'coco18'?"),
        (['digits', 'model.gama=1'], "unknown option 'model.gama' in the command line: did you mean 'model.gamma'?"),
        (['digits', 'digits'], 'a row is named twice (got digits digits)'),
        (['--resume', 'nowhere'], "'nowhere' is not the directory of a run: there is no such folder"),
        (['--resume', 'nowhere', 'seed=1'], 'a resumed run keeps its own options (got seed=1)'),
        (['digits', 'trainer.max_epoch=1'], "unknown option 'trainer.max_epoch': did you mean 'trainer.max_epochs'?"),
        (['digits', 'coco18.yaml'], "unknown experiment 'coco18.yaml': did you mean 'coco18'?"),
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


def test_missing_data_names_the_command_that_fetches_it(tmp_path, capsys):
    assert run.main(['coco', f'data.root={tmp_path}', f'runs_dir={tmp_path / "runs"}']) == 2
    assert f"`python -m experiments.prepare coco --root '{tmp_path}'` gets it" in capsys.readouterr().err
    assert not (tmp_path / 'runs').exists()  # Nothing is written before all is there.


@pytest.fixture
def written(tiny):
    """Makes the directory of a run that has not begun."""

    def make(name, *options):
        config = tiny('trainer.max_epochs=1', *options, f'name={name}')
        folder = train.run_dir(config)
        folder.mkdir(parents=True)
        OmegaConf.save(config, folder / 'config.yaml')
        return folder

    return make


def test_resume_takes_the_only_run_in_a_folder(written, capsys):
    folder = written('try')
    assert run.main(['--resume', str(folder.parent), '--show']) == 0
    assert 'name: try' in capsys.readouterr().out
    other = written('try', 'seed=1')
    assert run.main(['--resume', str(folder.parent)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: '{folder.parent}' holds 2 runs, --resume takes one: ")
    assert f'{folder} (' in told and f'{other} (' in told


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (b'', "is not what a run leaves: it names no 'row'"),
        (b'data: {name: csv}\n', "is not what a run leaves: it names no 'row'"),
        (b'name: [x\n', "' cannot be read: while parsing a flow sequence in"),
        (b'\xff\xfe\xff', "' cannot be read: "),
        (b'- a\n', 'must hold name'),
    ],
)
def test_a_damaged_config_is_an_error_of_one_line(text, message, written, capsys):
    folder = written('broken')
    (folder / 'config.yaml').write_bytes(text)
    assert run.main(['--resume', str(folder)]) == 2
    out, err = capsys.readouterr()
    assert out == '' and err.count('\n') == 1 and err.startswith('error: ')
    assert message in err and str(folder / 'config.yaml') in err
    assert [path.name for path in folder.iterdir()] == ['config.yaml']


@pytest.mark.parametrize('place', ['runs_dir', 'features.dir'])
def test_a_place_that_cannot_be_written_is_named_in_one_line(place, tiny, frozen, command_line, tmp_path, capsys):
    taken = tmp_path / 'file'
    taken.touch()
    config = tiny(*frozen, f'{place}={taken / "in"}')
    words = [word for word in command_line.words(config) if not word.startswith('name=')]
    assert run.main(['digits', *words]) == 2
    err = capsys.readouterr().err.splitlines()
    assert (
        len(err) == 1 and err[0].startswith('error: ') and str(taken) in err[0] and err[0].endswith(': Not a directory')
    )


def test_a_broken_image_is_an_error_of_one_line(tiny, photos, command_line, capsys):
    """Read in a worker process, whose traceback comes with it."""
    config = tiny(*photos, 'data.num_workers=1')
    words = [word for word in command_line.words(config) if not word.startswith('name=')]
    assert run.main(['digits', *words]) == 2
    err = capsys.readouterr().err.strip()
    assert err.count('\n') == 0 and err.startswith('error: cannot read image ')
    assert err.endswith('; mend or remove it, or data.on_error=skip') and 'png' in err and 'Traceback' not in err


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize('epoch', [0, 1])
def test_a_signal_stops_a_run_with_a_word(number, status, epoch, written, monkeypatch, capsys):
    folder = written('stopped', 'trainer.max_epochs=3')
    step, handler = train.Recognition.training_step, signal.getsignal(signal.SIGINT)

    def signalled(self, batch, batch_idx):
        if self.current_epoch == epoch:
            os.kill(os.getpid(), number)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(train.Recognition, 'training_step', signalled)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background processes ignore it.
    try:
        assert run.main(['--resume', str(folder)]) == status
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning takes no second Ctrl+C, for good.
    where = 'after epoch 1' if epoch else 'in the first epoch'
    told = f'stopped {where} of 3 ({folder}); the same command goes on\n'
    assert capsys.readouterr().err.endswith(told)
    assert (folder / 'last.ckpt').is_file() == bool(epoch) and not (folder / 'result.json').exists()
    shutil.rmtree(folder)


def test_ctrl_c_outside_training_is_no_traceback(monkeypatch, capsys):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, '_train', interrupted)
    assert run.main(['digits']) == 130
    assert capsys.readouterr().err == 'stopped; the same command goes on\n'

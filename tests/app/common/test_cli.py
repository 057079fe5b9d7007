"""However a command ends, it is a line and a status; what is a mistake of ours keeps its traceback."""

import errno
import logging
import signal
import subprocess
import sys
from importlib import import_module

import pytest

from mlsgm_pyg.app.cli import main as mlsgm
from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError, Failed
from mlsgm_pyg.app.common.signals import Stopped


def command(error, *goes_on):
    @cli.door(*goes_on)
    def main(argv):
        """A command."""
        if error is not None:
            raise error
        return len(argv)

    return main


def test_torch_is_silent_about_a_missing_gpu(capsys):
    assert command(None)([]) == 0
    logging.getLogger('torch.utils.cpp_extension').warning('No CUDA runtime is found')
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(
    ('error', 'status', 'told'),
    [
        (None, 0, ''),
        (ConfigError('no\n  such row'), 2, 'error: no such row\n'),
        (ImportError("No module named 'onnx'"), 2, "error: No module named 'onnx'\n"),
        (FileNotFoundError("'x' holds no finished run"), 2, "error: 'x' holds no finished run\n"),
        (PermissionError(errno.EACCES, 'Permission denied', 'a/b'), 2, 'error: a/b: Permission denied\n'),
        (OSError(errno.ENOSPC, 'No space left on device'), 2, 'error: cannot go on: No space left on device\n'),
        (Failed('1 of 2 runs did not finish'), 1, 'error: 1 of 2 runs did not finish\n'),
        (Stopped(signal.SIGTERM, '4 of 7 done'), 143, '4 of 7 done\n'),
        (Stopped(signal.SIGINT), 130, ''),
        (KeyboardInterrupt(), 130, 'stopped\n'),
    ],
)
def test_how_a_command_ends(error, status, told, capsys):
    assert command(error)([]) == status
    out, err = capsys.readouterr()
    assert out == '' and err.startswith(told) and err.count('\n') == min(len(told), 1)


def test_what_to_do_after_ctrl_c(capsys):
    assert command(KeyboardInterrupt(), 'the same command goes on')([]) == 130
    assert capsys.readouterr().err == 'stopped; the same command goes on\n'


def test_the_words_of_the_process_are_taken_where_there_are_none(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['x', 'a', 'b'])
    main = command(None)
    assert main() == 2 and main(['a']) == 1 and main.__doc__ == 'A command.'
    assert cli.typed('mlsgm x', ['a b', 'c']) == "mlsgm x 'a b' c"


@pytest.mark.parametrize('error', [RuntimeError('ours'), KeyError('ours'), SystemExit(3)])
def test_mistakes_of_ours_are_shown(error):
    with pytest.raises(type(error)):
        command(error)([])


def test_numbers_that_are_too_small_end_with_the_usage(capsys):
    parser = cli.parser('mlsgm x', 'What it does.', 'The end.')
    parser.add_argument('--batch-size', type=int)
    parser.add_argument('--jobs', type=int, default=1)
    cli.check_least(parser, parser.parse_args([]), batch_size=1, jobs=1)
    with pytest.raises(SystemExit) as end:
        cli.check_least(parser, parser.parse_args(['--batch-size', '0']), batch_size=1)
    assert end.value.code == 2 and '--batch-size must be at least 1 (got 0)' in capsys.readouterr().err
    assert parser.format_help().startswith('usage: mlsgm x') and parser.format_help().endswith('The end.\n')


def test_what_is_typed_is_understood_without_torch():
    """Nor do the parts that every command has need it; a warning of PyG's is silenced as they are imported."""
    code = 'import experiments, sys, warnings; from mlsgm_pyg.app.common import cli, files, machine; '
    code += 'assert not {"torch", "omegaconf"} & set(sys.modules); import torch; '
    code += 'warnings.warn("`torch.jit.script` is deprecated", FutureWarning)'
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert run.stderr == ''


@pytest.mark.parametrize(
    ('verb', 'words', 'told'),
    [
        ('mlsgm card', ['gone.ckpt'], "there is no checkpoint 'gone.ckpt'"),
        ('mlsgm check', ['gone'], "there is no folder 'gone'"),
        ('mlsgm compare', ['gone'], "'gone' holds no finished run"),
        ('mlsgm demo', ['gone.ckpt'], "there is no checkpoint 'gone.ckpt'"),
        ('mlsgm export', ['gone.ckpt', '--format', 'onnx'], "there is no checkpoint 'gone.ckpt'"),
        ('mlsgm predict', ['gone.ckpt', 'x.jpg'], "there is no checkpoint 'gone.ckpt'"),
        ('mlsgm report', ['gone'], "'gone' is not the directory of a run"),
        ('mlsgm train', ['gone'], "there is no folder 'gone'"),
        ('mlsgm train', [], "the row 'photos' needs a folder of photographs: mlsgm train FOLDER"),
        ('mlsgm train', ['gone', '--row', 'digit'], "unknown experiment 'digit': did you mean 'digits'?"),
        ('mlsgm trane', [], "mlsgm has no verb 'trane': did you mean 'train'?"),
        ('boxes', ['gone'], "'gone' is no run"),
        ('learning', ['gone', 'gone'], "'gone' is not the directory of a run"),
        ('subset', ['gone', 'to', '--classes', 'a'], 'gone/labels.csv: No such file or directory'),
        ('summary', ['gone.json'], 'gone.json: No such file or directory'),
        ('promise', ['gone'], "'gone' holds no finished run"),
        ('table', ['2', '--runs', 'gone'], "there is no folder of runs 'gone'"),
        ('figure', ['8', 'gone.json'], "there is no sweep 'gone.json'"),
        ('sweep', ['digits', 'model.gamma=0.1,x'], "'model.gamma' in the command line must be float (got 'x')"),
        ('few_shot', ['gone'], "unknown experiment 'gone'"),
    ],
)
def test_what_is_not_there_is_told_in_a_line(verb, words, told, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    *door, verb = verb.split()
    main = mlsgm if door else import_module(f'experiments.{verb}').main
    assert main([verb, *words] if door else words) == 2
    out, err = capsys.readouterr()
    assert out == '' and err.startswith(f'error: {told}') and err.count('\n') == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('text', ['-0.1', '1.5', 'nan'])
def test_a_number_is_within_its_range(text, capsys):
    parser = cli.parser('x', 'about')
    parser.add_argument('--share', type=cli.within(0, 1))
    assert parser.parse_args(['--share', '0.5']).share == 0.5
    with pytest.raises(SystemExit):
        parser.parse_args([f'--share={text}'])
    assert f'argument --share: must be from 0 to 1 (got {text})' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parser.parse_args(['--share', 'half'])
    assert "argument --share: invalid number value: 'half'" in capsys.readouterr().err

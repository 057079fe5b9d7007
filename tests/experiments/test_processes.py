"""Several runs at a time: all of them, no more than allowed at once, and what is said of those that fail."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from experiments import processes, run, sweep
from mlsgm_pyg.app.common.errors import Failed
from mlsgm_pyg.app.config import load as configs

LIVE = """
import os, sys, time
at = sys.argv[1]
open(f'{at}/{os.getpid()}.live', 'w').close()
time.sleep(0.4)
print(len([name for name in os.listdir(at) if name.endswith('.live')]), os.environ['OMP_NUM_THREADS'])
os.remove(f'{at}/{os.getpid()}.live')
"""


def test_all_run_and_never_more_than_allowed_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setattr(os, 'cpu_count', lambda: 5)
    todo = [
        processes.Job(f'run {i}', [sys.executable, '-c', LIVE, str(tmp_path)], tmp_path / 'logs' / f'{i}.log')
        for i in range(5)
    ]
    processes.run_all(todo, 2)
    seen = [(tmp_path / 'logs' / f'{i}.log').read_text().split() for i in range(5)]
    assert max(int(live) for live, _ in seen) == 2 and {threads for _, threads in seen} == {'2'}
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith('1/5: run 0: -c') and out[-1].endswith(' s')
    assert sum(line.endswith(' s') for line in out) == 5


def test_a_failed_run_stops_no_other(tmp_path, capsys):
    words = ["print('before'); raise SystemExit('error: no such folder')", "print('fine')"]
    todo = [
        processes.Job(f'run {i}', [sys.executable, '-c', code], tmp_path / f'{i}.log') for i, code in enumerate(words)
    ]
    with pytest.raises(Failed) as error:
        processes.run_all(todo, 1)
    assert str(error.value) == (
        f"1 of 2 runs did not finish (run 0: no such folder; see '{tmp_path / '0.log'}'); the same command goes on "
        'with them'
    )
    assert (tmp_path / '1.log').read_text() == 'fine\n'
    assert 'run 0: failed after' in capsys.readouterr().out


@pytest.mark.parametrize('end', ['raise SystemExit(143)', 'import os; os.kill(os.getpid(), 15)'])
def test_a_stopped_run_is_not_taken_for_a_finished_one(end, tmp_path, capsys):
    code = f"import sys; print('stopped after epoch 4 of 9; x', file=sys.stderr, flush=True); {end}"
    with pytest.raises(Failed, match=r'1 of 1 runs did not finish \(one: stopped after epoch 4 of 9; x; see'):
        processes.run_all([processes.Job('one', [sys.executable, '-c', code], tmp_path / 'log')], 1)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith('1/1: one: stopped after ') and last.endswith(': stopped after epoch 4 of 9; x')


@pytest.fixture
def interrupted(tmp_path):
    """Starts a long process and, when it is there, sends this one a signal; another one waits for its turn."""
    code = f"import os, time; open('{tmp_path}/pid', 'a').write(f'{{os.getpid()}} '); time.sleep(60)"

    def run(number):
        def send():
            while not (path.is_file() and path.read_text()):
                time.sleep(0.05)
            os.kill(os.getpid(), number)

        path, sender = tmp_path / 'pid', threading.Thread(target=send)
        sender.start()
        todo = [processes.Job(name, [sys.executable, '-c', code], tmp_path / name) for name in ('long', 'waits')]
        try:
            processes.run_all(todo, 1)
        finally:
            sender.join()
            (pid,) = path.read_text().split()
            with pytest.raises(ProcessLookupError):
                os.kill(int(pid), 0)

    return run


def test_no_process_outlives_sigterm(interrupted, capsys):
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        interrupted(signal.SIGTERM)
    assert end.value.code == 143 and capsys.readouterr().err == 'stopped; the same command goes on\n'
    assert signal.getsignal(signal.SIGTERM) == handler


def test_no_process_outlives_an_interruption(interrupted):
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background processes ignore it.
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, handler)


@pytest.mark.skipif(sys.platform != 'linux', reason='the system does not tell of a parent that is gone')
def test_no_process_outlives_sigkill(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    told = f"import time; pipe = open('{tmp_path}/pipe', 'w'); print('here', file=pipe, flush=True); time.sleep(30)"
    code = f"""if True:
        from pathlib import Path
        from experiments.processes import Job, run_all
        run_all([Job('long', [{sys.executable!r}, '-c', {told!r}], Path('{tmp_path}/log'))], 1)
    """
    process = subprocess.Popen([sys.executable, '-c', code], env=os.environ | {'CUDA_VISIBLE_DEVICES': ''})
    with open(tmp_path / 'pipe') as pipe:
        assert pipe.readline() == 'here\n'
        process.kill()
        process.wait()
        killed = time.monotonic()
        assert pipe.read() == '' and time.monotonic() - killed < 10


def test_finished_epochs_are_told_while_a_run_goes_on(tmp_path, capsys):
    """Whole lines alone, each once, and those of the last moment."""
    code = """
import sys, time
for part in ('start\\nepoch 1/2  lo', 'ss 0.5\\nepo', 'ch 2/2  loss 0.4\\nmAP 3\\nepoch of no line end'):
    print(part, end='', flush=True)
    time.sleep(0.5)
"""
    processes.run_all([processes.Job('run', [sys.executable, '-c', code], tmp_path / 'log')], 1)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith('1/1: run: epoch')] == [
        '1/1: run: epoch 1/2  loss 0.5',
        '1/1: run: epoch 2/2  loss 0.4',
    ]


@pytest.mark.parametrize(
    ('visible', 'given'), [('0,1', ['0', '1', '0']), ('GPU-a, GPU-b', ['GPU-a', 'GPU-b', 'GPU-a']), ('3', ['3'] * 3)]
)
def test_gpus_are_shared_out(visible, given, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    monkeypatch.setenv('OMP_NUM_THREADS', '3')  # What the user says holds.
    found = [processes.environment(slot, 3) for slot in range(3)]
    assert [env['CUDA_VISIBLE_DEVICES'] for env in found] == given and found[0]['OMP_NUM_THREADS'] == '3'


def test_the_number_of_jobs_is_checked(capsys):
    with pytest.raises(SystemExit):
        sweep.parse(['coco18', 'optimizer.ema_epochs=0,0.5', '--jobs', '0'])
    assert '--jobs must be at least 1 (got 0)' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run.parse(['coco18', '--jobs', '-1'])
    assert '--jobs must be at least 1 (got -1)' in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_of_two_runs_at_a_time_trains_what_is_missing(tiny, command_line, capsys):
    config = tiny('trainer.max_epochs=1', 'data.num_images=12', 'data.test_images=20')
    own = ('name=', 'model.gamma=', 'seed=')
    words = ['digits', *(word for word in command_line.words(config) if not word.startswith(own))]
    assert sweep.main([*words, 'model.gamma=0.1,0.5', '--jobs', '2']) == 0
    out = capsys.readouterr().out
    assert '2/2: digits_gamma_0.5, seed 0: ' in out and 'is finished' in out
    assert sweep.main([*words, 'model.gamma=0.1,0.5,0.9', '--jobs', '2']) == 0
    assert '1/1: digits_gamma_0.9, seed 0: ' in capsys.readouterr().out  # The others are read.
    found = [json.loads(path.read_text())['swept'] for path in Path(config.runs_dir).glob('sweeps/*.json')]
    assert sorted(swept['model.gamma'] for swept in found) == [[0.1, 0.5], [0.1, 0.5, 0.9]]
    assert sweep.main([*words, 'model.gamma=0.1,7', '--jobs', '2']) == 1
    told = capsys.readouterr().err
    assert "1 of 1 runs did not finish (digits_gamma_7, seed 0: 'gamma' must be in [0, 1] (got 7.0); see '" in told


@pytest.mark.parametrize(
    ('words', 'number'),
    [([], 2), (['--jobs', '2'], 2), (['digits', 'seeds=1,3', 'model.gamma=0.5'], 0),
     (['digits', 'seeds=1,3', 'model.gamma=0.5', '--jobs', '3'], 3), (['digits', '--jobs', '3'], 0)],
)  # fmt: skip
def test_runs_side_by_side_are_trained_first_and_then_read(words, number, monkeypatch):
    """One run, or one at a time, starts no process; the others know the command of each run alone."""
    calls = []
    monkeypatch.setattr('os.cpu_count', lambda: 8)
    monkeypatch.setattr(processes, 'train_all', lambda planned, jobs, again: calls.append((planned, jobs, again)))
    monkeypatch.setattr(run, '_train', lambda planned, again, command, folder: 0)
    assert run.main(words) == 0
    if number == 0:
        assert calls == []
        return
    ((planned, jobs_given, again),) = calls
    assert (jobs_given, again) == (number, False)
    some = 'digits' in words
    expected = (
        ['digits model.gamma=0.5 seed=1', 'digits model.gamma=0.5 seed=3']
        if some
        else ['digits seed=0', 'digits_baseline seed=0']
    )
    assert [command.removeprefix('python -m experiments.run ') for _, command in planned] == expected
    assert [configs.plain(config) for config, _ in planned] == [
        configs.plain(run.configurations(command.split()[3:])[0]) for _, command in planned
    ]

"""Two processes (gloo): the metrics of one, each image once, nothing lost."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mlsgm_pyg.app.results import scores
from mlsgm_pyg.app.training import train
from tests.conftest import ROOT

pytestmark = pytest.mark.slow
STILL = ['optimizer.lr=0', 'optimizer.schedule=constant', 'model.freeze_backbone=true']  # Weights stay as they are.
TWO = ['trainer.devices=2', 'trainer.strategy=ddp']


def result(config):
    return json.loads((train.run_dir(config) / 'result.json').read_text())


def kept(out):
    return np.load(Path(out['folder']) / 'scores.npz')


def test_one_process_and_two_give_the_same_metrics(tiny, photos, command_line):
    """13 images to test on, 12 of them readable; images one by one, so that both compute the same numbers."""
    options = [*photos, *STILL, 'data.eval_batch_size=1', 'data.on_error=skip', 'trainer.max_epochs=1']
    one, two = tiny(*options), tiny(*options, *TWO)
    for config in (one, two):
        command_line('digits', *command_line.words(config))
    a, b = result(one), result(two)
    assert (a['hardware']['processes'], b['hardware']['processes']) == (1, 2)
    assert a['skipped'] == b['skipped'] == ['test 24.png', 'train 5.png']
    assert a['images'] == b['images'] == {'train': 21, 'test': 12}
    for name in ('index', 'y', 'instances'):
        np.testing.assert_array_equal(kept(a)[name], kept(b)[name])
    assert kept(a)['index'].tolist() == [0, 1, 2, *range(4, 13)]
    for name in ('graph', 'csac', 'average'):
        np.testing.assert_array_equal(kept(a)[name], kept(b)[name])
    for name, value in a['metrics'].items():
        assert b['metrics'][name] == pytest.approx(value, abs=1e-9), name
    again = scores.evaluate(kept(b), 'graph', list(b['metrics']['AP']), b['ap'], b['top3'])
    assert again['mAP'] == pytest.approx(a['mAP'], abs=1e-9)


def test_one_process_and_two_fit_the_same_decisions(tiny, command_line):
    options = [*STILL, 'data.eval_batch_size=1', 'data.tune=0.3', 'model.score=blend', 'trainer.max_epochs=1']
    one, two = tiny(*options), tiny(*options, *TWO)
    for config in (one, two):
        command_line('digits', *command_line.words(config))
    assert result(one)['decisions'] == result(two)['decisions'] is not None
    a, b = (np.load(train.run_dir(config) / 'fit.npz') for config in (one, two))
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_two_processes_run_several_seeds_and_run_them_again(tiny, photos, command_line):
    """Two seeds one after the other, with batches of which nothing is readable; the same once more; all finished."""
    options = [*photos, *TWO, 'data.on_error=skip', 'data.batch_size=1']
    config = tiny(*options)
    words = ['digits', *[word for word in command_line.words(config) if not word.startswith('seed=')], 'seeds=0,1']
    first = command_line(*words)
    outs = [result(tiny(*options, f'seed={seed}')) for seed in (0, 1)]
    assert all(out['skipped'] == ['test 24.png', 'train 5.png'] for out in outs)
    assert [out['seed'] for out in outs] == [0, 1] and first.stdout.count('epoch 2/2') == 2
    weights = [torch.load(Path(out['folder']) / 'last.ckpt', weights_only=True)['state_dict'] for out in outs]
    assert not torch.equal(*(state['model.csac.classifier.weight'] for state in weights))
    assert first.stdout.count('seed 0: AP') == 1  # The second process has nothing to print.

    again = command_line(*words, '--again')
    assert again.stdout.count('epoch 2/2') == 2
    assert [result(tiny(*options, f'seed={seed}'))['metrics'] for seed in (0, 1)] == [out['metrics'] for out in outs]
    finished = command_line(*words)
    assert finished.stdout.count('is finished') == 2 and 'epoch' not in finished.stdout.split('is finished')[0]


def test_two_processes_on_stored_graphs(stored, command_line):
    config = stored(*TWO, 'trainer.max_epochs=1')
    command_line('digits', *command_line.words(config))
    assert kept(result(config))['index'].tolist() == list(range(13))


def test_more_processes_than_images_to_evaluate(tiny, command_line):
    config = tiny(*TWO, 'data.test_limit=1', 'trainer.max_epochs=1')
    command_line('digits', *command_line.words(config))
    assert kept(result(config))['index'].tolist() == [0]


def test_two_processes_hide_the_same_labels(tiny, command_line):
    """One and two processes train on the same known labels; each evaluates all labels of its images."""
    options = ['task=partial', 'task.known=0.4', *STILL, 'data.eval_batch_size=1', 'trainer.max_epochs=1']
    one, two = tiny(*options), tiny(*options, *TWO)
    for config in (one, two):
        command_line('digits', *command_line.words(config))
    a, b = result(one), result(two)
    assert a['labels'] == b['labels'] == {'known': 84, 'all': 210}
    assert a['metrics'] == b['metrics'] and (kept(b)['y'] >= 0).all()


def test_torchrun_on_two_machines_trains_the_same_weights(tiny, command_line):
    """Here both machines are this one, with a process each; beside two processes that Lightning starts."""
    one = tiny(*TWO, 'trainer.max_epochs=1')
    command_line('digits', *command_line.words(one))
    two = tiny('trainer.num_nodes=2', 'trainer.strategy=ddp', 'trainer.max_epochs=1')
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    start = [sys.executable, '-m', 'torch.distributed.run', '--nnodes=2', '--nproc-per-node=1']
    start += ['--master-addr=127.0.0.1', f'--master-port={port}']
    words = ['-m', 'experiments.run', 'digits', *command_line.words(two)]
    env = dict(os.environ, OMP_NUM_THREADS='1')
    started = [subprocess.Popen([*start, f'--node-rank={i}', *words], cwd=ROOT, env=env) for i in range(2)]
    try:
        assert [process.wait(timeout=300) for process in started] == [0, 0]
    finally:
        for process in started:
            process.terminate()  # And, by torchrun, what it started.
    a, b = result(one), result(two)
    assert a['hardware']['processes'] == b['hardware']['processes'] == 2 and a['metrics'] == b['metrics']
    states = [torch.load(Path(out['folder']) / 'last.ckpt', weights_only=True)['state_dict'] for out in (a, b)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0] | states[1])


@pytest.mark.parametrize(
    ('dead', 'told'), [(1, 'process 1 of 2 has ended'), (2, 'process 2 of 2 was ended by SIGKILL')]
)
def test_where_one_process_dies_the_other_says_so_and_ends(dead, told, tiny, command_line):
    words = command_line.words(tiny(*TWO, 'trainer.max_epochs=10000'))
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True, 'start_new_session': True}
    env = dict(os.environ, OMP_NUM_THREADS='1')
    process = subprocess.Popen([sys.executable, '-m', 'experiments.run', 'digits', *words], cwd=ROOT, env=env, **pipes)
    try:
        while not (line := process.stdout.readline()).startswith('epoch 1'):
            assert line, process.stderr.read()
        second = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()[0]
        os.kill(process.pid if dead == 1 else int(second), signal.SIGKILL)
        _, err = process.communicate(timeout=60)  # To the end of the pipe, which both hold.
    finally:
        os.killpg(process.pid, signal.SIGKILL) if process.returncode is None else None
    assert err == f'error: {told}; the same command goes on from the last finished epoch\n'
    assert process.returncode == (-9 if dead == 1 else 1)

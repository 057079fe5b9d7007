"""Which devices are meant, and where a process stands among others."""

import os
import subprocess
from pathlib import Path

import pytest
import torch

import mlsgm_pyg
from mlsgm_pyg.app.prediction.processes import Others, devices_of, place


@pytest.fixture
def gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 3)


@pytest.mark.parametrize(
    ('accelerator', 'devices', 'numbers'),
    [
        ('auto', '1', [0]),
        ('gpu', '2', [0, 1]),
        ('cuda', '0,2', [0, 2]),
        ('gpu', '1,', [1]),
        ('gpu', 'auto', [0, 1, 2]),
        ('gpu', '-1', [0, 1, 2]),
    ],
)
def test_gpus(gpus, accelerator, devices, numbers):
    assert devices_of(accelerator, devices) == [f'cuda:{number}' for number in numbers]


def test_what_there_is_not(gpus, monkeypatch):
    for devices in ('0', '4', '0,3', '-2'):
        with pytest.raises(ValueError, match=rf"among the 3 of this machine, from 0 on \(got '{devices}'\)"):
            devices_of('gpu', devices)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: False)
    with pytest.raises(ValueError, match='there is no gpu on this machine'):
        devices_of('gpu', '1')
    assert devices_of('auto', 'auto') == ['cpu'] and len(devices_of('auto', '3')) == 3


def test_places(gpus, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'GROUP_RANK', 'SLURM_NODEID'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('NODE_RANK', '1')
    assert place('gpu', '2', 1).rank == 0  # Of one machine alone.
    third = place('gpu', '2', 4)
    assert (third.number, third.total, third.rank, third.world) == (1, 4, 2, 8)
    for name, value in (('RANK', '5'), ('WORLD_SIZE', '6'), ('LOCAL_RANK', '1')):
        monkeypatch.setenv(name, value)
    assert place('gpu', '2', 4) == (5, 6, ['cuda:1'])


def test_other_processes_find_this_package_and_python_s_own_modules(monkeypatch):
    seen = {}
    monkeypatch.setattr(subprocess, 'Popen', lambda words, stdin, env: seen.update(env, words=words))
    monkeypatch.setenv('PYTHONPATH', 'mine')
    Others().start((), 1)
    folder = Path(mlsgm_pyg.__file__).parent
    assert seen['PYTHONPATH'] == f'{folder.parent}{os.pathsep}mine'  # In `folder` lies a `statistics`, too.
    assert '-W' in seen['words']  # What its imports warn of is not the user's.

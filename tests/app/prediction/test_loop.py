"""Which device computes, and what is done where memory is short."""

import pytest
import torch

from mlsgm_pyg.app.prediction import loop
from mlsgm_pyg.app.prediction.loop import device_of


@pytest.fixture
def gpus(monkeypatch):
    for name in ('LOCAL_RANK', 'SLURM_LOCALID'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 3)


def test_each_process_of_a_machine_has_its_own_gpu(gpus, monkeypatch):
    assert [device_of(name) for name in ('auto', 'gpu', 'cuda', 'cpu')] == ['cuda:0', 'cuda:0', 'cuda:0', 'cpu']
    for rank, device in (('2', 'cuda:2'), ('4', 'cuda:1')):
        monkeypatch.setenv('LOCAL_RANK', rank)
        assert device_of('gpu') == device
    monkeypatch.setenv('LOCAL_RANK', 'one')
    with pytest.raises(ValueError, match=r"the environment's LOCAL_RANK must be a number \(got 'one'\)"):
        device_of('gpu')


def test_what_there_is_not(gpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: False)
    with pytest.raises(ValueError, match='there is no gpu on this machine'):
        device_of('gpu')
    with pytest.raises(ValueError, match="'accelerator' must be one of"):
        device_of('tpu')
    assert device_of('auto') == 'cpu'


def test_little_memory_is_no_fault_of_a_picture(call, pictures, monkeypatch):
    real = loop.read_picture

    def read(file, **more):
        if '2 é' in str(file):
            raise MemoryError
        return real(file, **more)

    monkeypatch.setattr(loop, 'read_picture', read)
    status, _, err = call('my ü')
    assert status == 2 and "error: there is not enough memory to read 'my ü/2 é.png': take fewer --workers" in err
    monkeypatch.setattr(loop, 'read_picture', real)
    status, out, err = call('my ü')
    assert status == 0 and '2 of 7 pictures are done already' in err and '5 now in' in out

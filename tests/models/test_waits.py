"""From feature map to scores a device is asked one thing only: how many instances each image has."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mlsgm_pyg import kernels, regions
from tests.models.test_ml_sgm import make, make_feature


class Waits(TorchDispatchMode):
    """Notes every operation whose result has a size, or whose value goes to Python, that only the device knows."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tags = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags)
        if func is torch.ops.aten.index.Tensor:
            tags = {i for i in args[1] if i is not None and i.dtype == torch.bool}
        if func is torch.ops.aten.repeat_interleave.Tensor:
            tags = tags if kwargs.get('output_size') is None else set()
        if tags or func is torch.ops.aten._local_scalar_dense.default:
            self.found.append(str(func))
        return func(*args, **kwargs)


def test_the_reading_of_waits():
    x = torch.arange(3)
    for act in (lambda: x[x > 1], lambda: x.nonzero(), lambda: x.sum().item(), lambda: x.repeat_interleave(x)):
        with Waits() as waits:
            act()
        assert len(waits.found) == 1
    with Waits() as waits:
        x[x], x.repeat_interleave(x, output_size=3), x.sort()
    assert not waits.found


@pytest.mark.parametrize('options', [{}, {'label_graph': 'knn', 'label_k': 2}, {'pooling': 'sum', 'k': 0}])
def test_nothing_waits_but_the_number_of_instances(options, monkeypatch):
    monkeypatch.setattr(kernels, 'find', lambda name, device: None)  # As on a device without compiled kernels,
    monkeypatch.setattr(regions, 'largest_segment_skimage', regions.largest_segment_torch)  # where boxes stay, too.
    model, feature, read = make(**options).train(), make_feature(), []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, 'tolist', lambda self: read.append(self) or tolist(self))
    with Waits() as waits:
        out = model.head(feature)
        (out.logits.sum() + out.csac_logits.sum()).backward()
    assert not waits.found
    assert len(read) == 1 and torch.equal(read[0], out.instances.ptr.diff())


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_on_a_gpu():
    model, feature = make().cuda().train(), make_feature().cuda()
    expected = make().head(feature.cpu()).logits
    model.head(feature).logits.sum().backward()  # The label graph is moved once.
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with pytest.warns(UserWarning, match='synchronizing CUDA operation') as waits:
            out = model.head(feature)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert len(waits) == 1
    torch.testing.assert_close(out.logits.cpu(), expected, rtol=1e-8, atol=1e-8)

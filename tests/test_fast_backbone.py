"""Backbones through ONNX Runtime: the maps are torch's, or it says in one line why not."""

import multiprocessing
import threading

import pytest
import torch
from torch.testing import assert_close

from mlsgm_pyg import fast_backbone
from mlsgm_pyg.backbone import Backbone, build_backbone

pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')


@pytest.fixture
def backbone():
    return Backbone('small', torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=4), torch.nn.BatchNorm2d(4)), 4)


def images(number, size):
    return torch.randint(0, 256, (number, 3, size, size), dtype=torch.uint8)


@pytest.mark.parametrize(
    'name',
    [
        'efficientnet_lite0',
        pytest.param('resnet18', marks=pytest.mark.slow),
        pytest.param('timm/vit_tiny_patch16_224', marks=pytest.mark.slow),
        pytest.param('timm/convnext_atto', marks=pytest.mark.slow),
    ],
)
def test_its_maps_are_torchs(name):
    if name != 'resnet18':
        pytest.importorskip('timm')
    size = 224 if 'vit' in name else 64
    backbone = build_backbone(name, 'none').freeze()
    engine, image = fast_backbone.OnnxBackbone(backbone, [size]), images(3, size)
    with torch.no_grad():
        expected = backbone(image)
    off = (engine(image) - expected).abs().max() / expected.abs().max()
    assert off < 1e-4 and engine.difference < 1e-4


def test_a_batch_equals_its_images_one_by_one_on_any_number_of_threads(backbone, monkeypatch):
    engine, image = fast_backbone.OnnxBackbone(backbone, [16, 20]), images(5, 20)
    alone = torch.cat([engine(one[None]) for one in image])
    for threads in (1, 2, 9):
        monkeypatch.setattr(torch, 'get_num_threads', lambda threads=threads: threads)
        assert torch.equal(engine(image), alone)
    assert engine(images(1, 16)).shape == (1, 4, 4, 4)


def test_it_leaves_the_backbone_as_it_was_and_does_not_follow_it(backbone):
    engine, image = fast_backbone.OnnxBackbone(backbone, [16]), images(2, 16)
    assert backbone.training and backbone.body[1].num_batches_tracked == 0
    before = engine(image)
    with torch.no_grad():
        backbone.body[0].weight += 1
    assert torch.equal(engine(image), before)


def test_torchs_own_form_takes_fewer_images_too(backbone):
    engine = fast_backbone.TorchBackbone(backbone.eval(), 16, 5)
    for image in (images(2, 16), images(5, 16)):
        with torch.no_grad():
            assert_close(engine(image), backbone(image), rtol=1e-5, atol=1e-5)


def test_processes_may_be_forked_beside_it(backbone):
    """Between two calls it has no thread that a fork would lose."""
    there, engine, image = threading.active_count(), fast_backbone.OnnxBackbone(backbone, [16]), images(4, 16)
    before = engine(image)
    process = multiprocessing.get_context('fork').Process(target=engine, args=(image,))
    process.start()
    assert torch.equal(engine(image), before) and threading.active_count() == there
    process.join(60)
    assert process.exitcode == 0


def test_what_pays(backbone):
    assert fast_backbone.find(backbone, [16], fast_backbone.FEWEST - 1) == (None, '')
    engine, told = fast_backbone.find(backbone, [16], fast_backbone.FEWEST)
    assert told == str(engine) == f'ONNX Runtime, within {engine.difference:.0e} of torch'


def test_reasons_in_one_line(backbone, monkeypatch):
    with pytest.raises(ValueError, match='ONNX Runtime takes a backbone in float32 on the CPU'):
        fast_backbone.OnnxBackbone(Backbone('x', torch.nn.Conv2d(3, 4, 1), 4).double(), [16])

    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, image):
            return torch.special.bessel_j0(image) * self.weight

    engine, told = fast_backbone.find(Backbone('odd', Odd(), 3), [16], 100)
    assert engine is None and told.startswith('torch (ONNX Runtime cannot run odd: ') and '\n' not in told

    monkeypatch.setattr(fast_backbone, 'TOLERANCE', -1)
    with pytest.raises(ValueError, match=r"maps of small must be torch's up to -1 of their largest number \(got "):
        fast_backbone.OnnxBackbone(backbone, [16])
    monkeypatch.setattr(fast_backbone, 'find_spec', lambda name: None if name == 'onnxruntime' else name)
    told = "torch (there is no onnxruntime: pip install 'mlsgm_pyg[export]')"
    assert fast_backbone.find(backbone, [16], 100) == (None, told)

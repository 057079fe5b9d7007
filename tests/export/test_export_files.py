"""Files that run elsewhere: written here, run by torch alone in another process and by ONNX Runtime."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from mlsgm_pyg import models
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.export import ABOUT, describe, to_onnx, to_torch_export
from mlsgm_pyg.regions import boxes
from tests.test_regions import maze, spiral

onnxruntime = pytest.importorskip('onnxruntime', reason='needs the extra export')
pytest.importorskip('onnxscript', reason='needs the extra export')

SMALL = {'feature_channels': 12, 'encoder_channels': (16, 8), 'hidden_channels': 16, 'block_channels': (16, 8)}
SMALL |= {'decoder_channels': 8, 'gamma': 0.1}
SIZES = (1, 2, 5, 17)  # Of batches; the program was traced with 2.
RUN = """
import json, sys
import torch
extra = {sys.argv[3]: ''}
program = torch.export.load(sys.argv[1], extra_files=extra).module()
assert 'mlsgm_pyg' not in sys.modules
images = torch.load(sys.argv[2])
torch.save([json.loads(extra[sys.argv[3]]), [program(image) for image in images]], sys.argv[2] + '.out')
"""


def make(num_labels=6, backbone=None, **options):
    backbone = backbone or Backbone('toy', torch.nn.Conv2d(3, 10, 5, stride=4), 10)
    model = models.MLSGM(backbone, torch.randn(num_labels, 5), **{**SMALL, **options}).eval()
    torch.nn.init.normal_(model.csac.classifier.weight, std=0.4)
    return model


def images(size=33, dtype=torch.uint8):
    made = [torch.randint(0, 256, (b, 3, size, size), dtype=torch.uint8) for b in SIZES]
    return made if dtype == torch.uint8 else [image / 255 for image in made]


def assert_same(model, image, got, tolerance=1e-5):
    with torch.no_grad():
        want = model(image)
    torch.testing.assert_close(got['logits'], want.logits, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(got['probabilities'], want.logits.sigmoid(), rtol=tolerance, atol=tolerance)
    if want.instances is not None:
        valid = got['valid']
        assert valid.sum(1).tolist() == want.instances.sizes
        assert torch.equal(got['labels'][valid], want.instances.label)
        torch.testing.assert_close(got['boxes'][valid], want.instances.box, rtol=0, atol=1e-6)
        torch.testing.assert_close(got['scores'][valid], want.instances.score, rtol=tolerance, atol=tolerance)
        for match, best in zip(want.match_logits.split(want.instances.sizes), got['best'], strict=True):
            torch.testing.assert_close(match.gather(0, best[None])[0], match.amax(0), rtol=tolerance, atol=tolerance)


def run_onnx(path, image):
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(torch.from_numpy, session.run(None, {'image': image.numpy()})), strict=True))


@pytest.mark.slow
def test_a_torch_program_runs_in_a_process_without_this_package(tmp_path):
    model, batches = make(), images()
    model.class_names, model.config = list('abcdef'), {'data': {'image_size': 33, 'test_view': 'paper'}}
    told = to_torch_export(model, tmp_path / 'model.pt2')
    torch.save(batches, tmp_path / 'images')
    words = [sys.executable, '-W', 'ignore', '-c', RUN, 'model.pt2', 'images', ABOUT]
    subprocess.run(words, cwd=tmp_path, check=True, timeout=300)
    about, outputs = torch.load(tmp_path / 'images.out')
    assert about == told and about['class_names'] == list('abcdef')
    assert (about['view'], about['image_size'], about['gamma'], about['format_version']) == ('paper', 33, 0.1, 1)
    for image, got in zip(batches, outputs, strict=True):
        assert_same(model, image, got)


@pytest.mark.slow
@pytest.mark.parametrize('options', [{}, {'label_graph': 'knn', 'label_k': 2, 'score': 'average', 'prune_last': False}])
def test_onnx_runtime_gives_the_same(tmp_path, options):
    model, path = make(**options), tmp_path / 'model.onnx'
    dtype = 'float32' if options else 'uint8'
    told = to_onnx(model, path, describe(model, image_size=33, dtype=dtype), opset=18 if options else None)
    for image in images(dtype=getattr(torch, dtype)):  # The model itself lies up to 7e-6 from float64's logits.
        assert_same(model, image, run_onnx(path, image), 5e-5)
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    (given,) = session.get_inputs()
    assert (given.name, given.shape) == ('image', ['batch', 3, 33, 33])
    shapes = {output.name: output.shape for output in session.get_outputs()}
    assert shapes['boxes'] == ['batch', 7, 4] and shapes['best'] == ['batch', 6]
    read = session.get_modelmeta().custom_metadata_map
    assert {key: json.loads(value) for key, value in read.items()} == told
    assert told['outputs'] == list(shapes) and told['class_names'] == list('012345')
    assert list(tmp_path.iterdir()) == [path]  # One file, its weights inside.


@pytest.mark.slow
def test_eighty_labels(tmp_path):
    # At a width of 8, model and program each lie up to 1e-4 from float64's logits, too far for the bound to tell much.
    model = make(80, max_instances=10, encoder_channels=(64,), hidden_channels=64, block_channels=(64, 64))
    about = describe(model, image_size=33)
    to_onnx(model, tmp_path / 'model.onnx', about)
    to_torch_export(model, tmp_path / 'model.pt2', about)
    program = torch.export.load(tmp_path / 'model.pt2').module()
    for image in images()[:3]:
        assert_same(model, image, run_onnx(tmp_path / 'model.onnx', image))
        assert_same(model, image, program(image))


OTHERS = {  # ML-SGM's parts are in the tests above.
    'baseline': {},
    'mlp': {},
    'ml_gcn': {'hidden_channels': 7},
    'add_gcn': {'feature_channels': 8},
    'ssgrl': {'joint_channels': 7, 'map_pooling': 2, 'output_channels': 9},
    'wo_csac': {key: value for key, value in SMALL.items() if key != 'gamma'},
    'ablation': {**SMALL, 'parts': ['csac', 'instance_graph', 'label_graph'], 'gamma': 0.04},
    'ml_sgm': SMALL,
}


@pytest.mark.slow
@pytest.mark.parametrize('name', OTHERS)
def test_other_models_and_one_label(tmp_path, name, monkeypatch):
    monkeypatch.setattr(models, 'build_backbone', lambda *_: Backbone('toy', torch.nn.Conv2d(3, 10, 5, stride=4), 10))
    num_labels = 1 if name == 'ml_sgm' else 4
    labels = {'num_labels': num_labels, 'word_vectors': torch.randn(num_labels, 5), 'co_occurrence': torch.rand(4, 4)}
    model = models.build(name, **labels, **OTHERS[name]).eval()
    about = describe(model, image_size=33)
    to_onnx(model, tmp_path / 'model.onnx', about)
    assert len(about['outputs']) == (7 if name in ('wo_csac', 'ablation', 'ml_sgm') else 2)
    for image in images()[:3]:
        assert_same(model, image, run_onnx(tmp_path / 'model.onnx', image), 1e-4)


@pytest.mark.slow
def test_a_real_backbone(tmp_path):
    from mlsgm_pyg import build_backbone

    model = make(backbone=build_backbone('resnet18', 'none'))
    about = describe(model, image_size=64)
    to_torch_export(model, tmp_path / 'model.pt2', about)
    program = torch.export.load(tmp_path / 'model.pt2').module()
    for image in images(64)[:3]:
        assert_same(model, image, program(image), 1e-4)


class Boxes(torch.nn.Module):
    def forward(self, maps):
        return boxes(maps, backend='torch')


@pytest.mark.slow
@pytest.mark.parametrize('size', [(1, 1), (2, 9), (15, 15)])
def test_exported_segments_are_those_of_scikit_image(tmp_path, size):
    batch = torch.export.Dim('batch', min=1)
    maps = torch.zeros(2, *size)
    program = torch.export.export(Boxes(), (maps,), dynamic_shapes={'maps': {0: batch}})
    torch.onnx.export(
        program, dynamo=True, input_names=['maps'], verbose=False, external_data=False, f=tmp_path / 'boxes.onnx'
    )
    session = onnxruntime.InferenceSession(str(tmp_path / 'boxes.onnx'), providers=['CPUExecutionProvider'])
    density = torch.rand(2000, 1, 1)
    hard = (torch.rand(2000, *size) < density).float()  # From empty to full; many equal segments at 0.2.
    pixel = torch.eye(size[0] * size[1]).view(-1, *size)
    cases = [hard, torch.rand(500, *size), pixel, 1 - pixel, torch.zeros(1, *size), torch.ones(1, *size)]
    if size[0] == size[1] > 1:
        path = spiral(size[0])
        mazes = [maze(size[0] // 2 + 1, size[0] // 2 + 1) for _ in range(20)]
        cases.append(torch.stack([path, path.flip(0), path.T, 1 - path, *mazes]).float())
    for case in cases:
        want = boxes(case, backend='skimage')
        assert torch.equal(program.module()(case), want)
        np.testing.assert_array_equal(session.run(None, {'maps': case.numpy()})[0], want.numpy())


def test_errors(tmp_path, monkeypatch):
    model = make()
    about = describe(model, image_size=33)
    with pytest.raises(ValueError, match=r"'opset' must be in \[18, \d+\] \(got 9\)"):
        to_onnx(model, tmp_path / 'model.onnx', about, opset=9)
    with pytest.raises(ValueError, match=r"'dtype' must be one of uint8, float32 \(got 'float16'\) \(did you mean"):
        describe(model, dtype='float16')
    with pytest.raises(TypeError, match='can be exported: MLSGM'):
        to_torch_export(torch.nn.Conv2d(3, 3, 1), tmp_path / 'model.pt2', about)
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    with pytest.raises(ImportError, match=r"needs the packages onnx and onnxscript.*'mlsgm_pyg\[export\]'"):
        to_onnx(model, tmp_path / 'model.onnx', about)
    assert not list(tmp_path.iterdir())

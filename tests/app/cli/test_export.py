import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import mlsgm_pyg
from mlsgm_pyg.app.cli import export
from mlsgm_pyg.app.prediction import export_check
from mlsgm_pyg.app.prediction.export_check import Found, Pictures, compare, report
from mlsgm_pyg.datasets.views import View
from mlsgm_pyg.export import Exportable
from mlsgm_pyg.exported import Exported


@pytest.fixture
def checkpoint(trained):
    return str(Path(trained['folder']) / 'last.ckpt')


def error_of(words, capsys):
    assert export.main(words) == 2
    told = capsys.readouterr().err
    assert told.count('\n') == 1
    return told


@pytest.fixture(scope='module')
def batch(trained):
    """The model of a tiny run, some of its images, and what its exportable form says of them."""
    model = mlsgm_pyg.load(Path(trained['folder']) / 'last.ckpt')
    image = torch.randint(0, 256, (9, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        return model, image, Exportable(model)(image)


def compared(batch, **changed):
    model, image, got = batch
    found = Found()
    with torch.no_grad():
        compare(model, image, {**got, **changed}, [f'{i}.jpg' for i in range(len(image))], found)
    return found


def test_the_same_answers(batch):
    found = compared(batch)
    assert (found.images, found.labels) == (9, 9 * batch[2]['logits'].size(1))
    assert found.instances == batch[2]['valid'].sum() > 9
    assert max(found.probability, found.box, found.score, found.gap) < 1e-5 and not found.edges


def test_other_numbers_are_told(batch):
    got = batch[2]
    logits, boxes = got['logits'].clone(), got['boxes'].clone()
    logits[3, 1] += 0.25
    boxes[2, 0, 0] += 2e-7
    found = compared(batch, logits=logits, boxes=boxes)
    assert found.logit == pytest.approx(0.25, abs=1e-5) and found.box == pytest.approx(2e-7, rel=0.1)
    assert '2.5e-01' in '\n'.join(report(found, 4))


def test_other_choices_are_named_and_left_out(batch):
    model, _, got = batch
    valid, labels, boxes = got['valid'].clone(), got['labels'].clone(), got['boxes'].clone()
    one = next(i for i in range(9) if valid[i].sum() > 1)
    valid[one, int(valid[one].sum()) - 1] = False  # One instance fewer.
    other = next(i for i in range(9) if i != one and valid[i].sum() > 1)
    boxes[other, 1, 2] += 0.25
    found = compared(batch, valid=valid, labels=labels, boxes=boxes, probabilities=got['probabilities'] + 0.5)
    assert sorted(edge.name for edge in found.edges) == sorted([f'{one}.jpg', f'{other}.jpg'])
    instance, box = sorted(found.edges, key=lambda edge: edge.name != f'{one}.jpg')
    last = got['scores'][one][got['valid'][one]][-1].item()
    assert instance.what.startswith('other instances') and instance.probability == pytest.approx(0.5)
    assert instance.margin == pytest.approx(last - model.csac.gamma, abs=1e-5)
    with torch.no_grad():
        at = model.maps(model.features(batch[1][other : other + 1]))[0, labels[other, 1]]
    at = at / (0.2 * at.max())
    assert box.what.startswith('another box') and box.margin == pytest.approx((at - 1).abs().min().item(), abs=1e-5)
    assert found.labels == 7 * got['logits'].size(1)
    assert 'left out above   2 of 9' in '\n'.join(report(found, 4))


@pytest.mark.parametrize(
    ('ours', 'theirs', 'margin'),
    [
        ([-1, 2, 0], [-1, 0, 2], 0.1),  # Two change places.
        ([-1, 2, 0], [-1, 2], 0.3),  # One more or less at gamma.
        ([-1, 2], [-1, 2, 1], 0.01),
        ([-1], [3, -1], float('inf')),  # No rounding does that.
    ],
)
def test_how_near_other_instances_are(ours, theirs, margin):
    score = torch.tensor([0.5, 0.19, 0.6, float('inf')])
    assert export_check._other_instances(score, 0.2, ours, theirs)[1] == pytest.approx(margin, abs=1e-6)


def test_a_program_that_is_wrong_fails(batch, capsys, monkeypatch, tmp_path):
    model, image, got = batch
    pictures = Pictures(['x.jpg'], lambda i: Image.new('RGB', (40, 30), (90, 20, 200)))
    program = Exportable(model)

    class Engine(Exported):
        view, about = View('resize', (32,)), {'input': {'dtype': 'uint8'}}
        path, class_names = 'x.pt2', model.class_names

        def __init__(self, off):
            self.off = off

        def run(self, image):
            out = program(torch.from_numpy(image))
            return {
                name: value.numpy()
                for name, value in (out | {'probabilities': out['probabilities'] + self.off}).items()
            }

    for off, status in ((0, 0), (0.01, 1)):
        monkeypatch.setattr(export_check, 'open_engine', lambda path, off=off: Engine(off))
        assert export_check.check(model, tmp_path, pictures, 4) == status
    assert 'probabilities    1.0e-02' in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['torch_export', 'onnx'])
def test_the_command(checkpoint, kind, tmp_path, monkeypatch, capsys):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    monkeypatch.chdir(tmp_path)
    if kind == 'onnx':
        for i in range(3):
            Image.new('RGB', (50 + i, 30), (i * 60, 200, 10)).save(tmp_path / f'{i}.png')
        words = ['*.png']
    else:
        words = ['5']  # Of the images that the run was evaluated on.
    assert export.main([checkpoint, '--format', kind, '--check', *words, '--batch-size', '2']) == 0
    told = capsys.readouterr().out
    name = {'torch_export': 'last.pt2', 'onnx': 'last.onnx'}[kind]
    assert (tmp_path / name).is_file() and not list(tmp_path.glob('.*'))
    assert (
        told.startswith(f'{Path(name).absolute()}: MLSGM, 10 labels')
        and 'image [batch, 3, 32, 32], uint8 in [0, 255]' in told
    )
    assert f'checked on {3 if kind == "onnx" else 5} pictures, 2 at a time' in told


def test_errors(checkpoint, tmp_path, monkeypatch, capsys):
    onnx = [checkpoint, '--format', 'onnx', '--out', str(tmp_path / 'x.onnx')]
    assert 'there is no checkpoint' in error_of([str(tmp_path / 'no.ckpt'), '--format', 'onnx'], capsys)
    (tmp_path / 'bad.ckpt').write_bytes(b'nothing')
    assert 'not a readable checkpoint' in error_of([str(tmp_path / 'bad.ckpt'), '--format', 'onnx'], capsys)
    assert "'opset' must be in [18," in error_of([*onnx, '--opset', '3'], capsys)
    assert "'dtype' must be one of uint8, float32 (got 'half')" in error_of([*onnx, '--dtype', 'half'], capsys)
    assert "there is no picture in '" in error_of([*onnx, '--check', str(tmp_path / '*.gif')], capsys)
    assert 'takes one number of pictures, at least 1 (got 3 4)' in error_of([*onnx, '--check', '3', '4'], capsys)
    with monkeypatch.context() as patch:
        patch.setattr(mlsgm_pyg, 'load', lambda path: pytest.fail('the model is loaded'))
        for out, told in [
            (tmp_path / 'bad.ckpt' / 'x.onnx', f"'{tmp_path / 'bad.ckpt'}': Not a directory"),
            ('/proc/nowhere/x.onnx', "cannot write '/proc/nowhere/x.onnx': '/proc/nowhere': No such file or directory"),
        ]:
            assert told in error_of([checkpoint, '--format', 'onnx', '--out', str(out)], capsys)
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    assert "pip install 'mlsgm_pyg[export]'" in error_of([*onnx, '--check', '3'], capsys)
    monkeypatch.setitem(sys.modules, 'onnx', None)
    assert "(there is no 'onnx'): pip install" in error_of(onnx, capsys)
    assert not list(tmp_path.glob('*.onnx'))


@pytest.mark.parametrize(
    ('words', 'told'),
    [
        (['--format', 'tflite'], "invalid choice: 'tflite'"),
        (['--format', 'onnx', '--out', 'x.pt2'], "--out must end in .onnx for onnx (got 'x.pt2')"),
        (['--format', 'torch_export', '--opset', '18'], '--opset is for --format onnx (got torch_export)'),
        (['--format', 'onnx', '--batch-size', '0'], '--batch-size must be at least 1 (got 0)'),
    ],
)
def test_wrong_words(words, told, capsys):
    with pytest.raises(SystemExit):
        export.main(['x.ckpt', *words])
    assert told in capsys.readouterr().err

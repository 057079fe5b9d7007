"""What the page shows: probabilities and thresholds in words, pictures inside, nothing that a name could smuggle in."""

import base64
import io
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

import mlsgm_pyg
from mlsgm_pyg import models
from mlsgm_pyg.app.web.viewer import SIDE, Viewer
from mlsgm_pyg.app.web.views import bars, drop, show
from mlsgm_pyg.decisions import Decision, Decisions


@pytest.fixture(scope='module')
def viewer(trained):
    with Viewer(mlsgm_pyg.load(Path(trained['folder']) / 'last.ckpt')) as viewer:
        yield viewer


@pytest.fixture
def picture(tmp_path):
    Image.effect_noise((60, 40), 90).convert('RGB').save(tmp_path / 'a <b>.png')
    return tmp_path / 'a <b>.png'


def images(html):
    data = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    assert len(data) == html.count('<img') == html.count(' alt="')
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in data]


def test_a_picture_is_shown(viewer, picture):
    shown = drop(viewer, picture, None, 0.0, 0.0)
    assert shown.seen.name == 'a <b>.png' and 'a &lt;b&gt;.png: 60 x 40 pixels, 5 instances (backbone' in shown.status
    found = viewer.find(shown.seen, 0.0, 0.0)
    for label, p in zip(found.labels, found.probabilities):
        assert f'<span>{label}</span> <b>{100 * p:.1f} %</b>' in shown.labels
    boxes, *maps = images(shown.figures)
    assert max(boxes.size) == SIDE and len(maps) == 5  # Five labels are drawn at most.
    assert shown.figures.count('<svg') == 1 and shown.figures.count('<image href="data:image/jpeg;base64,') == 1
    assert 'Assignment graph' in shown.figures and 'Activation maps' in shown.figures


def test_a_turned_picture_has_the_size_that_is_shown(viewer, picture):
    seen = viewer.look(picture)
    assert '60 x 40 pixels' in show(viewer, seen, None, 0.5).status
    assert '40 x 60 pixels' in show(viewer, seen._replace(orientation=6), None, 0.5).status


def test_the_threshold_decides_what_is_found(viewer, picture):
    seen = viewer.look(picture)
    p = viewer.find(seen, 0.0, 0.0).probabilities
    for threshold, number in ((p[1], 2), (p[0], 1), (1.0, 0)):
        shown = show(viewer, seen, 0.0, threshold)
        assert shown.labels.count('class="found"') == number
        assert len(images(shown.figures)) == number + 1 and '<svg' in shown.figures  # A map each, beside boxes.
        assert ('no label reaches the threshold' in shown.figures) == (number == 0)
    assert show(viewer, seen, 0.99, 0.5).status.count('1 instance (') == 1
    assert "'gamma' must be in [0, 1] (got 7)" in show(viewer, seen, 7, 0.5).status.unescape()


def test_a_model_without_instances(picture):
    model = models.build('baseline', num_labels=14, backbone='resnet18', weights='none').eval()
    model.config = {'data': {'image_size': 64}}
    shown = drop(Viewer(model), picture, None, None, 0.0)
    assert len(images(shown.figures)) == 6 and 'Assignment graph' not in shown.figures
    assert 'this model finds no boxes' in shown.figures and 'and 2 less probable labels' in shown.labels


def test_names_are_text(viewer, picture, monkeypatch):
    evil = '<img src=x onerror=alert(1)>"'
    monkeypatch.setattr(viewer.engine, 'class_names', [f'{evil}{i}' for i in range(10)])
    shown = drop(viewer, picture, None, 0.0, 0.0)
    assert evil not in shown.labels + shown.figures and shown.labels.count('&lt;img src=x') == 10
    found = viewer.find(shown.seen, None, 0.0)
    assert re.fullmatch(r'<ol class="labels"><li .*;--t:0.00%".*</ol>', bars(found, dict.fromkeys(found.every, 0.0)))


def test_at_zero_the_fitted_thresholds_decide(viewer, picture, monkeypatch):
    seen = viewer.look(picture)
    found = viewer.find(seen, 0.0, 0.0)
    first, last = found.labels[0], found.labels[-1]  # The least probable one is kept, and no other.
    classes = {name: Decision(float(name != last), 50, False, (None,) * 50) for name in found.labels}
    monkeypatch.setattr(viewer.engine, 'decisions', Decisions(1.0, classes, classes[last]), raising=False)
    monkeypatch.setattr(viewer, 'is_fitted', True)
    shown = show(viewer, seen, 0.0, 0.0)
    assert re.findall(r'<li class="found"[^>]*><span>([^<]*)', shown.labels) == [last]
    assert shown.labels.index(f'<span>{last}<') < shown.labels.index(f'<span>{first}<')
    assert len(images(shown.figures)) == 2
    assert show(viewer, seen, 0.0, found.probabilities[0]).labels.count('class="found"') == 1


def test_what_cannot_be_shown_leaves_the_picture_before(viewer, picture, tmp_path, monkeypatch):
    assert 'Drop a picture first' in show(viewer, None, 0.5, 0.5).status
    before = viewer.look(picture)
    (tmp_path / 'x.jpg').touch()
    shown = drop(viewer, tmp_path / 'x.jpg', before, 0.5, 0.5)
    assert shown == (before, shown.status, None, None)
    assert 'cannot show x.jpg: the file is empty; a &lt;b&gt;.png is still shown' in shown.status

    def fails(path):
        raise torch.OutOfMemoryError('CUDA out of memory')

    monkeypatch.setattr(viewer, 'look', fails)
    assert 'there is not enough memory for this picture' in drop(viewer, picture, None, 0.5, 0.5).status


def test_an_exported_file_has_boxes_alone(colours, picture):
    with Viewer(colours) as viewer:
        shown = drop(viewer, picture, None, None, 0.0)
    assert viewer.gamma is None and shown.labels.count('<li') == 3 and '2 instances' in shown.status
    assert 'Boxes of' in shown.figures and 'Activation map' not in shown.figures and 'graph' not in shown.figures

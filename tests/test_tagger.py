"""What predict says of a picture is what the model's own output says, in the picture's own pixels."""

import copy
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor

from mlsgm_pyg import models
from mlsgm_pyg.datasets import ImageError, build_view, read_image
from mlsgm_pyg.decisions import Decision, Decisions
from mlsgm_pyg.scoring import has_maps

NAMES = ['cat', 'dog', 'traffic light', 'zebra']
SIZES = [(90, 60), (64, 64), (40, 100)]


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    options = {'backbone': 'resnet18', 'weights': 'none', 'last_stride': 1, 'feature_channels': 16, 'gamma': 0.02}
    options |= {'max_instances': 3, 'hidden_channels': 8, 'decoder_channels': 8}
    options |= {'encoder_channels': (8,), 'block_channels': (8, 8)}
    model = models.build('ml_sgm', num_labels=4, word_vectors=torch.randn(4, 5), **options)
    torch.nn.init.normal_(model.csac.classifier.weight, std=0.3)  # Maps that differ from place to place.
    model.class_names = NAMES
    model.config = {'data': {'test_view': 'resize', 'image_size': 64, 'test_sizes': []}}
    return model.eval()


@pytest.fixture(scope='module')
def baseline():
    torch.manual_seed(0)
    return models.build('baseline', num_labels=4, backbone='resnet18', weights='none').eval()


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Three pictures; the second is stored on its side."""
    folder, rng = tmp_path_factory.mktemp('pictures'), np.random.default_rng(0)
    for i, (width, height) in enumerate(SIZES):
        exif = Image.Exif()
        exif[0x0112] = 6 if i == 2 else 1
        small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        small.resize((width, height)).save(folder / f'{i} ü.png', exif=exif)
    return [folder / f'{i} ü.png' for i in range(3)]


def test_it_says_what_the_output_says(model, files):
    for found, file, size in zip(model.predict(files, threshold=0.0), files, SIZES):
        image = read_image(file)
        with torch.no_grad():
            out = model(build_view('resize', 64)(pil_to_tensor(image))[None])
        p = out.logits[0].sigmoid()
        assert len(out.instances.label) > 2 and found.size == size  # There is something to choose from.
        assert found.labels == [NAMES[i] for i in sorted(range(4), key=lambda i: -p[i])]
        assert found.probabilities == pytest.approx(sorted(p.tolist(), reverse=True), abs=1e-5)
        assert [i.label for i in found.instances] == [None] + [NAMES[i] for i in out.instances.label[1:]]
        assert [i.score for i in found.instances] == pytest.approx(out.instances.score.tolist(), abs=1e-5)
        for name, best, box in zip(found.labels, found.best, found.boxes):
            scores = out.match_logits[:, NAMES.index(name)].tolist()
            assert best == scores.index(max(scores)) and box == found.instances[best].box
        for instance, (x, y, w, h) in zip(found.instances, out.instances.box.tolist()):
            if found.orientation == 6:  # Stored on its side: upright (x, y) is (y, 1 - x - w) there.
                x, y, w, h = y, 1 - x - w, h, w
            assert instance.box == pytest.approx([x * size[0], y * size[1], w * size[0], h * size[1]], abs=1e-3)


def test_batches_change_nothing(model, files):
    one_by_one = [model.predict(file)[0] for file in files]
    for together in (model.predict(files), model.predict(files, batch_size=2)):
        for a, b in zip(one_by_one, together, strict=True):
            assert (a.labels, a.best, a.size) == (b.labels, b.best, b.size)
            assert a.probabilities == pytest.approx(b.probabilities, abs=1e-5)
    assert model.predict([]) == []


def test_pictures_of_every_kind(model, files):
    image = read_image(files[0])
    pixels = np.asarray(image)
    tensor = pil_to_tensor(image)
    first = model.predict(files[0])[0]
    for images in (image, [pixels], str(files[0]), tensor, tensor[None], pixels[None], tensor / 255, iter([image])):
        found = model.predict(images)
        assert len(found) == 1 and found[0] == first
    assert len(model.predict(torch.stack([tensor, tensor]))) == 2


def test_upright_boxes(model, files):
    stored, upright = model.predict(files[2])[0], model.predict(files[2], upright=True)[0]
    assert stored.orientation == upright.orientation == 6
    assert stored.size == (40, 100) and upright.size == (100, 40)
    for a, b in zip(stored.instances, upright.instances, strict=True):
        x, y, w, h = b.box
        assert a.box == pytest.approx((y, 100 - x - w, h, w))


def test_top_k_and_threshold(model, files):
    everything = model.predict(files[0], threshold=0.0)[0]
    assert model.predict(files[0], top_k=2, threshold=0.0)[0].labels == everything.labels[:2]
    least = everything.probabilities[2]
    found = model.predict(files[0], threshold=least)[0]
    assert found.labels == everything.labels[:3] and found.boxes == everything.boxes[:3]
    assert found.instances == everything.instances
    nothing = model.predict(files[0], threshold=1.0)[0]
    assert nothing.labels == nothing.boxes == [] and nothing.instances
    assert nothing.every == everything.every == {name: everything.every[name] for name in NAMES}
    half = model.predict(files[0])[0]  # Without fitted decisions.
    assert half.labels == [name for name, p in zip(everything.labels, everything.probabilities) if p >= 0.5]


def decided(threshold, precise=None, pooled=False):
    return Decision(threshold, 50, pooled, (precise,) * 50)


def test_fitted_thresholds_decide_and_the_temperature_calibrates(model, files, monkeypatch):
    raw = model.predict(files[0], threshold=0.0)[0].every
    p = {name: 1 / (1 + (1 / value - 1) ** 0.5) for name, value in raw.items()}  # At temperature 2.
    a, b, c, d = sorted(NAMES, key=p.get)
    classes = {a: decided(p[a] - 1e-4), b: decided(p[b] + 1e-4), c: decided(0.99, p[c] - 1e-4), d: decided(1.0)}
    monkeypatch.setattr(model, 'decisions', Decisions(2.0, classes, decided(p[d] - 1e-4)), raising=False)
    found = model.predict(files[0])[0]
    assert found.labels == [a] and found.every == pytest.approx(p, abs=1e-5)
    assert model.predict(files[0], threshold=p[b] - 1e-4)[0].labels == [d, c, b]
    assert model.predict(files[0], min_precision=0.9)[0].labels == [c]
    words = model.word_vectors[[NAMES.index(name) for name in (d, d, a)]]
    asked = model.with_labels([d, 'never trained', a.upper()], words)  # It has the score of the nearest trained one.
    assert asked.predict(files[0])[0].labels == ['never trained', a.upper()]
    told = r"either 'threshold' or 'min_precision' says which labels are kept \(got both\)"
    with pytest.raises(ValueError, match=told):
        model.predict(files[0], threshold=0.5, min_precision=0.9)
    with pytest.raises(ValueError, match=r"'min_precision' must be in \[0.5, 0.99\] \(got 9\)"):
        model.predict(files[0], min_precision=9)


def test_the_baseline_has_no_boxes(baseline, files):
    found = baseline.predict(files[:2], top_k=2, image_size=64, maps=True, threshold=0.0)
    for one in found:
        assert one.best == one.boxes == [None, None] and one.instances == []
        assert set(one.labels) <= {'0', '1', '2', '3'} and one.maps.shape == (2, 2, 2)
    with torch.no_grad():
        feature = baseline.features(torch.rand(2, 3, 64, 64))
        logits = baseline.head(feature).logits
    torch.testing.assert_close(baseline.maps(feature).logit().mean((2, 3)), logits, rtol=1e-3, atol=1e-3)


def test_maps_go_with_the_labels(model, files):
    found = model.predict(files[0], top_k=3, maps=True, threshold=0.0)[0]
    with torch.no_grad():
        feature = model.features(build_view('resize', 64)(pil_to_tensor(read_image(files[0])))[None])
        maps = model.csac(feature).maps[0].sigmoid()
    expected = torch.stack([maps[NAMES.index(name)] for name in found.labels])
    torch.testing.assert_close(found.maps, expected, rtol=1e-4, atol=1e-5)
    assert model.predict(files[0], threshold=0.0)[0].maps is None


def test_the_view_comes_from_the_config(model, files, monkeypatch):
    paper = model.predict(files[0], view='paper', image_size=64, threshold=0.0)[0]
    monkeypatch.setattr(model, 'config', {'data': {'test_view': 'paper', 'image_size': 64}})
    assert model.predict(files[0], threshold=0.0)[0] == paper
    large = round(64 * 640 / 448)
    start, side = round((large - 64) / 2) / large, 64 / large
    whole = [start * 90, start * 60, side * 90, side * 60]  # The window that it sees is its whole image.
    assert paper.instances[0].box == pytest.approx(whole)

    monkeypatch.setattr(model, 'config', {'data': {'test_view': 'resize', 'image_size': 64, 'test_sizes': [64, 96]}})
    both = model.predict(files[0], threshold=0.0)[0]
    of = [model.predict(files[0], image_size=size, threshold=0.0)[0] for size in (64, 96)]
    p = [dict(zip(one.labels, one.probabilities)) for one in of]
    mean = {name: (p[0][name] + p[1][name]) / 2 for name in NAMES}
    assert dict(zip(both.labels, both.probabilities)) == pytest.approx(mean, abs=1e-5)
    assert both.instances == of[0].instances


def test_broken_files(model, files, tmp_path):
    broken = tmp_path / 'broken.jpg'
    broken.write_text('no image')
    with pytest.raises(ImageError, match=r"cannot read image, '.*broken\.jpg'"):
        model.predict([files[0], broken])
    found = model.predict([files[0], broken, files[1]], on_error='keep')
    assert [one.error is None for one in found] == [True, False, True]
    assert found[1].labels == [] and found[1].error.startswith('not an image')
    assert found[2].labels == model.predict(files[1])[0].labels
    assert model.predict(broken, on_error='keep')[0].error
    with pytest.raises(ImageError, match='90 x 60 pixels are more than the 1,000'):
        model.predict(files[0], max_pixels=1000)


def test_the_mode_is_left_as_it_was(model, files):
    model.train()
    model.predict(files[0])
    assert model.training and model.csac.training
    model.eval()
    model.predict(files[0])
    assert not model.training


def test_errors(model, files):
    with pytest.raises(ValueError, match="'min_precision' needs a model with fitted thresholds .* this one has none"):
        model.predict(files, min_precision=0.9)
    with pytest.raises(ValueError, match=r"'top_k' must be at least 1 \(got 0\)"):
        model.predict(files, top_k=0)
    with pytest.raises(ValueError, match=r"'threshold' must be a probability in \[0, 1\] \(got 50\)"):
        model.predict(files, threshold=50)
    with pytest.raises(ValueError, match=r"'view' must be one of resize, .* \(got 'train'\)"):
        model.predict(files, view='train')
    with pytest.raises(ValueError, match=r"'image_size' must be a positive number of pixels \(got 0\)"):
        model.predict(files, image_size=0)
    with pytest.raises(ValueError, match=r"'batch_size' must be at least 1 \(got 0\)"):
        model.predict(files, batch_size=0)
    with pytest.raises(ValueError, match=r"'on_error' must be one of raise, keep \(got 'skip'\)"):
        model.predict(files, on_error='skip')
    with pytest.raises(ValueError, match=r"'top_k' must be a whole number \(got 1\.5\)"):
        model.predict(files, top_k=1.5)
    assert len(model.predict(files[0], top_k=np.int64(2), threshold=0.0)[0].labels) == 2
    for images, got in [(None, 'NoneType'), (3, 'int'), (torch.nn.Linear(1, 1), 'Linear')]:
        kinds = 'a path, the bytes of a file, a Pillow image, an array or a tensor'
        told = f"'images' must be {kinds}, or a sequence of these (got {got})"
        with pytest.raises(TypeError, match=f'^{re.escape(told)}$'):
            model.predict(images)
    with pytest.raises(TypeError, match=r'an image must be a path, .* \(got NoneType\)'):
        model.predict([None])


@pytest.mark.parametrize('shape', [(3, 0, 0), (1, 3, 0, 5), (0, 0, 3), (4, 0)])
def test_a_picture_without_pixels(model, shape):
    for empty in (torch.zeros(shape), np.zeros(shape)):
        told = f'a picture must have pixels (got an empty one of shape {list(shape[-3:])})'
        with pytest.raises(ValueError, match=f'^{re.escape(told)}$'):
            model.predict(empty)
    assert model.predict(torch.zeros(0, 3, 8, 8)) == model.predict([]) == []  # No picture is none too few.


def test_other_labels_need_a_model_of_words(baseline):
    with pytest.raises(ValueError, match=r'such as ml_sgm: a PooledLinear has weights for each of'):
        baseline.predict('x.jpg', labels=['cat'])

    class Other(type(baseline)):
        """Not one of ours."""

    baseline.__class__ = Other
    with pytest.raises(ValueError, match=r'such as ml_sgm: a Other has weights'):
        baseline.with_labels(['cat'])


def test_the_edges_of_the_graph(model, files):
    """Instance-label scores as the model's own output has them, kNN edges by a slow loop over the boxes."""
    for path, found in zip(files, model.predict(files, graph=True, upright=True, threshold=0.0)):
        image = pil_to_tensor(read_image(path))
        with torch.no_grad():
            out = model(build_view('resize', 64)(image)[None])
        order = [NAMES.index(label) for label in found.labels]
        torch.testing.assert_close(found.match, out.match_logits.sigmoid()[:, order])
        assert [found.match[:, i].argmax() for i in range(4)] == found.best
        centres = [((x + w / 2) / found.size[0], (y + h / 2) / found.size[1]) for x, y, w, h in out_boxes(found)]
        expected = []
        for i, (x, y) in enumerate(centres):
            others = [(round((x - u) ** 2 + (y - v) ** 2, 9), j) for j, (u, v) in enumerate(centres) if j != i]
            expected += [(j, i) for _, j in sorted(others)[:3]]
        assert list(map(tuple, found.near.t().tolist())) == expected
    assert model.predict(files[0], threshold=0.0)[0].match is None


def out_boxes(found):
    return [one.box for one in found.instances]


def test_a_baseline_has_no_graph(baseline, files):
    found = baseline.predict(files[0], graph=True, image_size=64)[0]
    assert found.match is None and found.near is None


NARROW = {'feature_channels': 8, 'hidden_channels': 8, 'encoder_channels': [8], 'block_channels': [8, 8]}
NARROW |= {'decoder_channels': 8}
OTHERS = {  # Options, instances, whether there are maps and kNN edges.
    'baseline': ({}, 0, True, False),
    'mlp': ({}, 0, True, False),
    'ml_gcn': ({'hidden_channels': 8}, 0, True, False),
    'add_gcn': ({}, 0, True, False),
    'wo_csac': ({**NARROW, 'grid': 2}, 5, False, True),
    'ablation-csac': ({**NARROW, 'parts': ['csac'], 'gamma': 0.0, 'max_instances': 3}, 4, True, False),
    'ablation-instance_graph': ({**NARROW, 'parts': ['instance_graph'], 'grid': 2}, 5, False, True),
}


@pytest.mark.parametrize('name', OTHERS)
def test_every_model_is_looked_at_with_what_it_has(name):
    options, instances, maps, near = OTHERS[name]
    given = {'word_vectors': torch.randn(4, 6), 'co_occurrence': torch.full((4, 4), 0.3)}
    given |= {'backbone': 'resnet18', 'weights': 'none'}
    model = models.build(name.partition('-')[0], num_labels=4, **given, **options).eval()
    assert has_maps(model) == maps
    images = [Image.new('RGB', (40, 30), colour) for colour in ('teal', 'red', 'navy')]
    for found in model.predict(images, maps=maps, graph=True, image_size=64, threshold=0.0):
        assert len(found.labels) == 4 and len(found.instances) == instances
        assert (found.maps is not None) == maps and (found.near is not None) == near
        assert (found.match is not None) == (instances > 0)


def test_other_labels_bring_their_graph_and_maps(model, files):
    """The edges of the graph were dropped where labels were asked for."""
    ordinary = model.predict(files[0], graph=True, maps=True, threshold=0.0)[0]
    found = model.predict(files[0], labels=['zebra', 'cat'], graph=True, maps=True, threshold=0.0)[0]
    assert found.match.shape == (len(found.instances), 2) and found.maps.shape == (2, 4, 4)
    assert torch.equal(found.near, ordinary.near)
    for name, column in zip(found.labels, found.match.T):
        torch.testing.assert_close(column, ordinary.match[:, ordinary.labels.index(name)])


def test_every_part_stays_in_the_mode_that_it_was_in(model, files):
    """Someone may hold a part in evaluation mode; predict used to set it training."""
    trained = copy.deepcopy(model).train()
    trained.backbone.body.bn1.eval()
    trained.ilms.decoder.eval()
    modes = {name: module.training for name, module in trained.named_modules()}
    assert len(set(modes.values())) == 2
    trained.predict(files[:1])
    assert {name: module.training for name, module in trained.named_modules()} == modes
    with pytest.raises(ImageError):
        trained.predict(['no such file.png'])
    assert {name: module.training for name, module in trained.named_modules()} == modes

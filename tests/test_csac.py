import math

import pytest
import torch
from torch.testing import assert_close

from mlsgm_pyg.csac import CSAC, CSACOutput, Instances
from mlsgm_pyg.nn.reduction import Reduction, Unreduced
from mlsgm_pyg.regions import boxes

POOLINGS = ['mean', 'sum']


def slow_select(csac, feature, maps, logits):
    """The definition, image by image and class by class."""
    out = []
    for i in range(feature.size(0)):
        score = logits[i].sigmoid()
        ranked = sorted(range(csac.num_labels), key=lambda c: (-score[c].item(), c))
        chosen = [c for c in ranked if score[c] > csac.gamma][: csac.max_instances]
        for c in [-1, *chosen]:
            a_map = torch.ones_like(maps[i, 0]) if c < 0 else maps[i, c].sigmoid()
            x = sum(a_map[k, m] * feature[i, :, k, m] for k in range(a_map.size(0)) for m in range(a_map.size(1)))
            x = x / a_map.sum() if csac.pooling == 'mean' else x
            box = torch.tensor([0.0, 0.0, 1.0, 1.0]) if c < 0 else boxes(a_map[None])[0]
            out.append((x, box, c, 1.0 if c < 0 else score[c].item(), i))
    return out


@pytest.fixture
def feature():
    return torch.randn(4, 6, 5, 3)


def make(gamma=0.3, **options):
    """A CSAC of 7 classes with maps that differ, so that some classes pass gamma and some do not."""
    csac = CSAC(6, 7, None, gamma=gamma, prior=0.1, **options)
    torch.nn.init.normal_(csac.classifier.weight, std=0.4)
    return csac


def test_forward_equals_the_definition(feature):
    csac = make()
    expected = "CSAC(6, 7, out_channels=6, gamma=0.3, max_instances=10, pooling='mean', score_pooling='max')"
    assert str(csac) == expected
    out = csac(feature)
    assert isinstance(out, CSACOutput)
    weight, bias = csac.classifier.weight.flatten(1), csac.classifier.bias
    assert_close(out.maps, torch.einsum('cd,bdhw->bchw', weight, feature) + bias.view(1, -1, 1, 1))
    assert_close(out.logits, out.maps.amax((2, 3)), rtol=0, atol=0)

    p = make(score_pooling='avg').double()
    out = p(feature.double())
    assert_close(out.logits.sigmoid(), out.maps.sigmoid().mean((2, 3)))

    p = make(score_pooling='lse').double()
    out = p(feature.double())
    assert_close(out.logits, out.maps.exp().mean((2, 3)).log())
    assert (out.logits < out.maps.amax((2, 3))).all()
    assert (out.logits > out.maps.mean((2, 3))).all()

    p = make(score_pooling='gap').double()
    out = p(feature.double())
    linear = p.classifier(feature.double().mean((2, 3), keepdim=True)).flatten(1)
    assert_close(out.logits, linear)  # The paper's baseline.
    assert_close(out.logits, out.maps.mean((2, 3)))


@pytest.mark.parametrize('score_pooling', ['max', 'avg', 'lse', 'gap'])
def test_scores_are_stable_and_agree_on_a_flat_map(score_pooling):
    csac = CSAC(1, 3, None, score_pooling=score_pooling)
    torch.nn.init.zeros_(csac.classifier.weight)
    csac.classifier.bias.data = torch.tensor([-200.0, 0.5, 200.0])
    out = csac(torch.randn(2, 1, 4, 5))
    assert_close(out.logits, torch.tensor([[-200.0, 0.5, 200.0]] * 2))
    out.logits.sum().backward()
    assert_close(csac.classifier.bias.grad, torch.full((3,), 2.0))


def test_the_maximum_sends_its_gradient_to_one_pixel():
    csac, feature = make(), torch.zeros(1, 6, 4, 4)  # All pixels tie.
    out = csac(feature)
    out.maps.retain_grad()
    out.logits.sum().backward()
    assert (out.maps.grad.flatten(2) == 1).sum(2).tolist() == [[1] * 7]
    assert out.maps.grad.sum() == 7


def test_parameters_and_prior():
    csac = CSAC(1024, 20, None)
    assert sum(p.numel() for p in csac.parameters()) == 20_500  # Table VIII's, at C = 20.
    assert_close(csac.classifier.bias.sigmoid(), torch.full((20,), 0.05))
    score = csac(torch.randn(8, 1024, 14, 14)).logits.sigmoid()
    assert (score > 0.2).float().mean() < 0.05  # Few classes pass gamma before training.
    before = csac.classifier.weight.clone()
    csac.reset_parameters()
    assert not torch.equal(csac.classifier.weight, before)
    csac.prior = None  # As any layer of torch's.
    torch.manual_seed(0)
    csac.reset_parameters()
    torch.manual_seed(0)
    assert torch.equal(csac.classifier.weight, torch.nn.Conv2d(1024, 20, 1).weight)


@pytest.mark.parametrize('pooling', POOLINGS)
@pytest.mark.parametrize('max_instances', [0, 2, 10])
@pytest.mark.parametrize('score_pooling', ['max', 'avg'])
def test_select_equals_the_definition(pooling, max_instances, score_pooling, feature):
    csac = make(pooling=pooling, max_instances=max_instances, score_pooling=score_pooling)
    out = csac(feature)
    instances = csac.select(feature, out)
    assert isinstance(instances, Instances)
    x, box, label, score, batch = zip(*slow_select(csac, feature, *out))
    assert_close(instances.x, torch.stack(x))
    assert torch.equal(instances.box, torch.stack(box))
    assert instances.label.tolist() == list(label)
    assert_close(instances.score, torch.tensor(score))
    assert instances.batch.tolist() == list(batch)
    assert instances.ptr.tolist() == [sum(b < i for b in batch) for i in range(5)]
    for name in ('label', 'batch', 'ptr'):
        assert getattr(instances, name).dtype == torch.long
    if score_pooling == 'max' and max_instances == 10:
        assert 4 < len(label) < 4 * 8  # Neither none nor all.


def test_order_limit_and_ties():
    csac = CSAC(1, 5, None, gamma=0.5, max_instances=3)
    feature = torch.ones(3, 1, 1, 2)
    logits = torch.tensor([[1.0, 2.0, 1.0, 0.0, 2.0], [-1, -1, -1, -1, 0], [3, 0.1, 3, 3, 3]])  # 0 is not > gamma.
    maps = logits[:, :, None, None].expand(-1, -1, 1, 2)
    out = csac.select(feature, CSACOutput(maps, logits))
    assert out.label.tolist() == [-1, 1, 4, 0, -1, -1, 0, 2, 3]
    assert out.ptr.tolist() == [0, 4, 5, 9]
    assert out.batch.tolist() == [0] * 4 + [1] + [2] * 4
    assert_close(out.score, torch.tensor([1.0, 2, 2, 1, 1, 1, 3, 3, 3]).sigmoid().where(out.label >= 0, 1.0))


@pytest.mark.parametrize('pooling', POOLINGS)
def test_pooling_by_hand(pooling):
    csac = CSAC(2, 1, None, gamma=0.1, pooling=pooling)
    feature = torch.tensor([[1.0, 2.0, 3.0], [0.0, 4.0, 8.0]]).view(1, 2, 1, 3)
    p = torch.tensor([0.5, 0.25, 0.05]).view(1, 1, 1, 3)  # 0.05 is below a fifth of 0.5.
    out = csac.select(feature, CSACOutput(p.logit(), p.logit().amax((2, 3))))
    total = torch.tensor([[6.0, 12.0], [1.15, 1.4]])
    assert_close(out.x, total if pooling == 'sum' else total / torch.tensor([[3.0], [0.8]]))
    assert_close(out.box, torch.tensor([[0, 0, 1, 1], [0, 0, 2 / 3, 1]]))


@pytest.mark.parametrize('pooling', POOLINGS)
def test_mean_does_not_depend_on_the_resolution(pooling, feature):
    csac = make(pooling=pooling)
    large = feature.repeat_interleave(2, 2).repeat_interleave(2, 3)
    small_out, large_out = (csac.select(f, csac(f)) for f in (feature, large))
    assert_close(large_out.x, small_out.x * (1 if pooling == 'mean' else 4))
    assert_close(large_out.box, small_out.box)
    assert torch.equal(large_out.label, small_out.label)


def test_a_batch_equals_its_images_one_by_one(feature):
    csac = make().double()
    feature = feature.double()
    whole = csac.select(feature, csac(feature))
    parts = [csac.select(f, csac(f)) for f in feature.split(1)]
    for name in ('x', 'box', 'label', 'score'):
        assert_close(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]), rtol=1e-10, atol=1e-10)
    assert whole.ptr.diff().tolist() == [len(part.label) for part in parts]


def test_permuting_classes_permutes_the_instances(feature):
    csac, other, order = make(), make(), torch.randperm(7)
    other.classifier.load_state_dict({k: v[order] for k, v in csac.classifier.state_dict().items()})
    out, expected = (module.select(feature, module(feature)) for module in (other, csac))
    assert torch.equal(torch.where(out.label < 0, -1, order[out.label]), expected.label)
    assert_close(out.x, expected.x)
    assert_close(out.box, expected.box)


@pytest.mark.parametrize('pooling', POOLINGS)
def test_gradients_flow_through_features_and_maps_only(pooling, feature):
    csac = make(pooling=pooling).double()
    feature = feature[:2, :, :3].double().requires_grad_()

    def x(feature, weight):
        maps = torch.einsum('cd,bdhw->bchw', weight, feature) + csac.classifier.bias.view(-1, 1, 1)
        return csac.select(feature, CSACOutput(maps, maps.flatten(2).max(2).values)).x

    weight = csac.classifier.weight.detach().flatten(1).requires_grad_()
    assert torch.autograd.gradcheck(x, (feature, weight))
    out = csac.select(feature, csac(feature))
    assert not any(
        value.requires_grad for name, value in out._asdict().items() if name not in ('x', 'sizes', 'evidence')
    )
    out.x.sum().backward()
    assert csac.classifier.weight.grad.abs().sum() > 0

    # x^0 sees all pixels alike, whatever the maps say.
    alone = make(pooling=pooling, max_instances=0).double()
    feature.grad = None
    alone.select(feature, alone(feature)).x.sum().backward()
    assert_close(feature.grad, torch.full_like(feature, 1 / 9 if pooling == 'mean' else 1))
    assert alone.classifier.weight.grad is None or not alone.classifier.weight.grad.any()


def test_extreme_maps_give_finite_gradients(feature):
    csac = make()
    feature = feature.requires_grad_()
    maps = torch.full((4, 7, 5, 3), -200.0, requires_grad=True)  # sigmoid is 0 in float32.
    out = csac.select(feature, CSACOutput(maps, maps.amax((2, 3)).detach()))
    assert out.label.tolist() == [-1] * 4
    empty = csac.select(feature, CSACOutput(maps, torch.ones(4, 7)))  # Scores that are not those maps' own.
    assert (empty.x[empty.label >= 0] == 0).all()
    (out.x.sum() + empty.x.sum()).backward()
    assert feature.grad.isfinite().all()
    assert maps.grad.isfinite().all()


def test_a_map_with_nan_is_never_selected(feature):
    csac = make()
    maps = torch.full((4, 7, 5, 3), 2.0)
    maps[1, 3, 2, 2] = math.nan
    out = csac.select(feature, CSACOutput(maps, maps.flatten(2).max(2).values))
    assert 3 not in out.label[out.batch == 1]
    assert out.sizes == out.ptr.diff().tolist() == [8, 7, 8, 8]
    assert out.x.isfinite().all()
    assert out.box.isfinite().all()


@pytest.mark.parametrize('shape', [(0, 6, 5, 3), (1, 6, 1, 1)])
def test_small_batches(shape):
    csac = make(gamma=0.0)
    feature = torch.randn(shape)
    out = csac.select(feature, csac(feature))
    assert out.ptr.tolist() == [8 * i for i in range(shape[0] + 1)]
    assert out.sizes == [8] * shape[0]
    assert out.x.shape == (8 * shape[0], 6)
    assert out.box.tolist() == [[0, 0, 1, 1]] * (8 * shape[0])


def test_gamma_of_one_leaves_the_whole_image_alone(feature):
    csac = make(gamma=1.0)
    out = csac.select(feature, csac(feature))
    assert out.label.tolist() == [-1] * 4
    assert out.batch.tolist() == [0, 1, 2, 3]
    assert_close(out.x, feature.mean((2, 3)))


def test_one_class_and_a_channels_last_map():
    csac = CSAC(6, 1, None, gamma=0.0)
    feature = torch.randn(3, 6, 5, 4)
    out = csac.select(feature, csac(feature))
    assert out.label.tolist() == [-1, 0] * 3
    feature = feature.contiguous(memory_format=torch.channels_last)
    for value, expected in zip(csac.select(feature, csac(feature)), out):
        assert_close(value, expected)


def test_autocast(feature):
    csac = make()
    expected = csac.select(feature, csac(feature))
    with torch.autocast('cpu', torch.bfloat16):
        out = csac(feature)
        instances = csac.select(feature, out)
        again = csac.select(feature.bfloat16(), out)
    assert out.maps.dtype == instances.x.dtype == torch.bfloat16
    assert instances.score.dtype == instances.box.dtype == torch.float32
    assert_close(again.x, instances.x)
    images = expected.label < 0, instances.label < 0
    assert_close(instances.x[images[1]].float(), expected.x[images[0]], rtol=0.02, atol=0.02)
    instances.x.float().sum().backward()
    assert csac.classifier.weight.grad.isfinite().all()
    csac.select(feature, CSACOutput(*(value.detach() for value in out)))  # Outside of autocast, too.


def test_one_wait_for_the_device(feature):
    """The number of instances is read once, and no operation has to find it out again."""
    csac = make()
    out = csac(feature)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        csac.select(feature, out)
    counts = {event.key: event.count for event in profile.key_averages()}
    assert 'aten::nonzero' not in counts
    assert counts['aten::bmm'] == 1
    assert not {'aten::item', 'aten::_local_scalar_dense'} & counts.keys()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_on_a_gpu(feature):
    csac = make().double()
    expected = csac.select(feature.double(), csac(feature.double()))
    feature = feature.double().cuda()
    out = csac.cuda().select(feature, csac(feature))
    assert out.sizes == expected.sizes
    for value, other in zip(out[:-1], expected):
        assert value.device == feature.device
        assert_close(value.cpu(), other)


@pytest.mark.parametrize(
    'options,message',
    [
        ({'pooling': 'max'}, r"'pooling' must be one of mean, sum \(got 'max'\)"),
        ({'score_pooling': 'mean'}, r"'score_pooling' must be one of max, avg, lse, gap \(got 'mean'\)"),
        ({'csac_input': 'map'}, r"'csac_input' must be one of reduced, whole \(got 'map'\)"),
        ({'gamma': 1.5}, r"'gamma' must be in \[0, 1\] \(got 1.5\)"),
        ({'box_threshold': -0.1}, r"'box_threshold' must be in \[0, 1\] \(got -0.1\)"),
        ({'prior': 0}, r"'prior' must be in \(0, 1\) or None \(got 0\)"),
        ({'max_instances': -1}, r"'max_instances' must be a whole number, at least 0 \(got -1\)"),
        ({'max_instances': 1.5}, r"'max_instances' must be a whole number, at least 0 \(got 1.5\)"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        CSAC(4, 3, **options)


def test_the_best_come_first_where_their_probability_is_one():
    logits = torch.tensor([[18.0, 20, 25, 40, 30, 19]])  # From 17 on, all are 1 in float32.
    csac = CSAC(1, 6, None, max_instances=2)
    out = csac.select(torch.ones(1, 1, 1, 1), CSACOutput(logits[:, :, None, None], logits))
    assert out.label.tolist() == [-1, 3, 4] and out.score.tolist() == [1, 1, 1]


def make_reduced(num_labels=7, out_channels=6, **options):
    """A CSAC with its reduction, and one that reads the map that was reduced before."""
    torch.manual_seed(0)
    options = {'gamma': 0.01, 'max_instances': 3, 'prior': 0.1, **options}
    csac, usual = CSAC(10, num_labels, out_channels, **options).double(), CSAC(6, num_labels, None, **options).double()
    torch.nn.init.normal_(csac.classifier.weight, std=0.4)
    torch.nn.init.normal_(csac.reduce.bias)
    usual.classifier = csac.classifier
    return csac, usual


@pytest.mark.parametrize('pooling', POOLINGS)
@pytest.mark.parametrize('score_pooling', ['max', 'avg', 'lse', 'gap'])
@pytest.mark.parametrize('num_labels', [1, 7, 90])  # 90: more labels than places.
def test_as_if_the_map_had_been_reduced(pooling, score_pooling, num_labels):
    csac, usual = make_reduced(num_labels, pooling=pooling, score_pooling=score_pooling)
    feature = torch.randn(4, 10, 5, 4, dtype=torch.double, requires_grad=True)
    parameters = [feature, *csac.parameters()]
    found = []
    for module, seen in ((usual, csac.reduce(feature)), (csac, feature)):
        out = module(seen)
        picked, slots = module.select(seen, out), module.slots(seen, out)
        loss = out.logits.sin().sum() + picked.x.cos().sum() + slots.x.sin().sum()
        found.append((out, picked, slots, torch.autograd.grad(loss, parameters)))
    assert found[0][1].x.shape[1] == 6 and len(found[0][1].x) > 4
    close = {'rtol': 1e-10, 'atol': 1e-10}
    for a, b in zip(found[0][:3], found[1][:3]):
        for name, value in a._asdict().items():
            assert_close(getattr(b, name), value, **close, msg=name)
    for a, b in zip(found[0][3], found[1][3], strict=True):
        assert_close(b, a, **close)


@pytest.mark.parametrize('pooling', POOLINGS)
def test_a_classifier_of_the_whole_map(pooling):
    csac, _ = make_reduced()
    csac = CSAC(10, 7, 6, gamma=0.01, max_instances=3, prior=0.1, pooling=pooling, csac_input='whole').double()
    torch.nn.init.normal_(csac.classifier.weight, std=0.4)
    feature = torch.randn(4, 10, 5, 4).double()
    out = csac(feature)
    assert_close(out.maps, csac.classifier(feature), rtol=1e-10, atol=1e-10)
    picked, reduced = csac.select(feature, out), csac.reduce(feature)
    assert len(picked.x) > 8
    for x, image, label in zip(picked.x, picked.batch, picked.label):  # Eq. 1 on the reduced map.
        weight = torch.ones(5, 4).double() if label < 0 else out.maps[image, label].sigmoid()
        weight = weight / weight.sum() if pooling == 'mean' else weight
        assert_close(x, torch.einsum('xy,dxy->d', weight, reduced[image]), rtol=1e-10, atol=1e-10)


def test_the_whole_map_is_never_reduced(monkeypatch):
    csac, _ = make_reduced()
    reduced = []
    monkeypatch.setattr(Reduction, 'forward', lambda self, x: reduced.append(x))
    feature = torch.randn(2, 10, 5, 4).double()
    picked = csac.select(feature, csac(feature))
    assert not reduced and picked.x.size(1) == 6


def test_without_reduction():
    csac = CSAC(10, 7, None)
    assert isinstance(csac.reduce, Unreduced) and not list(csac.reduce.parameters()) and csac.out_channels == 10
    feature = torch.randn(0, 10, 5, 4)  # An empty batch.
    assert csac.select(feature, csac(feature)).x.shape == (0, 10)


@pytest.mark.parametrize('csac_input', ['reduced', 'whole'])
@pytest.mark.parametrize('pooling', POOLINGS)
def test_a_share_of_the_gradient_reaches_all_but_the_reduction(csac_input, pooling):
    torch.manual_seed(0)
    csac = CSAC(10, 7, 6, gamma=0.01, prior=0.1, pooling=pooling, csac_input=csac_input).double()
    torch.nn.init.normal_(csac.classifier.weight, std=0.4)
    feature = torch.randn(2, 10, 5, 4, dtype=torch.double, requires_grad=True)
    grads = {}
    for share in (1.0, 0.25, 0.0):
        x = csac.select(feature, csac(feature), share).x
        inputs = {'feature': feature, **dict(csac.named_parameters())}
        grads[share] = dict(zip(inputs, torch.autograd.grad(x.sin().sum(), inputs.values(), allow_unused=True)))
    for name in grads[1.0]:
        assert grads[1.0][name].abs().sum() > 0
        least = grads[0.0][name]
        if name.startswith('reduce'):  # It also makes the maps where CSAC reads the reduced one: that share is cut.
            assert least.abs().sum() > 0 and (csac_input == 'reduced' or torch.equal(least, grads[1.0][name]))
        else:
            assert not least.any()
        expected = least + 0.25 * (grads[1.0][name] - least)
        assert_close(grads[0.25][name], expected, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize('pooling', POOLINGS)
@pytest.mark.parametrize('csac_input', ['reduced', 'whole'])
def test_cam_and_evidence_by_definition(feature, csac_input, pooling):
    """Maps without the bias over their maximum, and the classifier's logit of each instance's own mean."""
    csac = CSAC(6, 7, 4, gamma=0.05, pooling=pooling, csac_input=csac_input, maps='cam', evidence=True)
    torch.nn.init.normal_(csac.classifier.weight, std=0.4)
    torch.nn.init.normal_(csac.classifier.bias)
    out = csac(feature)
    found, weight, bias = csac.select(feature, out), csac.classifier.weight.flatten(1), csac.classifier.bias
    activations = csac.activations(feature)
    assert activations.amax((2, 3)).max() == 1 and activations.min() == 0
    assert (found.label >= 0).sum() > 4
    for i, image in enumerate(found.batch.tolist()):
        c, whole = int(found.label[i]), feature[image]
        reduced = torch.einsum('dk,khw->dhw', csac.reduce.weight.flatten(1), whole) + csac.reduce.bias[:, None, None]
        read = whole if csac_input == 'whole' else reduced
        a_map = torch.ones(5, 3)
        if c >= 0:
            a_map = torch.einsum('d,dhw->hw', weight[c], read).clamp(min=0)
            a_map = a_map / a_map.max()
            assert_close(activations[image, c], a_map, rtol=1e-4, atol=1e-5)
            assert_close(found.box[i], boxes(a_map[None])[0])
        mass = 1 if pooling == 'sum' else a_map.sum()
        assert_close(found.x[i], (reduced * a_map).sum((1, 2)) / mass, rtol=1e-4, atol=1e-5)
        mean = (read * a_map).sum((1, 2)) / a_map.sum()
        assert_close(found.evidence[i], (weight @ mean + bias + 2.5) / 2, rtol=1e-4, atol=1e-5)
    slots = csac.slots(feature, out)
    assert_close(slots.evidence[slots.valid], found.evidence)
    assert_close(slots.x[slots.valid], found.x)


def test_a_graph_without_gradient_leaves_the_classifier_to_its_own_loss(feature):
    csac = CSAC(6, 7, 4, gamma=0.05, csac_input='whole', evidence=True)
    found = {}
    for gradient in (1.0, 0.25, 0.0):
        csac.zero_grad()
        image = feature.clone().requires_grad_()
        chosen = csac.select(image, csac(image), gradient)
        (chosen.evidence.sin().sum() + chosen.x.sin().sum()).backward()
        found[gradient] = csac.reduce.weight.grad.clone(), csac.classifier.weight.grad.clone(), image.grad
    for gradient in (0.25, 0.0):
        assert_close(found[gradient][0], found[1.0][0])
        for share, whole in zip(found[gradient][1:], found[1.0][1:]):
            assert_close(share, gradient * whole, rtol=1e-4, atol=1e-6)


def test_a_map_that_is_nowhere_above_its_bias_is_the_whole_picture(feature):
    csac = CSAC(6, 2, None, gamma=0.0, maps='cam')
    torch.nn.init.zeros_(csac.classifier.weight)
    found = csac.select(feature, csac(feature))
    assert found.box.eq(torch.tensor([0.0, 0.0, 1.0, 1.0])).all()
    assert_close(found.x, feature.mean((2, 3))[found.batch])

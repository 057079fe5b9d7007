"""What holds for every model, whatever it is."""

import copy

import pytest
import torch
from torchvision.transforms.v2.functional import to_pil_image

import mlsgm_pyg
from mlsgm_pyg import checkpoint, models
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.csac import CSAC
from mlsgm_pyg.datasets.transforms import TorchView

GRAPH = {'feature_channels': 12, 'encoder_channels': [16, 8], 'hidden_channels': 16, 'block_channels': [16, 8]}
GRAPH |= {'decoder_channels': 8}
CASES = {
    'ml_sgm': {'name': 'ml_sgm', **GRAPH, 'gamma': 0.04},
    'baseline': {'name': 'baseline'},
    'mlp': {'name': 'mlp'},
    'ml_gcn': {'name': 'ml_gcn', 'hidden_channels': 7},
    'add_gcn': {'name': 'add_gcn', 'feature_channels': 8},
    'add_gcn_as_printed': {'name': 'add_gcn', 'feature_channels': 8, 'residual': False, 'pooling': 'sum'},
    'ssgrl': {'name': 'ssgrl', 'joint_channels': 7, 'output_channels': 9},
    'ssgrl_reduced': {'name': 'ssgrl', 'feature_channels': 8, 'joint_channels': 7, 'map_pooling': 2},
    'wo_csac': {'name': 'wo_csac', **GRAPH},
    'ablation_2': {'name': 'ablation', **GRAPH, 'gamma': 0.04, 'parts': ['csac']},
    'ablation_3': {'name': 'ablation', **GRAPH, 'gamma': 0.04, 'parts': ['csac', 'instance_graph']},
    'ablation_4': {'name': 'ablation', **GRAPH, 'parts': ['label_graph']},
    'ablation_5': {'name': 'ablation', **GRAPH, 'parts': ['instance_graph', 'label_graph']},
    'ablation_6': {'name': 'ablation', **GRAPH, 'gamma': 0.04, 'parts': ['csac', 'instance_graph', 'label_graph']},
}
LABELS = 6
every_model = pytest.mark.parametrize('case', CASES)


@pytest.fixture
def build(monkeypatch):
    """Builds a case of this page on a backbone of one convolution."""
    toy = lambda *_: Backbone('toy', torch.nn.Conv2d(3, 10, 1), 10)  # noqa: E731
    monkeypatch.setattr(models, 'build_backbone', toy)
    y = (torch.rand(60, LABELS) < 0.4).int()
    words, together = torch.randn(LABELS, 5), mlsgm_pyg.co_occurrence(y)
    return lambda case: models.build(
        **CASES[case], num_labels=LABELS, word_vectors=words, co_occurrence=together
    ).double()


def test_no_model_is_left_out():
    assert {options['name'] for options in CASES.values()} == set(models.MODELS)


@every_model
def test_a_batch_equals_its_images_one_by_one(build, case):
    model, feature = build(case).eval(), torch.randn(5, 10, 4, 6).double()
    if isinstance(getattr(model, 'csac', None), CSAC):  # Half of all classes pass gamma, not in every image.
        model.csac.gamma = model.head(feature).csac_logits.sigmoid().median().item()
    found = model.head(feature)
    alone = [model.head(feature[i : i + 1]) for i in range(5)]
    torch.testing.assert_close(found.logits, torch.cat([one.logits for one in alone]), rtol=1e-10, atol=1e-10)
    assert found.logits.shape == (5, LABELS) and (found.logits.std(0) > 0).all()
    if found.instances is not None:
        sizes = [one.instances.x.size(0) for one in alone]
        assert found.instances.ptr.diff().tolist() == sizes
        assert (len(set(sizes)) > 1) == isinstance(model.csac, CSAC)


@every_model
def test_the_order_of_a_batch_is_that_of_its_scores(build, case):
    model, image, order = build(case).eval(), torch.rand(5, 3, 4, 6), torch.randperm(5)
    torch.testing.assert_close(model(image[order]).logits, model(image).logits[order], rtol=1e-10, atol=1e-10)


@every_model
def test_a_step_lowers_the_loss_that_it_follows(build, case):
    """Gradients point downhill, through the instances that were chosen, too."""
    model, image, y = build(case).train(), torch.rand(5, 3, 4, 6), (torch.rand(5, LABELS) < 0.5).double()

    def loss():
        out = model(image)
        scores = [out.logits] + ([] if out.csac_logits is None else [out.csac_logits])
        return sum(torch.nn.functional.binary_cross_entropy_with_logits(score, y) for score in scores)

    before = loss()
    gradients = torch.autograd.grad(before, list(model.parameters()))
    slope = sum(gradient.square().sum() for gradient in gradients)
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients):
            parameter.sub_(1e-9 * gradient)
    assert (before - loss()).item() == pytest.approx(1e-9 * slope.item(), rel=1e-3)


@every_model
def test_every_parameter_trains(build, case):
    model = build(case).train()
    out = model(torch.rand(5, 3, 4, 6))
    scores = [out.logits] + ([] if out.csac_logits is None else [out.csac_logits])
    sum(score.square().sum() for score in scores).backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still


@every_model
@pytest.mark.parametrize('size', [(1, 1), (2, 5), (9, 7)])
def test_any_size_of_map(build, case, size):
    model = build(case).eval()
    image = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    out = model(image).logits
    assert out.shape == (2, LABELS) and out.isfinite().all()
    torch.testing.assert_close(model.head(model.features(image)).logits, out)


@every_model
def test_a_checkpoint_brings_all_that_it_needs(build, case, tmp_path):
    model, image = build(case).float().eval(), torch.rand(2, 3, 4, 6)
    words = getattr(model, 'word_vectors', None)
    words = torch.randn(LABELS, 5) if words is None else words
    about = checkpoint.pack(CASES[case], list('abcdef'), words if 'word_vectors' in _needs(case) else None)
    torch.save({'state_dict': {f'model.{k}': v for k, v in model.state_dict().items()}, checkpoint.KEY: about},
               tmp_path / 'last.ckpt')  # fmt: skip
    loaded = mlsgm_pyg.load(tmp_path / 'last.ckpt')
    torch.testing.assert_close(loaded(image).logits, model(image).logits, rtol=0, atol=0)


def _needs(case):
    return models.arguments(CASES[case]['name'])


@pytest.mark.parametrize('name', [name for name in models.MODELS if 'word_vectors' in models.arguments(name)])
def test_word_vectors_are_asked_for(name):
    with pytest.raises(ValueError, match=rf"'{name}' needs one word vector for each of its 2 labels \(got none\)"):
        models.build(name, num_labels=2)


@pytest.mark.parametrize('name', ['ml_gcn', 'ssgrl'])
def test_co_occurrence_is_asked_for(name):
    with pytest.raises(ValueError, match=rf"'{name}' needs the co-occurrence of its 2 labels \(got none\)"):
        models.build(name, num_labels=2, word_vectors=torch.zeros(2, 3))


def test_the_mlp_is_its_formula(build):
    model, feature = build('mlp').eval(), torch.randn(2, 10, 3, 4).double()
    first, second = model.classifier[0], model.classifier[2]
    hidden = (feature.flatten(2).mean(2) @ first.weight.t() + first.bias).clamp(min=0)
    torch.testing.assert_close(model.head(feature).logits, hidden @ second.weight.t() + second.bias)


@every_model
def test_every_model_predicts(build, case):
    model = build(case).float().eval()
    picture = torch.randint(0, 256, (3, 9, 12), dtype=torch.uint8)
    (found,) = model.predict([picture], threshold=0.0, image_size=6)
    p = model(TorchView('resize', (6,))(to_pil_image(picture))[0][None]).logits[0].sigmoid()
    assert found.probabilities == pytest.approx(sorted(p.tolist(), reverse=True), abs=1e-5)
    if case in ('wo_csac', 'ablation_4', 'ablation_5'):
        with pytest.raises(ValueError, match='this model has no activation maps: its instances are not from CSAC'):
            model.predict([picture], threshold=0.0, image_size=6, maps=True)
        return
    (found,) = model.predict([picture], threshold=0.0, image_size=6, maps=True)
    assert found.maps.shape == (LABELS, *((3, 3) if case == 'ssgrl_reduced' else (6, 6)))
    assert found.maps.min() >= 0 and found.maps.max() <= 1 and found.maps.std() > 0


@pytest.mark.parametrize('case', ['mlp', 'ml_gcn'])
def test_maps_are_the_score_of_a_place(build, case):
    model, feature = build(case).eval(), torch.randn(2, 10, 3, 4).double()
    maps = model.maps(feature)
    for i in range(3):
        for j in range(4):
            alone = model.head(feature[:, :, i : i + 1, j : j + 1]).logits.sigmoid()
            torch.testing.assert_close(maps[:, :, i, j], alone)


@every_model
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.half])
def test_half_precision_throughout(build, case, dtype):
    """As Lightning's 'bf16-true': boxes are float32 and meet half weights."""
    model, image = build(case).float(), torch.rand(3, 3, 8, 8)
    out = model.to(dtype).train()(image)
    assert out.logits.dtype == dtype and out.logits.isfinite().all()
    out.logits.float().square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@every_model
def test_labels_are_computed_once_where_they_are_fixed(build, case, monkeypatch):
    model, features = build(case).eval(), [torch.randn(2, 10, 4, 6).double() for _ in range(3)]
    part = model.ilms if hasattr(model, 'ilms') else model
    calls, compute = [], part.label_values
    monkeypatch.setattr(part, 'label_values', lambda keep: calls.append(keep) or compute(keep))
    with torch.no_grad():
        expected = [model.head(feature).logits for feature in features]
        before = len(calls)
        with model.fixed_labels():
            out = [model.head(feature).logits for feature in features]
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)
    if part.label_values(True) is not None:
        assert before == 3 and calls[3:-1] == [True]


@pytest.mark.parametrize('case', ['ml_sgm', 'ml_gcn', 'ssgrl', 'ablation_6'])
def test_what_is_loaded_through_a_parent_is_what_is_used(build, case):
    model, other = build(case).eval(), build(case).eval()
    with torch.no_grad():
        other.word_vectors.normal_()
        feature = torch.randn(2, 10, 4, 6).double()
        with model.fixed_labels():
            model.head(feature)
            torch.nn.ModuleDict({'m': model}).load_state_dict(torch.nn.ModuleDict({'m': other}).state_dict())
            out = model.head(feature).logits
        torch.testing.assert_close(out, other.head(feature).logits, rtol=1e-10, atol=1e-10)


@every_model
def test_reset_parameters_starts_all_but_the_backbone_anew(build, case):
    model = build(case)
    before = copy.deepcopy(model.state_dict())
    model.reset_parameters()
    constant = ('word_vectors', 'co_occurrence')
    for key, value in model.state_dict().items():
        if key == 'csac.classifier.bias':  # The prior's.
            continue
        stays = key.startswith('backbone') or key.endswith(constant) or '.norm' in key
        assert torch.equal(value, before[key]) == stays, key

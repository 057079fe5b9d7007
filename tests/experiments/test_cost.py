"""Counting and timing: multiply-adds by hand, label-only work that is done once, turns."""

import pytest
import torch

from experiments import cost
from mlsgm_pyg import co_occurrence, models
from mlsgm_pyg.backbone import Backbone

SMALL = {'feature_channels': 12, 'encoder_channels': [16, 8], 'hidden_channels': 16, 'block_channels': [16, 8]}
SMALL |= {'decoder_channels': 8}
WITH_LABELS = {
    'ml_sgm': SMALL,
    'ml_gcn': {'hidden_channels': 7},
    'ablation': SMALL | {'parts': ['csac', 'instance_graph', 'label_graph']},
    'wo_csac': SMALL,
}
OTHERS = {'baseline': {}, 'add_gcn': {'feature_channels': 8}, 'ssgrl': {'joint_channels': 7}}


@pytest.fixture
def build(monkeypatch):
    toy = lambda *_: Backbone('toy', torch.nn.Conv2d(3, 10, 1), 10)  # noqa: E731
    monkeypatch.setattr(models, 'build_backbone', toy)
    y = (torch.rand(60, 6) < 0.4).int()
    known = {'num_labels': 6, 'word_vectors': torch.randn(6, 5), 'co_occurrence': co_occurrence(y)}
    return lambda name: models.build(name, **known, **(WITH_LABELS | OTHERS)[name]).eval()


def test_multiply_adds_by_hand():
    conv, linear = torch.nn.Conv2d(3, 4, 2), torch.nn.Linear(5, 6)
    x, a, b = torch.randn(2, 3, 5, 6), torch.randn(7, 2, 3), torch.randn(7, 3, 4)
    assert cost.macs(lambda: conv(x)) == 2 * 4 * 4 * 5 * 3 * 2 * 2
    assert cost.macs(lambda: linear(torch.randn(8, 5))) == 8 * 5 * 6
    assert cost.macs(lambda: a @ b) == 7 * 2 * 3 * 4
    assert cost.macs(lambda: torch.randn(2, 3, 4, 5) @ torch.randn(5)) == 2 * 3 * 4 * 5
    assert cost.macs(lambda: x.relu().sum()) == 0
    assert conv(x).requires_grad  # As it was.


def test_parameters():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 4))
    model[0].requires_grad_(False)
    assert cost.parameters(model) == {'trained': 16, 'all': 25}


@pytest.mark.parametrize('name', WITH_LABELS)
def test_what_depends_on_labels_alone_is_computed_once_and_the_same(build, name):
    model, image = build(name), torch.rand(3, 3, 4, 6)
    with torch.no_grad():
        expected = model(image).logits
        whole = cost.macs(lambda: model(image))
        with cost.fixed_labels(model):
            torch.testing.assert_close(model(image).logits, expected)
            once = cost.macs(lambda: model(image))
            torch.testing.assert_close(model(image).logits, expected)
        assert once < whole == cost.macs(lambda: model(image))
        for parameter in model.parameters():
            parameter.add_(0.1)
        assert not torch.allclose(model(image).logits, expected)  # Nothing old is left.


def test_ml_gcns_labels_cost_its_two_layers(build):
    model, image = build('ml_gcn'), torch.rand(3, 3, 4, 6)
    whole = cost.macs(lambda: model(image))
    with cost.fixed_labels(model):
        once = cost.macs(lambda: model(image))
    assert once == 3 * 24 * 3 * 10 + 3 * 10 * 6
    assert whole - once == 6 * 5 * 7 + 6 * 6 * 7 + 6 * 7 * 10 + 6 * 6 * 10


@pytest.mark.parametrize('name', OTHERS)
def test_the_others_are_left_as_they_are(build, name):
    model, image = build(name), torch.rand(3, 3, 4, 6)
    whole = cost.macs(lambda: model(image))
    with cost.fixed_labels(model):
        assert cost.macs(lambda: model(image)) == whole

"""Counting and timing: multiply-adds by hand, label-only work that is done once, turns on a clock of our own."""

import time

import pytest
import torch

from mlsgm_pyg import co_occurrence, models
from mlsgm_pyg.app.common import cost
from mlsgm_pyg.backbone import Backbone

SMALL = {'feature_channels': 12, 'encoder_channels': [16, 8], 'hidden_channels': 16, 'block_channels': [16, 8]}
SMALL |= {'decoder_channels': 8}
WITH_LABELS = {
    'ml_sgm': SMALL,
    'ml_gcn': {'hidden_channels': 7},
    'ablation': SMALL | {'parts': ['csac', 'instance_graph', 'label_graph']},
    'wo_csac': SMALL,
    'ssgrl': {'joint_channels': 7},
}
OTHERS = {'baseline': {}, 'add_gcn': {'feature_channels': 8}}


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
        with model.fixed_labels():
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
    with model.fixed_labels():
        cost.macs(lambda: model(image))  # The first call fixes them.
        once = cost.macs(lambda: model(image))
    assert once == 3 * 24 * 3 * 10 + 3 * 10 * 6
    assert whole - once == 6 * 5 * 7 + 6 * 6 * 7 + 6 * 7 * 10 + 6 * 6 * 10


@pytest.mark.parametrize('name', OTHERS)
def test_the_others_are_left_as_they_are(build, name):
    model, image = build(name), torch.rand(3, 3, 4, 6)
    whole = cost.macs(lambda: model(image))
    with model.fixed_labels():
        assert cost.macs(lambda: model(image)) == whole


class Clock:
    """A clock that only calls move."""

    def __init__(self):
        self.now, self.order = 0.0, []

    def call(self, name: str, *seconds: float):
        """A call that takes so long at its first, second, ... time, and the last of these from then on."""
        left = list(seconds)

        def run() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]
            self.order.append(name)

        return run


def test_seconds_are_medians_of_rounds_that_turn_round():
    clock = Clock()
    calls = {'a': clock.call('a', 9, 1, 2, 3), 'b': clock.call('b', 9, 4, 4, 10)}  # The first time warms up.
    found = cost.seconds(calls, rounds=3, read=lambda: clock.now)
    assert found == {'a': (2, 1, 3), 'b': (4, 4, 10)}
    assert found['a'].spread == 1 and found['b'].spread == 1.5
    assert ''.join(clock.order) == 'ab' + 'ab' + 'ba' + 'ab'


def test_short_calls_are_repeated():
    clock = Clock()
    found = cost.seconds({'': clock.call('a', 0.0625)}, rounds=2, read=lambda: clock.now, least=0.2)
    assert found[''] == (0.0625, 0.0625, 0.0625)
    assert len(clock.order) == 1 + (1 + 2 + 4) + 2 * 4  # Warm-up, until a turn takes 0.2 s, two turns.
    clock = Clock()
    cost.seconds({'': clock.call('a', 0.25)}, quick=True, read=lambda: clock.now)
    assert len(clock.order) == 2


def test_a_cpus_clock_does_not_count_waiting():
    cpu = torch.device('cpu')
    assert cost.wall(cpu) is time.perf_counter
    read = cost.clock(cpu)
    started = read()
    time.sleep(0.2)
    assert read() - started < 0.1


def test_settled_features_have_a_trained_scale():
    torch.nn.init.normal_((conv := torch.nn.Conv2d(3, 4, 3)).weight, std=100)
    body, image = torch.nn.Sequential(conv, torch.nn.BatchNorm2d(4)), torch.rand(8, 3, 9, 9)
    cost.settle(body, image)
    assert not body.training
    torch.testing.assert_close(body(image).std((0, 2, 3)), torch.ones(4), rtol=1e-2, atol=0)

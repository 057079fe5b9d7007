"""Few-shot, stage two: what each method trains and what it leaves alone, on maps without images."""

import numpy as np
import pytest
import torch

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.results import scores
from mlsgm_pyg.app.training import few_shot
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.models import MLSGM

NOVEL = ['three', 'eight']
OPTIONS = [
    'task=few_shot', 'task.novel=three,eight', 'task.ml_sgm_steps=3', 'task.linear_steps=4',
    'task.scratch_steps=3', 'model.gamma=0.04', 'model.max_instances=4', 'loss.csac_loss_weight=1',
]  # fmt: skip


@pytest.fixture
def bench(tiny):
    """A learner on random maps, and its examples: no images, no files."""

    def make(*more):
        config = tiny(*OPTIONS, *more)
        torch.manual_seed(0)
        names = [f'c{i}' for i in range(8)]
        body = torch.nn.Sequential(torch.nn.Conv2d(3, 10, 4, stride=4), torch.nn.BatchNorm2d(10))
        options = {key: v for key, v in few_shot.model_options(config.model).items() if key not in few_shot.BUILT}
        base = MLSGM(Backbone('toy', body, 10).freeze(), torch.randn(8, 6), **options)
        base.class_names = names
        maps = type('Maps', (), {})()
        maps.device = torch.device('cpu')
        test = {'feature': torch.randn(9, 10, 3, 3), 'y': torch.randint(0, 2, (9, 2)), 'index': torch.arange(9)}
        maps.batches = lambda: ({key: value[at] for key, value in test.items()} for at in (slice(0, 5), slice(5, 9)))
        maps.train = type('Part', (), {'y': torch.tensor([[0, 0]] * 20 + [[1, 0]])})()
        known = torch.randn(21, 10, 3, 3)
        maps.unreadable = lambda chosen: [i for i in chosen if i == 3]
        maps.examples = lambda chosen: (known[chosen][None], None, None)
        learner = few_shot.Learner(config, base, torch.randn(2, 6), maps)
        feature, y = torch.randn(2, 4, 10, 3, 3).half(), torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]])
        return learner, feature, y, test

    return make


def test_what_stage_two_trains(bench):
    """The backbone never; CSAC's classifier always; the rest unless its factor is 0."""
    learned = ('csac.reduce', 'ilms.encoder', 'ilms.blocks', 'ilms.decoder')
    for factor, expected in (('1', learned), ('0', ())):
        learner, feature, y, _ = bench(f'task.carried_lr_factor={factor}')
        before = {key: value.clone() for key, value in learner.base.state_dict().items()}
        model, _ = learner.run('ml_sgm', feature, y, 0)
        after = model.state_dict()
        assert all(torch.equal(learner.base.state_dict()[key], value) for key, value in before.items())
        same = [key for key in after if key in before and after[key].shape == before[key].shape]
        same = [key for key in same if torch.equal(after[key], before[key])]
        moved = {part for part in ('backbone', *learned) for key in after if key.startswith(part) and key not in same}
        assert moved == set(expected)
        start = torch.stack([before['csac.classifier.weight'][i] for i in nearest(learner)])
        assert not torch.equal(after['csac.classifier.weight'], start)


def test_with_evidence_the_graph_is_held_and_csac_is_the_linear_classifier(bench):
    more = ['model.evidence=true', 'model.csac_input=whole', 'model.score_pooling=gap', 'model.score=blend']
    more += ['model.product=true', 'model.deep_scores=true', 'data.tune=0.1']
    learner, feature, y, test = bench(*more)
    learner.base.blend.fill_(0.3)
    model, found = learner.run('ml_sgm', feature, y, 5)
    _, linear = learner.run('linear', feature, y, 5)
    # Each novel label's logits are the linear layer's, on the scale of stage one's.
    assert learner.background.shape == (20, 10, 1, 1)  # One of 21 cannot be read.
    with torch.no_grad():
        new, known = (each.csac(learner.background).logits for each in (model, learner.base))
    np.testing.assert_allclose(new.mean(0), known.mean().expand(2), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new.std(0, correction=0), known.std(0, correction=0).mean().expand(2), rtol=1e-4)
    for csac, logits in zip(found['csac'].T, linear['logits'].T):
        (slope, _), (error,), *_ = np.polyfit(logits, csac, 1, full=True)
        assert slope > 0 and error < 1e-8
    before, after = learner.base.state_dict(), model.state_dict()
    moved = {key for key in after if key not in before or not torch.equal(after[key], before[key])}
    assert moved == {'csac.classifier.weight', 'csac.classifier.bias', 'ilms.word_vectors'}
    assert float(model.blend) == pytest.approx(0.3)
    np.testing.assert_allclose(found['blend'], 0.7 * found['graph'] + 0.3 * found['csac'], rtol=1e-4, atol=1e-5)
    told = "few-shot with model.evidence learns CSAC's rows as a linear layer: it needs model.%s"
    for key, other in (('csac_input=whole', 'csac_input=reduced'), ('score_pooling=gap', 'score_pooling=max')):
        with pytest.raises(ConfigError, match=told % key):
            bench(*more, f'model.{other}')


def test_discriminant_by_its_definition(bench):
    """A part of each novel row is (mean of its examples - mean) / variance, channel by channel."""
    more = ['model.evidence=true', 'model.csac_input=whole', 'model.score_pooling=gap']
    scored, seen = {}, None
    for part in (0, 0.25, 1):
        learner, feature, y, _ = bench(*more, f'task.discriminant={part}')
        y[3, 0] = -1  # Not known to show it: no example.
        scored[part] = learner.run('ml_sgm', feature, y, 5)[1]['csac']
        seen = learner.background.flatten(1).double().numpy()
    test = np.concatenate([batch['feature'].mean((2, 3)).numpy() for batch in learner.maps.batches()])
    examples, mean, variance = feature.double().mean((0, 3, 4)).numpy(), seen.mean(0), seen.var(0)
    expected, rows = np.zeros((len(test), 2)), np.zeros((2, 10))
    for c, own in enumerate(([0, 2], [1, 2])):
        for d in range(10):
            rows[c, d] = (examples[own, d].mean() - mean[d]) / (variance[d] + few_shot.SHRINKAGE * variance.mean())
        for i in range(len(test)):
            expected[i, c] = sum(rows[c, d] * (test[i, d] - mean[d]) for d in range(10)) / (seen @ rows[c]).std()
    with torch.no_grad():
        known = learner.base.csac(learner.background).logits
    centre, spread = known.mean().item(), known.std(0, correction=0).mean().item()
    np.testing.assert_allclose((scored[1] - centre) / spread, expected, rtol=1e-4, atol=1e-4)
    # Both sides weigh what the part says, each with a spread of 1, and the sum is brought to scale again.
    for c in range(2):
        mixed = 0.75 * (scored[0][:, c] - centre) + 0.25 * (scored[1][:, c] - centre)
        np.testing.assert_allclose(np.corrcoef(mixed, scored[0.25][:, c])[0, 1], 1, rtol=1e-6)
    with pytest.raises(ConfigError, match='needs model.evidence=true'):
        bench('task.discriminant=0.5')
    with pytest.raises(ConfigError, match=r"'task.discriminant' must be in \[0, 1\]"):
        bench(*more, 'task.discriminant=1.5')


def nearest(learner):
    a, b = learner.words, learner.base.word_vectors
    return [max(range(8), key=lambda j: float(torch.dot(a[i], b[j]) / a[i].norm() / b[j].norm())) for i in range(2)]


def test_scratch_takes_nothing_from_stage_one_but_the_maps(bench):
    one, feature, y, _ = bench()
    other, *_ = bench()
    with torch.no_grad():
        for key, parameter in other.base.named_parameters():
            if not key.startswith('backbone.'):
                parameter.add_(1.0)
    (_, a), (_, b) = (learner.run('scratch', feature, y, 3) for learner in (one, other))
    np.testing.assert_array_equal(a['graph'], b['graph'])
    (_, a), (_, b) = (learner.run('ml_sgm', feature, y, 3) for learner in (one, other))
    assert not np.array_equal(a['graph'], b['graph'])


@pytest.mark.parametrize('method', ['ml_sgm', 'linear', 'scratch'])
def test_a_method_repeats_with_its_seed_and_leaves_others_random_numbers_alone(method, bench):
    learner, feature, y, test = bench('model.feature_dropout=0.5')
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    _, first = learner.run(method, feature, y, 5)
    assert torch.equal(torch.rand(3), expected)
    _, again = learner.run(method, feature, y, 5)
    _, other = learner.run(method, feature, y, 6)
    name = scores.names_of(first)[0]
    np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(first[name], other[name])
    assert first['index'].tolist() == list(range(9)) and first[name].shape == (9, 2)
    np.testing.assert_array_equal(first['y'], test['y'])


def test_the_linear_classifier_by_hand(bench):
    """One view, no dropout: AdamW steps along half a cosine on Eq. 19-21, from zero."""
    learner, feature, y, test = bench('task.linear_steps=6', 'model.feature_dropout=0', 'task.decay=0')
    model, found = learner.run('linear', feature[:1], y, 0)
    x = feature[0].float().mean((2, 3))
    weight, bias = torch.zeros(2, 10, requires_grad=True), torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.AdamW([weight, bias], lr=1e-2, weight_decay=0)
    for step in range(6):
        for group in optimizer.param_groups:
            group['lr'] = 1e-2 * 0.5 * (1 + np.cos(np.pi * step / 6))
        p = (x @ weight.t() + bias).sigmoid()
        rest = (p - 0.05).clamp(min=0)
        loss = -(y * p.log() + (1 - y) * rest**4 * (1 - rest).log()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(model[1].weight, weight, rtol=1e-4, atol=1e-6)
    expected = test['feature'].mean((2, 3)) @ weight.t() + bias
    np.testing.assert_allclose(found['logits'], expected.detach().numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('method', ['ml_sgm', 'linear', 'scratch'])
def test_training_learns_the_examples(method, bench):
    """Steps part the scores of positive and negative labels, on the examples themselves."""

    def gap(*more):
        learner, feature, y, _ = bench(*more)
        learner.maps.batches = lambda: [{'feature': feature[0].float(), 'y': y, 'index': torch.arange(4)}]
        _, found = learner.run(method, feature, y, 0)
        values = found['logits' if method == 'linear' else 'graph']
        return values[y.numpy() == 1].mean() - values[y.numpy() == 0].mean()

    rates = ['task.ml_sgm_lr=3e-2', 'task.carried_lr_factor=0.1', 'task.linear_lr=0.1', 'task.scratch_lr=3e-3']
    before = gap('task.ml_sgm_lr=0', 'task.linear_lr=0', 'task.scratch_lr=0')
    after = gap(*rates, 'task.ml_sgm_steps=40', 'task.linear_steps=40', 'task.scratch_steps=120')
    assert after > before + 0.3


def test_each_method_has_its_own_windows_and_dropout(bench, monkeypatch):
    """The linear classifier sees whole maps though the row trains on windows; scratch takes what it is given."""
    cached = ['model.freeze_backbone=true', 'features.cache=true', 'features.crop=0.6', 'model.feature_dropout=0.2']

    def seen(method, *more):
        learner, feature, y, _ = bench(*cached, *more)
        windows = []
        monkeypatch.setattr(few_shot, 'crop', lambda maps, least: windows.append(least) or maps)
        model = learner.train(method, feature, y, 0)
        dropout = model[0].p if method == 'linear' else model.dropout.p
        return set(windows), dropout

    assert seen('ml_sgm') == ({0.6}, 0.2)
    assert seen('linear') == (set(), 0.2)
    assert seen('scratch') == ({0.6}, 0.2)
    own = ['task.linear_crop=0.5', 'task.linear_dropout=0', 'task.scratch_crop=0', 'task.scratch_dropout=0.4']
    assert seen('ml_sgm', *own) == ({0.6}, 0.2)
    assert seen('linear', *own) == ({0.5}, 0.0)
    assert seen('scratch', *own) == (set(), 0.4)


def test_the_test_maps_are_read_once_for_all_methods(bench):
    learner, feature, y, _ = bench()
    alone = {method: learner.run(method, feature, y, 1)[1] for method in ('ml_sgm', 'linear', 'scratch')}
    other, feature, y, _ = bench()
    trained = {method: other.train(method, feature, y, 1) for method in alone}
    batches, reads = other.maps.batches, []
    other.maps.batches = lambda: reads.append(1) or batches()
    together, seconds = other.score(trained)
    assert len(reads) == 1 and set(seconds) == set(alone)
    for method, found in alone.items():
        assert found.keys() == together[method].keys()
        for key, values in found.items():
            np.testing.assert_array_equal(values, together[method][key])
    other.score({'linear': trained['linear']})
    assert len(reads) == 1  # The averaged maps were kept.

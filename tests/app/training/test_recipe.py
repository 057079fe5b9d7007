"""What method and baseline may both use: mixtures, averaged weights, decay, a start from another run, a tuning part."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit

import mlsgm_pyg
from mlsgm_pyg import decisions
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.data.parts import Parts, build_parts
from mlsgm_pyg.app.training import train
from mlsgm_pyg.app.training.module import Recognition, mixed
from mlsgm_pyg.datasets import ImageDataset, Subset, build_view
from mlsgm_pyg.export import Exportable
from mlsgm_pyg.losses import build_loss


@pytest.mark.parametrize('key', ['feature', 'image'])
def test_mixup_mixes_images_and_the_losses_of_their_labels(key):
    torch.manual_seed(3)
    x = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8) if key == 'image' else torch.randn(5, 3, 4, 4).half()
    y = torch.tensor([[1, 0], [0, -1], [1, 1], [-1, 0], [0, 1]], dtype=torch.int8)
    assert mixed({key: x, 'y': y}, 0.0)[1] == [(1.0, y)]
    batch, ((share, first), (rest, second)) = mixed({key: x, 'y': y}, 0.4)
    assert 0 < share < 1 and share + rest == 1 and torch.equal(first, y) and not torch.equal(second, y)
    plain = x / 255 if key == 'image' else x.float()
    for i in range(5):  # Every image is mixed with one whose labels are those of `second`.
        partners = [j for j in range(5) if torch.equal(y[j], second[i])]
        mixtures = [share * plain[i] + rest * plain[j] for j in partners]
        assert any(torch.allclose(batch[key][i], mixture, atol=1e-6) for mixture in mixtures)

    logits, bce = torch.randn(5, 2), torch.nn.functional.binary_cross_entropy_with_logits
    y, second = y.clamp(min=0), second.clamp(min=0)  # Of known labels it is the loss of the mixed label.
    loss = build_loss('weighted_bce', torch.full((2,), 0.5), beta=0.0)
    found = share * loss(logits, y) + rest * loss(logits, second)
    expected = bce(logits, share * y.float() + rest * second.float())
    torch.testing.assert_close(found / loss(logits, y), expected / bce(logits, y.float()))


def test_weights_are_averaged_over_about_the_last_epochs(tiny, frozen, monkeypatch):
    seen = []
    step = Recognition.on_before_zero_grad

    def look(self, optimizer):  # Before a step's gradients go: the weights after the step before.
        seen.append(self.model.ilms.decoder.lin.bias.detach().clone())
        return step(self, optimizer)

    monkeypatch.setattr(Recognition, 'on_before_zero_grad', look)
    config = tiny(*frozen, 'optimizer.ema_epochs=0.5', 'trainer.max_epochs=3')
    folder = Path(train.run(config)['folder'])
    state = torch.load(folder / 'last.ckpt', weights_only=True)
    key = 'model.ilms.decoder.lin.bias'
    weights = [*seen[1:], state['current_model_state'][key]]  # After each of the 9 steps.
    assert len(weights) == 9
    average = weights[2]  # The first epoch's last step.
    for value in weights[3:]:
        average = average + (value - average) / (0.5 * 3)
    torch.testing.assert_close(state['state_dict'][key], average)


def test_an_old_option_is_told_and_an_old_file_is_read(tiny, tmp_path):
    with pytest.raises(
        ConfigError, match=r"^'ema' in the command line is gone: optimizer.ema_epochs=N averages over N"
    ):
        tiny('ema=0.99')
    path = tmp_path / 'config.yaml'
    path.write_text('ema: 0.0\nrow: digits\n')
    assert configs.from_file(path).optimizer.ema_epochs == 0


def test_the_tuning_part_is_kept_from_training(tiny):
    config = tiny('data.tune=0.2')
    (train_part, test), (tune, _) = (build_parts(config.data, config.task, tuned=tuned) for tuned in (False, True))
    assert len(tune.rows) == 4 and len(train_part.rows) == 17 and len(test.rows) == 13
    assert sorted(train_part.rows + tune.rows) == list(range(21))
    dev = tiny('data.tune=0.2', 'data.dev=0.2')
    parts = [*build_parts(dev.data), build_parts(dev.data, tuned=True)[0]]
    assert [len(part.rows) for part in parts] == [14, 4, 3] and len(set().union(*(part.rows for part in parts))) == 21
    assert build_parts(dev.data)[1].rows == build_parts(tiny('data.dev=0.2').data)[1].rows  # What is reported stays.
    partial = tiny('task=partial', 'task.known=0.5', 'data.tune=0.2')
    part = build_parts(partial.data, partial.task, tuned=True)[0]
    hidden = build_parts(tiny('task=partial', 'task.known=0.5').data, partial.task)[0].source.y
    assert torch.equal(part.y, hidden[tune.rows]) and (part.y < 0).any()
    with pytest.raises(ConfigError, match=r"^'data.tune' is a fraction of the training images in \[0, 1\) \(got 1.5\)"):
        tiny('data.tune=1.5')


def test_training_starts_from_another_run(tiny, frozen, tmp_path):
    first = Path(train.run(tiny(*frozen))['folder'])
    trained = torch.load(first / 'last.ckpt', weights_only=True)['state_dict']
    for init in (first, first.parent, first / 'last.ckpt'):
        config = tiny(f'init={init}', 'model.hold_norms=true')
        parts = Parts.read(config)
        module = Recognition(config, parts.class_names, parts.train.y)
        assert all(torch.equal(value, trained[f'model.{key}']) for key, value in module.model.state_dict().items())
        assert any(p.requires_grad for p in module.model.backbone.parameters())
    module.train()
    norms = [m for m in module.model.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms) and module.model.ilms.training
    before = {key: value.clone() for key, value in module.model.state_dict().items() if 'running' in key}
    after = torch.load(Path(train.run(config)['folder']) / 'last.ckpt', weights_only=True)['state_dict']
    assert all(torch.equal(value, after[f'model.{key}']) for key, value in before.items())

    for words, told in (
        (['init=nowhere'], "'init': there is no checkpoint 'nowhere'"),
        (['model.name=baseline'], r"'init' must be of model.name=baseline \('.*last.ckpt' is ml_sgm\)"),
        (['model.hidden_channels=4'], "'init': '.*' does not fit the options of 'model': .*size mismatch"),
    ):
        with pytest.raises(ConfigError, match=told):
            train.run(tiny(f'init={first}', *words))


@pytest.mark.parametrize('cached', [True, False])
def test_a_blend_is_fitted_on_the_tuning_part_alone_and_kept(tiny, frozen, cached, monkeypatch):
    more = (*frozen, 'optimizer.ema_epochs=1') if cached else ()  # Averaged weights and those that train take turns.
    config = tiny(*more, 'model.score=blend', 'data.tune=0.3', 'optimizer.lr=0.05')
    seen = []
    monkeypatch.setattr('mlsgm_pyg.models.blend.fit', lambda *values: seen.append(values) or 0.35)
    out = train.run(config)
    part = build_parts(config.data, config.task, tuned=True)[0]
    assert len(seen) == 2 and torch.equal(seen[-1][2], part.y)
    assert [row['blend'] for row in out['history']] == [pytest.approx(0.35)] * 2
    model = mlsgm_pyg.load(Path(out['folder']) / 'last.ckpt')
    assert float(model.blend) == pytest.approx(0.35) and model.card['evaluation']['blend'] == 0.35
    kept = np.load(Path(out['folder']) / 'scores.npz')
    graph, csac, mean = (torch.from_numpy(kept[name]) for name in ('graph', 'csac', 'blend'))
    torch.testing.assert_close(mean, 0.65 * graph + 0.35 * csac, rtol=1e-4, atol=1e-5)
    view = build_view(config.data.test_view, config.data.image_size)
    images = ImageDataset(Subset(*part), view)
    batch = torch.stack([images[i]['image'] for i in range(len(part.rows))])
    with torch.no_grad():
        found, exported = model(batch), Exportable(model)(batch)
    torch.testing.assert_close(found.graph_logits.double(), seen[-1][0], rtol=1e-3, atol=1e-3)  # Of the very weights.
    torch.testing.assert_close(exported['logits'], found.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.logits, found.score('blend'))

    fitted_on, temperature = np.load(Path(out['folder']) / 'fit.npz'), model.decisions.temperature
    assert fitted_on['index'].tolist() == [*range(len(part.rows))] and np.array_equal(fitted_on['y'], part.y)
    np.testing.assert_allclose(fitted_on['blend'], found.logits, rtol=1e-3, atol=1e-3)
    assert model.decisions == decisions.fit(fitted_on['blend'], fitted_on['y'], model.class_names)
    torch.testing.assert_close(exported['probabilities'], (exported['logits'] / temperature).sigmoid())
    told = out['decisions']
    assert told == model.card['evaluation']['decisions'] and told['images'] == len(part.rows)
    p = expit(kept['blend'] / temperature) >= model.decisions.thresholds(model.class_names)
    assert told['metrics']['OP'] == pytest.approx(100 * (p & (kept['y'] == 1)).sum() / max(p.sum(), 1))


def test_every_model_with_a_part_to_fit_on_has_decisions(tiny, frozen):
    out = train.run(tiny(*frozen, 'model.name=baseline', 'data.tune=0.3'))
    assert out['decisions']['classes'].keys() == out['metrics']['AP'].keys()
    assert all(one['is_pooled'] for one in out['decisions']['classes'].values())  # Of five images.
    again = json.loads((Path(out['folder']) / 'result.json').read_text())
    os.remove(Path(out['folder']) / 'result.json')  # Only its last words are left to be said.
    assert train.run(tiny(*frozen, 'model.name=baseline', 'data.tune=0.3'))['decisions'] == again['decisions']


def test_a_blend_needs_its_part(tiny):
    with pytest.raises(ConfigError, match="^'model.score=blend' is fitted on images that do not train: data.tune=0.1"):
        tiny('model.score=blend', 'data.tune=0')

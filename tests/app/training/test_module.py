"""What a module does around its steps: labels are encoded once an evaluation, never with an older epoch's weights."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import mlsgm_pyg
from mlsgm_pyg.app.data.parts import Parts
from mlsgm_pyg.app.training import train
from mlsgm_pyg.app.training.module import Recognition
from mlsgm_pyg.app.training.optimizer import build_schedule, trained_parts
from mlsgm_pyg.datasets import ImageDataset, Subset, build_view
from mlsgm_pyg.models import MLSGM
from mlsgm_pyg.schema import RELATED


@pytest.mark.parametrize('ema', [0.0, pytest.param(0.6, marks=pytest.mark.slow)])
def test_evaluation_encodes_labels_once_and_anew(tiny, ema, monkeypatch):
    calls, built = [], MLSGM.__init__

    @functools.wraps(built)  # Its options are read from its signature.
    def spied(self, *args, **kwargs):
        built(self, *args, **kwargs)
        self.ilms.encoder.edges[RELATED].norms[0].register_forward_hook(
            lambda *_: calls.append(torch.is_grad_enabled())
        )

    monkeypatch.setattr(MLSGM, '__init__', spied)
    config = tiny('data.eval_batch_size=4', f'optimizer.ema_epochs={ema}', 'optimizer.lr=0.05', 'trainer.max_epochs=3')
    out = train.run(config)
    steps, evaluations = 3 * 3, 3
    assert sum(calls) == steps and len(calls) - sum(calls) == evaluations  # 13 test images are four batches.

    monkeypatch.undo()
    folder = Path(out['folder'])
    model, part = mlsgm_pyg.load(folder / 'last.ckpt'), Parts.read(config).test
    images = ImageDataset(Subset(*part), build_view(config.data.test_view, config.data.image_size))
    with torch.no_grad():
        expected = model(torch.stack([images[i]['image'] for i in range(13)])).graph_logits
    found = torch.from_numpy(np.load(folder / 'scores.npz')['graph'])
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-4)


def test_parts_learn_at_rates_of_their_own(tiny):
    config = tiny()
    model = train._build(config, Parts.read(config)).model
    options = {'backbone_lr_factor': 0.1, 'csac_lr_factor': 10.0, 'decay_all': True}

    def parts(**changes):
        return trained_parts(model, OmegaConf.create(options | changes))

    found = parts()
    assert next(iter(found)) == (1.0, True)  # The head first: its rate is the one that logs and schedules name.
    assert sorted(found) == [(0.1, True), (1.0, True), (10.0, True)]
    assert {id(p) for p in found[10.0, True]} == {id(p) for p in model.csac.classifier.parameters()}
    assert {id(p) for p in found[0.1, True]} == {id(p) for p in model.backbone.parameters()}
    assert sum(map(len, found.values())) == len(list(model.parameters()))
    assert list(parts(backbone_lr_factor=1.0, csac_lr_factor=1.0)) == [(1.0, True)]
    split = parts(decay_all=False)
    assert set(split) == {(factor, decays) for factor in (0.1, 1.0, 10.0) for decays in (True, False)}
    assert {id(p) for p in split[10.0, False]} == {id(model.csac.classifier.bias)}
    norms = [p for module in model.modules() if isinstance(module, torch.nn.LayerNorm) for p in module.parameters()]
    assert {id(p) for p in norms} <= {id(p) for p in split[1.0, False]}
    assert all(p.dim() > 1 for (_, decays), params in split.items() if decays for p in params)
    model.backbone.freeze()
    assert sorted(parts()) == [(1.0, True), (10.0, True)]


@pytest.mark.parametrize('row', ['digits', 'digits_baseline'])
def test_the_threshold_of_the_boxes_reaches_csac(tiny, row):
    module = Recognition(tiny('model.box_threshold=0.4', row=row), list('abc'), torch.zeros(4, 3, dtype=torch.int8))
    if row == 'digits':
        assert module.model.csac.box_threshold == 0.4
    assert ('box_threshold' in module.model_options) == (row == 'digits')  # The baseline has no boxes.


@pytest.mark.parametrize(
    ('warmup', 'total'), [(0.25, 4), (0.1, 10), (1 / 3, 3), (0.5, 2), (0.25, 1), (0.25, 3), (0, 5)]
)
def test_one_cycle_of_few_steps(warmup, total):
    """Where the climb is over at the first step, torch's schedule alone would divide by 0."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], 0.5)
    options = OmegaConf.create({'schedule': 'onecycle', 'warmup': warmup})
    scheduler = build_schedule(optimizer, options, total, total)
    rates = [optimizer.param_groups[0]['lr']]
    for _ in range(total - 1):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]['lr'])
    if warmup * total == 1:
        assert rates[0] == pytest.approx(0.5, rel=1e-6)
    assert 0 < min(rates) and max(rates) <= 0.5
    assert total == 1 or rates[-1] == min(rates)

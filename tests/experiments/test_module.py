"""What a module does around its steps: labels are encoded once an evaluation, never with an older epoch's weights."""

import functools
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import mlsgm_pyg
from experiments import scores, train
from experiments.data import DataModule
from experiments.module import Recognition, build_schedule, trained_parts
from mlsgm_pyg.datasets import ImageDataset, Subset, build_view
from mlsgm_pyg.models import MLSGM
from mlsgm_pyg.schema import RELATED


@pytest.mark.parametrize('ema', [0.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_evaluation_encodes_labels_once_and_anew(tiny, ema, monkeypatch):
    calls, built = [], MLSGM.__init__

    @functools.wraps(built)  # Its options are read from its signature.
    def spied(self, *args, **kwargs):
        built(self, *args, **kwargs)
        self.ilms.encoder.edges[RELATED].norms[0].register_forward_hook(
            lambda *_: calls.append(torch.is_grad_enabled())
        )

    monkeypatch.setattr(MLSGM, '__init__', spied)
    config = tiny('data.eval_batch_size=4', f'ema={ema}', 'optimizer.lr=0.05', 'trainer.max_epochs=3')
    out = train.run(config)
    steps, evaluations = 3 * 3, 3
    assert sum(calls) == steps and len(calls) - sum(calls) == evaluations  # 13 test images are four batches.

    monkeypatch.undo()
    folder = Path(out['folder'])
    model, part = mlsgm_pyg.load(folder / 'last.ckpt'), DataModule(config).test_part
    images = ImageDataset(Subset(*part), build_view(config.data.test_view, config.data.image_size))
    with torch.no_grad():
        expected = model(torch.stack([images[i]['image'] for i in range(13)])).graph_logits
    found = torch.from_numpy(scores.load(folder / 'scores.npz')['graph'])
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-4)


def test_parts_learn_at_rates_of_their_own(tiny):
    model = train._build(tiny())[1].model
    parts = dict(trained_parts(model, 0.1, 10.0))
    assert list(parts) == [1.0, 0.1, 10.0]  # The head first: its rate is the one that logs and schedules name.
    assert {id(p) for p in parts[10.0]} == {id(p) for p in model.csac.classifier.parameters()}
    assert {id(p) for p in parts[0.1]} == {id(p) for p in model.backbone.parameters()}
    assert sum(map(len, parts.values())) == len(list(model.parameters()))
    assert [factor for factor, _ in trained_parts(model, 1.0, 1.0)] == [1.0]
    model.backbone.freeze()
    assert [factor for factor, _ in trained_parts(model, 0.1, 10.0)] == [1.0, 10.0]


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

"""The rows of peers and ablations: what they are, and that they train."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import mlsgm_pyg
from mlsgm_pyg import models
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.config.options import OPTIONS
from mlsgm_pyg.app.data.parts import Parts
from mlsgm_pyg.app.results import scores
from mlsgm_pyg.app.training import module, optimizer, train
from mlsgm_pyg.datasets import ImageDataset, Subset, build_view

ROWS = [
    *(f'coco18_{peer}' for peer in ('ml_gcn', 'add_gcn', 'ssgrl', 'wo_csac')),
    *(f'coco18_ablation_{row}' for row in range(2, 7)),
]
# Narrow, as digits' photographs are small.
NARROW = ['model.backbone=resnet18', 'model.weights=none', 'semantics.source=onehot', 'data.on_error=skip']
NARROW += ['model.joint_channels=8', 'model.output_channels=8', 'trainer.max_epochs=1', 'data.test_split=test']
QUICK = ('coco18_ml_gcn',)
PARTS = {
    2: {'csac'},
    3: {'csac', 'instance_graph'},
    4: {'label_graph'},
    5: {'instance_graph', 'label_graph'},
    6: {'csac', 'instance_graph', 'label_graph'},
}


@pytest.mark.parametrize('row', [pytest.param(row, marks=[] if row in QUICK else pytest.mark.slow) for row in ROWS])
def test_a_row_trains_and_explains_itself(tiny, photos, row):
    config = tiny(*photos, *NARROW, row=row)
    assert config.features.cache and config.model.freeze_backbone
    out = train.run(config, command='the command')
    folder = Path(out['folder'])
    assert 0 < out['mAP'] <= 100 and out['images'] == {'train': 21, 'test': 12}
    kept = np.load(folder / 'scores.npz')
    names = {'ablation_2': 3, 'ablation_3': 3, 'ablation_6': 3}.get(row.removeprefix('coco18_'), 1)
    assert len(scores.names_of(kept)) == names and out['score'] in scores.names_of(kept)
    assert json.loads((folder / 'result.json').read_text())['mAP'] == out['mAP']

    model, parts = mlsgm_pyg.load(folder / 'last.ckpt'), Parts.read(config)
    if 'co_occurrence' in dict(model.named_buffers()):
        torch.testing.assert_close(model.co_occurrence, mlsgm_pyg.co_occurrence(parts.train.y))
    images = ImageDataset(Subset(*parts.test), build_view(config.data.test_view, config.data.image_size))
    with torch.no_grad():
        logits = model(torch.stack([images[i]['image'] for i in kept['index'].tolist()])).logits
    expected = torch.from_numpy(kept[out['score']]).float()
    torch.testing.assert_close(logits, expected, rtol=2e-2, atol=2e-2)  # Of maps kept as float16.


@pytest.mark.parametrize('data', ['coco18', 'coco', 'voc2007'])
@pytest.mark.parametrize('row', PARTS)
def test_the_ablations_are_table_vii(data, row):
    config, whole = configs.load(f'{data}_ablation_{row}'), configs.load(data)
    assert config.model.name == 'ablation' and set(config.model.parts) == PARTS[row]
    config.model.name, config.model.parts, config.name, config.row = 'ml_sgm', [], whole.name, whole.row
    if data == 'coco18':  # Where each row has the best rate of its own trials.
        config.optimizer.lr = whole.optimizer.lr
    assert config == whole  # Nothing else differs.


def test_without_csac_differs_from_ml_sgm_in_nothing_else():
    for data in ('coco18', 'coco'):
        config, whole = configs.load(f'{data}_wo_csac'), configs.load(data)
        config.model.name, config.name, config.row = 'ml_sgm', whole.name, whole.row
        assert config == whole


@pytest.mark.parametrize('data', ['coco', 'voc2007'])
def test_the_presets_hold_the_published_numbers(data):
    config = configs.load(f'{data}_ml_gcn')
    model, optimizer = config.model, config.optimizer
    assert (model.tau, model.reweight, model.hidden_channels) == (0.4, 0.2, 1024)
    assert (optimizer.name, optimizer.lr, optimizer.momentum, optimizer.weight_decay) == ('sgd', 0.01, 0.9, 1e-4)
    assert (optimizer.step_epochs, config.trainer.max_epochs, config.data.image_size) == (40, 100, 448)
    config = configs.load(f'{data}_add_gcn')
    assert (config.model.feature_channels, config.model.pooling, config.model.top_k) == (1024, 'sum', 1)
    assert (config.optimizer.lr, config.optimizer.backbone_lr_factor, config.data.batch_size) == (0.05, 0.1, 16)
    assert (list(config.optimizer.milestones), config.trainer.max_epochs) == ([30, 40], 50)
    config = configs.load(f'{data}_ssgrl')
    model, optimizer = config.model, config.optimizer
    assert (model.feature_channels, model.joint_channels, model.output_channels) == (None, 1024, 2048)
    assert (model.num_steps, model.map_pooling, config.data.image_size, config.data.batch_size) == (3, 2, 576, 4)
    assert (optimizer.name, optimizer.lr, optimizer.weight_decay, optimizer.backbone_lr_factor) == ('adamw', 1e-5, 0, 1)
    for peer in ('ml_gcn', 'add_gcn', 'ssgrl'):
        loss = configs.load(f'{data}_{peer}').loss
        assert (loss.name, loss.beta) == ('weighted_bce', 0.0)  # Plain cross-entropy.


def test_every_model_can_be_asked_for_and_takes_its_own_options_alone():
    assert set(OPTIONS['model.name'].choices) == set(models.MODELS)
    for name in models.MODELS:
        taken = module.model_options(configs.load('coco18', [f'model.name={name}']).model)
        assert set(taken) <= {*module.BUILT, *models.arguments(name)} and taken['name'] == name


def test_milestones():
    options = configs.load('coco_add_gcn').optimizer
    factor = optimizer.schedule(options, 500, 10)
    assert [round(factor(step), 6) for step in (0, 299, 300, 399, 400, 499)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
    options = OmegaConf.merge(options, {'milestones': []})
    assert [round(optimizer.schedule(options, 500, 10)(step), 6) for step in (299, 300, 499)] == [1, 0.1, 0.1]


def test_parts_are_an_ablations():
    assert configs.load('coco18', ['model.name=ablation', 'model.parts=csac,label_graph']).model.parts == [
        'csac', 'label_graph',
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"'model.parts' needs model.name=ablation \(got model.name=ml_sgm\)"):
        configs.load('coco18', ['model.parts=csac'])


def test_graphs_are_stored_of_ml_sgm_only():
    with pytest.raises(ConfigError, match="'graphs.store' stores the graphs of ml_sgm: .* model.name=wo_csac"):
        configs.load('coco18_wo_csac', ['graphs.store=true', 'graphs.csac=x'])

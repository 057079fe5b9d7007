"""The rows of NUS-WIDE and Visual Genome train and evaluate on miniatures of the official layouts."""

import numpy as np
import pytest

from mlsgm_pyg import datasets
from mlsgm_pyg.app.data import parts
from mlsgm_pyg.app.training import train
from tests.miniature_nus_wide import CONCEPTS, write_nus_wide
from tests.miniature_visual_genome import write_vg

SMALL = ['model.backbone=resnet18', 'model.weights=none', 'semantics.source=onehot', 'trainer.max_epochs=1']
WORDS = ['man', 'tree', 'sign', 'traffic_light', 'dog', 'sky']


@pytest.fixture
def nus_wide(tmp_path):
    root = tmp_path / 'nus'
    rng = np.random.default_rng(0)
    for split, num in (('Train', 11), ('Test', 7)):
        images = {f'{split.lower()}/{i:04d}_{i}.jpg': set(rng.choice(CONCEPTS, 3).tolist()) for i in range(num)}
        write_nus_wide(root, split, images)
        (root / 'Flickr' / split.lower() / '0002_2.jpg').unlink()  # Lost by Flickr.
    return [f'data.root={root}', 'data.verify=false']


@pytest.fixture
def vg(tmp_path):
    rng = np.random.default_rng(0)
    images = {i: [([word], [f'{word}.n.01']) for word in rng.choice(WORDS, 3)] for i in range(20, 38)}
    write_vg(tmp_path / 'vg', images, extra=(99,))
    return [f'data.root={tmp_path / "vg"}', 'data.verify=false', 'data.vg_classes=5', 'model.label_k=3']


@pytest.mark.slow
@pytest.mark.parametrize('row', ['nus_wide', 'nus_wide_baseline'])
def test_nus_wide(tiny, nus_wide, row):
    result = train.run(tiny(*SMALL, *nus_wide, row=row), command='the command')
    assert result['images'] == {'train': 10, 'test': 6} and 0 < result['mAP'] <= 100
    source = parts.build_source(tiny(*nus_wide, row=row).data, 'train')
    assert len(source) == 10 and source.lost == ['train/0002_2.jpg']


@pytest.mark.slow
@pytest.mark.parametrize('row', ['vg200', 'vg200_baseline', 'vg500', 'vg500_baseline'])
def test_vg(tiny, vg, row):
    result = train.run(tiny(*SMALL, *vg, row=row), command='the command')
    assert result['images'] == {'train': 17, 'test': 2} and 0 < result['mAP'] <= 100
    train_part, test_part = parts.build_parts(tiny(*vg, row=row).data)
    assert (len(train_part.rows), len(test_part.rows)) == (17, 2)  # The one that no one described is trained on, too.


@pytest.mark.parametrize('on_error', ['raise', 'skip'])
@pytest.mark.parametrize(
    ('row', 'kind', 'options', 'given'),
    [
        ('nus_wide', 'NusWide', [], {}),
        ('vg200', 'VisualGenome', [], {'num_classes': 200, 'by': 'synsets', 'lists': ''}),
        (
            'vg500',
            'VisualGenome',
            ['data.vg_by=names', 'data.vg_lists=lists'],
            {'num_classes': 500, 'by': 'names', 'lists': 'lists'},
        ),
    ],
)
def test_options_reach_the_data_set(tiny, row, kind, options, given, on_error, monkeypatch):
    def record(root, split, *args, **kwargs):
        names = real.__init__.__code__.co_varnames[3:]
        seen.append({'root': root, 'split': split} | dict(zip(names, args)) | kwargs)

    seen, real = [], getattr(datasets, kind)
    monkeypatch.setattr(datasets, kind, record)
    config = tiny(*options, 'data.root=somewhere', f'data.on_error={on_error}', row=row)
    parts.build_source(config.data, 'test')
    wanted = {'root': 'somewhere', 'split': 'test', 'missing': on_error} | given
    assert {key: seen[0].get(key) for key in wanted} == wanted

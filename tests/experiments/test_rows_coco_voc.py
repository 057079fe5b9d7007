"""The rows of MS-COCO and PASCAL VOC train and evaluate on miniatures of the official layouts."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import few_shot
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.training import train
from mlsgm_pyg.datasets import coco, voc
from tests.miniatures import write_coco, write_voc

SMALL = ['model.backbone=resnet18', 'model.weights=none', 'semantics.source=onehot', 'trainer.max_epochs=1']


def draw(names, number, share):
    """Some names for each of a number of images, now and then none."""
    rng = np.random.default_rng(number)
    return [
        [(str(name), int(rng.random() < 0.2)) for name in rng.permutation(names)[: rng.integers(0, share)]]
        for _ in range(number)
    ]


@pytest.fixture(scope='module')
def coco_root(tmp_path_factory):
    root, column = tmp_path_factory.mktemp('coco'), {name: at for at, name in coco.CATEGORIES.items()}
    for split, number in (('train', 11), ('val', 7)):
        objects = [[(column[name], crowd) for name, crowd in shown] for shown in draw(coco.NAMES, number, 5)]
        write_coco(root, split, dict(enumerate(objects, start=100)))
    return root


@pytest.fixture(scope='module')
def voc_root(tmp_path_factory):
    root = tmp_path_factory.mktemp('voc')
    for year, parts in ((2007, {'trainval': 11, 'test': 7}), (2012, {'train': 11, 'val': 7})):
        for split, number in parts.items():
            objects = draw(voc.NAMES, number, 5)
            write_voc(root, year, voc.NAMES, {split: {f'{split}_{i:06d}': shown for i, shown in enumerate(objects)}})
    return root


@pytest.mark.slow
@pytest.mark.parametrize('row', ['coco', 'coco_baseline', 'voc2007', 'voc2012', 'voc2012_baseline'])
def test_a_row_trains_and_evaluates(tiny, coco_root, voc_root, row):
    root = coco_root if row.startswith('coco') else voc_root
    result = train.run(tiny(*SMALL, f'data.root={root}', 'data.verify=false', row=row), command='the command')
    assert result['images'] == {'train': 11, 'test': 7} and 0 < result['mAP'] <= 100
    assert result['evaluated_on'] == ('test' if row == 'voc2007' else 'val')
    assert result['difficult'] == (None if row.startswith('coco') else 'ignore')
    written = json.loads((Path(result['folder']) / 'result.json').read_text())
    assert len(written['metrics']['AP']) == (80 if row.startswith('coco') else 20)


@pytest.mark.slow
def test_the_few_shot_row_runs_both_stages(tiny, tmp_path):
    """The paper's 16 novel classes: stage one on the 64 others, then every method on a draw."""
    root, column = tmp_path / 'coco', {name: at for at, name in coco.CATEGORIES.items()}
    novel = list(configs.load('coco_few_shot').task.novel)
    shown = [[(column[name], 0), (column[coco.NAMES[0]], 0)] for name in novel]  # Each novel class, with a base class.
    for split, first in (('train', 100), ('val', 200)):
        write_coco(root, split, dict(enumerate(shown, start=first)))
    path = tmp_path / 'words.npz'
    np.savez(path, names=coco.NAMES, vectors=np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32))
    given = [option for option in SMALL if not option.startswith('semantics')] + [f'semantics.source={path}']
    given += [f'data.root={root}', 'data.verify=false', 'task.shots=1', 'task.draws=1', 'task.ml_sgm_steps=2']
    given += ['task.linear_steps=2', 'task.scratch_steps=2', 'model.gamma=0.04', 'model.max_instances=4']
    config = tiny(*given, row='coco_few_shot')
    out = json.loads(few_shot.run(config, ['coco_few_shot', *given]).read_text())
    assert out['classes']['novel'] == novel and len(out['classes']['base']) == 64
    (draw,) = out['draws']
    assert len(draw['files']) == 16 and set(draw['positives'].values()) == {1}
    assert list(draw['methods']) == ['ml_sgm', 'linear', 'scratch']
    assert all(list(found['AP']) == novel for found in draw['methods'].values())
    kept = np.load(train.run_dir(config) / 'scores.npz')
    base = coco.NAMES[0]
    expected = [[name == base for name in out['classes']['base']]] * 16
    np.testing.assert_array_equal(kept['y'], expected)  # Stage one was evaluated on the base classes as written.


def test_a_part_of_a_data_set_is_an_error_of_one_line(tiny, coco_root):
    with pytest.raises(ConfigError, match=r"'train' of MS-COCO 2014 has 82,783 images \(got 11 in .*verify=False"):
        train.run(tiny(*SMALL, f'data.root={coco_root}', row='coco'))


def test_the_rows_hold_the_papers_numbers():  # Section IV-C and IV-G.
    config = configs.load('coco')
    assert (config.loss.name, config.loss.beta, config.model.gamma) == ('weighted_bce', 0.4, 0.2)
    assert (config.data.train_split, config.data.test_split, config.data.image_size) == ('train', 'val', 448)
    assert '300d' in config.semantics.source and config.data.images_without_labels == 'keep' and config.data.verify
    other = configs.load('voc2012')
    assert (other.loss.beta, other.model.gamma, other.data.train_split, other.data.test_split) == (
        0.0,
        0.5,
        'train',
        'val',
    )

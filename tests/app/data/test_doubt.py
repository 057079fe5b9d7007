"""Labels in doubt: the rule by hand, planted flips, and that training finds the maps."""

import numpy as np
import pytest
import torch

from mlsgm_pyg.app.cli import check
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.data import doubt
from mlsgm_pyg.app.data.feature_store import FeatureStores
from mlsgm_pyg.app.data.parts import Parts
from mlsgm_pyg.backbone import Backbone
from tests.app.data.test_check_folder import picture


def test_the_rule_by_hand():
    """Thresholds: there (0.9 + 0.8 + 0.1) / 3 = 0.6, not there (0.8 + 0.7 + 0.45 + 0.25) / 4 = 0.55."""
    p = np.array([[0.9], [0.8], [0.1], [0.2], [0.3], [0.55], [0.75], [0.99], [np.nan]])
    y = np.array([[1], [1], [1], [0], [0], [0], [0], [-1], [0]])
    # 2: not there with 0.9, past 0.55. 6: there with 0.75, past 0.6. 5: 0.55 and 0.45 reach neither.
    assert doubt.in_doubt(p, y) == [(2, 0), (6, 0)]
    assert doubt.in_doubt(p[:2], y[:2]) == []  # One answer alone has no other to be taken for.
    two = np.hstack([p, p]), np.hstack([y, np.where(y < 0, y, 1 - y)])
    assert doubt.in_doubt(*two)[:2] == [(0, 1), (2, 0)]  # Margin -0.8 both.


def test_where_both_answers_reach_their_threshold_the_more_probable_counts():
    """Thresholds: there (0.6 + 0.3) / 2 = 0.45, not there (0.6 + 0.45) / 2 = 0.525."""
    p, y = np.array([[0.6], [0.3], [0.4], [0.55]]), np.array([[1], [1], [0], [0]])
    assert doubt.in_doubt(p, y) == [(1, 0), (3, 0)]
    p = np.array([[0.52], [0.2], [0.49], [0.6]])  # 0.36 and 0.455: the first reaches both, as the third does.
    assert doubt.in_doubt(p, y) == [(1, 0), (3, 0)]


def test_planted_flips_come_first():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (300, 12)).astype(np.float32)
    y = (x[:, :3] + rng.normal(0, 0.1, (300, 3)) > 0.4).astype(np.int8)
    y[rng.random((300, 3)) < 0.1] = -1
    known = np.argwhere((y >= 0) & (np.abs(x[:, :3] - 0.4) > 1))
    flips = {tuple(map(int, known[k])) for k in rng.choice(len(known), 12, replace=False)}
    for i, c in flips:
        y[i, c] = 1 - y[i, c]
    p = np.stack([doubt.out_of_fold(x, y[:, c]) for c in range(3)], axis=1)
    assert (np.isnan(p) == (y < 0)).all()
    found = doubt.in_doubt(p, y)
    assert flips == set(found[:12]) and all(y[i, c] >= 0 for i, c in found)


def test_no_fold_sees_its_own_labels():
    x, y = np.eye(40, dtype=np.float32), np.arange(40) % 2  # Each image can be learned by heart, and none by others.
    assert np.ptp(doubt.out_of_fold(x, y)) < 0.2


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """24 pictures in two parts, light ones and dark ones; 2.png is labelled wrongly, 5.png is broken."""
    monkeypatch.setenv('MLSGM_CACHE', str(tmp_path / 'cache'))
    lines = ['file,split,light,rare']
    for i in range(24):
        picture(tmp_path / 'photos' / f'{i}.png', i)
        lines.append(f'{i}.png,{"val" if i > 17 else "train"},{i % 2},{int(i == 0)}')
    (tmp_path / 'photos' / '5.png').write_text('broken')
    (tmp_path / 'photos' / 'labels.csv').write_text('\n'.join(lines) + '\n')
    return tmp_path / 'photos'


def find(folder, backbone, is_asked=False, engine='auto'):
    options = ['data.image_size=32', 'data.num_workers=0', 'data.on_error=skip', 'data.tune=0', 'model.score=graph']
    config = configs.for_folder(folder, options=[*options, f'features.engine={engine}'])
    parts = Parts.read(config)
    out = doubt.find([parts.train.source, parts.test.source], config, is_asked)
    missing = [
        FeatureStores(backbone, 32).open(part.source, config.data.test_view).missing(part.rows)
        for part in (parts.train, parts.test)
    ]
    return out, missing


def test_maps_are_those_that_training_reads(folder, monkeypatch, capsys):
    backbone = Backbone('small', torch.nn.Conv2d(3, 4, 3, stride=4), 4).freeze()
    monkeypatch.setattr('mlsgm_pyg.backbone.build_backbone', lambda *of: backbone)
    monkeypatch.setattr(doubt, 'FEW', 3)
    why = '--doubt does, and first computes 24 feature maps, about 1 s, which training is then spared'
    assert find(folder, backbone)[0] == {'labels': [], 'classes_left_out': [], 'reason': why}
    out, missing = find(folder, backbone, is_asked=True)
    assert missing == [[5], []]
    assert out['reason'] == '' and out['classes_left_out'] == ['rare'] and out['labels']
    assert '5.png' not in [one['file'] for one in out['labels']]
    assert find(folder, backbone)[0] == out  # One map is missing: that of the broken one.
    assert find(folder, backbone, engine='onnx')[0]['reason'] == why  # The maps are torch's.
    words = ['data.image_size=32', 'data.num_workers=0', 'semantics.source=onehot', '--doubt']
    assert check.main([str(folder), *words]) == 1  # Of the broken one.
    lines, first = capsys.readouterr().out.splitlines(), out['labels'][0]
    about = '(not of rare: known in too few images)'
    at = lines.index(f'Labels in doubt, by the other images, most first {about}: {len(out["labels"])}')
    given = {1: 'given', 0: 'not given'}[first['given']]
    assert lines[at + 1] == f'  {first["file"]}: light is {given}, probability {first["probability"]:.2f}'


def test_why_nothing_is_looked_for(folder, monkeypatch):
    def refuse(*of):
        raise ImportError('it needs timm')

    monkeypatch.setattr('mlsgm_pyg.backbone.build_backbone', refuse)
    assert find(folder, Backbone('small', torch.nn.Conv2d(3, 4, 3), 4).freeze())[0]['reason'] == 'it needs timm'
    (folder / 'labels.csv').write_text('file,split,a\n0.png,train,1\n1.png,val,0\n')
    out = find(folder, Backbone('small', torch.nn.Conv2d(3, 4, 3), 4).freeze())[0]
    assert out['reason'] == 'no class is known to be there in 5 images, and not to be in 5'

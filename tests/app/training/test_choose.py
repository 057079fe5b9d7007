"""Training on a folder with one answer at the end, on photographs of a moment."""

import json

import pytest

from mlsgm_pyg import app
from mlsgm_pyg.app.cli import train as verb
from mlsgm_pyg.app.results.groups import find_checkpoint
from mlsgm_pyg.app.training import choose, train


@pytest.fixture
def words(photos, narrow, frozen, tmp_path):
    """Words of `mlsgm train` for a folder."""
    folder = next(word for word in photos if word.startswith('data.root=')).removeprefix('data.root=')
    places = [f'runs_dir={tmp_path / "runs"}', f'features.dir={tmp_path / "maps"}', 'data.on_error=skip']
    backbone = ['model.backbone=resnet18', 'model.weights=none', 'semantics.source=onehot', 'model.gamma=0.04']
    return [folder, *narrow, *frozen, *backbone, *places]


def test_one_command_one_answer(words, tmp_path, capsys, monkeypatch):
    assert verb.main(words) == 0
    out = capsys.readouterr().out
    place = tmp_path / 'runs' / 'photos'
    found = json.loads((place / 'answer.json').read_text())
    assert set(found['mAP']) == {'ml_sgm', 'baseline'} and found['images'] == 12
    assert 'ML-SGM and the linear baseline are level: ' in out or 'is ahead of' in out
    assert out.endswith(f'mlsgm predict {place} PHOTOGRAPHS --draw drawn\nmlsgm report {place}\n')
    assert [path.name for path in sorted(place.iterdir())] == ['answer.json', 'baseline', 'ml_sgm', 'model.ckpt']
    baseline = json.loads((place / found['folders']['baseline'] / 'result.json').read_text())['config']
    assert baseline['model']['name'] == 'baseline' and baseline['optimizer']['lr'] == 0.01
    assert baseline['trainer']['max_epochs'] == 2  # What both sides take is given to both.
    assert find_checkpoint(place).read_bytes() == (place / found['folders']['ml_sgm'] / 'last.ckpt').read_bytes()
    monkeypatch.setattr(train, 'fit', lambda *of: pytest.fail('it is trained once more'))
    assert verb.main(words) == 0
    assert capsys.readouterr().out.splitlines()[-5:] == out.splitlines()[-5:]
    run = app.train(words[0], options=words[1:])
    assert run.folder == place / found['folders']['ml_sgm'] and run.result['mAP'] == found['mAP']['ml_sgm']


def test_the_baseline_alone_waits_for_the_other(words, capsys):
    folder, *options = words
    alone = choose.beside(folder, 'photos_baseline', options)
    assert alone.answer is None and alone.run.options['model']['name'] == 'baseline'
    both = choose.beside(folder, 'photos', [*options, 'optimizer.lr=1e-4'])  # Of the row: not the baseline's.
    assert both.baseline.folder == alone.run.folder and both.run is both.ours
    assert both.ours.options['optimizer']['lr'] == 1e-4
    other = choose.beside(folder, 'photos', [*options, 'model.name=mlp'])
    assert other.answer is None and other.run.folder.parent.name == 'mlp'


def test_finetuning_goes_on_with_each_of_the_two(words):
    folder, *options = words
    first = choose.beside(folder, 'photos', options)
    place = first.ours.folder.parents[1]
    more = [option for option in options if not option.startswith(('features.cache', 'model.freeze'))]
    more = [*more, f'init={place}', 'features.cache=false', 'model.freeze_backbone=false', 'trainer.max_epochs=1']
    alone = choose.beside(folder, 'photos_finetune', more)
    assert alone.answer is None and alone.run.folder.parents[1].name == 'photos_finetune'
    both = choose.beside(folder, 'photos_finetune_baseline', more)
    assert both.ours.folder == alone.run.folder and both.answer['folders'].keys() == {'ml_sgm', 'baseline'}

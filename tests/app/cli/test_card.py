"""The model card of a trained checkpoint, and the command that prints it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

import mlsgm_pyg
from mlsgm_pyg import checkpoint
from mlsgm_pyg.app.cli import card
from mlsgm_pyg.app.data.parts import Parts
from mlsgm_pyg.app.results import model_card
from mlsgm_pyg.app.training import train


@pytest.mark.parametrize('file', ['last.ckpt', 'best.ckpt'])
def test_a_card_says_what_the_run_was(trained, file):
    """Against result.json and metrics.csv's history, which are written apart from it."""
    path = Path(trained['folder']) / file
    found = mlsgm_pyg.load(path).card
    assert json.loads(json.dumps(found, allow_nan=False)) == found  # Plain values only, and no NaN.
    learned, evaluated = found['trained_on'], found['evaluation']
    assert (learned['data'], learned['split'], learned['images']) == ('digits', 'train', 21)
    assert learned['labels'] == trained['labels'] and learned['task'] == 'full'
    source = Parts.read(train.OmegaConf.create(trained['config'])).train
    for name, number in learned['positives'].items():
        c = source.source.class_names.index(name)
        assert number == sum(int(row[c]) == 1 for row in source.y)
    assert (evaluated['split'], evaluated['images'], evaluated['score']) == ('test', 13, 'graph')
    assert evaluated['metrics']['mAP'] == round(trained['history'][evaluated['epoch'] - 1]['mAP'], 2)
    assert found['command'] == 'the command' and found['commit'] == trained['commit']
    assert found['versions'] == trained['versions'] and found['model']['parameters'] == trained['parameters']['all']
    assert datetime.now(UTC) - datetime.fromisoformat(found['date']) < timedelta(hours=1)
    if file == 'last.ckpt':
        assert evaluated['epoch'] == 2
        assert evaluated['mAP_by_score'] == {k: round(v, 2) for k, v in trained['mAP_by_score'].items()}
        for name, value in trained['metrics']['AP'].items():
            assert evaluated['metrics']['AP'][name] == (None if value is None else round(value, 2))


def test_before_any_evaluation(tiny):
    config = tiny('data.dev=0.2', 'model.backbone=resnet18', row='digits_baseline')
    found = model_card.begin(config, ['a', 'b'], torch.tensor([[1, 0], [1, -1], [0, -1]]), torch.nn.Linear(3, 2))
    assert found['trained_on']['positives'] == {'a': 2, 'b': 0}
    assert found['trained_on']['labels'] == {'known': 4, 'all': 6}
    assert found['trained_on']['split'] == 'train without 0.2' and found['model']['parameters'] == 8
    assert found['use'].endswith('shows.') and model_card.BOXES not in found['limits']
    assert 'None yet.' in model_card.page(found)


@pytest.mark.parametrize(
    ('options', 'key', 'told'),
    [
        (['model.weights=none'], 'backbone', 'no weights of others: trained from random ones'),
        (['model.weights=my.pth'], 'backbone', 'weights of a file: for whoever trained this to say'),
        (['model.weights=DEFAULT'], 'backbone', 'BSD-3-Clause'),
        (['model.weights=DEFAULT', 'model.backbone=timm/resnet10t'], 'backbone', 'a licence of its own'),
        (['data.name=vg'], 'data', 'CC BY 4.0'),
        (['semantics.source=kumo'], 'word_vectors', 'GloVe 6B (PDDL 1.0)'),
        (['semantics.source=my.npz'], 'word_vectors', 'of a file'),
    ],
)
def test_licences(tiny, options, key, told):
    found = model_card.begin(tiny(*options), ['a'], torch.ones(1, 1), torch.nn.Linear(1, 1))
    assert told in found['licences'][key]
    assert '/' not in found['model']['weights']  # Whose folders are like what is nobody's business.


def test_every_data_set_has_a_note():
    from mlsgm_pyg.app.config.options import OPTIONS

    assert set(model_card.DATA) == set(OPTIONS['data.name'].choices)


def test_the_command(trained, capsys):
    path = str(Path(trained['folder']) / 'last.ckpt')
    assert card.main([path, '--markdown']) == 0
    text = capsys.readouterr().out
    assert text.startswith('# digits\n') and '```bash\nthe command\n```' in text
    assert f'| all labels | {trained["metrics"]["mAP"]:.2f} | {trained["metrics"]["CP"]:.2f} |' in text
    assert '21 images of `digits`, part `train`' in text and '13 images, part `test`, epoch 2' in text
    assert text.count('\n| zero | ') == 1
    assert card.main([path]) == 0
    out = capsys.readouterr().out
    assert 'Licences' in out and '|' not in out and '#' not in out


def test_more_classes_than_anyone_reads():
    names = [f'class {i}' for i in range(31)]
    found = {'images': 2, 'split': 'val', 'epoch': None, 'score': 'graph', 'ap': 'non_interpolated', 'top3': 'plain'}
    six = ('CP', 'CR', 'CF1', 'OP', 'OR', 'OF1')
    found['metrics'] = dict.fromkeys(('mAP', *six, *(f'top3_{key}' for key in six)), 1.0)
    found['metrics']['AP'] = dict.fromkeys(names)
    lines = model_card._evaluation(found, dict.fromkeys(names, 1))
    assert lines[-1] == 'AP of each of the 31 classes: in `model.card`.'
    assert lines[0] == '2 images, part `val`; `graph` score; percent.'
    assert '| class 29 | 1 | - |' in model_card._evaluation(found, dict.fromkeys(names[:30], 1))[-1]


def test_errors_are_one_line(trained, tmp_path, capsys):
    assert card.main([str(tmp_path / 'gone.ckpt')]) == 2
    assert capsys.readouterr().err == f"error: there is no checkpoint '{tmp_path / 'gone.ckpt'}'\n"
    content = torch.load(Path(trained['folder']) / 'last.ckpt', weights_only=True)
    del content[checkpoint.KEY]['card']
    old = tmp_path / 'old.ckpt'
    torch.save(content, old)
    assert card.main([str(old)]) == 2
    err = capsys.readouterr().err
    assert err == f'error: {old} has no model card: it was written without one (train it once more)\n'


def test_the_weight_of_a_blend_is_told(trained):
    about = checkpoint.read(Path(trained['folder']) / 'last.ckpt')[checkpoint.KEY]
    found = about['card']['evaluation'] | {'score': 'blend', 'blend': 0.35}
    told = model_card._evaluation(found, dict.fromkeys(about['class_names'], 1))[0]
    assert "`blend` score, 0.35 of it CSAC's; percent." in told
    assert 'CSAC' not in model_card._evaluation(about['card']['evaluation'], dict.fromkeys(about['class_names'], 1))[0]

"""The command with --labels: new words and trained ones, and what it says when it cannot."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mlsgm_pyg
from mlsgm_pyg import checkpoint, models
from mlsgm_pyg.app.cli import predict
from mlsgm_pyg.app.prediction import records
from tests.predictions import lines

OPTIONS = {
    'backbone': 'resnet18', 'weights': 'none', 'last_stride': 1, 'feature_channels': 16, 'gamma': 0.02,
    'max_instances': 2, 'hidden_channels': 8, 'decoder_channels': 8, 'encoder_channels': [8], 'block_channels': [8, 8],
}  # fmt: skip
NAMES, NEW = ['cat', 'dog', 'traffic light'], ['bus', 'bird']


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two pictures, word vectors, and checkpoints of ML-SGM and of the baseline."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez('words.npz', names=NAMES + NEW, vectors=rng.normal(size=(5, 6)).astype(np.float32))
    np.savez('other.npz', names=NAMES + NEW, vectors=rng.normal(size=(5, 6)).astype(np.float32))
    for i in range(2):
        Image.fromarray(rng.integers(0, 256, (30, 40 + i, 3), dtype=np.uint8)).save(f'{i}.png')
    words = mlsgm_pyg.word_vectors(NAMES, 'words.npz')
    config = {'semantics': {'source': 'words.npz'}, 'data': {'image_size': 32}}
    for name, options in (('ml_sgm', OPTIONS), ('baseline', {'backbone': 'resnet18', 'weights': 'none'})):
        model = models.build(name, num_labels=3, word_vectors=words, **options)
        state = {checkpoint.PREFIX + key: value for key, value in model.state_dict().items()}
        about = checkpoint.pack({'name': name, **options}, NAMES, words, config)
        torch.save({'state_dict': state, checkpoint.KEY: about}, f'{name}.ckpt')
    return tmp_path


@pytest.fixture
def call(folder, capsys):
    def run(*words, name='ml_sgm.ckpt'):
        status = predict.main([name, '0.png', '1.png', '--workers', '0', '--accelerator', 'cpu', *words])
        return status, *capsys.readouterr()

    return run


def test_labels_are_scored_as_the_library_scores_them(call):
    assert call('--labels', 'bus, Traffic_Light,bird', '--draw', 'drawn', '--batch-size', '1')[0] == 0
    model = mlsgm_pyg.load('ml_sgm.ckpt')
    for one in lines():
        found = model.predict(one['file'], labels=['bus', 'Traffic_Light', 'bird'])[0]
        assert one == records.record(one['file'], found) and len(one['probabilities']) == 3
    about = json.loads(Path('predictions.about.json').read_text())
    assert about['labels'] == about['class_names'] == ['bus', 'Traffic_Light', 'bird']
    assert about['unseen_maps'] == 'label' and len(list(Path('drawn').glob('*.jpg'))) == 2
    status, _, err = call('--labels', 'bus,bird')
    assert status == 2 and "was made with labels=['bus', 'Traffic_Light', 'bird'], now it is ['bus', 'bird']" in err
    status, _, err = call('--labels', 'bus,bird', '--unseen-maps', 'nearest', '--again')
    assert status == 0
    found = model.predict('0.png', labels=['bus', 'bird'], unseen_maps='nearest')[0]
    assert [one['label'] for one in lines()[0]['labels']] == found.labels
    assert {one['label'] for one in lines()[0]['instances']} & {*NEW}


def test_errors_of_one_line(call, capsys):
    for words, told in [
        (['--labels', 'bus,unicycle'], "'words.npz' has no word vector for 1 of 2 class names: 'unicycle'"),
        (['--labels', 'bus', '--semantics', 'other.npz'], "'other.npz' must give the word vectors that the model was"),
        (['--labels', 'bus', '--semantics', 'lost.npz'], "No file of word vectors 'lost.npz'"),
        (['--labels', 'bus,,bird'], "'labels' must be a list of at least one name (got ['bus', '', 'bird'])"),
        (
            ['--labels', 'bus', '--unseen-maps', 'near'],
            "'unseen_maps' must be one of label, none, nearest (got 'near')",
        ),
    ]:
        status, out, err = call(*words)
        assert status == 2 and told in err and err.count('\n') == 1 and out == '', words
    status, _, err = call('--labels', 'bus', name='baseline.ckpt')
    assert status == 2 and 'needs a model that scores words, such as ml_sgm: a PooledLinear has weights' in err
    with pytest.raises(SystemExit):
        call('--semantics', 'other.npz')
    assert '--semantics and --unseen-maps are of --labels: name some' in capsys.readouterr().err
    assert not Path('predictions.jsonl').exists()

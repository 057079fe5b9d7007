"""Hostile input to predict and to the demo, a line a case; `pytest -s` on this file prints the table."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mlsgm_pyg.app.cli import demo, predict


def noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


class Code:
    def __reduce__(self):
        return os.mkdir, ('it was run',)


def changed(part, value):
    """Makes a checkpoint with a part of what it says of itself replaced."""

    def make(path, whole):
        whole['mlsgm_pyg'] = whole['mlsgm_pyg'] | {part: value}
        torch.save(whole, path)

    return make


CHECKPOINTS = {
    'missing': (lambda path, whole: None, "there is no checkpoint '"),
    'text': (lambda path, whole: path.write_text('x'), 'is not a readable checkpoint'),
    'foreign': (lambda path, whole: torch.save({'weight': torch.ones(2)}, path), 'is not a checkpoint of mlsgm_pyg'),
    'pickled code': (lambda path, whole: path.write_bytes(pickle.dumps(Code())), 'is not a readable checkpoint'),
    'code in torch.save': (
        lambda path, whole: torch.save({'state_dict': Code()}, path),
        'it holds something else, and nothing of it was run',
    ),
    'numbered weights': (
        lambda path, whole: torch.save(whole | {'state_dict': {1: torch.ones(1)}}, path),
        'is damaged',
    ),
    'names no strings': (changed('class_names', [1] * 10), "is damaged: 'class_names' must hold names"),
    'odd configuration': (changed('extra', {'data': 3}), "is damaged: 'extra' must hold"),
    'odd model': (
        changed('model', {'name': 'ml_sgm', 'backbone': 'resnet18', 'feature_channels': -1}),
        'cannot be built',
    ),
    'no layers': (changed('model', {'name': 'ml_sgm', 'encoder_channels': []}), 'cannot be built'),
}


@pytest.mark.parametrize('case', CHECKPOINTS)
def test_hostile_checkpoints(case, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make, told = CHECKPOINTS[case]
    noise().save('good.png')
    make(tmp_path / 'x.ckpt', torch.load(checkpoint, weights_only=True))
    commands = [predict.main(['x.ckpt', 'good.png'])]
    if demo.find_spec('gradio') is not None:
        commands.append(demo.main(['x.ckpt', '--port', '0']))
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert commands == [2] * len(commands) and len(lines) == len(commands) and len({*lines}) == 1 and out == ''
    assert lines[0].startswith('error: ') and told in lines[0]
    assert not Path('it was run').exists() and not Path('predictions.jsonl').exists()
    print(f'| checkpoint: {case} | {lines[0][:110]} |')  # noqa: T201

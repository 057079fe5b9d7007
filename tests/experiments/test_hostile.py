"""Hostile input to predict and to the demo, a line a case; `pytest -s` on this file prints the table."""

import errno
import json
import os
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mlsgm_pyg
from mlsgm_pyg.app.cli import demo, predict
from mlsgm_pyg.app.web.viewer import Viewer
from mlsgm_pyg.app.web.views import drop


def noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def truncated(path):
    noise().save(path, 'JPEG')
    path.write_bytes(path.read_bytes()[:3000])


def bomb(path):
    """A PNG that claims 20,000 x 20,000 pixels."""
    parts = [(b'IHDR', struct.pack('>IIBBBBB', 20000, 20000, 8, 2, 0, 0, 0)), (b'IDAT', zlib.compress(bytes(100)))]
    parts.append((b'IEND', b''))
    chunks = [struct.pack('>I', len(d)) + k + d + struct.pack('>I', zlib.crc32(k + d)) for k, d in parts]
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(chunks))


def animated(path):
    Image.new('P', (9, 9)).save(path, save_all=True, append_images=[Image.new('P', (9, 9), 1)] * 2)


def sixteen_bits(path):
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(path)


PICTURES = {  # Name of the case -> file, what makes it, why it cannot be read (None: it can).
    'truncated': ('t.jpg', truncated, 'OSError: image file is truncated'),
    'zero bytes': ('z.jpg', Path.touch, 'the file is empty'),
    '1x1': ('one.png', lambda path: Image.new('RGB', (1, 1)).save(path), None),
    '20,000x20,000 claimed': ('bomb.png', bomb, '400,000,000 pixels are more than the 120,000,000 that are allowed'),
    'CMYK': ('cmyk.jpg', lambda path: Image.new('CMYK', (20, 10)).save(path), None),
    '16 bit': ('16.png', sixteen_bits, None),
    'animated': ('a.gif', animated, None),
    'text renamed to .jpg': ('text.jpg', lambda path: path.write_text('x'), 'not an image of a known format'),
    'spaces and unicode': ('my ü 写真 😀.jpg', lambda path: noise().save(path), None),
    'unreadable file': ('locked.jpg', lambda path: noise().save(path), 'Permission denied'),
    'folder': ('folder.jpg', Path.mkdir, 'Is a directory'),
    'pipe': ('pipe.jpg', os.mkfifo, 'Not a regular file'),
}


@pytest.fixture
def locked(monkeypatch):
    """A superuser may read everything: Pillow is told no for one name."""
    real = Image.open

    def opened(path, *args, **formats):
        if 'locked' in str(path):
            raise PermissionError(errno.EACCES, 'Permission denied', str(path))
        return real(path, *args, **formats)

    monkeypatch.setattr(Image, 'open', opened)


@pytest.mark.parametrize('case', PICTURES)
def test_hostile_pictures(case, checkpoint, tmp_path, monkeypatch, capsys, locked):
    name, make, reason = PICTURES[case]
    monkeypatch.chdir(tmp_path)
    noise().save('good.png')
    make(tmp_path / name)
    listed = tmp_path / 'list.txt'  # A folder is searched through otherwise.
    listed.write_text(f'{name}/.\n' if case == 'folder' else f'{name}\n')
    words = [str(checkpoint), str(listed), 'good.png', '--workers', '0', '--accelerator', 'cpu']
    assert predict.main(words) == 0
    out, err = capsys.readouterr()
    assert 'Traceback' not in out + err
    one, good = [json.loads(line) for line in Path('predictions.jsonl').read_text().splitlines()]
    assert 'labels' in good  # What comes after it is done as ever.
    with Viewer(mlsgm_pyg.load(checkpoint)) as viewer:
        before = drop(viewer, 'good.png', None, 0.0, 0.5).seen
        shown = drop(viewer, name, before, 0.0, 0.5)
        assert '\n' not in shown.status
        if reason is None:
            assert 'error' not in one and shown.seen.name == name and shown.figures
        else:
            assert one['error'].startswith(reason) and f'{name}: {one["error"]}' in out
            assert shown.seen is before and f'cannot show {name}: {reason}' in shown.status
    print(f'| {case} | {one.get("error", "no error: it is predicted and shown")} |')  # noqa: T201


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

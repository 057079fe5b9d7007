"""The README's Python runs as it is printed, and its commands name rows that exist."""

import re
from pathlib import Path

import torch
from PIL import Image

from experiments import config
from mlsgm_pyg import checkpoint, models

README = (Path(__file__).parents[1] / 'README.md').read_text()
BLOCKS = re.findall(r'```python\n(.*?)```', README, flags=re.DOTALL)
CHECKPOINT = 'runs/digits/.../last.ckpt'


def test_python_examples(tmp_path):
    options = {'name': 'ml_sgm', 'backbone': 'resnet18', 'weights': 'none', 'feature_channels': 16}
    model = models.build(num_labels=2, word_vectors=torch.eye(2), **options)
    state = {checkpoint.PREFIX + key: value for key, value in model.state_dict().items()}
    path, photo = tmp_path / 'last.ckpt', tmp_path / 'photo.jpg'
    Image.new('RGB', (120, 90)).save(photo)
    torch.save(
        {
            'state_dict': state,
            checkpoint.KEY: checkpoint.pack(options, ['a', 'b'], torch.eye(2), {'data': {'image_size': 64}}),
        },
        path,
    )
    assert CHECKPOINT in BLOCKS[0] and len(BLOCKS) == 3
    names: dict = {}
    for block in BLOCKS:
        exec(block.replace(CHECKPOINT, str(path)).replace('photo.jpg', str(photo)), names)
    assert sorted(names['found'].labels) == ['a', 'b'] and names['found'].size == (120, 90)
    assert names['x_dict'].keys() == set(names['data'].node_types)


def test_commands_name_rows_and_options_that_exist():
    commands = re.findall(r'python -m experiments\.run ([^\n`"#]*)', README)
    assert len(commands) > 5
    for command in commands:
        words = command.split()
        if words and not words[0].startswith('--'):
            overrides = [word for word in words if '=' in word]
            for row in (word for word in words if '=' not in word):
                config.load(row, overrides)

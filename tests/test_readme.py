"""The README's Python runs as it is printed; its commands and the guide's exist, and links lead somewhere."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from experiments import run
from mlsgm_pyg import checkpoint, models
from mlsgm_pyg.app.config import load as configs

ROOT = Path(__file__).parents[1]
PAGES = {name: (ROOT / name).read_text() for name in ('README.md', 'docs/guide.md', 'docs/results.md')}
README = PAGES['README.md']
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


def test_regions_of_your_own():
    block = next(
        block for block in re.findall(r'```python\n(.*?)```', PAGES['docs/guide.md'], re.DOTALL) if 'ILMS' in block
    )
    names: dict = {}
    exec(block, names)
    assert names['out'].logits.shape == (2, 20) and names['out'].match_logits.shape == (3 * 20,)


@pytest.mark.parametrize('page', PAGES)
def test_commands_name_rows_and_options_that_exist(page):
    commands = re.findall(r'python -m experiments\.run ([^\n`"#]*)', PAGES[page])
    assert len(commands) > 5
    for command in commands:
        words = command.split()
        if words and not words[0].startswith('--'):
            words = run.parse(words).words
            overrides = [word for word in words if '=' in word]
            for row in (word for word in words if '=' not in word):
                configs.load(row, overrides)


@pytest.mark.parametrize('page', PAGES)
def test_commands_are_modules_that_run(page):
    found = set(re.findall(r'python -m ((?:experiments|benchmarks)\.\w+)', PAGES[page]))
    assert len(found) > 5
    for module in found:
        path = ROOT / f'{module.replace(".", "/")}.py'
        assert path.exists() and "__name__ == '__main__'" in path.read_text(), module


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_to_files_and_sections(page):
    links = [link for link in re.findall(r'\]\(([^)\s]+)\)', PAGES[page]) if '://' not in link]
    assert len(links) > 5
    for link in links:
        file, _, section = link.partition('#')
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), link
        assert not section or section in anchors(path.read_text()), link


def anchors(text: str) -> set[str]:
    """The names that GitHub gives a page's sections."""
    titles = re.findall(r'^#+ (.+)$', re.sub(r'```.*?```', '', text, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}

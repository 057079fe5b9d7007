"""The pages' Python runs as it is printed, every command is understood by its verb, and links lead somewhere."""

import argparse
import ast
import inspect
import re
import shlex
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from experiments.plan import configurations, plan, with_task
from mlsgm_pyg import app, checkpoint, models
from mlsgm_pyg.app.cli import VERBS
from mlsgm_pyg.app.config import load as configs

ROOT = Path(__file__).parents[1]
PAGES = ('README.md', 'CONTRIBUTING.md', 'docs/guide.md', 'docs/results.md')
DOORS = {'mlsgm': 'mlsgm_pyg.app.cli', 'mlsgm_pyg': 'mlsgm_pyg.app.cli', 'experiments': 'experiments'}
COMMAND = re.compile(r'(mlsgm |torchrun .*-m +mlsgm_pyg |python -m experiments\.)([a-z_]+)(.*)')


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf'```{language}\n(.*?)```', (ROOT / page).read_text(), re.DOTALL)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A model of two labels instead of training and of the tool's other work, and a photograph, where the test runs."""
    options = {'name': 'ml_sgm', 'backbone': 'resnet18', 'weights': 'none', 'feature_channels': 16}
    model = models.build(num_labels=2, word_vectors=torch.eye(2), **options)
    state = {checkpoint.PREFIX + key: value for key, value in model.state_dict().items()}
    packed = checkpoint.pack(options, ['a', 'b'], torch.eye(2), {'data': {'image_size': 64}})
    torch.save({'state_dict': state, checkpoint.KEY: packed}, tmp_path / 'last.ckpt')
    Image.new('RGB', (120, 90)).save(tmp_path / 'photo.jpg')
    run = SimpleNamespace(
        checkpoint=tmp_path / 'last.ckpt', folder=tmp_path, result={'mAP': 1.0}, class_names=['a', 'b']
    )
    monkeypatch.chdir(tmp_path)
    for name in ('train', 'predict', 'report'):
        monkeypatch.setattr(app, name, lambda *args, **options: run, raising=False)
    return run


def test_the_readmes_python(trained):
    names: dict = {}
    for block in blocks('README.md', 'python'):
        exec(block, names)
    assert sorted(names['found'].every) == ['a', 'b'] and names['found'].size == (120, 90)
    assert names['probabilities'].shape == (1, 20)
    assert names['x_dict'].keys() == set(names['data'].node_types)


def test_the_guides_python(trained):
    own, regions = {}, {}
    for block in blocks('docs/guide.md', 'python'):
        if 'import app' in block or 'model.predict' in block:
            exec(block, own)
        elif 'ILMS' in block:
            exec(block, regions)
    number = len(own['found'].labels)
    assert len(own['found'].every) == 2 and len(own['found'].maps) == own['found'].match.size(1) == number
    assert regions['out'].logits.shape == (2, 20) and regions['out'].match_logits.shape == (3 * 20,)


def test_what_the_tool_is_asked_for_in_python_it_takes():
    """What the fixture above stands in for."""
    code = '\n'.join(block for page in PAGES for block in blocks(page, 'python'))
    calls = [call for call in ast.walk(ast.parse(code)) if isinstance(call, ast.Call)]
    calls = [call for call in calls if ast.unparse(call.func).startswith('app.')]
    for call in calls:
        function = inspect.signature(getattr(app, call.func.attr))
        function.bind(*call.args, **{word.arg: word.value for word in call.keywords})
    assert {call.func.attr for call in calls} == {'train', 'predict', 'report'}


class Understood(BaseException):
    """Ends a verb whose words were read."""


def commands(page: str) -> list[tuple[str, str, list[str]]]:
    """The door, the verb and the words of every command on a page."""
    text = (ROOT / page).read_text()
    lines = '\n'.join(blocks(page, 'bash')).replace('\\\n', ' ').splitlines()
    inline = re.findall(r'`([^`\n]+)`', re.sub(r'```.*?```', '', text, flags=re.DOTALL))
    found = [match.groups() for line in (*lines, *inline) if (match := COMMAND.match(line))]
    return [(door.split()[-1].strip('.'), verb, shlex.split(words, comments=True)) for door, verb, words in found]


COMMANDS = {(*command[:2], *command[2]): command for page in PAGES for command in commands(page)}


def test_there_are_commands_of_every_verb():
    said = {f'{door} {verb}' for door, verb, _ in COMMANDS.values()}
    assert {f'mlsgm {verb}' for verb in VERBS} <= said
    verbs = {path.stem for path in (ROOT / 'experiments').glob('*.py') if '__main__' in path.read_text()}
    assert {f'experiments {verb}' for verb in verbs - {'subset'}} <= said


@pytest.mark.parametrize('command', COMMANDS.values(), ids=map(' '.join, COMMANDS))
def test_every_command_is_understood(command, monkeypatch):
    door, verb, words = command
    module = import_module(f'{DOORS[door]}.{verb}')
    if not words:  # A name in a sentence.
        return
    left = len(words)

    def entered(read):
        def parse(self, args, *more):
            nonlocal left
            out, left = read(self, args, *more), left - len(args)
            if left > 0:  # A verb whose first word says how the others are read.
                return out
            raise Understood

        return parse

    for name in ('parse_args', 'parse_intermixed_args'):
        monkeypatch.setattr(argparse.ArgumentParser, name, entered(getattr(argparse.ArgumentParser, name)))
    try:
        getattr(module, 'parse', module.main)(words)
    except Understood:
        pass
    names = [word for word in words if '=' not in word]
    options = [word for word in words if '=' in word]
    if verb == 'train':
        configs.load(words[words.index('--row') + 1] if '--row' in words else 'photos', options)
    elif verb == 'run' and not any(word.startswith('--') for word in words[:1]):
        configurations([word for word in words if word != '--jobs' and not word.isdigit()])
    elif verb == 'sweep':
        plan(words)
    elif verb in ('few_shot', 'zero_shot'):
        row, *options = with_task([names[0], *(word for word in options if not word.startswith('seeds='))])
        configs.load(row, options)


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_to_files_and_sections(page):
    text = (ROOT / page).read_text()
    links = [link for link in re.findall(r'\]\(([^)\s]+)\)', text) if '://' not in link]
    assert links
    for link in links:
        file, _, section = link.partition('#')
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), link
        assert not section or section in anchors(path.read_text()), link


@pytest.mark.parametrize('page', PAGES)
def test_files_and_benchmarks_that_are_named_exist(page):
    text = (ROOT / page).read_text()
    for module in set(re.findall(r'python -m (benchmarks\.\w+)', text)):
        assert (ROOT / f'{module.replace(".", "/")}.py').exists(), module
    for path in set(re.findall(r'`((?:mlsgm_pyg|experiments|tests|benchmarks|docs|results)/[\w./]+)`', text)):
        assert 'NAME' in path or (ROOT / path).exists(), path


def anchors(text: str) -> set[str]:
    """The names that GitHub gives a page's sections."""
    titles = re.findall(r'^#+ (.+)$', re.sub(r'```.*?```', '', text, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}

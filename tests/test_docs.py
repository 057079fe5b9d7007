"""The pages are built without a warning and hold every public name; the tutorial runs; docstrings are complete."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

import mlsgm_pyg
from mlsgm_pyg.app.cli import VERBS

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = ('mlsgm_pyg', 'mlsgm_pyg.nn', 'mlsgm_pyg.models', 'mlsgm_pyg.datasets', 'mlsgm_pyg.export')
MODULES = [m.name for m in pkgutil.walk_packages(mlsgm_pyg.__path__, 'mlsgm_pyg.') if '.app' not in m.name]


def constants() -> set[str]:
    """Where the public names that have no module of their own are defined."""
    out = set()
    for name in (name for module in PUBLIC for name in importlib.import_module(module).__all__):
        homes = [m for m in ('mlsgm_pyg', *MODULES) if re.search(rf'^{name}\b.* = ', _source(m), re.MULTILINE)]
        out |= {f'{home}.{name}' for home in homes}
    return out


def _source(module: str) -> str:
    return Path(importlib.import_module(module).__file__).read_text()


def definitions() -> set[str]:
    """Where every public class and function is defined."""
    found = (getattr(importlib.import_module(module), name) for module in PUBLIC for name in _names(module))
    return {f'{part.__module__}.{part.__qualname__}' for part in found if callable(part)}


def _names(module: str) -> list[str]:
    return importlib.import_module(module).__all__


@pytest.mark.slow
def test_the_pages_are_built_without_a_warning(tmp_path):
    pytest.importorskip('furo', reason='the extra docs is not installed')
    from sphinx.util.inventory import InventoryFile

    command = [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-d', tmp_path / 'cache', 'docs', tmp_path]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    with (tmp_path / 'objects.inv').open('rb') as file:
        inventory = InventoryFile.load(file, '', lambda base, path: path)
    described = {name for kind, names in inventory.items() if kind.startswith('py:') for name in names}
    assert definitions() <= described, f'no page has {sorted(definitions() - described)}'
    assert constants() <= described, f'no page has {sorted(constants() - described)}'

    pages = {path.stem: path.read_text() for path in tmp_path.glob('*.html')}
    verbs = {path.stem for path in (ROOT / 'experiments').glob('*.py') if '__main__' in path.read_text()}
    assert {'run', 'sweep', 'table'} <= verbs and 'processes' not in verbs
    for verb in verbs | VERBS.keys():
        assert f'id="verb-{verb}"' in pages['experiments'], verb
    for name, page in pages.items():  # They open from disk, without the network.
        assert not re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(?:https?:)?//', page), name
    assert 'MathJax' not in ''.join(pages.values()) and '<math' in pages['csac'] and '<math' in pages['losses']


def test_the_names_that_the_pages_must_have():
    """What the test above looks for is there at all."""
    assert {'mlsgm_pyg.csac.CSAC', 'mlsgm_pyg.nn.mlp.SplitMLP', 'mlsgm_pyg.datasets.csv.CsvDataset'} <= definitions()
    expected = {'mlsgm_pyg.__version__', 'mlsgm_pyg.models.MODELS', 'mlsgm_pyg.datasets.transforms.VIEWS'}
    expected |= {'mlsgm_pyg.datasets.few_shot.COCO_NOVEL', 'mlsgm_pyg.datasets.images.MAX_PIXELS'}
    assert constants() == expected | {'mlsgm_pyg.exported.ABOUT'}
    count = sum(len(_names(module)) for module in PUBLIC)
    assert count - len(definitions() | constants()) < 10  # Names that mlsgm_pyg has from the others.


@pytest.mark.slow
def test_the_tutorial(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    with torch.random.fork_rng():
        names = runpy.run_path(str(ROOT / 'docs' / 'tutorial.py'))
    assert names['root'].parent == tmp_path
    first, last = (sum(part) for part in (names['losses'][:4], names['losses'][-4:]))
    assert last < 0.7 * first  # It learns.

    # The layers by hand are the model's: with the model's parts, the same scores.
    model, batch = names['model'].eval(), names['batch']
    with torch.no_grad():
        logits = model(batch['image']).logits
        feature = model.backbone(batch['image'])
        graph = model.ilms.assign.batch(model.csac.select(feature, model.csac(feature)))
        again = model.match(graph).logits
    torch.testing.assert_close(logits, again, rtol=1e-4, atol=1e-4)
    assert names['logits'].shape == (8 * 3,) and names['logits'].isfinite().all()

    loaded = mlsgm_pyg.load(names['root'] / 'model.ckpt')
    assert loaded.card['use'] == 'A tutorial.' and loaded.class_names == ['sun', 'tree', 'sea']
    found = names['predictions']
    assert len(found) == 3 and all(len(one.labels) == 2 and one.size == (160, 120) for one in found)
    for x, y, width, height in (box for one in found for box in one.boxes):
        assert 0 <= x < x + width <= 160 and 0 <= y < y + height <= 120
    out = capsys.readouterr().out
    assert out.count('.png: ') == 6 and 'mAP' in out


def test_every_part_of_the_tutorial_is_on_its_page():
    code, page = ((ROOT / 'docs' / f'tutorial.{kind}').read_text() for kind in ('py', 'rst'))
    parts = re.findall(r'^# %% (.*)$', code, re.MULTILINE)
    starts = re.findall(r':start-after: # %% (.*)$', page, re.MULTILINE)
    ends = re.findall(r':end-before: # %% (.*)$', page, re.MULTILINE)
    assert len(parts) == len(starts) == len(ends) + 1 > 5 and starts[1:] == ends
    assert all(part.startswith(start) for part, start in zip(parts, starts))


def described() -> list[tuple[str, object]]:
    """Every public class and function of the library's modules that takes arguments and is exported."""
    out = {}
    for module in PUBLIC:
        for name in _names(module):
            part = getattr(importlib.import_module(module), name)
            if inspect.isclass(part) or inspect.isfunction(part):
                out[f'{part.__module__}.{name}'] = part
    for module in ('mlsgm_pyg.losses', 'mlsgm_pyg.metrics', 'mlsgm_pyg.csac', 'mlsgm_pyg.regions', 'mlsgm_pyg.knn'):
        for name, part in vars(importlib.import_module(module)).items():
            own = getattr(part, '__module__', '') == module and not name.startswith('_')
            if own and (inspect.isclass(part) or inspect.isfunction(part)):
                out[f'{module}.{name}'] = part
    return sorted(out.items())


def arguments(part: object) -> list[str]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(part).parameters.values()
    return [one.name for one in parameters if one.kind not in kinds]


@pytest.mark.parametrize(('name', 'part'), described(), ids=[name for name, _ in described()])
def test_docstrings_name_every_argument_with_its_default(name, part):
    text = inspect.getdoc(part) or ''
    assert text, f'{name} has no docstring'
    if inspect.isclass(part) and (dataclasses.is_dataclass(part) or issubclass(part, tuple | Exception)):
        return  # Their fields are described one by one.
    if 'not named here' in text or 'options are those of' in text:
        return
    missing = [arg for arg in arguments(part) if not re.search(rf'(^|\W){arg}\W', text)]
    assert not missing, f'{name} says nothing of {missing}'
    default = [one for one in inspect.signature(part).parameters.values() if one.default not in (one.empty, None)]
    told = len(re.findall(r'\(default|by default|: See ', text))
    assert told >= min(len(default), 1), f'{name} says no default of {[one.name for one in default]}'

"""The shape of the house: imports point one way, the library needs no more than it declares and starts light."""

import ast
import configparser
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlsgm_pyg

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = sorted((ROOT / 'mlsgm_pyg').rglob('*.py'))
SOURCES = [path for top in ('mlsgm_pyg', 'experiments', 'benchmarks') for path in sorted((ROOT / top).rglob('*.py'))]

# From the ground up: a part may import parts of the rows above its own, and itself; never its neighbours in a row.
ROWS = [
    {'mlsgm_pyg'},  # The package's own __init__.py, which loads nothing before it is asked for.
    {'schema', 'kernels', 'names', 'saved', 'cache', 'statistics'},
    {'nn', 'knn', 'backbone', 'regions', 'losses', 'metrics', 'semantics'},
    {'csac', 'labels', 'datasets'},
    {'assignment', 'cells'},
    {'models'},
    {'tagger', 'checkpoint'},
    {'export'},
    {'experiments'},
    {'benchmarks'},
]
ROW = {part: row for row, parts in enumerate(ROWS) for part in parts}

MODULES = {  # Where the name to import is not the name to install.
    'pillow': 'PIL',
    'pyyaml': 'yaml',
    'scikit-image': 'skimage',
    'scikit-learn': 'sklearn',
}


def part_of(module: str) -> str:
    """The part of the house that a module is of: 'mlsgm_pyg.nn.mlp' -> 'nn', 'experiments.run' -> 'experiments'."""
    top, *rest = module.split('.')
    return rest[0] if top == 'mlsgm_pyg' and rest else top


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def imports(tree: ast.Module, path: Path) -> Iterator[tuple[str, bool]]:
    """Every module that a file imports, and whether it does so as soon as it is itself imported."""
    later = {id(node) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                package = path.relative_to(ROOT).parts[: -node.level]
                base = '.'.join((*package, base)).rstrip('.')
            # 'from mlsgm_pyg import schema' imports a part, 'from mlsgm_pyg.nn import MLP' a name of one.
            names = [f'{base}.{alias.name}' if base == 'mlsgm_pyg' else base for alias in node.names]
        else:
            continue
        for name in names:
            yield name, id(node) not in later


TOPS = {'mlsgm_pyg', 'experiments', 'benchmarks'}
PARTS = {part_of(module_of(path)) for path in SOURCES}


def ours(path: Path) -> set[str]:
    """The parts of the house that a file imports."""
    found = {part_of(name) for name, _ in imports(ast.parse(path.read_text()), path) if name.split('.')[0] in TOPS}
    return {part if part in ROW or part in PARTS else 'mlsgm_pyg' for part in found}


def test_every_part_has_a_row():
    assert PARTS <= set(ROW), f'say in ROWS where these parts belong: {sorted(PARTS - set(ROW))}'


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    part = part_of(module_of(path))
    wrong = sorted(other for other in ours(path) - {part} if ROW.get(other, len(ROWS)) >= ROW[part])
    assert not wrong, f'{path.relative_to(ROOT)} is part of {part!r} and must not import {wrong}'


@pytest.mark.parametrize(
    ('path', 'source', 'parts'),
    [
        ('mlsgm_pyg/nn/mlp.py', 'from mlsgm_pyg import kernels, schema', {'kernels', 'schema'}),
        ('mlsgm_pyg/nn/mlp.py', 'from mlsgm_pyg import __version__', {'mlsgm_pyg'}),
        ('mlsgm_pyg/nn/mlp.py', 'from mlsgm_pyg.models import build', {'models'}),
        ('mlsgm_pyg/nn/mlp.py', 'from ..csac import CSAC', {'csac'}),
        ('mlsgm_pyg/nn/mlp.py', 'from . import decoder', {'nn'}),
        ('mlsgm_pyg/csac.py', 'def f():\n    import experiments.run', {'experiments'}),
        ('mlsgm_pyg/csac.py', 'import torch\nfrom torch import nn', set()),
    ],
)
def test_the_reading_of_imports(path, source, parts, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], 'ROOT', tmp_path)
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert ours(file) == parts


def declared(section: str, key: str) -> set[str]:
    """The modules behind a list of requirements in setup.cfg."""
    config = configparser.RawConfigParser()
    config.read(ROOT / 'setup.cfg')
    names = [re.match(r'[A-Za-z0-9_-]+', line)[0] for line in config[section][key].split('\n') if line.strip()]
    return {MODULES.get(name, name.replace('-', '_')) for name in names}


@pytest.mark.parametrize('path', LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_imports_what_it_declares(path):
    needed = declared('options', 'install_requires')
    optional = set().union(
        *(declared('options.extras_require', extra) for extra in ('kernels', 'glove', 'timm', 'export'))
    )
    for name, at_once in imports(ast.parse(path.read_text()), path):
        top = name.split('.')[0]
        if top not in sys.stdlib_module_names and top != 'mlsgm_pyg':
            allowed = needed if at_once else needed | optional
            assert top in allowed, f'{path.relative_to(ROOT)} imports {top!r}, which its users need not have'


def test_no_circle_among_the_librarys_files():
    """Late imports and those for types alone count, and so does a name that a package's __init__.py passes on."""
    files = {module_of(path): path for path in LIBRARY}
    needs = {}
    for module, path in files.items():
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {f'{node.module}.{alias.name}' for alias in node.names}
        needs[module] = {next(n for n in (name, name.rpartition('.')[0], '') if n in files or not n) for name in names}
        needs[module] -= {'', module}
    list(graphlib.TopologicalSorter(needs).static_order())  # Raises CycleError, and names the circle.


def test_what_commands_share_knows_no_experiment():
    """mlsgm_pyg/app/common/ may move as it is; it needs Python and markupsafe alone, and torch and rich late."""
    for path in sorted((ROOT / 'experiments' / 'common').glob('*.py')):
        for name, _ in imports(ast.parse(path.read_text()), path):
            is_light = name.split('.')[0] in {*sys.stdlib_module_names, 'markupsafe', 'rich', 'torch'}
            assert is_light or name.startswith('mlsgm_pyg.app.common'), f'{path.name} imports {name}'


def test_importing_the_library_is_light():
    heavy = ['lightning', 'matplotlib', 'sklearn', 'timm', 'torch', 'numpy']
    code = f'import sys, mlsgm_pyg; print([name for name in {heavy} if name in sys.modules])'
    run = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == '[]'


def test_the_librarys_names_are_there_when_they_are_asked_for():
    assert set(mlsgm_pyg.__all__) <= set(dir(mlsgm_pyg))
    assert all(getattr(mlsgm_pyg, name) is not None for name in mlsgm_pyg.__all__)
    with pytest.raises(AttributeError, match="module 'mlsgm_pyg' has no attribute 'MLSGN'"):
        mlsgm_pyg.MLSGN  # noqa: B018


def test_only_the_library_is_installed():
    setuptools = pytest.importorskip('setuptools')
    packages = setuptools.find_packages(str(ROOT), include=['mlsgm_pyg', 'mlsgm_pyg.*'])
    folders = {path.parent for path in LIBRARY}
    assert {ROOT / package.replace('.', '/') for package in packages} == folders  # None without its __init__.py.

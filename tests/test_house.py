"""The shape of the house: imports point one way, the library needs no more than it declares and starts light."""

import ast
import configparser
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import mlsgm_pyg

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [path for top in ('mlsgm_pyg', 'experiments', 'benchmarks') for path in sorted((ROOT / top).rglob('*.py'))]
HOUSE = {
    path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.').removesuffix('.__init__') for path in SOURCES
}
APP = [path for path in SOURCES if ROOT / 'mlsgm_pyg' / 'app' in path.parents]
LIBRARY = [path for path in SOURCES if ROOT / 'mlsgm_pyg' in path.parents and path not in APP]

# From the ground up: a part may import parts of the rows above its own, and itself; never its neighbours in a row.
ROWS = [
    {'mlsgm_pyg'},  # The package's own __init__.py, which loads nothing before it is asked for.
    {'schema', 'kernels', 'names', 'saved', 'cache', 'statistics', 'decisions'},
    {'nn', 'knn', 'backbone', 'regions', 'losses', 'metrics', 'semantics'},
    {'csac', 'labels', 'datasets', 'fast_backbone'},
    {'assignment', 'cells'},
    {'models'},
    {'checkpoint', 'engine', 'hub'},
    {'scoring', 'exported'},
    {'tagger', 'export'},
    {'app'},  # Its own __init__.py, likewise; here the library ends, and the tool begins.
    {'app.common'},
    {'app.config', 'app.drawing'},
    {'app.data'},
    {'app.results'},
    {'app.training', 'app.reports'},
    {'app.prediction'},
    {'app.web'},
    {'app.cli'},
    {'__main__'},  # python -m mlsgm_pyg
    {'experiments'},  # The paper, from its __init__.py on.
    {'experiments.plan', 'experiments.processes', 'experiments.downloads', 'experiments.novel', 'experiments.moved'},
    {'experiments.sweeps'},
    {'experiments.paper', 'experiments.figures'},
    {'experiments.verbs'},  # Every other file there: python -m experiments.VERB
    {'benchmarks'},
]
ROW = {part: row for row, parts in enumerate(ROWS) for part in parts}
OPEN = {'experiments.promise': {'experiments.summary'}}  # What one verb takes of another: a table of the README.

# Where something may be imported in a function, beside the verbs: what is spared so, and why.
LATE = {
    'mlsgm_pyg.app.config.load': {'mlsgm_pyg.datasets.csv'},  # Options are understood before torch is there.
    'mlsgm_pyg.app.common.machine': {'torch'},  # A commit and versions are known without it.
    'mlsgm_pyg.app.common.tables': {'rich'},  # Markdown and CSV need none of it.
    'mlsgm_pyg.app.results.run': {  # Tables read runs by json and numpy alone; the rest when it is asked for.
        'omegaconf', 'torch', 'mlsgm_pyg', 'mlsgm_pyg.app.config.load', 'mlsgm_pyg.app.data.parts',
        'mlsgm_pyg.datasets',
    },
    'mlsgm_pyg.app.data.check_folder': {  # Options are understood before torch is there.
        'mlsgm_pyg.app.data.folder', 'mlsgm_pyg.app.data.parts', 'mlsgm_pyg.datasets.csv',
        'mlsgm_pyg.semantics',
    },
    'mlsgm_pyg.app.data.doubt': {  # Seconds, where no label can be in doubt.
        'sklearn', 'mlsgm_pyg.app.data.feature_store', 'mlsgm_pyg.backbone',
    },
    'mlsgm_pyg.app.prediction.inputs': {'mlsgm_pyg.app.results.groups'},  # Exported files need no OmegaConf,
    'mlsgm_pyg.app.prediction.job': {'mlsgm_pyg.app.reports.predictions'},  # nor jinja2,
    'mlsgm_pyg.app.prediction.loop': {'torch'},  # nor torch.
    'mlsgm_pyg.app.drawing.boxes': {'matplotlib'},  # A second, of commands that draw nothing.
    'mlsgm_pyg.app.prediction.tables': {'pyarrow'},  # Optional.
    'experiments.processes': {'torch'},  # Counts GPUs, where the environment does not name them.
    'experiments.novel.draws': {'scipy'},  # A second, before any draw.
    'experiments.sweeps.curve': {'matplotlib'},  # A second, of figures and tables that draw no curve.
    'experiments.figures.labels': {'sklearn'},  # A second, before the words are understood.
    'experiments.figures.sensitivity': {'experiments.sweeps.run'},  # Lightning: finished sweeps are drawn without it.
}  # fmt: skip

MODULES = {  # Where the name to import is not the name to install.
    'pillow': 'PIL',
    'pyyaml': 'yaml',
    'scikit-image': 'skimage',
    'scikit-learn': 'sklearn',
}


def module_of(path: Path) -> str:
    return '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


def part_of(module: str) -> str:
    """The part of the house that a module is of: 'mlsgm_pyg.nn.mlp' -> 'nn', 'experiments.run' -> the verbs."""
    top, *rest = module.split('.')
    if top == 'mlsgm_pyg':
        return '.'.join(rest[: 2 if rest[0] == 'app' else 1]) if rest else top
    if top == 'experiments' and rest:
        return f'{top}.{rest[0]}' if f'{top}.{rest[0]}' in ROW else f'{top}.verbs'
    return top


class Import(NamedTuple):
    """A module that a file imports."""

    name: str  # Of ours the module itself, which may be behind the name of what is in it.
    is_late: bool = False  # Whether in a function.

    @property
    def is_ours(self) -> bool:
        return self.name in HOUSE


def imports(path: Path) -> Iterator[Import]:
    """Every module that a file imports: late and for types alone, too."""
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    late = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = '.'.join(path.relative_to(ROOT).parts[: -node.level]) if node.level else ''
            base = '.'.join(filter(None, (package, node.module)))
            names = [f'{base}.{alias.name}' for alias in node.names]
        else:
            continue
        for name in names:
            found = name
            while found and found not in HOUSE:
                found = found.rpartition('.')[0]
            yield Import(found or name, id(node) in late)


def test_every_part_has_a_row():
    parts = {part_of(module_of(path)) for path in SOURCES}
    assert parts <= set(ROW), f'say in ROWS where these parts belong: {sorted(parts - set(ROW))}'


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    part = part_of(module_of(path))
    wrong = sorted(
        found.name
        for found in imports(path)
        if found.is_ours and part_of(found.name) != part and ROW[part_of(found.name)] >= ROW[part]
    )
    assert not wrong, f'{path.relative_to(ROOT)} is part of {part!r} and must not import {wrong}'


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_imports_a_verb(path):
    """`app/cli/__init__.py` calls its verbs by name."""
    found = {one.name for one in imports(path)} - OPEN.get(module_of(path), set())
    verbs = {
        name for name in found & HOUSE if name.startswith('mlsgm_pyg.app.cli.') or part_of(name).endswith('.verbs')
    }
    assert not verbs or path.parts[-2] == 'benchmarks', f'{path.relative_to(ROOT)} imports {sorted(verbs)}'


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_imported_late_is_spared_for_a_reason(path):
    """Of the library's, see below; a verb may understand its words first."""
    module = module_of(path)
    if path in LIBRARY or part_of(module) in ('app.cli', 'experiments.verbs', 'benchmarks'):
        return
    allowed = LATE.get(module, set())
    late = {one.name if one.is_ours else one.name.split('.')[0] for one in imports(path) if one.is_late}
    wrong = sorted(late - allowed - sys.stdlib_module_names)
    assert not wrong, f'{path.relative_to(ROOT)} imports {wrong} in a function: at its top, or in LATE with a reason'
    assert allowed <= late, f'{path.relative_to(ROOT)} no longer imports {sorted(allowed - late)} late'


@pytest.mark.parametrize(
    ('path', 'source', 'parts'),
    [
        ('mlsgm_pyg/nn/mlp.py', 'from mlsgm_pyg import kernels, schema', {'kernels', 'schema'}),
        ('mlsgm_pyg/nn/mlp.py', 'from mlsgm_pyg import __version__', {'mlsgm_pyg'}),
        ('mlsgm_pyg/nn/mlp.py', 'from mlsgm_pyg.models import build', {'models'}),
        ('mlsgm_pyg/nn/mlp.py', 'from ..csac import CSAC', {'csac'}),
        ('mlsgm_pyg/nn/mlp.py', 'from . import decoder', {'nn'}),
        ('mlsgm_pyg/csac.py', 'def f():\n    import experiments.run', {'experiments.verbs'}),
        ('mlsgm_pyg/csac.py', 'from experiments import plan, table', {'experiments.plan', 'experiments.verbs'}),
        ('mlsgm_pyg/csac.py', 'from mlsgm_pyg.app import data, train', {'app.data', 'app'}),
        ('mlsgm_pyg/csac.py', 'from mlsgm_pyg.app.data.parts import Part', {'app.data'}),
        ('mlsgm_pyg/csac.py', 'import torch\nfrom torch import nn', set()),
    ],
)
def test_the_reading_of_imports(path, source, parts, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], 'ROOT', tmp_path)
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert {part_of(one.name) for one in imports(file) if one.is_ours} == parts
    assert all(one.is_late == source.startswith('def') for one in imports(file))


def declared(section: str, key: str) -> set[str]:
    """The modules behind a list of requirements in setup.cfg."""
    config = configparser.RawConfigParser()
    config.read(ROOT / 'setup.cfg')
    names = [re.match(r'[A-Za-z0-9_-]+', line)[0] for line in config[section][key].split('\n') if line.strip()]
    return {MODULES.get(name, name.replace('-', '_')) for name in names}


@pytest.mark.parametrize('path', LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_imports_what_it_declares(path):
    """No Lightning, OmegaConf, rich, jinja2: these are the tool's."""
    needed = declared('options', 'install_requires')
    optional = set().union(
        *(declared('options.extras_require', extra) for extra in ('kernels', 'glove', 'timm', 'heif', 'export', 'hub'))
    )
    for name, is_late in imports(path):
        top = name.split('.')[0]
        if top not in sys.stdlib_module_names and top != 'mlsgm_pyg':
            allowed = needed | optional if is_late else needed
            assert top in allowed, f'{path.relative_to(ROOT)} imports {top!r}, which its users need not have'


def test_no_circle_among_files():
    """Late imports and those for types alone count, and so does a name that a package's __init__.py passes on."""
    needs = {module_of(path): {one.name for one in imports(path) if one.is_ours} for path in SOURCES}
    needs = {module: found - {module} for module, found in needs.items()}
    list(graphlib.TopologicalSorter(needs).static_order())  # Raises CycleError, and names the circle.


def test_what_commands_share_is_light():
    """mlsgm_pyg/app/common/ needs Python and markupsafe alone; torch and rich late, but for `cost` and `progress`."""
    for path in sorted((ROOT / 'mlsgm_pyg' / 'app' / 'common').glob('*.py')):
        allowed = {*sys.stdlib_module_names, 'markupsafe', 'rich', 'torch', 'mlsgm_pyg'}
        assert {one.name.split('.')[0] for one in imports(path)} <= allowed, path.name
        code = f'import sys, {module_of(path)}; sys.exit("torch" in sys.modules or "rich" in sys.modules)'
        if path.stem not in ('cost', 'progress'):
            assert subprocess.run([sys.executable, '-c', code], cwd=ROOT).returncode == 0, path.name


@pytest.mark.parametrize(
    'command',
    [
        'mlsgm_pyg.app.cli --help',
        'experiments.run --list',
        'experiments.run digits --show',
        'experiments.table 3 --runs',
        'experiments.summary --help',
    ],
)
def test_what_is_read_often_starts_light(command):
    module, *words = command.split()
    code = f'import sys, {module} as verb\ntry:\n    status = verb.main({words})\nexcept SystemExit as end:\n'
    code += "    status = end.code\nsys.exit(status or ('torch' in sys.modules and 'torch was imported'))"
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)


def test_importing_the_library_is_light():
    heavy = ['lightning', 'matplotlib', 'sklearn', 'timm', 'torch', 'numpy']
    code = f'import sys, mlsgm_pyg, mlsgm_pyg.app; print([name for name in {heavy} if name in sys.modules])'
    run = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == '[]'


def test_the_librarys_names_are_there_when_they_are_asked_for():
    assert set(mlsgm_pyg.__all__) <= set(dir(mlsgm_pyg))
    assert all(getattr(mlsgm_pyg, name) is not None for name in mlsgm_pyg.__all__)
    with pytest.raises(AttributeError, match="module 'mlsgm_pyg' has no attribute 'MLSGN'"):
        mlsgm_pyg.MLSGN  # noqa: B018


def test_library_and_tool_are_installed_and_nothing_else():
    setuptools = pytest.importorskip('setuptools')
    packages = setuptools.find_packages(str(ROOT), include=['mlsgm_pyg', 'mlsgm_pyg.*'])
    folders = {path.parent for path in (*LIBRARY, *APP)}
    assert {ROOT / package.replace('.', '/') for package in packages} == folders  # None without its __init__.py.


def test_what_is_no_python_is_installed_too():
    config = configparser.RawConfigParser()
    config.read(ROOT / 'setup.cfg')
    installed = {
        path
        for package, patterns in config['options.package_data'].items()
        for pattern in re.split(r'[\s,]+', patterns.strip())
        for path in (ROOT / package.replace('.', '/')).glob(pattern)
    }
    there = {path for path in (ROOT / 'mlsgm_pyg').rglob('*') if path.is_file() and path.suffix not in ('.py', '.pyc')}
    assert installed == there

"""What the package offers is there when it is asked for, and not before."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from mlsgm_pyg import datasets

ROOT = Path(__file__).resolve().parents[2]


def test_every_name_comes_from_where_it_is_defined():
    for name, home in datasets._HOMES.items():
        value = getattr(datasets, name)
        module = sys.modules[f'mlsgm_pyg.datasets.{home}']
        assert value is vars(module)[name] and getattr(value, '__module__', module.__name__) == module.__name__
    assert set(datasets.__all__) <= set(dir(datasets))
    with pytest.raises(AttributeError, match=r"module 'mlsgm_pyg\.datasets' has no attribute 'Cocoa'"):
        datasets.__getattr__('Cocoa')


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(datasets.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module.rpartition('.')[2] for node in block.body for alias in node.names}
    assert seen == datasets._HOMES


def test_one_data_set_does_not_load_the_others():
    code = (
        'import sys; from mlsgm_pyg.datasets import Coco; '
        "print(sorted(name.rpartition('.')[2] for name in sys.modules if name.startswith('mlsgm_pyg.datasets.')))"
    )
    run = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(run.stdout))
    assert {'base', 'coco', 'files'} <= loaded and not loaded & {'csv', 'digits', 'nus_wide', 'visual_genome', 'voc'}

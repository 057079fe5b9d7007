"""Exported files: damaged, foreign, or saying what they should not, for what predicts with them; and full disks."""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tests.hostile.case import Case, Command, Result
from tests.hostile.parts.checkpoints import NAMES, ODD, Code, finite, without
from tests.hostile.stock import Stock

FILE, PROGRAM = 'x.onnx', 'x.pt2'
ABOUT = (
    'format_version',
    'class_names',
    'view',
    'image_size',
    'input',
    'decisions',
    'instance_names',
    'outputs',
    'model',
)
CLASSES = 3


@contextmanager
def scope(stock: Stock) -> Iterator[Path]:
    """The folder of a small exported file of each kind: with the metadata of the stock's, and a program of no layer."""
    import onnx
    import torch

    with TemporaryDirectory(prefix='exported-', dir=stock.root.parent) as folder:
        folder = Path(folder)
        about = {one.key: json.loads(one.value) for one in onnx.load(stock.exported).metadata_props}
        (folder / 'about.json').write_text(json.dumps(about | {'outputs': ['logits', 'probabilities']}))
        onnx.save(_model(about), folder / FILE)
        program = torch.export.export(_constant(), (torch.zeros(1, 3, 32, 32, dtype=torch.uint8),))
        torch.export.save(program, folder / PROGRAM, extra_files={'mlsgm_pyg.json': json.dumps(about)})
        yield folder


def _model(about: dict[str, Any] | None, change: Callable[[Any], Any] | None = None, **more: Any) -> Any:
    """An ONNX model whose answer is a half for all, with something else in its place."""
    from onnx import TensorProto, helper, numpy_helper

    parts = {
        'input': helper.make_tensor_value_info('image', TensorProto.UINT8, ['batch', 3, 32, 32]),
        'value': np.full((1, CLASSES), 0.5, np.float32),
        'output': 'probabilities',
    } | more
    made = numpy_helper.from_array(parts['value'], parts['output'])
    out = helper.make_tensor_value_info(parts['output'], made.data_type, list(parts['value'].shape))
    node = helper.make_node('Constant', [], [parts['output']], value=made)
    graph = helper.make_graph([node], 'x', [parts['input']] if parts['input'] else [], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=10)
    for key, value in (about or {}).items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    if change:
        change(model)
    return model


def _constant() -> Any:
    import torch

    class Constant(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            return {'probabilities': image.float().mean((2, 3)).sigmoid()}

    return Constant()


def doors(file: str) -> Iterator[tuple[str, Callable[[Stock], Command]]]:
    def predict(stock: Stock) -> Command:
        return ['mlsgm', 'predict', file, photo(stock), '--workers', '0', '--accelerator', 'cpu']

    def tag(stock: Stock) -> Command:
        from mlsgm_pyg import Tagger

        return lambda: Tagger(file)(photo(stock))

    return cycle([('predict', predict), ('Tagger', tag)])


def photo(stock: Stock) -> str:
    return str(stock.photos / 'images' / '3.png')


def attack(
    name: str, file: str, make: Callable[[Stock, random.Random], Any], done: bool | None, door: Any, told: str = ''
):
    title, words = door

    def act(stock: Stock, rng: random.Random) -> Command:
        make(stock, rng)
        return words(stock)

    def check(result: Result) -> str:
        written = Path('predictions.jsonl')
        if result.status:  # It was opened before the file was found to be none of ours.
            return 'wrong: a record was written' if written.exists() and written.stat().st_size else ''
        return finite(result) if title == 'predict' else ''

    return Case(f'{name}, {title}', act, told or file, done, check, cost=0.4)


def altered(file: str, change: Callable[[bytearray, random.Random], bytes | bytearray], whole: bool = False):
    def make(stock: Stock, rng: random.Random) -> None:
        source = stock.exported if whole else stock.server / file
        Path(file).write_bytes(change(bytearray(source.read_bytes()), rng))

    return make


def _bits(number: int):
    def change(content: bytearray, rng: random.Random) -> bytearray:
        for _ in range(number):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        return content

    return change


def bytes_cases(file: str, whole: bool = False) -> Iterator[Case]:
    door, what = doors(file), f'{"whole " if whole else ""}{file}'
    for part in (0.0, 0.001, 0.3, 0.9, 0.9999):
        cut = altered(file, lambda content, rng, part=part: content[: int(len(content) * part)], whole)
        yield attack(f'{what} cut at {part:g}', file, cut, False, next(door))
    for i in range(6 if whole else 24):
        yield attack(f'{what}: bits, {i}', file, altered(file, _bits(1 + i % 3), whole), None, next(door))
    for i in range(3):
        zeros = altered(file, lambda content, rng: content[:100] + bytes(len(content) - 100), whole)
        yield attack(f'{what}: zeros, {i}', file, zeros, None, next(door))


def about_cases() -> Iterator[Case]:
    door = doors(FILE)

    def says(change: Callable[[dict[str, Any]], dict[str, Any]]):
        def make(stock: Stock, rng: random.Random) -> None:
            import onnx

            onnx.save(_model(change(json.loads((stock.server / 'about.json').read_text()))), FILE)

        return make

    free = ('decisions', 'instance_names', 'outputs', 'model')  # Not needed, or for people alone.
    for key in ABOUT:
        gone = says(lambda about, key=key: without(about, (key,)))
        yield attack(f'about: {key}: gone', FILE, gone, key in free, next(door), FILE)
        for kind, value in ODD.items():
            other = says(lambda about, key=key, value=value: about | {key: value})
            fits = key in ('outputs', 'model') or (key in free and kind == 'null')
            is_either = (key, kind) in {('image_size', 'number'), ('instance_names', 'list')}  # None: the class names.
            wanted = None if fits or is_either else False
            yield attack(f'about: {key}: {kind}', FILE, other, wanted, next(door), FILE)
    for kind, names in NAMES.items():
        if kind != 'surrogates':
            named = says(lambda about, names=names: about | {'class_names': names})
            yield attack(f'about: names of {kind}', FILE, named, True, next(door))
    for kind, names in {
        'two': ['a', 'b'],
        'four': ['a', 'b', 'c', 'd'],
        'numbers': [1, 2, 3],
        'twins': ['a', 'a', 'b'],
    }.items():
        named = says(lambda about, names=names: about | {'class_names': names})
        yield attack(f'about: {kind} names', FILE, named, False, next(door), FILE)
    for kind, dtype in {'text': {'dtype': 'float16'}, 'number': {'dtype': 3}, 'gone': {}}.items():
        yield attack(
            f'about: dtype {kind}', FILE, says(lambda about, dtype=dtype: about | {'input': dtype}), False, next(door)
        )
    yield attack('about: 10^7 pixels', FILE, says(lambda about: about | {'image_size': 10**7}), False, next(door))

    for kind, text in {'no JSON': 'x', 'brackets': '[' * 100_000, 'digits': '9' * 10_000, 'nothing': ''}.items():

        def make(stock: Stock, rng: random.Random, text=text) -> None:
            import onnx

            model = _model(json.loads((stock.server / 'about.json').read_text()))
            next(one for one in model.metadata_props if one.key == 'class_names').value = text
            onnx.save(model, FILE)

        yield attack(f'about: {kind}', FILE, make, False, next(door))


def program_cases() -> Iterator[Case]:
    """Models that are none of ours, which say that they were."""
    from onnx import TensorProto, helper

    def foreign(has_about: bool = True, change: Callable[[Any], Any] | None = None, **more: Any):
        def make(stock: Stock, rng: random.Random) -> None:
            import onnx

            about = json.loads((stock.server / 'about.json').read_text()) if has_about else None
            onnx.save(_model(about, change, **more), FILE)

        return make

    def take(kind: int, shape: list) -> Any:
        return helper.make_tensor_value_info('image', kind, shape)

    def external(model: Any) -> None:
        from onnx import external_data_helper

        tensor = model.graph.initializer.add(name='x', data_type=TensorProto.FLOAT, dims=[4])
        tensor.raw_data = bytes(16)
        external_data_helper.set_external_data(tensor, '../../../../../../../../etc/passwd')
        tensor.ClearField('raw_data')

    def unknown(model: Any) -> None:
        model.graph.node[0].op_type = 'Nothing'

    def elsewhere(model: Any) -> None:
        model.graph.node[0].domain = 'ai.example'

    def newer(model: Any) -> None:
        model.opset_import[0].version = 9999

    door, half = doors(FILE), np.full((1, CLASSES), 0.5, np.float32)
    yield attack('a foreign model', FILE, foreign(False), False, next(door))
    refused = {
        'another output': foreign(output='x'),
        'probabilities of two classes': foreign(value=half[:, :2]),
        'probabilities of four classes': foreign(value=np.full((1, 4), 0.5, np.float32)),
        'probabilities of one dimension': foreign(value=half[0]),
        'probabilities of two pictures': foreign(value=half.repeat(2, 0)),
        'probabilities of none': foreign(value=half[:0]),
        'probabilities of NaN': foreign(value=half * np.nan),
        'probabilities of infinity': foreign(value=half * np.inf),
        'probabilities of 7': foreign(value=half + 7),
        'whole numbers': foreign(value=np.ones((1, CLASSES), np.int64)),
        'texts': foreign(value=np.array([['a', 'b', 'c']], object)),
        'no input': foreign(input=None),
        'another size': foreign(input=take(TensorProto.UINT8, ['batch', 3, 64, 64])),
        'another type': foreign(input=take(TensorProto.INT64, ['batch', 3, 32, 32])),
        'another rank': foreign(input=take(TensorProto.UINT8, [3])),
        'another name': foreign(input=helper.make_tensor_value_info('x', TensorProto.UINT8, ['batch', 3, 32, 32])),
        'an unknown operator': foreign(change=unknown),
        'operators of a later version': foreign(change=newer),
    }
    for kind, make in refused.items():
        for _ in range(2):
            yield attack(kind, FILE, make, False, next(door))
    for kind, change in {'weights of another file': external, 'an operator of others': elsewhere}.items():
        yield attack(
            kind, FILE, foreign(change=change), None, next(door)
        )  # Where nothing needs it, it is not looked at.
    yield attack('whole', FILE, foreign(), True, next(door))


def other_cases() -> Iterator[Case]:
    contents: dict[str, Callable[[Path, Stock], Any]] = {
        'missing': lambda path, stock: None,
        'text': lambda path, stock: path.write_text('x'),
        'a checkpoint': lambda path, stock: shutil.copy(stock.checkpoint, path),
        'a picture': lambda path, stock: shutil.copy(photo(stock), path),
        'a pickle': lambda path, stock: path.write_bytes(pickle.dumps(Code())),
        'torch.save of code': lambda path, stock: _saved(path),
        'a folder': lambda path, stock: path.mkdir(),
        'a pipe': lambda path, stock: os.mkfifo(path),
        'a link in a circle': lambda path, stock: path.symlink_to(path.name),
        'a link to /dev/zero': lambda path, stock: path.symlink_to('/dev/zero'),
        'a giant of holes': lambda path, stock: (path.touch(), os.truncate(path, 1 << 40)),
    }
    for file in (FILE, PROGRAM):
        door = doors(file)
        for kind, write in contents.items():
            yield attack(
                f'{file} is {kind}', file, lambda stock, rng, w=write, f=file: w(Path(f), stock), False, next(door)
            )


def _saved(path: Path) -> None:
    import torch

    torch.save({'x': Code()}, path)


def disk_cases() -> Iterator[Case]:
    """The disk is full after a megabyte."""
    for kind, file, cost in (('torch_export', 'y.pt2', 8.0), ('onnx', 'y.onnx', 18.0)):

        def act(stock: Stock, rng: random.Random, kind=kind, file=file) -> Command:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
            return ['mlsgm', 'export', str(stock.checkpoint), '--format', kind, '--out', f'here/{file}']

        def check(result: Result) -> str:
            return f'wrong: {os.listdir("here")} is left' if Path('here').exists() and os.listdir('here') else ''

        yield Case(f'export to a full disk, {kind}', act, f'here/{file}', False, check, 120, cost)


def cases() -> Iterator[Case]:
    yield from bytes_cases(FILE)
    yield from bytes_cases(FILE, whole=True)
    yield from bytes_cases(PROGRAM)
    yield from about_cases()
    yield from program_cases()
    yield from other_cases()
    yield from disk_cases()

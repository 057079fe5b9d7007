"""Checkpoints: damaged, foreign, carrying code, or saying what they should not, at every door that opens one."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from tests.hostile.case import RAN, Case, Command, Result
from tests.hostile.run import command, forked
from tests.hostile.stock import Stock

FILE = 'x.ckpt'
FILE_NAMED = r'x\.ckpt|last\.ckpt'  # In a run's folder it is called otherwise.


class Door(NamedTuple):
    """Where a checkpoint comes in."""

    words: Callable[[Stock], Command]
    check: Callable[[Result], str] | None = None  # Of a door that goes on without the model, and says so.
    cost: float = 0.3


class Whole(NamedTuple):
    """What `scope` makes."""

    light: Path  # The checkpoint without what training alone needs.
    records: list[dict[str, Any]]  # What is predicted with it.


@contextmanager
def scope(stock: Stock) -> Iterator[Whole]:
    with TemporaryDirectory(prefix='checkpoints-', dir=stock.root.parent) as folder:
        folder = Path(folder)
        stock.server = Whole(folder / FILE, [])
        result = forked(lambda: _lighten(stock) or command(_predict(stock, str(folder / FILE))), folder, 60)
        if result.status:
            raise RuntimeError(f'the small checkpoint could not be made: {result.err}')
        yield Whole(folder / FILE, records(folder))


def _lighten(stock: Stock) -> None:
    import torch

    whole = torch.load(stock.checkpoint, weights_only=True)
    torch.save({key: whole[key] for key in ('state_dict', 'mlsgm_pyg', 'epoch', 'global_step')}, stock.server.light)


def records(folder: Path = Path()) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / 'predictions.jsonl').read_text().splitlines()]


# --- Doors.


def _predict(stock: Stock, path: str = FILE) -> Command:
    return ['mlsgm', 'predict', path, str(stock.photos / 'images' / '3.png'), '--workers', '0', '--accelerator', 'cpu']


def _export(stock: Stock) -> Command:
    return ['mlsgm', 'export', FILE, '--format', 'onnx', '--out', 'x.onnx']


def _tag(stock: Stock) -> Command:
    from mlsgm_pyg import Tagger

    return lambda: Tagger(FILE)(str(stock.photos / 'images' / '3.png'))


def _init(stock: Stock) -> Command:
    return ['experiments.run', 'digits', *stock.train[1:], f'init={FILE}']


def in_run(stock: Stock, *names: str, last: str = 'last.ckpt') -> Path:
    """Makes a folder `run` of some files of the run, with the attack's file as its checkpoint."""
    run = Path('run')
    run.mkdir()
    for name in names:
        shutil.copy(stock.run / name, run)
    os.replace(FILE, run / last)
    return run


def resume(stock: Stock) -> Command:
    """Training is to go on for an epoch more."""
    run = in_run(stock, 'config.yaml', 'scores.npz', 'metrics.csv')
    config = (run / 'config.yaml').read_text()
    (run / 'config.yaml').write_text(config.replace('max_epochs: 1\n', 'max_epochs: 2\n'))
    return ['experiments.run', '--resume', 'run']


def finish(stock: Stock) -> Command:
    """Training is over: result.json alone is to be written."""
    in_run(stock, 'config.yaml', 'scores.npz', 'metrics.csv')
    return ['experiments.run', '--resume', 'run']


def _report(stock: Stock) -> Command:
    chosen = json.loads((stock.run / 'result.json').read_text())['select']
    in_run(stock, 'result.json', 'scores.npz', last=f'{chosen}.ckpt')
    return ['mlsgm', 'report', 'run', '--images', '0', '--graphs', '2']


def _said(result: Result) -> str:
    if result.status or not Path('run/report.html').is_file():
        return 'wrong: no report of what is left'
    return '' if 'note: No instances, maps and graphs: ' in result.out else 'wrong: it is not said what is missing'


OPEN = [Door(_predict), Door(_tag), Door(_init), Door(_export)]
RUNS = [Door(resume, cost=0.6), Door(_report, _said, 0.5)]


def refused(name: str, make: Callable[[Stock, random.Random], Any], door: Door, told: str = FILE_NAMED) -> Case:
    """An attack that is to be told in a line; a report goes on without the model, and says so."""

    def act(stock: Stock, rng: random.Random) -> Command:
        make(stock, rng)
        return door.words(stock)

    title = f'{name}, {door.words.__name__.strip("_")}'
    if door.check:
        return Case(title, act, done=True, check=door.check, cost=door.cost)
    return Case(title, act, told, done=False, check=_nothing_written, cost=door.cost)


def _nothing_written(result: Result) -> str:
    files = map(Path, ('predictions.jsonl', 'x.onnx', 'run/result.json'))
    found = [path for path in files if path.exists() and path.stat().st_size]
    return f'wrong: {found[0]} was written' if found else ''


def unharmed(name: str, make: Callable[[Stock, random.Random], Any], done: bool | None = None, told: str = FILE_NAMED):
    """An attack that is told in a line, or does not change a number."""

    def act(stock: Stock, rng: random.Random) -> Command:
        make(stock, rng)
        Path('whole.json').write_text(json.dumps(stock.server.records))
        return _predict(stock)

    def check(result: Result) -> str:
        if result.status:
            return _nothing_written(result)
        return '' if records() == json.loads(Path('whole.json').read_text()) else 'wrong: other numbers are predicted'

    return Case(f'{name}, predict', act, told, done, check, cost=0.6)


# --- Whole files whose bytes are changed.


def altered(change: Callable[[bytearray, random.Random], bytes | bytearray], full: bool = False):
    def make(stock: Stock, rng: random.Random) -> None:
        source = stock.checkpoint if full else stock.server.light
        Path(FILE).write_bytes(change(bytearray(source.read_bytes()), rng))

    return make


def cut(part: float, less: int = 0):
    return lambda content, rng: content[: max(int(len(content) * part) - less, 0)]


def flipped(where: str):
    """One bit of another value, in a part of the file."""

    def change(content: bytearray, rng: random.Random) -> bytearray:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            records = archive.infolist()
        start = archive.start_dir
        record = rng.choice(records)
        begin = record.header_offset
        data = begin + 30 + int.from_bytes(content[begin + 26 : begin + 28], 'little')
        data += int.from_bytes(content[begin + 28 : begin + 30], 'little')
        pickled = next(one for one in records if one.filename.endswith('/data.pkl'))
        low, high = {
            'anywhere': (0, len(content)),
            'a header': (begin, data),
            'the directory': (start, len(content)),
            'the pickle': (pickled.header_offset, pickled.header_offset + pickled.file_size + 64),
            'a small record': (data, data + max(min(record.file_size, 4096), 1)),
            'the end': (len(content) - 98, len(content)),
        }[where]
        content[rng.randrange(low, high)] ^= 1 << rng.randrange(8)
        return content

    return change


def zeroed(length: int):
    def change(content: bytearray, rng: random.Random) -> bytearray:
        at = rng.randrange(len(content) - length)
        content[at : at + length] = bytes(length)
        return content

    return change


def bytes_cases() -> Iterator[Case]:
    doors = cycle([*OPEN, *RUNS])
    for part in (0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1):
        for less in (1, 22, 1000) if part == 1 else (0,):
            for door in (next(doors), next(doors)):
                yield refused(f'cut at {part:g} less {less}', altered(cut(part, less), door in RUNS), door)
    for where, number in {
        'anywhere': 20, 'a header': 20, 'the directory': 30, 'the pickle': 20, 'a small record': 15, 'the end': 10
    }.items():  # fmt: skip
        for i in range(number):
            yield unharmed(f'bit {i} of {where}', altered(flipped(where)))
    for length in (64, 4096, 1 << 20):
        for i in range(5):
            yield unharmed(f'{length} zeros, {i}', altered(zeroed(length)))
    for i in range(4):
        how = altered(lambda content, rng, i=i: content + rng.randbytes(1000) * i)
        yield unharmed(f'{i * 1000} bytes more', how)
    yield unharmed('bytes before it', altered(lambda content, rng: b'GIF89a' + content))
    yield unharmed('twice', altered(lambda content, rng: content + content))


# --- Files of other formats, and what is no file.


def other(name: str, write: Callable[[Path, Stock], Any]) -> tuple[str, Callable[[Stock, random.Random], None]]:
    return name, lambda stock, rng: write(Path(FILE), stock)


class Code:
    """Pickles as a call that makes the marker of code that was run."""

    def __init__(self, function: Callable[..., Any] = os.mkdir, *words: Any):
        self.call = function, words or (RAN,)

    def __reduce__(self) -> tuple:
        return self.call


def _zip(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in members.items():
            archive.writestr(name.replace('__', '/'), content)


def _old(path: Path, stock: Stock, change: Callable[[dict], dict] = dict) -> None:
    import torch

    torch.save(change(torch.load(stock.server.light)), path, _use_new_zipfile_serialization=False)


def _tar(path: Path, stock: Stock) -> None:
    with tarfile.open(path, 'w') as archive:
        archive.add(stock.server.light, 'x')


def _compressed(path: Path, stock: Stock) -> None:
    """Not the weights: that would take seconds."""
    with zipfile.ZipFile(stock.server.light) as old, zipfile.ZipFile(path, 'w') as new:
        for record in old.infolist():
            how = zipfile.ZIP_DEFLATED if record.file_size < 1 << 16 else zipfile.ZIP_STORED
            new.writestr(record.filename, old.read(record), how)


def _bomb(path: Path, stock: Stock) -> None:
    """A record that says of itself that it is larger than any disk."""
    content = bytearray(stock.server.light.read_bytes())
    at = content.rindex(b'PK\x01\x02')
    content[at + 20 : at + 28] = b'\xfe\xff\xff\x7f' * 2
    path.write_bytes(content)


def _jit(path: Path, stock: Stock) -> None:
    import torch

    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)


def _save(path: Path, content: Any) -> None:
    import torch

    torch.save(content, path)


FORMATS = [
    other('missing', lambda path, stock: None),
    other('empty', lambda path, stock: path.touch()),
    other('text', lambda path, stock: path.write_text('x')),
    other('JSON', lambda path, stock: path.write_text('{"state_dict": {}, "mlsgm_pyg": {}}')),
    other('brackets', lambda path, stock: path.write_text('[' * 100_000)),
    other('a picture', lambda path, stock: shutil.copy(stock.photos / 'images' / '3.png', path)),
    other('a page of an error', lambda path, stock: path.write_text('<!doctype html><title>404</title>')),
    other('a pointer of git-lfs', lambda path, stock: path.write_text('version https://git-lfs.github.com/spec/v1\n')),
    other('pickle', lambda path, stock: path.write_bytes(pickle.dumps({'state_dict': {}, 'mlsgm_pyg': {}}))),
    other('pickle of protocol 0', lambda path, stock: path.write_bytes(pickle.dumps({'state_dict': {}}, 0))),
    other('torch before 1.6', _old),
    other('npz', lambda path, stock: np.savez(path.open('wb'), state_dict=np.ones(3))),
    other('npy', lambda path, stock: np.save(path.open('wb'), np.ones(3))),
    other('zip', lambda path, stock: _zip(path, hello=b'x')),
    other('zip of nothing', lambda path, stock: _zip(path)),
    other('zip with an empty pickle', lambda path, stock: _zip(path, x__data=b'', **{'x__data.pkl': b''})),
    other('zip with a short pickle', lambda path, stock: _zip(path, **{'x__data.pkl': b'\x80\x02}q'})),
    other('zip with names upwards', lambda path, stock: _zip(path, **{'..__x__data.pkl': b'\x80\x02}.'})),
    other('zip of long names', lambda path, stock: _zip(path, **{'a' * 60_000 + '__data.pkl': b'\x80\x02}.'})),
    other('compressed zip', _compressed),
    other('zip with a huge record', _bomb),
    other('tar', _tar),
    other('gzip', lambda path, stock: path.write_bytes(gzip.compress(stock.server.light.read_bytes(), 1))),
    other('TorchScript', _jit),
    other('an exported file', lambda path, stock: shutil.copy(stock.exported, path)),
    other('a number', lambda path, stock: _save(path, 3)),
    other('None', lambda path, stock: _save(path, None)),
    other('a list', lambda path, stock: _save(path, [{'state_dict': {}}])),
    other('foreign weights', lambda path, stock: _save(path, {'weight': np.ones(1).tolist()})),
    other('a module of its own', lambda path, stock: _module(path)),
    other('a folder', lambda path, stock: path.mkdir()),
    other('a pipe', lambda path, stock: os.mkfifo(path)),
    other('a link in a circle', lambda path, stock: path.symlink_to(FILE)),
    other('a link to nothing', lambda path, stock: path.symlink_to('nothing')),
    other('a link to /dev/null', lambda path, stock: path.symlink_to('/dev/null')),
    other('a link to /dev/zero', lambda path, stock: path.symlink_to('/dev/zero')),
    other('a link to /proc/self/mem', lambda path, stock: path.symlink_to('/proc/self/mem')),
    other('a link to a process file', lambda path, stock: path.symlink_to('/proc/self/maps')),
    other('a giant of holes', lambda path, stock: os.truncate(_touched(path), 1 << 40)),
]  # fmt: skip


def _touched(path: Path) -> Path:
    path.touch()
    return path


def _module(path: Path) -> None:
    import torch

    torch.save(torch.nn.Linear(1, 1), path)


def format_cases() -> Iterator[Case]:
    # A run whose checkpoint is no file starts anew.
    doors = cycle(OPEN)
    no_file = ('missing', 'a folder', 'a pipe', 'a link')
    for name, make in FORMATS:
        for door in (next(doors), next(doors)):
            yield refused(name, make, door)
        if not name.startswith(no_file):
            yield refused(name, make, RUNS[len(name) % 2])


# --- Code.

PLACES = [
    (), ('state_dict',), ('state_dict', 'model.csac.classifier.bias'), ('mlsgm_pyg',), ('epoch',), ('loops',),
    ('callbacks',), ('optimizer_states',), ('lr_schedulers',), ('DataModule',), ('hyper_parameters',),
    ('pytorch-lightning_version',), ('mlsgm_pyg', 'format_version'), ('mlsgm_pyg', 'model'),
    ('mlsgm_pyg', 'model', 'name'), ('mlsgm_pyg', 'class_names'), ('mlsgm_pyg', 'word_vectors'),
    ('mlsgm_pyg', 'extra'), ('mlsgm_pyg', 'extra', 'data'), ('mlsgm_pyg', 'card'), ('mlsgm_pyg', 'decisions'),
]  # fmt: skip


def put(content: Any, place: tuple, value: Any) -> Any:
    """The same with something else in a place; its containers are copied."""
    if not place:
        return value
    if isinstance(content, dict):
        return {**content, place[0]: put(content.get(place[0]), place[1:], value)}
    inside = list(content)
    inside[place[0]] = put(inside[place[0]], place[1:], value)
    return inside


def without(content: Any, place: tuple) -> Any:
    inside = dict(content) if isinstance(content, dict) else list(content)
    if len(place) == 1:
        del inside[place[0]]
    else:
        inside[place[0]] = without(inside[place[0]], place[1:])
    return inside


def changed(change: Callable[[Any], Any], full: bool = False):
    """A file that torch.save wrote of what another one holds, changed."""

    def make(stock: Stock, rng: random.Random) -> None:
        import torch

        whole = torch.load(stock.checkpoint if full else stock.server.light, weights_only=True, mmap=True)
        if full:
            whole['lr_schedulers'][0]['total_steps'] *= 2  # As if it had been stopped half-way.
        torch.save(change(whole), FILE)

    return make


CALLS = {
    'mkdir': lambda: Code(),
    'exec': lambda: Code(exec, f'import os; os.mkdir({RAN!r})'),
    'system': lambda: Code(os.system, f'mkdir "{RAN}"'),
    'eval': lambda: Code(eval, f'__import__("os").mkdir({RAN!r})'),
}


def code_cases() -> Iterator[Case]:

    doors, calls = cycle([*OPEN, *RUNS]), cycle(CALLS.items())
    for place in PLACES:
        for (kind, call), door in zip((next(calls), next(calls)), (next(doors), next(doors))):
            how = changed(lambda whole, place=place, call=call: put(whole, place, call()), door in RUNS)
            yield refused(f'code ({kind}) in {".".join(place) or "its place"}', how, door)
    for kind, call in CALLS.items():
        keys = changed(lambda whole, call=call: whole | {'state_dict': {**whole['state_dict'], 'x': [call()]}})
        yield refused(f'code ({kind}) in a list', keys, next(doors))
        raw = other('', lambda path, stock, call=call: path.write_bytes(pickle.dumps(call())))[1]
        yield refused(f'code ({kind}) as a pickle', raw, next(doors))
        old = other('', lambda path, stock, call=call: _old(path, stock, lambda whole: whole | {'loops': call()}))[1]
        yield refused(f'code ({kind}) before torch 1.6', old, next(doors))
        bare = {'x__data.pkl': lambda call=call: pickle.dumps(call(), 2), 'x__version': lambda: b'3\n'}
        archive = other('', lambda path, stock, bare=bare: _zip(path, **{k: v() for k, v in bare.items()}))[1]
        yield refused(f'code ({kind}) in an archive', archive, next(doors))


# --- What it says of itself.


ODD = {
    'null': None,
    'number': 3,
    'text': 'x',
    'list': [],
    'names': {},
    'minus': -1,
    'huge': 10**30,
    'NaN': float('nan'),
}
ABOUT = ('format_version', 'model', 'class_names', 'word_vectors', 'extra', 'card', 'decisions')
HELD = {'format_version': (), 'model': (), 'class_names': (), 'extra': (), 'card': ('names',)}


def places(content: Any, place: tuple = ()) -> Iterator[tuple[tuple, bool]]:
    """The places in nested containers, and whether nothing is in them, outer ones first."""
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inside:
        yield (*place, key), not isinstance(value, dict | list)
        yield from places(value, (*place, key))


def about_cases() -> Iterator[Case]:
    from mlsgm_pyg.app.config import load as configs
    from mlsgm_pyg.app.training.module import model_options

    for key in ABOUT:
        for kind, value in ODD.items():
            place = ('mlsgm_pyg', key)
            how = changed(lambda whole, place=place, value=value: put(whole, place, value))
            if (key, kind) == ('extra', 'names'):  # Without a configuration it is shown pictures of 448 pixels.
                yield either(f'{key}: {kind}', how)
            elif kind in HELD.get(key, ('null',)) or key in ('word_vectors', 'decisions'):
                yield unharmed(f'{key}: {kind}', how)
            else:
                yield refused(f'{key}: {kind}', how, OPEN[len(kind) % 3])
        how = changed(lambda whole, key=key: without(whole, ('mlsgm_pyg', key)))
        yield unharmed(f'{key}: gone', how) if key in ('card', 'decisions') else refused(f'{key}: gone', how, OPEN[0])
    kinds = cycle(ODD.items())
    for key in model_options(configs.load('digits', []).model):
        for kind, value in (next(kinds), next(kinds), ('another list', [1, -2, 'x'])):
            how = changed(lambda whole, key=key, value=value: put(whole, ('mlsgm_pyg', 'model', key), value))
            yield either(f'model.{key}: {kind}', how)
        how = changed(lambda whole, key=key: without(whole, ('mlsgm_pyg', 'model', key)))
        yield either(f'model.{key}: gone', how)
    for key in chain(['data'], (f'data.{key}' for key in ('image_size', 'test_view', 'test_sizes'))):
        for kind, value in ODD.items():
            place = ('mlsgm_pyg', 'extra', *key.split('.'))
            how = changed(lambda whole, place=place, value=value: put(whole, place, value))
            yield either(f'extra.{key}: {kind}', how)
    for kind, value in ODD.items():
        how = changed(lambda whole, value=value: put(whole, ('mlsgm_pyg', 'model', 'unknown'), value))
        yield refused(f'model.unknown: {kind}', how, OPEN[0], rf'({FILE_NAMED}).*unknown')


def either(name: str, make: Callable[[Stock, random.Random], Any], seconds: float = 30.0) -> Case:
    """A checkpoint that may describe another model, as well as one that cannot be."""

    def act(stock: Stock, rng: random.Random) -> Command:
        make(stock, rng)
        return _predict(stock)

    return Case(f'{name}, predict', act, f'{FILE_NAMED}|no finite numbers', None, finite, seconds, 0.6)


def finite(result: Result) -> str:
    """A prediction holds numbers from 0 to 1."""
    if result.status:
        return _nothing_written(result)
    for record in records():
        if not all(0 <= value <= 1 for value in record['probabilities'].values()):
            return f'wrong: {record["probabilities"]} are no probabilities'
    return ''


# --- Weights.


def at(content: Any, place: tuple) -> Any:
    for key in place:
        content = content[key]
    return content


def mapped(place: tuple, change: Callable[[Any], Any], full: bool = False):
    """What stands in a place, changed."""
    return changed(lambda whole: put(whole, place, change(at(whole, place))), full)


def weights(name: str, change: Callable[[Any], Any], full: bool = False):
    """One tensor of the model, changed."""
    return mapped(('mlsgm_pyg', name) if name == 'word_vectors' else ('state_dict', name), change, full)


KINDS = (
    'model.backbone.body.conv1.weight', 'model.backbone.body.bn1.weight', 'model.backbone.body.bn1.bias',
    'model.backbone.body.bn1.running_mean', 'model.backbone.body.bn1.running_var', 'model.csac.classifier.weight',
    'model.csac.classifier.bias', 'word_vectors',
)  # fmt: skip


def with_number(tensor: Any, value: float) -> Any:
    tensor = tensor.clone()
    tensor[(-1,) * tensor.dim()] = value
    return tensor


def weight_cases() -> Iterator[Case]:
    import torch

    doors = cycle(OPEN)
    for name in KINDS:
        for value in ('nan', 'inf', '-inf'):
            how = weights(name, lambda tensor, value=value: with_number(tensor, float(value)))
            yield refused(f'{value} in {name}', how, next(doors), rf'({FILE_NAMED}).*NaN or infinite')
    bias = 'model.csac.classifier.bias'
    for value in (3e38, -3e38, 1e-45):
        yield either(f'{value} in {bias}', weights(bias, lambda tensor, value=value: with_number(tensor, value)))

    def large(state: dict) -> dict:
        return {key: value * 1e30 if value.is_floating_point() else value for key, value in state.items()}

    everything = mapped(('state_dict',), large)
    yield either('weights of 1e30', everything)
    for dtype in ('float64', 'float16', 'bfloat16'):
        yield either(f'{bias} of {dtype}', weights(bias, lambda tensor, dtype=dtype: tensor.to(getattr(torch, dtype))))
    for dtype in ('int64', 'int8', 'bool', 'complex64'):
        how = weights(bias, lambda tensor, dtype=dtype: tensor.to(getattr(torch, dtype)))
        yield refused(f'{bias} of {dtype}', how, next(doors), rf'({FILE_NAMED}).*csac.classifier.bias')
    for dtype in ('float8_e4m3fn', 'float8_e5m2'):
        yield either(f'{bias} of {dtype}', weights(bias, lambda tensor, dtype=dtype: tensor.to(getattr(torch, dtype))))
    odd = {
        'sparse': lambda tensor: tensor.to_sparse(), 'meta': lambda tensor: tensor.to('meta'),
        'compressed': lambda tensor: tensor[None].to_sparse_csr(),
        'quantized': lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
        'a number': lambda tensor: 3, 'a list': lambda tensor: tensor.tolist(), 'null': lambda tensor: None,
        'no numbers': lambda tensor: tensor[:0], 'one number': lambda tensor: tensor[0],
        'longer': lambda tensor: torch.cat([tensor, tensor]),
        'a million million numbers': lambda tensor: tensor.flatten()[:1].expand(10**12),
        'a plane of 10^18': lambda tensor: tensor.flatten()[:1].expand(10**9, 10**9),
        'many dimensions': lambda tensor: tensor[(None,) * 60],
        'a parameter of another shape': lambda tensor: torch.nn.Parameter(tensor[None]),
        'names': lambda tensor: {'x': tensor},
    }  # fmt: skip
    for kind, change in odd.items():
        yield refused(f'{bias}: {kind}', weights(bias, change), next(doors))
        yield refused(f'word_vectors: {kind}', weights('word_vectors', change), next(doors))
    same = {
        'a parameter': lambda tensor: torch.nn.Parameter(tensor),
        'as a view': lambda tensor: tensor.repeat(2)[: len(tensor)],
        'turned twice': lambda tensor: torch.stack([tensor, tensor], -1)[..., 0],
    }  # fmt: skip
    for kind, change in same.items():
        yield unharmed(f'{bias}: {kind}', weights(bias, change), True)
    states = {
        'empty': lambda state: {}, 'a list': lambda state: [*state.values()], 'null': lambda state: None,
        'one less': lambda state: dict([*state.items()][:-1]),
        'one more': lambda state: {**state, 'model.x': state[bias]},
        'numbered': lambda state: dict(enumerate(state.values())),
        'other names': lambda state: {f'x.{key}': value for key, value in state.items()},
        'odd names': lambda state: {**state, 'model.\x1b[31m[/red]': state[bias]},
        'a long name': lambda state: {**state, 'model.' + 'x' * 10**6: state[bias]},
        'an empty name': lambda state: {**state, 'model.': state[bias]},
        'one tensor for all': lambda state: dict.fromkeys(state, state[bias]),
    }  # fmt: skip
    for kind, change in states.items():
        how = mapped(('state_dict',), change)
        yield refused(f'state_dict: {kind}', how, next(doors))
    shuffled = mapped(('state_dict',), lambda state: dict(reversed(state.items())))
    yield unharmed('state_dict: in another order', shuffled, True)
    yield unharmed('a key more', changed(lambda whole: whole | {'x': [1, {'y': None}]}), True)


# --- Names, decisions, sizes, versions.

NAMES = {
    'brackets': ['[red]', 'dog [/tabby]', '[/]'],
    'control characters': ['\x1b]0;x\x07', 'a\rb', 'a\nb\x00'],
    'right to left': ['\u202ered', '\u2066x', '\u200f'],
    'surrogates': ['\ud800', '\udced', 'x\udfff'],
    'markup': ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', '&amp;'],
    'paths': ['../../x', '/etc/passwd', '..'],
    'formulas': ['=1+1', '{0.__class__}', '%s%n'],
    'long': ['x' * 10**5, 'y', 'z'],
    'blank': ['', ' ', '\t'],
    'Chinese': ['红', '绿', '蓝'],
}
WRONG_NAMES = {
    'twice the same': ['a', 'b', 'a'],
    'none': [],
    'two': ['a', 'b'],
    'four': ['a', 'b', 'c', 'd'],
    '2,000': [str(i) for i in range(2000)],
    'numbers': [1, 2, 3],
    'null': [None, 'a', 'b'],
    'lists': [['a'], 'b', 'c'],
    'a tuple': ('a', 'b', 'c'),
    'a text': 'abc',
}


def named(names: Any):
    return changed(lambda whole: put(whole, ('mlsgm_pyg', 'class_names'), names))


def names_shown(result: Result) -> str:
    (record,) = records()
    return '' if len(record['probabilities']) == 3 else f'wrong: {len(record["probabilities"])} labels of 3'


def name_cases() -> Iterator[Case]:
    for kind, names in NAMES.items():
        for more in ([], ['--out', 'x.csv'], ['--draw', 'drawn']):

            def act(stock: Stock, rng: random.Random, names=names, more=more) -> Command:
                named(names)(stock, rng)
                return [*_predict(stock), '--threshold', '0', *more]

            check = names_shown if not more else None
            yield Case(f'names: {kind} {" ".join(more)}', act, FILE_NAMED, None, check, cost=0.7)
    for kind, names in WRONG_NAMES.items():
        for door in OPEN[:3]:
            yield refused(f'names: {kind}', named(names), door)


def decided(**more: Any) -> dict[str, Any]:
    one = {'threshold': 0.3, 'positives': 50, 'is_pooled': False, 'by_precision': [0.5] * 50}
    return {'temperature': 1.0, 'pooled': one, 'classes': dict.fromkeys(('red', 'green', 'blue'), one)} | more


def decision_cases() -> Iterator[Case]:
    whole = decided()
    numbers = ODD | {'inf': float('inf'), '0': 0, '10^400': 10**400}
    for kind, value in numbers.items():
        yield (either if kind == 'number' else lambda *a: refused(*a, OPEN[0]))(
            f'decisions.temperature: {kind}', _decides(decided(temperature=value))
        )
        for place in (('pooled', 'threshold'), ('classes', 'red', 'threshold'), ('classes', 'red', 'by_precision', 3)):
            value_there = _decides(put(whole, place, value))
            name = f'decisions.{".".join(map(str, place))}: {kind}'
            is_fine = kind == '0' or (kind == 'null' and place[-1] == 3)
            yield either(name, value_there) if is_fine else refused(name, value_there, OPEN[len(kind) % 2])
    for place in (('temperature',), ('pooled',), ('classes',), ('classes', 'red'), ('classes', 'red', 'threshold')):
        yield refused(f'decisions.{".".join(place)}: gone', _decides(without(whole, place)), OPEN[0])
    for kind, value in {'more': decided()['classes'] | {'x': whole['pooled']}, 'lists': [], 'null': None}.items():
        yield refused(f'decisions.classes: {kind}', _decides(decided(classes=value)), OPEN[1])
    yield either('decisions: whole', _decides(whole))


def _decides(value: Any):
    return changed(lambda whole: put(whole, ('mlsgm_pyg', 'decisions'), value))


def view_cases() -> Iterator[Case]:
    sizes = {
        '0': 0,
        '-1': -1,
        '10^7': 10**7,
        '16385': 16385,
        '1.5': 1.5,
        'true': True,
        'text': '32',
        'list': [32],
        'inf': float('inf'),
    }
    for kind, value in sizes.items():
        for key in ('image_size', 'test_sizes'):
            place, value_there = ('mlsgm_pyg', 'extra', 'data', key), value if key == 'image_size' else [32, value]
            how = changed(lambda whole, place=place, value=value_there: put(whole, place, value))
            yield refused(f'{key} of {kind}', how, OPEN[(len(kind) + len(key)) % 4], rf'({FILE_NAMED}).*{key}')
    for kind, value in {'1': 1, '8': 8, '2000': 2000}.items():
        how = changed(lambda whole, value=value: put(whole, ('mlsgm_pyg', 'extra', 'data', 'image_size'), value))
        yield either(f'image_size of {kind}', how)
    for view in ('crop', 'x', '../x', ['resize'], 3):
        how = changed(lambda whole, view=view: put(whole, ('mlsgm_pyg', 'extra', 'data', 'test_view'), view))
        yield refused(f'test_view of {view}', how, OPEN[len(str(view)) % 4], rf'({FILE_NAMED}).*test_view')
    for version in (None, 0, -1, 3, 99, '2', 2.5, True, [2], 10**30, float('nan')):
        how = changed(lambda whole, version=version: put(whole, ('mlsgm_pyg', 'format_version'), version))
        yield refused(f'format_version of {version!r}', how, OPEN[len(str(version)) % 4], rf'({FILE_NAMED}).*version')


def cases() -> Iterator[Case]:
    yield from bytes_cases()
    yield from format_cases()
    yield from code_cases()
    yield from about_cases()
    yield from weight_cases()
    yield from name_cases()
    yield from decision_cases()
    yield from view_cases()

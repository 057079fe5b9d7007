"""What a finished run leaves, damaged or foreign, for the commands that read it."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.hostile.case import Case, Command, Result
from tests.hostile.parts.checkpoints import ODD, Code, places, put, without
from tests.hostile.stock import Stock

NAMED = r"result\.json|'run'|root/results"


class Reader(NamedTuple):
    """A command that reads the run in the folder `run`."""

    name: str
    words: Callable[[Stock], Command]
    cost: float
    passes_over: bool = False  # Of a folder of runs, those that are damaged are left out, and told.


def _page(stock: Stock) -> Command:
    """Rows of results, on a page of its own."""
    from experiments import summary

    Path('root/docs').mkdir(parents=True)
    marks = (summary.START, summary.END), summary.SWEEPS, summary.FEW_SHOT
    Path('root/docs/results.md').write_text('\n'.join(mark for pair in marks for mark in pair))
    return ['experiments.summary', 'run', '--root', 'root']


def _photo(stock: Stock) -> str:
    return str(stock.photos / 'images' / '3.png')


COMPARE = Reader('compare', lambda stock: ['mlsgm', 'compare', 'run', str(stock.baseline), '--resamples', '10'], 0.2)
REPORT = Reader('report', lambda stock: ['mlsgm', 'report', 'run', '--images', '0', '--graphs', '0'], 0.3)
AGAINST = Reader(
    'report against', lambda stock: ['mlsgm', 'report', str(stock.run), '--against', 'run', '--out', 'x.html'], 0.4
)
FINISHED = Reader('run', lambda stock: ['experiments.run', '--resume', 'run'], 0.25)
SUMMARY = Reader('summary', _page, 0.15)
TABLE = Reader('table', lambda stock: ['experiments.table', '3', '--runs', '.', '--results', '.'], 0.1, True)
PREDICT = Reader(
    'predict', lambda stock: ['mlsgm', 'predict', 'run', _photo(stock), '--workers', '0', '--accelerator', 'cpu'], 0.7
)
CARD = Reader('card', lambda stock: ['mlsgm', 'card', 'run'], 0.4)
READERS = (COMPARE, REPORT, FINISHED, SUMMARY, TABLE)


def lay(stock: Stock, folder: str = 'run') -> Path:
    """A copy of the run, whose checkpoints are links."""
    run = Path(folder)
    run.mkdir(parents=True)
    for path in stock.run.iterdir():
        if path.suffix == '.ckpt':
            (run / path.name).symlink_to(path)
        elif path.is_file():
            shutil.copy(path, run)
    return run


def attack(
    name: str,
    reader: Reader,
    change: Callable[[Path, Stock, random.Random], Any],
    done: bool | None = None,
    told: str = NAMED,
    check: Callable[[Result], str] | None = None,
) -> Case:
    """A file of the run is changed, then read."""

    def act(stock: Stock, rng: random.Random) -> Command:
        change(lay(stock), stock, rng)
        return reader.words(stock)

    if reader.passes_over and done is False:
        done, check = True, _left_out(told)
    return Case(f'{name}, {reader.name}', act, told, done, check, cost=reader.cost)


def _left_out(told: str) -> Callable[[Result], str]:
    import re

    def check(result: Result) -> str:
        return '' if re.search(f'left out: .*({told})', result.out + result.err) else 'wrong: it is not told'

    return check


# --- result.json.


def rewritten(change: Callable[[Any], Any]) -> Callable[[Path, Stock, random.Random], None]:
    def write(run: Path, stock: Stock, rng: random.Random) -> None:
        path = run / 'result.json'
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return write


#: What older versions' files do not have.
OPTIONAL = ('task', 'labels', 'trained_on', 'history', 'skipped', 'folder', 'paper', 'decisions')
PART = {'images': 1, 'files': 'x', 'y': 'x'}


def skeleton() -> dict[str, Any]:
    from mlsgm_pyg.app.config import load as configs
    from tests.app.finished_runs import result_of

    config = configs.load('digits', [])
    config.trainer = {'max_epochs': 1, 'accelerator': 'cpu'}
    return result_of(config, {'AP': {'red': 1.0}}, score='graph') | {
        'trained_on': {'class_names': ['red'], 'train': PART, 'test': PART},
        'history': [{'epoch': 0, 'seconds': 1.0, 'mAP': 1.0}],
        'folder': 'x',
        'decisions': None,
    }


def content_cases() -> Iterator[Case]:
    readers, kinds = cycle(READERS), cycle(ODD.items())
    for place, _ in places(skeleton()):
        if place[0] == 'task' and len(place) > 1:
            continue
        name = '.'.join(map(str, place))
        is_needed = len(place) == 1 and place[0] not in OPTIONAL
        told = rf'result\.json.*{place[-1]}' if is_needed else NAMED
        gone = rewritten(lambda out, place=place: without(out, place))
        yield attack(f'{name}: gone', next(readers), gone, False if is_needed else None, told)
        for kind, value in (next(kinds), next(kinds))[: 2 if len(place) < 3 else 1]:
            other = rewritten(lambda out, place=place, value=value: put(out, place, value))
            yield attack(f'{name}: {kind}', next(readers), other)
    for key in ('name', 'seed', 'metrics', 'images', 'parameters', 'versions', 'config', 'history'):
        for kind, value in {'list of lists': [[[]]], 'true': True, '10^30': 10**30, 'deep': deep(500)}.items():
            other = rewritten(lambda out, key=key, value=value: out | {key: value})
            yield attack(f'{key}: {kind}', next(readers), other, False, rf'result\.json.*{key}')


def deep(levels: int) -> Any:
    out: Any = 1
    for _ in range(levels):
        out = {'x': out}
    return out


def raw(content: bytes | Callable[[bytes, random.Random], bytes], file: str = 'result.json'):
    def write(run: Path, stock: Stock, rng: random.Random) -> None:
        path = run / file
        path.write_bytes(content if isinstance(content, bytes) else content(path.read_bytes(), rng))

    return write


RAW = {
    'empty': b'',
    'text': b'x',
    'brackets': b'[' * 100_000,
    'braces': b'{"x":' * 100_000,
    'brackets that close': b'[' * 100_000 + b']' * 100_000,
    'zeros': bytes(4096),
    'null': b'null',
    'a number': b'3',
    'a list': b'[{"name": "x"}]',
    'a text': b'"x"',
    'names': b'{}',
    'NaN': b'NaN',
    '10,000 digits': b'9' * 10_000,
    'a number of 10,000 digits': b'{"seed": ' + b'9' * 10_000 + b'}',
    'UTF-16': '{"name": "x"}'.encode('utf-16'),
    'Latin-1': '{"name": "café"}'.encode('latin-1'),
    'YAML': b'name: x\nseed: 0\n',
    'a page': b'<!doctype html><title>404</title>',
    'a pickle': b'\x80\x04K\x03.',
    'a lone escape': b'{"name": "\\ud8',
}


def raw_cases() -> Iterator[Case]:
    readers = cycle([*READERS, CARD, AGAINST])
    for kind, content in RAW.items():
        for reader in (next(readers), next(readers)):
            if reader is CARD:  # It reads the checkpoint beside it, where result.json is whole.
                reader = PREDICT
            yield attack(f'result.json: {kind}', reader, raw(content), False)
    for i in range(12):
        cut = raw(lambda content, rng: content[: rng.randrange(len(content) - 3)])
        yield attack(f'result.json cut, {i}', next(readers), cut, None)
    for i in range(24):
        yield attack(f'result.json: bits, {i}', READERS[i % len(READERS)], raw(_bits))
    yield attack('result.json with a mark of byte order', COMPARE, raw(lambda content, rng: b'\xef\xbb\xbf' + content))
    yield attack('result.json twice', COMPARE, raw(lambda content, rng: content * 2), False)
    for what in ('NaN', 'Infinity', '-Infinity', '1e999', '-0', '1e-999', '1E400'):
        for key in (b'"mAP": ', b'"total": ', b'"instances_per_image": ', b'"red": '):
            number = raw(lambda content, rng, key=key, what=what: _number(content, key, what.encode()))
            yield attack(f'{key.decode()}{what}', next(readers), number)


def _bits(content: bytes, rng: random.Random) -> bytes:
    out = bytearray(content)
    for _ in range(3):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _number(content: bytes, key: bytes, value: bytes) -> bytes:
    before, _, rest = content.partition(key)
    at = next(i for i, byte in enumerate(rest) if byte in b',\n')
    return before + key + value + rest[at:]


# --- Names.

NAMES = {
    'brackets': 'cat [/tabby] [red]',
    'an escape': '\x1b]0;x\x07\x1b[31m',
    'lines': 'a\nb\r\nc\x00',
    'right to left': '\u202egnp.exe\u2066',
    'a surrogate': '\ud800',
    'markup': '<script>alert(1)</script>"><img src=x onerror=alert(1)>',
    'a path': '../../x',
    'a pipe': 'a | b',
    'long': 'x' * 100_000,
    'nothing': '',
    'a template': '{{ 7 * 7 }}{% raw %}${x}',
}


def name_cases() -> Iterator[Case]:
    spots: dict[str, Callable[[dict, str], dict]] = {
        'name': lambda out, name: out | {'name': name},
        'class': lambda out, name: put(out, ('metrics', 'AP'), {name: 50.0, 'green': 40.0, 'blue': 30.0}),
        'command': lambda out, name: out | {'command': name, 'commit': name},
        'hardware': lambda out, name: put(out, ('hardware', 'device'), name),
        'versions': lambda out, name: out | {'versions': {name: name}},
        'skipped': lambda out, name: out | {'skipped': [name] * 3},
        'score': lambda out, name: out | {'score': name},
        'row': lambda out, name: put(put(out, ('config', 'row'), name), ('config', 'name'), name),
        'root': lambda out, name: put(out, ('config', 'data', 'root'), name),
        'split': lambda out, name: out | {'evaluated_on': name, 'test_view': name, 'ap': name, 'top3': name},
        'paper': lambda out, name: out | {'paper': [{'table': name, 'method': name, 'values': {name: 1.0}}]},
    }  # fmt: skip
    readers = cycle(READERS)
    for spot, change in spots.items():
        for kind, name in NAMES.items():
            how = rewritten(lambda out, change=change, name=name: change(out, name))
            yield attack(f'{spot} of {kind}', next(readers), how, check=_harmless)


def _harmless(result: Result) -> str:
    page = Path('run/report.html')
    if page.is_file() and '<script>alert' in page.read_text(errors='replace'):
        return 'wrong: markup is taken as such'
    outside = [path.name for path in Path('..').iterdir() if path.name != 'w' and path.is_dir()]
    return f'wrong: {outside[0]} was written outside' if outside else ''


# --- scores.npz and fit.npz.


def arrays(change: Callable[[dict[str, np.ndarray]], Any], file: str) -> Callable[[Path, Stock, random.Random], None]:
    def write(run: Path, stock: Stock, rng: random.Random) -> None:
        with np.load(run / 'scores.npz') as found:
            out = change(dict(found))
        np.savez((run / file).open('wb'), **out)

    return write


TABLES: dict[str, Callable[[dict[str, np.ndarray]], Any]] = {
    'nothing': lambda found: {},
    'other names': lambda found: {f'x{key}': value for key, value in found.items()},
    'scalars': lambda found: {key: np.array(1.0) for key in found},
    'text': lambda found: {key: np.array('x') for key in found},
    'texts': lambda found: {key: value.astype(str) for key, value in found.items()},
    'objects': lambda found: {key: value.astype(object) for key, value in found.items()},
    'code': lambda found: found | {'graph': np.array([Code()], object)},
    'structures': lambda found: found | {'y': np.zeros(13, [('a', 'i4'), ('b', 'f4')])},
    'complex numbers': lambda found: found | {'graph': found['graph'].astype(complex)},
    'dates': lambda found: found | {'graph': np.zeros((13, 3), 'M8[s]')},
    'true and false': lambda found: found | {'y': found['y'].astype(bool)},
    'half numbers': lambda found: found | {'graph': found['graph'].astype(np.float16)},
    'NaN': lambda found: found | {'graph': np.full_like(found['graph'], np.nan)},
    'one NaN': lambda found: found | {'graph': np.where(np.eye(13, 3), np.nan, found['graph'])},
    'infinity': lambda found: found | {'graph': np.full_like(found['graph'], np.inf)},
    'huge scores': lambda found: found | {'graph': found['graph'] * 1e300},
    'fewer images': lambda found: {key: value[:5] for key, value in found.items()},
    'no images': lambda found: {key: value[:0] for key, value in found.items()},
    'a short index': lambda found: found | {'index': found['index'][:5]},
    'an index of two dimensions': lambda found: found | {'index': found['index'][:, None]},
    'a negative index': lambda found: found | {'index': found['index'] - 99},
    'a huge index': lambda found: found | {'index': found['index'] + (1 << 62)},
    'an index of fractions': lambda found: found | {'index': found['index'] + 0.5},
    'one image often': lambda found: found | {'index': found['index'] * 0},
    'images in another order': lambda found: {key: value[::-1] for key, value in found.items()},
    'two classes': lambda found: {key: value[:, :2] if value.ndim == 2 else value for key, value in found.items()},
    'no classes': lambda found: {key: value[:, :0] if value.ndim == 2 else value for key, value in found.items()},
    'labels of one dimension': lambda found: found | {'y': found['y'][:, 0]},
    'labels of 5': lambda found: found | {'y': found['y'] + 5},
    'labels of -7': lambda found: found | {'y': found['y'] - 7},
    'labels of halves': lambda found: found | {'y': found['y'] * 0.5},
    'labels all unknown': lambda found: found | {'y': found['y'] * 0 - 1},
    'labels all absent': lambda found: found | {'y': found['y'] * 0},
    'labels all present': lambda found: found | {'y': found['y'] * 0 + 1},
    'labels of NaN': lambda found: found | {'y': found['y'] + np.nan},
    'without labels': lambda found: {key: value for key, value in found.items() if key != 'y'},
    'without an index': lambda found: {key: value for key, value in found.items() if key != 'index'},
    'without the score': lambda found: {key: value for key, value in found.items() if key != 'graph'},
    'without instances': lambda found: {key: value for key, value in found.items() if key != 'instances'},
    'instances of text': lambda found: found | {'instances': np.array(['x'] * 13)},
    'more': lambda found: found | {'x\x1b[31m': np.ones(3), '../x': np.ones(1)},
    'labels of three dimensions': lambda found: {key: value[..., None] for key, value in found.items()},
}  # fmt: skip


def _npy(header: str, data: bytes = b'') -> bytes:
    text = header.encode().ljust(117) + b'\n'
    return b'\x93NUMPY\x01\x00' + len(text).to_bytes(2, 'little') + text + data


def _npz(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(f'{name}.npy', content)
    return out.getvalue()


HUGE = "{'descr': '<f8', 'fortran_order': False, 'shape': (%d, 3), }"
NPZ_BYTES = {
    'empty': b'',
    'a word': b'x',
    'zip of nothing': b'PK\x05\x06' + bytes(18),
    'npy': _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", bytes(8)),
    'pickle': b'\x80\x04K\x03.',
    'claims of 10^12 rows': _npz(index=_npy(HUGE % 10**12), y=_npy(HUGE % 10**12), graph=_npy(HUGE % 10**12)),
    'claims of 10^30 rows': _npz(index=_npy(HUGE % 10**30), y=_npy(HUGE % 10**30)),
    'claims of minus rows': _npz(index=_npy(HUGE % -5), y=_npy(HUGE % -5), graph=_npy(HUGE % -5)),
    'an odd header': _npz(index=_npy("{'descr': __import__('os').mkdir('it was run')}")),
    'a header of brackets': _npz(index=_npy('(' * 100)),
    'members of text': _npz(index=b'x', y=b'x', graph=b'x'),
    'many zeros': _npz(index=bytes(50 << 20), y=b''),
}


def table_cases() -> Iterator[Case]:
    readers = cycle((REPORT, COMPARE, AGAINST))
    for kind, change in TABLES.items():
        yield attack(f'scores.npz: {kind}', next(readers), arrays(change, 'scores.npz'), None, r'scores\.npz|run')
        yield attack(f'scores.npz: {kind}', REMAKE, arrays(change, 'scores.npz'), None, r'scores\.npz|run')
        yield attack(f'fit.npz: {kind}', FIT, arrays(change, 'fit.npz'), None, r'fit\.npz')
    for kind, content in NPZ_BYTES.items():
        yield attack(f'scores.npz: {kind}', next(readers), raw(content, 'scores.npz'), None, r'scores\.npz')
        yield attack(f'scores.npz: {kind}', REMAKE, raw(content, 'scores.npz'), False, r'scores\.npz')
        yield attack(f'fit.npz: {kind}', FIT, raw(content, 'fit.npz'), False, r'fit\.npz')
    for i in range(8):
        cut = raw(lambda content, rng: content[: rng.randrange(len(content))], 'scores.npz')
        yield attack(f'scores.npz cut, {i}', (REPORT, COMPARE)[i % 2], cut, None, r'scores\.npz')
        yield attack(f'scores.npz cut, {i}', REMAKE, cut, False, r'scores\.npz')
    for i in range(16):
        yield attack(
            f'scores.npz: bits, {i}', (REPORT, REMAKE)[i % 2], raw(_bits, 'scores.npz'), None, r'scores\.npz|run'
        )
        short = raw(lambda content, rng: b'epoch,mAP\n' + rng.randbytes(500), 'metrics.csv')
        yield attack(f'metrics.csv: {i * 50} bytes', (REPORT, FINISHED)[i % 2], short, True)


def _remake(stock: Stock) -> Command:
    """result.json alone is to be made again."""
    os.unlink('run/result.json')
    return ['experiments.run', '--resume', 'run']


def _fit(stock: Stock) -> Command:
    from mlsgm_pyg.app.results.run import Run

    return lambda: Run.read(Path('run')).fit_scores


REMAKE, FIT = Reader('remake', _remake, 0.6), Reader('fit_scores', _fit, 0.05)


# --- What is no file, and links.


def instead(file: str, make: Callable[[Path], Any]) -> Callable[[Path, Stock, random.Random], None]:
    def write(run: Path, stock: Stock, rng: random.Random) -> None:
        (run / file).unlink(missing_ok=True)
        make(run / file)

    return write


NO_FILES: dict[str, Callable[[Path], Any]] = {
    'a pipe': os.mkfifo,
    'a folder': Path.mkdir,
    'a link in a circle': lambda path: path.symlink_to(path.name),
    'a link to nothing': lambda path: path.symlink_to('nothing'),
    'a link to /dev/zero': lambda path: path.symlink_to('/dev/zero'),
    'a link to /dev/full': lambda path: path.symlink_to('/dev/full'),
    'a link to /proc/self/mem': lambda path: path.symlink_to('/proc/self/mem'),
    'a giant of holes': lambda path: (path.touch(), os.truncate(path, 1 << 40)),
    'nothing': lambda path: None,
}


def no_file_cases() -> Iterator[Case]:
    for kind, make in NO_FILES.items():
        for reader in (*READERS, AGAINST):
            yield attack(f'result.json is {kind}', reader, instead('result.json', make), None, r'run')
        for reader in (REPORT, COMPARE, REMAKE):
            yield attack(f'scores.npz is {kind}', reader, instead('scores.npz', make), None, r'scores\.npz|run')
        yield attack(f'fit.npz is {kind}', FIT, instead('fit.npz', make), None, r'fit\.npz|run')
        yield attack(f'config.yaml is {kind}', FINISHED, instead('config.yaml', make), None, r'config\.yaml|run')
        yield attack(f'metrics.csv is {kind}', REPORT, instead('metrics.csv', make), True)
        yield attack(f'answer.json is {kind}', CHOSEN, instead('../answer.json', make), None, r'answer\.json')
        for file in ('last.ckpt', 'best.ckpt'):
            yield attack(f'{file} is {kind}', (PREDICT, CARD)[file == 'best.ckpt'], instead(file, make), None, 'run')
    circles = {
        'to itself': lambda run, stock, rng: (run / 'up').symlink_to('.'),
        'to its parent': lambda run, stock, rng: (run / 'up').symlink_to('..'),
        'two of them': lambda run, stock, rng: [(run / name).symlink_to('..') for name in ('a', 'b')],
    }
    for kind, make in circles.items():
        for reader in (COMPARE, TABLE, SUMMARY, REPORT, AT_ROOT):
            yield attack(f'a link {kind}', reader, make, True)


CHOSEN = Reader('chosen', lambda stock: ['mlsgm', 'report', '.', '--images', '0', '--graphs', '0'], 0.3)
AT_ROOT = Reader('compare all', lambda stock: ['mlsgm', 'compare', '.', '--resamples', '10'], 0.2)


# --- answer.json and config.yaml.


def answer_cases() -> Iterator[Case]:
    whole = {
        'chosen': 'ml_sgm',
        'folders': {'ml_sgm': 'run', 'baseline': 'other'},
        'mAP': {},
        'images': 13,
        'gain': None,
    }
    for place in (('chosen',), ('folders',), ('folders', 'ml_sgm')):
        name = f'answer.json: {".".join(place)}'
        contents = {'gone': without(whole, place)} | {kind: put(whole, place, value) for kind, value in ODD.items()}
        for kind, content in contents.items():
            yield attack(f'{name}: {kind}', CHOSEN, _answer(json.dumps(content).encode()), False, 'answer|run|folder')
        for kind, text in NAMES.items():
            yield attack(f'{name} of {kind}', CHOSEN, _answer(json.dumps(put(whole, place, text)).encode()), None, '')
    outside = {
        'upwards': '../../../../../../../../etc',
        'an absolute path': '/etc',
        'a root': '/',
        'of zeros': 'a\x00b',
    }
    for kind, text in outside.items():
        content = json.dumps(put(whole, ('folders', 'ml_sgm'), text)).encode()
        for reader in (CHOSEN, Reader('predict', lambda stock: ['mlsgm', 'predict', '.', _photo(stock)], 0.1)):
            yield attack(f'answer.json names {kind}', reader, _answer(content), False, 'answer')
    for kind, content in RAW.items():
        yield attack(f'answer.json: {kind}', CHOSEN, _answer(content), False, r'answer\.json')
    yield attack('answer.json: whole', CHOSEN, _answer(json.dumps(whole).encode()), True)


def _answer(content: bytes) -> Callable[[Path, Stock, random.Random], None]:
    return lambda run, stock, rng: Path('answer.json').write_bytes(content)


YAML = {
    'empty': b'',
    'a list': b'- x\n',
    'a number': b'3\n',
    'unclosed': b'data: {name: csv\n',
    'tabs': b'data:\n\tname: csv\n',
    'zeros': bytes(100),
    'not UTF-8': b'name: caf\xe9\n',
    'UTF-16': 'name: x\n'.encode('utf-16'),
    'brackets': b'[' * 5000,
    'a tag': b"x: !!python/object/apply:os.mkdir ['it was run']\n",
    'laughs': b'a: &a [x]\n' + b''.join(b'%c: &%c [*%c, *%c]\n' % (c, c, c - 1, c - 1) for c in range(98, 122)),
    'a circle': b'data: &x {name: *x}\n',
    'two documents': b'row: x\n---\nrow: y\n',
    'interpolation': b'row: ${oc.env:HOME}\nname: ${row}\n',
    'no row': b'name: x\n',
    'a foreign row': b'row: nothing\n',
    'an unknown option': b'row: digits\nx: 1\n',
    'options of other types': b'row: digits\ndata: 3\n',
    'a list of options': b'row: digits\ndata: [1]\n',
}  # fmt: skip


def config_cases() -> Iterator[Case]:
    for kind, content in YAML.items():
        yield attack(f'config.yaml: {kind}', FINISHED, raw(content, 'config.yaml'), False, r'config\.yaml|run')
    for section in ('data', 'model', 'optimizer', 'trainer', 'metrics', 'task', 'semantics', 'loss', 'features'):
        for kind, value in (('gone', None), ('text', b'x'), ('list', b'[1]'), ('unknown', b'{x: 1}')):
            change = raw(
                lambda content, rng, section=section, value=value: _section(content, section, value), 'config.yaml'
            )
            yield attack(f'config.yaml: {section}: {kind}', FINISHED, change, None, r'config\.yaml|run')


def _section(content: bytes, name: str, value: bytes | None) -> bytes:
    lines, inside = [], False
    for line in content.splitlines(keepends=True):
        if not line.startswith((b' ', b'-')):
            inside = line.startswith(name.encode() + b':')
            if inside and value is not None:
                lines.append(name.encode() + b': ' + value + b'\n')
        if not inside:
            lines.append(line)
    return b''.join(lines)


def cases() -> Iterator[Case]:
    yield from content_cases()
    yield from raw_cases()
    yield from name_cases()
    yield from table_cases()
    yield from no_file_cases()
    yield from answer_cases()
    yield from config_cases()

"""Rows: YAML files that are none, or hold what no row holds; `--list` beside them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.hostile.case import RAN, Case
from tests.hostile.stock import Stock

GOOD = 'base: digits\ndata: {image_size: 64}\ntrainer: {max_epochs: 2}\n'
TOUCH = f'"touch \\"{RAN}\\""'
LAUGHS = 'data: {root: x}\na0: &a0 [x, x]\n' + ''.join(
    f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]\n' for i in range(1, 30)
)

# No YAML, or not of a row: the line names the file.
BROKEN: dict[str, str | bytes] = {
    'a tab': 'base: digits\ndata:\n\tname: digits\n',
    'unclosed brace': 'data: {name: digits\n',
    'unclosed bracket': 'seeds: [1, 2\n',
    'unclosed quote': 'name: "x\n',
    'equal keys': 'base: digits\nseed: 1\nseed: 2\n',
    'equal keys below': 'data: {root: a, root: b}\n',
    'an unknown anchor': 'data: *there\n',
    'an anchor in itself': 'data: &a {root: *a}\n',
    'anchors in a circle': 'data: &a {root: &b {x: *a}}\n',
    'a list in itself': 'seeds: &a [*a]\n',
    'anchors that multiply': LAUGHS,
    'a tag that runs': f'name: !!python/object/apply:os.system [{TOUCH}]\n',
    'a tag that makes': f'name: !!python/object/new:subprocess.Popen [[touch, "{RAN}"]]\n',
    'a tag that names': 'name: !!python/name:os.system\n',
    'a tag that imports': 'name: !!python/module:this\n',
    'a tag as key': f'? !!python/object/apply:os.system [{TOUCH}]\n: 1\n',
    'an own tag': 'name: !mine x\n',
    'a set': 'data: !!set {a, b}\n',
    'pairs': 'data: !!omap [a: 1]\n',
    'binary': 'name: !!binary aGVsbG8=\n',
    'binary that is none': 'name: !!binary "a"\n',
    'a NUL': b'name: a\0b\n',
    'NUL alone': bytes(4096),
    'a NUL in quotes': 'data: {root: "a\\0b"}\n',
    'two documents': 'name: a\n---\nname: b\n',
    'an end and more': 'name: a\n...\nname: b\n',
    'a list': '- data\n- model\n',
    'a text': 'digits\n',
    'a number': '3\n',
    'a date': '2020-01-01\n',
    '30 MB': '#' * 30_000_000,
    '2,000 levels': '[' * 2000 + ']' * 2000,
    '2,000 levels of keys': '{a: ' * 2000 + '1' + '}' * 2000,
    '100,000 levels unclosed': '[' * 100_000,
    'levels by lines': ''.join(f'{" " * i}a:\n' for i in range(1500)),
    'UTF-16 and no YAML': '{'.encode('utf-16'),
    'UTF-16': GOOD.encode('utf-16'),
    'a reference to what the row has not': 'name: ${runs_dir}\n',
    'half of UTF-16': 'name: x\n'.encode('utf-16')[:-1],
    'UTF-32': 'name: x\n'.encode('utf-32'),
    'latin-1': 'name: caf\xe9\n'.encode('latin-1'),
    'a lone continuation': b'# \x80\nname: x\n',
    'too long a form': b'name: \xc0\x80\n',
    'a surrogate': b'name: \xed\xa0\x80\n',
    'an escaped surrogate': 'name: "\\ud800"\n',
    'an odd escape': 'name: "\\q"\n',
    'a control character': 'name: a\x1bb\n',
    'a reserved character': 'name: @x\n',
    'a percent': '%x: 1\n',
    'a directive': '%YAML 9.9\n---\nname: x\n',
    'a tag directive': '%TAG ! tag:x,2000:\n---\nname: !a x\n',
    'a colon too many': 'name: a: b\n',
    'no colon': 'name x\ndata: {}\n',
    'an odd indent': 'data:\n  root: x\n name: digits\n',
    'a key that is a list': '[a, b]: 1\n',
    'a key that is a dict': '{a: 1}: 1\n',
    'a key that is null': '~: 1\n',
    'a key that is a number': '1: 2\n',
    'a key that is true': 'true: 2\n',
    'a key that is a float': '1.5: 2\n',
    'a key that is a date': '2020-01-01: 2\n',
    'an empty key': '"": 2\n',
    'merged from a text': '<<: x\n',
    'merged from itself': 'data: &a {<<: *a}\n',
    'a picture': b'\x89PNG\r\n\x1a\n' + bytes(range(256)),
    'a zip': b'PK\x03\x04' + bytes(100),
    'a gzip': b'\x1f\x8b\x08' + bytes(100),
    'unknown option': 'dta: {}\n',
    'unknown below': 'data: {rot: x}\n',
    'unknown with an escape': '"na\\e[2Jme": 1\n',
    'unknown with brackets': '"[/tabby]": 1\n',
    'a million letters': f'{"a" * 1_000_000}: 1\n',
    'missing': 'data: {root: ???}\n',
    'a reference to nothing': 'name: ${there}\n',
    'a reference to itself': 'name: ${name}\n',
    'references in a circle': 'name: ${runs_dir}\nruns_dir: ${name}\n',
    'an unclosed reference': 'name: ${data.root\n',
    'an unknown resolver': 'name: ${system:ls}\n',
    'references in each other': f'name: {"${" * 500}x{"}" * 500}\n',
    'a list where one is': 'data: {root: [a]}\n',
    'lists of lists': 'seeds: [[1], [2]]\n',
    'a dict in a list': 'seeds: [{a: 1}]\n',
    'null in a list': 'seeds: [1, null]\n',
    'half a number': 'optimizer: {lr: 1e}\n',
    'not a number': 'optimizer: {lr: .nan}\n',
    'infinity': 'optimizer: {lr: .inf}\n',
    '400 digits': f'seed: {"9" * 400}\n',
    '5,000 digits': f'seed: {"9" * 5000}\n',
    'sixty times sixty': 'data: {image_size: -1:00:00}\n',
    'a date as number': 'seed: 2020-01-01\n',
    'a million seeds, twice': f'seeds: [{"1, " * 20_000}1]\n',
}

BASES: dict[str, str] = {
    'a number': 'base: 3\n',
    'a list': 'base: [digits]\n',
    'a dict': 'base: {a: 1}\n',
    'true': 'base: true\n',
    'itself': 'base: x\n',
    'unknown': 'base: digit\n',
    'a file': 'base: digits.yaml\n',
    'a folder': 'base: ..\n',
    'outside': 'base: ../../../../etc/passwd\n',
    'absolute': 'base: /etc/passwd\n',
    'a NUL': 'base: "a\\0b"\n',
    'long': f'base: {"a" * 5000}\n',
    'an escape': 'base: "\\e]0;x\\a"\n',
    'a missing one': 'base: ???\n',
    'a reference': 'base: ${name}\nname: digits\n',
    'a reference to nothing': 'base: ${there}\n',
}

# Done as asked: the words are odd, what they say is not.
GOOD_ONES: dict[str, str | bytes] = {
    'plain': GOOD,
    'empty': '',
    'a comment': '# nothing\n',
    'null': '~\n',
    'a mark': '\ufeff'.encode() + GOOD.encode(),
    'line ends of Windows': GOOD.replace('\n', '\r\n'),
    'line ends of old': GOOD.replace('\n', '\r'),
    'JSON': '{"base": "digits", "seed": 3}',
    'an anchor': 'data: {image_size: &a 64, scene_size: *a}\n',
    'merged': 'base: digits\ndata: {<<: {image_size: 64}}\n',
    'another alphabet': 'name: 写真\n',
    'no base': 'base:\n',
    'one document': '---\nbase: digits\n...\n',
    'a long comment': '#' * 500_000 + '\n' + GOOD,
}

SECTIONS = ('data', 'task', 'model', 'loss', 'optimizer', 'semantics', 'metrics', 'features', 'graphs', 'trainer')
OTHERS = {'null': '~', 'a number': '3', 'a list': '[a]', 'a text': 'x', 'true': 'yes', 'a number as key': '{1: 2}',
          'a null key': '{~: 2}', 'a list below': '{name: [1]}', 'a dict below': '{name: {a: 1}}'}  # fmt: skip


def laid(folder: Path, **rows: str | bytes) -> None:
    """Writes rows into a folder where they are looked for, in this process alone."""
    from mlsgm_pyg.app.config import FOLDERS

    folder.mkdir(exist_ok=True)
    for name, content in rows.items():
        (folder / f'{name}.yaml').write_bytes(content if isinstance(content, bytes) else content.encode())
    FOLDERS.append(folder.resolve())


def shown(stock: Stock, rng: random.Random, content: str | bytes, *words: str) -> list[str]:
    laid(Path('rows'), x=content)
    return ['experiments.run', 'x', *words, '--show']


def cases() -> Iterator[Case]:
    for what, content in BROKEN.items():
        yield Case(what, partial(shown, content=content), r'\bx\.yaml|unknown option|must ', False)
    for what, content in GOOD_ONES.items():
        yield Case(what, partial(shown, content=content), done=True)
    for what, content in BASES.items():
        yield Case(f'base is {what}', partial(shown, content=content), "'base'|unknown experiment|x.yaml", False)
    for section in SECTIONS:
        for what, text in OTHERS.items():
            told = rf"'{section}[.']|unknown option '{section}|x\.yaml' cannot be read.* {section}\b"
            done = None if section == 'trainer' and '{' in text else False  # Lightning's own, told where it trains.
            yield Case(f'{section} is {what}', partial(shown, content=f'{section}: {text}\n'), told, done)
    for number in range(40):
        yield Case(f'damaged {number}', damaged)
    for what, act in PLACES.items():
        yield Case(what, act, seconds=10)
    for what, act in BESIDE.items():
        yield Case(what, act, done=True, seconds=10)


def damaged(stock: Stock, rng: random.Random) -> list[str]:
    """A row of the paper with some bytes changed, cut out or put in."""
    from mlsgm_pyg.app.config import FOLDERS

    paths = sorted(path for folder in FOLDERS for path in folder.glob('*.yaml'))
    content = bytearray(rng.choice(paths).read_bytes())
    for _ in range(rng.choice((1, 1, 4, 16))):
        at = rng.randrange(len(content))
        odd = rng.choice((b'\0', b'\t', b'{', b'[', b'&a ', b'*a', b': ', b'!!', b'\xff', b'"', b'\n', b'${', b'- '))
        match rng.randrange(3):
            case 0:
                content[at] = rng.randrange(256)
            case 1:
                content[at:at] = odd
            case 2:
                del content[at : at + rng.randrange(1, 30)]
    return shown(stock, rng, bytes(content))


def circle(stock: Stock, rng: random.Random) -> list[str]:
    laid(Path('rows'), x='base: y\n', y='base: z\n', z='base: x\n')
    return ['experiments.run', 'x', '--show']


def chain(stock: Stock, rng: random.Random) -> list[str]:
    laid(Path('rows'), **{f'r{i}': f'base: r{i + 1}\n' for i in range(300)}, r300=GOOD)
    return ['experiments.run', 'r0', '--show']


def twice(stock: Stock, rng: random.Random) -> list[str]:
    laid(Path('rows'), digits=GOOD)
    return ['experiments.run', 'digits', '--show']


def at(make: Callable[[Path], None], stock: Stock, rng: random.Random) -> list[str]:
    """A row that is no file, but what was made there."""
    laid(Path('rows'))
    make(Path('rows/x.yaml'))
    return ['experiments.run', 'x', '--show']


def sparse(path: Path) -> None:
    with path.open('wb') as file:
        file.truncate(40 << 30)


PLACES: dict[str, Callable] = {
    'bases in a circle': circle,
    'a chain of 300': chain,
    'two of one name': twice,
    'a folder': partial(at, Path.mkdir),
    'a pipe': partial(at, lambda path: __import__('os').mkfifo(path)),
    'a link to nothing': partial(at, lambda path: path.symlink_to('there')),
    'a link to itself': partial(at, lambda path: path.symlink_to('x.yaml')),
    'a link to a device': partial(at, lambda path: path.symlink_to('/dev/zero')),
    'a link to the system': partial(at, lambda path: path.symlink_to('/etc/passwd')),
    '40 GB of nothing': partial(at, sparse),
}


def listed(content: str | bytes, command: list[str], stock: Stock, rng: random.Random) -> list[str]:
    laid(Path('rows'), odd=content)
    return command


BESIDE = {
    f'{command[-1]} beside {what}': partial(listed, content, command)
    for command in (['experiments.run', '--list'], ['mlsgm', 'train', '--rows'])
    for what, content in {
        'latin-1': '# caf\xe9\n'.encode('latin-1'),
        'UTF-16': '# x\n'.encode('utf-16'),
        'a NUL': b'# a\0b\n',
        'no YAML': '# an odd one\n{',
        'an escape': '# \x1b]0;owned\x07 x\n',
        'right to left': '# a\u202eb\n',
        'brackets': '# [/tabby] [bold]x\n',
        'a million letters': f'# {"a" * 1_000_000}\n',
    }.items()
}

"""Label files: read by the data set one by one, and some of them by check and training."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.hostile.case import Case, Command, Result
from tests.hostile.stock import Stock, options

NUMBER = 6  # Images that are there: 0.png to 5.png in `images`.
ROWS = [('0.png', 'train', 'cat', 'dog'), ('1.png', 'train', 'dog', ''), ('2.png', 'train', '', 'cat')]
ROWS += [('3.png', 'test', 'dog;cat', ''), ('4.png', 'test', 'cat', ''), ('5.png', 'test', 'dog', '')]


def cell(name: str, there: str, unknown: str) -> int:
    return 1 if name in there else -1 if name in unknown else 0


FORMS = {  # Name of the file -> what it holds of those.
    'labels.csv': 'file,split,cat,dog\n'
    + ''.join(f'{file},{split},{cell("cat", a, b)},{cell("dog", a, b)}\n' for file, split, a, b in ROWS),
    'annotations.csv': 'file,split,labels,unknown\n' + ''.join(f'{",".join(row)}\n' for row in ROWS),
    'labels.json': json.dumps({file: [name for name in a.split(';') if name] for file, _, a, _ in ROWS}),
    'annotations.json': json.dumps(
        [
            {'file': file, 'split': split, 'labels': a.split(';') if a else [], 'unknown': [b] if b else []}
            for file, split, a, b in ROWS
        ],
        indent=1,
    ),
}
CSV, NAMES, BY_FILE, ENTRIES = FORMS
CHEAP = ['semantics.source=onehot', 'model.backbone=resnet18', 'model.weights=none', 'data.image_size=32']
CHEAP += ['data.num_workers=0', 'features.dir=maps', 'features.engine=torch']
#: Trains on a folder, in seconds.
TRAIN = [word for word in options(Path()) if not word.startswith(('data.root=', 'data.tune='))]
TRAIN = ['--row', 'digits', *TRAIN, 'data.tune=0.2']


class Labels(NamedTuple):
    """A label file, and what is wanted of whoever reads it."""

    name: str
    file: str
    content: bytes | Callable[[], bytes | None]  # A function lays it out in the folder itself where it returns None.
    told: str | None = None  # Why it is refused; None: it is read; '': either.
    seconds: float = 20
    is_surveyed: bool = False  # By check as well.


def cases() -> Iterator[Case]:
    for at, one in enumerate(every()):
        act = lambda stock, rng, one=one: read(stock, one)  # noqa: E731
        done = None if one.told == '' else one.told is None
        told = one.told or r'(labels|annotations)\.(csv|json)'
        yield Case(one.name, act, told, done, as_read(one), one.seconds)
        if one.is_surveyed or at % 7 == 0:
            act = lambda stock, rng, one=one: [*survey(stock, one), *CHEAP]  # noqa: E731
            done = False if told and one.told and 'there is no image' not in told else None  # It lists those.
            yield Case(f'check: {one.name}', act, told if done is False else '', done, None, max(one.seconds, 40), 0.5)
    for name in ('a file in /etc', 'a bracket that is not closed'):
        one = next(one for one in every() if one.name == f'{CSV}: {name}')
        act = lambda stock, rng, one=one: ['mlsgm', 'train', *survey(stock, one)[2:], *TRAIN]  # noqa: E731
        yield Case(f'train: {one.name}', act, one.told, False if one.told else True, None, 60, 3)


def laid_out(stock: Stock, one: Labels) -> str:
    """A folder of some images of the stock and this label file."""
    os.makedirs('photos/images')
    for i in range(NUMBER):
        shutil.copyfile(stock.photos / 'images' / f'{i}.png', f'photos/images/{i}.png')
    os.chdir('photos')
    content = one.content() if callable(one.content) else one.content
    if content is not None:
        Path(one.file).write_bytes(content)
    os.chdir('..')
    return one.file


def read(stock: Stock, one: Labels) -> Command:
    laid_out(stock, one)

    def answer() -> None:
        from mlsgm_pyg.datasets import CsvDataset

        found = CsvDataset('photos', labels=one.file)
        told = {'files': found.files, 'names': found.class_names, 'y': found.y.tolist(), 'splits': found.splits}
        print(json.dumps(told))

    return answer


def as_read(one: Labels) -> Any:
    """Whether what is read has a label of 1, 0 or -1 for each class, and names no file outside."""

    def check(result: Result) -> str:
        if result.status:
            return ''
        found = json.loads(result.out)
        at = {file: os.path.realpath(f'photos/images/{file}') for file in found['files']}
        outside = [file for file, path in at.items() if not path.startswith(os.getcwd())]
        if outside and 'link' not in one.name:
            return f'wrong: it names {outside[0]!r}'
        if any(len(row) != len(found['names']) or not set(row) <= {1, 0, -1} for row in found['y']):
            return 'wrong: labels that are none'
        return '' if len(found['y']) == len(found['files']) == len(set(found['files'])) else 'lost: rows'

    return check


def survey(stock: Stock, one: Labels) -> list[str]:
    return ['mlsgm', 'check', 'photos', f'data.labels={laid_out(stock, one)}', 'data.on_error=skip']


def every() -> Iterator[Labels]:
    """All of them, the same in every run."""
    yield from _encodings()
    yield from _damaged()
    yield from _cells()
    yield from _names_of_files()
    yield from _headers()
    yield from _values()
    yield from _sizes()
    yield from _places()


def _encodings() -> Iterator[Labels]:
    for file, text in FORMS.items():
        accents = text.replace('cat', 'é猫')
        for code, told in {'utf-8': None, 'utf-8-sig': None, 'utf-16': file, 'utf-16-le': '', 'utf-32': file}.items():
            yield Labels(f'{file} in {code}', file, text.encode(code), told)
        yield Labels(f'{file} with accents', file, accents.encode())
        latin = text.replace('cat', 'é').encode('latin-1')
        yield Labels(f'{file} in Latin 1', file, latin, f'{file}.* is not UTF-8 text')
        lone = text.replace('cat', '\ud800').encode(errors='surrogatepass')
        yield Labels(f'{file} with a lone surrogate', file, lone, f'{file}.* is not UTF-8 text')
        yield Labels(f'{file} packed', file, gzip.compress(text.encode(), mtime=0), f'{file}.* is not UTF-8 text')
        yield Labels(f'{file} with NUL', file, text.replace('cat', 'c\0t').encode(), '')
        yield Labels(f'{file} with marks twice', file, b'\xef\xbb\xbf' * 2 + text.encode(), '')
        for what, end in {'Windows': '\r\n', 'old Macs': '\r', 'two': '\n\n'}.items():
            yield Labels(f'{file} with line ends of {what}', file, text.replace('\n', end).encode())
        yield Labels(f'{file} without a last line end', file, text.strip().encode())
        yield Labels(f'{file} empty', file, b'', file)
        yield Labels(f'{file} of spaces', file, b' \n \n', file)
        yield Labels(f'{file} of zeros', file, bytes(1000), file)


def _damaged() -> Iterator[Labels]:
    """Cut off, with bits flipped, with lines dropped, doubled and swapped."""
    rng = random.Random(0)
    for file, text in FORMS.items():
        data, lines = text.encode(), text.splitlines(keepends=True)
        for i in range(8):
            yield Labels(f'{file} cut {i}', file, data[: rng.randrange(len(data))], '')
        for i in range(10):
            flipped = bytearray(data)
            for _ in range(rng.choice([1, 1, 2, 9])):
                flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
            yield Labels(f'{file} with flipped bits {i}', file, bytes(flipped), '')
        for i in range(5):
            at = rng.randrange(len(data))
            odd = rng.choice([b'"', b',', b'\n', b'[', b'}', b'\0', b'\\', b'\x1b'])
            yield Labels(f'{file} with {odd!r} in it {i}', file, data[:at] + odd + data[at:], '')
        if len(lines) > 1:
            for i in range(3):
                at = rng.randrange(1, len(lines))
                yield Labels(f'{file} without a line {i}', file, ''.join(lines[:at] + lines[at + 1 :]).encode(), '')
                twice = ''.join(lines[:at] + lines[at : at + 1] + lines[at:]).encode()
                yield Labels(f'{file} with a line twice {i}', file, twice, file)


def _cells() -> Iterator[Labels]:
    good = {'1', '0', '-1', '1.0', '0.0', '-1.0', ' 1', '1 ', '"1"'}
    others = ['2', '-2', '0.5', 'yes', 'true', '', 'nan', 'inf', '1e0', '0x1', '１', '+1', '01', '-0', '9' * 400, '--1']
    others += ['\x1b[31m', '<b>', '=1+1', '1;0', '"', '\u202e1', '1\0', '-1.00', '¹']
    for cell in [*sorted(good), *others]:
        told = None if cell in good else r"labels\.csv'(, line \d+| is not a valid CSV)"
        yield Labels(f'cell {cell[:20]!r}', CSV, f'file,cat,dog\n0.png,{cell},0\n1.png,0,1\n'.encode(), told)
    odd = ['TRAIN', 'tränen', '0', 'nan', '../x', '\x1b[2J', '\u202e', 'a' * 10000, ' a', '[b]', '"a,b"', '%', '[/b]']
    for split in odd:
        text = f'file,split,cat\n0.png,{split},1\n1.png,{split},0\n'
        yield Labels(f'split {split[:20]!r}', CSV, text.encode())
    for split in ['', ' ', '""']:
        text = f'file,split,cat\n0.png,{split},1\n1.png,train,0\n'
        yield Labels(f'split {split!r}', CSV, text.encode(), r"labels\.csv', line 2: the image '0.png' has no split")
    for split in [None, 3, [], {}, '', True]:
        data = [{'file': '0.png', 'labels': ['cat'], 'split': split}, {'file': '1.png', 'labels': [], 'split': 'test'}]
        told = r"entry 1: the image '0.png' has no split"
        yield Labels(f'split {split!r} in JSON', BY_FILE, json.dumps(data).encode(), told)


BRACKETS = '0.png,train,1,0\n1.png,test,0,1\n2.png,train,0,1'
OUTSIDE = {
    'a file in /etc': '/etc/passwd',
    'a device': '/dev/zero',
    'the system': '/proc/self/environ',
    'a step up': '../../x.png',
    'a label file of another': '../../../labels.csv',
    'a way round': 'images/../../../x.png',
    'the root': '/',
    'dots': '../..',
    'a point alone': '.',
}
INSIDE = {
    'a point': './0.png',
    'its folder': 'images/0.png',
    'a round trip': '../images/0.png',
    'two slashes': './/0.png',
}
MISSING = {
    'one that is not there': 'x.png',
    'a tilde': '~/x.png',
    'a variable': '$HOME/x.png',
    'a URL': 'http://localhost:9/x.png',
    'a file of a URL': 'file:///etc/passwd',
    'Windows': 'C:\\x.png',
    'backslashes': '..\\..\\x.png',
    'a star': '*.png',
    'a folder': 'images',
    '5,000 letters': 'x' * 5000,
    '3,000 folders': 'a/' * 3000 + 'x.png',
    'percents': '%2e%2e/x.png',
    'a title of a terminal': '\x1b]0;x\x07.png',
    'a name right to left': '\u202egnp.x',
    'a minus': '-rf',
    'a command': '$(touch x).png',
    'a file as a folder': '0.png/x.png',
    'a slash at its end': 'nothing/',
    'a question': '?.png',
    'markup': '[/b].png',
}


def _names_of_files() -> Iterator[Labels]:
    for group, told in [(OUTSIDE, 'outside of the folder'), (INSIDE, None), (MISSING, 'there is no image')]:
        for what, file in group.items():
            reason = told and rf'(line 3|entry 2)\b.*{told}'
            for form in (CSV, NAMES, BY_FILE, ENTRIES):
                yield Labels(f'{form}: {what}', form, _naming(form, file), reason)
    odd = {'NUL': '\0.png', 'a surrogate': '\ud800.png', 'a line end': 'a\nb.png', 'nothing': '', 'a space': ' '}
    for what, file in odd.items():
        yield Labels(f'{ENTRIES}: {what}', ENTRIES, _naming(ENTRIES, file), 'entry 2')
    for what, make in {
        'a pipe': os.mkfifo,
        'a link to nowhere': lambda name: os.symlink('nowhere', name),
        'a link to itself': lambda name: os.symlink(name, name),
        'a link to a device': lambda name: os.symlink('/dev/zero', name),
        'a socket': bound,
    }.items():
        with_it = lambda make=make: make('images/odd.png') or _naming(CSV, 'odd.png')  # noqa: E731
        yield Labels(
            f'{CSV}: {what} as an image', CSV, with_it, r"line 3.*there is no image 'odd\.png'", is_surveyed=True
        )
    link = lambda: os.symlink(__file__, 'images/odd.png') or _naming(CSV, 'odd.png')  # noqa: E731
    yield Labels(f'{CSV}: a link to a file elsewhere', CSV, link)
    link = lambda: os.symlink('..', 'images/up') or _naming(CSV, 'up/images/up/images/1.png')  # noqa: E731
    yield Labels(f'{CSV}: a link in a circle', CSV, link)
    link = lambda: os.symlink('0.png', 'images/odd.png') or b'file,cat\n0.png,1\nodd.png,0\n'  # noqa: E731
    yield Labels(f'{CSV}: an image and a link to it', CSV, link)
    yield Labels(
        f'{CSV}: two names of one image', CSV, b'file,cat\n0.png,1\n./images/../images/0.png,0\n', 'line 3.*0.png'
    )
    odd = lambda: os.rename('images/1.png', b'images/caf\xe9.png') or _naming(CSV, '1.png')  # noqa: E731
    yield Labels(f'{CSV}: a file beside it that is not UTF-8', CSV, odd, 'there is no image', is_surveyed=True)
    odd = lambda: shutil.copy('images/1.png', b'images/caf\xe9\x1b[2J.png') and FORMS[CSV].encode()  # noqa: E731
    yield Labels(f'{CSV}: one that is not listed and not UTF-8', CSV, odd, is_surveyed=True)


def _naming(form: str, file: str) -> bytes:
    """A label file whose second image is called so."""
    first = file if form not in (CSV, NAMES) else '"' + file.replace('"', '""') + '"'
    return {
        CSV: lambda: f'file,cat,dog\n5.png,1,0\n{first},0,1\n',
        NAMES: lambda: f'file,labels\n5.png,cat\n{first},dog\n',
        BY_FILE: lambda: json.dumps({'5.png': ['cat'], file: ['dog']}),
        ENTRIES: lambda: json.dumps([{'file': '5.png', 'labels': ['cat']}, {'file': file, 'labels': ['dog']}]),
    }[form]().encode(errors='surrogatepass')


def bound(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(name)


def _headers() -> Iterator[Labels]:
    for what, head, row, told in [
        ('FILE', 'FILE,cat', '0.png,1', None),
        ('Path', 'Path,cat', '0.png,1', None),
        ('file and image', 'image,file,cat', '1,0.png,1', None),
        ('no file', 'cat,dog', '1,0', "has no column 'file'"),
        ('file alone', 'file', '0.png', 'neither class columns'),
        ('file and split', 'file,split', '0.png,a', 'neither class columns'),
        ('file twice', 'file,file,cat', '0.png,1.png,1', "column 'file' twice"),
        ('a class twice', 'file,cat,cat', '0.png,1,0', "column 'cat' twice"),
        ('a class without a name', 'file,cat,', '0.png,1,0', 'empty column name'),
        ('semicolons', 'file;cat', '0.png;1', "separated by ','"),
        ('tabs', 'file\tcat', '0.png\t1', "separated by ','"),
        ('too few cells', 'file,cat,dog', '0.png,1', 'line 2: expected 3 cells'),
        ('too many cells', 'file,cat', '0.png,1,1', 'line 2: expected 2 cells'),
        ('a quote that is not closed', 'file,cat', '"0.png,1', r'labels\.csv'),
        ('a quote in a cell', 'file,cat', '0".png,1', 'there is no image'),
        ('a quote in a quote', 'file,cat', '"0""png",1', 'there is no image'),
        ('no rows', 'file,cat', '', 'lists no images'),
        ('labels as a class', 'file,labels,cat', '0.png,1,1', None),
        ('a bracket', 'file,[x]', '0.png,1', None),
        ('a bracket that is not closed', 'file,split,cat [/tabby],[', BRACKETS, None),
        ('control characters', 'file,\x1b[31mred,\x07', '0.png,1,0', None),
        ('right to left', 'file,\u202ecat', '0.png,1', None),
        ('__proto__', 'file,__proto__,constructor', '0.png,1,0', None),
        ('NaN', 'file,nan,None,null,true', '0.png,1,0,0,0', None),
        ('a class of 100,000 letters', 'file,' + 'x' * 100_000, '0.png,1', None),
        ('a class of 200,000 letters', 'file,' + 'x' * 200_000, '0.png,1', 'is not a valid CSV file'),
        ('a class of two lines', 'file,"a\nb"', '0.png,1', None),
    ]:
        yield Labels(f'{CSV}: {what}', CSV, f'{head}\n{row}\n'.encode(), told, is_surveyed=told is None)


def _values() -> Iterator[Labels]:
    entry = '{{"file": "0.png", "labels": {}}}'
    for what, labels, told in [
        ('null', 'null', 'must be a list of names'),
        ('a text', '"cat"', 'must be a list of names'),
        ('a number', '1', 'must be a list of names'),
        ('numbers', '[1, 2]', 'must be a list of names'),
        ('a null in it', '["cat", null]', 'must be a list of names'),
        ('a list in it', '[["cat"]]', 'must be a list of names'),
        ('a mapping', '{"cat": 1}', 'must be a list of names'),
        ('one twice', '["cat", "cat"]', None),
        ('an empty name', '["", "cat"]', ''),
        ('NUL', '["c\\u0000t"]', None),
        ('a surrogate', '["\\ud800"]', ''),
        ('an escape', '["\\u001b[31mcat"]', None),
        ('a line end', '["a\\nb"]', None),
        ('10,000 of them', json.dumps([f'c{i}' for i in range(10_000)]), None),
        ('a huge number', '[1e999]', 'must be a list of names'),
        ('5,000 digits', '[' + '9' * 5000 + ']', r'labels\.json'),
        ('NaN', '[NaN]', 'must be a list of names'),
        ('100,000 brackets in it', '[' * 100_000 + ']' * 100_000, r"labels\.json' is not valid JSON"),
    ]:
        yield Labels(
            f'JSON labels: {what}', BY_FILE, f'[{entry.format(labels)}]'.encode(), told, is_surveyed=told is None
        )
    for what, text, told in [
        ('100,000 brackets', '[' * 100_000, r"labels\.json' is not valid JSON"),
        ('100,000 mappings', '{"a":' * 100_000, r"labels\.json' is not valid JSON"),
        ('a comma at the end', '{"0.png": ["cat"],}', 'not valid JSON'),
        ('two documents', '{"0.png": ["cat"]}{}', 'not valid JSON'),
        ('a comment', '{"0.png": ["cat"]} // x', 'not valid JSON'),
        ('single quotes', "{'0.png': ['cat']}", 'not valid JSON'),
        ('a text', '"x"', 'must hold'),
        ('a number', '3', 'must hold'),
        ('null', 'null', 'must hold'),
        ('an empty mapping', '{}', 'lists no images'),
        ('an empty list', '[]', 'lists no images'),
        ('numbers for entries', '[1, 2]', 'entry 1: expected'),
        ('texts for entries', '["0.png"]', 'entry 1: expected'),
        ('lists for entries', '[["0.png", "cat"]]', 'entry 1: expected'),
        ('no labels', '[{"file": "0.png"}]', 'entry 1: expected'),
        ('a number for a file', '[{"file": 3, "labels": ["cat"]}]', "'file' must be the name"),
        ('null for a file', '[{"file": null, "labels": ["cat"]}]', "'file' must be the name"),
        ('an unknown key', '[{"file": "0.png", "labels": ["cat"], "box": 1}]', "unknown key 'box'"),
        ('an odd key', '[{"file": "0.png", "labels": ["cat"], "\\u001b[2J": 1}]', 'unknown key'),
        ('a key twice', '[{"file": "0.png", "file": "1.png", "labels": ["cat"]}]', "'file' is there twice"),
        ('a file twice', '{"0.png": ["cat"], "0.png": []}', "'0.png' is there twice"),
        ('both', '[{"file": "0.png", "labels": ["cat"], "unknown": ["cat"]}]', "both in 'labels' and in 'unknown'"),
        ('no class', '{"0.png": [], "1.png": []}', 'names no class'),
        ('all unknown', '[{"file": "0.png", "labels": [], "unknown": ["cat"]}]', None),
        ('a form of COCO', '{"images": [{"id": 1}], "annotations": []}', "entry 1, image 'images'|must be a list"),
    ]:
        yield Labels(f'JSON: {what}', BY_FILE, text.encode(), told)


def _sizes() -> Iterator[Labels]:
    names = ','.join(f'c{i}' for i in range(10_000))
    rows = ''.join(f'{i}.png,{"train" if i % 2 else "test"},{"1,0," * 4999}1,0\n' for i in range(NUMBER))
    yield Labels('10,000 classes', CSV, lambda: f'file,split,{names}\n{rows}'.encode(), is_surveyed=True)
    twins = names.replace('c9999', 'c1')
    yield Labels('10,000 classes, one twice', CSV, lambda: f'file,split,{twins}\n{rows}'.encode(), "column 'c1' twice")
    many = lambda: ('file,cat\n' + ''.join(f'x{i}.png,1\n' for i in range(50_000))).encode()  # noqa: E731
    yield Labels('50,000 rows that are not there', CSV, many, 'line 2: there is no image')
    same = lambda: ('file,cat\n' + '0.png,1\n' * 50_000).encode()  # noqa: E731
    yield Labels('50,000 rows of one image', CSV, same, 'line 3: .*is there already')
    blank = lambda: FORMS[CSV].encode() + b'\n' * 1_000_000  # noqa: E731
    yield Labels('1,000,000 blank lines', CSV, blank)
    commas = lambda: FORMS[CSV].encode() + b',' * 1_000_000 + b'\n'  # noqa: E731
    yield Labels('1,000,000 commas', CSV, commas)
    wide = lambda: b'file,cat\n0.png,"' + b'x' * 1_000_000 + b'"\n'  # noqa: E731
    yield Labels('a cell of 1 MB', CSV, wide, 'is not a valid CSV file')


def _places() -> Iterator[Labels]:
    def link(to: str) -> Callable[[], None]:
        return lambda: os.symlink(to, CSV)

    def sparse() -> None:
        Path(CSV).write_bytes(FORMS[CSV].encode())
        os.truncate(CSV, 40 << 30)

    for what, make, told in [
        ('a pipe', lambda: os.mkfifo(CSV), 'Not a regular file'),
        ('a folder', lambda: os.mkdir(CSV), 'Is a directory'),
        ('a socket', lambda: bound(CSV), 'Not a regular file'),
        ('a device', link('/dev/zero'), 'Not a regular file'),
        ('random bytes', link('/dev/urandom'), 'Not a regular file'),
        ('the log of the kernel', link('/proc/kmsg'), r'labels\.csv'),
        ('the environment', link('/proc/self/environ'), r'labels\.csv'),
        ('memory', link('/proc/self/mem'), r'labels\.csv'),
        ('a link to nowhere', link('nowhere'), 'there is no label file'),
        ('a link to itself', link(CSV), r'labels\.csv'),
        ('40 GB', sparse, r"labels\.csv' cannot be read: .* bytes are more than"),
        ('missing', lambda: None, 'there is no label file'),
        ('an image', lambda: shutil.copy('images/0.png', CSV) and None, 'is not UTF-8 text'),
        ('an image that is called JSON', lambda: shutil.copy('images/0.png', BY_FILE) and None, r'labels\.(csv|json)'),
    ]:
        yield Labels(f'a label file that is {what}', CSV, make, told, is_surveyed=True)
    with suppress(KeyError):
        for name in ('/etc/passwd', '..', 'x' * 5000, 'images', 'images/0.png', '~/labels.csv'):
            yield Labels(f'a label file called {name[:20]}', name, lambda: None, r'\S', is_surveyed=True)

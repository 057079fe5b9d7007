"""Names of classes and of files that would move a terminal, a page, a table or a path."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.hostile.case import Case, Command, Result
from tests.hostile.parts.labels import CHEAP, TRAIN
from tests.hostile.stock import Stock

NAMES = {
    'a closing tag of rich': 'cat [/tabby]',
    'a tag of rich': 'dog [big]',
    'colours of rich': '[bold red]x[/]',
    'a link of rich': '[link=file:///etc/passwd]x[/link]',
    'a bracket': '[',
    'a bracket back': ']',
    'a bracket behind a stroke': 'a\\[b',
    'an emoji of rich': ':cat:',
    'a title': '\x1b]0;x\x07',
    'a cleared screen': '\x1b[2J',
    'a bell': 'a\x07',
    'a control character of 8 bits': '\x9b31m',
    'delete': 'a\x7f',
    'backspaces': 'cat\b\b\bdog',
    'right to left': '\u202egnp.exe',
    'an isolate': '\u2066x',
    'a mark': '\u200fx',
    'a lone surrogate': 'x\ud800',
    'HTML': '<script>alert(1)</script>',
    'an attribute': '" onmouseover="alert(1)',
    'an entity': '&amp;',
    'jinja': '{{7*7}}{% raw %}',
    'a shell': '$(touch "it was run")`touch it`',
    'printf': '%s%n%d',
    'str.format': '{0}{x}',
    'a path up': '../x',
    'a path of the root': '/etc/x',
    'a formula': '=1+1',
    'a quote': '"',
    'two quotes': "it''s",
    'a stroke': 'a\\b',
    'a pipe': 'a|b',
    'stars': '*a* **b** `c`',
    'a head': '# a',
    'a long one': 'x' * 3000,
    'composed': '\u00e9',
    'decomposed': 'e\u0301',
    'Chinese': '写真',
    'Arabic': 'صورة',
    'an emoji': '👩\u200d👩\u200d👧',
    'no width': 'a\u200bb',
    'a space that does not break': 'a\xa0b',
    'true': 'true',
    'one': '1',
    'NaN': 'nan',
    '__proto__': '__proto__',
    'a tab': 'a\tb',
    'two lines': 'a\nb',
    'a return': 'a\rb',
}
FILES = {
    **{what: name for what, name in NAMES.items() if '/' not in name and '\ud800' not in name and len(name) < 250},
    'not UTF-8': 'caf\udce9',
    'a minus': '-rf',
    'a minus and a word': '--out=x',
    'a star': '*',
    'a question': '?',
    '250 letters': 'x' * 250,
    'a list': 'x.txt',
    'a space at its end': 'a ',
    'a tilde': '~',
    'a percent': '%2e%2e%2fx',
    'a hash': 'a#b?c',
}


@contextmanager
def scope(stock: Stock) -> Iterator[Any]:
    """Runs of two models whose classes are called so, and an exported one."""
    from tests.hostile.run import forked

    folder = stock.root.parent / 'named'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        result = forked(lambda: train(stock), folder, 300)
        yield folder, result
    finally:
        shutil.rmtree(folder)


def train(stock: Stock) -> None:
    from mlsgm_pyg.app.cli import main

    shutil.copytree(stock.photos / 'images', 'photos/images')
    rows = [
        {
            'file': f'{i}.png',
            'split': 'train' if i < 21 else 'test',
            'labels': [name for k, name in enumerate(NAMES.values()) if i % (2 + k % 3)],
        }
        for i in range(34)
    ]
    Path('photos/labels.json').write_text(json.dumps(rows))
    words = ['train', 'photos', *again(Path())]
    if main(words) or main([*words, '--row', 'digits_baseline']):
        raise SystemExit('it could not be trained')


def again(runs: Path) -> list[str]:
    return [*TRAIN, 'name=named', f'runs_dir={runs / "runs"}']


def ours(folder: Path) -> str:
    return str(next((folder / 'runs/named/ml_sgm').iterdir()))


def baseline(folder: Path) -> str:
    return str(next((folder / 'runs/named/baseline').iterdir()))


def cases() -> Iterator[Case]:
    yield Case('training on all of them', lambda stock, rng: lambda: said(stock), '', True, cost=0.1)
    for what, name in NAMES.items():
        yield Case(
            f'check: a class called {what}', lambda stock, rng, name=name: classes(stock, name), r'\S', None, cost=0.3
        )
    for what, words in {
        'report': lambda runs: ['report', ours(runs), '--out', 'x.html'],
        'compare': lambda runs: ['compare', ours(runs), baseline(runs), '--out', 'x.html', '--json', 'x.json'],
        'card': lambda runs: ['card', ours(runs)],
        'predict': lambda runs: predicted(runs, '--threshold', '0'),
        'predict to CSV': lambda runs: predicted(runs, '--out', 'x.csv'),
        'predict to Parquet': lambda runs: predicted(runs, '--out', 'x.parquet'),
        'predict and draw': lambda runs: predicted(runs, '--draw', 'd'),
        'predict some': lambda runs: predicted(runs, '--labels', '[,cat [/tabby],\x1b[2J'),
        'train once more': lambda runs: ['train', str(runs / 'photos'), *again(runs)],
        'check': lambda runs: ['check', str(runs / 'photos'), 'data.on_error=skip', *CHEAP],
    }.items():
        act = lambda stock, rng, words=words: ['mlsgm', *words(stock.server[0])]  # noqa: E731
        yield Case(f'{what} of all of them', act, '', True, harmless, 90, 3)
    for what, name in FILES.items():
        for verb, act, check in [('predict', listed, records), ('check', surveyed, None)]:
            made = lambda stock, rng, act=act, name=name: act(stock, [name])  # noqa: E731
            yield Case(f'{verb}: a file called {what}', made, '', True, check and check([name]), cost=0.5)
    every = list(FILES.values())
    for what, words in {
        'CSV': ['--out', 'x.csv'],
        'Parquet': ['--out', 'x.parquet'],
        'drawings': ['--draw', 'd'],
    }.items():
        made = lambda stock, rng, words=words: [*listed(stock, every), *words]  # noqa: E731
        yield Case(f'predict all files to {what}', made, '', True, tables, 90, 4)
    made = lambda stock, rng: trained(stock, every)  # noqa: E731
    yield Case('train on all files', made, '', True, None, 120, 6)


ALONE = ['--workers', '0', '--accelerator', 'cpu']


def said(stock: Stock) -> None:
    """What training said, as if it were said here."""
    result = stock.server[1]
    print(result.out)
    if result.status:
        raise ValueError(result.err[-300:])


def classes(stock: Stock, name: str) -> Command:
    shutil.copytree(stock.photos / 'images', 'photos/images')
    rows = [
        {'file': f'{i}.png', 'split': 'train' if i < 4 else 'test', 'labels': [name, 'x'][: 1 + i % 2]}
        for i in range(8)
    ]
    Path('photos/labels.json').write_text(json.dumps(rows))
    return ['mlsgm', 'check', 'photos', *CHEAP]


def predicted(runs: Path, *words: str) -> list[str]:
    return ['predict', ours(runs), str(runs / 'photos/images'), *words, *ALONE]


def harmless(result: Result) -> str:
    """Whether no page that was written holds a name that is not escaped."""
    for path in [*Path().rglob('*.html'), *Path().rglob('*.md')]:
        text = path.read_text()
        if '<script>alert(1)' in text or '" onmouseover="alert' in text:
            return f'wrong: {path} holds a script'
    return ''


def photographs(stock: Stock, names: list[str]) -> list[str]:
    """Pictures that are called so."""
    os.makedirs('photos/images')
    files = [f'{name}.png' for name in names]
    for i, file in enumerate(files):
        shutil.copy(stock.photos / 'images' / f'{i % 34}.png', f'photos/images/{file}')
    return files


def listed(stock: Stock, names: list[str]) -> list[str]:
    photographs(stock, names)
    return ['mlsgm', 'predict', str(stock.checkpoint), 'photos/images', *ALONE]


def records(names: list[str]) -> Callable[[Result], str]:
    def check(result: Result) -> str:
        found = [json.loads(line) for line in Path('predictions.jsonl').read_text().splitlines()]
        there = {f'photos/images/{name}.png' for name in names}
        if {one['file'] for one in found} != there or any('error' in one for one in found):
            return f'lost: {[one["file"] for one in found]}'
        return ''

    return check


def tables(result: Result) -> str:
    """Whether each picture has a row, and a drawing."""
    number = len(FILES)
    if Path('x.csv').exists():
        with open('x.csv', newline='', encoding='utf-8', errors='surrogateescape') as file:
            found = {row['file'] for row in csv.DictReader(file)}
        return '' if found == {f'photos/images/{name}.png' for name in FILES.values()} else f'lost: {sorted(found)}'
    if Path('x.parquet').exists():
        from pyarrow import parquet

        found = set(parquet.read_table('x.parquet').column('file').to_pylist())
        return '' if len(found) == number else f'lost: {number - len(found)} rows'
    drawn = [path for path in Path('d').rglob('*') if path.suffix in ('.jpg', '.png')]
    if len(drawn) != number:
        return f'lost: {number - len(drawn)} drawings'
    return harmless(result)


def surveyed(stock: Stock, names: list[str]) -> list[str]:
    """Half of them are listed."""
    files = photographs(stock, names)
    for i in range(8):
        shutil.copy(stock.photos / 'images' / f'{i}.png', f'photos/images/g{i}.png')
    good = [
        {'file': f'g{i}.png', 'split': 'train' if i % 2 else 'test', 'labels': ['ab'[i // 2 % 2]]} for i in range(8)
    ]
    rows = [{'file': file, 'split': 'train', 'labels': ['a']} for file in files]
    Path('photos/labels.json').write_text(json.dumps([*good, *rows]))
    shutil.copy('photos/images/g0.png', f'photos/images/{names[0][:200]}2.png')
    return ['mlsgm', 'check', 'photos', *CHEAP]


def trained(stock: Stock, names: list[str]) -> list[str]:
    surveyed(stock, names)
    return ['mlsgm', 'train', 'photos', *TRAIN]

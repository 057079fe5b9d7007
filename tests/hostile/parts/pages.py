"""HTML and JavaScript in the names of runs, labels and files: on pages they are words, never elements or scripts."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.hostile.case import Case, Result
from tests.hostile.stock import NAMES, Stock
from tests.reader import Reader

PAYLOADS = {
    'an element': '<pwn onpwn=1>',
    'a script': '<script>pwn()</script><pwn>',
    'the end of a script': '</script><pwn onpwn=1>',
    'the end of an attribute': '"><pwn onpwn="1',
    'the end of another attribute': "' onpwn='1'><pwn x='",
    'an attribute without quotes': 'x onpwn=1 ',
    'the end of a title': '</title></style></svg></textarea><pwn>',
    'a comment': '--><pwn><!--<script>',
    'a section': ']]><pwn>',
    'an entity': '&lt;pwn&gt;&#60;pwn onpwn=1&#62;',
    'a picture': '<img src=pwn onerror=pwn()>',
    'SVG': '<svg onpwn=1><animate onpwn=1></svg>',
    'an address': 'javascript:pwn()',
    'a template': '{{ 7 * 7 }}{% pwn %}${pwn}',
    'CSS': 'x;}</style>*{background:url(http://127.0.0.1:1/pwn)}',
    'line ends': 'a\n\r<pwn>\u2028\u2029<pwn>',
    'right-to-left': '\u202e<pwn>\u2066',
    'upper case': '<PWN ONPWN=1><SCRIPT>',
}


def cases() -> Iterator[Case]:
    for what, payload in PAYLOADS.items():
        for page, act in {'report': report, 'compare': compare, 'drawings': drawings}.items():
            check = partial(harmless, payload=payload)
            yield Case(f'{page}: {what}', partial(act, payload=payload), '', True, check, 60, 2.5)


def harmless(result: Result, payload: str) -> str:
    """Of every page that was written: nothing of the payload is an element, an attribute, an address or a script."""
    pages = list(Path().rglob('*.html'))
    if not pages:
        return 'wrong: no page was written'
    for path in pages:
        text = path.read_text(errors='replace')
        read = Reader(text)
        for name, attributes in read.elements:
            odd = [key for key in attributes if key.startswith('on')]
            address = ' '.join(attributes.get(key) or '' for key in ('href', 'src', 'action', 'style'))
            if name == 'pwn' or odd or re.match(r'\s*javascript:', address) or 'pwn()' in address:
                return f'wrong: {path} has an element {name} {attributes}'
        scripts = re.findall(r'<script[^>]*>(.*?)</script', text, re.DOTALL)
        if len(scripts) != sum(name == 'script' for name, _ in read.elements) or any('<!--' in one for one in scripts):
            return f'wrong: {path} has a script that ends elsewhere'
        policy = [one.get('content', '') for name, one in read.elements if name == 'meta' and 'http-equiv' in one]
        if not policy or not policy[0].startswith("default-src 'none'") or 'unsafe-eval' in policy[0]:
            return f'wrong: the policy of {path} is {policy}'
    return ''


def renamed(value: Any, names: dict[str, str]) -> Any:
    """The same with other names, wherever they stand alone."""
    if isinstance(value, dict):
        return {names.get(key, key): renamed(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [renamed(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else value


def relabelled(payload: str) -> dict[str, str]:
    return {name: f'{payload}{name}' for name in NAMES}


def hostile_run(stock: Stock, run: Path, name: str, payload: str, photos: Path) -> None:
    """A copy of a run whose result says the payload wherever it has a word of its own."""
    folder = Path('runs', name)
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns('tensorboard', '*.ckpt'))
    out = renamed(json.loads((folder / 'result.json').read_text()), relabelled(payload))
    out |= {'name': f'{payload}{name}', 'command': f'mlsgm train {payload}', 'commit': payload}
    out['hardware']['device'] = payload
    out['versions'] |= {'torch': payload}
    out['config'] |= {'name': f'{payload}{name}', 'row': payload}
    out['config']['data']['root'] = str(photos)
    out['skipped'] = [f'{payload}.png']
    (folder / 'result.json').write_text(json.dumps(out))


def photographs(stock: Stock, payload: str) -> Path:
    """The stock's photographs and labels under names with the payload; one with slashes makes folders of itself."""
    folder = Path('photos').absolute()
    with (stock.photos / 'labels.csv').open() as file:
        head, *rows = csv.reader(file)
    lines = [[*head[:2], *relabelled(payload).values()]]
    for name, *row in rows:
        path = folder / 'images' / f'{payload}{name}'
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(stock.photos / 'images' / name, path)
        lines.append([f'{payload}{name}', *row])
    with (folder / 'labels.csv').open('w', newline='') as file:
        csv.writer(file).writerows(lines)
    return folder


def report(stock: Stock, rng: Any, payload: str) -> list[str]:
    photos = photographs(stock, payload)
    hostile_run(stock, stock.run, 'ours', payload, photos)
    hostile_run(stock, stock.baseline, 'other', payload, photos)
    return ['mlsgm', 'report', 'runs/ours', '--against', 'runs/other', '--images', '13', '--out', 'report.html']


def compare(stock: Stock, rng: Any, payload: str) -> list[str]:
    for name, run in {'ours': stock.run, 'other': stock.baseline}.items():
        hostile_run(stock, run, name, payload, stock.photos)
    return ['mlsgm', 'compare', 'runs', '--resamples', '10', '--out', 'comparison.html']


def drawings(stock: Stock, rng: Any, payload: str) -> list[str]:
    import torch

    content = torch.load(stock.checkpoint, weights_only=True)
    content['class_names'] = list(relabelled(payload).values())
    torch.save(content, 'model.ckpt')
    names = [f'{payload}{i}.png' for i in range(2)]
    for i, name in enumerate(names):
        Path('in', name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(stock.photos / 'images' / f'{i}.png', Path('in', name))
    Path('in', 'broken.png').write_text(payload)
    return ['mlsgm', 'predict', 'model.ckpt', 'in', '--draw', 'drawn', '--accelerator', 'cpu', '--workers', '0']

"""Options on the command line, `NAME=VALUE`: what they may hold, odd names, and what is shown of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.hostile.case import RAN, Case, Result

TAG = f'!!python/object/apply:os.system ["touch {RAN!r}"]'.replace("'", '\\"')

# What is given -> the value, and the kinds of options that may take it; all others name the option.
VALUES: dict[str, tuple[str, set[str]]] = {
    'nothing': ('', {'int | None', 'float | None', 'list'}),
    'a list': ('[1, 2]', {'list[int]'}),
    'a dict': ('{a: 1}', set()),
    '400 digits': ('9' * 400, {'str'}),
    '10^30': ('1' + '0' * 30, {'str', 'float', 'float | None'}),
    'infinity': ('1e400', {'str'}),
    'nan': ('nan', {'str'}),
    'not UTF-8': ('a\udced', set()),
    'NUL': ('"a\\0b"', set()),
    'an escape': ('"\\e]0;owned\\a"', {'str'}),
    'right to left': ('a\u202egpj.exe', {'str'}),
    'interpolations in each other': ('${model.${data.${data.name}}}', set()),
    'a tag': (TAG, set()),
    '2,000 brackets': ('[' * 2000, set()),
}
TEXTS = {'an escape', 'right to left'}
ABSENT = {'name', 'row'}  # What load says of them is tried below.
TOGETHER = {  # Some numbers are for some of the other options, or are fractions.
    'data.test_sizes', 'data.dev', 'data.tune', 'model.parts', 'model.encoder_channels', 'model.block_channels',
    'optimizer.warmup', 'features.crop', 'seeds',
}  # fmt: skip

NAMES = {
    'empty': '',
    'a dot': '.',
    'dots': 'data..name',
    'ends in a dot': 'data.',
    'a section': 'data',
    'below an option': 'data.name.x',
    'an index': 'data.test_sizes[0]',
    'brackets': '[/tabby]',
    'open bracket': 'data[',
    'deep': '.'.join('a' * 500),
    'long': 'a' * 20_000,
    'an escape': 'na\x1b]0;owned\x07me',
    'right to left': '\u202edata.root',
    'not UTF-8': 'data.\udced',
    'line ends': 'data.root\nerror: 0',
    'an interpolation': '${data.name}',
    'a tag': '!!python/name:os.system',
    'dunder': '__class__.__init__',
    'of omegaconf': 'data._metadata',
    'in capitals': 'DATA.ROOT',
    'a space': ' data.root',
    'another alphabet': 'dаta.root',  # The second letter is Cyrillic.
}


def options() -> Iterator[tuple[str, str, float | None, str]]:
    """Name, kind, least number and default's text of every option."""
    from mlsgm_pyg.app.config.options import OPTIONS

    for name, option in OPTIONS.items():
        if name not in ABSENT and name != 'trainer':
            kind = 'choice' if option.choices else option.kind
            yield name, kind, option.least


def takes(kind: str, what: str) -> bool:
    kinds = VALUES[what][1]
    return kind in kinds or (kind.startswith('list') and 'choice' not in kind and 'list' in kinds)


def show(*words: str) -> list[str]:
    return ['experiments.run', 'digits', *words, '--show']


def cases() -> Iterator[Case]:
    for name, kind, _ in options():
        for what, (value, _) in VALUES.items():
            if what in TEXTS and kind != 'str':
                continue
            done = takes(kind, what)
            if done and (name.startswith('task.') or name in TOGETHER):
                done = None
            yield Case(f'{name}: {what}', lambda *_, w=f'{name}={value}': show(w), re.escape(name), done)
    yield from bounds()
    yield from names()
    yield from folders()


def bounds() -> Iterator[Case]:
    """A number below the least that an option takes, and one that is no whole number."""
    for name, kind, least in options():
        if least is not None:
            told = f"'{name}' must be at least {least:g}"
            yield Case(f'{name}: too small', lambda *_, w=f'{name}={least - 1:g}': show(w), told, False)
        if 'int' in kind or kind == 'bool':
            yield Case(f'{name}: a fraction', lambda *_, w=f'{name}=1.5': show(w), re.escape(name), False)


def names() -> Iterator[Case]:
    """Names of options that there are none of."""
    for what, name in NAMES.items():
        for value in ('1', '[/x]', '{a: 1}'):
            yield Case(f'named {what}: {value}', lambda *_, w=f'{name}={value}': show(w), 'error: ', False)
            for section in ('trainer', 'model'):
                word = f'{section}.{name}={value}'
                done = None if section == 'trainer' else False  # Lightning's are known where training begins.
                yield Case(f'{section} named {what}: {value}', lambda *_, w=word: show(w), 'error: ', done)


def folders() -> Iterator[Case]:
    """The name of a run is a folder in `runs_dir`."""

    def inside(result: Result) -> str:
        odd = [path for path in Path('..').rglob('*') if path.name == 'config.yaml' and 'w' not in path.parts]
        return f'lost: {odd[0]} lies outside of runs_dir' if odd else ''

    outside = ('../x', '/x', '..', 'a/../../x', '/', 'a/..', '"a\\e[2Jb"', 'a\u202eb', '"a\\nb"', '"a\\u2066b"', '//x')
    for name in outside:
        for command in (['experiments.run', '--show', 'digits'], ['mlsgm', 'train', '--row', 'digits']):
            what = f'name={name!r} {command[0]}'
            yield Case(what, lambda *_, c=command, n=name: [*c, f'name={n}'], "'name' is a folder in", False, inside)

"""Places that never end: links in circles, pipes, devices, giants, depths, and folders that may not be read."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.hostile.case import Case, Command, Result
from tests.hostile.parts.labels import CHEAP
from tests.hostile.stock import Stock

ALONE = ['--workers', '0', '--accelerator', 'cpu']
NUMBER = 34
CHECK = ['mlsgm', 'check', 'photos', 'data.limit=4', *CHEAP]


def powerless() -> None:
    """Takes from this process a superuser's right to read everything."""
    libc, head = ctypes.CDLL(None), struct.pack('=Ii', 0x20080522, 0)
    data = ctypes.create_string_buffer(24)
    libc.capget(head, data)
    parts = list(struct.unpack('=6I', data.raw))
    parts[0] &= ~0b110  # Of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, what is in effect.
    libc.capset(head, struct.pack('=6I', *parts))


def giant(name: str) -> None:
    """A file of 40 GB that takes no room."""
    Path(name).touch()
    os.truncate(name, 40 << 30)


def deep(name: str, depth: int = 3000) -> None:
    """Folders in folders, whose path is longer than the system takes."""
    home = os.getcwd()
    for _ in range(depth):
        os.mkdir(name)
        os.chdir(name)
        name = 'a'
    os.chdir(home)


def bound(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(name)


def shut(name: str) -> None:
    os.mkdir(name)
    os.chmod(name, 0)
    powerless()


def shut_file(name: str) -> None:
    Path(name).touch()
    Path(name).write_bytes(b'x')
    os.chmod(name, 0)
    powerless()


#: What stands where a file or a folder is wanted -> what makes it of a name (which it may change).
THINGS: dict[str, Callable[[str], Any]] = {
    'a pipe': os.mkfifo,
    'a socket': bound,
    'a link to itself': lambda name: os.symlink(name, name),
    'a link to nowhere': lambda name: os.symlink('nowhere', name),
    'a link to /dev/zero': lambda name: os.symlink('/dev/zero', name),
    'a link to the log of the kernel': lambda name: os.symlink('/proc/kmsg', name),
    'a link to the memory of the process': lambda name: os.symlink('/proc/self/mem', name),
    '40 GB': giant,
    'a file that may not be read': shut_file,
    'a folder that may not be read': shut,
    'an empty folder': os.mkdir,
    'an empty file': lambda name: Path(name).touch(),
    'folders in folders': deep,
}


def cases() -> Iterator[Case]:
    for what, make in THINGS.items():
        for where, name, words in [
            ('a list', 'x.txt', lambda stock, name: ['predict', str(stock.checkpoint), name, *ALONE]),
            ('a picture', 'x.png', lambda stock, name: ['predict', str(stock.checkpoint), name, *ALONE]),
            ('a folder of pictures', 'x', lambda stock, name: ['predict', str(stock.checkpoint), name, *ALONE]),
            ('a checkpoint', 'x.ckpt', lambda stock, name: ['predict', name, str(stock.photos / 'images'), *ALONE]),
            ('an exported file', 'x.onnx', lambda stock, name: ['predict', name, str(stock.photos / 'images'), *ALONE]),
            ('a run', 'x', lambda stock, name: ['report', name]),
            ('a folder to check', 'x', lambda stock, name: ['check', name, *CHEAP]),
            ('a folder to train on', 'x', lambda stock, name: ['train', name]),
        ]:
            act = lambda stock, rng, make=make, name=name, words=words: made(make, name, words(stock, name))  # noqa: E731
            is_picture = 'picture' in where
            told = '' if is_picture else re.escape(name)
            yield Case(f'{what} as {where}', act, told, None if is_picture else False, unread(is_picture), cost=0.3)
    for what, act, number in [
        ('a link up', lambda: os.symlink('..', 'photos/images/up'), NUMBER),
        ('two links up', lambda: [os.symlink('..', f'photos/images/{name}') for name in 'ab'], NUMBER),
        ('a link to itself', lambda: os.symlink('me', 'photos/images/me'), NUMBER),
        ('a link to the root', lambda: os.symlink('/', 'photos/images/root'), NUMBER),
        ('a link to another folder', lambda: os.symlink('../images', 'photos/images/more'), NUMBER),
        ('a pipe among them', lambda: os.mkfifo('photos/images/pipe'), NUMBER),
        ('a device among them', lambda: os.symlink('/dev/zero', 'photos/images/zero'), NUMBER),
        ('a hidden folder', lambda: shutil.copytree('photos/images', 'photos/images/.more'), NUMBER),
        ('a depth of 3,000', lambda: os.chdir('photos/images') or deep('a') or os.chdir('../..'), NUMBER),
        ('a folder that may not be read', lambda: shut('photos/images/shut'), NUMBER),
        ('giants without a suffix', lambda: giant('photos/images/giant'), NUMBER),
    ]:
        for how, words in {
            'a folder': ['photos'],
            'a pattern': ['photos/**/*.png'],
            'two patterns': ['photos/*/*.png', 'photos/**'],
            'a folder twice': ['photos', './photos/images/'],
        }.items():
            lay = lambda stock, rng, act=act, words=words: laid_out(stock, act, words)  # noqa: E731
            if 'depth' in what and 'pattern' in how:  # Python's own patterns call themselves.
                yield Case(f'{how} with {what}', lay, 'leads too deep', False, None, 60, 1.5)
                continue
            yield Case(f'{how} with {what}', lay, '', True, once(number), 60, 1.5)
        lay = lambda stock, rng, act=act: laid_out(stock, act, []) and CHECK  # noqa: E731
        yield Case(f'check of a folder with {what}', lay, '', True, None, 60, 1)
    for what, text, done, told in [
        ('itself', 'x.txt\n', None, ''),
        ('a pipe', 'pipe\n', None, ''),
        ('/dev/zero', '/dev/zero\n', None, ''),
        ('a folder', 'photos\n', None, ''),
        ('one picture a thousand times', 'photos/images/0.png\n' * 1000, True, ''),
        ('nothing', '\n\n', False, r'x\.txt'),
        ('a name of 5,000 letters', 'x' * 5000 + '.png\n', None, ''),
        ('a name with NUL', 'a\0.png\n', None, ''),
        ('bytes that are not UTF-8', 'caf\udce9.png\n', None, ''),
        ('a line of 10 MB', 'x' * 10_000_000, None, ''),
    ]:
        lay = lambda stock, rng, text=text: written(stock, text)  # noqa: E731
        yield Case(f'a list of {what}', lay, told, done, None, 60, 1)


def laid_out(stock: Stock, act: Callable[[], Any], words: list[str]) -> Command:
    shutil.copytree(stock.photos, 'photos')
    act()
    return ['mlsgm', 'predict', str(stock.checkpoint), *words, *ALONE]


def written(stock: Stock, text: str) -> Command:
    shutil.copytree(stock.photos, 'photos')
    os.mkfifo('pipe')
    Path('x.txt').write_text(text, errors='surrogateescape')
    return ['mlsgm', 'predict', str(stock.checkpoint), 'x.txt', *ALONE]


def once(number: int) -> Callable[[Result], str]:
    """Whether each picture was predicted once."""

    def check(result: Result) -> str:
        lines = Path('predictions.jsonl').read_text().splitlines()
        files = [one['file'] for one in map(json.loads, lines) if 'error' not in one]
        real = {os.path.realpath(file) for file in files}
        return '' if len(files) == len(real) == number else f'wrong: {len(files)} records of {len(real)} pictures'

    return check


def unread(is_picture: bool) -> Callable[[Result], str] | None:
    """A picture that is none is not predicted."""
    return (lambda result: '' if result.status else 'wrong: it was predicted') if is_picture else None


def made(make: Callable[[str], Any], name: str, words: list[str]) -> Command:
    make(name)
    return ['mlsgm', *words]

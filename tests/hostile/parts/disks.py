"""Disks that are full, that nobody may write, and folders that are deleted under way, for every command that writes.

A small file system in memory, which this process and its attacks alone see, where one can be mounted; elsewhere a limit
on the size of files is the full disk, and permissions make the read-only one.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mlsgm_pyg.app.common.errors import ConfigError
from tests.conftest import FROZEN, MANY, TINY
from tests.hostile import run
from tests.hostile.case import Case, Command, Result, leftovers
from tests.hostile.stock import Stock

DISK = Path('../../disk')  # As seen from a case's folder.
ROOM = 400 << 20  # Bytes of the whole disk; it takes memory for what is written alone.
BALLAST = 'ballast'
NOTES = 'notes.json'
TOLD = r'^(?!.*\.tmp\b)(?!.*ballast).*/disk\b'  # The line names what the user named, and no spare file.
KB = 1 << 10
MOUNT_READ_ONLY, REMOUNT, PRIVATE, NEW_MOUNTS = 1, 32, 0x44000, 0x20000  # Linux's flags.
LIBRARY = ctypes.CDLL(None, use_errno=True)


class Verb(NamedTuple):
    """A command that writes into a folder `there` of the disk."""

    name: str
    words: Callable[[Stock, Path], list[str]]
    rooms: tuple[int, ...] = (0, 1)  # Kilobytes that are left on the full disk, in turn.
    cost: float = 0.5
    made: str = '*'  # What is there when the folder is deleted under way; '': it is not.


def _train(stock: Stock, there: Path, *more: str) -> list[str]:
    own = [word for word in stock.train if '=' in word and not word.startswith('runs_dir')]
    return ['experiments.run', 'digits', *own, 'model.freeze_backbone=true', f'runs_dir={there}', *more]


def _maps(stock: Stock, there: Path, *more: str) -> list[str]:
    return _train(stock, Path('runs').absolute(), *FROZEN, f'features.dir={there}', *more)


def _predict(stock: Stock, there: Path, out: str, *more: str) -> list[str]:
    quiet = ['--workers', '0', '--accelerator', 'cpu', '--batch-size', '4']
    return ['mlsgm', 'predict', str(stock.run), str(stock.photos / 'images'), '--out', f'{there}/{out}', *quiet, *more]


def _export(stock: Stock, there: Path, form: str, suffix: str) -> list[str]:
    return ['mlsgm', 'export', str(stock.baseline), '--format', form, '--out', f'{there}/model.{suffix}']


VERBS = (
    Verb('run', _train, (0, 4, 12, 40, 1000, 45_000, 60_000), 3, '**/metrics.csv'),
    Verb('sweep', lambda stock, there: _sweep(stock, there), (0, 8, 1000), 4, '**/metrics.csv'),
    Verb('sweep, two at a time', lambda stock, there: [*_sweep(stock, there), '--jobs', '2'], (0,), 15),
    Verb('train', lambda stock, there: _both(stock, there), (0, 12, 45_000), 4, '**/metrics.csv'),
    Verb('cached maps', _maps, (0, 4, 8, 12, 20), 2, '*.npy'),
    Verb('stored graphs', lambda stock, there: _graphs(stock, there), (0, 20, 100, 140, 180), 2, '*.npy'),
    Verb('predict', lambda s, there: _predict(s, there, 'p.jsonl'), (0, 4, 8, 16), 1, '*.jsonl'),
    Verb('predict csv', lambda s, there: _predict(s, there, 'p.csv'), (0, 4, 8, 16, 24, 28), 1, '*.jsonl'),
    Verb('predict parquet', lambda s, there: _predict(s, there, 'p.parquet'), (0, 8, 24, 28, 32), 1, '*.jsonl'),
    Verb('predict drawn', lambda s, there: _draw(s, there), (0, 4, 24, 100, 360), 2, '*.jpg'),
    Verb(
        'check', lambda stock, there: ['mlsgm', 'check', str(stock.photos), '--json', f'{there}/c.json'], (0,), 10, ''
    ),
    Verb('report', lambda stock, there: ['mlsgm', 'report', str(stock.run), '--out', f'{there}/r.html'], (0, 4, 90), 1),
    Verb('report beside a run', lambda stock, there: _own_report(stock, there), (0, 4, 90), 1, ''),
    Verb('compare page', lambda stock, there: _compare(stock, '--out', f'{there}/c.html'), (0, 4, 12), 1),
    Verb('compare json', lambda stock, there: _compare(stock, '--json', f'{there}/c.json'), cost=1),
    Verb('export onnx', lambda stock, there: _export(stock, there, 'onnx', 'onnx'), (0,), 6),
    Verb('export torch_export', lambda stock, there: _export(stock, there, 'torch_export', 'pt2'), (0, 4000), 3),
)


def _sweep(stock: Stock, there: Path) -> list[str]:
    _, row, *options = _train(stock, there)
    return ['experiments.sweep', row, *options, 'optimizer.lr=1e-3,2e-3']


def _both(stock: Stock, there: Path) -> list[str]:
    own = [*(word for word in TINY if not word.startswith('trainer.max')), *MANY, *FROZEN, 'trainer.max_epochs=1']
    return ['mlsgm', 'train', '--row', 'digits', *own, f'runs_dir={there}']


def _graphs(stock: Stock, there: Path) -> list[str]:
    return _maps(stock, there, 'graphs.store=true', f'graphs.csac={stock.checkpoint}')


def _draw(stock: Stock, there: Path) -> list[str]:
    return _predict(stock, Path.cwd(), 'p.jsonl', '--draw', str(there))


def _own_report(stock: Stock, there: Path) -> list[str]:
    shutil.copytree(stock.run, there / 'x' / 'y', ignore=shutil.ignore_patterns('tensorboard'))
    return ['mlsgm', 'report', str(there)]


def _compare(stock: Stock, *more: str) -> list[str]:
    return ['mlsgm', 'compare', str(stock.run), str(stock.baseline), '--resamples', '10', *more]


def cases() -> Iterator[Case]:
    for verb in VERBS:
        for room in verb.rooms:
            act = partial(_on_full, verb, room * KB)
            yield Case(f'{verb.name}: full but for {room} kB', act, TOLD, None, _goes_on, 60, 2 * verb.cost)
        yield Case(f'{verb.name}: read-only', partial(_on_read_only, verb), TOLD, False, _goes_on, 60, 2 * verb.cost)
        if verb.made:
            gone = partial(_deleted, verb)
            yield Case(f'{verb.name}: deleted under way', gone, TOLD, None, _goes_on, 60, 2 * verb.cost)


@contextmanager
def scope(stock: Stock) -> Iterator[bool]:
    """Mounts the disk, where that is allowed; the value says so."""
    folder = stock.root.parent / DISK.name
    folder.mkdir()
    mounted = False
    if LIBRARY.unshare(NEW_MOUNTS) == 0 and _mount(None, '/', PRIVATE) == 0:
        mounted = _mount('tmpfs', folder, 0, f'size={ROOM}') == 0
    try:
        yield mounted
    finally:
        if mounted:
            LIBRARY.umount2(os.fsencode(folder), 2)


def _mount(kind: str | None, at: str | Path, flags: int, data: str | None = None) -> int:
    what = kind and kind.encode()
    return LIBRARY.mount(what, os.fsencode(at), what, flags, data and data.encode())


def _laid_out(verb: Verb, stock: Stock) -> tuple[Path, list[str]]:
    """An empty disk with what the command needs there."""
    os.environ['MLSGM_CACHE'] = str(Path('cache').absolute())
    disk = stock.root.parent / DISK.name
    _let_write(disk)
    for path in disk.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    there = disk / 'there'
    there.mkdir()
    words = verb.words(stock, there)
    notes = {'words': words, 'before': _files(there)}
    Path(NOTES).write_text(json.dumps(notes))
    return disk, words


def _on_full(verb: Verb, room: int, stock: Stock, rng: random.Random) -> Command:
    disk, words = _laid_out(verb, stock)
    if stock.server:
        left = os.statvfs(disk)
        size = left.f_bavail * left.f_frsize - room
        with open(disk / BALLAST, 'wb') as file:
            os.posix_fallocate(file.fileno(), 0, size)
    else:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    return words


def _on_read_only(verb: Verb, stock: Stock, rng: random.Random) -> Command:
    disk, words = _laid_out(verb, stock)
    if stock.server:
        _mount(None, disk, REMOUNT | MOUNT_READ_ONLY)
    elif os.geteuid():
        for path in [disk, *disk.rglob('*')]:
            path.chmod(path.stat().st_mode & 0o555)
    else:
        return partial(_skip, f'no file system can be mounted here, and permissions do not bind root: {disk}')
    return words


def _skip(why: str) -> None:
    raise ConfigError(f'skipped: {why}')


def _deleted(verb: Verb, stock: Stock, rng: random.Random) -> Command:
    """The folder is deleted as soon as something of the command is there."""
    disk, words = _laid_out(verb, stock)

    def delete() -> None:
        while not any((disk / 'there').glob(verb.made)):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.3))
        shutil.rmtree(disk / 'there', ignore_errors=True)

    threading.Thread(target=delete, daemon=True).start()
    return words


def _let_write(disk: Path) -> None:
    _mount(None, disk, REMOUNT)
    for path in [disk, *disk.rglob('*')]:
        path.chmod(path.stat().st_mode | 0o200)
    (disk / BALLAST).unlink(missing_ok=True)


def _goes_on(result: Result) -> str:
    """Nothing that was there is lost, no spare file is left; once there is room, the same command does it all."""
    if 'skipped: ' in result.err:
        return ''
    if left := leftovers(DISK):
        return f'wrong: {left[0]} is left'
    notes = json.loads(Path(NOTES).read_text())
    now = _files(DISK / 'there')
    if result.status and (DISK / 'there').exists():
        for path, digest in notes['before'].items():
            if now.get(path) != digest:
                return f'lost: {path}'
    _let_write(DISK)
    (DISK / 'there').mkdir(exist_ok=True)
    again = run.forked(lambda: run.command(notes['words']), Path().absolute(), 120)
    if again.status != 0:
        return f'wrong: with room again it ends with {again.status}: {again.err[-300:]!r}'
    return f'wrong: {left[0]} is left in the end' if (left := leftovers(DISK)) else ''


def _files(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

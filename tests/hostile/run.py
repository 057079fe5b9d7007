"""Runs attacks: each forks from a process that has everything imported, in a folder and a session of its own."""

from __future__ import annotations

import gc
import importlib
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from tests.hostile.case import RAN, Case, Command, Result, chance, judge, leftovers, under
from tests.hostile.stock import Stock, build

MOST = 16 << 30  # Bytes of address space of an attack: what asks for more is told, and the machine lives.

MODULES = (
    *(
        f'experiments.{verb}'
        for verb in ('run', 'sweep', 'few_shot', 'zero_shot', 'prepare', 'shards', 'summary', 'table')
    ),
    'mlsgm_pyg.app.prediction.job',
    'mlsgm_pyg.app.reports.run_report',
    'mlsgm_pyg.app.results.comparison',
    'mlsgm_pyg.app.training.choose',
    'mlsgm_pyg.export',
)


def preload() -> None:
    """Imports all that commands import, in one thread."""
    import torch

    from mlsgm_pyg.app import cli

    torch.set_num_threads(1)
    names = [f'mlsgm_pyg.app.cli.{found.name}' for found in iter_modules(cli.__path__)]
    for name in (*names, *MODULES):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # Forks share these pages.


@contextmanager
def stocked() -> Iterator[Stock]:
    """The stock of a campaign, made once."""
    with tempfile.TemporaryDirectory(prefix='hostile-') as folder:
        folder = Path(folder)
        result = forked(lambda: build(folder / 'stock'), folder, 300)
        if result.status:
            raise RuntimeError(f'the stock of attacks could not be made: {result.err}')
        yield Stock(folder / 'stock')


@contextmanager
def scope(module: Any, stock: Stock) -> Iterator[Stock]:
    """A part's own surroundings, such as a server, where it has some: `scope(stock)` of its file."""
    with ExitStack() as stack:
        stock.server = stack.enter_context(module.scope(stock)) if hasattr(module, 'scope') else None
        yield stock


def attack(part: str, case: Case, stock: Stock) -> tuple[str, str, Result]:
    """Carries out one case, whose folder is gone afterwards: the verdict, why, and what the command did."""
    with tempfile.TemporaryDirectory(prefix='case-', dir=stock.root.parent, ignore_cleanup_errors=True) as folder:
        folder, before = Path(folder), os.getcwd()
        try:
            os.mkdir(folder / 'w')
            result = forked(lambda: command(case.act(stock, chance(part, case))), folder / 'w', case.seconds)
            os.chdir(folder / 'w')
            result = result._replace(left=leftovers(Path()), ran=Path(RAN).exists())
            return *judge(case, result), result
        finally:
            os.chdir(before)
            _remove(folder / 'w')


def command(what: Command) -> int:
    """Enters the door of a command, or of Python's."""
    from mlsgm_pyg.app.common import cli

    if callable(what):
        return cli.door()(lambda argv: what() and 0 or 0)([])
    name, *words = what
    module = importlib.import_module('mlsgm_pyg.app.cli' if name == 'mlsgm' else name)
    sys.argv = [name, *words]
    return module.main(words)


def forked(work: Callable[[], Any], folder: Path, seconds: float) -> Result:
    """Does some work in a process of its own with a folder of its own to stand in, and ends it at its limit."""
    outs = [tempfile.TemporaryFile(dir=folder.parent) for _ in range(2)]
    sys.stdout.flush()
    sys.stderr.flush()
    start = time.monotonic()
    pid = os.fork()
    if not pid:
        _child(work, folder, outs)
    status = _wait(pid, seconds)
    spent = time.monotonic() - start
    processes = tuple(_session(pid)) if status is None else _outlive(pid)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if status is None:
        os.waitpid(pid, 0)
    texts = []
    for file in outs:
        file.seek(0)
        texts.append(file.read(4 << 20).decode(errors='surrogateescape'))
        file.close()
    return Result(status, *texts, spent, processes)


def _child(work: Callable[[], Any], folder: Path, outs: list) -> None:
    """Never returns."""
    status = 99
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, file in enumerate(outs, 1):
            os.dup2(file.fileno(), number)
        for name, number in (('stdin', 0), ('stdout', 1), ('stderr', 2)):
            mode = 'r' if number == 0 else 'w'
            errors = 'backslashreplace' if number == 2 else 'strict'
            own = open(number, mode, encoding='utf-8', errors=errors, closefd=False)
            setattr(sys, name, own)
            setattr(sys, f'__{name}__', own)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.environ['TMPDIR'] = tempfile.tempdir = str(folder.parent)  # PyG's templates are gone with it.
        os.chdir(folder)
        status = work() or 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


def _wait(pid: int, seconds: float) -> int | None:
    """The exit status of a child, or None where it is still at work."""
    file = os.pidfd_open(pid)
    try:
        if not select.select([file], [], [], seconds)[0]:
            return None
    finally:
        os.close(file)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _outlive(session: int, patience: float = 2.0) -> tuple[str, ...]:
    """The processes of a session that are still there after a moment."""
    end = time.monotonic() + patience
    while found := tuple(_session(session)):
        if time.monotonic() > end:
            return found
        time.sleep(0.02)
    return ()


def _session(number: int) -> Iterator[str]:
    for name in os.listdir('/proc'):
        if name.isdigit():
            with suppress(OSError):
                about = Path('/proc', name, 'stat').read_text(errors='replace').rpartition(')')[2].split()
                if int(about[3]) == number and about[0] not in 'ZX':
                    yield (
                        Path('/proc', name, 'cmdline').read_bytes().replace(b'\0', b' ').decode(errors='replace')[:200]
                    )


def _remove(folder: Path) -> None:
    """Removes a folder, whatever an attack did to it: folders that may not be written, a depth that Python gives up."""
    for path in under(folder):
        if not os.path.islink(path) and os.path.isdir(path) and not os.access(path, os.W_OK | os.X_OK):
            os.chmod(path, 0o700)
    subprocess.run(['rm', '-rf', folder], check=False)

"""Predicts shards, tar files or lists of pictures, each into a Parquet part of its own.

A part is written aside and renamed, so one that exists is done. Processes need no word of each other: on a file system
with locks each takes the next shard that nobody is at; elsewhere each takes its share, by the numbers that torchrun or
Slurm gives it.
"""

from __future__ import annotations

import json
import math
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice, product
from pathlib import Path, PurePosixPath
from typing import IO, Any
from uuid import uuid4

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from rich.console import Console

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import locked, write_json
from mlsgm_pyg.app.common.signals import Stop, Stopped
from mlsgm_pyg.app.common.text import counted, one_line, readable
from mlsgm_pyg.app.prediction import inputs, loop
from mlsgm_pyg.app.prediction.job import SHOWN, Told, about, check_same, open_tagger
from mlsgm_pyg.app.prediction.loop import Options, Task
from mlsgm_pyg.app.prediction.tables import Part, check_table
from mlsgm_pyg.datasets.files import check_regular
from mlsgm_pyg.datasets.images import suffixes

ABOUT = 'about.json'
MOST = 1_000_000  # Shards of a pattern.
MANY = 10_000  # Pictures for which it is worth to prepare: a shard's usual number.
LARGEST = 1 << 28  # Bytes of a picture's file inside of a shard.
LONGEST_END = 1 << 20  # Bytes after the end of a tar file, which pad it.
BRACES = re.compile(r'\{([^{}]*)\}')
Work = Callable[[Iterator[Task], Callable[[list[dict[str, Any]]], None]], None]
# Who this process is among how many: torchrun, a job array of Slurm, srun.
RANKS = (('RANK', 'WORLD_SIZE'), ('SLURM_ARRAY_TASK_ID', 'SLURM_ARRAY_TASK_COUNT'), ('SLURM_PROCID', 'SLURM_NTASKS'))


def predict_shards(
    checkpoint: str | Path,
    shards: str | Iterable[str],
    out: str | Path = 'parts',
    *,
    accelerator: str = 'auto',
    command: str = '',
    console: Console | None = None,
    **options: Any,
) -> ShardJob:
    """Predicts each shard that has no part yet; other processes may do the same at once.

    Args:
        checkpoint (str or Path): See :func:`mlsgm_pyg.app.prediction.job.predict`.
        shards (str or iterable of str): Tar files, whose pictures are read one after the other (also compressed ones),
            and `.txt` or `.lst` files with a path a line; `{0000..0099}`, `{a,b}` and `*` stand for several. What
            fsspec opens, such as `https://...` or `s3://...`, is read from there.
        out (str or Path): The folder of the parts, likewise: `NAME.parquet` of `NAME.tar`, a row a picture.
        accelerator (str), command (str), console (Console, optional), **options: See there.

    Returns:
        ShardJob: What is done.

    Raises:
        ConfigError, ValueError, ImportError: If an option, a model, a shard's name or earlier parts do not fit, or
            something cannot be written; parts that are done are kept.
        Stopped: If it was asked to stop by a signal.
    """
    check_table(Path(out, 'NAME.parquet'))
    options, console = Options(inputs.find_model(checkpoint), **options), console or Console(quiet=True)
    with loop.in_words(Path(out)), loop.pixels(options.max_pixels), Stop() as stop:
        job = ShardJob([shards] if isinstance(shards, str) else shards, os.fspath(out))
        tagger = open_tagger(options, accelerator)
        job.begin(about(tagger, options, command))
        with Told('Predicting', None, console) as told, tagger.ready(MANY):

            def work(tasks: Iterator[Task], append: Callable[[list[dict[str, Any]]], None]) -> None:
                loop.run(tagger, options, tasks, append, stop, told)

            try:
                is_new = True
                while is_new:  # Once more: a process that was at a shard may have ended.
                    is_new = False
                    for shard in job.order():
                        stop.check()
                        if line := job.do(shard, work):
                            console.print(line, markup=False, highlight=False, soft_wrap=True)
                            is_new = True
            except (Stopped, RuntimeError) as error:
                if stop.number is None:
                    raise
                raise Stopped(stop.number, f'{job.state()}; the same command goes on') from error
        return job


class ShardJob:
    """The shards of a command, and their parts.

    Attributes:
        shards (dict[str, str]): Each shard, and its part.
        number (int): Pictures that were predicted now,
        unread (int): and how many of them could not be read.
        broken (dict[str, str]): The shards that could not be read, and why.
    """

    def __init__(self, patterns: Iterable[str], out: str):
        self.out, self.number, self.unread, self.broken = out, 0, 0, {}
        self.fs, self.folder = url_to_fs(out)
        self.is_local = isinstance(self.fs, LocalFileSystem)
        self.shards = {}
        named: dict[str, str] = {}
        for shard in (shard for pattern in patterns for shard in expand(pattern)):
            name = re.sub(r'(\.tar)?\.\w+$', '', PurePosixPath(shard).name)
            if named.setdefault(name, shard) != shard:
                raise ConfigError(f"'{named[name]}' and '{shard}' would both be '{name}.parquet': rename one")
            self.shards[shard] = os.path.join(self.folder, f'{name}.parquet')

    def begin(self, about: dict[str, Any]) -> None:
        """Notes what the parts are made with, or checks that those that are there were made alike."""
        path = os.path.join(self.folder, ABOUT)
        self.fs.makedirs(self.folder, exist_ok=True)
        if self.fs.exists(path):
            try:
                then = dict(json.loads(self.fs.cat_file(path)))
            except (ValueError, TypeError, RecursionError) as error:
                raise ConfigError(f"'{path}' does not say what the parts there were made with") from error
            check_same(then, about, self.out, 'take another --out')
        elif self._done():
            raise ConfigError(f"there are parts in '{self.out}', and no '{ABOUT}' says what with: take another --out")
        elif self.is_local:
            write_json(Path(path), about, several=True)
        else:
            self.fs.pipe_file(path, json.dumps(about, indent=1).encode())

    def _done(self) -> set[str]:
        """The shards that have parts."""
        there = {os.path.basename(path) for path in self.fs.ls(self.folder, detail=False)}
        return {shard for shard, part in self.shards.items() if os.path.basename(part) in there}

    def order(self) -> list[str]:
        """The shards to be done as this process takes them: its share and, where others' can be locked, the rest."""
        number, of, every = *rank(), list(self.shards)
        done, mine = self._done(), every[number::of]
        order = dict.fromkeys(mine + every if self.is_local else mine)
        return [shard for shard in order if shard not in done and shard not in self.broken]

    def do(self, shard: str, work: Work) -> str:
        """Makes the part of a shard, if it is not there and no other process is at it; what there is to tell of it."""
        try:
            with self._spare(self.shards[shard]) as file:
                if file is None:
                    return ''
                with closing(Part(file)) as part:
                    work(pictures(shard), part.append)
        except Broken as error:
            self.broken[shard] = str(error)
            return f'{readable(shard)}: {error}'
        self.number, self.unread = self.number + part.number, self.unread + part.unread
        unread = f', {part.unread} of them could not be read' if part.unread else ''
        return f'{readable(shard)}: {counted(part.number, "picture")}{unread}'

    @contextmanager
    def _spare(self, part: str) -> Iterator[IO[bytes] | None]:
        """A file that becomes the part when all went well; None where there is nothing to do."""
        if self.fs.exists(part):
            yield None
        elif self.is_local:
            yield from _locked(part)
        else:
            spare = os.path.join(self.folder, f'.{os.path.basename(part)}.{uuid4().hex}.tmp')
            try:
                with self.fs.open(spare, 'wb') as file:
                    yield file
                self.fs.mv(spare, part)
            finally:
                with suppress(FileNotFoundError):
                    self.fs.rm(spare)

    def state(self) -> str:
        """How many shards are done."""
        number = len(self.shards)
        return f'{len(self._done())} of {counted(number, "shard")} {"is" if number == 1 else "are"} done'

    def summary(self) -> str:
        """What was done, and what is left."""
        lines = [f'{self.state()}, {counted(self.number, "picture")} now: {readable(self.out)}']
        if self.broken:
            lines.append(f'{len(self.broken)} could not be read to the end, and have no part:')
            lines += [f'  {readable(shard)}: {why}' for shard, why in islice(self.broken.items(), SHOWN)]
        return '\n'.join(lines)

    @property
    def status(self) -> int:
        """The exit status: 1 where a shard could not be read."""
        return int(bool(self.broken))


def _locked(part: str) -> Iterator[IO[bytes] | None]:
    """The same on a file system with locks, which end with their process; what a killed one left is written over."""
    spare = os.path.join(os.path.dirname(part), f'.{os.path.basename(part)}.tmp')
    try:
        file = os.fdopen(locked(Path(spare)), 'r+b')
    except BlockingIOError:
        yield None
        return
    with file:
        if os.fstat(file.fileno()).st_nlink == 0:  # Another process was at it meanwhile, and failed.
            yield None
            return
        is_done = os.path.exists(part)
        try:
            file.truncate(0) if not is_done else None
            yield None if is_done else file
            if not is_done:
                file.flush()
                os.fsync(file.fileno())
                os.replace(spare, part)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(spare)


def rank() -> tuple[int, int]:
    """The number of this process, and of how many, as the environment says."""
    for name, names in RANKS:
        number, of = loop.number_of(name), loop.number_of(names)
        if number is not None and of:
            return (number - (loop.number_of('SLURM_ARRAY_TASK_MIN') or 0) * ('ARRAY' in name)) % of, of
    return 0, 1


def expand(pattern: str) -> list[str]:
    """The names that a pattern with braces, `{00..11}` or `{a,b}`, and stars stands for.

    Raises:
        ConfigError: If there are none.
    """
    texts = [_inside(text) if at % 2 else [text] for at, text in enumerate(BRACES.split(pattern))]
    if (number := math.prod(map(len, texts))) > MOST:
        raise ConfigError(f"a pattern may stand for at most {MOST:,} shards (got {number:,} of '{pattern}')")
    names = [''.join(parts) for parts in product(*texts)]
    if not any(char in pattern for char in '*?['):
        return names
    found = []
    for name in names:
        fs, path = url_to_fs(name)
        found += [name] if fs.exists(path) else sorted(map(fs.unstrip_protocol, fs.glob(path)))
    if not found:
        raise ConfigError(f"there is no shard '{pattern}'")
    return found


def _inside(text: str) -> Sequence[str]:
    """What stands for a pair of braces."""
    if not (ends := re.fullmatch(r'(\d{1,18})\.\.(\d{1,18})', text)):
        return text.split(',') if ',' in text else [f'{{{text}}}']
    numbers = range(int(ends[1]), int(ends[2]) + 1)
    return [str(number).zfill(len(ends[1])) for number in numbers[: MOST + 1]]


class Broken(Exception):
    """A shard cannot be read to its end; says why."""


class Whole(tarfile.TarInfo):
    """A header of a tar file, whose damage does not pass for the end of the file."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f'{error} at byte {tarfile_.offset:,}') from error


def pictures(shard: str) -> Iterator[Task]:
    """The pictures of a shard, as it has them; what is none by its name, and links, are left out.

    Raises:
        Broken: If it cannot be read to its end.
    """
    try:
        fs, path = url_to_fs(shard)
        if isinstance(fs, LocalFileSystem):
            check_regular(path, None)
            if not os.path.getsize(path):
                raise Broken('the file is empty')
        kind = os.path.splitext(shard)[1].lower()
        if kind in inputs.LISTS:
            with fs.open(path, 'rt', **inputs.LIST) as file:
                yield from map(Task, inputs.names_in(file))
            return
        packed = 'gzip' if kind == '.tgz' else 'infer'  # Whose checksums tarfile's own streams do not look at.
        with (
            fs.open(path, 'rb', compression=packed) as file,
            tarfile.open(fileobj=file, mode='r|', tarinfo=Whole) as tar,
        ):
            for member in tar:
                if member.isreg() and os.path.splitext(member.name)[1].lower() in suffixes():
                    if member.size > LARGEST:
                        told = f'{member.size:,} bytes are more than the {LARGEST:,} that are allowed'
                        yield Task(member.name, error=told)
                    else:
                        yield Task(member.name, data=tar.extractfile(member).read())
            if len(file.read(LONGEST_END)) == LONGEST_END:
                raise tarfile.ReadError(f'it goes on for {LONGEST_END:,} bytes after its end')
    except Exception as error:  # A broken file, and whatever serves it, may raise anything.
        raise Broken(getattr(error, 'strerror', None) or one_line(error) or type(error).__name__) from error

"""Predicts many pictures: which there are and which are done, then the loop, then tables and what was found."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from mlsgm_pyg.app.common import machine
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import read_json, write_json
from mlsgm_pyg.app.common.progress import Bar
from mlsgm_pyg.app.common.signals import Stop, Stopped
from mlsgm_pyg.app.common.text import counted, ignored_words, readable
from mlsgm_pyg.app.drawing.boxes import drawing_path
from mlsgm_pyg.app.prediction import inputs, loop
from mlsgm_pyg.app.prediction.file_set import FileSet
from mlsgm_pyg.app.prediction.loop import Options, Task
from mlsgm_pyg.app.prediction.records import Records
from mlsgm_pyg.app.prediction.tables import TABLES, check_table, write_table
from mlsgm_pyg.exported import is_exported
from mlsgm_pyg.tagger import Prediction, Tagger

# What one file of records must agree in.
SAME = (
    'sha256', 'view', 'sizes', 'top_k', 'threshold', 'min_precision', 'upright', 'labels', 'semantics', 'unseen_maps',
)  # fmt: skip
SHOWN = 10  # So many pictures are shown at the end, and so many broken files.


def predict(
    checkpoint: str | Path,
    files: str | Path | Iterable[str | Path],
    out: str | Path = 'predictions.jsonl',
    *,
    again: bool = False,
    retry: bool = False,
    limit: int | None = None,
    accelerator: str = 'auto',
    command: str = '',
    console: Console | None = None,
    **options: Any,
) -> Job:
    """Predicts pictures into a file of records, and goes on where an earlier call for that file stopped.

    Args:
        checkpoint (str or Path): A trained model: a run, a checkpoint, an exported file, or a name on a hub, see
            :func:`mlsgm_pyg.app.prediction.inputs.find_model`.
        files (str, Path or iterable of them): Files, folders, globs, lists, see
            :class:`mlsgm_pyg.app.prediction.inputs.Inputs`.
        out (str or Path): The records, `.jsonl`; or a table beside them, `.csv` or `.parquet`.
        again (bool): Whether to start over, whatever is done.
        retry (bool): Whether to try once more what could not be read.
        limit (int, optional): At most so many pictures now.
        accelerator (str): What computes, see :func:`mlsgm_pyg.app.prediction.loop.device_of`.
        command (str): What was typed, to be noted beside the records.
        console (Console, optional): Where is told what is done already, and the progress.
        **options: See :class:`mlsgm_pyg.app.prediction.loop.Options`.

    Returns:
        Job: What was done.

    Raises:
        ConfigError, ValueError: If an option, a checkpoint or an earlier call's file does not fit, or something cannot
            be written, or there is not enough memory; what is done is kept.
        Stopped: If it was asked to stop by a signal; says what is done.
    """
    files, out = [files] if isinstance(files, str | Path) else files, Path(out)
    options, console = Options(inputs.find_model(checkpoint), **options), console or Console(quiet=True)
    with loop.in_words(out), loop.pixels(options.max_pixels), Stop() as stop:
        check_table(out)
        names = inputs.Inputs(map(os.fspath, files), [options.draw] if options.draw else [])
        wanted = FileSet(names)
        tagger = open_tagger(options, accelerator)
        what = about(tagger, options, command)
        with closing(Job(names, wanted, out, options.draw, what, again, retry, limit)) as job:
            job.greet(console)
            options = replace(options, workers=min(options.workers, job.number))
            try:
                with job.told(console) as told, tagger.ready(job.number):
                    loop.run(tagger, options, job.tasks(), job.append, stop, told)
            except (Stopped, RuntimeError) as error:
                if stop.number is None:
                    raise
                raise Stopped(stop.number, job.left()) from error  # It may have ended a reading process.
            job.finish()
            if tagger.engine.told:
                console.print(f'Maps by {tagger.engine.told}', highlight=False)
            return job


def open_tagger(options: Options, accelerator: str) -> Tagger:
    """A model on the device that is meant; an exported file computes on the processor."""
    if accelerator == 'auto' and is_exported(options.checkpoint):
        accelerator = 'cpu'
    device = loop.device_of(accelerator)
    names = ('top_k', 'threshold', 'min_precision', 'labels', 'semantics', 'unseen_maps', 'upright', 'view')
    how = {name: getattr(options, name) for name in (*names, 'image_size', 'precision')}
    return Tagger(options.checkpoint, maps=options.draw is not None, device=device, **how)


def about(tagger: Tagger, options: Options, command: str) -> dict[str, Any]:
    """What records are made with."""
    view, choice = tagger.view, tagger.choice
    names = list(tagger.engine.class_names)
    least = choice.least(tagger.engine.decisions, names).tolist()
    with open(options.checkpoint, 'rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    return {
        'checkpoint': str(options.checkpoint),
        'sha256': digest,
        'view': view.name,
        'sizes': list(view.sizes),
        'top_k': choice.top_k,
        'threshold': choice.threshold,
        'min_precision': choice.min_precision,
        'thresholds': {name: p if p <= 1 else None for name, p in zip(names, least)},  # None: never kept.
        'upright': choice.upright,
        'labels': options.labels,
        'semantics': options.semantics,
        'unseen_maps': options.unseen_maps if options.labels else None,
        'class_names': names,
        'command': command,
        'commit': machine.commit(),
        'versions': machine.versions(),
    }


def check_same(then: dict[str, Any], about: dict[str, Any], results: str | Path, hint: str) -> None:
    """Checks that results that are begun were made with the same model and options.

    Raises:
        ConfigError: If they were not; says what differs.
    """
    for key in SAME:
        if then.get(key) != about[key]:
            told = f"'{results}' was made with {key}={then.get(key)}, now it is {about[key]}"
            if key == 'sha256':
                before, now = then.get('checkpoint'), about['checkpoint']
                changed = ', which has changed since' if before == now else f", now it is '{now}'"
                told = f"'{results}' was made with the model '{before}'{changed}"
            raise ConfigError(f'{told}: {hint}')


class Job:
    """Which pictures there are, and which of them are done; names are read again and again, never kept.

    Attributes:
        wanted (FileSet): All pictures that the command names.
        number (int): How many are done now, drawings of earlier ones among them.
        unread (list[dict]): Once it is finished, the records of pictures that could not be read,
        found (list[dict]): and the others, where there are few.
        status (int): The exit status: 1 where no picture could be read.
    """

    def __init__(
        self,
        names: inputs.Inputs,
        wanted: FileSet,
        out: Path,
        draw: Path | None,
        about: dict[str, Any],
        again: bool = False,
        retry: bool = False,
        limit: int | None = None,
    ):
        self.names, self.wanted, self.out, self.draw, self.about = names, wanted, out, draw, about
        self.path, self.about_path = out.with_suffix('.jsonl'), out.with_suffix('.about.json')
        self._spare_others()
        self.records = Records(self.path)
        try:
            if again:
                self.records.clear()
            self._agree(about)
            if retry:
                self.records.forget_broken()
            self.todo = wanted - FileSet(entry.file for entry in self.records.entries())
            self.done = len(wanted) - len(self.todo)
            self.new = len(self.todo) if limit is None else min(limit, len(self.todo))
            self.undrawn = self._undrawn() if draw and self.done else []
        except BaseException:
            self.records.close()
            raise
        self.number, self.written = self.new + len(self.undrawn), 0
        self.started = time.perf_counter()

    def _spare_others(self) -> None:
        """What predict has not written, such as a label file of that name, it does not touch."""
        for path in (self.path, self.out):
            if path.is_file() and path.stat().st_size and not self.about_path.is_file():
                told = f"'{path}' is there already, and no '{self.about_path}' says that predict wrote it"
                raise ConfigError(f'{told}: take another --out')

    def _agree(self, about: dict[str, Any]) -> None:
        if self.records.is_empty():
            return write_json(self.about_path, about)
        hint = 'take another --out, or start over with --again'
        try:
            then = dict(read_json(self.about_path))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"'{self.about_path}' does not say what '{self.path}' was made with: {hint}") from error
        check_same(then, about, self.path, hint)

    def _undrawn(self) -> list[str]:
        files = [entry.file for entry in self.records.entries() if entry.is_read]
        mine = zip(files, self.wanted.has(files))
        return [file for file, is_mine in mine if is_mine and not drawing_path(self.draw, file).is_file()]

    def tasks(self) -> Iterator[Task]:
        """What is still to be done."""
        yield from map(Task, islice(self.todo.once(self.names), self.new))
        for file in self.undrawn:
            yield Task(file, True)

    def append(self, records: Collection[dict[str, Any]]) -> None:
        self.records.append(records)
        self.written += len(records)

    def greet(self, console: Console) -> None:
        """Says what is done already, and what in the folders is no picture."""
        if ignored := ignored_words(self.names.ignored):
            console.print(ignored, markup=False, highlight=False, soft_wrap=True)
        if cut := self.records.repaired:
            console.print(f'{self.path}: a last line that was not whole ({cut} bytes) is cut off', markup=False)
        if before := self.done - len(self.undrawn):
            number = len(self.wanted)
            told = f'{before} of {counted(number, "picture")} {"is" if number == 1 else "are"} done already'
            console.print(told, highlight=False)

    def told(self, console: Console) -> Told:
        return Told('Predicting', self.number, console)

    def finish(self) -> None:
        """Makes the table, and looks at what was found."""
        self.records.sync()
        if self.out.suffix in TABLES:
            write_table(self.out, self.records)
        self.index = None
        if self.draw:
            from mlsgm_pyg.app.reports.predictions import write_index  # jinja2, which exported files do without.

            self.index = write_index(self.draw, self.records, self.about)
        self.seconds = time.perf_counter() - self.started
        self.unread, self.found = [], []
        for entry in self.records.entries():
            of = self.found if entry.is_read else self.unread
            if (not entry.is_read or len(self.wanted) <= SHOWN) and all(self.wanted.has([entry.file])):
                of.append(entry.record)
        self.status = int(len(self.unread) == self.done + self.written)

    def left(self) -> str:
        """What is done of an unfinished job, and how to go on; the table is made by the run that finishes it."""
        self.records.sync()
        return f'{self.done + self.written} of {len(self.wanted)} done; the same command goes on'

    def close(self) -> None:
        self.records.close()

    def summary(self) -> str:
        """What was done, some of it, and what is broken; all of it is in the files."""
        lines = []
        for one in self.found:
            labels = '  '.join(f'{readable(x["label"])} {x["probability"]:.2f}' for x in one['labels'][:5])
            lines.append(f'{readable(one["file"])}: {labels or "no label"}')
        total = self.number
        speed = f', {total} now in {self.seconds:.1f} s ({total / self.seconds:.1f} a second)' if total else ''
        lines.append(f'{counted(len(self.wanted), "picture")}{speed}: {readable(os.path.abspath(self.out))}')
        if rest := len(self.wanted) - self.done - self.written:
            lines.append(f'{rest} of them are left: the same command goes on')
        if self.index:
            lines.append(f'to look at in a browser: {readable(os.path.abspath(self.index))}')
        if self.unread:
            lines.append(f'{len(self.unread)} of them could not be read (--retry tries them once more):')
        lines += [f'  {readable(one["file"])}: {one["error"]}' for one in self.unread[:SHOWN]]
        if more := self.unread[SHOWN:]:
            lines.append(f'  ... and {len(more)} more: the records with "error" in {self.path}')
        return '\n'.join(lines)


class Told(Bar):
    """The progress on a terminal; hears of every batch."""

    def __init__(self, about: str, total: int | None, console: Console):
        super().__init__(about, total, console, hidden=not console.is_terminal)
        self.broken = 0

    def __call__(self, found: list[Prediction]) -> None:
        self.broken += sum(one.error is not None for one in found)
        super().__call__(len(found), f'{self.broken} broken' if self.broken else '')

"""Predicts many pictures: which there are and which are done, then the loop, then tables and what was found."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
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
from mlsgm_pyg.app.prediction import inputs, loop, processes
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
    accelerator: str = 'auto',
    devices: str = '1',
    num_nodes: int = 1,
    command: str = '',
    console: Console | None = None,
    **options: Any,
) -> Job | None:
    """Predicts pictures into a file of records, and goes on where an earlier call for that file stopped.

    Args:
        checkpoint (str or Path): A trained model: a run, a checkpoint, an exported file, or a name on a hub, see
            :func:`mlsgm_pyg.app.prediction.inputs.find_model`.
        files (str, Path or iterable of them): Files, folders, globs, lists, see
            :func:`mlsgm_pyg.app.prediction.inputs.find`.
        out (str or Path): The records, `.jsonl`; or a table beside them, `.csv` or `.parquet`.
        again (bool): Whether to start over, whatever is done.
        retry (bool): Whether to try once more what could not be read.
        accelerator (str), devices (str), num_nodes (int): Who shares the pictures, see
            :func:`mlsgm_pyg.app.prediction.processes.place`.
        command (str): What was typed, to be noted beside the records.
        console (Console, optional): Where is told what is done already, and the progress.
        **options: See :class:`mlsgm_pyg.app.prediction.loop.Options`.

    Returns:
        Job, optional: What was done; none of the processes but the first of the first machine.

    Raises:
        ConfigError, ValueError: If an option, a checkpoint or an earlier call's file does not fit, or something cannot
            be written, or a device has not enough memory; what is done is kept.
        Stopped: If it was asked to stop by a signal; says what is done.
    """
    files, out = [files] if isinstance(files, str | Path) else files, Path(out)
    options, console = Options(inputs.find_model(checkpoint), **options), console or Console(quiet=True)
    if accelerator == 'auto' and is_exported(options.checkpoint):
        accelerator = 'cpu'
    job, ignored = None, Counter()
    with loop.in_words(out), loop.pixels(options.max_pixels), Stop() as stop:
        place = processes.place(accelerator, devices, num_nodes)
        if place.rank == 0:
            check_table(out)
            files = inputs.find(map(os.fspath, files), [options.draw] if options.draw else [], ignored)
        tagger = loop.open_tagger(options, place.devices[0])
        try:
            if place.rank == 0:
                job = Job(files, out, options.draw, about(tagger, options, command), again, retry)
                job.greet(console, ignored_words(ignored))
            path = out.with_suffix('.jsonl')
            with Told(job, place, console) as told:
                processes.run(place, tagger, options, job.tasks if job else [], path, job and job.records, stop, told)
            if job is not None:
                job.finish()
                if tagger.engine.told:
                    console.print(f'Maps by {tagger.engine.told}', highlight=False)
            return job
        except (Stopped, RuntimeError) as error:
            if stop.number is None:
                raise
            raise Stopped(stop.number, job.left() if job else '') from error  # It may have ended a reading process.
        finally:
            if job is not None:
                job.records.close()


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


class Job:
    """What the first process knows: which pictures there are, and which of them are done.

    Attributes:
        tasks (list[Task]): What is still to be done.
        unread (list[dict]): Once it is finished, the records of pictures that could not be read,
        found (list[dict]): and the others, where there are few.
        status (int): The exit status: 1 where no picture could be read.
    """

    def __init__(
        self, files: Sequence[str], out: Path, draw: Path | None, about: dict[str, Any], again: bool, retry: bool
    ):
        self.files, self.out, self.draw, self.about = files, out, draw, about
        self.path, self.about_path = out.with_suffix('.jsonl'), out.with_suffix('.about.json')
        self._spare_others()
        self.records = Records(self.path)
        try:
            if again:
                self.records.clear()
            self._agree(about)
            self.records.read()
            self.records.absorb()
            if retry:
                self.records.forget_broken()
            self.tasks = self._tasks()
        except BaseException:
            self.records.close()
            raise
        self.started = time.perf_counter()

    def _spare_others(self) -> None:
        """What predict has not written, such as a label file of that name, it does not touch."""
        for path in (self.path, self.out):
            if path.is_file() and path.stat().st_size and not self.about_path.is_file():
                told = f"'{path}' is there already, and no '{self.about_path}' says that predict wrote it"
                raise ConfigError(f'{told}: take another --out')

    def _agree(self, about: dict[str, Any]) -> None:
        """The records that are there must have been made with the same checkpoint and options."""
        if self.records.is_empty() and not self.records.parts():
            return write_json(self.about_path, about)
        hint = 'take another --out, or start over with --again'
        try:
            then = read_json(self.about_path)
        except (OSError, ValueError) as error:
            told = f"'{self.about_path}' does not say what '{self.path}' was made with"
            raise ConfigError(f'{told}: {hint}') from error
        for key in SAME:
            if then.get(key) != about[key]:
                told = f"'{self.path}' was made with {key}={then.get(key)}, now it is {about[key]}"
                if key == 'sha256':
                    before, now = then.get('checkpoint'), about['checkpoint']
                    changed = ', which has changed since' if before == now else f", now it is '{now}'"
                    told = f"'{self.path}' was made with the model '{before}'{changed}"
                raise ConfigError(f'{told}: {hint}')

    def _tasks(self) -> list[Task]:
        done = {os.path.abspath(file): file for file in self.records.done}
        todo = [Task(file) for file in self.files if os.path.abspath(file) not in done]
        if self.draw is None or len(todo) == len(self.files):
            return todo
        names = [done[path] for path in map(os.path.abspath, self.files) if path in done]
        undrawn = [file for file in names if self.records.done[file] and not drawing_path(self.draw, file).is_file()]
        return todo + [Task(file, True) for file in undrawn]

    def greet(self, console: Console, ignored: str = '') -> None:
        """Says what is done already, and what in the folders is no picture."""
        if ignored:
            console.print(ignored, markup=False, highlight=False, soft_wrap=True)
        if cut := self.records.repaired:
            console.print(f'{self.path}: a last line that was not whole ({cut} bytes) is cut off')
        before, number = len(self.files) - sum(not task.is_recorded for task in self.tasks), len(self.files)
        if before:
            told = f'{before} of {counted(number, "picture")} {"is" if number == 1 else "are"} done already'
            console.print(told, highlight=False)

    def finish(self) -> None:
        """Takes in what the other processes wrote, makes the table, and looks at what was found."""
        self.records.absorb()
        if self.out.suffix in TABLES:
            write_table(self.out, self.records)
        self.index = None
        if self.draw:
            from mlsgm_pyg.app.reports.predictions import write_index  # jinja2, which exported files do without.

            self.index = write_index(self.draw, self.records, self.about)
        self.seconds = time.perf_counter() - self.started
        mine = set(map(os.path.abspath, self.files))
        self.unread, self.found = [], []
        for one in self.records:
            if os.path.abspath(one['file']) in mine:
                if 'error' in one:
                    self.unread.append(one)
                elif len(mine) <= SHOWN:
                    self.found.append(one)
        self.status = int(len(self.unread) == len(mine))

    def left(self) -> str:
        """What is done of an unfinished job, and how to go on; the table is made by the run that finishes it."""
        with suppress(ConfigError):  # A process beside this one still writes: the next run takes that in.
            self.records.absorb()
        self.records.sync()
        done = set(map(os.path.abspath, self.records.done))
        number = sum(os.path.abspath(file) in done for file in self.files)
        return f'{number} of {len(self.files)} done; the same command goes on'

    def summary(self) -> str:
        """What was done, some of it, and what is broken; all of it is in the files."""
        lines = []
        for one in self.found:
            labels = '  '.join(f'{x["label"]} {x["probability"]:.2f}' for x in one['labels'][:5])
            lines.append(f'{readable(one["file"])}: {labels or "no label"}')
        total = len(self.tasks)
        speed = f', {total} now in {self.seconds:.1f} s ({total / self.seconds:.1f} a second)' if total else ''
        lines.append(f'{counted(len(self.files), "picture")}{speed}: {readable(os.path.abspath(self.out))}')
        if self.index:
            lines.append(f'to look at in a browser: {readable(os.path.abspath(self.index))}')
        if self.unread:
            lines.append(f'{len(self.unread)} of them could not be read (--retry tries them once more):')
        lines += [f'  {readable(one["file"])}: {one["error"]}' for one in self.unread[:SHOWN]]
        if more := self.unread[SHOWN:]:
            lines.append(f'  ... and {len(more)} more: the records with "error" in {self.path}')
        return '\n'.join(lines)


class Told(Bar):
    """The progress of the first process on a terminal; hears of every batch."""

    def __init__(self, job: Job | None, place: processes.Place, console: Console):
        share = f' (process 1 of {place.world})' if place.world > 1 else ''
        total = len(job.tasks[:: place.world]) if job else 0
        super().__init__(f'Predicting{share}', total, console, hidden=job is None or not console.is_terminal)
        self.broken = 0

    def __call__(self, found: list[Prediction]) -> None:
        self.broken += sum(one.error is not None for one in found)
        super().__call__(len(found), f'{self.broken} broken' if self.broken else '')

"""Finished runs that are found in folders, and those that differ in their seed alone as one group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlsgm_pyg.app.common.errors import ConfigError, Damaged, nearest
from mlsgm_pyg.app.common.files import read_json
from mlsgm_pyg.app.common.text import mean_sd, some
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.config.words import written
from mlsgm_pyg.app.results.run import FILE, Run, scored_alike
from mlsgm_pyg.app.results.schema import Result
from mlsgm_pyg.app.results.settings import SEEDS, counting, data_of, identity
from mlsgm_pyg.exported import is_exported

CURVE = (*SEEDS, 'name', 'task.known')  # In what the runs of a curve over proportions of known labels differ.
BASELINE = 'baseline'  # The value of model.name.
ANSWER, MODEL = 'answer.json', 'model.ckpt'  # What `mlsgm train` leaves above the runs of two models: its choice.


@dataclass(eq=False)
class Group:
    """Runs that differ in their seed alone, or in what else :func:`grouped` was told, in order."""

    runs: list[Run]
    label: str = ''
    left_out: list[Path] = field(default_factory=list)  # Runs of a seed that is there, with other numbers.

    @property
    def options(self) -> dict[str, Any]:
        return self.runs[0].options

    @property
    def name(self) -> str:
        return self.runs[0].name

    @property
    def row(self) -> str:
        return self.runs[0].row

    @property
    def task(self) -> str:
        return self.runs[0].task

    @property
    def data(self) -> str:
        return data_of(self.options)

    @property
    def results(self) -> list[Result]:
        """What each run's result.json holds."""
        return [run.result for run in self.runs]

    @property
    def seeds(self) -> list[int]:
        return sorted({run.seed for run in self.runs})

    def value(self, metric: str, known: float | None = None) -> tuple[float, float | None] | None:
        """Mean and standard deviation over the seeds of a metric, 'AP.' and a class for its AP, perhaps of runs with
        one proportion of known labels alone; None if there is none."""
        runs = self.runs if known is None else [run for run in self.runs if abs(run.known - known) < 1e-9]
        key, _, name = metric.partition('.')
        found = (run.result['metrics'].get(key) for run in runs)
        return mean_sd(one.get(name) if isinstance(one, dict) else one for one in found)


def walk(
    folders: Sequence[Path], notes: list[str], pattern: str = f'**/{FILE}', read: Callable[[Path], Any] = Run.read
) -> Iterator[Any]:
    """Every finished run in some folders, each once, in their order: run directories, or folders that hold some. A file
    that is not what a run leaves is left out and added to the notes, in words; but where it is that of a folder itself,
    it was asked for, and Damaged is raised. Other kinds of files have a pattern and a reader of their own."""
    for path in dict.fromkeys(path for folder in folders for path in sorted(folder.glob(pattern))):
        try:
            yield read(path)
        except Damaged as error:
            if path.parent in folders and path.name == Path(pattern).name:
                raise
            notes.append(f'left out: {error}')


def collect(folders: Sequence[Path]) -> tuple[list[Group], list[str]]:
    """The groups of all finished runs in some folders, in their order, and what was left out, in words; each folder
    must hold a run, and one must be whole."""
    for folder in folders:
        if next(folder.rglob(FILE), None) is None:
            raise FileNotFoundError(f"'{folder}' holds no finished run: there is no {FILE} in it")
    notes: list[str] = []
    groups = grouped(walk(folders, notes))
    if folders and not groups:
        raise ConfigError(f'there is no finished run; {"; ".join(notes)}')
    return groups, notes


def grouped(runs: Iterable[Run], apart: tuple[str, ...] = SEEDS) -> list[Group]:
    """The groups of some runs, in their order, each with a label of its own; a seed counts once. Runs of one group may
    differ in some options, which are the seed by default."""
    groups: dict[str, Group] = {}
    for run in runs:
        group = groups.setdefault(identity(run.options, apart), Group([]))
        there = next((one for one in group.runs if (one.seed, one.known) == (run.seed, run.known)), None)
        if there is None:
            group.runs.append(run)
        elif there.result['metrics'] != run.result['metrics']:
            group.left_out.append(run.folder)
    for group in groups.values():
        group.runs.sort(key=lambda run: (run.known, run.seed))
    return _labelled(list(groups.values()))


def find(groups: Sequence[Group], name: str) -> Group:
    """The group of a label or name, which no other group may have."""
    found = [group for group in groups if name == group.label] or [group for group in groups if name == group.name]
    if not found:
        raise ConfigError(f"no row is called '{name}': {nearest(name, [group.label for group in groups])}")
    if len(found) > 1:
        raise ConfigError(f"several rows are called '{name}': {'; '.join(group.label for group in found)}")
    return found[0]


def find_one(place: Path, file: str = FILE, verb: str = 'name one') -> Path:
    """The run that RUN means: its folder, finished or not, a folder that holds one run, the one that was chosen in a
    folder that `mlsgm train` left, or a checkpoint in a run's folder.

    Args:
        place (Path): What was given.
        file (str): Of the run's folder, what makes it one. (default: :obj:`'result.json'`: it is finished)
        verb (str): What to do where there are several. (default: :obj:`'name one'`)

    Raises:
        ConfigError: If there is none, or more than one; then they are listed, the newest first.
    """
    _refuse_exported(place)
    is_checkpoint = place.suffix == '.ckpt' and place.is_file()
    place = place.parent if is_checkpoint else place
    if (place / file).is_file() or (place / 'config.yaml').is_file():
        return place
    if file == FILE and (chosen := chosen_run(place)):
        return chosen
    below = () if is_checkpoint else ('*', '*/*', '*/*/*')  # What lies below a checkpoint is not its run.
    found = [path for pattern in below for path in place.glob(f'{pattern}/{file}')]
    for path in place.glob(f'*/{ANSWER}') if file == FILE and found else ():  # Of two models, the chosen one.
        chosen = chosen_run(path.parent)
        found = [one for one in found if path.parent not in one.parents or one.parent == chosen]
    if len(found) > 1:
        found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        shown = [f'{path.parent} ({time.strftime("%F %H:%M", time.localtime(path.stat().st_mtime))})' for path in found]
        raise ConfigError(f"'{place}' holds {len(found)} runs, {verb}: {some(shown, 10)}")
    if not found:
        told = f'it has no {file}' if place.is_dir() else 'there is no such folder'
        raise ConfigError(f"'{place}' is not the directory of a run: {told}")
    return found[0].parent


def chosen_run(place: Path, model: str = '') -> Path | None:
    """The folder of the run that `mlsgm train` chose in a folder, or of its run of a model where there is one; None
    where it left no answer."""
    if not (place / ANSWER).is_file():
        return None
    found = read_json(place / ANSWER)
    try:
        folder = place / found['folders'][model if model in found['folders'] else found['chosen']]
        folder.resolve().relative_to(place.resolve())  # Nowhere else.
        return folder
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"'{place / ANSWER}' is not what mlsgm train leaves: delete it, or train once more") from error


def find_checkpoint(place: Path) -> Path:
    """The checkpoint that RUN means: the file itself, or that of the run (:func:`find_one`) whose scores it reports; of
    an unfinished run the last epoch's.

    Raises:
        ConfigError: If there is none, or more than one run.
    """
    if not place.exists():
        raise ConfigError(f"there is no checkpoint '{place}'")
    if not place.is_dir():
        _refuse_exported(place)
        return place
    for name in () if (place / FILE).is_file() else (MODEL, 'last.ckpt'):
        if (place / name).is_file():
            return place / name
    path = Run.read(find_one(place)).checkpoint
    if not path.is_file():
        raise ConfigError(f"there is no checkpoint '{path}' any more")
    return path


def _refuse_exported(place: Path) -> None:
    if is_exported(place) and place.is_file():
        raise ConfigError(f"'{place}' is an exported file: this needs the run, or the checkpoint, that it was made of")


def find_baseline(run: Run) -> Run | None:
    """The finished baseline run beside a run that was evaluated on the same images: of the same task, the same seed if
    there is one, and the fewest other options."""
    if run.options['model']['name'] == BASELINE:
        return None
    found = []
    for other in walk([run.folder.resolve().parent.parent], [], f'*/*/{FILE}'):
        is_baseline = other.options['model']['name'] == BASELINE and _task(other) == _task(run)
        if is_baseline and same_images(run, other):
            mine, theirs = configs.flat(run.options), configs.flat(other.options)
            ours = {key for key in mine if key != 'data.root' and not key.startswith('model.')}
            differ = sum(theirs.get(key) != mine[key] for key in ours)
            found.append((other.seed != run.seed, differ, str(other.folder), other))
    return min(found)[-1] if found else None


def same_images(run: Run, other: Run) -> bool:
    """Whether both were evaluated on the same images with the same labels, as far as what is left can tell."""
    if run.has_scores and other.has_scores:
        return scored_alike(run.scores, other.scores)
    return run.class_names == other.class_names and _tested_on(run) == _tested_on(other)


def _task(run: Run) -> tuple:
    task = run.options['task']
    return tuple(str(task.get(key)) for key in ('name', 'known', 'mask_seed', 'novel', 'num_novel', 'novel_seed'))


def _tested_on(run: Run) -> dict[str, Any]:
    kept = ('name', 'labels', 'test_split', 'train_split', 'dev', 'limit', 'test_limit', 'difficult', 'test_images')
    return {key: run.options['data'].get(key) for key in kept} | {'data': data_of(run.options)}


def _labelled(groups: list[Group]) -> list[Group]:
    """Labels: the run's name, and where several groups share it, the options in which they differ."""
    options = [counting(group.options) for group in groups]
    for group, own in zip(groups, options):
        same = [other for one, other in zip(groups, options) if one.name == group.name]
        keys = sorted({key for one in same for key in one if any(one.get(key) != other.get(key) for other in same)})
        told = ', '.join(f'{key}={written(key, own[key])}' for key in keys if key in own)
        group.label = f'{group.name} ({told})' if told else group.name
    labels = [group.label for group in groups]
    for group in groups:
        if labels.count(group.label) > 1:  # They differ in the data set's folder alone.
            group.label = f'{group.label} on {group.data}'
    return groups

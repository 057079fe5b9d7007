"""A finished run: result.json, read and checked once, and what else is left of it, read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlsgm_pyg.app.common.errors import ConfigError, Damaged, Gone
from mlsgm_pyg.app.common.files import read_json
from mlsgm_pyg.app.common.text import counted, one_line, some
from mlsgm_pyg.app.results.schema import Result, check
from mlsgm_pyg.datasets.files import check_regular
from mlsgm_pyg.decisions import probabilities

if TYPE_CHECKING:
    import torch
    from omegaconf import DictConfig

    from mlsgm_pyg.app.data.parts import Part


FILE = 'result.json'
FIT = 'fit.npz'
TASK = {'name': 'full', 'known': 1.0}  # Of runs from before there were tasks.
# What was not in every version's file.
LATER = {'labels': None, 'trained_on': None, 'history': [], 'skipped': [], 'folder': '', 'paper': [], 'decisions': None}
ONLY_IN_RUNS = {'best_epoch_mAP': None}  # Not in the small files of `results/`.


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: where it lies, and what its result.json holds, complete, with this folder. Of a run in `results/`
    nothing else is left. Options of the config may say where its images lie now, 'data.root' -> path."""

    folder: Path
    result: Result
    places: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Run:
        """Reads a run directory, or its result.json; Damaged names a file that is not what a run leaves."""
        path = path if path.name == FILE else path / FILE
        if not path.exists():
            unfinished = (path.parent / 'config.yaml').is_file()
            told = (
                'is not finished (the command that began it goes on)' if unfinished else 'is not the directory of a run'
            )
            raise ConfigError(f"'{path.parent}' {told}: it has no {FILE}")
        return cls(path.parent, _complete(path, _content(path), path.parent))

    @property
    def name(self) -> str:
        return self.result['name']

    @property
    def seed(self) -> int:
        return self.result['seed']

    @property
    def title(self) -> str:
        return f'{self.name}, seed {self.seed}'

    @property
    def options(self) -> dict[str, Any]:
        """The config as plain containers, as it was when the run was made."""
        return self.result['config']

    @property
    def row(self) -> str:
        return self.options['row']

    @property
    def task(self) -> str:
        return self.options['task']['name']

    @property
    def known(self) -> float:
        """The proportion of known labels."""
        return self.options['task']['known']

    @property
    def class_names(self) -> list[str]:
        return list(self.result['metrics']['AP'])

    @property
    def is_trial(self) -> bool:
        """Whether it saw, or was evaluated on, a part of the images only."""
        return is_trial(self.options)

    @property
    def checkpoint(self) -> Path:
        """The file of the model whose scores it reports."""
        return self.folder / ('best.ckpt' if self.result['select'] == 'best' else 'last.ckpt')

    @property
    def history(self) -> list[dict[str, Any]]:
        """One dictionary an epoch; nothing where it was not kept."""
        return self.result['history']

    def at(self, places: Mapping[str, str]) -> Run:
        """The same run whose images lie elsewhere now."""
        return replace(self, places={**self.places, **places})

    @cached_property
    def config(self) -> DictConfig:
        """The config as today's options have it; Gone if some of it is not an option any more."""
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        from mlsgm_pyg.app.config.load import restored

        try:
            config = restored(OmegaConf.create(self.options), str(self.folder / FILE))
            for key, value in self.places.items():
                OmegaConf.update(config, key, value)
        except (ValueError, OmegaConfBaseException) as error:
            raise Gone(f'its options cannot be used any more: {one_line(error)}') from error
        return config

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """What scores.npz holds: `index` of the n images, their labels `y` [n, C], and each score [n, C]; Gone if it is
        not there, broken, or not what result.json is about."""
        return self._scores('scores.npz')

    @cached_property
    def fit_scores(self) -> dict[str, np.ndarray] | None:
        """The same of fit.npz, of the images that thresholds were fitted on; None where none were kept."""
        return self._scores(FIT) if (self.folder / FIT).is_file() else None

    def _scores(self, name: str) -> dict[str, np.ndarray]:
        known = 'metrics' in self.result  # Of a sweep's trial its score alone.
        return read_scores(self.folder / name, [self.result['score']], len(self.class_names) if known else None)

    @property
    def has_scores(self) -> bool:
        try:
            return bool(self.scores)
        except Gone:
            return False

    @property
    def y(self) -> np.ndarray:
        return self.scores['y']

    @property
    def logits(self) -> np.ndarray:
        """The score that the run reports, [n, C]."""
        return self.scores[self.result['score']]

    @property
    def temperature(self) -> float:
        decided = self.result['decisions']
        return decided['temperature'] if decided else 1.0

    @cached_property
    def p(self) -> np.ndarray:
        """Its probabilities, at the temperature that was fitted, if one was; in double precision."""
        return probabilities(self.logits, self.temperature)

    @cached_property
    def limits(self) -> np.ndarray:
        """From which probability on each label counts, [C]: the thresholds that were fitted, else 0.5."""
        decided = self.result['decisions'] or {'classes': {}}
        found = (decided['classes'].get(name, {}).get('threshold', 0.5) for name in self.class_names)
        return np.array([*found])

    def probabilities(self, score: str = '') -> np.ndarray:
        """Those of one of the scores, in the precision that the model has. (default: of the reported one)"""
        import torch

        logits = torch.from_numpy(self.scores[score or self.result['score']]).float()
        return (logits / (1.0 if score else self.temperature)).sigmoid().numpy()

    @cached_property
    def images(self) -> Part:
        """The images that it was evaluated on; Gone if the data set cannot be read, or is another one."""
        from mlsgm_pyg.app.data.parts import build_parts
        from mlsgm_pyg.datasets import ImageError

        config = self.config.copy()
        config.data.download = False
        try:
            part = build_parts(config.data, config.task)[1]
        except (OSError, ValueError, ImportError, ImageError) as error:
            raise Gone(f'the images cannot be read: {one_line(error)}') from error
        index = self.scores['index']
        least = index.max(initial=-1) + 1
        changed = 'the data set has changed since'
        if part.source.class_names != self.class_names:
            raise Gone(f'{changed}: {_other_classes(part.source.class_names, self.class_names)}')
        if len(part.rows) < least:
            told = f'it has {counted(len(part.rows), "image")} to test on, and had at least {least:,}'
            raise Gone(f'{changed}: {told}')
        if not np.array_equal(part.y.numpy()[index], self.y):
            raise Gone(f'{changed}: its labels are others')
        return part

    @cached_property
    def model(self) -> torch.nn.Module:
        """The model whose scores it reports; Gone if its checkpoint is not there, broken, or of other classes."""
        import mlsgm_pyg

        try:
            model = mlsgm_pyg.load(self.checkpoint)
        except FileNotFoundError:
            raise Gone(f"there is no '{self.checkpoint}' any more") from None
        except (OSError, ValueError, ImportError) as error:
            raise Gone(f'the model cannot be loaded: {one_line(error)}') from error
        if model.class_names != self.class_names:
            raise Gone(f"'{self.checkpoint}' is of other classes than {FILE}")
        return model


def read_scores(path: Path, names: Sequence[str], classes: int | None) -> dict[str, np.ndarray]:
    """What scores.npz or fit.npz holds, see :attr:`Run.scores`, and whether these scores are there; Gone otherwise."""
    try:
        check_regular(path)
        with path.open('rb') as handle, np.load(handle, allow_pickle=False) as file:
            found = dict(file)
    except FileNotFoundError:
        raise Gone(f"there is no '{path}' any more") from None
    except (TypeError, AttributeError):  # One array alone, without names.
        raise Gone(f"'{path}' cannot be read: it holds no tables") from None
    except Exception as error:  # A broken file may raise anything.
        raise Gone(f"'{path}' cannot be read: {one_line(error)}") from error
    for told in (told for name in names for told in _unlike(found, name, classes)):
        raise Gone(f"'{path}' {told}")
    return found


def scored_alike(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Whether two tables of scores are of the same images with the same labels."""
    return all(np.array_equal(one[key], other[key]) for key in ('index', 'y'))


def of_results(path: Path) -> list[Run]:
    """The runs that a small file of `results/` holds, see :mod:`experiments.summary`; none where it is of another
    kind."""
    out = _content(path)
    if not (isinstance(out, dict) and {'config', 'runs'} <= out.keys()):
        return []
    shared = _filled({key: value for key, value in out.items() if key != 'runs'}, ONLY_IN_RUNS)
    made = out['runs'] if isinstance(out['runs'], list) else [out['runs']]
    made = [shared | one if isinstance(one, dict) else one for one in made]
    return [Run(path.parent, _complete(path, one, path.parent)) for one in made]


def is_trial(options: dict[str, Any]) -> bool:
    """Whether a run of these options saw, or was evaluated on, a part of the images only."""
    data = options['data']
    limits = [data.get('dev'), data.get('limit'), data.get('test_limit')]
    return any(limits) or any(key.startswith('limit_') for key in options.get('trainer', {}))


def _content(path: Path) -> Any:
    try:
        return read_json(path)
    except OSError as error:
        raise Damaged(f"'{path}' cannot be read: {error.strerror or error}") from error


def _complete(path: Path, out: Any, folder: Path) -> Result:
    """What a file holds, with what older ones lack, and where it lies."""
    if isinstance(out, dict):
        out = _filled(out, LATER) | {'folder': str(folder)}
        if isinstance(out.get('config'), dict):
            config = _filled(out['config'], {'trainer': {}, 'task': TASK})
            if isinstance(config['task'], dict):
                config['task'] = _filled(config['task'], TASK)
            out = _filled(out | {'config': config}, {'task': config['task']})
    check(path, out)
    return out


def _filled(values: dict[str, Any], lacking: dict[str, Any]) -> dict[str, Any]:
    """The values, in their order, then those that they lack."""
    return values | {key: value for key, value in lacking.items() if key not in values}


def _unlike(found: dict[str, np.ndarray], score: str, classes: int | None) -> Iterator[str]:
    """How scores are not those of a run, in words."""
    yield from (f"lacks '{key}'" for key in ('index', 'instances', 'y', score) if key not in found)
    index, instances, y, values = (found[key] for key in ('index', 'instances', 'y', score))
    if y.shape != values.shape or y.ndim != 2 or classes not in (None, y.shape[1]):
        yield f'does not hold labels and scores of {classes} classes (got {list(y.shape)})'
    kinds = (index.dtype.kind, instances.dtype.kind, y.dtype.kind, values.dtype.kind)
    if not index.shape == instances.shape == y.shape[:1] or any(kind not in 'iuf' for kind in kinds) or kinds[0] == 'f':
        yield 'does not hold the numbers of its images and their scores'
    if not 0 < len(np.unique(index)) == len(index):
        yield 'does not hold each of its images once'
    if not np.isfinite(values).all() or not np.isin(y, (-1, 0, 1)).all():
        yield 'holds scores that are NaN or infinite, or labels other than 1, 0 and -1'


def _other_classes(now: list[str], then: list[str]) -> str:
    new, lost = [name for name in now if name not in then], [name for name in then if name not in now]
    if not new and not lost:
        return 'its classes are in another order'
    told = [f'{word} {some([*map(repr, names)], 5)}' for word, names in (('new:', new), ('gone:', lost)) if names]
    return f'it has other classes ({"; ".join(told)})'

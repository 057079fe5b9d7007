"""Few-shot: one draw of examples, the methods that learn from it, and the summary over draws."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from experiments.novel import saved_draws
from mlsgm_pyg import checkpoint
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.text import counted, mean_sd
from mlsgm_pyg.app.config.options import METHODS
from mlsgm_pyg.app.data.parts import Part
from mlsgm_pyg.app.results import scores
from mlsgm_pyg.app.training.few_shot import Learner
from mlsgm_pyg.app.training.frozen_maps import FrozenMaps
from mlsgm_pyg.datasets import draw_shots, limit_indices
from mlsgm_pyg.datasets.sampling import mix
from mlsgm_pyg.labels import nearest_classes
from mlsgm_pyg.models import MLSGM
from mlsgm_pyg.semantics import word_vectors


def build_learner(config: DictConfig, path: Path) -> Learner:
    """What stage two works with: stage one's model, the maps of its backbone, and the novel classes' word vectors.

    Raises:
        ConfigError: If the checkpoint is not there or not stage one of this task, its head has other sizes than the
            config says, or no image shows a novel class.
    """
    try:
        base = read_base(config, path)
        maps = FrozenMaps(config, base.backbone)
        novel = maps.train.source.class_names
        words = words_of(config, base, novel, path)
    except (ValueError, FileNotFoundError, ImportError) as error:
        raise ConfigError(str(error)) from error
    empty = [name for name, count in zip(novel, (maps.train.y == 1).sum(0).tolist()) if count == 0]
    if empty:
        raise ConfigError(f'no training image shows the novel class {", ".join(empty)}: there is no example to draw')
    if not bool((maps.test.y == 1).any()):
        raise ConfigError(f'no test image shows a novel class ({", ".join(novel)}): there is nothing to evaluate')
    learner = Learner(config, base, words, maps)
    if 'ml_sgm' in config.task.methods:
        try:
            learner.carried()  # Before any map is computed.
        except ValueError as error:
            raise ConfigError(f"the options in 'model' must be those of stage one, '{path}': {error}") from error
    return learner


def read_base(config: DictConfig, path: Path) -> MLSGM:
    """The model of stage one.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If it is no ML-SGM, or has another backbone than the config says.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint of stage one '{path}'")
    base = checkpoint.load(path)
    if not isinstance(base, MLSGM):
        raise ValueError(f"stage one must be an ml_sgm checkpoint ('{path}' is a {type(base).__name__})")
    theirs = checkpoint.read(path)[checkpoint.KEY]['model']
    for key in ('backbone', 'last_stride'):
        if theirs[key] != config.model[key]:
            raise ValueError(f"'model.{key}' must be as in '{path}', {theirs[key]} (got {config.model[key]})")
    device = 'cuda' if torch.cuda.is_available() and config.trainer.get('accelerator') != 'cpu' else 'cpu'
    return base.to(device)


def words_of(config: DictConfig, base: MLSGM, novel: Sequence[str], path: Path) -> Tensor:
    """The word vectors of the novel classes, from the source that stage one's came from.

    Raises:
        ValueError: If stage one knows a novel class, or has its word vectors from elsewhere.
    """
    seen = [name for name in novel if name in base.class_names]
    if seen:
        raise ValueError(f"stage one must not know the novel classes: '{path}' was trained on {', '.join(seen)}")
    source = config.semantics.source
    if source == 'onehot':
        raise ValueError('few-shot needs word vectors: semantics.source=onehot says nothing of a class it has not seen')
    theirs = word_vectors(base.class_names, source)
    if theirs.shape != base.word_vectors.shape or not torch.equal(theirs, base.word_vectors.cpu()):
        raise ValueError(f"'semantics.source' must give the word vectors of '{path}' (got other ones from '{source}')")
    return word_vectors(novel, source)


def key(number: int, index: int) -> str:
    """The name of a draw."""
    return f'{number} shots, draw {index}'


def draw(
    config: DictConfig, learner: Learner, number: int, index: int, done: dict[str, Any] | None, folder: Path | None
) -> dict[str, Any]:
    """One draw: its images, their labels, and every method's scores; of methods that are done, what is there.

    Args:
        config (DictConfig): The whole config.
        learner (Learner): Trains a method.
        number (int): Examples of each class, K.
        index (int): Number of the draw; the same images for every method.
        done (dict, optional): What is there of this draw.
        folder (Path, optional): Where the first method's model is kept.
    """
    methods, first = dict((done or {}).get('methods', {})), config.task.methods[0]
    path = None if folder is None else folder / f'shots{number}-draw{index}-{first}.ckpt'
    missing = [method for method in config.task.methods if method not in methods]
    if path is not None and first not in missing and not path.is_file():
        missing.insert(0, first)
    if not missing:
        return done
    names = learner.maps.train.source.class_names
    chosen, unreadable = choose(config, learner.maps, number, index)
    feature, y, files = learner.maps.examples(chosen)
    if done and files != done['files']:  # Images became readable, or no longer are: all methods see the same ones.
        methods, missing = {}, list(config.task.methods)
    models, seconds = {}, {}
    for method in missing:
        started = time.perf_counter()
        models[method] = learner.train(method, feature, y, mix(config.seed, config.task.draw_seed, index))
        seconds[method] = time.perf_counter() - started
    found, more = learner.score(models)
    for method in missing:
        methods[method] = _evaluate(config, found[method], names)
        methods[method] |= {'seconds': round(seconds[method] + more[method], 2)}
    if path is not None and first in models:
        saved_draws.save(path, config, models[first], list(names), y, found[first], shots=number, draw=index)
    about = {'shots': number, 'draw': index, 'files': files, 'positives': dict(zip(names, (y == 1).sum(0).tolist()))}
    return about | ({'unreadable': unreadable} if unreadable else {}) | {'methods': methods}


def choose(config: DictConfig, maps: FrozenMaps, number: int, index: int) -> tuple[list[int], list[str]]:
    """The images of a draw, drawn again without those that cannot be read until all of them can be; and those.

    What was found out in other draws changes nothing: only images that were drawn are left out.

    Raises:
        ConfigError: If no image of a class can be read.
    """
    part, left_out = maps.train, set()
    while True:
        there = [i for i in range(len(part.files)) if i not in left_out]
        files = [part.files[i] for i in there]
        try:
            drawn = draw_shots(part.y[there], files, number, mix(config.task.draw_seed, index))
        except ValueError as error:
            told = f'{error}, without {counted(len(left_out), "image")} that cannot be read' if left_out else str(error)
            raise ConfigError(told) from error
        chosen = sorted({there[i] for i in drawn} | set(_negatives(config, part, there, index)))
        unreadable = maps.unreadable(chosen)
        if not unreadable:
            return chosen, [part.files[i] for i in sorted(left_out)]
        left_out.update(unreadable)


def _negatives(config: DictConfig, part: Part, there: list[int], index: int) -> list[int]:
    """Images that show no novel class, drawn as examples of that; the same for every number of shots."""
    without = [i for i, shows in zip(there, (part.y[there] == 1).any(1).tolist()) if not shows]
    number = min(config.task.negatives, len(without))
    drawn = limit_indices(len(without), number, mix(config.task.draw_seed, index)) if number else []
    return [without[i] for i in drawn]


def _evaluate(config: DictConfig, found: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    kinds = scores.names_of(found)
    reported = kinds[0] if kinds == ['logits'] else config.model.score
    by_score = {kind: scores.evaluate(found, kind, names, config.metrics.ap, config.metrics.top3) for kind in kinds}
    aps = {name: None if value != value else value for name, value in by_score[reported]['AP'].items()}
    return {
        'mAP': by_score[reported]['mAP'],
        'mAP_by_score': {kind: metrics['mAP'] for kind, metrics in by_score.items()},
        'AP': aps,
        'instances_per_image': float(found['instances'].mean()),
    }


def line(made: dict[str, Any]) -> str:
    """One draw in a line."""
    return ', '.join(f'{name} {found["mAP"]:.2f} ({found["seconds"]:.0f} s)' for name, found in made['methods'].items())


def summarise(config: DictConfig, done: dict[str, Any], learner: Learner) -> dict[str, Any]:
    """Mean and spread of every method over all its draws, whichever command made them, and the first method's gains
    over each other, paired on the draws that both have. The first is ml_sgm where it was drawn."""
    novel = learner.maps.train.source.class_names
    draws = sorted(done.values(), key=lambda made: (made['shots'], made['draw']))
    by_shots = itertools.groupby(draws, key=lambda made: made['shots'])
    out = [point(config, number, list(found), novel) for number, found in by_shots]
    first = next(method for method in METHODS if any(method in made['methods'] for made in draws))
    about = {'name': config.name, 'row': config.row, 'task': 'few_shot', 'first': first, 'ap': config.metrics.ap}
    held_out = f'{config.data.dev:g} of {config.data.train_split}' if config.data.dev > 0 else config.data.test_split
    about |= {'evaluated_on': held_out, 'classes': {'base': learner.base.class_names, 'novel': novel}}
    if first == 'ml_sgm' and config.task.classifier == 'nearest':
        near = nearest_classes(learner.words, learner.base.word_vectors.cpu()).tolist()
        about['started_from'] = {name: learner.base.class_names[i] for name, i in zip(novel, near)}
    return about | {'summary': out, 'draws': draws}


def point(config: DictConfig, number: int, draws: list[dict[str, Any]], novel: Sequence[str]) -> dict[str, Any]:
    """The summary of all draws of one number of shots."""
    values = {m: {d['draw']: d['methods'][m]['mAP'] for d in draws if m in d['methods']} for m in METHODS}
    values = {method: found for method, found in values.items() if found}
    first, *others = values
    score = {method: 'logits' if method == 'linear' else config.model.score for method in values}
    methods = {
        method: spread(list(found.values())) | {'score': score[method], 'AP': _mean_ap(draws, method, novel)}
        for method, found in values.items()
    }
    gains = {}
    for other in others:
        shared = [index for index in values[first] if index in values[other]]
        if shared:
            gains[other] = paired([values[first][i] - values[other][i] for i in shared]) | {'over': other}
    return {'shots': number, 'first': first, 'methods': methods, 'gains': gains}


def _mean_ap(draws: list[dict[str, Any]], method: str, novel: Sequence[str]) -> dict[str, float | None]:
    mine = [made['methods'][method]['AP'] for made in draws if method in made['methods']]
    found = {name: [aps[name] for aps in mine] for name in novel}
    return {name: None if None in values else statistics.mean(values) for name, values in found.items()}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, standard deviation (0 of one value), lowest and highest, and the values."""
    mean, deviation = mean_sd(values)
    return {
        'mAP': mean,
        'std': deviation or 0.0,
        'lowest': min(values),
        'highest': max(values),
        'values': list(values),
    }


def paired(differences: Sequence[float]) -> dict[str, Any]:
    """The mean of paired differences with its 95 % interval over draws (Student's t; none for a single draw)."""
    from scipy.stats import t

    n, (mean, deviation) = len(differences), mean_sd(differences)
    out = {'difference': mean, 'std': deviation, 'low': None, 'high': None}
    if n > 1:
        half = float(t.ppf(0.975, n - 1)) * deviation / math.sqrt(n)
        out |= {'low': mean - half, 'high': mean + half}
    return out | {'draws': n, 'ahead': sum(value > 0 for value in differences)}

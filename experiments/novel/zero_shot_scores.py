"""Zero-shot: every method's scores of seen and unseen labels, and the summary over seeds.

`ml_sgm` scores the word vectors of unseen labels (`ml_sgm_maps`: with class maps from their nearest seen labels);
`nearest_label` gives an unseen label the score of its nearest seen one, `nearest_labels` the mean of several, weighted
by similarity; `all_labels` is a model that was trained on them.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.nn.functional import logsigmoid

from experiments.novel.draws import read_base, spread
from experiments.novel.shot_tables import METHODS, RULE
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.config.load import fingerprint
from mlsgm_pyg.app.config.options import TaskConfig
from mlsgm_pyg.app.config.words import evaluated_on
from mlsgm_pyg.app.data.parts import split_classes
from mlsgm_pyg.app.results import scores
from mlsgm_pyg.app.results.bootstrap import Resamples
from mlsgm_pyg.app.results.groups import walk
from mlsgm_pyg.app.results.run import FILE, Run, scored_alike
from mlsgm_pyg.app.training.frozen_maps import FrozenMaps, joined
from mlsgm_pyg.labels import find_labels, nearest_weights
from mlsgm_pyg.models import MLSGM

VARIANTS = {'none': 'ml_sgm', 'nearest': 'ml_sgm_maps'}  # task.unseen_maps -> method.

Tables = dict[str, np.ndarray]


class Found(NamedTuple):
    """One seed's scores."""

    seen: list[str]
    unseen: list[str]
    methods: dict[str, Tables]  # Columns of labels: first the seen ones.
    by_score: dict[str, dict[str, float]]  # mAP of the unseen labels by method and score.
    weights: Tensor  # Of the nearest seen labels, one row an unseen one.
    device: torch.device

    @property
    def names(self) -> list[str]:
        return self.seen + self.unseen


def evaluate(config: DictConfig, path: Path) -> Found:
    """Scores all test images with the model of stage one; what does not fit is the config's to put right."""
    full = OmegaConf.merge(config, {'task': {'name': 'full'}})  # The labels of all classes.
    try:
        base = read_base(config, path)
        maps = FrozenMaps(full, base.backbone)
        seen, unseen = _classes(config, base, maps.test.source.class_names, path)
        models = _models(config, base, seen + unseen)
    except (ValueError, FileNotFoundError, ImportError) as error:
        raise ConfigError(str(error)) from error
    columns = [maps.test.source.class_names.index(name) for name in seen + unseen]
    empty = [name for name, c in zip(unseen, columns[len(seen) :]) if not bool((maps.test.y[:, c] == 1).any())]
    if empty:
        raise ConfigError(f'no test image shows {", ".join(empty)}: there is nothing to evaluate')
    tables = {key: found | {'y': found['y'][:, columns]} for key, found in _scored(models, maps).items()}
    words = find_labels(base, unseen, semantics=config.semantics.source).words.to(base.word_vectors)
    weights = nearest_weights(words, base.word_vectors, config.task.num_nearest).cpu()
    ordinary, rules = tables.pop('seen'), {RULE: nearest_weights(words, base.word_vectors, 1).cpu()}
    rules['nearest_labels'] = weights
    of_seen = torch.from_numpy(ordinary['logits'])
    same = {key: ordinary[key] for key in ('index', 'y', 'instances')}
    for method, mix in rules.items():
        logits = torch.cat([of_seen, mean_of_probabilities(of_seen, mix.double())], dim=1)
        tables[method] = same | {'logits': logits.numpy()}
    by_score = {
        method: {name: _map(config, found, name, unseen) for name in scores.names_of(found) if name != 'logits'}
        for method, found in tables.items()
        if method in VARIANTS.values()
    }
    return Found(seen, unseen, tables, by_score, weights, maps.device)


def _classes(config: DictConfig, base: MLSGM, there: list[str], path: Path) -> tuple[list[str], list[str]]:
    """The seen and the unseen classes."""
    seen, novel = split_classes(there, config.task)
    known = [name for name in novel if name in base.class_names]
    if known:
        raise ValueError(f"stage one must not know the unseen classes: '{path}' was trained on {', '.join(known)}")
    if base.class_names != seen:
        raise ValueError(
            f"'{path}' must have been trained on the base classes, {', '.join(seen)} "
            f'(got {", ".join(base.class_names)})'
        )
    wanted = config.task.unseen or novel
    absent = [name for name in wanted if name not in novel]
    if absent:
        raise ValueError(f"'task.unseen' are some of the novel classes, {', '.join(novel)} (got {', '.join(absent)})")
    return seen, [name for name in novel if name in wanted]


def _models(config: DictConfig, base: MLSGM, names: list[str]) -> dict[str, MLSGM]:
    models = {'seen': base}
    for how in config.task.unseen_maps:
        options = {'unseen_maps': how, 'num_nearest': config.task.num_nearest}
        models[VARIANTS[how]] = base.with_labels(names, semantics=config.semantics.source, **options)
    return models


@torch.no_grad()
def _scored(models: dict[str, MLSGM], maps: FrozenMaps) -> dict[str, Tables]:
    """Every model's scores of the test images, whose maps are read once for all of them."""
    parts: dict[str, list] = {key: [] for key in models}
    with ExitStack() as scopes:
        for model in models.values():
            scopes.enter_context(model.fixed_labels())
        for batch in maps.batches():
            feature = batch.pop('feature')
            for key, model in models.items():
                out = model.head(feature)
                found = {'logits': out.logits} | {name: out.score(name) for name in model.score_names}
                parts[key].append((batch, found, out.instances.ptr.diff()))
    return {key: joined(found) for key, found in parts.items()}


def mean_of_probabilities(logits: Tensor, weights: Tensor) -> Tensor:
    """The logits of convex combinations of probabilities, without leaving logarithms.

    Shapes:
        - **inputs:** :obj:`logits` :math:`(n, C)`, :obj:`weights` :math:`(C_n, C)`
        - **output:** :math:`(n, C_n)`
    """
    weights = weights.log()
    present, absent = ((logsigmoid(sign * logits)[:, None] + weights).logsumexp(2) for sign in (1, -1))
    return present - absent


def expected_ap(y: np.ndarray) -> np.ndarray:
    r"""The AP of each label that a random order of the images has on average, in percent.

    A positive is equally likely at each rank :math:`r`, and of the :math:`r - 1` images before it a part of
    :math:`(m - 1) / (n - 1)` are positives on average, so with m positives among n images and
    :math:`H_n = \sum_{r=1}^n 1 / r`

    .. math::
        E[AP] = \frac{1}{n} \sum_{r=1}^n \frac{1}{r} \Big( 1 + (r - 1) \frac{m - 1}{n - 1} \Big)
        = \frac{1}{n} \Big( H_n + \frac{m - 1}{n - 1} (n - H_n) \Big)

    which is a little above the label's frequency m / n. Only known labels count; without a positive it is NaN.
    """
    out = np.full(y.shape[1], np.nan)
    for c in range(y.shape[1]):
        n, m = int((y[:, c] >= 0).sum()), int((y[:, c] == 1).sum())
        if m:
            harmonic = (1 / np.arange(1, n + 1)).sum()
            out[c] = 100 * (harmonic + (m - 1) / max(n - 1, 1) * (n - harmonic)) / n
    return out


def full_runs(
    config: DictConfig, seeds: Sequence[int], found: Sequence[Found], folders: Sequence[Path]
) -> dict[int, Tables]:
    """The scores of finished runs on all labels by seed, from folders or, without any, of the same options in runs_dir;
    they must be of the images and labels that were found, and of one run a seed."""
    notes: list[str] = []
    if not folders:
        full = OmegaConf.merge(config, {'task': OmegaConf.structured(TaskConfig())})
        runs = list(walk([Path(config.runs_dir)], notes, f'*/seed*-{fingerprint(full)}/{FILE}'))
    else:
        runs = list(walk(folders, notes))
    for note in notes:
        print(note, file=sys.stderr)
    out, seen = {}, {}
    for run in runs:
        if run.seed in seeds and run.task == 'full':
            if run.seed in seen and folders:  # They may have learned from fewer images.
                there = f"'{seen[run.seed]}' and '{run.folder}'"
                raise ConfigError(f'two runs on all labels have seed {run.seed}, {there}: name one')
            seen.setdefault(run.seed, run.folder)
            try:
                out.setdefault(run.seed, _fitting(run, found[0]))
            except ValueError as error:
                raise ConfigError(f"'{run.folder}' cannot stand beside these scores: {error}") from error
    if folders and not out:
        where = "', '".join(map(str, folders))
        raise ConfigError(f"'{where}' holds no finished run on all labels with seed {', '.join(map(str, seeds))}")
    return out


def _fitting(run: Run, mine: Found) -> Tables:
    """The scores of a run on all labels, in our columns."""
    names = run.class_names
    missing = [name for name in mine.names if name not in names]
    if missing:
        raise ValueError(f'it has no {", ".join(missing)}')
    columns, ours = [names.index(name) for name in mine.names], mine.methods[RULE]
    found = {'index': run.scores['index'], 'y': run.y[:, columns], 'logits': run.logits[:, columns]}
    if not scored_alike(found, ours):
        raise ValueError(f'it has other images or labels ({len(found["y"]):,}, here {len(ours["y"]):,})')
    return found


def summarise(
    config: DictConfig, seeds: Sequence[int], found: Sequence[Found], full: dict[int, Tables]
) -> dict[str, Any]:
    """mAP of seen and unseen labels with their spread over seeds, chance, and gains over the nearest label's score."""
    first = found[0]
    tables = {method: dict(zip(seeds, (one.methods[method] for one in found))) for method in first.methods}
    tables |= {'all_labels': full} if full else {}
    methods = {method: _method(config, tables[method], first) for method in METHODS if method in tables}
    for method, made in methods.items():
        if method in first.by_score:
            kinds = first.by_score[method]
            made['by_score'] = {kind: statistics.mean(one.by_score[method][kind] for one in found) for kind in kinds}
    chance = expected_ap(first.methods[RULE]['y'])
    parts = {'unseen': chance[len(first.seen) :], 'seen': chance[: len(first.seen)]}
    return {
        'name': config.name,
        'row': config.row,
        'task': 'zero_shot',
        'evaluated_on': evaluated_on(config),
        'ap': config.metrics.ap,
        'score': config.model.score,
        'images': len(first.methods[RULE]['index']),
        'seeds': list(seeds),
        'classes': {'seen': first.seen, 'unseen': first.unseen},
        'nearest': {
            name: {first.seen[c]: round(row[c].item(), 4) for c in row.argsort(descending=True) if row[c] > 0}
            for name, row in zip(first.unseen, first.weights)
        },
        'methods': methods,
        'chance': {part: float(np.nanmean(values)) for part, values in parts.items()}
        | {'AP': dict(zip(first.unseen, parts['unseen'].tolist()))},
        **_gains(config, tables, first),
    }


def _method(config: DictConfig, tables: dict[int, Tables], like: Found) -> dict[str, Any]:
    """One method over its seeds."""
    out: dict[str, Any] = {'seeds': list(tables)}
    for part, names in (('unseen', like.unseen), ('seen', like.seen)):
        out[part] = spread([_map(config, table, 'logits', names, like) for table in tables.values()])
    pairs = zip(out['unseen']['values'], out['seen']['values'])
    out['harmonic'] = spread([2 * a * b / (a + b) if a + b else 0.0 for a, b in pairs])
    aps = [_metrics(config, table, 'logits', like.unseen, like)['AP'] for table in tables.values()]
    return out | {'AP': {name: statistics.mean(one[name] for one in aps) for name in like.unseen}}


def _gains(config: DictConfig, tables: dict[str, dict[int, Tables]], like: Found) -> dict[str, Any]:
    """Every method's gain over the nearest label's score on the unseen labels, and why there is none."""
    about = {'ap': config.metrics.ap, 'score': 'logits'}
    runs = {
        method: [
            about | {'seed': seed, 'folder': f'{method}/{seed}', 'scores': _columns(table, like.unseen, like)}
            for seed, table in found.items()
        ]
        for method, found in tables.items()
    }
    gains, without = Resamples().gains({method: (ours, runs[RULE]) for method, ours in runs.items() if method != RULE})
    return {'gains': {method: gain | {'over': RULE} for method, gain in gains.items()}, 'without_gain': without}


def _map(config: DictConfig, table: Tables, kind: str, names: list[str], like: Found | None = None) -> float:
    return _metrics(config, table, kind, names, like)['mAP']


def _metrics(config: DictConfig, table: Tables, kind: str, names: list[str], like: Found | None) -> dict[str, Any]:
    return scores.evaluate(_columns(table, names, like), kind, names, config.metrics.ap, config.metrics.top3)


def _columns(table: Tables, names: list[str], like: Found | None) -> Tables:
    """The scores of some labels; without :obj:`like` the last ones."""
    every = table['y'].shape[1]
    at = [like.names.index(name) for name in names] if like else list(range(every - len(names), every))
    return {key: value[:, at] if value.ndim == 2 else value for key, value in table.items()}

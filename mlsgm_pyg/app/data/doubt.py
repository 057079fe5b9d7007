"""Labels that a classifier of the other images contradicts: cross-validated on the maps that training reads, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from omegaconf import DictConfig

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.text import counted

FOLDS = 5
PENALTY = 0.3  # Of the squared weights, beside the mean loss; of 0.01 to 1 the best mAP out of fold on coco18.
FEW = 500  # So many maps are computed unasked,
SECONDS = 0.03  # one in about this time on a core.


def find(sources: Sequence[Any], config: DictConfig, is_asked: bool) -> dict[str, Any]:
    """`labels` in doubt of the parts of a data set, most first, each with file, label, given and probability; the
    `classes_left_out`, which too few images know; and the `reason`, where nothing was looked for. More than
    :obj:`FEW` feature maps are computed only if it is asked for."""
    files = [file for source in sources for file in source.files]
    y, names = np.concatenate([source.y.numpy() for source in sources]), sources[0].class_names
    try:
        if not is_known(y).any():
            raise ConfigError(f'no class is known to be there in {FOLDS} images, and not to be in {FOLDS}')
        x = pooled(sources, config, is_asked)
    except (ConfigError, ImportError, OSError, ValueError) as error:  # No weights, no room, not asked for.
        return {'labels': [], 'classes_left_out': [], 'reason': str(error)}
    y[np.isnan(x).any(1)] = -1  # It cannot be read.
    p = np.full(y.shape, np.nan)
    for c in np.flatnonzero(is_known(y)):
        p[:, c] = out_of_fold(x, y[:, c])
    labels = [
        {'file': files[i], 'label': names[c], 'given': int(y[i, c]), 'probability': float(p[i, c])}
        for i, c in in_doubt(p, y)
    ]
    without = [name for name, told in zip(names, p.T) if np.isnan(told).all()]
    return {'labels': labels, 'classes_left_out': without, 'reason': ''}


def is_known(y: np.ndarray) -> np.ndarray:
    """Which classes are there, and are not, in an image for each fold: labels 1, 0 or -1 [n, C] -> [C]."""
    return np.minimum((y == 1).sum(0), (y == 0).sum(0)) >= FOLDS


def pooled(sources: Sequence[Any], config: DictConfig, is_asked: bool) -> np.ndarray:
    """The mean of each image's map, float32 [n, D']; nan where the image cannot be read. What is missing is computed,
    with a bar that says how much and how long."""
    from mlsgm_pyg.app.data.feature_store import ENGINES, FeatureStores
    from mlsgm_pyg.backbone import build_backbone

    model, data, out = config.model, config.data, []
    backbone = build_backbone(model.backbone, model.weights, model.last_stride).freeze()
    how, view = (backbone, data.image_size, config.features.dir), data.test_view
    wanted = [(source, range(len(source)), view) for source in sources]
    number = sum(len(source) for source in sources)
    engine = config.features.engine
    engines = ENGINES if engine == 'auto' else [engine]
    if number > FEW and not is_asked and not any(FeatureStores(*how, one).have(wanted) for one in engines):
        about = f'{counted(number, "feature map")}, about {number * SECONDS:,.0f} s'
        raise ConfigError(f'--doubt does, and first computes {about}, which training is then spared')
    stores = FeatureStores(*how, engine, wanted)
    for source in sources:
        rows = range(len(source))
        stores.fill(source, rows, [view], data.num_workers, 'skip')
        store, means = stores.open(source, view), np.full((len(rows), stores.shape[0]), np.nan, np.float32)
        for i in set(rows).difference(store.missing(rows)):
            means[i] = store.maps[i].mean((1, 2), dtype=np.float32)
        out.append(means)
    return np.concatenate(out)


def out_of_fold(x: np.ndarray, y: np.ndarray, seed: int = 0) -> np.ndarray:
    """The probability [n] of one class by a logistic regression of the other folds; nan where y is unknown."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known, p = y >= 0, np.full(len(y), np.nan)
    strength = 1 / (PENALTY * known.sum() * (1 - 1 / FOLDS))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    p[known] = cross_val_predict(model, x[known], y[known], cv=folds, method='predict_proba')[:, 1]
    return p


def in_doubt(p: np.ndarray, y: np.ndarray) -> list[tuple[int, int]]:
    """The labels off the diagonal of each class's confident joint (Northcutt et al. 2021, Eq. 1), as (image, class).

    Each answer, there or not, has a threshold: its mean probability where it is given. Of the answers that reach theirs
    in an image the most probable one counts; where that is not the one given, the label is in doubt. First come those
    with the smallest margin, the probability of the answer given less the other's. Of the probabilities p [n, C] that a
    class is there, nan, and of the labels y, -1, have no part in it.
    """
    out = []
    for c in range(y.shape[1]):
        rows = np.flatnonzero((y[:, c] >= 0) & np.isfinite(p[:, c]))
        given, answers = y[rows, c].astype(int), np.stack([1 - p[rows, c], p[rows, c]], axis=1)
        if len(set(given.tolist())) == 2:
            reached = answers >= [answers[given == answer, answer].mean() for answer in (0, 1)]
            counted_as = np.where(reached, answers, -1).argmax(1)
            for k in np.flatnonzero(reached.any(1) & (counted_as != given)):
                out.append((answers[k, given[k]] - answers[k, 1 - given[k]], int(rows[k]), c))
    return [(row, c) for _, row, c in sorted(out)]

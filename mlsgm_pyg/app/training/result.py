"""What a run comes to: the content of result.json."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from mlsgm_pyg.app.common import machine
from mlsgm_pyg.app.common.cost import parameters
from mlsgm_pyg.app.config.load import plain
from mlsgm_pyg.app.config.words import evaluated_on
from mlsgm_pyg.app.data.parts import Parts
from mlsgm_pyg.app.results.run import FIT, read_scores
from mlsgm_pyg.app.training.module import Recognition
from mlsgm_pyg.app.training.run_log import RunLog


def summarise(
    config: DictConfig, folder: Path, log: RunLog, module: Recognition, parts: Parts, command: str
) -> dict[str, Any]:
    """Everything that result.json says; of a run that had only its last words to say, from the scores that it left."""
    found, of = log.kept, (module.score_names, len(module.class_names))
    if found is None:
        fit = read_scores(folder / FIT, *of) if (folder / FIT).is_file() else None
        found = module.evaluate(read_scores(folder / 'scores.npz', *of), fit)
    scores, by_score = found.scores, found.metrics
    metrics, trainer = by_score[module.reported], module.trainer
    out = {
        'name': config.name,
        'seed': config.seed,
        'task': plain(config.task),
        'mAP': metrics['mAP'],
        'metrics': metrics,
        'mAP_by_score': {name: found['mAP'] for name, found in by_score.items()},
        'score': module.reported,
        'decisions': found.decided,
        'ap': config.metrics.ap,
        'top3': config.metrics.top3,
        'difficult': config.data.difficult if config.data.name in ('voc2007', 'voc2012') else None,
        'test_view': config.data.test_view,
        'evaluated_on': evaluated_on(config),
        'select': config.select,
        'best_epoch_mAP': log.best,
        'history': log.history,
        'trained_on': parts.trained_on,
        'images': {'train': len(parts.train.rows), 'test': len(scores['index'])},
        'labels': {'known': int((parts.train.y >= 0).sum()), 'all': parts.train.y.numel()},
        'skipped': log.skipped,
        'instances_per_image': float(scores['instances'].mean()),
        'parameters': parameters(module.model),
        'seconds': log.seconds,
        **machine.environment(trainer.strategy.root_device, trainer.world_size),
        'command': command,
        'folder': str(folder),
        'paper': [],  # What the paper has for it: for whoever knows the paper.
        'config': plain(config),
    }
    return _without_nan(out)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: the AP of a class without a positive becomes null."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

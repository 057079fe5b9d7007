"""Few-shot, stage two: the model of a draw as a checkpoint that `mlsgm_pyg.load` and `mlsgm predict` take."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from mlsgm_pyg import checkpoint
from mlsgm_pyg.app.common.files import replacing
from mlsgm_pyg.app.config.load import plain
from mlsgm_pyg.app.config.words import words_of
from mlsgm_pyg.app.results import model_card, scores
from mlsgm_pyg.app.training.module import model_options
from mlsgm_pyg.models import MLSGM


def save(
    path: Path, config: DictConfig, model: MLSGM, names: list[str], y: Tensor, found: dict[str, Any], **told: Any
) -> None:
    """Writes a model with its card, whole or not at all: of the C novel classes, learned from examples with labels y
    [n, C], with its scores of the test images; the card says what is told of the draw beside that."""
    card = model_card.begin(config, names, y, model)
    card['trained_on'] |= {'loss': config.task.loss, **told}
    options = (names, config.metrics.ap, config.metrics.top3)
    metrics = {kind: scores.evaluate(found, kind, *options) for kind in scores.names_of(found)}
    card['evaluation'] = model_card.evaluation(config, metrics, config.model.score, len(found['index']))
    words = [*words_of(plain(config)), f'seed={config.seed}', '--save']
    card['command'] = shlex.join(['python', '-m', 'experiments.few_shot', *words])
    card['date'] = model_card.now()
    about = checkpoint.pack(model_options(config.model), names, model.word_vectors, plain(config), card)
    state = {checkpoint.PREFIX + key: value for key, value in model.state_dict().items()}
    with replacing(path) as spare:
        torch.save({'state_dict': state, checkpoint.KEY: about}, spare)

"""Stage one of few-shot and zero-shot: what is trained on the base classes, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.config.load import run_dir
from mlsgm_pyg.app.config.options import LOSS_OPTIONS, STAGE_TWO, ZERO_SHOT, Config
from mlsgm_pyg.app.results.run import Run
from mlsgm_pyg.app.training import train


def stage_one_of(config: DictConfig, words: list[str], again: bool) -> tuple[Path, dict[str, Any]]:
    """The checkpoint of stage one, and what is told of it (nothing in processes beside the first)."""
    if config.task.base:
        path = Path(config.task.base)
        return path, {'checkpoint': '/'.join(path.parts[-3:])}
    config, not_its_own = config.copy(), [f'task.{key}=' for key in (*STAGE_TWO, *ZERO_SHOT)]
    if config.loss.name != 'asymmetric_focal':  # What is stage two's must not train stage one once more.
        for key in LOSS_OPTIONS['asymmetric_focal']:
            config.loss[key] = getattr(Config().loss, key)
            not_its_own.append(f'loss.{key}=')
    options = [word for word in words[1:] if not word.startswith(tuple(not_its_own))]
    command = cli.typed('python -m experiments.run', [words[0], *options])
    print(f'Stage one, the base classes: {command}', flush=True)
    out = train.run(config, again, command)
    if not out:
        return Path(), {}
    path = Run(run_dir(config), out).checkpoint
    told = {'checkpoint': '/'.join(path.parts[-3:]), 'command': out['command'], 'mAP': out['mAP']}
    return path, told | {'score': out['score'], 'seconds': out['seconds']['total']}

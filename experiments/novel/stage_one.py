"""Stage one of few-shot and zero-shot: what is trained on the base classes, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.config.load import load, run_dir
from mlsgm_pyg.app.config.options import STAGE_TWO, ZERO_SHOT, Config


def with_task(words: list[str], kind: str = 'few-shot') -> list[str]:
    """The row and the options, with task=few_shot where neither says so."""
    names, options = [word for word in words if '=' not in word], [word for word in words if '=' in word]
    if len(names) != 1:
        raise ConfigError(f'a {kind} command is for one row (got {" ".join(names) or "none"})')
    if any(option.startswith('seeds=') for option in options):
        raise ConfigError('stage one is one run: give it one seed=N (got seeds)')
    named = any(option.startswith(('task=', 'task.name=')) for option in options)
    if not named and load(names[0]).task.name != 'few_shot':
        options = ['task=few_shot', *options]
    return [*names, *options]


def stage_one_of(config: DictConfig, words: list[str], again: bool) -> tuple[Path, dict[str, Any]]:
    """The checkpoint of stage one, and what is told of it (nothing in processes beside the first)."""
    from mlsgm_pyg.app.training import train
    from mlsgm_pyg.app.training.module import LOSS_OPTIONS

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
    path = run_dir(config) / ('best.ckpt' if config.select == 'best' else 'last.ckpt')
    if not out:
        return path, {}
    told = {'checkpoint': '/'.join(path.parts[-3:]), 'command': out['command'], 'mAP': out['mAP']}
    return path, told | {'score': out['score'], 'seconds': out['seconds']['total']}

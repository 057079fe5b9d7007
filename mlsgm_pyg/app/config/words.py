"""A config against the row that it started from: what is not the row's, and the words that give it again."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.config.options import FEW_SHOT, OPTIONS, PARTIAL, is_list

# Where things lie, and how they are computed: the same row whatever these are.
ELSEWHERE = (
    'name', 'row', 'seed', 'seeds', 'runs_dir', 'data.root', 'data.labels', 'data.images', 'data.download',
    'data.num_workers', 'data.eval_batch_size', 'features.dir', 'graphs.csac', 'task.base', 'model.checkpoint',
    'model.compile', 'model.backend', 'trainer.accelerator', 'trainer.enable_progress_bar',
    'trainer.enable_model_summary',
)  # fmt: skip
SOURCES = ('kumo', 'onehot')  # Of word vectors, by name; any other is a file, whose name says little.


def differences(config: dict[str, Any], options: tuple[str, ...] | None = None) -> dict[str, Any]:
    """`section.option` -> value where a config, perhaps of a time with other options, is not what its row gives with
    its own task, or with these options."""
    if not configs.is_row(config['row']):
        return {}
    usual = _leaves_of(config['row'], task_words(config) if options is None else options)
    found = {key: value for key, value in _known(config).items() if value != usual.get(key)}
    for key in ELSEWHERE:
        found.pop(key, None)
    if found.get('semantics.source') not in SOURCES:
        found.pop('semantics.source', None)
    return found


def words_of(config: dict[str, Any]) -> list[str]:
    """The row and the options after `python -m experiments.run` that give a config again, but for its seed; the row
    must still be there."""
    row, words = config['row'], list(task_words(config))
    usual = _leaves_of(row, tuple(words))
    left_out = {'name', 'row', 'seed', 'seeds', 'task.name', *_of_other_tasks(config)}
    for key, value in _known(config).items():
        if key not in left_out and value != usual.get(key):
            words.append(f'{key}={written(key, value)}')
    named = config.get('name') or row
    if named != _leaves_of(row, tuple(words))['name']:
        words.append(f'name={written("name", named)}')
    return [row, *words]


def task_words(config: dict[str, Any]) -> tuple[str, ...]:
    """The options that make a row's task the config's."""
    task = config.get('task', {})
    name = task.get('name', 'full')
    if name == 'few_shot' == _leaves_of(config['row'], ())['task.name']:
        return ()
    if name == 'partial':
        return 'task=partial', f'task.known={task["known"]:g}'
    if name == 'few_shot':
        key = 'task.novel' if task['novel'] else 'task.num_novel'
        return 'task=few_shot', f'{key}={written(key, task[key.removeprefix("task.")])}'
    return ()


def evaluated_on(config: DictConfig) -> str:
    """The images that are evaluated: a split, or what is held out of one."""
    data = config.data
    return f'{data.dev:g} of {data.train_split}' if data.dev > 0 else data.test_split


def written(key: str, value: Any) -> str:
    """A value as it stands after `key=`."""
    text = value if isinstance(value, str) else json.dumps(value)
    if is_list(key) and value:
        text = ','.join(map(str, value))
        read = OmegaConf.from_dotlist([f'{key}=[{text}]'])
    else:
        read = OmegaConf.from_dotlist([f'{key}={text}'])
    same = OmegaConf.to_container(read) == OmegaConf.to_container(_nested(key, value))
    return text if same else json.dumps(value)  # A word that YAML takes for something else is quoted.


def _nested(key: str, value: Any) -> Any:
    out = OmegaConf.create()
    OmegaConf.update(out, key, value, force_add=True)
    return out


@lru_cache
def _leaves_of(row: str, options: tuple[str, ...]) -> dict[str, Any]:
    return configs.leaves(configs.plain(configs.load(row, options)))


def _known(config: dict[str, Any]) -> dict[str, Any]:
    """The options of a config, without those that there are no more."""
    known = configs.leaves(config).items()
    return {key: value for key, value in known if key in OPTIONS or key.startswith('trainer.')}


def _of_other_tasks(config: dict[str, Any]) -> set[str]:
    """The options of tasks that are not the config's: they cannot be given with it."""
    name = config.get('task', {}).get('name', 'full')
    return {
        f'task.{key}' for task, keys in (('partial', PARTIAL), ('few_shot', FEW_SHOT)) if name != task for key in keys
    }

"""Finished runs in a moment: what a run leaves, from made-up scores."""

import json

import numpy as np

from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.results import bootstrap, scores
from mlsgm_pyg.app.training import train

NAMES = ['cat', 'dog', 'owl', 'emu']


def finish(folder, row, *options, seed=0, lift=0.0, images=60, parameters=1000, names=NAMES, **more):
    """Writes the directory of a run whose scores are the better the larger its lift; returns it."""
    config = configs.load(row, [f'runs_dir={folder}', f'seed={seed}', *options])
    where = train.run_dir(config)
    where.mkdir(parents=True)
    y = np.random.default_rng(7).integers(0, 2, (images, len(names))).astype(np.int8)
    noise = np.random.default_rng([seed, *row.encode()]).normal(size=y.shape)
    found = {'index': np.arange(images), 'instances': np.ones(images), 'y': y, 'logits': noise + lift * (2 * y - 1)}
    scores.save(where / 'scores.npz', found)
    metrics = scores.evaluate(found, 'logits', names, config.metrics.ap, config.metrics.top3)
    (where / 'result.json').write_text(json.dumps(result_of(config, metrics, images, parameters) | more))
    return where


def result_of(config, metrics, images=60, parameters=1000, score='logits'):
    """What result.json holds, with these metrics; those that are not given are 50."""
    names = list(metrics.get('AP', {'a': None}))
    metrics = dict.fromkeys(bootstrap.FIGURES, 50.0) | {'AP': dict.fromkeys(names, 50.0)} | metrics
    return {
        'name': config.name,
        'seed': config.seed,
        'task': configs.plain(config.task),
        'mAP': metrics['mAP'],
        'metrics': metrics,
        'mAP_by_score': {score: metrics['mAP']},
        'score': score,
        'ap': config.metrics.ap,
        'paper': [],
        'top3': config.metrics.top3,
        'difficult': None,
        'test_view': config.data.test_view,
        'evaluated_on': config.data.test_split,
        'select': config.select,
        'best_epoch_mAP': metrics['mAP'],
        'history': [],
        'images': {'train': 100, 'test': images},
        'labels': {'known': 100 * len(names), 'all': 100 * len(names)},
        'skipped': [],
        'instances_per_image': 0.0,
        'parameters': {'trained': parameters, 'all': 2 * parameters},
        'seconds': {'total': 10.0 + config.seed, 'epoch': 5.0, 'step': 0.1, 'image': 0.01},
        'hardware': {'device': 'a processor', 'kind': 'cpu', 'processes': 1, 'cores': 2, 'threads': 1},
        'versions': {'python': '3'},
        'commit': 'abc',
        'command': f'python -m experiments.run {config.row} seed={config.seed}',
        'config': configs.plain(config),
    }

"""Finished runs in a moment: what a run leaves, from made-up scores."""

import json

import numpy as np

from experiments import config as configs
from experiments import scores
from experiments.training import train

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
    out = {
        'name': config.name,
        'seed': seed,
        'mAP': metrics['mAP'],
        'metrics': metrics,
        'mAP_by_score': {'logits': metrics['mAP']},
        'score': 'logits',
        'ap': config.metrics.ap,
        'top3': config.metrics.top3,
        'difficult': None,
        'evaluated_on': config.data.test_split,
        'select': config.select,
        'images': {'train': 100, 'test': images},
        'skipped': [],
        'instances_per_image': 0.0,
        'parameters': {'trained': parameters, 'all': 2 * parameters},
        'seconds': {'total': 10.0 + seed, 'epoch': 5.0, 'step': 0.1, 'image': 0.01},
        'hardware': {'device': 'a processor', 'kind': 'cpu', 'processes': 1, 'cores': 2, 'threads': 1},
        'versions': {'python': '3'},
        'commit': 'abc',
        'command': f'python -m experiments.run {row} seed={seed}',
        'config': configs.plain(config),
    } | more
    (where / 'result.json').write_text(json.dumps(out))
    return where

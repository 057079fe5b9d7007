"""Options of the trainer and of the optimiser, in trainings of a second: each is done, or refused in a line."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.hostile.case import Case, Result
from tests.hostile.stock import Stock

DONE, REFUSED, EITHER = True, False, None
BIG = '1' + '0' * 30

# Option of the trainer -> values and what is wanted of each.
TRAINER: dict[str, dict[str, bool | None]] = {
    'max_epochs': {'abc': REFUSED, '1.5': REFUSED, '-5': REFUSED, 'nan': REFUSED, '[1]': REFUSED},
    'min_epochs': {'abc': REFUSED, '-1': EITHER, '{a: 1}': REFUSED},
    'max_steps': {'0': REFUSED, 'abc': REFUSED, '-2': REFUSED, '1.5': EITHER, '1': EITHER, BIG: EITHER},
    'min_steps': {'abc': REFUSED, '-3': EITHER},
    'max_time': {'2': REFUSED, 'abc': REFUSED, '00:00:00:00': EITHER, '[1]': REFUSED, '{minutes: 1}': REFUSED},
    'limit_train_batches': {'0': REFUSED, '-1': REFUSED, '2.5': REFUSED, 'abc': REFUSED, BIG: EITHER, 'nan': REFUSED},
    'limit_val_batches': {'0': REFUSED, '-1': REFUSED, 'abc': REFUSED, '1e-9': EITHER},
    'limit_test_batches': {'abc': REFUSED, '-1': REFUSED},
    'limit_predict_batches': {'{a: 1}': REFUSED},
    'overfit_batches': {'-1': REFUSED, 'abc': REFUSED, '2.5': REFUSED, '1': EITHER},
    'val_check_interval': {'0': EITHER, '-1': REFUSED, 'abc': REFUSED, '1000': EITHER, '2.5': REFUSED},
    'check_val_every_n_epoch': {'0': REFUSED, '-1': REFUSED, 'abc': REFUSED, '5': REFUSED, '1.5': REFUSED},
    'num_sanity_val_steps': {'{a: 1}': REFUSED, 'abc': REFUSED, '-2': EITHER, '-1': EITHER, '1': EITHER},
    'log_every_n_steps': {'0': EITHER, '-1': EITHER, 'abc': REFUSED, '[1]': REFUSED},
    'accumulate_grad_batches': {'abc': REFUSED, BIG: EITHER, '0': REFUSED, '1.5': REFUSED, '[2]': REFUSED},
    'gradient_clip_val': {'abc': REFUSED, '-1': EITHER, 'nan': EITHER, '[1]': REFUSED, '0': DONE, '.inf': EITHER},
    'gradient_clip_algorithm': {'abc': REFUSED, '3': REFUSED},
    'deterministic': {'abc': EITHER, 'warn': EITHER, '[1]': EITHER},
    'benchmark': {'abc': REFUSED, '[1]': REFUSED, '3': EITHER},
    'inference_mode': {'abc': EITHER, '[1]': EITHER},
    'profiler': {'{a: 1}': REFUSED, 'abc': REFUSED, '3': EITHER},
    'detect_anomaly': {'abc': EITHER, 'true': EITHER},
    'barebones': {'true': REFUSED, 'abc': EITHER},
    'plugins': {'abc': REFUSED, '3': REFUSED, '[abc]': REFUSED},
    'sync_batchnorm': {'abc': EITHER, 'true': EITHER},
    'precision': {'abc': REFUSED, '8': REFUSED, '-1': REFUSED, '[16]': REFUSED},
    'accelerator': {'abc': REFUSED, 'gpu': EITHER, '3': REFUSED, '[cpu]': REFUSED, '': EITHER},
    'strategy': {'abc': REFUSED, '3': REFUSED, '[ddp]': REFUSED, 'single_device': EITHER},
    'devices': {'0': REFUSED, 'abc': REFUSED, '[]': REFUSED, '[a]': REFUSED, '-2': REFUSED, '1.5': REFUSED},
    'num_nodes': {'abc': REFUSED, '0': EITHER, '-1': EITHER},
    'enable_progress_bar': {'abc': EITHER, '[1]': EITHER},
    'enable_model_summary': {'abc': EITHER, 'true': EITHER},
    'model_registry': {'abc': EITHER, '3': EITHER},
    'callbacks': {'[]': REFUSED},
    'logger': {'false': REFUSED},
    'default_root_dir': {'/': REFUSED},
    'enable_checkpointing': {'false': REFUSED},
    'there_is_none': {'1': REFUSED},
}

# Words -> what is wanted, and what the line says.
OTHERS: dict[str, tuple[bool | None, str]] = {
    'optimizer.lr=1e30': (REFUSED, 'loss'),
    'optimizer.lr=1e308': (REFUSED, ''),
    'optimizer.lr=0': (DONE, ''),
    'optimizer.momentum=1e30': (EITHER, 'loss'),
    'optimizer.momentum=0': (DONE, ''),
    'optimizer.weight_decay=1e30': (REFUSED, ''),
    'optimizer.csac_lr_factor=1e300': (REFUSED, ''),
    'optimizer.schedule=onecycle optimizer.warmup=1e-300': (EITHER, ''),
    'optimizer.schedule=onecycle optimizer.warmup=0.9999999': (EITHER, ''),
    'optimizer.step_epochs=9223372036854775807': (DONE, ''),
    'optimizer.milestones=9223372036854775807,1,1': (DONE, ''),
    'optimizer.ema_epochs=1e300': (EITHER, ''),
    'optimizer.ema_epochs=1e-300': (EITHER, ''),
    'loss.beta=1e300': (EITHER, ''),
    'loss.csac_loss_weight=-1e30': (EITHER, ''),
    'model.gamma=1e300': (EITHER, ''),
    'model.gamma=-1': (EITHER, ''),
    'model.prior=0': (REFUSED, 'prior'),
    'model.prior=1': (REFUSED, 'prior'),
    'model.prior=2': (REFUSED, 'prior'),
    'model.feature_dropout=2': (REFUSED, ''),
    'model.feature_dropout=-1': (REFUSED, ''),
    'model.graph_dropout=1.5': (REFUSED, ''),
    'model.word_dropout=-0.1': (REFUSED, ''),
    'model.last_stride=0': (REFUSED, 'last_stride'),
    'model.last_stride=-1': (REFUSED, 'last_stride'),
    'model.last_stride=1000': (REFUSED, 'last_stride'),
    'model.backbone=resnet1': (REFUSED, 'resnet1'),
    'model.backbone=': (REFUSED, 'model.backbone'),
    'model.backbone=timm/': (REFUSED, 'timm'),
    'model.backbone=timm/../x': (REFUSED, 'timm'),
    'model.backbone=[/x]': (REFUSED, 'model.backbone'),
    'model.weights=/etc/passwd': (REFUSED, 'passwd'),
    'model.weights=/dev/zero': (REFUSED, 'zero'),
    'model.weights=there.pt': (REFUSED, 'there'),
    'model.backend=x': (REFUSED, 'backend'),
    'model.backend=0x10': (REFUSED, 'backend'),
    f'model.hidden_channels={10**12}': (REFUSED, 'memory|channels'),
    f'model.hidden_channels={2**62}': (REFUSED, 'memory|channels|large'),
    f'model.encoder_channels={10**12}': (REFUSED, 'memory|channels'),
    f'model.block_channels={10**12}': (REFUSED, 'memory|channels'),
    f'model.decoder_channels={10**12}': (REFUSED, 'memory|channels'),
    f'model.feature_channels={10**12}': (REFUSED, 'memory|channels'),
    f'model.max_instances={10**12}': (DONE, ''),
    f'model.k={10**12}': (DONE, ''),
    f'model.label_graph=knn model.label_k={10**12}': (DONE, ''),
    f'data.image_size={10**6}': (REFUSED, 'image_size'),
    f'data.test_sizes={10**6}': (REFUSED, 'test_sizes'),
    f'data.batch_size={10**18}': (DONE, ''),
    f'data.eval_batch_size={10**18}': (DONE, ''),
    f'data.num_workers={10**6}': (REFUSED, 'num_workers'),
    f'data.limit={10**18}': (DONE, ''),
    f'data.name=digits data.num_images={10**12}': (REFUSED, 'num_images'),
    f'data.name=digits data.test_images={10**12}': (REFUSED, 'test_images'),
    f'data.name=digits data.scene_size={10**9}': (REFUSED, 'scene_size'),
    'data.name=digits data.scene_size=3': (REFUSED, 'size'),
    'data.mixup=1e300': (EITHER, ''),
    'data.mixup=1e-300': (EITHER, ''),
    'data.limit=1': (EITHER, ''),
    'data.test_limit=1': (EITHER, ''),
    'data.dev=1e-300': (EITHER, ''),
    'data.tune=0.999999': (EITHER, ''),
    'data.root=/dev/null': (REFUSED, 'null'),
    'data.root=/proc/self/mem': (REFUSED, 'mem'),
    'data.labels=/dev/null': (REFUSED, 'null'),
    'data.labels=..': (REFUSED, r'\.\.'),
    'data.images=/proc': (REFUSED, 'proc'),
    'data.train_split=': (REFUSED, 'train_split'),
    'data.train_split=[/x]': (REFUSED, 'train_split'),
    'data.test_split="a\\e[2J"': (REFUSED, 'split'),
    'runs_dir=/dev/null': (REFUSED, '/dev/null'),
    'runs_dir=/proc/x': (REFUSED, '/proc'),
    f'name={"a" * 300}': (REFUSED, 'aaa'),
    f'name={"a/" * 2100}a': (REFUSED, 'a/a'),
    f'runs_dir={"a" * 5000}': (REFUSED, 'aaa'),
    'init=/dev/zero': (REFUSED, 'zero'),
    'init=there': (REFUSED, 'there'),
    'init="a\\e[2J"': (REFUSED, 'a'),
    f'seed={2**63 - 1}': (DONE, ''),
    'name="[/tabby]"': (DONE, ''),
    'name="[bold]x"': (DONE, ''),
    'name=写真': (DONE, ''),
}

# Batches of one picture, on maps of 1 x 1.
SMALL = {
    'one left over': 'data.limit=17 data.batch_size=16',
    'batches of one': 'data.batch_size=1',
    'one picture': 'data.limit=1',
    'of 1 pixel': 'data.image_size=1',
    'of 1 pixel, one left over': 'data.image_size=1 data.limit=9',
}


def trained(stock: Stock, rng: random.Random, words: str) -> list[str]:
    given = [word for word in words.split(' ') if word]
    named = {word.partition('=')[0] for word in given}
    usual = [word for word in stock.train if word.partition('=')[0] not in named]
    return ['experiments.run', *usual, *given]


def whole(result: Result) -> str:
    """A run that is done has its result; one that is refused has none."""
    found = list(Path().rglob('result.json'))
    if bool(found) != (result.status == 0):
        return f'wrong: {len(found)} results at exit status {result.status}'
    return ''


def cases() -> Iterator[Case]:
    for key, values in TRAINER.items():
        for value, done in values.items():
            act = partial(trained, words=f'trainer.{key}={value}')
            yield Case(f'{key}={value}', act, f'{key}|trainer', done, whole, 60, cost=1.5)
    for words, (done, told) in OTHERS.items():
        yield Case(words[:80], partial(trained, words=words), told, done, whole, 60, cost=1.5)
    for what, words in SMALL.items():
        for row in ('digits', 'digits_baseline'):
            act = partial(small, words=words, row=row)
            yield Case(f'{what}, {row}', act, 'image_size|batch', None, whole, 60, cost=1.5)


def small(stock: Stock, rng: random.Random, words: str, row: str) -> list[str]:
    command, _, *rest = trained(stock, rng, f'model.last_stride=2 {words}')
    ours = ('model.maps', 'model.score', 'model.csac')
    return [command, row, *(word for word in rest if row == 'digits' or not word.startswith(ours))]

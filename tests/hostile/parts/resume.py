"""What training goes on from in last.ckpt: progress, callbacks and optimizers, damaged, missing or of others."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

from tests.hostile.case import Case, Command, Result
from tests.hostile.parts.checkpoints import (
    KINDS,
    ODD,
    RUNS,
    altered,
    changed,
    finish,
    flipped,
    mapped,
    places,
    put,
    refused,
    resume,
    weights,
    with_number,
    without,
)
from tests.hostile.stock import Stock

NUMBERS = dict.fromkeys(('ready', 'completed', 'started', 'processed'), 1)
PROGRESS, STEPS = {'total': NUMBERS, 'current': NUMBERS}, {'total': {'completed': 1}, 'current': {'ready': 1}}
KEPT = {
    'loops': {
        'fit_loop': {
            'epoch_loop.state_dict': {'_batches_that_stepped': 3},
            'epoch_loop.batch_progress': PROGRESS | {'is_last_batch': True},
            'epoch_loop.scheduler_progress': STEPS,
            'epoch_loop.automatic_optimization.optim_progress': {'optimizer': {'step': STEPS, 'zero_grad': STEPS}},
            'epoch_loop.val_loop.batch_progress': PROGRESS,
            'epoch_progress': PROGRESS,
        }
    },
    'callbacks': {
        'Stopwatch': dict.fromkeys(('train_seconds', 'total_seconds', 'epoch_seconds', 'steps', 'images'), 1),
        'RunFiles': {'history': [{'epoch': 0, 'mAP': 1.0}], 'best': 1.0, 'skipped': []},
    },
    'lr_schedulers': [dict.fromkeys(('total_steps', '_schedule_phases', 'base_lrs', 'last_epoch', '_last_lr'), 1)],
    'DataModule': {
        'finished_epochs': 1,
        'trained_on': {'class_names': ['red'], 'train': {'images': 21, 'files': 'x', 'y': 'x'}, 'test': {'images': 13}},
    },
    'epoch': 1,
    'global_step': 3,
    'pytorch-lightning_version': '2',
}


def going_on_cases() -> Iterator[Case]:
    """Each place in what Lightning keeps, without it and with something else there."""
    kinds, doors = cycle(ODD.items()), cycle([resume, finish])
    for number, (place, is_leaf) in enumerate(places(KEPT)):
        name = '.'.join(map(str, place))
        if number % 2 or not is_leaf:
            gone = changed(lambda all, place=place: without(all, place), True)
            yield _goes_on(f'{name}: gone', gone, next(doors))
        if number % 2 == 0 or not is_leaf:
            kind, value = next(kinds)
            other = changed(lambda all, place=place, value=value: put(all, place, value), True)
            yield _goes_on(f'{name}: {kind}', other, next(doors))


def _goes_on(
    name: str,
    make: Callable[[Stock, random.Random], Any],
    door: Callable[[Stock], Command],
    told: str = r"last\.ckpt|since 'run' was trained on it|the loss is not finite",
) -> Case:
    def act(stock: Stock, rng: random.Random) -> Command:
        make(stock, rng)
        return door(stock)

    return Case(f'{name}, {door.__name__}', act, told, None, finished, cost=1.3)


def finished(result: Result) -> str:
    """Where it goes on, it ends as a run does, and its checkpoint can be read."""
    if result.status:
        return ''
    if not Path('run/result.json').is_file():
        return 'lost: no result at exit status 0'
    numbers = json.loads(Path('run/result.json').read_text())['metrics']
    return '' if math.isfinite(numbers['mAP']) else f'wrong: {numbers["mAP"]} mAP'


def optimizer_cases() -> Iterator[Case]:
    import torch

    def one(change: Callable[[dict], Any]):
        return changed(lambda whole: whole | {'optimizer_states': [change(whole['optimizer_states'][0])]}, True)

    def of_state(change: Callable[[dict], Any]):
        def new(state: dict) -> dict:
            first = next(iter(state['state']))
            return state | {'state': state['state'] | {first: change(state['state'][first])}}

        return one(new)

    broken = {
        'gone': changed(lambda whole: without(whole, ('optimizer_states',)), True),
        'none': changed(lambda whole: whole | {'optimizer_states': []}, True),
        'two': changed(lambda whole: whole | {'optimizer_states': whole['optimizer_states'] * 2}, True),
        'names': changed(lambda whole: whole | {'optimizer_states': {'x': 1}}, True),
        'null': changed(lambda whole: whole | {'optimizer_states': None}, True),
        'a number': one(lambda state: 3),
        'empty': one(lambda state: {}),
        'without groups': one(lambda state: without(state, ('param_groups',))),
        'without state': one(lambda state: without(state, ('state',))),
        'fewer groups': one(lambda state: state | {'param_groups': state['param_groups'][:-1]}),
        'a group of nothing': one(lambda state: put(state, ('param_groups', 0, 'params'), [])),
        'groups of numbers': one(lambda state: state | {'param_groups': [1] * len(state['param_groups'])}),
        'state of a list': one(lambda state: state | {'state': []}),
        'state of texts': one(lambda state: state | {'state': dict.fromkeys(state['state'], 'x')}),
        'a rate of text': one(lambda state: put(state, ('param_groups', 0, 'lr'), 'x')),
        'a rate of NaN': one(lambda state: put(state, ('param_groups', 0, 'lr'), float('nan'))),
        'without a rate': one(lambda state: without(state, ('param_groups', 0, 'lr'))),
        'betas of one': one(lambda state: put(state, ('param_groups', 0, 'betas'), [0.9])),
        'NaN': of_state(lambda found: found | {'exp_avg': with_number(found['exp_avg'], float('nan'))}),
        'inf': of_state(lambda found: found | {'exp_avg_sq': with_number(found['exp_avg_sq'], float('inf'))}),
        'another shape': of_state(lambda found: found | {'exp_avg': found['exp_avg'].reshape(-1)[:3].clone()}),
        'whole numbers': of_state(lambda found: found | {'exp_avg': found['exp_avg'].long()}),
        'without an average': of_state(lambda found: without(found, ('exp_avg',))),
        'without a step': of_state(lambda found: without(found, ('step',))),
        'a step of text': of_state(lambda found: found | {'step': 'x'}),
        'an average of a number': of_state(lambda found: found | {'exp_avg': 3.0}),
        'sparse': of_state(lambda found: found | {'exp_avg': found['exp_avg'].to_sparse()}),
        'meta': of_state(lambda found: found | {'exp_avg': torch.empty_like(found['exp_avg'], device='meta')}),
    }  # fmt: skip
    for kind, make in broken.items():
        yield _goes_on(f'optimizer: {kind}', make, resume)
        if kind in ('gone', 'NaN', 'null', 'a number', 'without state', 'another shape'):
            yield _goes_on(f'optimizer: {kind}', make, finish)
    for i in range(8):
        yield _goes_on(f'bit {i} of the whole', altered(flipped('anywhere'), True), (resume, finish)[i % 2])
    for name in KINDS[:7:3]:
        for value in ('nan', 'inf'):
            how = weights(name, lambda tensor, value=value: with_number(tensor, float(value)), True)
            yield refused(f'{value} in {name}', how, RUNS[0], r'last\.ckpt.*NaN or infinite')
    bias = 'model.csac.classifier.bias'
    yield refused('a short bias', weights(bias, lambda tensor: tensor[:1].clone(), True), RUNS[0])
    yield refused('a bias of whole numbers', weights(bias, lambda tensor: tensor.int(), True), RUNS[0])
    more = mapped(('state_dict',), lambda state: {**state, 'model.x': state[bias]}, True)
    yield refused('a weight more', more, RUNS[0])


def cases() -> Iterator[Case]:
    yield from going_on_cases()
    yield from optimizer_cases()

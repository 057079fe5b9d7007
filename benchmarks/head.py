"""How much faster is the graph (encoder, blocks, decoder) split, shared and streamed than as its equations read?

Plain: every edge's inputs concatenated, one matrix product an edge (`benchmarks/plain.py`). Fast: the model's own
forward. Both have the same parameters, the same `prune_last`, and five instances an image.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import (
    MIB,
    Table,
    agree,
    held_bytes,
    main,
    make_instances,
    make_model,
    match,
    peak_memory,
    percent,
    seconds,
    training_step,
)
from benchmarks.complexity import graph_macs
from benchmarks.plain import plain_match
from mlsgm_pyg.models import MLSGM

COLUMNS = (
    'C', 'label graph', 'prune_last', 'images', 'form', 'plain ms', 'fast ms', 'times faster', 'spread %', 'plain MiB',
    'fast MiB', 'kept MiB', 'share', 'GMAC an image',
)  # fmt: skip
CASES = [  # C, label graph, prune_last, images in a batch: fewer where the plain form would not fit.
    (20, 'complete', True, 8), (20, 'complete', False, 8), (80, 'complete', True, 8), (80, 'complete', False, 8),
    (80, 'knn', True, 8), (200, 'complete', True, 2), (200, 'knn', True, 8), (500, 'complete', True, 1),
    (500, 'knn', True, 4),
]  # fmt: skip
QUICK = [(4, 'complete', True, 2), (5, 'knn', True, 2)]
SMALL = {'feature_channels': 16, 'encoder_channels': (8,), 'hidden_channels': 8, 'block_channels': (8, 8)}
TOLERANCE = {'forward': 1e-4, 'training': 1e-2}  # Of a norm, in float32; gradients jump where a ReLU's input is 0.


class Contestants:
    """The plain form and the fast one, and the latter with labels fixed, checkpointed or compiled, on one batch.

    Args:
        model (MLSGM): The model.
        images (int): Images in the batch.
        compiled (bool): Whether ``compile_dense()`` takes part. (default: :obj:`False`)
    """

    def __init__(self, model: MLSGM, images: int, compiled: bool = False):
        self.plain, self.fixed, self.checkpointed = model, copy.deepcopy(model), copy.deepcopy(model)
        self.checkpointed.ilms.checkpoint = True
        self.compiled = copy.deepcopy(model).compile_dense() if compiled else None
        self.graph = model.ilms.assign.batch(make_instances(model, images))
        self.y = (torch.rand(images, model.num_labels, device=model.word_vectors.device) < 0.1).float()

    def forwards(self) -> dict[str, Callable[[], dict[str, Tensor]]]:
        models = {'plain': self.plain, 'fast': self.plain, 'fast, labels fixed': self.fixed}
        return {name: lambda name=name, model=model: {'scores': self.scores(name, model)}
                for name, model in self._with_compiled(models).items()}  # fmt: skip

    def steps(self) -> dict[str, Callable[[], dict[str, Tensor]]]:
        models = {'plain': self.plain, 'fast': self.plain, 'fast, checkpointed': self.checkpointed}
        return {name: training_step(model, lambda name=name, model=model: self.scores(name, model), self.y)
                for name, model in self._with_compiled(models).items()}  # fmt: skip

    def scores(self, name: str, model: MLSGM) -> Tensor:
        return plain_match(model, self.graph) if name == 'plain' else match(model, self.graph)

    def _with_compiled(self, models: dict[str, MLSGM]) -> dict[str, MLSGM]:
        return models | ({'fast, compiled': self.compiled} if self.compiled else {})


def prove(model: MLSGM) -> None:
    """All forms give one image the same scores and, where memory allows, the same gradients, in float64 to 1e-9."""
    case = Contestants(copy.deepcopy(model).double(), 1)
    case.y = case.y.double()
    with torch.no_grad(), case.fixed.fixed_labels():
        agree({name: call() for name, call in case.forwards().items()}, 1e-9)
    if model.ilms.assign.label_edges.size(1) < 50_000:
        agree({name: step() for name, step in case.steps().items()}, 1e-9)


def rows(case: Contestants, about: list, args: argparse.Namespace) -> list[list]:
    """Forward without gradients, and forward with backward: compared once in full, then timed."""
    gmac, out = graph_macs(case.plain) / 1e9, []
    rounds = 3 if case.plain.num_labels >= 200 else 5
    for mode, calls in (('forward', case.forwards()), ('training', case.steps())):
        for model in {case.plain, case.fixed, case.checkpointed, case.compiled} - {None}:
            model.train(mode == 'training')
        with torch.set_grad_enabled(mode == 'training'), case.fixed.fixed_labels():
            agree({name: call() for name, call in calls.items()}, TOLERANCE[mode])
            times = seconds(calls, args, rounds)
            peaks = {name: peak_memory(call, args.device) / MIB for name, call in calls.items()}
            kept = held_bytes(case.fixed.ilms.labels()) / MIB if mode == 'forward' else 0.0
        for name in list(calls)[1:]:
            cells: list[Any] = [1e3 * times['plain'].median, 1e3 * times[name].median]
            cells += [times['plain'].median / times[name].median, percent(times['plain'], times[name])]
            keeps = kept if name == 'fast, labels fixed' else 0.0
            cells += [peaks['plain'], peaks[name], keeps, peaks['plain'] and (peaks[name] + keeps) / peaks['plain']]
            out.append([*about, mode + name.removeprefix('fast'), *cells, gmac])
    return out


def measure(args: argparse.Namespace) -> list[Table]:
    table = Table('The graph of a batch, plain against fast', COLUMNS)
    for labels, label_graph, prune, images in args.minutes.cases(QUICK if args.quick else CASES):
        options = {'label_graph': label_graph, 'prune_last': prune, **(SMALL if args.quick else {})}
        model = make_model(labels, args.device, label_k=11, **options)
        prove(model)
        graph = 'complete' if label_graph == 'complete' else 'label_k: 11'
        case = Contestants(model, images, args.compile)
        table.rows += rows(case, [labels, graph, str(prune).lower(), images], args)
    table.notes.append(
        'Milliseconds a batch; MiB: the most that a call held beyond what was there. Labels fixed: all that depends on '
        'labels alone was computed before and is kept, as in evaluation. Checkpointed: label edges are computed again '
        "in backward. Share: what the fast form holds and keeps, of the plain form's. GMAC: multiply-adds of the fast "
        'form, labels fixed.'
    )
    return [table]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--compile', action='store_true', help='beside the others, MLSGM.compile_dense()')


if __name__ == '__main__':
    sys.exit(main('head', __doc__, measure, options=options))

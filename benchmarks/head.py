"""How much faster is the graph (encoder, blocks, decoder) split, shared and streamed than as its equations read?

Plain: every edge's inputs concatenated, one matrix product an edge (`benchmarks/plain.py`). Fast: the model's own
forward. Both have the same parameters, the same `prune_last`, and five instances an image.
"""

from __future__ import annotations

import argparse
import copy
import sys
from contextlib import ExitStack

import torch
from torch import Tensor

from benchmarks.common import Table, main, make_instances, make_model, peak_memory, training_step
from benchmarks.complexity import floor
from benchmarks.plain import plain_match
from experiments.cost import seconds
from mlsgm_pyg.models import MLSGM

COLUMNS = (
    'C', 'label graph', 'prune_last', 'images', 'form', 'plain ms', 'fast ms', 'times faster',
    'plain MiB', 'fast MiB', 'share', 'GMAC an image (floor)',
)  # fmt: skip
CASES = [  # C, label graph, images in a batch: fewer where the plain form would not fit.
    (20, 'complete', 8), (80, 'complete', 8), (80, 'knn', 8),
    (200, 'complete', 2), (200, 'knn', 8), (500, 'complete', 1), (500, 'knn', 4),
]  # fmt: skip


class Contestants:
    """The two forms, and the fast one with labels fixed or with checkpoints, on one batch.

    Args:
        model (MLSGM): The model.
        images (int): Images in the batch.
    """

    def __init__(self, model: MLSGM, images: int):
        self.model, device = model, model.word_vectors.device
        self.graph = model.assign.batch(make_instances(model, images))
        self.y = (torch.rand(images, model.num_labels, device=device) < 0.1).float()

    def plain(self) -> Tensor:
        return plain_match(self.model, self.graph)

    def fast(self) -> Tensor:
        return self.model.match(self.graph).logits

    def checkpointed(self) -> Tensor:
        self.model.checkpoint = True
        out = self.fast()
        self.model.checkpoint = False
        return out


def prove(model: MLSGM) -> None:
    """All forms give one image the same scores and, where memory allows, the same gradients, in float64 to 1e-9.

    In float32 a gradient also depends on the sign of numbers that are 0 but for rounding.
    """
    case = Contestants(copy.deepcopy(model).double(), 1)
    parameters, results = dict(case.model.named_parameters()), []
    with_gradients = model.assign.label_edges.size(1) < 50_000
    with torch.set_grad_enabled(with_gradients):
        for form in (case.plain, case.fast, case.checkpointed):
            scores = form()
            grads = [None] * len(parameters)
            if with_gradients:
                grads = torch.autograd.grad(scores.sin().sum(), parameters.values(), allow_unused=True)
            results.append({'scores': scores.detach(), **dict(zip(parameters, grads))})
    for other in results[1:]:
        for name, value in results[0].items():
            if value is not None:
                scale = value.abs().max().item()
                torch.testing.assert_close(other[name], value, rtol=1e-9, atol=1e-9 * scale, msg=name)


def rows(case: Contestants, about: list, quick: bool, compiled: Contestants | None = None) -> list[list]:
    """Forward without gradients, and forward with backward."""
    model = case.model
    device, macs, out = model.word_vectors.device, floor(model) / 1e9, []
    large = model.num_labels >= 200 and model.assign.layout == 'complete'
    rounds = 1 if large else 3

    def compare(form: str, plain, fast, **more) -> None:
        forms = {'plain': plain, 'fast': fast, **more}
        times, peaks = seconds(forms, quick, rounds), {name: peak_memory(fn, device) for name, fn in forms.items()}
        for name in list(forms)[1:]:
            ratio, share = times['plain'] / times[name], peaks['plain'] and peaks[name] / peaks['plain']
            label = form if name == 'fast' else f'{form}, {name}'
            cells = [1e3 * times['plain'], 1e3 * times[name], ratio, peaks['plain'] / 2**20, peaks[name] / 2**20, share]
            out.append([*about, label, *cells, macs])

    others = {'compiled': compiled} if compiled else {}
    model.eval()
    with torch.no_grad():
        compare('forward', case.plain, case.fast)
        with ExitStack() as scope:  # Only the fast form has it; the plain one is measured again beside it.
            for each in (case, *others.values()):
                scope.enter_context(each.model.eval().fixed_labels())
            compare('forward, labels fixed', case.plain, case.fast, **{k: v.fast for k, v in others.items()})
    steps = {
        name: training_step(each.model.train(), form, case.y)
        for name, each, form in (
            ('plain', case, case.plain),
            ('fast', case, case.fast),
            ('checkpointed', case, case.checkpointed),
            *((name, each, each.fast) for name, each in others.items()),
        )
    }
    plain, fast, *_ = steps.values()
    compare('training', plain, fast, **{k: v for k, v in steps.items() if k not in ('plain', 'fast')})
    return out


def measure(args: argparse.Namespace) -> list[Table]:
    cases = [(4, 'complete', 2), (5, 'knn', 2)] if args.quick else CASES
    sizes = {'feature_channels': 16, 'encoder_channels': (8,), 'hidden_channels': 8, 'block_channels': (8, 8)}
    table = Table('The graph of a batch, plain against fast', COLUMNS)
    for labels, label_graph, images in cases:
        for prune in (True, False) if labels <= 80 and label_graph == 'complete' else (True,):
            options = {'label_graph': label_graph, 'prune_last': prune, **(sizes if args.quick else {})}
            model = make_model(labels, args.device, label_k=11, **options)
            prove(model)
            case = Contestants(model, images)
            shown = 'complete' if label_graph == 'complete' else 'label_k: 11'
            compiled = None
            if args.compile:
                compiled = copy.copy(case)
                compiled.model = copy.deepcopy(model).compile_dense()
                with torch.no_grad():
                    torch.testing.assert_close(compiled.fast(), case.fast(), rtol=1e-3, atol=1e-3)
            table.rows += rows(case, [labels, shown, str(prune).lower(), images], args.quick, compiled)
    table.notes.append(
        'Milliseconds a batch; MiB: the most that a call held beyond what was there. "Labels fixed": all that depends '
        'on labels alone was computed before, as in evaluation. Checkpointed: label edges are computed again in '
        'backward.'
    )
    return [table]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--compile', action='store_true', help='beside the others, MLSGM.compile_dense()')


if __name__ == '__main__':
    sys.exit(main('head', __doc__, measure, options=options))

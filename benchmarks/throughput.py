"""How many images a second with and without the graph (the paper's Table IX)?

Alone: the backbone with global average pooling and a linear classifier. ML-SGM: the whole model on the same backbone,
with exactly five instances in every image. The ratio is of one run, in which the two take turns.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch

from benchmarks.common import INSTANCES, MIB, Table, held_bytes, main, peak_memory, percent, seconds
from benchmarks.complexity import count, graph_macs
from mlsgm_pyg.app.common.cost import settle
from mlsgm_pyg.backbone import build_backbone
from mlsgm_pyg.models import MLSGM, PooledLinear

COLUMNS = (
    'backbone', 'px', 'C', 'label graph', 'batch', 'type', 'mode', 'alone', 'ML-SGM', 'ratio', 'spread %',
    'ratio of multiply-adds', 'alone MiB', 'ML-SGM MiB', 'kept MiB',
)  # fmt: skip
CASES = [  # Backbone, side, labels, label graph.
    ('resnet101', 448, 20, 'complete'),
    ('resnet101', 448, 80, 'complete'),
    ('resnet101', 448, 80, 'knn'),
    ('efficientnet_lite0', 320, 18, 'complete'),
]
BATCH = {'cpu': 4, 'cuda': 64}


def models(case: tuple, image: torch.Tensor, args: argparse.Namespace) -> tuple[PooledLinear, MLSGM]:
    """The two models on one backbone; gamma and the number of instances leave no image more or fewer than five."""
    backbone, _, labels, label_graph = case
    body = build_backbone(backbone, 'none').to(args.device)
    settle(body, image)
    options = {'gamma': 0.0, 'max_instances': INSTANCES - 1, 'label_graph': label_graph}
    ours = MLSGM(body, torch.randn(labels, 300), **options).to(args.device)
    if args.compile:
        ours.compile_dense()
    return PooledLinear(body, labels).to(args.device), ours


def training_step(model: torch.nn.Module, image: torch.Tensor, y: torch.Tensor, lr: float = 1e-6) -> Callable[[], None]:
    """Forward, loss, backward and SGD's step, as an experiment does it."""
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9, weight_decay=1e-4)
    loss = torch.nn.functional.binary_cross_entropy_with_logits

    def step() -> None:
        out = model(image)
        value = loss(out.logits.float(), y)
        if out.csac_logits is not None:
            value = value + loss(out.csac_logits.float(), y)
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def share_of_macs(alone: PooledLinear, ours: MLSGM, image: torch.Tensor) -> float:
    """Multiply-adds of the backbone over those of the whole model, labels fixed, of one image among others."""
    body = count(alone, lambda: alone.features(image[:1]))['backbone']
    with torch.no_grad():
        feature = ours.features(image[:1]).expand(len(image), -1, -1, -1)
    csac = count(ours, lambda: ours.csac.select(feature, ours.csac(feature)))
    return body / (body + sum(csac.values()) / len(image) + graph_macs(ours))


def rows(case: tuple[str, int, int, str], dtype: torch.dtype, args: argparse.Namespace) -> list[list[Any]]:
    """Inference and training step of one backbone and label set."""
    backbone, size, labels, label_graph = case
    batch = args.batch or (2 if args.quick else BATCH[args.device.type])
    image = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, device=args.device)
    y = (torch.rand(batch, labels, device=args.device) < 0.1).float()
    alone, ours = (model.eval() for model in models(case, image, args))
    graph = 'complete' if label_graph == 'complete' else 'label_k: 11'
    about = [backbone, size, labels, graph, batch, str(dtype).removeprefix('torch.')]
    out, share = [], share_of_macs(alone, ours, image)
    for mode in ('inference', 'training'):
        with ExitStack() as scope:
            scope.enter_context(torch.autocast(args.device.type, dtype, enabled=dtype != torch.float))
            if mode == 'inference':
                scope.enter_context(torch.no_grad())
                scope.enter_context(ours.fixed_labels())
                assert ours(image).instances.sizes == [INSTANCES] * batch
                forms = {'alone': lambda: alone(image), 'ML-SGM': lambda: ours(image)}
                kept = held_bytes(ours.ilms.labels()) / MIB
            else:
                forms = {name: training_step(model.train(), image, y)
                         for name, model in (('alone', alone), ('ML-SGM', ours))}  # fmt: skip
                kept = 0.0
            times = seconds(forms, args, args.rounds)
            peaks = [peak_memory(fn, args.device) / MIB for fn in forms.values()]
        one, other = times['alone'], times['ML-SGM']
        rates = [batch / one.median, batch / other.median, one.median / other.median, percent(one, other)]
        out.append([*about, mode, *rates, share, *peaks, kept])
    return out


def measure(args: argparse.Namespace) -> list[Table]:
    cases = CASES
    if args.backbone:
        cases = [
            (args.backbone, args.image_size, labels, graph) for labels in args.labels for graph in args.label_graph
        ]
    if args.quick:
        cases = [('resnet18', 64, 4, 'complete')]
    types = [torch.float, torch.bfloat16] if args.device.type == 'cuda' else [torch.float]
    if args.dtype:
        types = [getattr(torch, args.dtype)]
    table = Table('Images a CPU second' if args.device.type == 'cpu' else 'Images a second', COLUMNS)
    for *case, dtype in args.minutes.cases([(*case, dtype) for dtype in types for case in cases]):
        table.rows += rows(tuple(case), dtype, args)
    table.notes.append(
        'Ratio of multiply-adds: those of the backbone over those of the model, its graph as one more image in a batch '
        'adds it; no bound on the ratio of times, as depthwise convolutions run far below the speed of a matrix '
        'product. Training: forward, loss, backward, SGD, all parameters. MiB: the most that a call held beyond what '
        'was there; kept: what is held between calls, as labels are fixed in inference.'
    )
    if args.compile:
        table.notes.append('With `compile_dense`.')
    return [table]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--backbone', help="any of mlsgm_pyg.build_backbone's; without it, the four cases of the table")
    parser.add_argument('--image-size', type=int, default=448)
    parser.add_argument('--labels', type=int, nargs='+', default=[20])
    parser.add_argument('--label-graph', nargs='+', default=['complete'], choices=['complete', 'knn'])
    parser.add_argument('--batch', type=int, help='images (4, on a GPU 64)')
    parser.add_argument('--dtype', choices=['float32', 'bfloat16'], help='autocast to it (float32; on a GPU both)')
    parser.add_argument('--rounds', type=int, default=5, help='turns of each (%(default)s)')
    parser.add_argument('--compile', action='store_true', help='MLSGM.compile_dense()')


if __name__ == '__main__':
    sys.exit(main('throughput', __doc__, measure, options=options))

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

from benchmarks.common import INSTANCES, Table, main, peak_memory
from benchmarks.complexity import count, floor
from experiments.cost import seconds
from mlsgm_pyg.backbone import build_backbone
from mlsgm_pyg.models import MLSGM, PooledLinear

COLUMNS = (
    'backbone', 'px', 'C', 'label graph', 'batch', 'type', 'mode', 'alone', 'ML-SGM', 'ratio', 'floor of the ratio',
    'alone MiB', 'ML-SGM MiB',
)  # fmt: skip
CASES = [  # Backbone, side, labels, label graph.
    ('resnet101', 448, 20, 'complete'),
    ('resnet101', 448, 80, 'complete'),
    ('resnet101', 448, 80, 'knn'),
    ('efficientnet_lite0', 320, 18, 'complete'),
]
BATCH = {'cpu': 8, 'cuda': 64}


def models(backbone: str, labels: int, label_graph: str, args: argparse.Namespace) -> tuple[PooledLinear, MLSGM]:
    """The two models on one backbone; gamma and the number of instances leave no image more or fewer than five."""
    body = build_backbone(backbone, 'none')
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


def rows(case: tuple[str, int, int, str], batch: int, dtype: torch.dtype, args: argparse.Namespace) -> list[list[Any]]:
    """Inference and training step of one backbone and label set."""
    backbone, size, labels, label_graph = case
    alone, ours = models(backbone, labels, label_graph, args)
    image = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, device=args.device)
    y = (torch.rand(batch, labels, device=args.device) < 0.1).float()
    macs = count(alone.eval(), lambda: alone.features(image[:1]))['backbone']
    with torch.no_grad():
        feature = ours.eval().features(image[:1]).expand(batch, -1, -1, -1)
    added = count(ours, lambda: ours.csac.select(feature, ours.csac(feature, ours.reduce), ours.reduce))
    bound = macs / (macs + sum(added.values()) / batch + floor(ours))
    out = []
    with torch.autocast(args.device.type, dtype, enabled=dtype != torch.float):
        for mode in ('inference', 'training'):
            for model in (alone, ours):
                model.train(mode == 'training')
            with ExitStack() as scope:
                if mode == 'inference':
                    scope.enter_context(torch.no_grad())
                    scope.enter_context(ours.fixed_labels())
                    assert ours(image).instances.sizes == [INSTANCES] * batch
                    forms = {'alone': lambda: alone(image), 'ML-SGM': lambda: ours(image)}
                else:
                    forms = {'alone': training_step(alone, image, y), 'ML-SGM': training_step(ours, image, y)}
                times = seconds(forms, args.quick, args.rounds)
                peaks = [peak_memory(fn, args.device) / 2**20 for fn in forms.values()]
            rate = [batch / times[name] for name in forms]
            graph = 'complete' if label_graph == 'complete' else 'label_k: 11'
            about = [backbone, size, labels, graph, batch, str(dtype).removeprefix('torch.'), mode]
            out.append([*about, *rate, rate[1] / rate[0], bound, *peaks])
    return out


def measure(args: argparse.Namespace) -> list[Table]:
    cases = CASES
    if args.backbone:
        cases = [
            (args.backbone, args.image_size, labels, graph) for labels in args.labels for graph in args.label_graph
        ]
    if args.quick:
        cases = [('resnet18', 64, 4, 'complete')]
    batch = args.batch or (2 if args.quick else BATCH[args.device.type])
    types = [torch.float, torch.bfloat16] if args.device.type == 'cuda' else [torch.float]
    if args.dtype:
        types = [getattr(torch, args.dtype)]
    table = Table('Images a second', COLUMNS)
    for case in cases:
        for dtype in types:
            table.rows += rows(case, batch, dtype, args)
    table.notes.append(
        'Floor: multiply-adds of the backbone over those of the model, its graph as one more image in a batch adds it. '
        'Training: forward, loss, backward, SGD, all parameters. MiB: the most that a call held beyond what was there.'
    )
    if args.compile:
        table.notes.append('With `compile_dense`.')
    return [table]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--backbone', help="any of mlsgm_pyg.build_backbone's; without it, the four cases of the table")
    parser.add_argument('--image-size', type=int, default=448)
    parser.add_argument('--labels', type=int, nargs='+', default=[20])
    parser.add_argument('--label-graph', nargs='+', default=['complete'], choices=['complete', 'knn'])
    parser.add_argument('--batch', type=int, help='images (8, on a GPU 64)')
    parser.add_argument('--dtype', choices=['float32', 'bfloat16'], help='autocast to it (float32; on a GPU both)')
    parser.add_argument('--rounds', type=int, default=3, help='turns of each (%(default)s)')
    parser.add_argument('--compile', action='store_true', help='MLSGM.compile_dense()')


if __name__ == '__main__':
    sys.exit(main('throughput', __doc__, measure, options=options))

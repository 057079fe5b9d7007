"""How do time and memory of the graph grow with the number of labels, and do 500 labels train on one card?

Time and memory of one image, the fast form, forward (labels fixed) and training (checkpointed), fitted as a power of
the number of labels; then a whole training step of the head at Visual Genome's 500 labels, from cached maps.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time

import numpy as np
import torch

from benchmarks.common import Table, main, make_instances, make_model, peak_memory, training_step
from experiments.cost import seconds
from mlsgm_pyg.models import MLSGM

LABELS = (20, 40, 80, 160, 320, 640, 1000)
LIMIT = 24 * 2**30
TINY = {'feature_channels': 16, 'encoder_channels': (8,), 'hidden_channels': 8, 'block_channels': (8, 8)}


def power(x: list[float], y: list[float]) -> float:
    """The exponent p of the best fit y = a x^p, by least squares of the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def grow(model: MLSGM, args: argparse.Namespace) -> list[float]:
    """Milliseconds and MiB of one image: forward, then training step."""
    graph = model.assign.batch(make_instances(model, 1))
    y, out, device = torch.zeros(1, model.num_labels, device=args.device), [], args.device
    model.eval()
    with torch.no_grad(), model.fixed_labels():
        model.match(graph)
        out += [seconds({'': lambda: model.match(graph)}, args.quick, 1)['']]
        out += [peak_memory(lambda: model.match(graph), device)]
    step = training_step(model.train(), lambda: model.match(graph).logits, y)
    out += [seconds({'': step}, args.quick, 1)[''], peak_memory(step, device)]
    return [1e3 * out[0], out[1] / 2**20, 1e3 * out[2], out[3] / 2**20]


def visual_genome(args: argparse.Namespace) -> Table:
    """One step of the whole head from cached maps: forward, both losses, backward, AdamW."""
    labels, images, side = (6, 2, 3) if args.quick else (500, 16, 14)
    options = {'gamma': 0.0, 'max_instances': 4, 'checkpoint': True, **(TINY if args.quick else {})}
    channels = 8 if args.quick else 2048
    model = make_model(labels, args.device, channels, **options).train()
    optimizer = torch.optim.AdamW(model.parameters(), 5e-4, fused=True)
    y = (torch.rand(images, labels, device=args.device) < 0.02).float()
    feature = torch.rand(images, channels, side, side, device=args.device)
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    started = time.perf_counter()
    out = model.head(feature)
    (loss(out.logits, y) + loss(out.csac_logits, y)).backward()
    optimizer.step()
    if args.device.type == 'cuda':
        torch.cuda.synchronize()
    took, peak = time.perf_counter() - started, whole_memory(args.device)
    if not peak < LIMIT:
        raise AssertionError(f'a step must fit {LIMIT / 2**30} GiB (got {peak / 2**30:.1f})')
    return Table(
        'A training step from cached maps, complete label graph, checkpointed, five instances',
        ('C', 'images', 'seconds', 'GiB', 'limit'),
        [[labels, images, took, peak / 2**30, LIMIT / 2**30]],
        ["The first step, with the optimiser's state and all gradients. On a CPU the most that the process ever held."],
    )


def whole_memory(device: torch.device) -> int:
    """The most bytes that there were so far, weights and all: on a CPU of the process, on CUDA of torch's allocator."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == 'darwin' else 1024 * most


def measure(args: argparse.Namespace) -> list[Table]:
    step = visual_genome(args)  # First: what the process holds later does not count.
    tables = []
    for label_graph in ('complete', 'knn'):
        title = 'complete' if label_graph == 'complete' else 'label_k: 11'
        columns = ('C', 'forward ms', 'MiB', 'training ms', 'MiB')
        table = Table(f'One image, {title} label graph', columns)
        for labels in (13, 26, 39) if args.quick else LABELS:
            if label_graph == 'knn' or labels <= args.largest:
                options = {'label_graph': label_graph, 'checkpoint': True, **(TINY if args.quick else {})}
                model = make_model(labels, args.device, 8 if args.quick else 2048, **options)
                table.rows.append([labels, *grow(model, args)])
        x = [row[0] for row in table.rows]
        large = [i for i, labels in enumerate(x) if labels >= 80 or args.quick]
        fits = [power([x[i] for i in large], [table.rows[i][at] for i in large]) for at in range(1, 5)]
        shown = ', '.join(f'{name} C^{p:.2f}' for name, p in zip(columns[1:], fits) if not math.isnan(p))
        table.notes.append(f'Fitted from C = {x[large[0]]} on: {shown}.')
        tables.append(table)
    return [*tables, step]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--largest', type=int, default=640, help='labels with a complete graph (%(default)s)')


if __name__ == '__main__':
    sys.exit(main('growth', __doc__, measure, options=options))

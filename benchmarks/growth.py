"""How do time and memory of the graph grow with the number of labels, and what does training with 500 of them hold?

Time and memory of one image, the fast form, forward (labels fixed) and training (checkpointed), fitted as a power of
the number of labels; then a whole training step of the head at Visual Genome's 500 labels, from cached maps.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys

import numpy as np
import torch

from benchmarks.common import (
    MIB,
    Table,
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
from benchmarks.head import SMALL
from mlsgm_pyg.app.common.cost import clock
from mlsgm_pyg.models import MLSGM

LABELS = (20, 40, 80, 160, 320, 640, 1000)
COLUMNS = ('C', 'forward ms', 'MiB', 'kept MiB', 'training ms', 'MiB', 'spread %')
FITTED = (1, 2, 3, 4, 5)  # Of the columns.


def power(x: list[float], y: list[float]) -> float:
    """The exponent p of the best fit y = a x^p, by least squares of the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def grow(model: MLSGM, args: argparse.Namespace) -> list[float]:
    """Milliseconds and MiB of one image: forward and what it keeps, then training step; the larger spread."""
    graph = model.ilms.assign.batch(make_instances(model, 1))
    y, rounds = torch.zeros(1, model.num_labels, device=args.device), 3 if model.num_labels >= 320 else 5
    with torch.no_grad(), model.eval().fixed_labels():
        forward = seconds({'': lambda: match(model, graph)}, args, rounds)['']
        held = peak_memory(lambda: match(model, graph), args.device) / MIB
        kept = held_bytes(model.ilms.labels()) / MIB
    step = training_step(model.train(), lambda: match(model, graph), y)
    training = seconds({'': step}, args, rounds)['']
    most = peak_memory(step, args.device) / MIB
    return [1e3 * forward.median, held, kept, 1e3 * training.median, most, percent(forward, training)]


def visual_genome(args: argparse.Namespace) -> Table:
    """One step of the whole head from cached maps: forward, both losses, backward, AdamW."""
    labels, images, side = (6, 2, 3) if args.quick else (500, 16, 14)
    options = {'gamma': 0.0, 'max_instances': 4, 'checkpoint': True, **(SMALL if args.quick else {})}
    channels = 8 if args.quick else 2048
    model = make_model(labels, args.device, channels, **options).train()
    optimizer = torch.optim.AdamW(model.parameters(), 5e-4, fused=True)
    y = (torch.rand(images, labels, device=args.device) < 0.02).float()
    feature = torch.rand(images, channels, side, side, device=args.device)
    loss, read = torch.nn.functional.binary_cross_entropy_with_logits, clock(args.device)
    started = read()
    out = model.head(feature)
    (loss(out.logits, y) + loss(out.csac_logits, y)).backward()
    optimizer.step()
    took = read() - started
    return Table(
        'A training step from cached maps, complete label graph, checkpointed, five instances',
        ('C', 'images', 'seconds', 'GiB'),
        [[labels, images, took, whole_memory(args.device) / 2**30]],
        [
            "One step, the first, with the optimiser's state and all gradients. GiB, weights and all: on a CPU the "
            'most that the process ever held, on a GPU that torch ever had.'
        ],
    )


def whole_memory(device: torch.device) -> int:
    """The most bytes that there were so far, weights and all: on a CPU of the process, on CUDA of torch's allocator."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == 'darwin' else 1024 * most


def measure(args: argparse.Namespace) -> list[Table]:
    step = visual_genome(args)  # First: what the process holds later does not count.
    cases = [(labels, graph) for labels in ((13, 26, 39) if args.quick else LABELS) for graph in ('complete', 'knn')]
    cases = [case for case in cases if case[1] == 'knn' or case[0] <= args.largest]
    titles = {'complete': 'complete', 'knn': 'label_k: 11'}
    tables = {key: Table(f'One image, {title} label graph', COLUMNS) for key, title in titles.items()}
    for labels, label_graph in args.minutes.cases(cases):
        options = {'label_graph': label_graph, 'checkpoint': True, **(SMALL if args.quick else {})}
        model = make_model(labels, args.device, 8 if args.quick else 2048, **options)
        tables[label_graph].rows.append([labels, *grow(model, args)])
    for table in tables.values():
        large = [row for row in table.rows if row[0] >= 80 or args.quick]
        fits = {at: power([row[0] for row in large], [row[at] for row in large]) for at in FITTED if len(large) > 1}
        shown = ', '.join(f'{COLUMNS[at]} C^{p:.2f}' for at, p in fits.items() if not math.isnan(p))
        table.notes += [f'Fitted from C = {large[0][0]} on: {shown}.'] if fits else []
    return [*tables.values(), step]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--largest', type=int, default=640, help='labels with a complete graph (%(default)s)')


if __name__ == '__main__':
    sys.exit(main('growth', __doc__, measure, options=options))

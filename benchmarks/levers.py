"""What do the options that help the graph to learn cost, in parameters, multiply-adds and time?

Each of ILMS's product, evidence, block_residual and deep_scores alone, and the three that `photos` and `digits`
have, against the paper's graph of the same sizes.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch

from benchmarks.common import Table, main, make_instances, make_model, match, percent, seconds, training_step
from benchmarks.complexity import graph_macs

LEVERS = ('product', 'evidence', 'block_residual', 'deep_scores')
CONTESTANTS = {'none': (), **{name: (name,) for name in LEVERS}, 'all but evidence': tuple(set(LEVERS) - {'evidence'})}
SAME = {'encoder_channels': (256, 256), 'hidden_channels': 256, 'block_channels': (256, 256)}  # A residual needs that.
SMALL = {'feature_channels': 16, 'encoder_channels': (8, 8), 'hidden_channels': 8, 'block_channels': (8, 8)}
IMAGES = 8


def rows(labels: int, args: argparse.Namespace) -> list[list[Any]]:
    """One number of labels: forward without gradients, and forward with backward, all in turns."""
    sizes = SMALL if args.quick else SAME
    models = {
        name: make_model(labels, args.device, **sizes, csac_input='whole', **dict.fromkeys(on, True))
        for name, on in CONTESTANTS.items()
    }
    graphs = {name: model.ilms.assign.batch(make_instances(model, IMAGES)) for name, model in models.items()}
    y = (torch.rand(IMAGES, labels, device=args.device) < 0.1).float()
    size = {name: sum(p.numel() for p in model.ilms.parameters()) for name, model in models.items()}
    macs = {name: graph_macs(model) for name, model in models.items()}
    times = {}
    for mode in ('forward', 'training'):
        calls = {
            name: training_step(model, lambda name=name: match(models[name], graphs[name]), y)
            if mode == 'training' else lambda name=name: match(models[name], graphs[name])
            for name, model in models.items()
        }  # fmt: skip
        for model in models.values():
            model.train(mode == 'training')
        with torch.set_grad_enabled(mode == 'training'):
            times[mode] = seconds(calls, args)
    out = []
    for name in CONTESTANTS:
        cells = [size[name] / 1e6, macs[name] / 1e9]
        for found in times.values():
            cells += [1e3 * found[name].median, found[name].median / found['none'].median]
        spread = max(percent(found['none'], found[name]) for found in times.values())
        out.append([labels, name, *cells, spread])
    return out


def measure(args: argparse.Namespace) -> list[Table]:
    table = Table(
        'The graph of a batch of eight images, by what is added to its first layer, blocks and scores',
        (
            'C', 'option', 'parameters (M)', 'GMAC an image', 'forward ms', 'of none', 'training ms', 'of none',
            'spread %',
        ),
    )  # fmt: skip
    for labels in args.minutes.cases([4] if args.quick else [20, 80]):
        table.rows += rows(labels, args)
    return [table]


if __name__ == '__main__':
    sys.exit(main('levers', __doc__, measure))

"""How many images a second do ML-SGM, its peers and its ablations take, and how large are they (the paper's Table IX)?

One backbone for all, random weights and words; ML-SGM and "w/o ILMS" have exactly five instances in every image, "w/o
CSAC" its grid's ten. The models take turns in one run, from pixels to scores, without gradients.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack

import torch
from torch import Tensor

from benchmarks.common import INSTANCES, Table, main, percent, seconds
from mlsgm_pyg.app.common.cost import macs, parameters, settle
from mlsgm_pyg.backbone import build_backbone
from mlsgm_pyg.models import ADDGCN, MLGCN, MLSGM, MODELS, SSGRL, Ablation, PooledLinear
from mlsgm_pyg.models.ablations import PARTS
from mlsgm_pyg.statistics import co_occurrence

COLUMNS = (
    'C', 'model', 'parameters (M)', 'of the head', 'GMAC an image', 'of the head', 'once a batch', 'images/s',
    'of pooled linear', 'spread %', "paper's FPS", 'of ResNet-101',
)  # fmt: skip
FPS = {  # The paper's Table IX, COCO on a 2080 Ti; its first row is ResNet-101.
    'pooled linear': 68.2,
    'ML-GCN': 62.4,
    'SSGRL': 34.3,
    'ADD-GCN': 57.9,
    'w/o CSAC': 54.3,
    'w/o ILMS': 63.5,
    'ML-SGM': 52.4,
}
BATCH = {'cpu': 4, 'cuda': 64}


def models(args: argparse.Namespace, labels: int, image: Tensor) -> dict[str, torch.nn.Module]:
    """The contestants at their published widths, all on the same backbone."""
    body, words = build_backbone(args.backbone, 'none').to(args.device), torch.randn(labels, 300)
    settle(body, image)
    together = co_occurrence((torch.rand(1000, labels) < 0.3).int())
    five = {'gamma': 0.0, 'max_instances': INSTANCES - 1, 'label_graph': args.label_graph}
    built = {
        'pooled linear': PooledLinear(body, labels),
        'MLP': MODELS['mlp'](body, labels),
        'ML-GCN': MLGCN(body, words, together),
        'ADD-GCN': ADDGCN(body, labels),
        'SSGRL': SSGRL(body, words, together),
        'w/o CSAC': MODELS['wo_csac'](body, words, label_graph=args.label_graph),
        'w/o ILMS': Ablation(body, words, PARTS, **five),
        'ML-SGM': MLSGM(body, words, **five),
    }
    return {name: model.to(args.device).eval() for name, model in built.items()}


def check(name: str, model: torch.nn.Module, image: Tensor, expected: Tensor) -> None:
    """What is timed gives the scores of the model as it is, and an image's are what they are of it alone."""
    out = model(image)
    allowed = 1e-3 * expected.abs().max().item()
    told = lambda text: f'{name}: {text}'  # noqa: E731
    torch.testing.assert_close(out.logits, expected, rtol=0, atol=allowed, msg=told)
    torch.testing.assert_close(model(image[-1:]).logits, expected[-1:], rtol=0, atol=allowed, msg=told)
    if name in ('ML-SGM', 'w/o ILMS'):
        assert out.instances.sizes == [INSTANCES] * len(image)


def rows(args: argparse.Namespace, labels: int, batch: int) -> list[list]:
    """A line for each model."""
    size = args.image_size
    image = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, device=args.device)
    built = models(args, labels, image)
    counted, calls = {}, {}
    with torch.no_grad(), ExitStack() as scope:
        for name, model in built.items():
            expected, whole = model(image).logits, macs(lambda model=model: model(image))
            scope.enter_context(model.fixed_labels())
            check(name, model, image, expected)
            each = macs(lambda model=model: model(image))
            body = macs(lambda model=model: model.features(image))
            counted[name] = [each / batch / 1e9, (each - body) / batch / 1e9, (whole - each) / 1e9]
            calls[name] = lambda model=model: model(image)
        times = seconds(calls, args, args.rounds)
    out, first = [], times['pooled linear']
    for name, model in built.items():
        number, of_body = (parameters(part)['all'] / 1e6 for part in (model, model.backbone))
        fps = FPS.get(name)
        paper = [fps, fps and fps / FPS['pooled linear']]
        time = times[name]
        measured = [batch / time.median, first.median / time.median, percent(time, first)]
        out.append([labels, name, number, number - of_body, *counted[name], *measured, *paper])
    return out


def measure(args: argparse.Namespace) -> list[Table]:
    if args.quick:
        args.backbone, args.image_size, args.labels = 'resnet18', 64, [4]
    batch = args.batch or (2 if args.quick else BATCH[args.device.type])
    graph = 'complete' if args.label_graph == 'complete' else 'label_k: 11'
    title = f'{args.backbone}, {args.image_size} px, {batch} images at a time, {graph} label graph'
    table = Table(title, COLUMNS)
    for labels in args.minutes.cases(args.labels):
        table.rows += rows(args, labels, batch)
    table.notes.append(
        'GMAC: convolutions and matrix products, as torch counts them. What depends on the labels alone (once a batch) '
        'is computed before the clock runs, for every model that has such a part. Images/s: on a CPU, a CPU second. '
        'The paper measured its own code on a 2080 Ti at C = 80: only the ratios to its ResNet-101 compare.'
    )
    return [table]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--backbone', default='resnet101', help="any of mlsgm_pyg.build_backbone's (%(default)s)")
    parser.add_argument('--image-size', type=int, default=448, help='pixels (%(default)s)')
    parser.add_argument('--labels', type=int, nargs='+', default=[18, 20, 80], help='C (18 20 80)')
    parser.add_argument('--label-graph', default='complete', choices=['complete', 'knn'])
    parser.add_argument('--batch', type=int, help='images (4, on a GPU 64)')
    parser.add_argument('--rounds', type=int, default=5, help='turns of each (%(default)s)')


if __name__ == '__main__':
    sys.exit(main('peers', __doc__, measure, options=options))

"""A fixed small set of calls, timed with whatever checkout of mlsgm_pyg is imported: see `benchmarks.checkouts`.

python -P benchmarks/calls.py SECTION... --quick   prints one JSON object, row -> median CPU seconds a call
"""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

import mlsgm_pyg
from mlsgm_pyg.backbone import Backbone, build_backbone
from mlsgm_pyg.models import MLSGM, PooledLinear
from mlsgm_pyg.nn import scatter_mean

# Of this file's checkout.
cost = runpy.run_path(str(Path(__file__).parents[1] / 'mlsgm_pyg' / 'app' / 'common' / 'cost.py'))
Rows = Iterator[tuple[str, Callable[[], object]]]
OPTIONS = {'gamma': 0.0, 'max_instances': 4, 'label_k': 11}  # Five instances in every image.
SMALL = {'feature_channels': 16, 'encoder_channels': (8,), 'hidden_channels': 8, 'block_channels': (8, 8)}


def step(model: torch.nn.Module, forward: Callable[[], object], y: Tensor) -> Callable[[], None]:
    """Forward, loss and backward."""

    def run() -> None:
        out = forward()
        torch.nn.functional.binary_cross_entropy_with_logits(out.logits, y).backward()
        model.zero_grad(set_to_none=True)

    return run


def both(name: str, model: torch.nn.Module, forward: Callable[[], object], y: Tensor) -> Rows:
    """Inference, labels fixed where a model has them, and a training step."""
    model.eval()
    with torch.no_grad(), model.fixed_labels() if hasattr(model, 'fixed_labels') else nullcontext():
        yield f'{name}, inference', forward
    yield f'{name}, training step', step(model.train(), forward, y)


def head(quick: bool) -> Rows:
    images, channels, side = (2, 8, 3) if quick else (8, 2048, 14)
    for labels, graph in ((20, 'complete'), (80, 'complete'), (80, 'knn')):
        labels = labels // 10 if quick else labels
        backbone = Backbone('none', torch.nn.Identity(), channels)
        options = OPTIONS | {'label_graph': graph, **(SMALL if quick else {})}
        model, feature = MLSGM(backbone, torch.randn(labels, 300), **options), torch.rand(images, channels, side, side)
        y = (torch.rand(images, labels) < 0.1).float()
        yield from both(f'head, C = {labels}, {graph}', model, partial(model.head, feature), y)
        with torch.no_grad():
            yield f'CSAC and graph, C = {labels}, {graph}', partial(model.graphs, feature)


def throughput(quick: bool) -> Rows:
    lite = find_spec('timm') is not None and not quick
    name, side, images = ('efficientnet_lite0', 320, 4) if lite else ('resnet18', 64 if quick else 224, 4)
    image, y = torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8), torch.zeros(images, 18)
    body = build_backbone(name, 'none')
    cost['settle'](body, image)
    for model in (PooledLinear(body, 18), MLSGM(body, torch.randn(18, 300), **OPTIONS)):
        yield from both(f'{type(model).__name__}, {name}, C = 18', model, partial(model, image), y)


def aggregation(quick: bool) -> Rows:
    for labels, images in ((20, 16), (80, 64)):
        labels, images = (labels // 10, images // 8) if quick else (labels, images)
        each = torch.randint(1, 10, (images,))
        total, image = int(each.sum()), torch.arange(images).repeat_interleave(each)
        near = torch.arange(total).repeat_interleave((each - 1).clamp(max=3)[image])
        for relation, index, targets, width in (('near', near, total, 512), ('segments', image, images, labels * 512)):
            src = torch.randn(index.numel(), width, requires_grad=True)

            def mean(src=src, index=index, targets=targets) -> Tensor:
                return torch.autograd.grad(scatter_mean(src, index, targets).sum(), src)[0]

            yield f'mean of {relation}, C = {labels}, {images} images, with backward', mean


def main(sections: list[str], quick: bool) -> None:
    torch.set_num_threads(1)
    found = {'mlsgm_pyg': str(Path(mlsgm_pyg.__file__).parents[1])}
    for section in sections:
        torch.manual_seed(0)
        for name, call in {'head': head, 'throughput': throughput, 'aggregation': aggregation}[section](quick):
            found[name] = cost['seconds']({'': call}, quick, 3)[''].median
    print(json.dumps(found))


if __name__ == '__main__':
    main([word for word in sys.argv[1:] if word != '--quick'], '--quick' in sys.argv)

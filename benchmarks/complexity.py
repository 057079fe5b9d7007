"""What does each module cost (the paper's Table VIII), in parameters and in multiply-adds that are counted?"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from benchmarks.common import INSTANCES, Table, main, make_instances, match
from benchmarks.plain import plain_match
from mlsgm_pyg.backbone import build_backbone
from mlsgm_pyg.models import MLSGM
from mlsgm_pyg.models.ilms import shallow
from mlsgm_pyg.nn.reduction import Unreduced

MODULES = {  # The paper's name -> ours, and its printed parameters and FLOPs, in millions and billions, added up.
    'ResNet-101': ('backbone', 42.51, 31.53),
    '1x1 convolution to D': ('reduce', None, None),
    '+ CSAC': ('csac', 42.52, 31.57),
    '+ Encoder': ('encoder', 44.89, 32.26),
    '+ GCL': ('blocks', 57.62, 36.09),
    '+ Decoder': ('decoder', 57.65, 36.11),
}


def part_of(parameter: str) -> str:
    """The module of :data:`MODULES` that a parameter is of: 'ilms.encoder.nodes...' -> 'encoder'."""
    first, second, *_ = parameter.split('.')
    return second if first == 'ilms' or second == 'reduce' else first


class Macs(TorchFunctionMode):
    """Counts multiply-adds of linear layers, convolutions and batched products by the module whose weights they use.

    Args:
        model (torch.nn.Module): The model; a weight that is used in part counts in part.
    """

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.count: Counter = Counter()
        self.owner = {p.untyped_storage().data_ptr(): part_of(name) for name, p in model.named_parameters()}

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is F.linear:
            self._add(args[1], args[0].numel() * args[1].size(0))
        elif func is F.conv2d:
            self._add(args[1], out.numel() * args[1][0].numel())
        elif func is torch.bmm:  # Eq. 1.
            self.count['csac'] += out.numel() * args[0].size(2)
        elif getattr(func, '__name__', '') in ('matmul', '__matmul__') and args[1].dim() == 2:
            self._add(args[1], out.numel() * args[0].size(-1))  # CSAC's classifier times the 1x1 convolution.
        return out

    def _add(self, weight: torch.Tensor, macs: int) -> None:
        self.count[self.owner.get(weight.untyped_storage().data_ptr(), 'csac')] += macs  # Or their product.


def count(model: torch.nn.Module, run: Any) -> Counter:
    """Multiply-adds by module of one call without gradients."""
    with torch.no_grad(), Macs(model) as macs:
        run()
    return macs.count


def graph_macs(model: MLSGM, instances: int = INSTANCES) -> int:
    """Multiply-adds that one more image adds to a batch's graph (encoder, blocks, decoder) in the fast form.

    What depends on labels alone is not counted. It is no bound on time: multiply-adds differ in speed.
    """
    totals = []
    for images in (1, 2):
        graph = model.ilms.assign.batch(make_instances(model, images, instances))
        totals.append(sum(count(model, lambda graph=graph: match(model, graph)).values()))
    return totals[1] - totals[0]


def select_instances(model: MLSGM, image: torch.Tensor, plain: bool) -> None:
    """Backbone and CSAC, which reads the map as it is; plain: which reads the reduced map."""
    feature, csac = model.features(image), model.csac
    if plain:
        feature, csac = csac.reduce(feature), shallow(csac)
        csac.reduce = Unreduced()
    csac.select(feature, csac(feature))


def table(args: argparse.Namespace, num_labels: int, label_graph: str) -> Table:
    """Parameters and multiply-adds of one image: as printed, as the equations read, and in the fast form."""
    backbone = build_backbone(args.backbone, 'none')
    options = {'label_graph': label_graph, 'label_k': args.label_k}
    model = MLSGM(backbone, torch.randn(num_labels, 300), prune_last=False, **options).eval()
    pruned = MLSGM(backbone, model.word_vectors, **options).eval()
    image = torch.zeros(1, 3, args.image_size, args.image_size, dtype=torch.uint8)
    plain, ours = Counter(), Counter()
    for each, form, found in ((model, plain_match, plain), (pruned, match, ours)):
        graph = each.ilms.assign.batch(make_instances(each, 1, args.instances))
        found.update(count(each, lambda each=each, form=form: select_instances(each, image, form is plain_match)))
        found.update(count(each, lambda each=each, graph=graph, form=form: form(each, graph)))
    out = Table(
        f'C = {num_labels}, M = {args.instances - 1}, {_graph(label_graph, args.label_k)} label graph',
        ('module', 'parameters (M)', 'printed', 'GMAC, plain', 'GMAC, fast', 'printed'),
    )
    parameters, total, sizes = 0, Counter(), Counter()
    for name, parameter in model.named_parameters():
        sizes[part_of(name)] += parameter.numel()
    for title, (name, printed, flops) in MODULES.items():
        title = args.backbone if name == 'backbone' else title
        if name != 'reduce' or args.with_reduction:
            parameters += sizes[name]
            total.update(plain=plain[name], ours=ours[name])
            out.rows.append([title, parameters / 1e6, printed, total['plain'] / 1e9, total['ours'] / 1e9, flops])
    extra = sizes['reduce'] / 1e6, plain['reduce'] / 1e9, ours['reduce'] / 1e9
    if not args.with_reduction:
        out.notes.append(
            f'As in the paper, without the 1x1 convolution to D ({extra[0]:.2f} M; {extra[1]:.2f} GMAC on the whole '
            f'map, {extra[2]:.2f} on class weights and instances).'
        )
    out.notes.append(
        f'Plain: the last block whole; fast: only what reaches the decoder. One more image in a batch adds '
        f'{graph_macs(pruned, args.instances) / 1e9:.2f} GMAC to the graph.'
    )
    return out


def measure(args: argparse.Namespace) -> list[Table]:
    if args.quick:
        args.backbone, args.image_size, args.labels = 'resnet18', 64, [4]
    cases = [(labels, graph) for labels in args.labels for graph in args.label_graph]
    return [table(args, *case) for case in args.minutes.cases(cases)]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--backbone', default='resnet101', help='see mlsgm_pyg.build_backbone (%(default)s)')
    parser.add_argument('--image-size', type=int, default=448)
    parser.add_argument('--labels', type=int, nargs='+', default=[20, 80], help='C (20 80)')
    parser.add_argument('--instances', type=int, default=INSTANCES, help='M + 1 (%(default)s)')
    parser.add_argument('--label-graph', nargs='+', default=['complete', 'knn'], choices=['complete', 'knn'])
    parser.add_argument('--label-k', type=int, default=11)
    parser.add_argument('--with-reduction', action='store_true', help='count the 1x1 convolution, too')


def _graph(label_graph: str, label_k: int) -> str:
    return 'complete' if label_graph == 'complete' else f'label_k: {label_k}'


if __name__ == '__main__':
    sys.exit(main('complexity', __doc__, measure, options=options))

"""Which way of averaging what reaches a node is the fastest, by relation, size, type, order and device?

Every contestant gets the messages of one relation of the assignment graph and where each goes. Images have one to nine
instances, as real ones, so shares are uneven but for those that the labels send. Sorted messages come with the places
where each target's share begins; shuffled ones do not, and whoever needs an order makes it himself.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.nn import MeanAggregation
from torch_geometric.utils import scatter

from benchmarks.common import INSTANCES, Table, main, percent, seconds
from mlsgm_pyg import kernels
from mlsgm_pyg.nn import scatter_mean

CHANNELS = 512
MOST = 9  # Instances an image; one to so many.
SIZES = [('VOC, 1 image', 20, 1), ('VOC, batch 16', 20, 16), ('COCO, batch 64', 80, 64), ('VG-500, 1 image', 500, 1)]
QUICK = [('tiny', 4, 2)]
VARIANTS = [(torch.float, 'sorted'), (torch.float, 'shuffled'), (torch.bfloat16, 'sorted')]
COMPILED = ('torch_scatter.scatter', 'segment_csr', 'segment_coo')  # Torch-scatter's.
NOT_AVAILABLE, NOT_FOR = 'not available', '-'


@dataclass
class Case:
    """The messages of one relation.

    Args:
        size (str): Name of the size.
        relation (str): Name of the relation.
        index (Tensor): Where each message goes, sorted.
        num_targets (int): Number of targets.
        width (int): Numbers in a message.
        ptr (Tensor, optional): Where each target's share begins, if that is known.
    """

    size: str
    relation: str
    index: Tensor
    num_targets: int
    width: int
    ptr: Tensor | None = None

    def on(self, device: torch.device, order: str) -> Case:
        """The same on a device, sorted or shuffled."""
        index = self.index.to(device)
        if order == 'sorted':
            return Case(self.size, self.relation, index, self.num_targets, self.width, _starts(index, self.num_targets))
        index = index[torch.randperm(index.numel(), device=device)]
        return Case(self.size, self.relation, index, self.num_targets, self.width)


def cases(size: str, num_labels: int, images: int) -> list[Case]:
    """kNN edges; the instances of each image, to labels; labels to instances, equally many each."""
    each = torch.randint(1, MOST + 1, (images,)) if images > 1 else torch.tensor([INSTANCES])
    total = int(each.sum())
    image = torch.arange(images).repeat_interleave(each)
    near = torch.arange(total).repeat_interleave((each - 1).clamp(max=3)[image])
    matches = torch.arange(total).repeat_interleave(num_labels)
    return [
        Case(size, 'near', near, total, CHANNELS),
        Case(size, 'matches, to labels', image, images, num_labels * CHANNELS),
        Case(size, 'matches, to instances', matches, total, CHANNELS),
    ]


def contestants(case: Case) -> dict[str, Callable[[Tensor], Tensor] | str]:
    """Every way of averaging; a text instead where there is none here."""
    index, ptr, n = case.index, case.ptr, case.num_targets
    kernel, mean = kernels.find('torch_scatter', index.device.type), MeanAggregation()

    def in_order(src: Tensor, of: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        if ptr is not None:
            return of(src, index, ptr)
        ordered, order = index.sort(stable=True)
        return of(src[order], ordered, _starts(ordered, n))

    def index_add(src: Tensor) -> Tensor:
        count = torch.bincount(index, minlength=n) if ptr is None else ptr.diff()
        return src.new_zeros(n, src.size(1)).index_add_(0, index, src) / count.clamp(min=1).to(src.dtype)[:, None]

    def sparse(src: Tensor) -> Tensor:
        column = torch.arange(index.numel(), device=index.device) if ptr is not None else index.argsort(stable=True)
        start = _starts(index[column], n) if ptr is None else ptr
        count = start.diff()
        weight = (1.0 / count.clamp(min=1)).to(src.dtype).repeat_interleave(count, output_size=index.numel())
        return torch.sparse_csr_tensor(start, column, weight, (n, index.numel()), check_invariants=False) @ src

    def scatter_reduce(src: Tensor) -> Tensor:
        to = index[:, None].expand_as(src)
        return src.new_zeros(n, src.size(1)).scatter_reduce(0, to, src, 'mean', include_self=False)

    found: dict[str, Callable[[Tensor], Tensor] | str] = {
        'torch_scatter.scatter': lambda src: scatter_mean(src, index, n, 'torch_scatter'),
        'segment_csr': lambda src: in_order(src, lambda x, i, p: kernel.segment_csr(x, p, reduce='mean')),
        'segment_coo': lambda src: in_order(src, lambda x, i, p: kernel.segment_coo(x, i, dim_size=n, reduce='mean')),
        'PyG scatter': lambda src: scatter(src, index, dim=0, dim_size=n, reduce='mean'),
        'MeanAggregation': lambda src: mean(src, index, ptr=ptr, dim_size=n),
        'scatter_reduce': scatter_reduce,
        'index_add_': index_add,
        'sparse matmul': sparse,
        'dense': lambda src: src.view(n, -1, src.size(1)).mean(1),
    }
    if kernel is None:
        found |= dict.fromkeys(COMPILED, NOT_AVAILABLE)
    if case.relation != 'matches, to instances' or ptr is None:
        found['dense'] = NOT_FOR
    return found


def in_float32(mean: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Half precision is averaged in float32, as the library does: bfloat16 cannot count beyond 256."""
    return lambda src: mean(src.float()).to(src.dtype)


def prove(mean: Callable[[Tensor], Tensor], src: Tensor, grad: Tensor, case: Case) -> None:
    """The mean and its gradient are the definition's, in float64."""
    count = torch.bincount(case.index, minlength=case.num_targets).clamp(min=1).double()[:, None]
    expected = torch.zeros(case.num_targets, src.size(1), dtype=torch.double, device=src.device)
    expected = expected.index_add_(0, case.index, src.detach().double()) / count
    close = {'rtol': 2e-2, 'atol': 2e-2} if src.dtype == torch.bfloat16 else {'rtol': 1e-4, 'atol': 1e-5}
    out = mean(src)
    torch.testing.assert_close(out.detach().double(), expected, **close)
    (found,) = torch.autograd.grad(out, src, grad)
    torch.testing.assert_close(found.double(), (grad.double() / count)[case.index], **close)


def row(case: Case, dtype: torch.dtype, order: str, args: argparse.Namespace) -> tuple[list, dict[str, float]]:
    """One row of the table, and its times: forward, and forward with backward."""
    case = case.on(args.device, order)
    src = torch.randn(case.index.numel(), case.width, device=args.device).to(dtype).requires_grad_()
    grad = torch.randn(case.num_targets, case.width, device=args.device).to(dtype)
    cells, forward, both = {}, {}, {}
    for name, mean in contestants(case).items():
        if isinstance(mean, str):
            cells[name] = mean
            continue
        mean = in_float32(mean) if dtype == torch.bfloat16 and name != 'dense' else mean
        try:
            prove(mean, src, grad, case)
        except (RuntimeError, NotImplementedError) as error:
            cells[name] = f'not supported ({type(error).__name__})'
            continue
        forward[name] = lambda mean=mean: mean(src.detach())
        both[name] = lambda mean=mean: torch.autograd.grad(mean(src), src, grad)
    one, other = (seconds(calls, args, 5, 0.05) for calls in (forward, both))
    best = min(other, key=lambda name: other[name].median)
    for name in one:
        cell = f'{1e3 * one[name].median:.3g} / {1e3 * other[name].median:.3g}'
        cells[name] = f'**{cell}**' if name == best else cell
    about = [case.size, case.relation, f'{src.size(0):,} x {case.width:,}', str(dtype).removeprefix('torch.'), order]
    spread = percent(*one.values(), *other.values())
    return about + [cells[name] for name in contestants(case)] + [spread], {k: v.median for k, v in other.items()}


def measure(args: argparse.Namespace) -> list[Table]:
    warnings.filterwarnings('ignore', 'Sparse CSR tensor support is in beta')
    names = list(contestants(Case('', '', torch.zeros(1).long(), 1, 1)))
    columns = ('size', 'relation', 'messages', 'type', 'order', *names, 'spread %')
    table, times = Table('Milliseconds, forward / forward and backward', columns), {}
    for size in args.minutes.cases(QUICK if args.quick else SIZES):
        for case in cases(*size):
            for dtype, order in VARIANTS:
                cells, both = row(case, dtype, order, args)
                table.rows.append(cells)
                times.setdefault((case.relation, dtype, order), []).append(both)
    table.notes.append('Bold: the fastest, with backward. Spread: the largest of a row.')
    return [table, overall(times, names)]


def overall(times: dict[tuple, list[dict[str, float]]], names: list[str]) -> Table:
    """How far each is from the fastest over all sizes."""
    table = Table('Times as long as the fastest, forward and backward, geometric mean over sizes, float32', (
        'relation', 'order', *names,
    ))  # fmt: skip
    for (relation, dtype, order), found in times.items():
        if dtype == torch.float:
            logs = {name: [math.log(both[name] / min(both.values())) for both in found if name in both]
                    for name in names}  # fmt: skip
            means = [math.exp(sum(each) / len(each)) if len(each) == len(found) else None for each in logs.values()]
            table.rows.append([relation, order, *means])
    table.notes.append(
        "`ScatterMean('auto')` takes torch-scatter's `scatter` where it is installed, as this project was made to run "
        "on it, else PyG's. Where the models know that shares are even, they average over an axis (dense)."
    )
    return table


def _starts(index: Tensor, num_targets: int) -> Tensor:
    return torch.searchsorted(index, torch.arange(num_targets + 1, device=index.device))


if __name__ == '__main__':
    sys.exit(main('aggregation', __doc__, measure))

"""Which way of averaging what reaches a node is the fastest, by relation, size, type, order and device?

Every contestant gets the messages of one relation of the assignment graph and where each goes. Sorted messages come
with the places where each target's share begins; shuffled ones do not, and whoever needs an order makes it himself.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.nn import MeanAggregation
from torch_geometric.utils import scatter

from benchmarks.common import INSTANCES, Table, main
from experiments.cost import seconds
from mlsgm_pyg import kernels
from mlsgm_pyg.nn import aggregate, scatter_mean

CHANNELS = 512
SIZES = {  # Labels, images.
    'VOC, 1 image': (20, 1),
    'VOC, batch 16': (20, 16),
    'COCO, batch 64': (80, 64),
    'VG-500, 1 image': (500, 1),
}
QUICK = {'tiny': (4, 2)}
NOT_AVAILABLE, NOT_FOR = 'not available', '-'
SORTED = ('torch.float32', 'sorted')
NAMED = {  # Of scatter_mean's backends; the others are measured to know what is left.
    'torch_scatter': 'torch_scatter.scatter', 'segment_csr': 'segment_csr', 'pyg': 'PyG scatter', 'torch': 'index_add_',
}  # fmt: skip


@dataclass
class Case:
    """The messages of one relation.

    Args:
        size (str): Name of the size.
        relation (str): Name of the relation.
        rows (str): What the library knows of them: 'edges', 'segments' or 'dense' (see
            :data:`mlsgm_pyg.nn.aggregate.DEFAULTS`).
        index (Tensor): Where each message goes, sorted.
        num_targets (int): Number of targets.
        width (int): Numbers in a message.
    """

    size: str
    relation: str
    rows: str
    index: Tensor
    num_targets: int
    width: int


def cases(size: str, num_labels: int, images: int) -> list[Case]:
    """The four ways messages take in a batch: kNN edges, label edges, instances to labels, labels to instances."""
    instances = images * INSTANCES
    near = torch.arange(instances).repeat_interleave(min(3, INSTANCES - 1))
    related = torch.arange(images * num_labels).repeat_interleave(num_labels - 1)
    image = torch.arange(images).repeat_interleave(INSTANCES)
    matches = torch.arange(instances).repeat_interleave(num_labels)
    return [
        Case(size, 'near', 'edges', near, instances, CHANNELS),
        Case(size, 'related', 'dense', related, images * num_labels, CHANNELS),
        Case(size, 'matches, to labels', 'segments', image, images, num_labels * CHANNELS),
        Case(size, 'matches, to instances', 'dense', matches, instances, CHANNELS),
    ]


def contestants(case: Case, index: Tensor, ptr: Tensor | None) -> dict[str, Callable[[Tensor], Tensor] | str]:
    """Every way of averaging; a text instead where there is none here."""
    n, kernel = case.num_targets, kernels.find('torch_scatter', index.device.type)
    mean = MeanAggregation()

    def in_order(src: Tensor, of: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        if ptr is not None:
            return of(src, index, ptr)
        ordered, order = index.sort(stable=True)
        return of(src[order], ordered, _starts(ordered, n))

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
        'segment_csr': lambda src: scatter_mean(src, index, n, 'segment_csr', ptr),
        'segment_coo': lambda src: in_order(src, lambda x, i, p: kernel.segment_coo(x, i, dim_size=n, reduce='mean')),
        'PyG scatter': lambda src: scatter(src, index, dim=0, dim_size=n, reduce='mean'),
        'MeanAggregation': lambda src: mean(src, index, ptr=ptr, dim_size=n),
        'scatter_reduce': scatter_reduce,
        'index_add_': lambda src: scatter_mean(src, index, n, 'torch', ptr),
        'sparse matmul': sparse,
        'dense': lambda src: scatter_mean(src, index, n, 'dense'),
    }
    if kernel is None:
        found |= dict.fromkeys(('torch_scatter.scatter', 'segment_csr', 'segment_coo'), NOT_AVAILABLE)
    if case.rows != 'dense' or ptr is None:
        found['dense'] = NOT_FOR
    return found


def in_float32(mean: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Half precision is averaged in float32, as the library does: bfloat16 cannot count beyond 256."""
    return lambda src: mean(src.float()).to(src.dtype)


def prove(mean: Callable[[Tensor], Tensor], src: Tensor, grad: Tensor, index: Tensor, case: Case) -> None:
    """The mean and its gradient are the definition's, in float64."""
    count = torch.bincount(index, minlength=case.num_targets).clamp(min=1).double()[:, None]
    expected = torch.zeros(case.num_targets, src.size(1), dtype=torch.double, device=src.device)
    expected = expected.index_add_(0, index, src.detach().double()) / count
    close = {'rtol': 2e-2, 'atol': 2e-2} if src.dtype == torch.bfloat16 else {'rtol': 1e-4, 'atol': 1e-5}
    out = mean(src)
    torch.testing.assert_close(out.detach().double(), expected, **close)
    (found,) = torch.autograd.grad(out, src, grad)
    torch.testing.assert_close(found.double(), (grad.double() / count)[index], **close)


def row(case: Case, dtype: torch.dtype, order: str, device: torch.device, quick: bool) -> tuple[list, dict]:
    """One row of the table, and its times: forward, and forward with backward."""
    index, ptr = case.index.to(device), None
    if order == 'sorted':
        ptr = _starts(index, case.num_targets)
    else:
        index = index[torch.randperm(index.numel(), device=device)]
    src = torch.randn(index.numel(), case.width, device=device).to(dtype).requires_grad_()
    grad = torch.randn(case.num_targets, case.width, device=device).to(dtype)
    cells, forward, both = {}, {}, {}
    for name, mean in contestants(case, index, ptr).items():
        if isinstance(mean, str):
            cells[name] = mean
            continue
        mean = in_float32(mean) if dtype == torch.bfloat16 and name != 'dense' else mean
        try:
            prove(mean, src, grad, index, case)
        except (RuntimeError, NotImplementedError) as error:
            cells[name] = f'not supported ({type(error).__name__})'
            continue
        forward[name] = lambda mean=mean: mean(src.detach())
        both[name] = lambda mean=mean: torch.autograd.grad(mean(src), src, grad)
    rounds = 1 if src.numel() > 2**24 else 3
    times = seconds(forward, quick, rounds), seconds(both, quick, rounds)
    best = min(times[1], key=times[1].get)
    for name in times[0]:
        cell = f'{1e3 * times[0][name]:.3g} / {1e3 * times[1][name]:.3g}'
        cells[name] = f'**{cell}**' if name == best else cell
    about = [case.size, case.relation, f'{index.numel():,} x {case.width:,}', str(dtype).removeprefix('torch.'), order]
    return about + [cells[name] for name in contestants(case, index, ptr)], times[1]


def measure(args: argparse.Namespace) -> list[Table]:
    warnings.filterwarnings('ignore', 'Sparse CSR tensor support is in beta')
    table, times = None, {}
    for size, numbers in (QUICK if args.quick else SIZES).items():
        for case in cases(size, *numbers):
            for dtype, order in ((torch.float, 'sorted'), (torch.float, 'shuffled'), (torch.bfloat16, 'sorted')):
                cells, both = row(case, dtype, order, args.device, args.quick)
                if table is None:
                    names = list(contestants(case, case.index.to(args.device), None))
                    columns = ('size', 'relation', 'messages', 'type', 'order', *names)
                    table = Table('Milliseconds, forward / forward and backward', columns)
                table.rows.append(cells)
                times[case.size, case.relation, case.rows, str(dtype), order] = both
    if args.write:
        picture(times, args.device)
    return [table, follows(times, args.device)]


def follows(times: dict[tuple, dict[str, float]], device: torch.device) -> Table:
    """The backend that is the fastest over all sizes, for what the library knows of the rows."""
    columns = ('rows', 'order', 'fastest', "of torch-scatter's", "'auto' takes")
    table = Table('The default that follows, and how many times as long as the fastest', columns)
    for rows, order in (('edges', 'sorted'), ('edges', 'shuffled'), ('segments', 'sorted'), ('dense', 'sorted')):
        found = [both for key, both in times.items() if key[2] == rows and key[3:] == ('torch.float32', order)]
        names = [name for name in (*NAMED.values(), 'dense') if all(name in both for both in found)]
        slower = {
            name: math.exp(sum(math.log(both[name] / min(both.values())) for both in found) / len(found))
            for name in names
        }
        compiled = [name for name in slower if name in (NAMED['torch_scatter'], NAMED['segment_csr'])]
        taken = 'dense' if rows == 'dense' else NAMED[aggregate.default(device.type, rows)]
        chosen = min(slower, key=slower.get), min(compiled, key=slower.get, default=NOT_AVAILABLE), taken
        table.rows.append([rows, order, *(f'{x} ({slower[x]:.2f})' if x in slower else x for x in chosen)])
    table.notes.append(
        'Among the backends of `mlsgm_pyg.nn.scatter_mean`: geometric mean over sizes, float32, forward and backward. '
        "Where torch-scatter is installed, 'auto' takes the faster of its two; else the fastest of the others."
    )
    return table


def picture(times: dict[tuple, dict[str, float]], device: torch.device) -> None:
    """Bars: how much longer than the best each takes on a COCO batch."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    found = {key[1]: both for key, both in times.items() if key[0].startswith('COCO') and key[3:] == SORTED}
    names = [name for name in next(iter(found.values())) if name != 'dense'] + ['dense']
    figure, axes = plt.subplots(1, len(found), figsize=(11, 3.2), sharey=True, constrained_layout=True, squeeze=False)
    for axis, (relation, both) in zip(axes[0], found.items()):
        best = min(both, key=both.get)
        ratios = [both[name] / both[best] if name in both else 0 for name in names]
        bars = axis.barh(names, ratios, color=['#d95f02' if name == best else '#8da0cb' for name in names])
        axis.bar_label(bars, [_ms(both[name]) if name in both else '-' for name in names], padding=3, fontsize=8)
        axis.axvline(1, color='0.3', linewidth=0.8)
        axis.set(xlim=(0, 1.35 * max(ratios)), xlabel='times as long as the fastest', title=relation)
    axes[0, 0].invert_yaxis()  # Once: the axes share it.
    figure.suptitle(f'Mean of messages, forward and backward, COCO batch of 64, float32, sorted ({device.type})')
    figure.savefig(Path(__file__).with_name(f'aggregation-{device.type}.png'), dpi=80)
    plt.close(figure)


def _ms(time: float) -> str:
    number = 1e3 * time
    return f'{number:.2g} ms' if number < 100 else f'{number:.0f} ms'


def _starts(index: Tensor, num_targets: int) -> Tensor:
    return torch.searchsorted(index, torch.arange(num_targets + 1, device=index.device))


if __name__ == '__main__':
    sys.exit(main('aggregation', __doc__, measure))

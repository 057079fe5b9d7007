"""The edges of a label graph where every label has equally many neighbours: an array's axis, some targets at a time.

What is wanted of them is a mean a target; they themselves would be by far the largest arrays of the graph. So they stay
a recipe (:class:`LabelEdges`), followed for a few targets at a time, and in training with recomputation once more for
their gradients (:class:`Streamed`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import Parameter


@dataclass(frozen=True)
class LabelNeighbors:
    """Who sends to whom in the label graph: all to all others, or the same number of sources for each target.

    Args:
        num_labels (int): Number of labels, C.
        source (Tensor, optional): The sources of each target, :obj:`[C, K]`. (default: all others)
    """

    num_labels: int
    source: Tensor | None = None

    @property
    def width(self) -> int:
        """Edges a target, K."""
        return self.num_labels - 1 if self.source is None else self.source.size(1)

    def sources(self, value: Tensor) -> Others | Gathered:
        """Values :obj:`[B, C, D]`, read by the edges that they send on."""
        return Others(value) if self.source is None else Gathered(value, self.source)

    def pair(self, source: Tensor, target: Tensor) -> LabelEdges:
        """Adds source and target values, :obj:`[B, C, D]` each, on the edges: :obj:`[B, rows, K, D]`."""
        return LabelEdges(_pair, (self.sources(source), Targets(target)))

    def mean(self, message: Tensor) -> Tensor:
        """The mean over a target's edges, :obj:`[B, rows, K, D]` to :obj:`[B, rows, D]`; 0 without edges."""
        return message.mean(2) if self.width else message.sum(2)


class Read(ABC):
    """A tensor that edges read from: which of its numbers, and where their gradients go."""

    tensor: Tensor

    @abstractmethod
    def take(self, rows: slice) -> Tensor:
        """What the edges of some targets read."""

    def each(self, chunks: list[slice]) -> Iterable[Tensor]:
        """What is read by all targets in turn."""
        return (self.take(rows) for rows in chunks)

    @abstractmethod
    def give(self, total: Tensor, rows: slice, grad: Tensor) -> None:
        """Adds the gradient of what was taken to that of the whole tensor, in place."""


class Targets(Read):
    """Rows of a tensor :obj:`[B, C, ...]`, one a target."""

    def __init__(self, value: Tensor):
        self.tensor = value

    def take(self, rows: slice) -> Tensor:
        return self.tensor[:, rows]

    def each(self, chunks: list[slice]) -> Iterable[Tensor]:
        sizes = [rows.stop - rows.start for rows in chunks]
        return self.tensor.split(sizes, dim=1)  # Its gradient is put together once.

    def give(self, total: Tensor, rows: slice, grad: Tensor) -> None:
        total[:, rows] += grad


class Gathered(Read):
    """The sources of each target, :obj:`[B, C, D]` to :obj:`[B, rows, K, D]`."""

    def __init__(self, value: Tensor, source: Tensor):
        self.tensor, self.source = value, source

    def take(self, rows: slice) -> Tensor:
        index = self.source[rows]
        return self.tensor.index_select(1, index.flatten()).unflatten(1, index.shape)

    def give(self, total: Tensor, rows: slice, grad: Tensor) -> None:
        total.index_add_(1, self.source[rows].flatten(), grad.flatten(1, 2))


class Others(Read):
    """All labels but the target itself, in turn from the next one on: :obj:`[B, C, D]` to :obj:`[B, rows, C - 1, D]`.

    They are windows on the values written twice, so nothing of the size of the edges is stored.
    """

    def __init__(self, value: Tensor):
        self.tensor = torch.cat([value, value[:, :-1]], dim=1)

    def take(self, rows: slice) -> Tensor:
        return Windows.apply(self.tensor, rows)

    def give(self, total: Tensor, rows: slice, grad: Tensor) -> None:
        _add_windows(total, rows, grad)


class Windows(torch.autograd.Function):
    """The windows of :class:`Others`; torch's own gradient of overlapping windows is slower and larger."""

    @staticmethod
    def forward(ctx, twice: Tensor, rows: slice) -> Tensor:
        ctx.rows, ctx.length = rows, twice.size(1)
        return twice.unfold(1, twice.size(1) // 2, 1)[:, rows.start + 1 : rows.stop + 1].transpose(2, 3)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        total = grad.new_zeros(grad.size(0), ctx.length, grad.size(3))
        _add_windows(total, ctx.rows, grad)
        return total, None


def _add_windows(total: Tensor, rows: slice, grad: Tensor) -> None:
    width = grad.size(2)
    for row in range(grad.size(1)):
        start = rows.start + row + 1
        total[:, start : start + width] += grad[:, row]


def _pair(source: Tensor, target: Tensor) -> Tensor:
    return target[:, :, None].expand_as(source).clone(memory_format=torch.contiguous_format).add_(source)


@dataclass(frozen=True)
class LabelEdges:
    """How the attributes of label edges are computed: called with some targets, :obj:`[1 or B, rows, K, D]`.

    Args:
        function (callable): What is read -> attributes. It must not write on what it is given.
        reads (tuple of Read): Where that comes from.
        parameters (tuple of Parameter): What the function uses beside.
    """

    function: Callable[..., Tensor]
    reads: tuple[Read, ...]
    parameters: tuple[Parameter, ...] = ()

    def __call__(self, rows: slice) -> Tensor:
        return self.function(*(read.take(rows) for read in self.reads))

    def then(
        self, function: Callable[..., Tensor], parameters: Iterable[Parameter], edges: LabelEdges | None = None
    ) -> LabelEdges:
        """A function of these edges, and of others where given."""
        first, num = self.function, len(self.reads)
        if edges is None:
            return LabelEdges(lambda *x: function(first(*x)), self.reads, (*self.parameters, *parameters))
        second = edges.function
        return LabelEdges(
            lambda *x: function(first(*x[:num]), second(*x[num:])),
            self.reads + edges.reads,
            (*self.parameters, *edges.parameters, *parameters),
        )

    def kept(self, num_labels: int) -> LabelEdges:
        """The same edges, computed now and kept: where more than one reader asks for them."""
        return stored(self(slice(0, num_labels)))

    def by_targets(self, chunks: list[slice], recompute: bool = False) -> Tensor:
        """Everything, some targets at a time: what is a vector a target, :obj:`[1 or B, C, D]`.

        Args:
            chunks (list[slice]): The targets.
            recompute (bool): Whether gradients compute it again instead of keeping what they need.
                (default: :obj:`False`)
        """
        if recompute and torch.is_grad_enabled():
            own = tuple({id(p): p for p in self.parameters}.values())
            return Streamed.apply(self, chunks, own, *(read.tensor for read in self.reads), *own)
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return torch.cat([self.function(*x) for x in zip(*(read.each(chunks) for read in self.reads))], dim=1)
        return self.filled(chunks)

    def filled(self, chunks: list[slice]) -> Tensor:
        """Everything, some targets at a time, written to where it stays.

        What stays between two chunks would break up the allocator's memory: four times what is in use with 500 labels
        on a CPU.
        """
        out = None
        for rows in chunks:
            part = self(rows)
            if out is None:
                out = part.new_empty(part.size(0), chunks[-1].stop, *part.shape[2:])
            out[:, rows] = part
        return out


def stored(value: Tensor) -> LabelEdges:
    """Attributes that are there already, :obj:`[1 or B, C, K, D]`."""
    return LabelEdges(lambda x: x, (Targets(value),))


class Streamed(torch.autograd.Function):
    """:meth:`LabelEdges.by_targets`, of which nothing but the result is kept.

    One :func:`torch.utils.checkpoint.checkpoint` a chunk does the same, but what each leaves behind breaks up the
    allocator's memory (see :meth:`LabelEdges.filled`), and every chunk's gradients are as long as the whole tensors
    that it read a part of.
    """

    @staticmethod
    def forward(ctx, edges: LabelEdges, chunks: list[slice], own: tuple[Parameter, ...], *tensors: Tensor) -> Tensor:
        ctx.edges, ctx.chunks, ctx.own = edges, chunks, own
        ctx.save_for_backward(*tensors)
        device = tensors[0].device.type
        ctx.autocast = {
            'device_type': device,
            'dtype': torch.get_autocast_dtype(device),
            'enabled': torch.is_autocast_enabled(device),
        }
        return edges.filled(chunks)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        reads, needed = ctx.edges.reads, ctx.needs_input_grad[3:]
        wanted = [i for i, need in enumerate(needed) if need]
        totals = [None] * len(needed)
        for i, x in enumerate(ctx.saved_tensors[: len(reads)]):  # All of them: raises if one was modified since.
            totals[i] = torch.zeros_like(x) if needed[i] else None
        for rows in ctx.chunks:
            leaves = [read.take(rows).detach().requires_grad_(need) for read, need in zip(reads, needed)]
            with torch.enable_grad(), torch.autocast(**ctx.autocast):
                out = ctx.edges.function(*leaves)
            inputs = [*leaves, *ctx.own]
            found = torch.autograd.grad(out, [inputs[i] for i in wanted], grad[:, rows], allow_unused=True)
            for i, part in zip(wanted, found):
                if part is None:
                    continue
                if i < len(reads):
                    reads[i].give(totals[i], rows, part)
                else:
                    totals[i] = part if totals[i] is None else totals[i].add_(part)
        return (None, None, None, *totals)

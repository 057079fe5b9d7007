"""Multi-layer perceptrons whose first layer reads a concatenation without ever storing it."""

from collections.abc import Callable, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.parameter import UninitializedParameter


class SplitLinear(torch.nn.Linear):
    r"""A linear layer on the concatenation of several inputs, applied to each of them apart:

    .. math::
        \mathbf{W} [\mathbf{x}_1 \, \Vert \, \ldots \, \Vert \, \mathbf{x}_n] + \mathbf{b} =
        \sum_{k=1}^{n} \mathbf{W}_k \mathbf{x}_k + \mathbf{b}

    A node's part is projected once a node and added on each of its edges, so nothing as long as the concatenation is
    computed or stored on an edge. There is one weight, as if the inputs were concatenated.

    Args:
        in_channels (Sequence[int]): Size of each input; one of size 0 is absent, one of -1 is read off the first call.
        out_channels (int): Size of the output.
        bias (bool): Whether to learn a bias, which goes with the last input. (default: :obj:`True`)

    Shapes:
        - **input:** :math:`(*, F_k)` for each :math:`k`
        - **output:** :math:`(*, F_{out})` for each :math:`k`, to be added up
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, bias: bool = True):
        self.in_channels, self.out_channels = tuple(in_channels), out_channels
        known = -1 not in self.in_channels
        super().__init__(sum(in_channels) if known else 1, out_channels, bias)
        if not known:
            self.weight = UninitializedParameter()

    def reset_parameters(self) -> None:
        if -1 not in self.in_channels:
            super().reset_parameters()

    def infer(self, *inputs: Tensor | None) -> None:
        """Takes sizes that are not known yet (-1) from inputs; one that is :obj:`None` is absent."""
        if -1 not in self.in_channels:
            return
        given = [0 if x is None else x.size(-1) for x in inputs]
        given += [0] * (len(self.in_channels) - len(given))
        self.in_channels = tuple(size if size >= 0 else new for size, new in zip(self.in_channels, given))
        self.in_features = sum(self.in_channels)
        like = self.weight if self.bias is None else self.bias
        self.weight.materialize((self.out_channels, self.in_features), device=like.device, dtype=like.dtype)
        self.reset_parameters()

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        if -1 in self.in_channels and f'{prefix}weight' in state_dict:
            args[-1].append(f'{prefix}weight has a size that is not known yet (-1): call the layer once, then load')
        else:
            super()._load_from_state_dict(state_dict, prefix, *args)

    def part(self, index: int, x: Tensor) -> Tensor:
        """Projects the input number :obj:`index` (the bias goes with the last one)."""
        start = sum(self.in_channels[:index])
        weight = self.weight[:, start : start + self.in_channels[index]]
        return F.linear(x, weight, self.bias if index == len(self.in_channels) - 1 else None)

    def forward(self, *inputs: Tensor | None) -> tuple[Tensor | None, ...]:
        if len(inputs) != len(self.in_channels):
            raise ValueError(f'{self} takes {len(self.in_channels)} inputs (got {len(inputs)})')
        self.infer(*inputs)
        return tuple(None if x is None else self.part(i, x) for i, x in enumerate(inputs))

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({list(self.in_channels)}, {self.out_channels})'


class ReLUNorm(torch.nn.LayerNorm):
    """ReLU, then LayerNorm over the last axis; the input is overwritten.

    With :obj:`compiled` set, both are one kernel of :func:`torch.compile`, forward and backward, with the same result
    up to rounding. Where edges are many, reading and writing them is what is left to save beside the matrix products.

    Shapes:
        - **input and output:** :math:`(*, F)`
    """

    compiled = False

    def forward(self, x: Tensor) -> Tensor:
        if self.compiled:
            return _compiled_relu_norm()(x, self.weight, self.bias, self.eps)
        return super().forward(torch.relu_(x))


@cache
def _compiled_relu_norm() -> Callable[[Tensor, Tensor, Tensor, float], Tensor]:
    def relu_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        return F.layer_norm(torch.relu(x), weight.shape, weight, bias, eps)

    return torch.compile(relu_norm, dynamic=True)


class SplitMLP(torch.nn.Module):
    r"""Linear -> ReLU -> LayerNorm for each layer, the form of every update function of the paper (Eq. 5-14).

    PyG's :class:`~torch_geometric.nn.MLP` with :obj:`norm='layer_norm'` normalises over the whole batch by default;
    here each row is normalised for itself, so that an image's score never depends on its neighbours in the batch.

    Args:
        in_channels (int or Sequence[int]): Size of the input, or sizes of the inputs that the first layer reads as
            their concatenation (see :class:`SplitLinear`).
        channels (Sequence[int]): Output size of each layer.

    Shapes:
        - **input:** :math:`(*, F_k)` for each input :math:`k`, broadcastable against each other; or one
          :math:`(*, \sum_k F_k)` that is concatenated already
        - **output:** :math:`(*, F_{out})`
    """

    def __init__(self, in_channels: int | Sequence[int], channels: Sequence[int]):
        super().__init__()
        sizes = (in_channels,) if isinstance(in_channels, int) else tuple(in_channels)
        self.in_channels, self.out_channels = sizes, channels[-1]
        self.first = SplitLinear(sizes, channels[0])
        self.lins = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in zip(channels, channels[1:], strict=False))
        self.norms = torch.nn.ModuleList(ReLUNorm(size) for size in channels)

    def reset_parameters(self) -> None:
        for module in (self.first, *self.lins, *self.norms):
            module.reset_parameters()

    def forward(self, *inputs: Tensor) -> Tensor:
        if len(inputs) == 1 < len(self.in_channels):
            return self.finish(F.linear(inputs[0], self.first.weight, self.first.bias))
        first, *rest = self.first(*inputs)
        for part in rest:
            first = first + part
        return self.finish(first)

    def finish(self, x: Tensor) -> Tensor:
        """Everything after the first linear layer; :obj:`x`, its output, is overwritten."""
        x = self.norms[0](x)
        for lin, norm in zip(self.lins, self.norms[1:], strict=True):
            x = norm(lin(x))
        return x

    def __repr__(self) -> str:
        channels = [norm.normalized_shape[0] for norm in self.norms]
        return f'{self.__class__.__name__}({list(self.in_channels)} -> {channels})'

"""The mean over what reaches a node: torch-scatter's where it is installed, else PyG's."""

import torch
from torch import Tensor
from torch_geometric.nn.aggr import Aggregation
from torch_geometric.utils import scatter

from mlsgm_pyg import kernels
from mlsgm_pyg.names import check_choice

BACKENDS = ('auto', 'torch_scatter', 'pyg')


def scatter_mean(src: Tensor, index: Tensor, dim_size: int | None = None, backend: str = 'auto') -> Tensor:
    r"""Averages the rows of :obj:`src` that share an index; an index that never occurs gets 0.

    Args:
        src (Tensor): The rows.
        index (Tensor): Where each row goes.
        dim_size (int, optional): Number of output rows. (default: largest index plus one)
        backend (str): :obj:`'torch_scatter'` (:func:`torch_scatter.scatter`), :obj:`'pyg'`
            (:func:`torch_geometric.utils.scatter`), or :obj:`'auto'`: torch-scatter where it is installed, as this
            project was made to run on it, else PyG's, which is as fast on CPUs (``python -m benchmarks.aggregation``).
            Half precision is averaged in float32: bfloat16 cannot count beyond 256. (default: :obj:`'auto'`)

    Shapes:
        - **input:** :obj:`src` :math:`(E, *)`, :obj:`index` :math:`(E)`
        - **output:** :math:`(N, *)`

    Raises:
        ValueError: If the backend is unknown, or the index does not hold one number a row (whether it is in range is
            not asked: that would wait for the device).
        ImportError: If torch-scatter was asked for by name and is missing.
    """
    check_choice('backend', backend, BACKENDS)
    if index.shape != src.shape[:1]:
        raise ValueError(
            f"'index' must hold one number a row of 'src': expected shape {list(src.shape[:1])} "
            f'(got {list(index.shape)})'
        )
    if src.dtype in (torch.half, torch.bfloat16):
        return scatter_mean(src.float(), index, dim_size, backend).to(src.dtype)
    if dim_size is None:
        dim_size = int(index.max()) + 1 if index.numel() else 0
    torch_scatter = None if backend == 'pyg' else kernels.find('torch_scatter', src.device.type)
    if torch_scatter is not None:
        return torch_scatter.scatter(src, index, dim=0, dim_size=dim_size, reduce='mean')
    if backend == 'torch_scatter':
        raise ImportError(f"backend 'torch_scatter' needs torch-scatter: {kernels.HOW_TO_GET}")
    return scatter(src, index, dim=0, dim_size=dim_size, reduce='mean')


class ScatterMean(Aggregation):
    """:func:`scatter_mean` as an aggregation of PyG, for :obj:`aggr=` of any layer; PyG's own mean never calls
    torch-scatter.

    Args:
        backend (str): See :func:`scatter_mean`. (default: :obj:`'auto'`)

    Shapes:
        - **input:** :obj:`x` :math:`(*, E, F)`, :obj:`index` :math:`(E)`
        - **output:** :math:`(*, N, F)`
    """

    def __init__(self, backend: str = 'auto'):
        super().__init__()
        check_choice('backend', backend, BACKENDS)
        self.backend = backend

    def forward(
        self,
        x: Tensor,
        index: Tensor | None = None,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = -2,
    ) -> Tensor:
        if index is None:
            index = torch.arange(ptr.numel() - 1, device=x.device).repeat_interleave(ptr.diff())
        return scatter_mean(x.movedim(dim, 0), index, dim_size, self.backend).movedim(0, dim)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.backend})'

"""The mean over what reaches a node, taken by a backend that can be chosen."""

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from mlsgm_pyg import kernels
from mlsgm_pyg.names import check_choice

BACKENDS = ('auto', 'torch_scatter', 'segment_csr', 'pyg', 'torch', 'dense')

# What 'auto' takes, the first that is there, by device and by what is known of the rows: nothing ('edges', such as kNN
# edges), or where each output's share begins ('segments', such as the instances of each image). Relations whose
# outputs have equally many rows each (label edges, the labels of an instance) are 'dense' in the models anyway.
# `python -m benchmarks.aggregation` measures it: first the fastest of torch-scatter's, which runs where it is installed
# (some hundredths of a millisecond slower than PyG's on small graphs, as fast on large ones), then the fastest of the
# others. Other devices are as 'cuda', which was not measured.
DEFAULTS = {
    ('cpu', 'edges'): ('torch_scatter', 'pyg'),
    ('cpu', 'segments'): ('torch_scatter', 'pyg'),
    ('cuda', 'edges'): ('torch',),
    ('cuda', 'segments'): ('torch',),
}
KERNELS = ('torch_scatter', 'segment_csr')


def scatter_mean(
    src: Tensor, index: Tensor, dim_size: int | None = None, backend: str = 'auto', ptr: Tensor | None = None
) -> Tensor:
    r"""Averages the rows of :obj:`src` that share an index; an index that never occurs gets 0.

    Args:
        src (Tensor): The rows.
        index (Tensor): Where each row goes.
        dim_size (int, optional): Number of output rows. (default: largest index plus one)
        backend (str): :obj:`'torch_scatter'` (:func:`torch_scatter.scatter`), :obj:`'segment_csr'`
            (:func:`torch_scatter.segment_csr`; sorts the rows first unless :obj:`ptr` is given), :obj:`'pyg'`
            (:func:`torch_geometric.utils.scatter`), :obj:`'torch'` (:meth:`~torch.Tensor.index_add_`),
            :obj:`'dense'` (a mean over an axis; the rows must be sorted and equally many for each output, which is not
            checked), or :obj:`'auto'`: what :data:`DEFAULTS` says for the device. Half precision is averaged in
            float32: bfloat16 cannot count beyond 256. (default: :obj:`'auto'`)
        ptr (Tensor, optional): For a sorted index, where each output row's share begins (one longer than the output);
            spares :obj:`'segment_csr'` and :obj:`'torch'` the counting.

    Shapes:
        - **input:** :obj:`src` :math:`(E, *)`, :obj:`index` :math:`(E)`
        - **output:** :math:`(N, *)`

    Raises:
        ValueError: If the backend is unknown, the index does not hold one number a row (whether it is in range is not
            asked: that would wait for the device), or :obj:`'dense'` gets rows that do not divide among the outputs.
        ImportError: If torch-scatter was asked for by name and is missing.
    """
    check_choice('backend', backend, BACKENDS)
    if index.shape != src.shape[:1]:
        raise ValueError(
            f"'index' must hold one number a row of 'src': expected shape {list(src.shape[:1])} "
            f'(got {list(index.shape)})'
        )
    if src.dtype in (torch.half, torch.bfloat16):
        return scatter_mean(src.float(), index, dim_size, backend, ptr).to(src.dtype)
    if backend == 'auto':
        backend = default(src.device.type, 'edges' if ptr is None else 'segments')
    if dim_size is None:
        dim_size = int(index.max()) + 1 if index.numel() else 0
    if backend == 'pyg':
        return scatter(src, index, dim=0, dim_size=dim_size, reduce='mean')
    if backend == 'dense':
        return _dense_mean(src, dim_size)
    if backend == 'torch':
        return _index_add_mean(src, index, dim_size, ptr)
    torch_scatter = kernels.find('torch_scatter', src.device.type)
    if torch_scatter is None:
        raise ImportError(f"backend '{backend}' needs torch-scatter: {kernels.HOW_TO_GET}")
    if backend == 'torch_scatter':
        return torch_scatter.scatter(src, index, dim=0, dim_size=dim_size, reduce='mean')
    if ptr is None:
        index, order = index.sort(stable=True)
        src, ptr = src[order], torch.searchsorted(index, torch.arange(dim_size + 1, device=index.device))
    return torch_scatter.segment_csr(src, ptr, reduce='mean')


def default(device: str, rows: str) -> str:
    """The backend that :obj:`'auto'` takes on a type of device, for :obj:`'edges'` or :obj:`'segments'`."""
    wanted = DEFAULTS.get((device, rows), DEFAULTS['cuda', rows])
    return next(name for name in wanted if name not in KERNELS or kernels.usable('torch_scatter', device))


def _dense_mean(src: Tensor, dim_size: int) -> Tensor:
    if src.size(0) % max(dim_size, 1):
        raise ValueError(f"backend 'dense' needs equally many rows for each of {dim_size} outputs (got {src.size(0)})")
    if src.size(0) == 0:
        return src.new_zeros(dim_size, *src.shape[1:])
    return src.unflatten(0, (dim_size, -1)).mean(1)


def _index_add_mean(src: Tensor, index: Tensor, dim_size: int, ptr: Tensor | None) -> Tensor:
    if ptr is None:
        count = torch.zeros(dim_size, dtype=src.dtype, device=src.device)
        count.index_add_(0, index, torch.ones_like(index, dtype=src.dtype))
    else:
        count = ptr.diff().to(src.dtype)
    out = src.new_zeros(dim_size, *src.shape[1:]).index_add_(0, index, src)
    return out / count.clamp(min=1).view(-1, *[1] * (src.dim() - 1))

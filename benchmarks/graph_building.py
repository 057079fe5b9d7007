"""What do boxes, neighbours and the batched graph cost, against one image at a time?

Four questions: the vectorised builder against `DataLoader` collation of graphs made one by one; one
connected-component call for all maps against a loop of scikit-image; torch-cluster against its fallback; and
everything between the class maps and the graph together.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
import torch
from skimage import measure as skimage_measure
from torch import Tensor
from torch_geometric.data import Batch, HeteroData
from torch_geometric.loader import DataLoader

from benchmarks.common import Table, main, percent, seconds
from mlsgm_pyg import kernels
from mlsgm_pyg.assignment import AssignmentGraph
from mlsgm_pyg.csac import CSAC, CSACOutput, Instances
from mlsgm_pyg.knn import knn_edges
from mlsgm_pyg.regions import boxes, grid_centres
from mlsgm_pyg.schema import INSTANCE

THRESHOLD = 0.2


def slow_boxes(maps: Tensor) -> Tensor:
    """One scikit-image call a map: the largest 8-connected segment's box, ties by the first pixel."""
    out = []
    for one in maps.detach().cpu().numpy():
        label = skimage_measure.label(one >= THRESHOLD * one.max(), connectivity=2)
        size = np.bincount(label.ravel())
        size[0] = 0
        y, x = np.nonzero(label == size.argmax())  # Segments are numbered by their first pixels.
        height, width = one.shape
        left, top = x.min() / width, y.min() / height
        out.append([left, top, (x.max() + 1 - x.min()) / width, (y.max() + 1 - y.min()) / height])
    return torch.tensor(out, dtype=maps.dtype, device=maps.device)


def single_graphs(assign: AssignmentGraph, instances: Instances) -> list[HeteroData]:
    """The same instances, image by image, through the same transform."""
    graphs = []
    for start, end in zip(instances.ptr.tolist(), instances.ptr[1:].tolist(), strict=False):
        data = HeteroData()
        for name in ('x', 'box', 'label', 'score', 'centre'):
            data[INSTANCE][name] = getattr(instances, name)[start:end]
        graphs.append(assign(data))
    return graphs


def same(one: Batch, other: Batch) -> None:
    """Field by field."""
    for a, b in zip(one.stores, other.stores, strict=True):
        assert set(a.keys()) == set(b.keys()), (a, b)
        for name, value in a.items():
            assert torch.equal(value.cpu(), b[name].cpu()) if isinstance(value, Tensor) else value == b[name], name


def smooth_maps(count: int, size: int, device: torch.device) -> Tensor:
    """Class maps as they are, a few blobs each: the logits of noise on a coarser grid."""
    noise = torch.randn(count, 1, max(size // 3, 2), max(size // 3, 2), device=device)
    return 3 * torch.nn.functional.interpolate(noise, size=(size, size), mode='bicubic')[:, 0]


def measure(args: argparse.Namespace) -> list[Table]:
    images, labels, each, channels, size = (3, 4, 3, 8, 6) if args.quick else (64, 20, 11, 1024, 14)
    device = args.device
    feature = torch.randn(images, channels, size, size, device=device)
    csac = CSAC(channels, labels, None, gamma=0.0, max_instances=each - 1).to(device)  # Exactly so many instances.
    maps = smooth_maps(images * labels, size, device).view(images, labels, size, size)
    out = CSACOutput(maps, maps.flatten(2).amax(2))
    assign = AssignmentGraph(labels)
    with torch.no_grad():
        instances = csac.select(feature, out)
        table = Table(
            f'{images} images at {each} instances, C = {labels}, {size}x{size} maps',
            ('step', 'form', 'ms', 'times as fast as the slowest', 'spread %'),
        )
        probability = maps.flatten(0, 1).sigmoid()[: len(instances.x)]
        for step, forms in {
            'boxes': _boxes(probability),
            'kNN': _neighbours(instances),
            'graphs': _graphs(assign, instances),
            'boxes, kNN and graphs': _all(csac, assign, probability, instances),
        }.items():
            times = seconds({name: fn for name, fn in forms.items() if fn is not None}, args)
            slowest = max(each.median for each in times.values())
            for name in forms:
                found = times.get(name)
                cells = [1e3 * found.median, slowest / found.median, percent(found)] if found else [None] * 3
                table.rows.append([step, name if found else f'{name}: not available', *cells])
    table.notes.append(
        'Graphs one by one: the same transform (same fields, same kNN) for each image, then `Batch.from_data_list` or '
        '`DataLoader`. Every form gives the same boxes, edges and fields, which is checked first.'
    )
    return [table]


def _boxes(maps: Tensor) -> dict[str, Any]:
    expected = slow_boxes(maps)
    for backend in ('skimage', 'torch'):
        torch.testing.assert_close(boxes(maps, THRESHOLD, backend), expected)
    return {
        'a loop of scikit-image': lambda: slow_boxes(maps),
        'one call of scikit-image': lambda: boxes(maps, THRESHOLD, 'skimage'),
        'torch, on the device': lambda: boxes(maps, THRESHOLD, 'torch'),
    }


def _neighbours(instances: Instances) -> dict[str, Any]:
    arguments = (instances.centre, instances.ptr, 3, instances.sizes)
    there = kernels.find('torch_cluster', instances.centre.device.type) is not None
    if there:
        assert torch.equal(knn_edges(*arguments, 'torch_cluster'), knn_edges(*arguments, 'torch'))
    return {
        'torch-cluster': (lambda: knn_edges(*arguments, 'torch_cluster')) if there else None,
        'torch, on the device': lambda: knn_edges(*arguments, 'torch'),
    }


def _graphs(assign: AssignmentGraph, instances: Instances) -> dict[str, Any]:
    def collated() -> Batch:
        return Batch.from_data_list(single_graphs(assign, instances))

    def loaded() -> Batch:
        return next(iter(DataLoader(single_graphs(assign, instances), batch_size=len(instances.sizes))))

    same(assign.batch(instances), collated())
    same(assign.batch(instances), loaded())
    return {
        'one by one, Batch.from_data_list': collated,
        'one by one, DataLoader': loaded,
        'all at once': lambda: assign.batch(instances),
    }


def _all(csac: CSAC, assign: AssignmentGraph, maps: Tensor, instances: Instances) -> dict[str, Any]:
    def found(box: Tensor) -> Instances:
        return instances._replace(box=box, centre=grid_centres(box, *maps.shape[1:]))

    def one_by_one() -> Batch:
        return Batch.from_data_list(single_graphs(assign, found(slow_boxes(maps))))

    def all_at_once() -> Batch:
        return assign.batch(found(boxes(maps, csac.box_threshold)))

    same(all_at_once(), one_by_one())
    return {'one by one': one_by_one, 'all at once': all_at_once}


if __name__ == '__main__':
    sys.exit(main('graph_building', __doc__, measure))

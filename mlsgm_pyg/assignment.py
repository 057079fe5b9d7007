"""The assignment graph: instances by position, labels by meaning, every instance joined to every label (Eq. 2-4)."""

from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Batch, HeteroData
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.data.storage import NodeStorage
from torch_geometric.transforms import BaseTransform
from torchvision.ops import box_convert

from mlsgm_pyg.csac import Instances
from mlsgm_pyg.knn import knn_edges
from mlsgm_pyg.names import check_choice
from mlsgm_pyg.schema import INSTANCE, LABEL, MATCHES, NEAR, RELATED

COMPLETE = 'complete'
SLACK = 1e-3  # So far a box may reach out of its image.


@functional_transform('assignment_graph')
class AssignmentGraph(BaseTransform):
    r"""Joins the instances of an image and all labels to the assignment graph (paper, Section III-C).

    .. math::
        \mathbf{e}^o_{ij} = [\mathbf{B}_i, \mathbf{B}_j], \quad
        \mathbf{e}^l_{ij} = [\mathbf{w}_i, \mathbf{w}_j], \quad
        \mathbf{e}^m_{ij} = [\mathbf{v}^o_i, \mathbf{v}^l_j]

    As a transform it takes a :class:`~torch_geometric.data.HeteroData` with ``data['instance'].x`` and
    ``data['instance'].box`` (x, y, w, h with the top left corner, as parts of the image's size; :func:`relative_boxes`
    makes them of a detector's), and adds the rest. Where there is ``data['instance'].centre``, as CSAC gives it
    (:func:`~mlsgm_pyg.regions.grid_centres`), neighbours are by it: who changes boxes deletes it. :meth:`batch` builds
    the graphs of many images in one go, equal, field by field, to :meth:`torch_geometric.data.Batch.from_data_list` of
    transformed ones.

    Where there is ``data['instance'].evidence`` (N, C), what a classifier says of each instance, it becomes the
    matching edges' :obj:`edge_attr` (E, 1), which a model with :obj:`evidence=True` reads.

    A label node holds its number :obj:`n_id` and, with :obj:`word_vectors`, its word vector as :obj:`x`. The attributes
    of label and matching edges are formed inside the encoder, unless :obj:`materialize` asks for them.

    Args:
        num_labels (int): Number of labels, C.
        k (int): Nearest neighbours an instance, by box centre; fewer in a small image. (default: :obj:`3`)
        label_graph, label_k: See :func:`label_sources`.
        word_vectors (Tensor, optional): :obj:`[C, F]`; needed for :obj:`'knn'` and :obj:`materialize`.
        materialize (bool): Whether to store Eq. 3 and 4 as :obj:`edge_attr`. (default: :obj:`False`)
        backend (str): See :func:`mlsgm_pyg.knn.knn_edges`. (default: :obj:`'auto'`)
        sources (Tensor, optional): Instead of a :obj:`label_graph`, who sends to each label, :obj:`[C, K]`.

    Raises:
        ValueError: If an option is unknown, negative or no whole number, word vectors are missing, or instances are
            missing or do not fit their boxes.
    """

    def __init__(
        self,
        num_labels: int,
        k: int = 3,
        label_graph: str = COMPLETE,
        label_k: int = 11,
        word_vectors: Tensor | None = None,
        materialize: bool = False,
        backend: str = 'auto',
        sources: Tensor | None = None,
    ):
        for option, value, least in (('num_labels', num_labels, 1), ('k', k, 0)):
            if not isinstance(value, Integral) or value < least:
                raise ValueError(f"'{option}' must be a whole number, at least {least} (got {value!r})")
        if word_vectors is None and (materialize or label_graph == 'knn'):
            raise ValueError("'label_graph=knn' and 'materialize' need 'word_vectors' (got none)")
        if word_vectors is not None and word_vectors.size(0) != num_labels:
            raise ValueError(f"'word_vectors' must hold {num_labels} rows, one a label (got {word_vectors.size(0)})")
        self.num_labels, self.k, self.backend = num_labels, k, backend
        self.word_vectors, self.materialize = word_vectors, materialize
        #: Who sends to each label, :obj:`[C, K]`; :obj:`None`: all others.
        self.sources = label_sources(word_vectors, label_graph, label_k) if sources is None else sources
        source = all_others(num_labels) if self.sources is None else self.sources
        target = torch.arange(num_labels, device=source.device)[:, None].expand_as(source)
        #: The label graph's edges, neighbour -> label, sorted by label.
        self.label_edges = torch.stack([source.reshape(-1), target.reshape(-1)])
        self._edges_at: dict[torch.device, Tensor] = {}

    def edges_at(self, device: torch.device) -> Tensor:
        """The label graph's edges, moved to a device once."""
        if device not in self._edges_at:
            self._edges_at[device] = self.label_edges.to(device)
        return self._edges_at[device]

    def forward(self, data: HeteroData) -> HeteroData:
        _check(data)
        x = data[INSTANCE].x
        self._add(data, self._fields(data[INSTANCE], torch.tensor([0, x.size(0)], device=x.device), [x.size(0)]))
        return data

    def batch(self, instances: Instances, y: Tensor | None = None) -> Batch:
        """Builds the graphs of all images at once.

        Args:
            instances (Instances): What :meth:`mlsgm_pyg.csac.CSAC.select` gives.
            y (Tensor, optional): Targets, :obj:`[B, C]`.
        """
        sizes = instances.ptr.diff().tolist() if instances.sizes is None else instances.sizes
        out = Batch(_base_cls=HeteroData)
        if y is not None:
            out.y = y
        for name in ('x', 'box', 'label', 'score', 'centre', 'evidence'):
            if getattr(instances, name) is not None:
                out[INSTANCE][name] = getattr(instances, name)
        out[INSTANCE].batch, out[INSTANCE].ptr = instances.batch, instances.ptr
        fields = self._fields(out[INSTANCE], instances.ptr, sizes)
        image = torch.arange(len(sizes), device=instances.x.device)
        out[LABEL]._num_nodes = [self.num_labels] * len(sizes)
        fields[LABEL]['batch'] = image.repeat_interleave(self.num_labels)
        fields[LABEL]['ptr'] = torch.arange(len(sizes) + 1, device=image.device) * self.num_labels
        self._add(out, fields)
        num_near = [n * min(self.k, n - 1) for n in sizes]
        _index(out, sizes, self.num_labels, num_near, self.label_edges.size(1))
        return out

    def _fields(self, instance: NodeStorage, ptr: Tensor, sizes: list[int]) -> dict:
        """All fields but the instances' own, of one or many images."""
        x, box, centre, evidence = (instance.get(name) for name in ('x', 'box', 'centre', 'evidence'))
        device, total, images, labels = box.device, box.size(0), len(sizes), self.num_labels
        centre = box[:, :2] + box[:, 2:] / 2 if centre is None else centre
        near = knn_edges(centre, ptr, self.k, sizes, self.backend)
        shift = labels * torch.arange(images, device=device)
        every = torch.arange(labels, device=device)
        image = torch.arange(images, device=device).repeat_interleave(ptr.diff(), output_size=total)
        related = (self.edges_at(device)[:, None] + shift[:, None]).view(2, -1)
        source = torch.arange(total, device=device).repeat_interleave(labels)
        matches = torch.stack([source, (shift[image, None] + every).view(-1)])
        evidence = {} if evidence is None else {'edge_attr': evidence_of(evidence, labels).reshape(-1, 1)}
        nodes = {'n_id': every.repeat(images), 'num_nodes': labels * images}
        if self.word_vectors is not None:
            nodes['x'] = self.word_vectors.to(x).repeat(images, 1)
        return {
            LABEL: nodes,
            NEAR: {'edge_index': near, 'edge_attr': torch.cat([box[near[0]], box[near[1]]], dim=1)},
            RELATED: {'edge_index': related},
            MATCHES: {'edge_index': matches} | evidence,
        }

    def _add(self, data: HeteroData, fields: dict) -> None:
        for key, value in fields.items():
            data[key].update(value)
        if not self.materialize:
            return
        if 'edge_attr' in fields[MATCHES]:
            raise ValueError("'materialize' stores Eq. 4 where these instances bring evidence: take one of them")
        words = data[LABEL].x
        source, target = data[RELATED].edge_index
        data[RELATED].edge_attr = torch.cat([words[source], words[target]], dim=1)
        source, target = data[MATCHES].edge_index
        data[MATCHES].edge_attr = torch.cat([data[INSTANCE].x[source], words[target]], dim=1)

    def __repr__(self) -> str:
        hears = COMPLETE if self.sources is None else self.sources.size(1)
        return f'{self.__class__.__name__}({self.num_labels}, k={self.k}, label_graph={hears})'


def relative_boxes(box: Tensor, height: int, width: int, box_format: str = 'xyxy') -> Tensor:
    """A detector's boxes in pixels -> what :class:`AssignmentGraph` takes: (x, y, w, h) as parts of the image's size.

    Args:
        box (Tensor): In pixels of the image.
        height, width (int): The image's size in pixels.
        box_format (str): :obj:`'xyxy'`, two corners, as torchvision's detectors give them; :obj:`'xywh'`, or
            :obj:`'cxcywh'` with the centre. (default: :obj:`'xyxy'`)

    Shapes:
        - **input and output:** :math:`(N, 4)`

    Raises:
        ValueError: If there is no such format, or a box does not lie in the image.
    """
    check_choice('box_format', box_format, ('xyxy', 'xywh', 'cxcywh'))
    relative = box_convert(box, box_format, 'xywh') / box.new_tensor([width, height, width, height])
    _check_boxes(relative, f'in an image of {width} x {height} pixels', box)
    return relative


def _check(data: HeteroData) -> None:
    """Features and boxes of one image's instances, which come from anywhere; a batch's, from CSAC, are not asked."""
    if not isinstance(data, HeteroData):
        raise ValueError(
            f"the graph must be a HeteroData with data['{INSTANCE}'].x and data['{INSTANCE}'].box "
            f'(got {type(data).__name__})'
        )
    missing = [name for name in ('x', 'box') if name not in data[INSTANCE]]
    if missing:
        raise ValueError(f"the graph must have data['{INSTANCE}'].{missing[0]} (got {list(data[INSTANCE].keys())})")
    x, box, evidence = data[INSTANCE].x, data[INSTANCE].box, data[INSTANCE].get('evidence')
    if x.dim() != 2 or x.size(0) == 0:
        raise ValueError(f"'x' must hold the features of at least one instance, [N, D] (got {list(x.shape)})")
    if list(box.shape) != [x.size(0), 4]:
        raise ValueError(
            f"'box' must hold one (x, y, w, h) per instance: expected shape [{x.size(0)}, 4] for {x.size(0)} "
            f'instances (got {list(box.shape)})'
        )
    if not box.is_floating_point():
        raise ValueError(f"'box' must hold (x, y, w, h) as parts of the image's size, in [0, 1] (got {box.dtype})")
    _check_boxes(box, "as parts of the image's size; relative_boxes() makes them of corners or pixels", box)
    if evidence is not None and (evidence.dim() != 2 or evidence.size(0) != x.size(0)):
        raise ValueError(
            f"'evidence' must hold one row per instance, [{x.size(0)}, C], a score for each label (got "
            f'{list(evidence.shape)})'
        )


def _check_boxes(box: Tensor, where: str, given: Tensor) -> None:
    endless = ~box.isfinite().all(1)
    outside = (box < -SLACK).any(1) | (box[:, :2] + box[:, 2:] > 1 + SLACK).any(1)
    for bad, wanted in ((endless, 'finite numbers'), (outside, f'(x, y, w, h) within the image, {where}')):
        if bad.any():
            wrong = int(bad.nonzero()[0])
            raise ValueError(f"'box' must hold {wanted} (got {given[wrong].tolist()} for instance {wrong})")


def label_sources(
    word_vectors: Tensor | None, label_graph: str = COMPLETE, label_k: int = 11, num_senders: int | None = None
) -> Tensor | None:
    """Who sends to each label, :obj:`[C, K]`; :obj:`None`: all others.

    Args:
        word_vectors (Tensor, optional): :obj:`[C, F]`; needed for all but a complete graph in which all send.
        label_graph (str): :obj:`'complete'`, or :obj:`'knn'`: each label hears from the :obj:`label_k` labels with the
            most similar word vectors (cosine; ties by number). (default: :obj:`'complete'`)
        label_k (int): Neighbours a label with :obj:`'knn'`. (default: :obj:`11`)
        num_senders (int, optional): The first so many labels send to other labels; each of the rest hears from as many
            of these as they hear from each other, the most similar ones. (default: all send)

    Raises:
        ValueError: If there is no such label graph, or :obj:`label_k` is negative or no whole number.
    """
    check_choice('label_graph', label_graph, (COMPLETE, 'knn'))
    if not isinstance(label_k, Integral) or label_k < 0:
        raise ValueError(f"'label_k' must be a whole number, at least 0 (got {label_k!r})")
    if label_graph == COMPLETE and num_senders is None:
        return None
    return most_similar(word_vectors, len(word_vectors) if label_graph == COMPLETE else label_k, num_senders)


def evidence_of(evidence: Tensor, num_labels: int) -> Tensor:
    """Evidence for the first labels :obj:`[..., C']` -> for all :obj:`[..., C]`, 0 for the rest.

    Raises:
        ValueError: If there are more columns than labels.
    """
    if evidence.size(-1) > num_labels:
        raise ValueError(f"'evidence' must hold a column a label, {num_labels} at most (got {list(evidence.shape)})")
    return F.pad(evidence, (0, num_labels - evidence.size(-1)))


def all_others(num_labels: int) -> Tensor:
    """The sources of each label in a complete label graph, :obj:`[C, C - 1]`."""
    every = torch.arange(num_labels)
    return every.expand(num_labels, -1)[every[:, None] != every].view(num_labels, num_labels - 1)


def most_similar(word_vectors: Tensor, k: int, num_senders: int | None = None) -> Tensor:
    """The :obj:`k` other labels whose word vectors have the largest cosine with each label's, ties by number.

    Args:
        word_vectors (Tensor): One row a label.
        k (int): How many.
        num_senders (int, optional): Of the first S labels alone. (default: of all)

    Shapes:
        - **input:** :math:`(C, F)`
        - **output:** :math:`(C, \\min(k, S - 1))`, the most similar first
    """
    unit = F.normalize(word_vectors.detach().cpu().double(), dim=1)
    senders = unit[:num_senders]
    similar = (unit @ senders.t()).fill_diagonal_(-2)  # Below every cosine: never its own neighbour.
    return similar.sort(dim=1, descending=True, stable=True).indices[:, : min(k, len(senders) - 1)]


def _index(batch: Batch, sizes: list[int], labels: int, near: list[int], related: int) -> None:
    """What PyG's collation notes about a batch so that it can be taken apart again."""
    count = len(sizes)
    node, zeros = torch.tensor(sizes, dtype=torch.long), torch.zeros(count, dtype=torch.long)
    every = {INSTANCE: node, LABEL: torch.full_like(node, labels), NEAR: torch.tensor(near, dtype=torch.long)}
    every |= {RELATED: torch.full_like(node, related), MATCHES: node * labels}
    start = {key: F.pad(length.cumsum(0), (1, 0)) for key, length in every.items()}
    slices, incs = {}, {}
    for key in every:
        names = [name for name in batch[key].keys() if name not in ('batch', 'ptr', 'num_nodes')]
        slices[key] = dict.fromkeys(names, start[key])
        incs[key] = dict.fromkeys(names, zeros)
        if isinstance(key, tuple):
            incs[key]['edge_index'] = torch.stack([start[key[0]], start[key[2]]], dim=1)[:-1, :, None]
    if 'y' in batch:
        slices['y'], incs['y'] = torch.arange(count + 1), zeros
    batch._num_graphs, batch._slice_dict, batch._inc_dict = count, slices, incs

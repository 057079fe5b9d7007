"""Takes the attributes of a heterogeneous graph into one latent space (Eq. 5)."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from torch_geometric.nn.module_dict import ModuleDict
from torch_geometric.typing import Adj, EdgeType, NodeType

from mlsgm_pyg.nn.mlp import SplitMLP


class PairMLP(SplitMLP):
    r"""A :class:`~mlsgm_pyg.nn.mlp.SplitMLP` on both ends of an edge, :math:`\mathbf{x}` and :math:`\mathbf{w}`, whose
    first layer may hold more than their sum:

    .. math::
        \mathbf{h} = \mathbf{W}_x \mathbf{x} + \mathbf{W}_w \mathbf{w} + \mathbf{b}
        + (\mathbf{U} \mathbf{x}) \odot (\mathbf{V} \mathbf{w}')
        + \mathbf{e} s

    The sum is the paper's (Eq. 4-5). The product is ours, after low-rank bilinear pooling (Kim et al., 2017), as SSGRL
    decouples with it: what tells one label from another no longer has to be made of bends that all labels share.
    :math:`\mathbf{w}'` is :math:`\mathbf{w} - \bar{\mathbf{w}}`, scaled to the norm :math:`\sqrt{F}`. The evidence
    :math:`s`, a number an edge, is ours, too.

    Args:
        in_channels (tuple[int, int]): Sizes of both ends.
        channels (Sequence[int]): Output size of each layer.
        product (bool): Whether there is a product. (default: :obj:`False`)
        evidence (bool): Whether there is evidence. (default: :obj:`False`)

    Shapes:
        - **input:** :math:`(*, F_x)`, :math:`(*, F_w)` and, with evidence, :math:`(*, 1)`, broadcastable; or the first
          two concatenated
        - **output:** :math:`(*, F_{out})`
    """

    def __init__(
        self, in_channels: tuple[int, int], channels: Sequence[int], product: bool = False, evidence: bool = False
    ):
        super().__init__(in_channels, channels)
        source, target = in_channels
        self.product = torch.nn.ModuleList()
        if product:
            self.product.extend(torch.nn.Linear(size, channels[0], bias=False) for size in (source, target))
            #: The mean of all :math:`\mathbf{w}`, which who knows them sets; a view for other labels keeps it.
            self.register_buffer('centre', torch.zeros(target))
        self.evidence = torch.nn.Linear(1, channels[0], bias=False) if evidence else None

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for linear in (*self.product, *filter(None, [self.evidence])):
            linear.reset_parameters()

    def source(self, x: Tensor) -> tuple[Tensor, ...]:
        """An edge's source's share of the first layer, computed once a node."""
        return self.first.part(0, x), *(linear(x) for linear in self.product[:1])

    def target(self, w: Tensor) -> tuple[Tensor, ...]:
        """Its target's."""
        shares = [self.first.part(1, w)]
        if self.product:
            unit = torch.nn.functional.normalize(w - self.centre, dim=-1)
            shares.append(self.product[1](unit * w.size(-1) ** 0.5))
        return tuple(shares)

    def join(self, source: Sequence[Tensor], target: Sequence[Tensor], evidence: Tensor | None = None) -> Tensor:
        """The encoded edges, from both ends' shares and the evidence."""
        h = source[0] + target[0]
        if self.product:
            h = torch.addcmul(h, source[1], target[1])
        if self.evidence is not None:
            h = h + self.evidence(evidence)
        return self.finish(h)

    def forward(self, *inputs: Tensor) -> Tensor:
        if len(inputs) == 1 and self.product:
            inputs = inputs[0].split(self.in_channels, dim=-1)
        if len(inputs) == 1:
            return super().forward(*inputs)
        x, w, *evidence = inputs
        return self.join(self.source(x), self.target(w), *evidence)


class GraphEncoder(torch.nn.Module):
    r"""Encodes the attributes of all nodes and edges, one :class:`~mlsgm_pyg.nn.mlp.SplitMLP` a type (paper, Eq. 5):

    .. math::
        \mathbf{v}_i \leftarrow \varphi^v_{enc}(\mathbf{v}_i), \quad
        \mathbf{e}_{ij} \leftarrow \varphi^e_{enc}([\mathbf{a}_i \, \Vert \, \mathbf{a}_j])

    where :math:`\mathbf{a}` are the two halves of the edge's attribute (Eq. 2-4: the boxes, word vectors, or feature
    and word vector of the nodes joined). An attribute may be given whole, a row an edge, or as its two halves, a row a
    node: these are projected once a node and added on the edge.

    Args:
        node_channels (dict[NodeType, int]): Input size of each node type.
        edge_channels (dict[EdgeType, tuple[int, int]]): Input sizes of the source's and the target's half, by type.
        channels (Sequence[int]): Output sizes of the layers. (default: :obj:`(512, 256)`)
        product, evidence (Collection[EdgeType]): The edge types that have them, see :class:`PairMLP`; what evidence
            there is comes as a third part of the attribute, :math:`(E, 1)`. (default: none)

    Shapes:
        - **inputs:** :obj:`x_dict` :math:`(N, F)` by node type; :obj:`edge_index_dict` :math:`(2, E)` and
          :obj:`edge_attr_dict` by edge type, the latter :math:`(E, F_s + F_t)` or halves
          :math:`((N_s, F_s), (N_t, F_t))`
        - **outputs:** :math:`(N, F_{out})` by node type, :math:`(E, F_{out})` by edge type
    """

    def __init__(
        self,
        node_channels: dict[NodeType, int],
        edge_channels: dict[EdgeType, tuple[int, int]],
        channels: Sequence[int] = (512, 256),
        product: Collection[EdgeType] = (),
        evidence: Collection[EdgeType] = (),
    ):
        super().__init__()
        self.out_channels = channels[-1]
        names = [ModuleDict.to_internal_key(tuple(key)) for key in edge_channels]
        if twice := [key for key, name in zip(edge_channels, names) if names.count(name) > 1]:
            raise ValueError(f'these relations have one name, so that they would share weights; rename one: {twice}')
        self.nodes = ModuleDict({key: SplitMLP(size, channels) for key, size in node_channels.items()})
        self.edges = ModuleDict()
        for key, sizes in edge_channels.items():
            self.edges[tuple(key)] = PairMLP(sizes, channels, key in product, key in evidence)

    def reset_parameters(self) -> None:
        for mlp in (*self.nodes.values(), *self.edges.values()):
            mlp.reset_parameters()

    def forward(
        self,
        x_dict: dict[NodeType, Tensor],
        edge_index_dict: dict[EdgeType, Adj],
        edge_attr_dict: dict[EdgeType, Tensor | tuple[Tensor, ...]],
    ) -> tuple[dict[NodeType, Tensor], dict[EdgeType, Tensor]]:
        nodes = {key: mlp(x_dict[key]) for key, mlp in self.nodes.items()}
        edges = {key: self.encode_edge(key, attr, edge_index_dict[key]) for key, attr in edge_attr_dict.items()}
        return nodes, edges

    def encode_edge(self, edge_type: EdgeType, attr: Tensor | tuple[Tensor, ...], edge_index: Adj) -> Tensor:
        """Encodes the edges of one type, see :meth:`forward`."""
        mlp = self.edges[edge_type]
        if isinstance(attr, Tensor):
            return mlp(attr)
        x, w, *evidence = attr
        source, target = [[share[i] for share in end] for end, i in zip((mlp.source(x), mlp.target(w)), edge_index)]
        return mlp.join(source, target, *evidence)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.out_channels})'

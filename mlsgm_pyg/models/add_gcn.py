"""ADD-GCN (Ye, He, Peng, Wu and Qiao, ECCV 2020): a static and an image's own dynamic graph over the labels."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.csac import POOLINGS
from mlsgm_pyg.models.base import ImageModel
from mlsgm_pyg.models.output import Output
from mlsgm_pyg.names import check_choice

SLOPE = 0.2  # Of LeakyReLU.


class DynamicGCN(torch.nn.Module):
    r"""Two graph convolutions, over a learned graph and over one that the nodes themselves give (ADD-GCN, Section 3.3):

    .. math::
        \mathbf{H} &= \text{LReLU}(\mathbf{A}_s \mathbf{V} \mathbf{W}_s) \\
        \mathbf{Z} &= \text{LReLU}(\mathbf{A}_d \mathbf{H} \mathbf{W}_d), \quad
        \mathbf{A}_d = \sigma(\mathbf{W}_A \mathbf{H}'), \quad
        \mathbf{h}'_c = [\mathbf{h}_c \, \Vert \, \mathbf{h}_g]

    with :math:`\mathbf{h}_g` a linear map of the nodes' mean, so
    :math:`(\mathbf{A}_d)_{ij} = \sigma(\mathbf{w}_i^\top [\mathbf{h}_j \, \Vert \, \mathbf{h}_g] + b_i)`.

    Args:
        channels (int): Size of node features, in and out, D.
        num_labels (int): Number of nodes, C.
        residual (bool): Whether :math:`\mathbf{V}` is added to :math:`\mathbf{H}`, which the printed equations leave
            out and the authors' release has. (default: :obj:`True`)

    Shapes:
        - **input:** :math:`(B, C, D)`
        - **output:** :math:`(B, C, D)`
    """

    def __init__(self, channels: int, num_labels: int, residual: bool = True):
        super().__init__()
        self.channels, self.num_labels, self.residual = channels, num_labels, residual
        self.static = torch.nn.Parameter(torch.empty(num_labels, num_labels))  # A_s, shared by all images.
        self.lin_static = torch.nn.Linear(channels, channels, bias=False)
        self.lin_global = torch.nn.Linear(channels, channels)
        self.lin_graph = torch.nn.Linear(2 * channels, num_labels)  # W_A.
        self.lin_dynamic = torch.nn.Linear(channels, channels, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.num_labels)
        torch.nn.init.uniform_(self.static, -bound, bound)
        for lin in (self.lin_static, self.lin_global, self.lin_graph, self.lin_dynamic):
            lin.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.lin_static(self.static @ x), SLOPE)
        hidden = x + hidden if self.residual else hidden
        return F.leaky_relu(self.lin_dynamic(self.graph(hidden) @ hidden), SLOPE)

    def graph(self, x: Tensor) -> Tensor:
        """The images' own graphs :math:`\\mathbf{A}_d`, :obj:`[B, C, C]`: what each node (row) hears from each."""
        both = torch.cat([x, self.lin_global(x.mean(1, keepdim=True)).expand_as(x)], dim=-1)
        return self.lin_graph(both).transpose(1, 2).sigmoid()

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.channels}, num_labels={self.num_labels}, residual={self.residual})'


class ADDGCN(ImageModel):
    r"""Attention-driven dynamic graph convolution (ADD-GCN, Sections 3.2-3.4).

    .. math::
        \mathbf{v}_c = \sum_{x, y} \mathbf{M}_c(x, y) \, \mathbf{F}'(x, y), \quad
        \mathbf{s} = \tfrac{1}{2} (\mathbf{s}_m + \mathbf{s}_r)

    The semantic attention module weights the reduced feature map :math:`\mathbf{F}'` with class maps
    :math:`\mathbf{M} = \sigma(\text{conv}(\mathbf{F}))`; :class:`DynamicGCN` relates the classes; each class's vector
    has its own linear classifier, :math:`\mathbf{s}_r`. :math:`\mathbf{s}_m` are the class maps' own scores, the mean
    of their highest logits. The two are averaged as logits.

    Args:
        backbone, feature_dropout: See :class:`~mlsgm_pyg.models.base.ImageModel`, as for the shapes.
        num_labels (int): Number of labels, C.
        feature_channels (int): Channels of the reduced map, D. (default: :obj:`1024`)
        pooling (str): :obj:`'sum'` is the paper's; :obj:`'mean'` divides it by the sum of the map, so that vectors have
            the same scale at every resolution. (default: :obj:`'mean'`)
        top_k (int): So many highest logits of a map are averaged; 1 is global maximum pooling. (default: :obj:`1`)
        residual (bool): Whether :math:`\mathbf{V}` is added to what each of the two graph convolutions gives, which the
            printed equations leave out and the authors' release has. (default: :obj:`True`)

    Raises:
        ValueError: If an option is out of its range.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_labels: int,
        feature_channels: int = 1024,
        pooling: str = 'mean',
        top_k: int = 1,
        residual: bool = True,
        feature_dropout: float = 0.0,
    ):
        super().__init__(backbone, feature_dropout)
        check_choice('pooling', pooling, POOLINGS)
        if top_k < 1:
            raise ValueError(f"'top_k' must be at least 1 (got {top_k})")
        self.pooling, self.top_k, self.residual = pooling, top_k, residual
        self.attention = torch.nn.Conv2d(backbone.out_channels, num_labels, kernel_size=1)
        self.reduce = torch.nn.Conv2d(backbone.out_channels, feature_channels, kernel_size=1)
        self.gcn = DynamicGCN(feature_channels, num_labels, residual)
        self.classifier = torch.nn.Linear(feature_channels, num_labels)  # Row c scores class c's vector alone.

    def attend(self, feature: Tensor, maps: Tensor) -> Tensor:
        """The classes' vectors :math:`\\mathbf{V}`, :obj:`[B, C, D]`, of a feature map and the logits of its maps."""
        weight = maps.flatten(2).sigmoid()
        if self.pooling == 'mean':
            weight = weight / weight.sum(2, keepdim=True).clamp(min=1e-6)
        return weight @ self.reduce(feature).flatten(2).transpose(1, 2)

    def head(self, feature: Tensor) -> Output:
        feature = self.dropout(feature)
        maps = self.attention(feature)
        x = self.attend(feature, maps)
        out = self.gcn(x)
        x = x + out if self.residual else out
        related = (x * self.classifier.weight).sum(-1) + self.classifier.bias
        flat = maps.flatten(2)
        from_maps = flat.topk(min(self.top_k, flat.size(2)), dim=2).values.mean(2)
        return Output((from_maps + related) / 2)

    def maps(self, feature: Tensor) -> Tensor:
        """The class maps :math:`\\mathbf{M}` of a backbone's feature map, as probabilities [B, C, h, w]."""
        return self.attention(self.dropout(feature)).sigmoid()

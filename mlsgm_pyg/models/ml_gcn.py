"""ML-GCN (Chen, Wei, Wang and Guo, CVPR 2019): a graph network turns word vectors into the labels' classifiers."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import DenseGCNConv

from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.models.base import ImageModel
from mlsgm_pyg.models.output import Output
from mlsgm_pyg.statistics import check_co_occurrence

SLOPE = 0.2  # Of LeakyReLU.


def correlation(co_occurrence: Tensor, tau: float = 0.4, reweight: float = 0.2) -> Tensor:
    r"""The thresholded, re-weighted label correlation matrix (ML-GCN, Eq. 7 and 8):

    .. math::
        A_{ij} = \begin{cases} 1 & P_{ij} \geq \tau \\ 0 & \text{else} \end{cases}, \quad
        A'_{ij} = \begin{cases} p \, A_{ij} / \sum_{k \neq i} A_{ik} & i \neq j \\ 1 - p & i = j \end{cases}

    Each row sums to 1, so the symmetric normalisation of its graph convolution (Eq. 2) leaves it as it is. Eq. 8 is
    undefined for a label that no other passes :math:`\tau` with; such a label keeps all its weight here,
    :math:`A'_{ii} = 1`, which that normalisation would give it, too. (The printed Eq. 8 lacks the factor
    :math:`A_{ij}`; the authors' release puts it there and sends along the transposed matrix.)

    Args:
        co_occurrence (Tensor): :math:`P_{ij} = P(L_j \mid L_i)`, see :func:`mlsgm_pyg.statistics.co_occurrence`.
        tau (float): Threshold. (default: :obj:`0.4`)
        reweight (float): The weight of all neighbours together, p. (default: :obj:`0.2`)

    Shapes:
        - **input:** :math:`(C, C)`
        - **output:** :math:`(C, C)`
    """
    adj = (co_occurrence >= tau).to(co_occurrence.dtype).fill_diagonal_(0)
    degree = adj.sum(1, keepdim=True)
    own = 1 - reweight * (degree > 0).to(adj.dtype)
    return reweight * adj / degree.clamp(min=1) + torch.diag(own.squeeze(1))


class MLGCN(ImageModel):
    r"""Graph convolutions over the labels give the classifiers of a globally max-pooled image (ML-GCN, Eq. 2-5):

    .. math::
        \mathbf{s} = \mathbf{W} \max_{x, y} \mathbf{F}(x, y), \quad
        \mathbf{W} = \mathbf{H}^2, \quad
        \mathbf{H}^{l + 1} = h(\mathbf{A}' \mathbf{H}^l \mathbf{W}^l), \quad
        \mathbf{H}^0 = \text{word vectors}

    with :math:`\mathbf{A}'` from :func:`correlation`, LeakyReLU (slope 0.2) as :math:`h` after the first layer and
    nothing after the second, whose rows are the classifiers. The layers are
    :class:`~torch_geometric.nn.dense.DenseGCNConv` without bias.

    Args:
        backbone, feature_dropout: See :class:`~mlsgm_pyg.models.base.ImageModel`, as for the shapes.
        word_vectors (Tensor): One row a label, :obj:`[C, F]`.
        co_occurrence (Tensor): :obj:`[C, C]`, see :func:`mlsgm_pyg.statistics.co_occurrence`.
        tau, reweight: See :func:`correlation`.
        hidden_channels (int): Output size of the first layer; that of the second is the feature map's.
            (default: :obj:`1024`)

    Raises:
        ValueError: If a number is out of its range, or the matrix is not of these labels.
    """

    def __init__(
        self,
        backbone: Backbone,
        word_vectors: Tensor,
        co_occurrence: Tensor,
        tau: float = 0.4,
        reweight: float = 0.2,
        hidden_channels: int = 1024,
        feature_dropout: float = 0.0,
    ):
        super().__init__(backbone, feature_dropout)
        if not 0 < tau <= 1 or not 0 <= reweight <= 1:
            raise ValueError(f"'tau' must be in (0, 1] and 'reweight' in [0, 1] (got {tau} and {reweight})")
        self.tau, self.reweight = tau, reweight
        self.register_buffer('word_vectors', word_vectors.float().clone())
        self.register_buffer('co_occurrence', check_co_occurrence(co_occurrence, word_vectors.size(0)))
        sizes = [word_vectors.size(1), hidden_channels, backbone.out_channels]
        self.convs = torch.nn.ModuleList(DenseGCNConv(a, b, bias=False) for a, b in zip(sizes, sizes[1:]))

    def classifiers(self) -> Tensor:
        """The labels' classifiers, :obj:`[C, D]`."""
        adj, x = correlation(self.co_occurrence, self.tau, self.reweight), self.word_vectors
        first, second = self.convs
        x = F.leaky_relu(first(x, adj, add_loop=False), SLOPE)
        return second(x, adj, add_loop=False)[0]

    def label_values(self, keep: bool = False) -> Tensor:
        return self.classifiers()

    def head(self, feature: Tensor) -> Output:
        return Output(self.dropout(feature).amax((2, 3)) @ self.labels().t())

    def maps(self, feature: Tensor) -> Tensor:
        """Class activation maps: the classifiers at each place, as probabilities [B, C, h, w]."""
        return torch.einsum('bdhw,cd->bchw', self.dropout(feature), self.labels()).sigmoid()

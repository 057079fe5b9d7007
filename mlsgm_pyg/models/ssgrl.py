"""SSGRL (Chen, Xu, Hui, Wu and Lin, ICCV 2019): words attend to the map, the labels' co-occurrence relates them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.models.base import ImageModel
from mlsgm_pyg.models.output import Output
from mlsgm_pyg.statistics import check_co_occurrence


class SemanticDecoupling(torch.nn.Module):
    r"""One vector a label, by low-rank bilinear attention of its word vector to the feature map (SSGRL, Eq. 2-5):

    .. math::
        \tilde{\mathbf{f}}_{c, xy} = \mathbf{P}^\top \tanh((\mathbf{U}^\top \mathbf{f}_{xy}) \odot
        (\mathbf{V}^\top \mathbf{w}_c)), \quad
        \mathbf{f}_c = \sum_{x, y} \text{softmax}_{x, y}(\mathbf{a}^\top \tilde{\mathbf{f}}_{c, xy}) \, \mathbf{f}_{xy}

    The biases that the paper adds to :math:`\tilde{\mathbf{f}}` and to its score are the same at every place, so the
    softmax never sees them: they are left out. :math:`\mathbf{P} \mathbf{a}` is one vector, multiplied once a batch.

    Args:
        in_channels (int): Channels of the feature map, N.
        word_channels (int): Size of a word vector.
        joint_channels (int): Columns of U, V and P, the paper's :math:`d_1 = d_2`.

    Shapes:
        - **inputs:** :obj:`feature` :math:`(B, N, h, w)`, :obj:`words` :math:`(C, F)`
        - **output:** :math:`(B, C, N)`
    """

    def __init__(self, in_channels: int, word_channels: int, joint_channels: int):
        super().__init__()
        self.in_channels, self.word_channels, self.joint_channels = in_channels, word_channels, joint_channels
        self.lin_image = torch.nn.Linear(in_channels, joint_channels, bias=False)  # U.
        self.lin_word = torch.nn.Linear(word_channels, joint_channels, bias=False)  # V.
        self.lin_joint = torch.nn.Linear(joint_channels, joint_channels, bias=False)  # P.
        self.lin_score = torch.nn.Linear(joint_channels, 1, bias=False)

    def reset_parameters(self) -> None:
        for lin in (self.lin_image, self.lin_word, self.lin_joint, self.lin_score):
            lin.reset_parameters()

    def forward(self, feature: Tensor, words: Tensor) -> Tensor:
        return self.gather(feature, self.lin_word(words))

    def gather(self, feature: Tensor, joint_words: Tensor) -> Tensor:
        """As :meth:`forward`, with word vectors that :obj:`lin_word` projected before, :obj:`[C, d]`."""
        return self.attention(feature, joint_words) @ feature.flatten(2).transpose(1, 2)

    def attention(self, feature: Tensor, joint_words: Tensor) -> Tensor:
        """How much each label looks at each place, which adds up to 1, :obj:`[B, C, h w]`; see :meth:`gather`."""
        place = feature.flatten(2).transpose(1, 2)  # [B, h w, N]
        joint = (self.lin_image(place)[:, None] * joint_words[:, None]).tanh()  # [B, C, h w, d]
        return (joint @ (self.lin_score.weight @ self.lin_joint.weight)[0]).softmax(-1)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.in_channels}, {self.word_channels}, {self.joint_channels})'


class DenseGatedGraphConv(torch.nn.Module):
    r"""Gated propagation along a weighted graph and against it (SSGRL, Eq. 6-7):

    .. math::
        \mathbf{a}_c &= \left[ \sum_{k} A_{ck} \mathbf{h}_k \, \Vert \, \sum_{k} A_{kc} \mathbf{h}_k \right] \\
        \mathbf{z}_c &= \sigma(\mathbf{W}^z \mathbf{a}_c + \mathbf{U}^z \mathbf{h}_c), \quad
        \mathbf{r}_c = \sigma(\mathbf{W}^r \mathbf{a}_c + \mathbf{U}^r \mathbf{h}_c) \\
        \tilde{\mathbf{h}}_c &= \tanh(\mathbf{W} \mathbf{a}_c + \mathbf{U} (\mathbf{r}_c \odot \mathbf{h}_c)), \quad
        \mathbf{h}_c \leftarrow (1 - \mathbf{z}_c) \odot \mathbf{h}_c + \mathbf{z}_c \odot \tilde{\mathbf{h}}_c

    all labels at once, :obj:`num_steps` times with the same weights; each gate has one bias. This is the dense relative
    of :class:`~torch_geometric.nn.conv.GatedGraphConv`, whose GRU applies :math:`\mathbf{r}_c` after
    :math:`\mathbf{U}`, and which sends one way.

    Args:
        channels (int): Size of node features.
        num_steps (int): Steps of propagation, T. (default: :obj:`3`)

    Shapes:
        - **inputs:** :obj:`x` :math:`(B, C, F)`, :obj:`adj` :math:`(C, C)`
        - **output:** :math:`(B, C, F)`
    """

    def __init__(self, channels: int, num_steps: int = 3):
        super().__init__()
        self.channels, self.num_steps = channels, num_steps
        self.lin_message = torch.nn.Linear(2 * channels, 3 * channels)  # W^z, W^r and W.
        self.lin_gates = torch.nn.Linear(channels, 2 * channels, bias=False)  # U^z and U^r.
        self.lin_state = torch.nn.Linear(channels, channels, bias=False)  # U.

    def reset_parameters(self) -> None:
        for lin in (self.lin_message, self.lin_gates, self.lin_state):
            lin.reset_parameters()

    def forward(self, x: Tensor, adj: Tensor) -> Tensor:
        for _ in range(self.num_steps):
            message = self.lin_message(torch.cat([adj @ x, adj.t() @ x], dim=-1))
            gates, new = message.split([2 * self.channels, self.channels], dim=-1)
            update, reset = (gates + self.lin_gates(x)).sigmoid().chunk(2, dim=-1)
            new = (new + self.lin_state(reset * x)).tanh()
            x = x + update * (new - x)
        return x

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.channels}, num_steps={self.num_steps})'


class SSGRL(ImageModel):
    r"""Semantic-specific graph representation learning (SSGRL, Eq. 1-8).

    .. math::
        s_c = \mathbf{w}_c^\top \mathbf{o}_c + b_c, \quad
        \mathbf{o}_c = \tanh(\mathbf{W}_o [\mathbf{h}_c^T \, \Vert \, \mathbf{h}_c^0])

    with :math:`\mathbf{h}^0` from :class:`SemanticDecoupling` and :math:`\mathbf{h}^T` from
    :class:`DenseGatedGraphConv` over :math:`A_{ck} = P(k \mid c)`, whose diagonal is 1.

    Args:
        backbone, feature_dropout: See :class:`~mlsgm_pyg.models.base.ImageModel`, as for the shapes.
        word_vectors (Tensor): One row a label, :obj:`[C, F]`.
        co_occurrence (Tensor): :obj:`[C, C]`, see :func:`mlsgm_pyg.statistics.co_occurrence`.
        feature_channels (int, optional): The map is reduced to so many channels, N; :obj:`None`, the paper's, keeps the
            backbone's. (default: :obj:`None`)
        map_pooling (int): Side of the average pooling of the map before all else; the paper's 2 goes with 576 px.
            (default: :obj:`1`)
        joint_channels (int): Size of the joint space of words and map, the paper's :math:`d_1 = d_2`.
            (default: :obj:`1024`)
        num_steps (int): Steps of propagation, T. (default: :obj:`3`)
        output_channels (int): Size of :math:`\mathbf{o}_c`. (default: :obj:`2048`)

    Raises:
        ValueError: If a number is out of its range, or the matrix is not of these labels.
    """

    def __init__(
        self,
        backbone: Backbone,
        word_vectors: Tensor,
        co_occurrence: Tensor,
        feature_channels: int | None = None,
        map_pooling: int = 1,
        joint_channels: int = 1024,
        num_steps: int = 3,
        output_channels: int = 2048,
        feature_dropout: float = 0.0,
    ):
        super().__init__(backbone, feature_dropout)
        if map_pooling < 1 or num_steps < 1:
            raise ValueError(f"'map_pooling' and 'num_steps' must be at least 1 (got {map_pooling} and {num_steps})")
        num_labels, words = word_vectors.shape
        size = backbone.out_channels if feature_channels is None else feature_channels
        self.map_pooling, self.reduce = map_pooling, torch.nn.Identity()
        if feature_channels is not None:
            self.reduce = torch.nn.Conv2d(backbone.out_channels, size, kernel_size=1)
        self.register_buffer('word_vectors', word_vectors.float().clone())
        self.register_buffer('co_occurrence', check_co_occurrence(co_occurrence, num_labels))
        self.decouple = SemanticDecoupling(size, words, joint_channels)
        self.propagate = DenseGatedGraphConv(size, num_steps)
        self.lin_out = torch.nn.Linear(2 * size, output_channels)
        self.classifier = torch.nn.Linear(output_channels, num_labels)  # Row c scores class c's vector alone.

    def label_values(self, keep: bool = False) -> Tensor:
        return self.decouple.lin_word(self.word_vectors)

    def head(self, feature: Tensor) -> Output:
        first = self.decouple.gather(self._reduced(feature), self.labels())
        last = self.propagate(first, self.co_occurrence)
        out = self.lin_out(torch.cat([last, first], dim=-1)).tanh()
        return Output((out * self.classifier.weight).sum(-1) + self.classifier.bias)

    def maps(self, feature: Tensor) -> Tensor:
        """Each label's attention as a part of its highest, :obj:`[B, C, h, w]` (of the pooled map)."""
        feature = self._reduced(feature)
        attention = self.decouple.attention(feature, self.labels())
        return (attention / attention.amax(2, keepdim=True)).unflatten(2, feature.shape[2:])

    def _reduced(self, feature: Tensor) -> Tensor:
        feature = self.dropout(feature)
        if self.map_pooling > 1:  # Rows and columns that are left over are pooled, too.
            feature = F.avg_pool2d(feature, self.map_pooling, ceil_mode=True)
        return self.reduce(feature)

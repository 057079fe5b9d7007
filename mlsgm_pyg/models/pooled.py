"""Pooling and a linear classifier: the paper's baseline row, and one that is easy to forget and hard to beat."""

import torch
from torch import Tensor

from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.models.base import ImageModel
from mlsgm_pyg.models.output import Output


class PooledLinear(ImageModel):
    r"""Global average pooling and a linear classifier on a backbone (the rows "ResNet-101" of Tables II-IV).

    Args:
        backbone, feature_dropout: See :class:`~mlsgm_pyg.models.base.ImageModel`, as for the shapes.
        num_labels (int): Number of labels, C.
    """

    num_poolings = 1

    def __init__(self, backbone: Backbone, num_labels: int, feature_dropout: float = 0.0):
        super().__init__(backbone, feature_dropout)
        self.classifier = torch.nn.Linear(self.num_poolings * backbone.out_channels, num_labels)

    def pool(self, feature: Tensor) -> Tensor:
        """What the classifier reads of a feature map, :obj:`[B, D']`."""
        return feature.mean((2, 3))

    def head(self, feature: Tensor) -> Output:
        return Output(self.classifier(self.pool(self.dropout(feature))))

    def maps(self, feature: Tensor) -> Tensor:
        """Class activation maps: what the classifier would say if all places were as this one, [B, C, h, w]."""
        weight = sum(self.classifier.weight.chunk(self.num_poolings, dim=1))  # All poolings are the same then.
        logits = torch.einsum('bdhw,cd->bchw', self.dropout(feature), weight)
        return (logits + self.classifier.bias.view(-1, 1, 1)).sigmoid()


class PooledMaxAvg(PooledLinear):
    r"""The same with global maximum and average pooling, concatenated:

    .. math::
        \mathbf{s} = \mathbf{W} [\max_{x, y} \mathbf{F}(x, y) \, \Vert \, \tfrac{1}{hw} \sum_{x, y}
        \mathbf{F}(x, y)] + \mathbf{b}

    The maximum keeps small objects that the mean of a map washes out. Its options are those of :class:`PooledLinear`.
    """

    num_poolings = 2

    def pool(self, feature: Tensor) -> Tensor:
        return torch.cat([feature.amax((2, 3)), super().pool(feature)], dim=1)

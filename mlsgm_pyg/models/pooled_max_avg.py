"""A baseline that is easy to forget and hard to beat: maximum and mean of the map beside each other."""

import torch
from torch import Tensor

from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.models.output import Output
from mlsgm_pyg.models.prediction import Predicts


class PooledMaxAvg(Predicts, torch.nn.Module):
    r"""Global maximum and average pooling, concatenated, and a linear classifier on a backbone:

    .. math::
        \mathbf{s} = \mathbf{W} [\max_{x, y} \mathbf{F}(x, y) \, \Vert \, \tfrac{1}{hw} \sum_{x, y}
        \mathbf{F}(x, y)] + \mathbf{b}

    The maximum keeps small objects that the mean of a map washes out.

    Args:
        backbone (Backbone): Image -> feature map.
        num_labels (int): Number of labels, C.
        feature_dropout (float): Probability of dropping a channel of the feature map. (default: :obj:`0.0`)

    Shapes:
        - **input:** image :math:`(B, 3, H, W)`
        - **output:** :class:`~mlsgm_pyg.models.output.Output` with :obj:`logits` :math:`(B, C)`
    """

    def __init__(self, backbone: Backbone, num_labels: int, feature_dropout: float = 0.0):
        super().__init__()
        self.backbone = backbone
        self.dropout = torch.nn.Dropout2d(feature_dropout)
        self.classifier = torch.nn.Linear(2 * backbone.out_channels, num_labels)

    def features(self, image: Tensor) -> Tensor:
        """The backbone's feature map."""
        return self.backbone(image)

    def head(self, feature: Tensor) -> Output:
        """Everything after the backbone."""
        feature = self.dropout(feature)
        return Output(self.classifier(torch.cat([feature.amax((2, 3)), feature.mean((2, 3))], dim=1)))

    def maps(self, feature: Tensor) -> Tensor:
        """Class activation maps: what the classifier would say if all places were as this one, [B, C, h, w]."""
        weight = sum(self.classifier.weight.chunk(2, dim=1))  # Maximum and mean are the same then.
        logits = torch.einsum('bdhw,cd->bchw', self.dropout(feature), weight)
        return (logits + self.classifier.bias.view(-1, 1, 1)).sigmoid()

    def forward(self, image: Tensor) -> Output:
        return self.head(self.features(image))

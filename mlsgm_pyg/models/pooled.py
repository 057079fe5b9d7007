"""Average pooling and a classifier: the paper's baseline row, and the peer that is easy to forget and hard to beat."""

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

    def __init__(self, backbone: Backbone, num_labels: int, feature_dropout: float = 0.0):
        super().__init__(backbone, feature_dropout)
        self.classifier = torch.nn.Linear(backbone.out_channels, num_labels)

    def head(self, feature: Tensor) -> Output:
        return Output(self.classifier(self.dropout(feature).mean((2, 3))))

    def maps(self, feature: Tensor) -> Tensor:
        """Class activation maps: what the classifier would say if all places were as this one, [B, C, h, w]."""
        return self.classifier(self.dropout(feature).movedim(1, -1)).sigmoid().movedim(-1, 1)


class PooledMLP(PooledLinear):
    r"""The same with one hidden layer: the least that is not linear, so that no gain over it is just that.

    Args:
        backbone, num_labels, feature_dropout: See :class:`PooledLinear`.
        hidden_channels (int): Size of the hidden layer. (default: :obj:`512`)
    """

    def __init__(self, backbone: Backbone, num_labels: int, feature_dropout: float = 0.0, hidden_channels: int = 512):
        ImageModel.__init__(self, backbone, feature_dropout)
        self.classifier = torch.nn.Sequential(
            torch.nn.Linear(backbone.out_channels, hidden_channels),
            torch.nn.ReLU(),
            torch.nn.Linear(hidden_channels, num_labels),
        )

    def reset_parameters(self) -> None:
        for layer in (self.classifier[0], self.classifier[2]):
            layer.reset_parameters()

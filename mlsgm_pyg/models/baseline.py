"""The paper's baseline row: the same backbone, global average pooling, a linear classifier."""

import torch
from torch import Tensor

from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.models.output import Output
from mlsgm_pyg.models.prediction import Predicts


class PooledLinear(Predicts, torch.nn.Module):
    r"""Global average pooling and a linear classifier on a backbone (the rows "ResNet-101" of Tables II-IV).

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
        self.classifier = torch.nn.Linear(backbone.out_channels, num_labels)

    def features(self, image: Tensor) -> Tensor:
        """The backbone's feature map."""
        return self.backbone(image)

    def head(self, feature: Tensor) -> Output:
        """Everything after the backbone."""
        return Output(self.classifier(self.dropout(feature).mean((2, 3))))

    def maps(self, feature: Tensor) -> Tensor:
        """Class activation maps: the classifier at each place instead of on the mean, as probabilities [B, C, h, w]."""
        logits = torch.einsum('bdhw,cd->bchw', self.dropout(feature), self.classifier.weight)
        return (logits + self.classifier.bias.view(-1, 1, 1)).sigmoid()

    def forward(self, image: Tensor) -> Output:
        return self.head(self.features(image))

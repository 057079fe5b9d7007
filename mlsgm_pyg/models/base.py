"""What all models of images have in common: a backbone, and a head that reads its map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn.inits import reset

import mlsgm_pyg
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.models.fixed import LabelsOnce
from mlsgm_pyg.models.output import Output


class ImageModel(LabelsOnce):
    """A backbone, channel dropout on its map, and a :meth:`head`.

    Args:
        backbone (Backbone): Image -> feature map.
        feature_dropout (float): Probability of dropping a channel of the feature map. (default: :obj:`0.0`)

    Shapes:
        - **input:** image :math:`(B, 3, H, W)`, uint8 in [0, 255] or float in [0, 1]
        - **output:** :class:`~mlsgm_pyg.models.output.Output` with :obj:`logits` :math:`(B, C)`
    """

    score_names: Sequence[str] = ('logits',)  #: The scores that a model has, see Output.score.

    def __init__(self, backbone: Backbone, feature_dropout: float = 0.0):
        super().__init__()
        self.backbone = backbone
        self.dropout = torch.nn.Dropout2d(feature_dropout)

    def reset_parameters(self) -> None:
        """Starts everything anew but the backbone."""
        for name, module in self.named_children():
            if name != 'backbone':
                reset(module)

    def features(self, image: Tensor) -> Tensor:
        """The backbone's feature map, :obj:`[B, D', h, w]`."""
        return self.backbone(image)

    def head(self, feature: Tensor) -> Output:
        """Everything after the backbone."""
        raise NotImplementedError

    def maps(self, feature: Tensor) -> Tensor:
        """Activation maps of a backbone's feature map, [B, C, h, w] in [0, 1]: how much of a label is at a place."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Output:
        return self.head(self.features(image))

    def with_labels(self, labels: Sequence[str], *args: Any, **options: Any) -> ImageModel:
        """The model for other labels: of ML-SGM alone, see :meth:`mlsgm_pyg.models.MLSGM.with_labels`.

        Raises:
            ValueError: For any other model.
        """
        raise ValueError(
            f"'labels' needs a model that scores words, such as ml_sgm: a {type(self).__name__} has weights for "
            'each of the labels that it was trained on, and for no other'
        )

    def predict(self, images: Any, *args: Any, **options: Any) -> list:
        """Says what is in some pictures, and where; see :func:`mlsgm_pyg.tagger.predict`."""
        return mlsgm_pyg.predict(self, images, *args, **options)  # It stands above the models.

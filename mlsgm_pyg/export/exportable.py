"""A model from the image to scores and boxes, made of what can be exported."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from mlsgm_pyg.decisions import temperature_of
from mlsgm_pyg.export.heads import AblationHead, MatchingHead, MaxPooledHead, ScoreHead
from mlsgm_pyg.models import ADDGCN, MLGCN, MLSGM, SSGRL, Ablation, PooledLinear, PooledMLP
from mlsgm_pyg.nn.mlp import ReLUNorm

HEADS = {
    MLSGM: MatchingHead,  # WithoutCSAC, too.
    Ablation: AblationHead,
    MLGCN: MaxPooledHead,
    PooledLinear: ScoreHead,
    PooledMLP: ScoreHead,
    ADDGCN: ScoreHead,
    SSGRL: ScoreHead,
}


class Exportable(torch.nn.Module):
    r"""The same function as a model in evaluation mode, with outputs whose shapes depend on the batch size alone.

    Every image has S slots, one more than :obj:`max_instances` (or than C, if that is less): the whole image, then its
    classes, the best first; what an image leaves empty is masked. What depends on labels alone is computed here.

    Args:
        model (torch.nn.Module): One of the models of :mod:`mlsgm_pyg.models`; it is copied, to the CPU.

    Shapes:
        - **input:** image :math:`(B, 3, H, W)`, uint8 in [0, 255] or float in [0, 1]
        - **output:** a dictionary: :obj:`logits` and :obj:`probabilities` :math:`(B, C)`, at the temperature of the
          model's decisions, if it has any; for models that have instances also :obj:`boxes` :math:`(B, S, 4)`, (x, y,
          width, height) as parts of the view; :obj:`labels` :math:`(B, S)`, the class that an instance came from, -1
          for the whole image; :obj:`scores` :math:`(B, S)`, 1 for the whole image; :obj:`valid` :math:`(B, S)`, False
          in an empty slot; and :obj:`best` :math:`(B, C)`, the slot of the instance that matches each label best

    Raises:
        TypeError: If the model is not one that can be exported.
    """

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        kind = next((kind for kind in HEADS if isinstance(model, kind)), None)
        if kind is None:
            names = ', '.join(kind.__name__ for kind in HEADS)
            raise TypeError(f"'model' must be one that can be exported: {names} (got {type(model).__name__})")
        model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
        for module in model.modules():
            if isinstance(module, ReLUNorm):
                module.compiled = False
        self.backbone, model.backbone = model.backbone, torch.nn.Identity()
        self.head, self.temperature = HEADS[kind](model), temperature_of(model)
        self.to(memory_format=torch.contiguous_format).eval()  # torch.export.save takes no other weights.

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        out = self.head(self.backbone(image))
        return {'logits': out['logits'], 'probabilities': (out['logits'] / self.temperature).sigmoid()} | out

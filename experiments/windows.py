"""Training through random windows of cached maps: what is left of the paper's random crop once a backbone is fixed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mlsgm_pyg.models import Output


def forward(model: torch.nn.Module, maps: Tensor, least: float, csac_too: bool = True) -> Output:
    """What a model says of a random window of some maps.

    Args:
        model (Module): With a :obj:`head`.
        maps (Tensor): The backbone's, :obj:`[B, D', h, w]`.
        least (float): See :func:`crop`; 0: the whole maps.
        csac_too (bool): Whether CSAC's scores are those of the window, else of the whole maps; instances are always
            the window's. (default: :obj:`True`)
    """
    out = model.head(crop(maps, least))
    return out if csac_too or not least else out._replace(csac_logits=model.csac_scores(maps))


def crop(maps: Tensor, least: float) -> Tensor:
    """A random window of the maps :obj:`[B, D', h, w]`, one for the batch.

    Each side keeps at least the fraction :obj:`least`, in (0, 1]; all sizes, and all places of one, are as likely. At 0
    the maps are whole.
    """
    if not least:
        return maps
    for dim in (2, 3):
        size = maps.size(dim)
        side = int(torch.randint(math.ceil(least * size), size + 1, ()))
        maps = maps.narrow(dim, int(torch.randint(size - side + 1, ())), side)
    return maps

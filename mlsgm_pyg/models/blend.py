"""The weight of CSAC in the score 'blend', so that the graph is only listened to as far as it helps."""

import torch
from torch import Tensor

from mlsgm_pyg.metrics import average_precision
from mlsgm_pyg.models.output import blended

STEPS, RESAMPLES = 10, 30


@torch.no_grad()
def fit(graph: Tensor, csac: Tensor, y: Tensor) -> float:
    """The weight in [0, 1], by steps of 0.1, that is nearest to one half and not worse than the best one.

    The best one has the highest mean average precision. On some hundred images that is mostly chance: a weight is worse
    if it falls behind by more than the standard error of the difference, from a seeded bootstrap over images. To be
    fitted on images that neither side was trained on.

    Args:
        graph, csac (Tensor): Both scores, as logits, :obj:`[N, C]`.
        y (Tensor): Labels, 1, 0 or -1 (unknown: such entries are left out), :obj:`[N, C]`.

    Raises:
        ValueError: If no image shows any class.
    """
    if not (y == 1).any():
        raise ValueError(
            f'a blend is fitted on images that show something (got {len(y)}, none of which is known to show a class)'
        )
    weights = [step / STEPS for step in range(STEPS + 1)]
    scores = [blended(graph.double(), csac.double(), weight) for weight in weights]
    generator = torch.Generator().manual_seed(0)
    draws = [torch.arange(len(y)), *torch.randint(len(y), (RESAMPLES, len(y)), generator=generator)]
    draws = [rows for rows in draws if (y[rows] == 1).any()]
    found = torch.tensor([[average_precision(s[rows], y[rows]).nanmean() for s in scores] for rows in draws])
    behind = found[:, found[0].argmax()][:, None] - found
    error = behind[1:].std(0, correction=0) if len(draws) > 1 else torch.zeros(len(weights))
    return min((w for w, lost, e in zip(weights, behind[0], error) if lost <= e + 1e-9), key=lambda w: abs(w - 0.5))

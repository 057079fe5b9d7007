"""The weight of CSAC in the score 'blend', so that the graph is only listened to as far as it helps."""

import torch
from torch import Tensor

from mlsgm_pyg.metrics import average_precision
from mlsgm_pyg.models.output import blended

STEPS = 20


@torch.no_grad()
def fit(graph: Tensor, csac: Tensor, y: Tensor) -> float:
    """The weight in [0, 1], by steps of 0.05, with which the blend has the highest mean average precision.

    To be fitted on images that neither side was trained on. Of equal ones the middle is taken.

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
    graph, csac = graph.double(), csac.double()
    weights = [step / STEPS for step in range(STEPS + 1)]
    scores = [average_precision(blended(graph, csac, w), y).nanmean() for w in weights]
    best = torch.stack(scores)
    equal = (best >= best.max() - 1e-9).nonzero().flatten()
    return weights[int(equal[len(equal) // 2])]

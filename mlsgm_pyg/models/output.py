"""What every model returns."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mlsgm_pyg.csac import Instances
from mlsgm_pyg.names import check_choice

SCORES = ('graph', 'csac', 'average')
BLEND = 'blend'


class Output(NamedTuple):
    """The scores of a batch of images, as logits; what a model does not have is :obj:`None`."""

    logits: Tensor  #: [B, C], the score that is evaluated and reported; training takes :obj:`graph_logits`, if any.
    graph_logits: Tensor | None = None  #: [B, C], the best instance of each label (Eq. 15).
    csac_logits: Tensor | None = None  #: [B, C], the class maps' own scores.
    match_logits: Tensor | None = None  #: [T, C], every instance with every label (Eq. 14); [E] in the plain form.
    instances: Instances | None = None  #: The T instances of the B images.
    label_x: Tensor | None = None  #: [B, C, D], the labels' final vectors.
    near: Tensor | None = None  #: [2, E], the kNN edges of the instances, neighbour -> instance.
    blend: Tensor | None = None  #: [], CSAC's weight in the score 'blend', where a model has it.

    def score(self, name: str) -> Tensor:
        """One score by name, as logits :obj:`[B, C]`: :obj:`'graph'`, :obj:`'csac'`, :obj:`'average'`, the mean of the
        two probabilities, or :obj:`'blend'`, the mean of the two logits with the weight that the model has for it.

        Raises:
            ValueError: If there is no such score, or this model does not have it.
        """
        check_choice('score', name, SCORES if self.blend is None else (*SCORES, BLEND))
        if self.graph_logits is None:
            raise ValueError(f"this model has one score only, its 'logits' (got '{name}')")
        if self.csac_logits is None and name != 'graph':
            raise ValueError(f"this model has no class maps: its one score is 'graph' (got '{name}')")
        a, b = self.graph_logits, self.csac_logits
        if name == 'average':  # The logit of the mean of both probabilities, without leaving logarithms.
            absent = torch.logaddexp(F.logsigmoid(-a), F.logsigmoid(-b))
            return torch.logaddexp(F.logsigmoid(a), F.logsigmoid(b)) - absent
        if name == BLEND:
            return blended(a, b, self.blend)
        return a if name == 'graph' else b


def blended(graph: Tensor, csac: Tensor, weight: Tensor | float) -> Tensor:
    """Both logits' mean with a weight of CSAC's in [0, 1], which loses less to a weight that is a little off than the
    mean of the probabilities; 0 and 1 give the one and the other as they are."""
    return graph + weight * (csac - graph)

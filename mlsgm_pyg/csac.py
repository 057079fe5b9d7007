"""Content-aware Semantic ACtivation: a feature map -> class maps, scores, instances (paper, Section III-B)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mlsgm_pyg.names import check_choice
from mlsgm_pyg.reduction import Reduction, Unreduced
from mlsgm_pyg.regions import boxes

POOLINGS = ('mean', 'sum')
SCORE_POOLINGS = ('max', 'avg', 'lse', 'gap')
INPUTS = ('reduced', 'whole')

UNREDUCED = Unreduced()


class CSACOutput(NamedTuple):
    """What CSAC says about every class."""

    maps: Tensor  #: [B, C, h, w], logits of the class maps M.
    logits: Tensor  #: [B, C], logits of the image's scores.


class Instances(NamedTuple):
    """All instances of a batch, image after image: x^0 (the whole image), then its classes, the best first."""

    x: Tensor  #: [T, D], Eq. 1.
    box: Tensor  #: [T, 4], (x, y, width, height) in [0, 1]; (0, 0, 1, 1) for x^0.
    label: Tensor  #: [T], the class an instance came from, -1 for x^0.
    score: Tensor  #: [T], probability, 1 for x^0.
    batch: Tensor  #: [T], the image.
    ptr: Tensor  #: [B + 1], where each image begins.
    sizes: list[int] | None = None  #: How many each image has, known without asking the device.


class Slots(NamedTuple):
    """The same instances with equally many slots S an image, so that no shape depends on what an image shows."""

    x: Tensor  #: [B, S, D]; an empty slot has the features of a class that was not chosen.
    box: Tensor  #: [B, S, 4]; zeros in an empty slot, as score.
    label: Tensor  #: [B, S], -1 for x^0 and in an empty slot.
    score: Tensor  #: [B, S].
    valid: Tensor  #: [B, S], False in an empty slot; an image's instances come first.


class CSAC(torch.nn.Module):
    r"""Turns a feature map into one activation map a class and a few instances an image (paper, Section III-B):

    .. math::
        \mathbf{M} = \sigma(\mathbf{W} \mathbf{F} + \mathbf{b}), \quad
        \mathbf{x}^c = \sum_{x, y} \mathbf{M}_c(x, y) \, \mathbf{F}(x, y) \quad (1)

    The classes whose pooled score exceeds :obj:`gamma` become instances, beside the whole image :math:`\mathbf{x}^0`,
    which is Eq. 1 with a map of ones.

    Args:
        in_channels (int): Channels D of the feature map.
        num_labels (int): Number of classes C.
        gamma (float): A class is an instance where its score, a probability, exceeds this. (default: :obj:`0.2`)
        max_instances (int): Most classes an image, the best first, :math:`\mathbf{x}^0` not counted.
            (default: :obj:`10`)
        pooling (str): :obj:`'sum'` is Eq. 1; :obj:`'mean'` divides it by the sum of the map, so that instances have
            the same scale at every resolution. (default: :obj:`'mean'`)
        score_pooling (str): The "global spatial pooling" of a map: its maximum (:obj:`'max'`), the mean of its
            probabilities (:obj:`'avg'`), the log-mean-exp of its logits (:obj:`'lse'`) or their mean (:obj:`'gap'`),
            which is a linear classifier on the averaged map, as class activation maps were introduced.
            (default: :obj:`'max'`)
        prior (float): Probability that every map starts with. (default: :obj:`0.05`)
        box_threshold (float): See :func:`mlsgm_pyg.regions.boxes`. (default: :obj:`0.2`)
        csac_input (str): What the classifier reads, so whose channels :obj:`in_channels` are: the :obj:`'reduced'` map,
            from which instances are pooled, or the :obj:`'whole'` one, before its reduction.
            (default: :obj:`'reduced'`)

    Shapes:
        - **input:** feature map :math:`(B, D, h, w)`, or one of other channels and the
          :class:`~mlsgm_pyg.reduction.Reduction` that brings it to D
        - **output:** maps :math:`(B, C, h, w)` and logits :math:`(B, C)`

    Raises:
        ValueError: If an option is out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        num_labels: int,
        gamma: float = 0.2,
        max_instances: int = 10,
        pooling: str = 'mean',
        score_pooling: str = 'max',
        prior: float = 0.05,
        box_threshold: float = 0.2,
        csac_input: str = 'reduced',
    ):
        super().__init__()
        check_choice('pooling', pooling, POOLINGS)
        check_choice('score_pooling', score_pooling, SCORE_POOLINGS)
        check_choice('csac_input', csac_input, INPUTS)
        for name, value in (('gamma', gamma), ('box_threshold', box_threshold)):
            if not 0 <= value <= 1:
                raise ValueError(f"'{name}' must be in [0, 1] (got {value})")
        if not 0 < prior < 1:
            raise ValueError(f"'prior' must be in (0, 1) (got {prior})")
        if max_instances < 0:
            raise ValueError(f"'max_instances' must not be negative (got {max_instances})")
        self.in_channels = in_channels
        self.num_labels = num_labels
        self.gamma = gamma
        self.max_instances = max_instances
        self.pooling = pooling
        self.score_pooling = score_pooling
        self.prior = prior
        self.box_threshold = box_threshold
        self.csac_input = csac_input
        self.classifier = torch.nn.Conv2d(in_channels, num_labels, kernel_size=1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        # Small weights keep the maximum over a map near the prior: few classes pass gamma at the start.
        torch.nn.init.normal_(self.classifier.weight, std=0.01)
        torch.nn.init.constant_(self.classifier.bias, math.log(self.prior / (1 - self.prior)))

    @property
    def num_slots(self) -> int:
        r"""Most instances an image, :math:`\mathbf{x}^0` included."""
        return 1 + min(self.max_instances, self.num_labels)

    def class_maps(self, feature: Tensor, reduce: Reduction | Unreduced = UNREDUCED) -> Tensor:
        """The logits of the class maps, :obj:`[B, C, h, w]`."""
        return reduce.classified(self.classifier, feature) if self.csac_input == 'reduced' else self.classifier(feature)

    def forward(self, feature: Tensor, reduce: Reduction | Unreduced = UNREDUCED) -> CSACOutput:
        maps = self.class_maps(feature, reduce)
        flat = maps.flatten(2)
        if self.score_pooling == 'max':  # The maximum commutes with the sigmoid.
            return CSACOutput(maps, flat.max(dim=2).values)
        flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
        if self.score_pooling == 'lse':
            return CSACOutput(maps, flat.logsumexp(dim=2) - math.log(flat.size(2)))
        if self.score_pooling == 'gap':
            return CSACOutput(maps, flat.mean(dim=2))
        # The logit of a mean of probabilities: log(mean(p) / mean(1 - p)).
        return CSACOutput(maps, F.logsigmoid(flat).logsumexp(dim=2) - F.logsigmoid(-flat).logsumexp(dim=2))

    def select(self, feature: Tensor, out: CSACOutput, reduce: Reduction | Unreduced = UNREDUCED) -> Instances:
        r"""Selects and locates the instances of a batch.

        Gradients reach :obj:`x` through the feature map and the class maps; boxes, labels and scores have none.

        Args:
            feature (Tensor): The feature map :math:`(B, D, h, w)`.
            out (CSACOutput): What :meth:`forward` returned for it.
            reduce (Reduction or Unreduced): What brings the map to D channels, as in :meth:`forward`; the reduced map
                itself is never computed. (default: it has D channels)
        """
        x, maps, label, score, keep = self._candidates(feature, out, reduce)
        num_images, num_slots = keep.shape
        count = keep.sum(dim=1)
        sizes = count.tolist()  # The one place that waits for the device.
        ptr = F.pad(count.cumsum(dim=0), (1, 0))
        batch = torch.arange(num_images, device=ptr.device).repeat_interleave(count, output_size=sum(sizes))
        index = torch.arange(sum(sizes), device=ptr.device) + (batch * num_slots - ptr[batch])  # The best come first.
        at = maps.detach().flatten(0, 1)[index].unflatten(1, feature.shape[2:])
        return Instances(
            x=x.flatten(0, 1)[index],
            box=boxes(at, self.box_threshold),  # The map of ones gives x^0 the whole image.
            label=label.flatten()[index],
            score=score.flatten()[index],
            batch=batch,
            ptr=ptr,
            sizes=sizes,
        )

    def slots(self, feature: Tensor, out: CSACOutput, reduce: Reduction | Unreduced = UNREDUCED) -> Slots:
        """As :meth:`select`, in a form of fixed shape that never waits for the device; it can be exported."""
        x, maps, label, score, keep = self._candidates(feature, out, reduce)
        maps = maps.detach()[:, 1:].unflatten(2, feature.shape[2:])
        box = score.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(maps.size(0), 1, 4)
        if maps.size(1):
            found = boxes(maps.flatten(0, 1), self.box_threshold, 'torch').unflatten(0, maps.shape[:2])
            box = torch.cat([box, found.masked_fill(~keep[:, 1:, None], 0)], dim=1)
        return Slots(x, box, label.masked_fill(~keep, -1), score.masked_fill(~keep, 0), keep)

    def _candidates(
        self, feature: Tensor, out: CSACOutput, reduce: Reduction | Unreduced
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Features, flat maps, classes and scores of x^0 and of the best classes of every image, and which pass."""
        score, label = self._rank(out.logits.detach(), self.num_slots)
        maps = out.maps.flatten(2)
        maps = maps.gather(1, label[:, 1:, None].expand(-1, -1, maps.size(2))).sigmoid()
        maps = torch.cat([maps.new_ones(maps.size(0), 1, maps.size(2)), maps], dim=1)  # x^0 sees everything.
        weight = maps
        if self.pooling == 'mean':  # Divided before the sum, which half precision might not hold.
            weight = maps / maps.sum(dim=2, keepdim=True).clamp(min=1e-6)
        x = torch.bmm(weight, feature.flatten(2).transpose(1, 2).to(maps.dtype))  # [B, 1 + K, D'], Eq. 1.
        x = reduce.pooled(x, weight.sum(dim=2, keepdim=True))
        return x, maps, label, score, (score > self.gamma) | (label < 0)

    def _rank(self, logits: Tensor, num_slots: int) -> tuple[Tensor, Tensor]:
        """Scores and classes [B, 1 + K] with x^0 (1 and -1) in front, by descending score, ties by class, NaN last."""
        score = logits.to(torch.promote_types(logits.dtype, torch.float32)).sigmoid().nan_to_num(nan=-1.0)
        score, label = score.sort(dim=1, descending=True, stable=True)
        return F.pad(score, (1, 0), value=1.0)[:, :num_slots], F.pad(label, (1, 0), value=-1)[:, :num_slots]

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.in_channels}, {self.num_labels}, gamma={self.gamma}, '
            f"max_instances={self.max_instances}, pooling='{self.pooling}', score_pooling='{self.score_pooling}')"
        )

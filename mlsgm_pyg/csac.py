"""Content-aware Semantic ACtivation: a feature map -> class maps, scores, instances (paper, Section III-B)."""

from __future__ import annotations

import math
from numbers import Integral
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn.inits import reset

from mlsgm_pyg.names import check_choice
from mlsgm_pyg.nn.reduction import build_reduction
from mlsgm_pyg.regions import boxes, grid_centres

POOLINGS = ('mean', 'sum')
SCORE_POOLINGS = ('max', 'avg', 'lse', 'gap')
INPUTS = ('reduced', 'whole')
MAPS = ('sigmoid', 'cam')


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
    centre: Tensor | None = None  #: [T, 2], int64, see :func:`mlsgm_pyg.regions.grid_centres`; exact for neighbours.
    evidence: Tensor | None = None  #: [T, C], what the classifier says of :obj:`x`, see :meth:`CSAC.evidence_of`.


class Slots(NamedTuple):
    """The same instances with equally many slots S an image, so that no shape depends on what an image shows."""

    x: Tensor  #: [B, S, D]; an empty slot has the features of a class that was not chosen.
    box: Tensor  #: [B, S, 4]; zeros in an empty slot, as score.
    label: Tensor  #: [B, S], -1 for x^0 and in an empty slot.
    score: Tensor  #: [B, S].
    valid: Tensor  #: [B, S], False in an empty slot; an image's instances come first.
    centre: Tensor  #: [B, S, 2], int64, as of :class:`Instances`.
    evidence: Tensor | None = None  #: [B, S, C], likewise.


class CSAC(torch.nn.Module):
    r"""Turns a feature map into one activation map a class and a few instances an image (paper, Section III-B):

    .. math::
        \mathbf{M} = \sigma(\mathbf{W} \mathbf{F} + \mathbf{b}), \quad
        \mathbf{x}^c = \sum_{x, y} \mathbf{M}_c(x, y) \, \mathbf{F}(x, y) \quad (1)

    with :math:`\mathbf{F}` the backbone's map, reduced to D channels. The classes whose pooled score exceeds
    :obj:`gamma` become instances, beside the whole image :math:`\mathbf{x}^0`, which is Eq. 1 with a map of ones.

    Args:
        in_channels (int): Channels of the backbone's feature map, D'.
        num_labels (int): Number of classes C.
        out_channels (int, optional): A 1x1 convolution reduces the map to so many channels, D; :obj:`None` keeps it as
            it is. (default: :obj:`1024`)
        gamma (float): A class is an instance where its score, a probability, exceeds this. (default: :obj:`0.2`)
        max_instances (int): Most classes an image, the best first, :math:`\mathbf{x}^0` not counted.
            (default: :obj:`10`)
        pooling (str): :obj:`'sum'` is Eq. 1; :obj:`'mean'` divides it by the sum of the map, so that instances have
            the same scale at every resolution. (default: :obj:`'mean'`)
        score_pooling (str): The "global spatial pooling" of a map: its maximum (:obj:`'max'`), the mean of its
            probabilities (:obj:`'avg'`), the log-mean-exp of its logits (:obj:`'lse'`) or their mean (:obj:`'gap'`),
            which is a linear classifier on the averaged map, as class activation maps were introduced.
            (default: :obj:`'max'`)
        prior (float, optional): Probability that every map starts with, from small weights; :obj:`None`: the classifier
            starts as any layer of torch's, for :obj:`score_pooling='gap'`, where nothing is a maximum. (default:
            :obj:`0.05`)
        box_threshold (float): See :func:`mlsgm_pyg.regions.boxes`. (default: :obj:`0.2`)
        csac_input (str): What the classifier reads: the :obj:`'reduced'` map, as in the paper, or the :obj:`'whole'`
            one of the backbone; instances are reduced in any case. (default: :obj:`'reduced'`)
        maps (str): What pools an instance and draws its box: the :obj:`'sigmoid'` of the class map, as in the paper, or
            the class activation map as it was introduced (Zhou et al., 2016), :obj:`'cam'`: max(W_c F, 0) without the
            bias, over its maximum, which tells places apart where the score is the mean of a map; ours.
            (default: :obj:`'sigmoid'`)
        evidence (bool): Whether instances bring what the classifier says of each; ours. (default: :obj:`False`)

    Shapes:
        - **input:** feature map :math:`(B, D', h, w)`
        - **output:** maps :math:`(B, C, h, w)` and logits :math:`(B, C)`

    Raises:
        ValueError: If an option is out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        num_labels: int,
        out_channels: int | None = 1024,
        gamma: float = 0.2,
        max_instances: int = 10,
        pooling: str = 'mean',
        score_pooling: str = 'max',
        prior: float | None = 0.05,
        box_threshold: float = 0.2,
        csac_input: str = 'reduced',
        maps: str = 'sigmoid',
        evidence: bool = False,
    ):
        super().__init__()
        check_choice('maps', maps, MAPS)
        check_choice('pooling', pooling, POOLINGS)
        check_choice('score_pooling', score_pooling, SCORE_POOLINGS)
        check_choice('csac_input', csac_input, INPUTS)
        for name, value in (('gamma', gamma), ('box_threshold', box_threshold)):
            if not 0 <= value <= 1:
                raise ValueError(f"'{name}' must be in [0, 1] (got {value})")
        if prior is not None and not 0 < prior < 1:
            raise ValueError(f"'prior' must be in (0, 1) or None (got {prior})")
        if not isinstance(max_instances, Integral) or max_instances < 0:
            raise ValueError(f"'max_instances' must be a whole number, at least 0 (got {max_instances})")
        self.in_channels, self.num_labels = in_channels, num_labels
        self.out_channels = in_channels if out_channels is None else out_channels
        self.gamma, self.max_instances = gamma, max_instances
        self.pooling, self.score_pooling = pooling, score_pooling
        self.prior, self.box_threshold, self.csac_input = prior, box_threshold, csac_input
        self.maps, self.evidence = maps, evidence
        read = in_channels if csac_input == 'whole' else self.out_channels
        # Where it starts as any layer, it is drawn first: number by number what a baseline's classifier would have.
        first = torch.nn.Conv2d(read, num_labels, kernel_size=1) if prior is None else None
        self.reduce = build_reduction(in_channels, out_channels)
        self.classifier = first or torch.nn.Conv2d(read, num_labels, kernel_size=1)
        if prior is not None:
            self._start()

    def _start(self) -> None:
        if self.prior is None:
            self.classifier.reset_parameters()
            return
        # Small weights keep the maximum over a map near the prior: few classes pass gamma at the start.
        torch.nn.init.normal_(self.classifier.weight, std=0.01)
        torch.nn.init.constant_(self.classifier.bias, math.log(self.prior / (1 - self.prior)))

    def reset_parameters(self) -> None:
        reset(self.reduce)
        self._start()

    @property
    def num_slots(self) -> int:
        r"""Most instances an image, :math:`\mathbf{x}^0` included."""
        return 1 + min(self.max_instances, self.num_labels)

    def class_maps(self, feature: Tensor) -> Tensor:
        """The logits of the class maps, :obj:`[B, C, h, w]`."""
        if self.csac_input == 'whole':
            return self.classifier(feature)
        return self.reduce.classified(self.classifier, feature)

    def activations(self, feature: Tensor) -> Tensor:
        """The activation maps, :obj:`[B, C, h, w]` in [0, 1]: each label's probability at each place or, with
        :obj:`maps='cam'`, the place's share of the highest one's."""
        maps = self.class_maps(feature)
        return self._active(maps.flatten(2), self._bias()[:, None]).view_as(maps)

    def _active(self, logits: Tensor, bias: Tensor) -> Tensor:
        """Activations of flat class maps :obj:`[..., h * w]` whose classifier has this bias."""
        if self.maps == 'sigmoid':
            return logits.sigmoid()
        active = torch.relu(logits - bias)
        peak = active.amax(-1, keepdim=True)
        return torch.where(peak > 0, active / peak.clamp(min=1e-6), 1.0)  # Nowhere active: the whole picture.

    def _bias(self) -> Tensor:
        return self.classifier.bias

    def _mean(self, feature: Tensor) -> Tensor:
        """The mean of each class map, :obj:`[B, C]`: they are linear in the map. With :obj:`csac_input='whole'` to the
        bit what a linear layer on the averaged map says."""
        mean = feature.mean((2, 3))
        if self.csac_input == 'whole':
            return F.linear(mean, self.classifier.weight.flatten(1), self.classifier.bias)
        return self.reduce.classified(self.classifier, mean[..., None, None]).flatten(1)

    def evidence_of(self, x: Tensor, reduced: Tensor, gradient: float = 1.0) -> Tensor:
        """What the classifier says of pooled features, as logits brought near [-1, 1]: (logit + 2.5) / 2.

        Args:
            x (Tensor): Means over the backbone's map, :obj:`[..., D']`.
            reduced (Tensor): The same over the reduced map, :obj:`[..., D]`.
            gradient (float): Share of its gradient that reaches the classifier. (default: :obj:`1.0`)
        """
        read = x if self.csac_input == 'whole' else reduced
        weight, bias = (_share(p, gradient) for p in (self.classifier.weight.flatten(1), self.classifier.bias))
        return (F.linear(read, weight, bias) + 2.5) / 2

    def forward(self, feature: Tensor) -> CSACOutput:
        maps = self.class_maps(feature)
        flat = maps.flatten(2)
        if self.score_pooling == 'max':  # The maximum commutes with the sigmoid.
            return CSACOutput(maps, flat.max(dim=2).values)
        flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
        if self.score_pooling == 'lse':
            return CSACOutput(maps, flat.logsumexp(dim=2) - math.log(flat.size(2)))
        if self.score_pooling == 'gap':
            return CSACOutput(maps, self._mean(feature).to(flat.dtype))
        # The logit of a mean of probabilities: log(mean(p) / mean(1 - p)).
        return CSACOutput(maps, F.logsigmoid(flat).logsumexp(dim=2) - F.logsigmoid(-flat).logsumexp(dim=2))

    def select(self, feature: Tensor, out: CSACOutput, gradient: float = 1.0) -> Instances:
        r"""Selects and locates the instances of a batch.

        Gradients reach :obj:`x` through the feature map and the class maps; boxes, labels and scores have none.

        Args:
            feature (Tensor): The feature map :math:`(B, D', h, w)`.
            out (CSACOutput): What :meth:`forward` returned for it.
            gradient (float): Share of the instances' gradient that reaches the feature map and the class maps; the
                reduction gets all of it in any case. (default: :obj:`1.0`)
        """
        x, maps, label, score, keep, evidence = self._candidates(feature, out, gradient)
        num_images, num_slots = keep.shape
        count = keep.sum(dim=1)
        sizes = count.tolist()  # The one place that waits for the device.
        ptr = F.pad(count.cumsum(dim=0), (1, 0))
        batch = torch.arange(num_images, device=ptr.device).repeat_interleave(count, output_size=sum(sizes))
        index = torch.arange(sum(sizes), device=ptr.device) + (batch * num_slots - ptr[batch])  # The best come first.
        at = maps.detach().flatten(0, 1)[index].unflatten(1, feature.shape[2:])
        box = boxes(at, self.box_threshold)  # The map of ones gives x^0 the whole image.
        x, label, score = (value.flatten(0, 1)[index] for value in (x, label, score))
        evidence = None if evidence is None else evidence.flatten(0, 1)[index]
        return Instances(x, box, label, score, batch, ptr, sizes, grid_centres(box, *feature.shape[2:]), evidence)

    def slots(self, feature: Tensor, out: CSACOutput) -> Slots:
        """As :meth:`select`, in a form of fixed shape that never waits for the device; it can be exported."""
        x, maps, label, score, keep, evidence = self._candidates(feature, out)
        maps = maps.detach()[:, 1:].unflatten(2, feature.shape[2:])
        box = score.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(maps.size(0), 1, 4)
        if maps.size(1):
            found = boxes(maps.flatten(0, 1), self.box_threshold, 'torch').unflatten(0, maps.shape[:2])
            box = torch.cat([box, found.masked_fill(~keep[:, 1:, None], 0)], dim=1)
        label, score = label.masked_fill(~keep, -1), score.masked_fill(~keep, 0)
        return Slots(x, box, label, score, keep, grid_centres(box, *feature.shape[2:]), evidence)

    def _candidates(
        self, feature: Tensor, out: CSACOutput, gradient: float = 1.0
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        """Features, flat maps, classes and scores of x^0 and an image's best classes, which pass, and the evidence."""
        score, label = self._rank(out.logits.detach(), self.num_slots)
        maps = out.maps.flatten(2)
        maps = maps.gather(1, label[:, 1:, None].expand(-1, -1, maps.size(2)))
        maps = self._active(maps, self._bias()[label[:, 1:, None]])
        maps = torch.cat([maps.new_ones(maps.size(0), 1, maps.size(2)), maps], dim=1)  # x^0 sees everything.
        weight = maps
        if self.pooling == 'mean':  # Divided before the sum, which half precision might not hold.
            weight = maps / maps.sum(dim=2, keepdim=True).clamp(min=1e-6)
        x = torch.bmm(weight, feature.flatten(2).transpose(1, 2).to(maps.dtype))  # [B, 1 + K, D'], Eq. 1.
        mass = weight.sum(dim=2, keepdim=True)
        x, mass = _share(x, gradient), _share(mass, gradient)
        reduced, evidence = self.reduce.pooled(x, mass), None
        if self.evidence:
            mean = mass.clamp(min=1e-6)
            evidence = self.evidence_of(x / mean, reduced / mean, gradient)
        return reduced, maps, label, score, (score > self.gamma) | (label < 0), evidence

    def _rank(self, logits: Tensor, num_slots: int) -> tuple[Tensor, Tensor]:
        """Scores and classes [B, 1 + K] with x^0 (1 and -1) in front, by descending logit, ties by class, NaN last."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        logits = logits.masked_fill(logits.isnan(), -torch.inf)
        logits, label = logits.sort(dim=1, descending=True, stable=True)
        score = logits.sigmoid()  # Not sorted itself: from a logit of 17 on it is 1 in float32.
        return F.pad(score, (1, 0), value=1.0)[:, :num_slots], F.pad(label, (1, 0), value=-1)[:, :num_slots]

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.in_channels}, {self.num_labels}, out_channels={self.out_channels}, '
            f"gamma={self.gamma}, max_instances={self.max_instances}, pooling='{self.pooling}', "
            f"score_pooling='{self.score_pooling}')"
        )


class ExtendedCSAC(CSAC):
    r"""CSAC with further classes, whose maps are convex combinations of the trained ones:

    .. math::
        \mathbf{M}_n = \sigma\left(\sum_c a_{nc} (\mathbf{w}_c^\top \mathbf{F} + b_c)\right)

    The trained classes select the instances that they would select alone, up to :obj:`max_instances`; up to as many of
    the further ones come beside them. Weights are shared with the trained one.

    Args:
        csac (CSAC): The trained one.
        weights (Tensor): The combinations, one row a further class, :obj:`[C_n, C]`.
    """

    def __init__(self, csac: CSAC, weights: Tensor):
        torch.nn.Module.__init__(self)
        self.__dict__.update({key: value for key, value in vars(csac).items() if not key.startswith('_')})
        self.reduce, self.classifier = csac.reduce, csac.classifier
        self.parts = csac.num_labels, len(weights)
        self.num_labels = sum(self.parts)
        self.register_buffer('weights', weights)

    @property
    def num_slots(self) -> int:
        return 1 + sum(min(self.max_instances, part) for part in self.parts)

    def class_maps(self, feature: Tensor) -> Tensor:
        maps = super().class_maps(feature)
        return torch.cat([maps, torch.einsum('nc,bchw->bnhw', self.weights, maps)], dim=1)

    def _mean(self, feature: Tensor) -> Tensor:
        known = super()._mean(feature)
        return torch.cat([known, known @ self.weights.T], dim=1)

    def _bias(self) -> Tensor:
        return torch.cat([self.classifier.bias, self.weights @ self.classifier.bias])

    def _rank(self, logits: Tensor, num_slots: int) -> tuple[Tensor, Tensor]:
        parts = logits.split(self.parts, dim=1)
        return super()._rank(torch.cat([_best(part, self.max_instances) for part in parts], dim=1), num_slots)


def _best(logits: Tensor, number: int) -> Tensor:
    """The highest logits of each image, ties by class; all others are put below any."""
    logits = logits.masked_fill(logits.isnan(), -torch.inf)
    order = logits.sort(dim=1, descending=True, stable=True).indices
    return logits.scatter(1, order[:, number:], -torch.inf)


def _share(x: Tensor, gradient: float) -> Tensor:
    """The same numbers, which pass a share of their gradient on."""
    if gradient == 1 or not torch.is_grad_enabled():
        return x
    return x.detach() + gradient * (x - x.detach())

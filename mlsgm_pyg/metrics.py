r"""Multi-label metrics (paper, Section IV-B): mAP, CP CR CF1 OP OR OF1, and the same six for the top-3 labels.

Labels are :math:`\{1, 0, -1\}`: present, absent, unknown; the score of an unknown label changes nothing. Everything
is computed in float64, and a metric's states keep each image's logits, so several processes that each saw a part of the
images (some of them twice) get what one process gets.

AP is our own, not torchmetrics', which computes it in float32, gives 0 instead of nothing to a class without a positive
and has no 11-point form; else the two agree to 1e-7.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from mlsgm_pyg.names import check_choice, repeated

AVERAGE_PRECISIONS = ('non_interpolated', 'interpolated_11')
TOP3 = ('threshold', 'plain')


def average_precision(scores: Tensor, y: Tensor, ap: str = 'non_interpolated') -> Tensor:
    r"""Average precision of every class, with :math:`P_k, R_k` precision and recall down to the k-th distinct score:

    .. math::
        \mathrm{AP} = \sum_k (R_k - R_{k-1}) \, P_k \quad \text{or} \quad
        \mathrm{AP}_{11} = \frac{1}{11} \sum_{t \in \{0, 0.1, \ldots, 1\}} \max_{k : R_k \geq t} P_k

    Equal scores are one step (as in scikit-learn's :obj:`average_precision_score`), so the order of the images never
    matters. Any increasing function of the probability will do as a score, logits included.

    Args:
        scores (torch.Tensor): A score per image and class.
        y (torch.Tensor): Labels in :math:`\{1, 0, -1\}`; unknown ones are left out, class by class.
        ap (str): :obj:`'non_interpolated'` or :obj:`'interpolated_11'` (the 11 points of PASCAL VOC 2007).
            (default: :obj:`'non_interpolated'`)

    Shapes:
        - **inputs:** :obj:`scores` :math:`(n, C)`, :obj:`y` :math:`(n, C)`
        - **output:** :math:`(C)` in float64, NaN for a class without a positive

    Raises:
        ValueError: If scores and labels do not fit, or there is no such AP.
    """
    check_choice('ap', ap, AVERAGE_PRECISIONS)
    _check_pair('scores', scores, y)
    if y.size(0) == 0:
        return torch.full((y.size(1),), torch.nan, dtype=torch.double, device=y.device)
    scores = scores if scores.is_floating_point() else scores.double()
    # Unknown labels go last, where they move no other image's step.
    scores, order = scores.masked_fill(y < 0, -torch.inf).t().contiguous().sort(descending=True)
    y = y.t().gather(1, order)
    positive = (y == 1).cumsum(1, dtype=torch.double)
    precision = positive / (y >= 0).cumsum(1, dtype=torch.double).clamp_(min=1)
    total = positive[:, -1:]
    is_step = torch.ones_like(y, dtype=torch.bool)  # The last image of those with an equal score.
    is_step[:, :-1] = scores[:, 1:] != scores[:, :-1]
    if ap == 'non_interpolated':
        reached = (positive * is_step).cummax(1).values
        gain = reached.diff(dim=1, prepend=torch.zeros_like(total))  # Positives of this step; 0 within a step.
        value = (gain * precision).sum(1) / total[:, 0]
    else:
        precision = precision * is_step
        # 10 * positive >= t * total is exact where recall >= 0.1 * t is not.
        points = [(precision * (10 * positive >= t * total)).amax(1) for t in range(11)]
        value = torch.stack(points).mean(0)
    return value.masked_fill(total[:, 0] == 0, torch.nan)


def top3(scores: Tensor, y: Tensor) -> Tensor:
    """The three known labels of highest score in each image (all where fewer are known), equal scores by class index.

    Args:
        scores (torch.Tensor): A score per image and class.
        y (torch.Tensor): Labels in 1, 0, -1; unknown ones are never taken.

    Shapes:
        - **inputs:** :obj:`scores` :math:`(n, C)`, :obj:`y` :math:`(n, C)`
        - **output:** :math:`(n, C)`, a mask

    Raises:
        ValueError: If scores and labels do not fit.
    """
    _check_pair('scores', scores, y)
    scores = scores.double().clamp(min=torch.finfo(torch.double).min)  # A known label is above the unknown.
    best = scores.masked_fill(y < 0, -torch.inf).argsort(dim=1, descending=True, stable=True)[:, :3]
    return torch.zeros_like(y, dtype=torch.bool).scatter_(1, best, True) & (y >= 0)


def precision_recall(predicted: Tensor, y: Tensor) -> dict[str, float]:
    r"""Per-class and overall precision, recall and F1 of predicted labels, in percent:

    .. math::
        \mathrm{CP} &= \frac{1}{C} \sum_c \frac{N^t_c}{N^p_c}, \quad
        \mathrm{CR} = \frac{1}{C} \sum_c \frac{N^t_c}{N^g_c}, \quad
        \mathrm{OP} = \frac{\sum_c N^t_c}{\sum_c N^p_c}, \quad
        \mathrm{OR} = \frac{\sum_c N^t_c}{\sum_c N^g_c} \\
        \mathrm{CF1} &= \frac{2 \, \mathrm{CP} \, \mathrm{CR}}{\mathrm{CP} + \mathrm{CR}}, \quad
        \mathrm{OF1} = \frac{2 \, \mathrm{OP} \, \mathrm{OR}}{\mathrm{OP} + \mathrm{OR}}

    with :math:`N^t` the right predictions, :math:`N^p` all predictions and :math:`N^g` the positives, among known
    labels. A class that is never predicted has precision 0. The two means run over the classes that have a positive, as
    that of mAP does; predictions of the other classes count in OP as the false positives they are. Without any
    positive, all six are NaN.

    The meter of ML-GCN's code, which many papers used, differs in three ways: each class that is never predicted adds
    one to OP's denominator; an unknown label counts as a negative, so CP and OP are lower; and CP and CR run over all
    classes (CR is NaN if one has no positive). With all labels known, and every class predicted and shown, they agree.

    Args:
        predicted (torch.Tensor): Which labels are said to be there, :obj:`bool`.
        y (torch.Tensor): Labels in :math:`\{1, 0, -1\}`; unknown ones are left out.

    Shapes:
        - **inputs:** :obj:`predicted` :math:`(n, C)`, :obj:`y` :math:`(n, C)`

    Raises:
        ValueError: If the two do not fit.
    """
    _check_pair('predicted', predicted, y)
    is_positive = y == 1
    right = (predicted & is_positive).sum(0).double()
    guessed = (predicted & (y >= 0)).sum(0).double()
    positive = is_positive.sum(0).double()
    has_positive = positive > 0
    cp = (right / guessed.clamp(min=1))[has_positive].mean().item()
    cr = (right / positive)[has_positive].mean().item()
    op = (right.sum() / guessed.sum().clamp(min=1)).item() if has_positive.any() else float('nan')
    or_ = (right.sum() / positive.sum()).item()
    values = {'CP': cp, 'CR': cr, 'CF1': _harmonic(cp, cr), 'OP': op, 'OR': or_, 'OF1': _harmonic(op, or_)}
    return {name: 100 * value for name, value in values.items()}


class MultiLabelMetrics(Metric):
    r"""All figures of the paper's tables over a data set, each image counted once.

    :meth:`update` takes logits, labels in :math:`\{1, 0, -1\}` and each image's number in the data set. An image that
    comes twice, because a distributed sampler pads the last batch, counts once, in one process or several.

    :meth:`compute` returns percentages: :obj:`'mAP'`; :obj:`'CP'`, :obj:`'CR'`, :obj:`'CF1'`, :obj:`'OP'`,
    :obj:`'OR'`, :obj:`'OF1'` (:func:`precision_recall`) and the same with the prefix :obj:`'top3_'`; :obj:`'AP'`, a
    dictionary by class (NaN without a positive); and :obj:`'left_out'`, the classes without a positive, which no mean
    over classes counts.

    Args:
        class_names (sequence of str): Names of the :math:`C` classes.
        ap (str): Which AP, see :func:`average_precision`. (default: :obj:`'non_interpolated'`)
        top3 (str): :obj:`'threshold'` takes those of the three highest labels that also reach the threshold;
            :obj:`'plain'` takes all three. (default: :obj:`'threshold'`)
        threshold (float): Probability from which a label is predicted. (default: :obj:`0.5`)

    Shapes:
        - **update:** :obj:`logits` :math:`(B, C)`, :obj:`y` :math:`(B, C)`, :obj:`index` :math:`(B)`

    Raises:
        ValueError: If an option is unknown or no probability, if an update's parts do not fit or are NaN, or if
            nothing was updated before :meth:`compute`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(
        self,
        class_names: Sequence[str],
        ap: str = 'non_interpolated',
        top3: str = 'threshold',
        threshold: float = 0.5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_choice('ap', ap, AVERAGE_PRECISIONS)
        check_choice('top3', top3, TOP3)
        if not 0 < threshold < 1:
            raise ValueError(f"'threshold' must be a probability between 0 and 1 (got {threshold})")
        self.class_names = list(class_names)
        if twins := repeated(self.class_names):
            raise ValueError(f"'class_names' must differ (got several of {', '.join(map(repr, twins))})")
        self.ap = ap
        self.top3 = top3
        self.threshold = threshold
        for state in ('logits', 'y', 'index'):
            self.add_state(state, default=[], dist_reduce_fx='cat')

    def update(self, logits: Tensor, y: Tensor, index: Tensor) -> None:
        _check_pair('logits', logits, y)
        num_images, num_labels = logits.shape
        if num_labels != len(self.class_names):
            raise ValueError(f'Expected a logit for each of {len(self.class_names)} classes (got {num_labels})')
        if index.shape != (num_images,):
            raise ValueError(
                f"'index' must hold the number of each image in the data set: expected shape [{num_images}] "
                f'(got {list(index.shape)})'
            )
        dtype = torch.float if logits.device.type == 'mps' else torch.double  # Apple's GPUs know no float64.
        self.logits.append(logits.detach().to(dtype))
        self.y.append(y.to(logits.device, torch.int8))
        self.index.append(index.to(logits.device, torch.long))

    def compute(self) -> dict:
        states = self.logits, self.y, self.index  # Tensors where several processes were gathered.
        logits, y, index = (s if isinstance(s, Tensor) else torch.cat(s or [torch.empty(0)]) for s in states)
        if index.numel() == 0:
            raise ValueError("No image to compute metrics of: call 'update' with at least one before 'compute'")
        logits, y = _unique_images(logits, y, index)
        ap = average_precision(logits, y, self.ap)
        has_positive = ~ap.isnan()
        predicted = logits.sigmoid() >= self.threshold
        among_top3 = top3(logits, y)
        out = {'mAP': 100 * ap[has_positive].mean().item()}
        out |= precision_recall(predicted, y)
        among_top3 = among_top3 & predicted if self.top3 == 'threshold' else among_top3
        out |= {f'top3_{name}': value for name, value in precision_recall(among_top3, y).items()}
        out['AP'] = dict(zip(self.class_names, (100 * ap).tolist(), strict=True))
        out['left_out'] = [name for name, has in zip(self.class_names, has_positive.tolist(), strict=True) if not has]
        return out

    def sync(self, *args, **kwargs) -> None:
        if len(self.index) == 0:  # A process without images must still send states of the right shape.
            nothing = torch.empty(0, len(self.class_names), device=self.device)
            type(self).update(self, nothing, nothing, torch.empty(0))
        super().sync(*args, **kwargs)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({len(self.class_names)} classes, ap={self.ap!r}, top3={self.top3!r}, '
            f'threshold={self.threshold})'
        )


def _unique_images(logits: Tensor, y: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """The first of each image's copies, in the order of the data set, on the CPU (the same sums on every device)."""
    logits, y, index = logits.cpu().double(), y.cpu(), index.cpu()
    _, *found = np.unique(index.numpy(), return_index=True, return_inverse=True)
    first, copy_of = map(torch.from_numpy, found)
    differs = (y != y[first][copy_of]).any(1)
    if differs.any():
        raise ValueError(
            f'Image {index[differs].min()} came twice with different labels: '
            "'index' must be each image's number in the data set, not in the batch"
        )
    broken = logits.isnan().any(1)
    if broken.any():
        raise ValueError(f'The logits of {broken.sum()} images are NaN, first image {index[broken].min()}')
    return logits[first], y[first]


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b != 0 else 0.0


def _check_pair(name: str, value: Tensor, y: Tensor) -> None:
    if value.dim() != 2 or value.shape != y.shape:
        raise ValueError(f"'{name}' and 'y' must both have shape [n, C] (got {list(value.shape)} and {list(y.shape)})")

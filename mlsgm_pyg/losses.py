r"""The losses of the paper (Eq. 16-21), on logits.

Targets are :obj:`y` in :math:`\{1, 0, -1\}`: present, absent, unknown. An unknown label adds nothing: neither to the
value nor, whatever its logit, to the gradient; a batch of which nothing is known gives zero (with a graph, so that
:meth:`backward` works). The paper prints Eq. 16-21 without their minus, and writes absent and unknown as -1 and 0 in
Eq. 17. Values are computed in float32 at least, so half-precision logits are safe.
"""

from inspect import signature

import torch
import torch.nn.functional as F
from torch import Tensor

from mlsgm_pyg.names import nearest
from mlsgm_pyg.statistics import check_values


class WeightedBCE(torch.nn.Module):
    r"""The weighted cross-entropy of full labels (paper, Eq. 16, and Eq. 18 on base classes):

    .. math::
        \mathcal{L} = - \frac{1}{|\mathcal{K}|} \sum_{(i, c) \in \mathcal{K}} w_i^c
        \left[ y_i^c \log p_i^c + (1 - y_i^c) \log (1 - p_i^c) \right], \quad
        w_i^c = y_i^c \, e^{\beta (1 - r^c)} + (1 - y_i^c) \, e^{\beta r^c}

    with :math:`\mathcal{K}` the known labels of the batch. (The paper sums over images and classes; the mean keeps
    the learning rate's meaning when the batch or the number of known labels changes.)

    Args:
        ratio (torch.Tensor): :math:`r^c`, see :func:`mlsgm_pyg.statistics.label_ratio`.
        beta (float): How much rare classes are favoured; the paper has 0 on VOC 2007 and 0.4 elsewhere.
            (default: :obj:`0.0`)

    Shapes:
        - **inputs:** :obj:`logits` :math:`(B, C)`, :obj:`y` :math:`(B, C)`
        - **output:** a scalar

    Raises:
        ValueError: If an option is out of its range, or logits and labels do not fit.
    """

    def __init__(self, ratio: Tensor, beta: float = 0.0):
        super().__init__()
        ratio = torch.as_tensor(ratio)
        if ratio.dim() != 1 or not bool(((ratio >= 0) & (ratio <= 1)).all()):
            raise ValueError(
                f"'ratio' must hold one number in [0, 1] per class (got shape {list(ratio.shape)}"
                + (f', values in [{ratio.min():g}, {ratio.max():g}])' if ratio.numel() else ')')
            )
        self.beta = beta
        # Not persistent: the training labels say it again, and a checkpoint of the model does not need it.
        self.register_buffer('positive_weight', (beta * (1 - ratio)).exp(), persistent=False)
        self.register_buffer('negative_weight', (beta * ratio).exp(), persistent=False)

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        logits, y, known = _prepare(logits, y)
        if logits.size(1) != self.positive_weight.numel():
            raise ValueError(
                f"'ratio' was given for {self.positive_weight.numel()} classes (got logits of {logits.size(1)} classes)"
            )
        weight = torch.where(y == 1, self.positive_weight, self.negative_weight)
        return _mean(weight.to(logits.dtype) * _bce(logits, y), known)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(num_labels={self.positive_weight.numel()}, beta={self.beta})'


class PartialBCE(torch.nn.Module):
    r"""The cross-entropy of partially known labels (paper, Eq. 17):

    .. math::
        \mathcal{L} = - \frac{1}{B} \sum_{i=1}^{B} \frac{g(r_i)}{C} \sum_{c : y_i^c \geq 0}
        \left[ y_i^c \log p_i^c + (1 - y_i^c) \log (1 - p_i^c) \right], \quad
        g(r) = \alpha r^\mu + \theta

    with :math:`r_i` the known part of image :math:`i`'s labels. The sum is divided by all :math:`C` labels, since
    :math:`g` already makes up for the unknown ones. With the defaults :math:`g(1) = 1`, the mean cross-entropy, and
    :math:`g(0.1) = 5.005`.

    Args:
        alpha (float): Slope of :math:`g`. (default: :obj:`-4.45`)
        theta (float): Value of :math:`g` where nothing is known. (default: :obj:`5.45`)
        mu (float): Exponent of :math:`g`, positive. (default: :obj:`1.0`)

    Shapes:
        - **inputs:** :obj:`logits` :math:`(B, C)`, :obj:`y` :math:`(B, C)`
        - **output:** a scalar

    Raises:
        ValueError: If an option is out of its range, or logits and labels do not fit.
    """

    def __init__(self, alpha: float = -4.45, theta: float = 5.45, mu: float = 1.0):
        super().__init__()
        if mu <= 0:
            raise ValueError(f"'mu' must be positive (got {mu})")
        self.alpha = alpha
        self.theta = theta
        self.mu = mu

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        logits, y, known = _prepare(logits, y)
        scale = self.scale(known.to(logits.dtype).mean(1))
        return (scale.unsqueeze(1) * _bce(logits, y) * known).sum() / max(y.numel(), 1)

    def scale(self, known_ratio: Tensor) -> Tensor:
        r""":math:`g` of the known part of each image's labels, in [0, 1]."""
        return self.alpha * known_ratio**self.mu + self.theta

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(alpha={self.alpha}, theta={self.theta}, mu={self.mu})'


class AsymmetricFocal(torch.nn.Module):
    r"""The asymmetric focal loss of few-shot training (paper, Eq. 19-21):

    .. math::
        \mathcal{L} = - \frac{1}{|\mathcal{K}|} \sum_{(i, c) \in \mathcal{K}} y_i^c (1 - p_i^c)^{\gamma_+} \log p_i^c
        + (1 - y_i^c) (\hat{p}_i^c)^{\gamma_-} \log (1 - \hat{p}_i^c), \quad
        \hat{p}_i^c = \max(p_i^c - m, 0)

    with :math:`\mathcal{K}` the known labels of the batch. Eq. 21 sums over images and classes; the mean is taken
    here, as in :class:`WeightedBCE`, so that a learning rate means the same for 1 and for 500 novel classes, with every
    label or with few of them known (multiply by :math:`B \cdot C` for the printed sum). The gradient flows through the
    focusing weights too, as the equation has it. A negative below the margin gives no gradient.

    Args:
        gamma_pos (float): :math:`\gamma_+`. (default: :obj:`0.0`)
        gamma_neg (float): :math:`\gamma_-`. (default: :obj:`4.0`)
        margin (float): :math:`m`, a probability. (default: :obj:`0.05`)

    Shapes:
        - **inputs:** :obj:`logits` :math:`(B, C)`, :obj:`y` :math:`(B, C)`
        - **output:** a scalar

    Raises:
        ValueError: If an option is out of its range, or logits and labels do not fit.
    """

    def __init__(self, gamma_pos: float = 0.0, gamma_neg: float = 4.0, margin: float = 0.05):
        super().__init__()
        if gamma_pos < 0 or gamma_neg < 0:
            raise ValueError(f"'gamma_pos' and 'gamma_neg' must not be negative (got {gamma_pos} and {gamma_neg})")
        if not 0 <= margin < 1:
            raise ValueError(f"'margin' must be a probability below 1 (got {margin})")
        self.gamma_pos = gamma_pos
        self.gamma_neg = gamma_neg
        self.margin = margin

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        logits, y, known = _prepare(logits, y)
        positive = _power((-logits).sigmoid(), self.gamma_pos) * F.logsigmoid(logits)
        p_hat = (logits.sigmoid() - self.margin).clamp(min=0)
        # Without a margin 1 - p_hat rounds to 0 at large logits; with one it never falls below the margin.
        log_rest = torch.log1p(-p_hat) if self.margin > 0 else F.logsigmoid(-logits)
        negative = _power(p_hat, self.gamma_neg) * log_rest
        return _mean(-torch.where(y == 1, positive, negative), known)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(gamma_pos={self.gamma_pos}, gamma_neg={self.gamma_neg}, margin={self.margin})'
        )


LOSSES = {'weighted_bce': WeightedBCE, 'partial_bce': PartialBCE, 'asymmetric_focal': AsymmetricFocal}


def build_loss(name: str, ratio: Tensor | None = None, **options) -> torch.nn.Module:
    r"""Makes a loss by its name in a configuration.

    Args:
        name (str): :obj:`'weighted_bce'` (Eq. 16), :obj:`'partial_bce'` (Eq. 17) or :obj:`'asymmetric_focal'`
            (Eq. 19-21).
        ratio (torch.Tensor, optional): See :func:`mlsgm_pyg.statistics.label_ratio`; for :obj:`'weighted_bce'` alone.
        **options: The loss's own arguments.

    Raises:
        ValueError: If the name or an option is unknown (the nearest one is named), or the ratio is missing.
    """
    if name not in LOSSES:
        raise ValueError(f'Unknown loss {name!r}{nearest(name, LOSSES)}: choose from {", ".join(LOSSES)}')
    known = [option for option in signature(LOSSES[name]).parameters if option != 'ratio']
    for option in options:
        if option not in known:
            raise ValueError(f'Loss {name!r} has no option {option!r}{nearest(option, known)}: it has {known}')
    if name != 'weighted_bce':
        return LOSSES[name](**options)
    if ratio is None:
        raise ValueError("Loss 'weighted_bce' needs 'ratio', the positive part of each class (see 'label_ratio')")
    return WeightedBCE(ratio, **options)


def _prepare(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the logits (0 where unknown, so that no gradient returns there), y on their device, and what is known."""
    if logits.dim() != 2 or logits.shape != y.shape:
        raise ValueError(f"'logits' and 'y' must both have shape [B, C] (got {list(logits.shape)} and {list(y.shape)})")
    check_values(y)
    if logits.dtype in (torch.half, torch.bfloat16):
        logits = logits.float()
    y = y.to(logits.device)
    known = y >= 0
    return torch.where(known, logits, 0.0), y, known


def _bce(logits: Tensor, y: Tensor) -> Tensor:
    return -F.logsigmoid(torch.where(y == 1, logits, -logits))


def _mean(loss: Tensor, known: Tensor) -> Tensor:
    return (loss * known).sum() / known.sum().clamp(min=1)


def _power(base: Tensor, exponent: float) -> Tensor:
    """``base ** exponent`` with a finite gradient at 0, where an exponent below 1 has none."""
    return base.clamp(min=torch.finfo(base.dtype).tiny) ** exponent

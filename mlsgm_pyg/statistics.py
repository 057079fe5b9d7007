"""What is counted on the training labels: how often each is there, and which come together."""

from torch import Tensor


def label_ratio(y: Tensor) -> Tensor:
    r"""The ratio :math:`r^c` of Eq. 16: which part of a class's known labels is positive.

    Args:
        y (Tensor): Labels of the training images: 1 present, 0 absent, -1 unknown.

    Shapes:
        - **input:** :math:`(n, C)`
        - **output:** :math:`(C)`, float32; 0 for a class of which nothing is known

    Raises:
        ValueError: If :obj:`y` is not of that shape or holds anything else.
    """
    _check_rows(y)
    return (y == 1).sum(0).float() / (y >= 0).sum(0).clamp(min=1)


def co_occurrence(y: Tensor) -> Tensor:
    r"""The conditional probability that an image which shows one label shows another, too:

    .. math::
        P_{ij} = P(L_j \mid L_i) = \frac{|\{n : y_n^i = 1, \, y_n^j = 1\}|}{|\{n : y_n^i = 1, \, y_n^j \text{ known}\}|}

    Only known labels count. Where all are known this is :math:`M_{ij} / N_i` of ML-GCN (Chen et al., CVPR 2019, Eq. 6).
    The diagonal is 1; a label that is never present has a row of zeros.

    Args:
        y (Tensor): Labels of the training images: 1 present, 0 absent, -1 unknown.

    Shapes:
        - **input:** :math:`(n, C)`
        - **output:** :math:`(C, C)`, float32

    Raises:
        ValueError: If :obj:`y` is not of that shape or holds anything else.
    """
    _check_rows(y)
    present, known = (y == 1).double(), (y >= 0).double()  # Counts are exact.
    return ((present.t() @ present) / (present.t() @ known).clamp(min=1)).float()


def check_co_occurrence(matrix: Tensor, num_labels: int) -> Tensor:
    """Returns the matrix as float32 if it can be one of :obj:`num_labels` labels.

    Raises:
        ValueError: If it is not square, of other labels, or does not hold probabilities.
    """
    if list(matrix.shape) != [num_labels, num_labels]:
        raise ValueError(
            f"'co_occurrence' must hold P(j | i) for each pair of labels: expected shape [{num_labels}, {num_labels}] "
            f'(got {list(matrix.shape)})'
        )
    if not bool(((matrix >= 0) & (matrix <= 1)).all()):
        raise ValueError(
            f"'co_occurrence' must hold probabilities in [0, 1] (got values in [{matrix.min():g}, {matrix.max():g}])"
        )
    return matrix.detach().float().clone()


def check_values(y: Tensor) -> None:
    """Checks that labels are 1, 0 or -1 (on the CPU alone: on a GPU the look itself would stop the stream).

    Raises:
        ValueError: If one is not.
    """
    if y.device.type != 'cpu':
        return
    wrong = y[(y != 1) & (y != 0) & (y != -1)]
    if wrong.numel() > 0:
        raise ValueError(
            f"'y' must hold 1 (present), 0 (absent) or -1 (unknown): {wrong.numel()} of {y.numel()} "
            f'values are something else (got {wrong[0].item()})'
        )


def _check_rows(y: Tensor) -> None:
    if y.dim() != 2:
        raise ValueError(f"'y' must hold one row an image: expected shape [n, C] (got {list(y.shape)})")
    check_values(y)

r"""Where things are: from the square that a model saw back to the pixels of the picture it came from.

A picture is stored, then turned upright (EXIF), then seen through a view (resized, cropped, mirrored). Every step is
a map of one unit square to another, so sizes in pixels come in once, at the end. Boxes may be lists, arrays or tensors
on the CPU, and become arrays: torch is not loaded.
"""

import numpy as np
from numpy.typing import ArrayLike

from mlsgm_pyg.names import check_choice

FIXED_VIEWS = ('resize', 'resize_flip', 'paper', 'paper_flip')

# EXIF orientation -> how a point (u, v) of the upright picture lies in the stored one: are the axes swapped, is then
# the first, is the second reversed?
TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
INVERSE = {6: 8, 8: 6}  # The others undo themselves.


def window(view: str, image_size: int) -> tuple[float, float, float, float]:
    """What a fixed view sees of an upright picture: :obj:`(x, y, width, height)` as parts of it.

    Args:
        view (str): One of :obj:`FIXED_VIEWS`; see :func:`mlsgm_pyg.datasets.build_view`.
        image_size (int): Side of the view in pixels.

    Raises:
        ValueError: If the view is unknown, or random.
    """
    check_choice('view', view, FIXED_VIEWS)
    if view.startswith('resize'):
        return 0.0, 0.0, 1.0, 1.0
    large = round(image_size * 640 / 448)
    start = round((large - image_size) / 2) / large  # As torchvision's CenterCrop rounds.
    return start, start, image_size / large, image_size / large


def to_upright(box: ArrayLike, view: str, image_size: int) -> np.ndarray:
    """Boxes of a view -> boxes of the upright picture.

    Shapes:
        - **input:** boxes :math:`(N, 4)`: (x, y, width, height) as parts of the view
        - **output:** :math:`(N, 4)`, as parts of the upright picture
    """
    left, top, width, height = window(view, image_size)
    box = np.asarray(box, np.float64)
    if view.endswith('_flip'):
        box = _reverse(box, 0)
    return box * np.array([width, height, width, height]) + np.array([left, top, 0, 0])


def to_stored(box: ArrayLike, orientation: int) -> np.ndarray:
    """Boxes of the upright picture -> boxes of the picture as its file stores it.

    Args:
        box (array): :obj:`[N, 4]`, (x, y, width, height) as parts of the upright picture.
        orientation (int): EXIF orientation, 1 to 8.
    """
    swapped, *reversed_axes = TURNS[orientation]
    box = np.asarray(box, np.float64)
    box = box[:, [1, 0, 3, 2]] if swapped else box
    for axis, is_reversed in enumerate(reversed_axes):
        box = _reverse(box, axis) if is_reversed else box
    return box


def from_stored(box: ArrayLike, orientation: int) -> np.ndarray:
    """The inverse of :func:`to_stored`."""
    return to_stored(box, INVERSE.get(orientation, orientation))


def to_pixels(
    box: ArrayLike,
    size: tuple[int, int],
    orientation: int = 1,
    view: str = 'resize',
    image_size: int = 448,
    upright: bool = False,
) -> np.ndarray:
    """Boxes of a view -> pixels of the original picture.

    Args:
        box (array): :obj:`[N, 4]`, (x, y, width, height) as parts of the view.
        size (tuple[int, int]): Width and height of the picture as stored.
        orientation (int): Its EXIF orientation, 1 to 8. (default: :obj:`1`)
        view (str): See :func:`mlsgm_pyg.datasets.build_view`. (default: :obj:`'resize'`)
        image_size (int): Side of the view in pixels. (default: :obj:`448`)
        upright (bool): Whether the pixels are those of the picture turned upright, as viewers show it, instead of the
            stored ones. (default: :obj:`False`)

    Returns:
        ndarray: :obj:`[N, 4]`, float64; (0, 0) is the outer corner of the first pixel.
    """
    width, height = size
    if upright and orientation >= 5:
        width, height = height, width
    box = to_upright(box, view, image_size)
    box = box if upright else to_stored(box, orientation)
    return box * np.array([width, height, width, height])


def _reverse(box: np.ndarray, axis: int) -> np.ndarray:
    box = box.copy()
    box[:, axis] = 1 - box[:, axis] - box[:, axis + 2]
    return box

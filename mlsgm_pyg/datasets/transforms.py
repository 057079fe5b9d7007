"""The views of an image that a model is trained and tested on."""

from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from mlsgm_pyg.datasets.views import View
from mlsgm_pyg.names import check_choice

#: The views that :func:`build_view` knows.
VIEWS = ['train', 'crop', 'resize', 'resize_flip', 'paper', 'paper_flip']


def build_view(view: str, image_size: int = 448) -> v2.Transform:
    r"""Returns the transform of one view, for :obj:`uint8` images :math:`(3, H, W)` of any size.

    ================ ================================================== ====================================
    :obj:`view`      what it does, with :math:`s` = :obj:`image_size`   used for
    ================ ================================================== ====================================
    ``train``        to a square of :math:`640 s / 448`, random crop of training (paper, Section IV-C)
                     :math:`s`, random horizontal flip
    ``crop``         the same, never flipped                            training where a mirror image means
                                                                        something else
    ``resize``       to a square of :math:`s`                           testing (as most peers)
    ``paper``        to a square of :math:`640 s / 448`, centre crop of testing (paper, Section IV-C)
                     :math:`s`
    ``resize_flip``  ``resize``, mirrored                               the second entry of cached features
    ``paper_flip``   ``paper``, mirrored                                the same
    ================ ================================================== ====================================

    The aspect ratio is not kept, as in the paper. ``train`` and ``crop`` are the random ones. A model may be tested at
    another size than it was trained at, as the paper's rows (448, 576): that is a test view of that :obj:`image_size`.

    Args:
        view (str): One of :obj:`VIEWS`.
        image_size (int): Side of the result in pixels. (default: :obj:`448`)

    Raises:
        ValueError: If there is no such view, or the size is not positive.
    """
    check_choice('view', view, VIEWS)
    if image_size < 1:
        raise ValueError(f"'image_size' must be at least 1 pixel (got {image_size})")
    side = image_size if view.startswith('resize') else round(image_size * 640 / 448)
    steps = {
        'train': [v2.RandomCrop(image_size), v2.RandomHorizontalFlip()],
        'crop': [v2.RandomCrop(image_size)],
        'resize': [],
        'paper': [v2.CenterCrop(image_size)],
    }
    flip = [v2.RandomHorizontalFlip(p=1.0)] if view.endswith('_flip') else []
    return v2.Compose([v2.Resize((side, side), antialias=True), *steps[view.removesuffix('_flip')], *flip])


class TorchView(View):
    """The same by torch, as models are trained and tested."""

    def __call__(self, image: Image.Image) -> list[Tensor]:
        """An RGB picture -> uint8 :obj:`[3, S, S]` for each size S."""
        pixels = v2.functional.pil_to_tensor(image)
        return [build_view(self.name, size)(pixels).contiguous() for size in self.sizes]

"""A trained model on photographs: labels, probabilities, and where they were seen, in the picture's own pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice, repeat
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mlsgm_pyg.cells import Cells
from mlsgm_pyg.datasets.geometry import FIXED_VIEWS, to_pixels
from mlsgm_pyg.datasets.images import MAX_PIXELS, ImageError, Picture, as_picture, one_by_one
from mlsgm_pyg.datasets.transforms import View
from mlsgm_pyg.decisions import check_precision, temperature_of
from mlsgm_pyg.labels import class_names
from mlsgm_pyg.models.output import Output
from mlsgm_pyg.names import check_choice

Box = tuple[float, float, float, float]  # x, y of the top-left corner, width, height.


@dataclass(frozen=True)
class Instance:
    """A part of an image that was matched with every label (paper, Section III-B)."""

    label: str | None  #: The class whose activation map found it; None: the whole image, x^0.
    score: float  #: CSAC's probability of that class; 1 for the whole image.
    box: Box  #: In pixels of the original picture.


@dataclass(frozen=True)
class Prediction:
    """What a model sees in one picture; the lists go together, the most probable label first.

    Attributes:
        labels (list[str]): Names of the labels that are kept.
        probabilities (list[float]): Of each of them.
        best (list[int or None]): The instance that matches each label best (Eq. 15), its number in :obj:`instances`;
            :obj:`None` where a model has no instances.
        boxes (list[tuple or None]): That instance's box (x, y, width, height), in pixels of the original picture.
        instances (list[Instance]): All instances of the picture, the whole image first.
        size (tuple[int, int]): Width and height of the picture whose pixels the boxes count.
        orientation (int): EXIF orientation of the stored picture, 1 to 8.
        every (dict[str, float]): The probability of every label, kept or not, by name.
        error (str, optional): Why the picture could not be read, if so; all lists are empty then.
        maps (Tensor, optional): With :obj:`maps=True` the activation map of each label, :obj:`[K, h, w]`, over what
            the view sees of the upright picture (:func:`mlsgm_pyg.datasets.geometry.window`).
        match (Tensor, optional): With :obj:`graph=True` the probability of each instance with each label (Eq. 14),
            :obj:`[N, K]`; :obj:`None` where a model has no instances.
        near (Tensor, optional): With :obj:`graph=True` the kNN edges of the instances, :obj:`[2, E]`, neighbour ->
            instance; :obj:`None` where a model has no instance graph.
    """

    labels: list[str] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    best: list[int | None] = field(default_factory=list)
    boxes: list[Box | None] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    orientation: int = 1
    every: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    maps: Tensor | None = field(default=None, repr=False, compare=False)
    match: Tensor | None = field(default=None, repr=False, compare=False)
    near: Tensor | None = field(default=None, repr=False, compare=False)


class Choice(NamedTuple):
    """What of a model's answer is wanted."""

    top_k: int | None = None  #: At most so many labels a picture; None: all.
    threshold: float | None = None  #: Labels of at least this probability; None: those that the model's decisions keep.
    upright: bool = False  #: Boxes in pixels of the picture turned upright instead of the stored one.
    maps: bool = False  #: Activation maps of the labels.
    graph: bool = False  #: Instance-label scores and kNN edges.
    min_precision: float | None = None  #: Instead of a threshold: labels kept with at least this precision.

    def least(self, model: torch.nn.Module, names: Sequence[str]) -> np.ndarray:
        """The least probability of each label, :obj:`[C]`: this threshold, else the model's own, or 0.5."""
        decisions = getattr(model, 'decisions', None)
        if self.threshold is not None or decisions is None:
            return np.full(len(names), 0.5 if self.threshold is None else self.threshold)
        return decisions.thresholds(names, self.min_precision)

    def check(self, model: torch.nn.Module) -> Choice:
        """Raises:
        ValueError: If a number is outside of its range, or asked of a model that does not have it.
        """
        if not isinstance(self.top_k, Integral | None):
            raise ValueError(f"'top_k' must be a whole number (got {self.top_k!r})")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"'top_k' must be at least 1 (got {self.top_k})")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"'threshold' must be a probability in [0, 1] (got {self.threshold})")
        if self.min_precision is not None:
            check_precision(self.min_precision)
            if self.threshold is not None:
                raise ValueError("either 'threshold' or 'min_precision' says which labels are kept (got both)")
            if getattr(model, 'decisions', None) is None:
                raise ValueError(
                    "'min_precision' needs a model with fitted thresholds (data.tune in training): this one has none"
                )
        return self


def predict(
    model: torch.nn.Module,
    images: Any,
    top_k: int | None = None,
    threshold: float | None = None,
    *,
    min_precision: float | None = None,
    labels: Sequence[str] | None = None,
    semantics: str | Path | None = None,
    unseen_maps: str = 'label',
    view: str | None = None,
    image_size: int | None = None,
    batch_size: int = 32,
    upright: bool = False,
    maps: bool = False,
    graph: bool = False,
    max_pixels: int | None = MAX_PIXELS,
    on_error: str = 'raise',
) -> list[Prediction]:
    r"""Says what is in some pictures, and where.

    Args:
        model (torch.nn.Module): Of :mod:`mlsgm_pyg.models`, or any that has their :obj:`features`, :obj:`head` and
            :obj:`maps`; also as ``model.predict(images, ...)``.
        images: A picture or a sequence of them: paths, Pillow images, arrays (channels last), tensors (channels
            first); uint8, or floats in [0, 1]. A tensor :obj:`[B, 3, H, W]` or an array :obj:`[B, H, W, 3]` is B
            pictures. Files and Pillow images are turned as their EXIF orientation says.
        top_k (int, optional): At most so many labels a picture, the most probable; :obj:`None` keeps all.
        threshold (float, optional): Only labels of at least this probability; :obj:`0.0` gives all of them. (default:
            the threshold of each label that was fitted in training, :attr:`model.decisions`; 0.5 where none was)
        min_precision (float, optional): Instead, the fitted thresholds from which on so large a part of what is kept
            is expected to be right, in [0.5, 0.99].
        labels (sequence of str, optional): The labels to score instead of the trained ones; any that have a word
            vector. :meth:`mlsgm_pyg.models.MLSGM.with_labels` makes a model of them once for many calls.
        semantics, unseen_maps: See :meth:`mlsgm_pyg.models.MLSGM.with_labels`.
        view (str, optional): Instead of the view that the model was tested on (its :obj:`config`; without one
            :obj:`'resize'`); a fixed one of :func:`mlsgm_pyg.datasets.build_view`.
        image_size (int, optional): Side of that view in pixels, likewise. (default without a config: :obj:`448`)
        batch_size (int): Images at a time; changes no result but for rounding. (default: :obj:`32`)
        upright (bool): Whether boxes count the pixels of the picture turned upright, as viewers show it, instead of
            those that its file stores. (default: :obj:`False`)
        maps (bool): Whether to return the labels' activation maps, too. (default: :obj:`False`)
        graph (bool): Whether to return the edges of the assignment graph, too. (default: :obj:`False`)
        max_pixels (int, optional): Files that claim more pixels are refused before they are decoded.
            (default: :obj:`120_000_000`)
        on_error (str): What a broken file does: :obj:`'raise'`, or :obj:`'keep'`, which gives it a
            :class:`Prediction` that says the reason in :obj:`error`. (default: :obj:`'raise'`)

    Returns:
        list[Prediction]: One a picture, in their order.

    Raises:
        ImageError: For a file that cannot be read.
        ValueError: If an option or an array does not fit, or a label has no word vector.
        TypeError: If something is not a picture.
    """
    if labels is not None:
        model = model.with_labels(labels, semantics=semantics, unseen_maps=unseen_maps)
    check_choice('on_error', on_error, ('raise', 'keep'))
    if batch_size < 1:
        raise ValueError(f"'batch_size' must be at least 1 (got {batch_size})")
    look = view_of(model, view, image_size)
    choice = Choice(top_k, threshold, upright, maps, graph, min_precision).check(model)
    with evaluation(model):
        out, pictures = [], one_by_one(images)
        while group := list(islice(pictures, batch_size)):
            seen = [_look(image, look, max_pixels, on_error) for image in group]
            if good := [item for item in seen if not isinstance(item, Prediction)]:
                found, views = zip(*good)
                batch = [torch.stack(same).to(next(model.parameters()).device) for same in zip(*views)]
                sizes, orientations = [picture.size for picture in found], [picture.orientation for picture in found]
                good = iter(predict_batch(model, batch, sizes, orientations, look, choice))
            out += [item if isinstance(item, Prediction) else next(good) for item in seen]
    return out


@contextmanager
def evaluation(model: torch.nn.Module) -> Iterator[None]:
    """A scope in which a model predicts: in evaluation mode, without gradients, with its labels fixed; afterwards each
    of its modules is in the mode that it was in.

    Args:
        model (torch.nn.Module): Any model; where it has :obj:`fixed_labels`, they are.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad(), model.fixed_labels() if hasattr(model, 'fixed_labels') else nullcontext():
            yield
    finally:
        for module in training:  # Not train(): it would reach into parts that someone holds in evaluation mode.
            module.training = True


def view_of(model: torch.nn.Module, view: str | None = None, image_size: int | None = None) -> View:
    """The view that a model was tested on, as its checkpoint's config says, or another one.

    Raises:
        ValueError: If the view is unknown or random, or a size is not a positive number.
    """
    data = (getattr(model, 'config', None) or {}).get('data') or {}
    name = view or data.get('test_view') or 'resize'
    check_choice('view', name, FIXED_VIEWS)
    sizes = [image_size] if image_size is not None else data.get('test_sizes') or [data.get('image_size') or 448]
    for size in sizes:
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"'image_size' must be a positive number of pixels (got {size!r})")
    return View(name, tuple(sizes))


def has_maps(model: torch.nn.Module) -> bool:
    """Whether a model has activation maps; those whose instances are cells of a grid have none."""
    return not isinstance(getattr(model, 'csac', None), Cells)


def predict_batch(
    model: torch.nn.Module,
    images: Sequence[Tensor],
    sizes: Sequence[tuple[int, int]],
    orientations: Sequence[int],
    view: View,
    choice: Choice,
) -> list[Prediction]:
    """Predicts a batch that is on the model's device.

    Args:
        model (torch.nn.Module): In evaluation mode.
        images (sequence of Tensor): The batch :obj:`[B, 3, S, S]` at each size S of the view. Instances and maps are
            those of the first.
        sizes, orientations: Of each picture as stored, see :class:`mlsgm_pyg.datasets.Picture`.
        view (View): The view that the images were seen through.
        choice (Choice): What is wanted.
    """
    return predict_features(model, [model.features(image) for image in images], sizes, orientations, view, choice)


def predict_features(
    model: torch.nn.Module,
    features: Sequence[Tensor],
    sizes: Sequence[tuple[int, int]],
    orientations: Sequence[int],
    view: View,
    choice: Choice,
) -> list[Prediction]:
    """Does what :func:`predict_batch` does after the backbone.

    Args:
        features (sequence of Tensor): The backbone's maps :obj:`[B, D, h, w]` at each size of the view.
        model, sizes, orientations, view, choice: See :func:`predict_batch`.
    """
    out, *others = [model.head(feature) for feature in features]
    logits = torch.stack([out.logits, *(other.logits for other in others)]).float()
    p = (logits / temperature_of(model)).sigmoid().mean(0).cpu()
    maps = model.maps(features[0]).float().cpu() if choice.maps else None
    order = p.sort(dim=1, descending=True, stable=True).indices
    names = class_names(model, p.size(1))
    sources = getattr(model, 'instance_names', None) or names
    least, predictions = torch.from_numpy(choice.least(model, names)).float(), []
    for b, (size, orientation, parts) in enumerate(zip(sizes, orientations, _parts(out, choice.graph))):
        classes, score, box, match, near = parts
        box = to_pixels(box, size, orientation, view.name, view.sizes[0], choice.upright).tolist()
        instances = [Instance(None if c < 0 else sources[c], s, tuple(at)) for c, s, at in zip(classes, score, box)]
        top = order[b][p[b, order[b]] >= least[order[b]]][: choice.top_k]
        best = [None] * len(top) if match is None else match.argmax(0)[top].tolist()
        prediction = Prediction(
            labels=[names[label] for label in top.tolist()],
            probabilities=p[b, top].tolist(),
            best=best,
            boxes=[None if i is None else instances[i].box for i in best],
            instances=instances,
            size=size[::-1] if choice.upright and orientation >= 5 else size,
            orientation=orientation,
            every=dict(zip(names, p[b].tolist())),
            maps=None if maps is None else maps[b, top],
            match=match.sigmoid()[:, top] if choice.graph and match is not None else None,
            near=near,
        )
        predictions.append(prediction)
    return predictions


def _parts(out: Output, graph: bool) -> Iterator[tuple]:
    """Each image's instances, brought to the CPU at once: labels, scores, boxes [N, 4], logits of all labels [N, C]
    and, where the graph is wanted, kNN edges [2, E]; without any, :obj:`None` for the last two.
    """
    found = out.instances
    if found is None:
        yield from repeat(([], [], torch.empty(0, 4), None, None))
        return
    ptr, label, score = found.ptr.tolist(), found.label.tolist(), found.score.float().tolist()
    box, match = found.box.float().cpu(), out.match_logits.float().cpu()
    near = out.near.cpu() if graph and out.near is not None else None
    for first, last in zip(ptr, ptr[1:]):
        at = slice(first, last)
        edges = None if near is None else near[:, (near[1] >= first) & (near[1] < last)] - first
        yield label[at], score[at], box[at], match[at], edges


def _look(image: Any, view: View, max_pixels: int | None, on_error: str) -> Prediction | tuple[Picture, list[Tensor]]:
    """What a view sees of a picture, or the prediction that says why it cannot be read."""
    try:
        if isinstance(image, Tensor | np.ndarray) and 0 in image.shape:
            raise ValueError(f'a picture must have pixels (got an empty one of shape {list(image.shape)})')
        picture = as_picture(image, max_pixels)
    except ImageError as error:
        if on_error == 'raise':
            raise
        return Prediction(error=error.reason)
    return picture._replace(image=None), view(picture.image)  # What is not needed any longer may be large.

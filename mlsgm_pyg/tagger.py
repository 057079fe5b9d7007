"""A trained model on photographs: labels, probabilities, and where they were seen, in the picture's own pixels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlsgm_pyg import hub
from mlsgm_pyg.datasets.geometry import to_pixels
from mlsgm_pyg.datasets.images import MAX_PIXELS, ImageError, Picture, as_picture, is_tensor, one_by_one
from mlsgm_pyg.datasets.views import View
from mlsgm_pyg.decisions import Decisions, check_precision
from mlsgm_pyg.engine import Engine, stacked
from mlsgm_pyg.exported import ENGINES, is_exported
from mlsgm_pyg.names import check_choice

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Box = tuple[float, float, float, float]  # x, y of the top-left corner, width, height.

#: What :class:`Tagger` gives, an entry a picture.
COLUMNS = (
    'file', 'width', 'height', 'orientation', 'labels', 'probabilities', 'best', 'boxes', 'every', 'instances', 'error',
)  # fmt: skip


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
        labels (list[str]): Names of the labels.
        probabilities (list[float]): Of each label.
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

    def least(self, decisions: Decisions | None, names: Sequence[str]) -> np.ndarray:
        """The least probability of each label, :obj:`[C]`: this threshold, else that of a model's decisions, or 0.5."""
        if self.threshold is not None or decisions is None:
            return np.full(len(names), 0.5 if self.threshold is None else self.threshold)
        return decisions.thresholds(names, self.min_precision)

    def check(self, decisions: Decisions | None) -> Choice:
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
            if decisions is None:
                raise ValueError(
                    "'min_precision' needs a model with fitted thresholds (data.tune in training): this one has none"
                )
        return self


class Tagger:
    r"""A trained model as one callable: pictures in, columns out.

    It is pickled as its path and options, and opens the file anew where it arrives: it goes to other processes and
    machines as it is. An exported ONNX file needs NumPy, Pillow and ONNX Runtime; torch is not loaded.

    Args:
        model (str, Path or torch.nn.Module): A checkpoint; an exported `.onnx` or `.pt2` file; a name on a model hub,
            `hub:OWNER/NAME` (:func:`mlsgm_pyg.hub.fetch`); or a model of :mod:`mlsgm_pyg.models`, or any that has their
            :obj:`features`, :obj:`head` and :obj:`maps`. `.pt2` files may run what they like: open none of strangers.
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
        maps (bool): Whether predictions hold the labels' activation maps, too. (default: :obj:`False`)
        graph (bool): Whether they hold the edges of the assignment graph, too. (default: :obj:`False`)
        max_pixels (int, optional): Files that claim more pixels are refused before they are decoded.
            (default: :obj:`120_000_000`)
        on_error (str): What a broken file does: :obj:`'raise'`, or :obj:`'keep'`, which says the reason in the column
            :obj:`error`. (default: :obj:`'keep'`)
        device (str): Where a file's model goes; a built one stays where it is. (default: :obj:`'cpu'`)
        precision (str): Of its numbers, by Lightning's names. (default: :obj:`'32-true'`)

    Raises:
        FileNotFoundError, ValueError: If a file or an option does not fit, or a label has no word vector.
        ImportError: If a package is missing.
    """

    def __init__(
        self,
        model: str | Path | torch.nn.Module,
        *,
        top_k: int | None = None,
        threshold: float | None = None,
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
        on_error: str = 'keep',
        device: str = 'cpu',
        precision: str = '32-true',
    ):
        self.options = {key: value for key, value in locals().items() if key not in ('self', 'model')}
        self.model = model
        check_choice('on_error', on_error, ('raise', 'keep'))
        if batch_size < 1:
            raise ValueError(f"'batch_size' must be at least 1 (got {batch_size})")
        self.batch_size, self.max_pixels, self.on_error = batch_size, max_pixels, on_error
        choice = Choice(top_k, threshold, upright, maps, graph, min_precision)
        words = None if labels is None else {'labels': labels, 'semantics': semantics, 'unseen_maps': unseen_maps}
        self.engine = open_engine(model, device, words, view=view, image_size=image_size, precision=precision)
        self.choice = choice.check(self.engine.decisions)

    @property
    def view(self) -> View:
        """How the model looks at pictures."""
        return self.engine.view

    def __call__(self, images: Any) -> dict[str, list]:
        """Says what is in some pictures, and where.

        Args:
            images: A picture or a sequence of them: paths, bytes of files, Pillow images, arrays (channels last),
                tensors (channels first); uint8, or floats in [0, 1]. A tensor :obj:`[B, 3, H, W]` or an array
                :obj:`[B, H, W, 3]` is B pictures. Files and Pillow images are turned as their EXIF orientation says.

        Returns:
            dict: Columns with an entry a picture, plain values alone: :obj:`file` (the path; None of what had none),
            :obj:`width`, :obj:`height`, :obj:`orientation`, :obj:`error` (None where it could be read), and
            :obj:`labels`, :obj:`probabilities`, :obj:`best`, :obj:`boxes`, :obj:`every`, :obj:`instances` of
            :class:`Prediction`.

        Raises:
            ImageError: With :obj:`on_error='raise'`, for a file that cannot be read.
            ValueError: If an array does not fit.
            TypeError: If something is not a picture.
        """
        columns: dict[str, list] = {name: [] for name in COLUMNS}
        for image, found in self._each(images):
            row = {name: getattr(found, name, None) for name in COLUMNS}
            row['file'] = os.fspath(image) if isinstance(image, str | os.PathLike) else None
            row['width'], row['height'] = found.size
            row['boxes'] = [box and list(box) for box in found.boxes]
            row['instances'] = [{'label': i.label, 'score': i.score, 'box': list(i.box)} for i in found.instances]
            for name, value in row.items():
                columns[name].append(value)
        return columns

    def predictions(self, images: Any) -> list[Prediction]:
        """The same as a :class:`Prediction` a picture, in their order."""
        return [found for _, found in self._each(images)]

    def ready(self, number: int = 0) -> AbstractContextManager[Any]:
        """The scope in which :meth:`find` answers for about so many pictures."""
        return self.engine.ready(number)

    def find(self, views: Sequence[Any], pictures: Sequence[Any]) -> list[Prediction]:
        """What was found in pictures that were read and sized already, inside :meth:`ready`.

        Args:
            views (sequence): What the view made of them: uint8 :obj:`[B, 3, S, S]` for each of its sizes.
            pictures (sequence): Their :obj:`size` and :obj:`orientation`, see :class:`mlsgm_pyg.datasets.Picture`.
        """
        return predictions(self.engine, self.engine.see(views), pictures, self.choice)

    def _each(self, images: Any) -> Iterator[tuple[Any, Prediction]]:
        with self.ready():
            each = one_by_one(images)
            while group := list(islice(each, self.batch_size)):
                seen = [_look(image, self.view, self.max_pixels, self.on_error) for image in group]
                if good := [item for item in seen if not isinstance(item, Prediction)]:
                    pictures, views = zip(*good)
                    good = iter(self.find([stacked(same) for same in zip(*views)], pictures))
                found = [item if isinstance(item, Prediction) else next(good) for item in seen]
                yield from zip(group, found)

    def __reduce__(self) -> tuple:
        if not isinstance(self.model, str | os.PathLike):
            raise TypeError('a Tagger is pickled by its path: make it of a file, not of a built model')
        return partial(Tagger, **self.options), (self.model,)


def predict(
    model: str | Path | torch.nn.Module,
    images: Any,
    top_k: int | None = None,
    threshold: float | None = None,
    *,
    on_error: str = 'raise',
    **options: Any,
) -> list[Prediction]:
    r"""Says what is in some pictures, and where; also as ``model.predict(images, ...)``.

    Args:
        model, top_k, threshold, on_error: See :class:`Tagger`, but that :obj:`on_error` is :obj:`'raise'` by default.
        options: All its other ones.
        images: See :meth:`Tagger.__call__`.

    Returns:
        list[Prediction]: One a picture, in their order.

    Raises:
        ImageError: For a file that cannot be read.
        ValueError: If an option or an array does not fit, or a label has no word vector.
        TypeError: If something is not a picture.
    """
    tagger = Tagger(model, top_k=top_k, threshold=threshold, on_error=on_error, **options)
    if tagger.choice.maps and not tagger.engine.has_maps:
        raise ValueError('this model has no activation maps: its instances are not from CSAC, or it was exported')
    return tagger.predictions(images)


def open_engine(model: Any, device: str = 'cpu', words: dict[str, Any] | None = None, **options: Any) -> Engine:
    """What runs a model.

    Args:
        model, device: See :class:`Tagger`.
        words (dict, optional): Other labels, as :meth:`mlsgm_pyg.models.MLSGM.with_labels` takes them.
        options: See :class:`mlsgm_pyg.scoring.ModelEngine`; an exported file has its own, and takes no others.

    Raises:
        FileNotFoundError, ValueError: If a file or an option does not fit.
    """
    if hub.is_name(model):
        model = hub.fetch(model)
    if is_exported(model):
        given = {'device': device, 'labels': words, **options}
        usual = {'device': 'cpu', 'precision': '32-true'}
        if other := [name for name, value in given.items() if value not in (None, usual.get(name))]:
            raise ValueError(f"'{model}' is an exported file, whose {', '.join(other)} cannot be chosen any more")
        return ENGINES[os.path.splitext(model)[1]](model)
    if isinstance(model, str | os.PathLike) and os.path.isdir(model):
        raise ValueError(
            f"'{model}' is a folder: name the checkpoint in it, such as '{os.path.join(model, 'model.ckpt')}'"
        )
    from mlsgm_pyg import checkpoint, scoring  # torch, and the models.

    if isinstance(model, str | os.PathLike):
        model = checkpoint.load(model, device)
    return scoring.ModelEngine(model.with_labels(**words) if words else model, **options)


def predictions(engine: Engine, seen: Any, pictures: Sequence[Any], choice: Choice) -> list[Prediction]:
    """What an engine that is ready says of a batch, in the pictures' own pixels.

    Args:
        engine (Engine): The model.
        seen: What its :meth:`~mlsgm_pyg.engine.Engine.see` made of the batch.
        pictures (sequence): Each one's :obj:`size` as stored and its :obj:`orientation`.
        choice (Choice): What is wanted.

    Raises:
        ValueError: If a probability is no finite number.
    """
    answer, view = engine.answer(seen, choice.maps, choice.graph), engine.view
    p, out = answer.probabilities, []
    if not np.isfinite(p).all():
        raise ValueError(
            f'{(~np.isfinite(p)).sum()} of {p.size} probabilities are no finite numbers: the weights of this model '
            f'({engine.name}) are damaged, or too large for its precision'
        )
    names = engine.class_names or [str(label) for label in range(p.shape[1])]
    sources, least = engine.instance_names or names, choice.least(engine.decisions, names).astype(p.dtype)
    for b, (picture, parts) in enumerate(zip(pictures, answer.parts)):
        size, orientation = picture.size, picture.orientation
        box = to_pixels(parts.boxes, size, orientation, view.name, view.sizes[0], choice.upright).tolist()
        found = zip(parts.labels, parts.scores, box)
        instances = [Instance(None if c < 0 else sources[c], score, tuple(at)) for c, score, at in found]
        order = np.argsort(-p[b], kind='stable')
        top = order[p[b, order] >= least[order]][: choice.top_k]
        best = [None] * len(top) if parts.best is None else parts.best[top].tolist()
        prediction = Prediction(
            labels=[names[label] for label in top],
            probabilities=p[b, top].tolist(),
            best=best,
            boxes=[None if i is None else instances[i].box for i in best],
            instances=instances,
            size=size[::-1] if choice.upright and orientation >= 5 else size,
            orientation=orientation,
            every=dict(zip(names, p[b].tolist())),
            maps=None if answer.maps is None else answer.maps[b, top],
            match=None if parts.match is None else parts.match.sigmoid()[:, top],
            near=parts.near,
        )
        out.append(prediction)
    return out


def _look(image: Any, view: View, max_pixels: int | None, on_error: str) -> Prediction | tuple[Picture, list[Any]]:
    """What a view sees of a picture, or the prediction that says why it cannot be read."""
    try:
        if (is_tensor(image) or isinstance(image, np.ndarray)) and 0 in image.shape:
            raise ValueError(f'a picture must have pixels (got an empty one of shape {list(image.shape)})')
        picture = as_picture(image, max_pixels)
    except ImageError as error:
        if on_error == 'raise':
            raise
        return Prediction(error=error.reason)
    return picture._replace(image=None), view(picture.image)  # What is not needed any longer may be large.

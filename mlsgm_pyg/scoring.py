"""A model of torch as an engine: on its device, in its precision, with activation maps and graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import repeat

import torch
from torch import Tensor

from mlsgm_pyg import fast_backbone
from mlsgm_pyg.cells import Cells
from mlsgm_pyg.datasets.geometry import FIXED_VIEWS
from mlsgm_pyg.datasets.transforms import TorchView
from mlsgm_pyg.decisions import temperature_of
from mlsgm_pyg.engine import Answer, Engine, Parts
from mlsgm_pyg.models.output import Output
from mlsgm_pyg.names import check_choice

# Names of precisions, which are Lightning's: the model's own numbers are such, or some of its steps compute so.
TRUE = {'32-true': None, '64-true': torch.float64, '16-true': torch.float16, 'bf16-true': torch.bfloat16}
MIXED = {'16-mixed': torch.float16, 'bf16-mixed': torch.bfloat16}
SHORT = {'32': '32-true', '64': '64-true', '16': '16-mixed', 'bf16': 'bf16-mixed'}


class ModelEngine(Engine):
    """A model of :mod:`mlsgm_pyg.models`, or any that has their :obj:`features`, :obj:`head` and :obj:`maps`.

    Args:
        model (torch.nn.Module): The model.
        view, image_size: See :func:`view_of`.
        precision (str): Its numbers in :meth:`ready`, by Lightning's names. (default: :obj:`'32-true'`)

    Raises:
        ValueError: If an option does not fit.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        view: str | None = None,
        image_size: int | None = None,
        precision: str = '32-true',
    ):
        check_choice('precision', precision, [*TRUE, *MIXED, *SHORT])
        self.model, self.precision = model, SHORT.get(precision, precision)
        self.name = type(model).__name__
        self.features = model.features  # Of a uint8 batch; another form of the backbone may take its place.
        self.view, self.has_maps = view_of(model, view, image_size), has_maps(model)
        self.class_names = getattr(model, 'class_names', None)
        self.instance_names = getattr(model, 'instance_names', None)
        self.decisions = getattr(model, 'decisions', None)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @contextmanager
    def ready(self, number: int = 0) -> Iterator[None]:
        with ExitStack() as stack:
            if self.precision in MIXED:
                dtype = torch.bfloat16 if self.device.type == 'cpu' else MIXED[self.precision]
                stack.enter_context(torch.autocast(self.device.type, dtype))
            elif dtype := TRUE[self.precision]:
                self.model.to(dtype)
                stack.enter_context(_default(dtype))
            elif hasattr(self.model, 'backbone'):
                backbone, self.told = fast_backbone.find(self.model.backbone, self.view.sizes, number)
                self.features = backbone or self.model.features
            stack.enter_context(evaluation(self.model))
            yield

    def see(self, images: Sequence[Tensor]) -> list[Tensor]:
        device = self.device
        return [self.features(image.to(device, non_blocking=True)) for image in images]

    def answer(self, seen: Sequence[Tensor], maps: bool = False, graph: bool = False) -> Answer:
        out, *others = [self.model.head(feature) for feature in seen]
        logits = torch.stack([out.logits, *(other.logits for other in others)]).float()
        p = (logits / temperature_of(self.model)).sigmoid().mean(0).cpu().numpy()
        shown = self.model.maps(seen[0]).float().cpu() if maps and self.has_maps else None
        return Answer(p, list(_parts(out, len(p), graph)), shown)


def _parts(out: Output, batch: int, graph: bool) -> Iterator[Parts]:
    """Each image's instances, brought to the CPU at once."""
    found = out.instances
    if found is None:
        yield from repeat(Parts(), batch)
        return
    ptr, label, score = found.ptr.tolist(), found.label.tolist(), found.score.float().tolist()
    box, match = found.box.float().cpu().numpy(), out.match_logits.float().cpu()
    near = out.near.cpu() if graph and out.near is not None else None
    for first, last in zip(ptr, ptr[1:]):
        at = slice(first, last)
        edges = None if near is None else near[:, (near[1] >= first) & (near[1] < last)] - first
        best = match[at].argmax(0).numpy()
        yield Parts(label[at], score[at], box[at], best, match[at] if graph else None, edges)


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


def view_of(model: torch.nn.Module, view: str | None = None, image_size: int | None = None) -> TorchView:
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
    return TorchView(name, tuple(sizes))


def has_maps(model: torch.nn.Module) -> bool:
    """Whether a model has activation maps; those whose instances are cells of a grid have none."""
    return not isinstance(getattr(model, 'csac', None), Cells)


@contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    """Floats that are made meanwhile are of this kind."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)

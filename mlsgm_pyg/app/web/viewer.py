"""One model and the pictures that it is shown: the backbone sees each once, its head as often as gamma changes."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from mlsgm_pyg.csac import CSAC
from mlsgm_pyg.datasets import MAX_PIXELS, read_picture
from mlsgm_pyg.engine import stacked
from mlsgm_pyg.tagger import Choice, Prediction, open_engine, predictions

SIDE = 800  # The longer side of a picture that is looked at, in pixels.


class Seen(NamedTuple):
    """A picture, and the backbone's maps of it."""

    name: str
    image: Image.Image  # Upright, with a longer side of SIDE.
    size: tuple[int, int]  # As stored.
    orientation: int
    features: Any  # What the engine saw.
    seconds: float  # What reading and the backbone took.


class Viewer:
    """Shows pictures to a model, from any thread.

    Args:
        model (str, Path or torch.nn.Module): See :class:`mlsgm_pyg.tagger.Tagger`. Nothing of it may change while it is
            in use here.
        max_pixels (int): Larger pictures are refused, unread.
        device (str): Where a checkpoint's model goes.

    Attributes:
        gamma (float, optional): The model's own; :obj:`None` for one whose instances no threshold selects.
        has_maps (bool): Whether the model has activation maps; an exported file has none, and no graph.
        is_fitted (bool): Whether the model has a threshold of its own for each label.
    """

    def __init__(self, model: str | Path | torch.nn.Module, max_pixels: int = MAX_PIXELS, device: str = 'cpu'):
        self.engine, self.max_pixels = open_engine(model, device), max_pixels
        self.view, self.has_maps = self.engine.view, self.engine.has_maps
        self.is_fitted = self.engine.decisions is not None
        csac = getattr(getattr(self.engine, 'model', None), 'csac', None)
        self.csac = csac if isinstance(csac, CSAC) else None
        self.gamma = self.csac and self.csac.gamma
        self.lock, self.scope = threading.Lock(), ExitStack()

    def __enter__(self) -> Viewer:
        self.scope.enter_context(self.engine.ready())
        return self

    def __exit__(self, *error: object) -> None:
        self.scope.close()

    @torch.no_grad()
    def look(self, path: str | Path) -> Seen:
        """Reads a picture and puts it through the backbone."""
        started = time.perf_counter()
        picture = read_picture(path, max_pixels=self.max_pixels)
        views = [stacked([view]) for view in self.view(picture.image)]
        with self.lock:
            features = self.engine.see(views)
        scale = SIDE / max(picture.image.size)
        size = tuple(max(round(side * scale), 1) for side in picture.image.size)
        small = picture.image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
        seconds = time.perf_counter() - started
        return Seen(Path(path).name, small, picture.size, picture.orientation, features, seconds)

    @torch.no_grad()
    def find(self, seen: Seen, gamma: float | None = None, threshold: float | None = None) -> Prediction:
        """What is kept of a picture, see :class:`mlsgm_pyg.tagger.Choice`, with maps and graph, boxes upright; only the
        head runs. A gamma in [0, 1] selects instances instead of the model's own, where it has one."""
        if gamma is not None and not 0 <= gamma <= 1:
            raise ValueError(f"'gamma' must be in [0, 1] (got {gamma})")
        choice = Choice(threshold=threshold, upright=True, maps=self.has_maps, graph=True)
        with self.lock:
            if self.csac is not None:
                self.csac.gamma = self.gamma if gamma is None else gamma
            try:
                return predictions(self.engine, seen.features, [seen], choice)[0]
            finally:
                if self.csac is not None:
                    self.csac.gamma = self.gamma

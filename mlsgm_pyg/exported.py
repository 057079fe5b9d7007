"""Exported files as engines: an ONNX file by ONNX Runtime, which needs no torch, or a program of torch.export."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlsgm_pyg.datasets.geometry import FIXED_VIEWS
from mlsgm_pyg.datasets.views import View
from mlsgm_pyg.decisions import Decisions
from mlsgm_pyg.engine import Answer, Engine, Parts
from mlsgm_pyg.names import check_names, check_size

FORMAT_VERSION = 1
DTYPES = ('uint8', 'float32')  # Of the image.
#: The metadata's name in a torch.export file; ONNX has a property for each entry.
ABOUT = 'mlsgm_pyg.json'


class Exported(Engine):
    """What runs an exported file: its view and its one size are fixed, it has no maps and no edges.

    Attributes:
        about (dict): What :func:`mlsgm_pyg.export.describe` said when it was written.

    Raises:
        ValueError: If the file cannot be read, or was not written by this package.
    """

    def __init__(self, path: str | Path):
        if not os.path.isfile(path):
            raise FileNotFoundError(f"there is no exported file '{path}'")
        try:
            if not os.path.getsize(path):  # Also some files of the system, which would be waited for.
                raise ValueError('it is empty')
            self.about = self.open(path)
        except ImportError:
            raise
        except Exception as error:  # A broken file may raise anything.
            told = ' '.join(str(error).split())[:200]
            raise ValueError(f"'{path}' is not a readable {Path(path).suffix} file: {told}") from error
        missing = {'format_version', 'class_names', 'view', 'image_size', 'input'} - {*self.about}
        if missing:
            raise ValueError(
                f"'{path}' was not written by mlsgm export: it does not say its {', '.join(sorted(missing))}"
            )
        if self.about['format_version'] != FORMAT_VERSION or self.about['view'] not in FIXED_VIEWS:
            told = f'format version {self.about["format_version"]}, view {self.about["view"]!r}'
            raise ValueError(f"'{path}' has {told}; this installation reads version {FORMAT_VERSION} and fixed views")
        try:
            check_names(self.about['class_names'])
            check_size(self.about['image_size'], 'image_size')
            if not isinstance(self.about['input'], dict) or self.about['input'].get('dtype') not in DTYPES:
                raise ValueError(f"'input' must have the dtype {' or '.join(DTYPES)} (got {self.about['input']!r})")
            if not isinstance(self.about.get('instance_names'), list | None):
                raise ValueError("'instance_names' must be a list")
        except ValueError as error:
            raise ValueError(f"'{path}' is damaged: {error}") from error
        self.path, self.name = path, str(self.about.get('model', 'exported'))
        self.view = View(self.about['view'], (self.about['image_size'],))
        self.class_names, self.instance_names = self.about['class_names'], self.about.get('instance_names')
        decisions = self.about.get('decisions')
        try:
            self.decisions = None if decisions is None else Decisions.of(decisions)
        except ValueError as error:
            raise ValueError(f"'{path}' is damaged: {error}") from error

    def open(self, path: str | Path) -> dict[str, Any]:
        """Makes :attr:`run` of a file; returns what it says of itself."""
        raise NotImplementedError

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of :class:`mlsgm_pyg.export.Exportable`, by name."""
        raise NotImplementedError

    def see(self, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        (image,) = images
        try:
            seen = self.run(self.given(image))
            found, shape = seen.get('probabilities', np.empty(0)), (len(image), len(self.class_names))
            if found.shape != shape or found.dtype.kind != 'f' or not ((found >= 0) & (found <= 1)).all():
                raise ValueError(f'it gives no probabilities of {shape[1]} labels')
        except Exception as error:  # It may be any program.
            told = ' '.join(str(error).split())[:200]
            raise ValueError(f"'{self.path}' cannot be run: {told}") from error
        return seen

    def given(self, image: np.ndarray) -> np.ndarray:
        """A uint8 batch as the file takes it."""
        return image if self.about['input']['dtype'] == 'uint8' else image.astype(np.float32) / np.float32(255)

    def answer(self, seen: dict[str, np.ndarray], maps: bool = False, graph: bool = False) -> Answer:
        parts = [Parts() for _ in seen['probabilities']]
        if 'valid' in seen:
            slots = zip(*(seen[name] for name in ('valid', 'labels', 'scores', 'boxes', 'best')))
            parts = [
                Parts(label[at].tolist(), score[at].tolist(), box[at], best) for at, label, score, box, best in slots
            ]
        return Answer(seen['probabilities'], parts)


class OnnxEngine(Exported):
    """An ONNX file, on the processor; OMP_NUM_THREADS says on how many threads. (default: as many as cores)"""

    def open(self, path: str | Path) -> dict[str, Any]:
        onnxruntime = runtime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # Errors alone.
        options.intra_op_num_threads = int(os.environ.get('OMP_NUM_THREADS') or 0)
        self.session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
        self.outputs = [output.name for output in self.session.get_outputs()]
        return {key: json.loads(value) for key, value in self.session.get_modelmeta().custom_metadata_map.items()}

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self.outputs, self.session.run(self.outputs, {'image': image})))


class ProgramEngine(Exported):
    """A program of torch.export, on the processor. Open only what you trust: torch says that it may unpickle."""

    def open(self, path: str | Path) -> dict[str, Any]:
        import torch

        extra = {ABOUT: ''}
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)  # It would log a traceback of what is none.
        try:
            self.program = torch.export.load(path, extra_files=extra).module()
        finally:
            logging.disable(before)
        self.from_numpy = torch.from_numpy
        return json.loads(extra[ABOUT] or '{}')

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return {name: value.detach().numpy() for name, value in self.program(self.from_numpy(image)).items()}


#: The engines of exported files, by their suffix.
ENGINES = {'.onnx': OnnxEngine, '.pt2': ProgramEngine}


def is_exported(path: Any) -> bool:
    """Whether a path is named like an exported file."""
    return isinstance(path, str | os.PathLike) and os.path.splitext(path)[1] in ENGINES


def runtime() -> Any:
    """The package onnxruntime, or how to install it.

    Raises:
        ImportError: If it is missing.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("an ONNX file needs the package onnxruntime: pip install 'mlsgm_pyg[export]'") from error
    return onnxruntime

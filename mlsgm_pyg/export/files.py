"""One file a model: the program from image to scores and boxes, and what a user has to know about it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch

import mlsgm_pyg
from mlsgm_pyg.export.exportable import Exportable
from mlsgm_pyg.exported import ABOUT, FORMAT_VERSION
from mlsgm_pyg.labels import class_names
from mlsgm_pyg.names import check_choice
from mlsgm_pyg.scoring import view_of

DTYPES = {'uint8': torch.uint8, 'float32': torch.float32}
OUTPUTS = ('logits', 'probabilities', 'boxes', 'labels', 'scores', 'valid', 'best')  # The first two of every model.
LEAST_OPSET = 18  # The first that scatters minima.
MOST_BYTES = 2**31 - 2**20  # Of one ONNX file.


def describe(
    model: torch.nn.Module, view: str | None = None, image_size: int | None = None, dtype: str = 'uint8'
) -> dict[str, Any]:
    """What travels with an exported model: class names, view, what goes in and what comes out; plain values.

    Args:
        model (torch.nn.Module): The model, as :func:`mlsgm_pyg.load` gives it.
        view, image_size: See :class:`mlsgm_pyg.tagger.Tagger`; of several test sizes the first.
        dtype (str): Of the image, :obj:`'uint8'` in [0, 255] or :obj:`'float32'` in [0, 1]. (default: :obj:`'uint8'`)

    Raises:
        ValueError: If the type, the view or the size do not fit.
    """
    check_choice('dtype', dtype, DTYPES)
    look = view_of(model, view, image_size)
    csac, score = getattr(model, 'csac', None), getattr(model, 'score', None)
    decisions = getattr(model, 'decisions', None)
    return {
        'format_version': FORMAT_VERSION,
        'made_with': f'mlsgm_pyg {mlsgm_pyg.__version__}, torch {torch.__version__}',
        'model': type(model).__name__,
        'class_names': class_names(model, _num_labels(model, look.sizes[0])),
        'instance_names': getattr(model, 'instance_names', None),  # What `labels` number, where that is another list.
        'view': look.name,
        'image_size': look.sizes[0],
        'input': {'dtype': dtype, 'range': [0, 255] if dtype == 'uint8' else [0, 1], 'channels': 'RGB'},
        'outputs': list(OUTPUTS if hasattr(csac, 'slots') else OUTPUTS[:2]),
        'box_format': 'x, y, width, height as parts of the view; x, y the top-left corner',
        'gamma': getattr(csac, 'gamma', None),
        'max_instances': getattr(csac, 'max_instances', None),
        'score': score if isinstance(score, str) else None,
        'decisions': None if decisions is None else decisions.plain(),
    }


def to_torch_export(model: torch.nn.Module, path: str | Path, about: dict[str, Any] | None = None) -> dict[str, Any]:
    """Writes a model as a :mod:`torch.export` program, which torch alone can load and run.

    ``torch.export.load(path).module()(image)`` gives the dictionary of :class:`Exportable`.

    Args:
        model (torch.nn.Module): The model.
        path (str or Path): The file.
        about (dict, optional): What :func:`describe` gives, for other options than its defaults.

    Returns:
        dict: What is written beside the program, too, as JSON: the extra file :data:`ABOUT`.

    Raises:
        TypeError: If the model is not one that can be exported.
    """
    module, image, about = _example(model, about)
    with torch.no_grad():
        batch = torch.export.Dim('batch', min=1)
        program = torch.export.export(module, (image,), dynamic_shapes={'image': {0: batch}})
    held = io.BytesIO()  # An error of a file would end the whole process where torch writes it.
    torch.export.save(program, held, extra_files={ABOUT: json.dumps(about)})
    Path(path).write_bytes(held.getbuffer())
    return about


def to_onnx(
    model: torch.nn.Module, path: str | Path, about: dict[str, Any] | None = None, opset: int | None = None
) -> dict[str, Any]:
    """Writes a model as one ONNX file with the input :obj:`image` and the outputs of :class:`Exportable`.

    Args:
        model, path, about: See :func:`to_torch_export`.
        opset (int, optional): Version of ONNX's operators, at least 18. (default: torch's choice)

    Returns:
        dict: What is written as the file's metadata, too: a property for each entry, as JSON.

    Raises:
        ImportError: If onnx or onnxscript is missing.
        TypeError: If the model is not one that can be exported.
        ValueError: If the opset is not known, or the model is too large for one file.
    """
    onnx, sort = _onnx()
    newest = onnx.defs.onnx_opset_version()
    if opset is not None and not LEAST_OPSET <= opset <= newest:
        raise ValueError(f"'opset' must be in [{LEAST_OPSET}, {newest}] (got {opset})")
    module, image, about = _example(model, about)
    with torch.no_grad():
        made = torch.onnx.export(
            module,
            (image,),
            dynamo=True,
            input_names=['image'],
            output_names=about['outputs'],
            dynamic_shapes={'image': {0: 'batch'}},
            opset_version=opset,
            external_data=False,
            verbose=False,
            custom_translation_table={torch.ops.aten.sort.stable: sort},
        )
    size = sum(value.const_value.nbytes for value in made.model.graph.initializers.values())
    if size > MOST_BYTES:
        raise ValueError(f'one ONNX file holds at most {MOST_BYTES} bytes of weights (got {size}): take torch_export')
    made.model.metadata_props.update({key: json.dumps(value) for key, value in about.items()})
    made.save(path, external_data=False)
    return about


def _example(model: torch.nn.Module, about: dict[str, Any] | None) -> tuple[Exportable, torch.Tensor, dict[str, Any]]:
    about = describe(model) if about is None else about
    size = about['image_size']
    return Exportable(model), torch.zeros(2, 3, size, size, dtype=DTYPES[about['input']['dtype']]), about


def _num_labels(model: torch.nn.Module, size: int) -> int:
    known = getattr(model, 'class_names', None) or getattr(model, 'num_labels', None)
    if known is not None:
        return known if isinstance(known, int) else len(known)
    with torch.no_grad():
        device = next(model.parameters()).device
        return model(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=device)).logits.size(1)


def _onnx() -> tuple[Any, Any]:
    """The package onnx, and what a stable sort is in ONNX."""
    try:
        import onnx
        from onnxscript import opset18 as op
    except ImportError as error:
        told = f"an ONNX export needs the packages onnx and onnxscript (there is no '{error.name}')"
        raise ImportError(f"{told}: pip install 'mlsgm_pyg[export]'") from error

    def sort(x, *, stable=None, dim=-1, descending=False):
        size = op.Reshape(op.Gather(op.Shape(x), op.Constant(value_int=dim)), op.Constant(value_ints=[1]))
        return op.TopK(x, size, axis=dim, largest=int(descending), sorted=1)  # Of equals the first comes first.

    return onnx, sort

"""A checkpoint as one file that needs nothing of this project, said and checked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import mlsgm_pyg
from mlsgm_pyg import export as formats
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import replacing
from mlsgm_pyg.app.common.text import counted
from mlsgm_pyg.app.prediction import export_check
from mlsgm_pyg.exported import runtime


def export(
    checkpoint: str | Path,
    format: str,
    out: Path,
    opset: int | None = None,
    dtype: str = 'uint8',
    view: str | None = None,
    image_size: int | None = None,
    check: Sequence[str] | None = None,
    batch_size: int = 8,
) -> int:
    """Writes a model as a file of ONNX or torch.export, and prints what goes in and comes out.

    Args:
        checkpoint (str or Path): The model.
        format (str): `onnx` or `torch_export`.
        out (Path): The file.
        opset (int, optional): Version of ONNX's operators, 18 or later. (default: torch's choice)
        dtype (str): Of the image: `uint8` in [0, 255] or `float32` in [0, 1].
        view (str, optional), image_size (int, optional): Instead of those that the model was tested on.
        check (sequence of str, optional): Pictures, or how many evaluated ones, on which it is compared with the model.
        batch_size (int): Pictures at a time in the check.

    Returns:
        int: 0, or 1 where the check found another answer.

    Raises:
        ValueError: If an option, the checkpoint or a picture does not fit, or the model cannot be exported.
        ImportError: If a package is missing.
    """
    model = mlsgm_pyg.load(checkpoint)
    try:
        about = formats.describe(model, view, image_size, dtype)
    except TypeError as error:  # Not a model that can be exported.
        raise ConfigError(str(error)) from error
    if check and format == 'onnx':
        runtime()  # Found out before minutes of work.
    pictures = export_check.find(model, check) if check else None
    started = time.perf_counter()
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as spare:
        if format == 'onnx':
            formats.to_onnx(model, spare, about, opset)
        else:
            formats.to_torch_export(model, spare, about)
    size, took, side = out.stat().st_size / 2**20, time.perf_counter() - started, about['image_size']
    labels = counted(len(about['class_names']), 'label')
    print(f'{out.absolute()}: {about["model"]}, {labels}, {size:.1f} MiB, {took:.0f} s')
    pixels = f'{dtype} in {about["input"]["range"]}, RGB'
    print(f'in   image [batch, 3, {side}, {side}], {pixels}, view {about["view"]}')
    print(f'out  {", ".join(about["outputs"])}')
    if len(sizes := (model.config.get('data') or {}).get('test_sizes') or []) > 1 and image_size is None:
        print(f'The model was tested at the sizes {sizes}, averaged; the file is for {side} alone.')
    return 0 if pictures is None else export_check.check(model, out, pictures, batch_size)

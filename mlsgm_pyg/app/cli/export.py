"""Writes a checkpoint as one file that takes images and gives scores and boxes, and needs nothing of this project.

mlsgm export CHECKPOINT --format onnx               for ONNX Runtime: last.onnx of last.ckpt
mlsgm export CHECKPOINT --format torch_export       for torch.export.load: last.pt2
mlsgm export CHECKPOINT --format onnx --check 200   compares it with the model on 200 evaluated images
mlsgm export CHECKPOINT --format onnx --check PATH...      on files, folders, globs or lists; a number
                                                                    among them draws that many

The file takes any number of images of the view's size; class names, view and size are in its metadata. Exit status: 0;
1 where a check found another answer; 2 where the command itself cannot be carried out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import check_checkpoint, check_places, replacing
from mlsgm_pyg.app.common.text import counted

FORMATS = {'torch_export': '.pt2', 'onnx': '.onnx'}


def parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.parser('mlsgm export', __doc__)
    add = parser.add_argument
    add('checkpoint', type=Path, metavar='CHECKPOINT', help='such as runs/NAME/seed0-.../last.ckpt')
    add('--format', required=True, choices=FORMATS, help='what to write')
    add('--out', type=Path, metavar='FILE', help="(default: the checkpoint's name with .pt2 or .onnx, where you are)")
    add('--opset', type=int, metavar='N', help="version of ONNX's operators, 18 or later (default: torch's choice)")
    add('--dtype', default='uint8', help='of the image: uint8 in [0, 255] or float32 in [0, 1]')
    add('--view', help='instead of the view that the model was tested on: resize or paper')
    add('--image-size', type=int, metavar='S', help='side of the view in pixels, likewise')
    add('--check', nargs='+', metavar='N|PATH', help='compare the file with the model on N or these pictures')
    add('--batch-size', type=int, default=8, help='pictures at a time in the check (default: %(default)s)')
    args = parser.parse_args(argv)
    args.out = args.out or Path(args.checkpoint.stem + FORMATS[args.format])
    if args.out.suffix != FORMATS[args.format]:
        parser.error(f"--out must end in {FORMATS[args.format]} for {args.format} (got '{args.out}')")
    if args.opset is not None and args.format != 'onnx':
        parser.error(f'--opset is for --format onnx (got {args.format})')
    cli.check_least(parser, args, batch_size=1)
    return args


@cli.door()
def main(argv: list[str]) -> int:
    args = parse(argv)
    check_places([args.out])  # Exporting takes long.
    check_checkpoint(args.checkpoint)
    try:
        return run(args)
    except TypeError as error:  # Not a model that can be exported.
        raise ConfigError(str(error)) from error


def run(args: argparse.Namespace) -> int:
    """Carries a command out; returns the exit status."""
    import mlsgm_pyg
    from mlsgm_pyg import export
    from mlsgm_pyg.app.prediction import export_check

    model = mlsgm_pyg.load(args.checkpoint)
    about = export.describe(model, args.view, args.image_size, args.dtype)
    if args.check and args.format == 'onnx':
        export_check.runtime()  # Found out before minutes of work.
    pictures = export_check.find(model, args.check, about) if args.check else None
    started = time.perf_counter()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(args.out) as spare:
        if args.format == 'onnx':
            export.to_onnx(model, spare, about, args.opset)
        else:
            export.to_torch_export(model, spare, about)
    size, took, side = args.out.stat().st_size / 2**20, time.perf_counter() - started, about['image_size']
    print(f'{args.out}: {about["model"]}, {counted(len(about["class_names"]), "label")}, {size:.1f} MiB, {took:.0f} s')
    pixels = f'{args.dtype} in {about["input"]["range"]}, RGB'
    print(f'in   image [batch, 3, {side}, {side}], {pixels}, view {about["view"]}')
    print(f'out  {", ".join(about["outputs"])}')
    if len(sizes := (model.config.get('data') or {}).get('test_sizes') or []) > 1 and args.image_size is None:
        print(f'The model was tested at the sizes {sizes}, averaged; the file is for {side} alone.')
    if pictures is None:
        return 0
    return export_check.check(model, args.out, about, pictures, args.batch_size)

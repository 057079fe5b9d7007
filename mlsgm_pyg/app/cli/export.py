"""Writes a checkpoint as one file that takes images and gives scores and boxes, and needs nothing of this project.

mlsgm export RUN --format onnx               for ONNX Runtime: last.onnx of last.ckpt
mlsgm export RUN --format torch_export       for torch.export.load: last.pt2
mlsgm export RUN --format onnx --check 200   compares it with the model on 200 evaluated images
mlsgm export RUN --format onnx --check PATH...      on files, folders, globs or lists; a number
                                                                    among them draws that many

The file takes any number of images of the view's size; class names, view and size are in its metadata. Exit status: 0;
1 where a check found another answer; 2 where the command itself cannot be carried out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.files import check_places
from mlsgm_pyg.app.results.groups import find_checkpoint

FORMATS = {'torch_export': '.pt2', 'onnx': '.onnx'}


def parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.parser('mlsgm export', __doc__)
    add = parser.add_argument
    add('checkpoint', type=Path, metavar='RUN', help='a run, a folder that holds one, or a checkpoint')
    add('--format', required=True, choices=FORMATS, help='what to write')
    add('--out', type=Path, metavar='FILE', help="(default: the checkpoint's name with .pt2 or .onnx, where you are)")
    add('--opset', type=int, metavar='N', help="version of ONNX's operators, 18 or later (default: torch's choice)")
    add('--dtype', default='uint8', help='of the image: uint8 in [0, 255] or float32 in [0, 1]')
    add('--view', help='instead of the view that the model was tested on: resize or paper')
    add('--image-size', type=int, metavar='S', help='side of the view in pixels, likewise')
    add('--check', nargs='+', metavar='N|PATH', help='compare the file with the model on N or these pictures')
    add('--batch-size', type=int, default=8, help='pictures at a time in the check (default: %(default)s)')
    args = parser.parse_args(argv)
    if args.out and args.out.suffix != FORMATS[args.format]:
        parser.error(f"--out must end in {FORMATS[args.format]} for {args.format} (got '{args.out}')")
    if args.opset is not None and args.format != 'onnx':
        parser.error(f'--opset is for --format onnx (got {args.format})')
    cli.check_least(parser, args, batch_size=1)
    return args


@cli.door()
def main(argv: list[str]) -> int:
    args = parse(argv)
    args.checkpoint = find_checkpoint(args.checkpoint)
    args.out = args.out or Path(args.checkpoint.stem + FORMATS[args.format])
    check_places([args.out])  # Exporting takes long.
    from mlsgm_pyg.app.prediction.exporting import export  # torch takes seconds: after the words were understood.

    return export(**vars(args))

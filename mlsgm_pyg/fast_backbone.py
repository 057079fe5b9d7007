"""A frozen backbone as a function from images to maps, by what runs it the fastest on a CPU: ONNX Runtime, or torch."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from mlsgm_pyg.backbone import Backbone

TOLERANCE = 1e-3  #: Of ONNX Runtime's maps from torch's, as a part of torch's largest number.
FEWEST = 64  #: Images from which on its start, a second or two, pays.


class OnnxBackbone:
    r"""A backbone through ONNX Runtime, image by image, on as many threads as torch has.

    Each thread has an image of its own, so none waits for another, and a map never depends on its neighbours. Between
    two calls there is no thread: processes may be forked beside it.

    Args:
        backbone (Backbone): On the CPU, in float32. It is copied: later changes of its weights change no map.
        sizes (sequence of int): Sides of the images in pixels.

    Shapes:
        - **input:** image :math:`(B, 3, S, S)`, uint8, with :math:`S` one of those sizes
        - **output:** feature map :math:`(B, D', h, w)`

    Attributes:
        difference (float): The largest one of its maps from torch's, of two seeded pictures of each size, as a part of
            torch's largest number.

    Raises:
        ImportError: If a package of the extra `export` is missing.
        ValueError: If the backbone cannot be written as ONNX or run, or its maps are not torch's up to 1e-3.
    """

    def __init__(self, backbone: Backbone, sizes: Sequence[int]):
        if missing := [package for package in ('onnx', 'onnxruntime') if find_spec(package) is None]:
            raise ImportError(f"there is no {' and no '.join(missing)}: pip install 'mlsgm_pyg[export]'")
        if {(p.device.type, p.dtype) for p in backbone.parameters()} != {('cpu', torch.float32)}:
            raise ValueError('ONNX Runtime takes a backbone in float32 on the CPU')
        try:
            backbone = copy.deepcopy(backbone).eval()
            self.sessions = {size: _session(backbone, size) for size in sizes}
            self.difference = max(self._difference(backbone, size) for size in sizes)
        except Exception as error:  # Exporters and operators raise nearly anything.
            told = ' '.join(f'{type(error).__name__}: {error}'.split())
            raise ValueError(f'ONNX Runtime cannot run {backbone.name}: {told[:200]}') from error
        if not self.difference <= TOLERANCE:
            told = f"ONNX Runtime's maps of {backbone.name} must be torch's up to {TOLERANCE:g} of their largest number"
            raise ValueError(f'{told} (got {self.difference:.1e})')

    def __call__(self, image: Tensor) -> Tensor:
        session = self.sessions[image.size(-1)]
        with ThreadPoolExecutor(max(min(torch.get_num_threads(), len(image)), 1)) as pool:
            maps = pool.map(lambda one: session.run(None, {'image': one})[0], image.numpy()[:, None])
            return torch.cat([torch.from_numpy(one) for one in maps])

    def _difference(self, backbone: Backbone, size: int) -> float:
        rng = torch.Generator().manual_seed(0)
        noise = torch.randint(0, 256, (1, 3, size, size), generator=rng).float()
        smooth = torch.nn.functional.interpolate(noise[..., :8, :8], (size, size), mode='bilinear')
        image = torch.cat([noise, smooth]).byte()
        with torch.inference_mode():
            expected = backbone(image)
            return ((self(image) - expected).abs().max() / expected.abs().max()).item()

    def __str__(self) -> str:
        return f'ONNX Runtime, within {self.difference:.0e} of torch'


class TorchBackbone:
    """A backbone for one size of input, BatchNorm folded in, channels last: faster than the backbone itself on CPUs.

    Its maps equal the backbone's up to rounding, far below what float16 keeps. On other devices it is the backbone.

    Args:
        backbone (Backbone): It is copied, where it runs on a CPU.
        size (int): Side of the images in pixels.
        batch_size (int): The most images at a time; fewer are filled up.
    """

    def __init__(self, backbone: Backbone, size: int, batch_size: int):
        self.network: Callable[[Tensor], Tensor] = backbone
        self.batch_size, self.device = batch_size, next(backbone.parameters()).device
        if self.device.type == 'cpu':
            network = copy.deepcopy(backbone).to(memory_format=torch.channels_last).eval()
            example = torch.zeros(batch_size, 3, size, size, dtype=torch.uint8)
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter('ignore')  # TorchScript is deprecated without a replacement of this speed here.
                self.network = torch.jit.freeze(torch.jit.trace(network, example, check_trace=False))

    def __call__(self, image: Tensor) -> Tensor:
        spare = image.new_zeros(self.batch_size - len(image), *image.shape[1:])
        with torch.inference_mode():
            return self.network(torch.cat([image, spare]).to(self.device))[: len(image)]


def find(backbone: Backbone, sizes: Sequence[int], number: int) -> tuple[OnnxBackbone | None, str]:
    """ONNX Runtime for a number of images, where it can be had and pays; and what is to be told of it in one line.

    Args:
        backbone, sizes: See :class:`OnnxBackbone`.
        number (int): How many images there are; of fewer than 64, and on a GPU, nothing is tried or told.
    """
    if number < FEWEST or next(backbone.parameters()).device.type != 'cpu':
        return None, ''
    try:
        engine = OnnxBackbone(backbone, sizes)
    except (ImportError, ValueError) as error:
        return None, f'torch ({error})'
    return engine, str(engine)


def _session(backbone: Backbone, size: int) -> Any:
    """The backbone's program for one image of a size."""
    import onnxruntime

    file, options = io.BytesIO(), onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3  # A thread an image; errors alone.
    example = torch.zeros(1, 3, size, size, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')  # torch's newer exporter takes ten times as long for a program as fast.
        torch.onnx.export(backbone, (example,), file, dynamo=False, input_names=['image'], output_names=['map'])
    return onnxruntime.InferenceSession(file.getvalue(), options, providers=['CPUExecutionProvider'])

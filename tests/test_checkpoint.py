import os
import pickle

import pytest
import torch

import mlsgm_pyg
from mlsgm_pyg import checkpoint, models

OPTIONS = {'name': 'ml_sgm', 'backbone': 'resnet18', 'weights': 'DEFAULT', 'feature_channels': 8, 'gamma': 0.3}
NAMES = ['cat', 'dog', 'traffic light']


@pytest.fixture
def saved(tmp_path):
    words = torch.randn(3, 4)
    model = models.build(num_labels=3, word_vectors=words, **{**OPTIONS, 'weights': 'none'}).eval()
    state = {'model.' + key: value for key, value in model.state_dict().items()}
    about = checkpoint.pack(OPTIONS, NAMES, words, {'seed': 3})
    path = tmp_path / 'last.ckpt'
    torch.save({'state_dict': {**state, 'loss.ratio': torch.zeros(3)}, checkpoint.KEY: about}, path)
    return path, model


def test_a_checkpoint_explains_itself(saved):
    path, model = saved
    loaded = mlsgm_pyg.load(path)  # 'DEFAULT' weights are not asked for: all weights are in the file.
    assert loaded.class_names == NAMES and loaded.config == {'seed': 3} and not loaded.training
    assert loaded.csac.gamma == 0.3
    image = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(loaded(image).logits, model(image).logits, rtol=0, atol=0)


def test_a_card_is_kept_and_older_checkpoints_have_none(saved):
    path, _ = saved
    assert mlsgm_pyg.load(path).card == {}
    content = torch.load(path, weights_only=True)
    card = {'use': 'tests', 'evaluation': {'mAP': None, 'images': 3}}
    content[checkpoint.KEY] = checkpoint.pack(OPTIONS, NAMES, content[checkpoint.KEY]['word_vectors'], card=card)
    torch.save(content, path)
    assert mlsgm_pyg.load(path).card == card
    del content[checkpoint.KEY]['card']  # As format version 1 was before cards.
    torch.save(content, path)
    loaded = mlsgm_pyg.load(path)
    assert loaded.card == {} and loaded.class_names == NAMES


def test_errors_name_the_file(saved, tmp_path):
    path, _ = saved
    for missing in (tmp_path / 'missing.ckpt', 'nowhere/last.ckpt', ''):
        with pytest.raises(FileNotFoundError) as error:
            mlsgm_pyg.load(missing)
        assert str(error.value) == f"there is no checkpoint '{missing}'"
    for wrong in (None, 123):
        with pytest.raises(TypeError) as error:
            mlsgm_pyg.load(wrong)
        assert str(error.value) == f'a checkpoint is named by its path, a str or Path (got {wrong})'
    with pytest.raises(ValueError, match='is not a readable checkpoint .*: .*Is a directory'):
        mlsgm_pyg.load(tmp_path)
    broken = tmp_path / 'broken.ckpt'
    broken.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match='broken.ckpt is not a readable checkpoint of tensors and plain containers'):
        mlsgm_pyg.load(broken)
    other = tmp_path / 'other.ckpt'
    torch.save({'state_dict': {}}, other)
    with pytest.raises(ValueError, match="other.ckpt is not a checkpoint of mlsgm_pyg: it lacks 'mlsgm_pyg'"):
        mlsgm_pyg.load(other)


def test_versions_and_weights_must_fit(saved):
    path, _ = saved
    content = torch.load(path, weights_only=True)
    content[checkpoint.KEY]['format_version'] = 99
    torch.save(content, path)
    with pytest.raises(ValueError, match='last.ckpt has format version 99; this installation reads 1'):
        mlsgm_pyg.load(path)
    content[checkpoint.KEY]['format_version'] = 1
    del content['state_dict']['model.csac.classifier.bias']
    torch.save(content, path)
    with pytest.raises(ValueError, match=r'last.ckpt does not fit the model that it describes: .*csac.classifier.bias'):
        mlsgm_pyg.load(path)


class Code:
    def __reduce__(self):
        return os.mkdir, ('it was run',)


def test_code_is_named_and_never_run(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, _ = saved
    content = torch.load(path, weights_only=True)
    content[checkpoint.KEY]['extra'] = Code()
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"plain containers: it asks to run 'posix\.mkdir', which is never done$"):
        mlsgm_pyg.load(path)
    path.write_bytes(pickle.dumps(Code()))
    with pytest.raises(ValueError, match='it was not written by torch.save, or is not whole$'):
        mlsgm_pyg.load(path)
    assert not (tmp_path / 'it was run').exists()


def test_damaged_checkpoints(saved):
    path, _ = saved
    whole = torch.load(path, weights_only=True)
    about = whole[checkpoint.KEY]
    for part, told in [
        ({checkpoint.KEY: 3}, 'last.ckpt has format version None'),
        ({checkpoint.KEY: about | {'class_names': None}}, r"damaged: 'class_names' must be a list \(got NoneType\)"),
        ({checkpoint.KEY: about | {'model': []}}, r"damaged: 'model' must be a dict \(got list\)"),
        ({checkpoint.KEY: about | {'card': None}}, r"damaged: 'card' must be a dict \(got NoneType\)"),
        ({'state_dict': {'x': 'y'}}, "damaged: 'state_dict' must hold tensors by name"),
        (
            {checkpoint.KEY: about | {'word_vectors': None}},
            'last.ckpt describes a model that cannot be built: ',
        ),
        ({checkpoint.KEY: about | {'model': {'x': 1}}}, 'last.ckpt describes a model that cannot be built: '),
    ]:
        torch.save(whole | part, path)
        with pytest.raises(ValueError, match=told):
            mlsgm_pyg.load(path)

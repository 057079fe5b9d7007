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


def test_errors_name_the_file(saved, tmp_path):
    path, _ = saved
    with pytest.raises(FileNotFoundError, match='missing.ckpt'):
        mlsgm_pyg.load(tmp_path / 'missing.ckpt')
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

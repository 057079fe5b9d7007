import pytest
import torch

from mlsgm_pyg import models
from mlsgm_pyg.models import MLSGM, PooledLinear


def test_baseline_is_a_linear_layer_on_the_mean():
    model = models.build('baseline', num_labels=3, backbone='resnet18', weights='none').eval()
    feature = torch.randn(2, 512, 3, 4)
    out = model.head(feature)
    expected = feature.flatten(2).mean(2) @ model.classifier.weight.t() + model.classifier.bias
    torch.testing.assert_close(out.logits, expected)
    assert out.csac_logits is None and out.instances is None
    with pytest.raises(ValueError, match=r"this model has one score only, its 'logits' \(got 'graph'\)"):
        out.score('graph')
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    torch.testing.assert_close(model(image).logits, model.head(model.features(image)).logits)


def test_build():
    options = {'backbone': 'resnet18', 'weights': 'none', 'feature_channels': 8}
    model = models.build('ml_sgm', num_labels=2, word_vectors=torch.zeros(2, 4), **options)
    assert isinstance(model, MLSGM)
    out = model.eval()(torch.rand(1, 3, 64, 64))
    assert out.logits.shape == (1, 2)
    assert isinstance(models.build('baseline', num_labels=2, backbone='resnet18', weights='none'), PooledLinear)


def test_errors():
    with pytest.raises(ValueError, match=r"no model 'mlsgm' \(did you mean 'ml_sgm'\?\): choose from ml_sgm, baseline"):
        models.build('mlsgm', num_labels=2)
    with pytest.raises(ValueError, match=r'needs one word vector for each of its 2 labels \(got none\)'):
        models.build('ml_sgm', num_labels=2)
    with pytest.raises(ValueError, match=r'needs one word vector for each of its 2 labels \(got 3\)'):
        models.build('ml_sgm', num_labels=2, word_vectors=torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"'ml_sgm' has no option 'gama' \(did you mean 'gamma'\?\): it has feature_"):
        models.build('ml_sgm', num_labels=2, word_vectors=torch.zeros(2, 4), gama=0.2)
    with pytest.raises(ValueError, match=r"'baseline' has no option 'num_blocks': it has feature_dropout"):
        models.build('baseline', num_labels=2, num_blocks=2)

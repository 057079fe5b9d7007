import torch

from mlsgm_pyg.nn import ClassLinear


def test_each_class_has_its_own_classifier():
    layer, x = ClassLinear(4, 3), torch.randn(2, 3, 4)
    out = layer(x)
    for image in range(2):
        for c in range(3):
            torch.testing.assert_close(out[image, c], layer.weight[c] @ x[image, c] + layer.bias[c])
    assert str(layer) == 'ClassLinear(4, num_labels=3)'
    before = layer.weight.clone()
    layer.reset_parameters()
    assert not torch.equal(layer.weight, before) and layer.weight.abs().max() <= 0.5

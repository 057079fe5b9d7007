import copy
import math

import pytest
import torch
import torch.nn.functional as F

from mlsgm_pyg.losses import AsymmetricFocal, PartialBCE, WeightedBCE, build_loss

# Logits of probabilities that logarithms are known of: sigmoid(ln 4) = 0.8, sigmoid(-ln 3) = 0.25, sigmoid(0) = 0.5.
P80, P25, P50 = 1.3862943611198906, -1.0986122886681098, 0.0

LOSSES = {
    'weighted': WeightedBCE(torch.tensor([0.1, 0.3, 0.5, 0.9, 0.0]), beta=0.4),
    'partial': PartialBCE(),
    'partial_mu': PartialBCE(alpha=-2.0, theta=4.0, mu=0.5),
    'focal': AsymmetricFocal(),
    'focal_no_margin': AsymmetricFocal(gamma_pos=1.0, gamma_neg=2.0, margin=0.0),
    'focal_root': AsymmetricFocal(gamma_pos=0.5, gamma_neg=0.5, margin=0.05),
}


@pytest.fixture(params=LOSSES)
def loss(request):
    return copy.deepcopy(LOSSES[request.param])


def assert_value(value, expected):
    assert value.shape == ()
    torch.testing.assert_close(value, torch.tensor(expected, dtype=value.dtype), rtol=1e-12, atol=0.0)


def test_weighted_bce_by_hand():
    # Weights: e^(0.4 (1 - r)) of a positive, e^(0.4 r) of a negative.
    #   image 1, p = 0.8, y = 1, r = 0.1:  e^0.36 * -ln 0.80 = 1.4333294 * 0.2231436 = 0.3198382
    #   image 1, p = 0.25, y = 0, r = 0.3: e^0.12 * -ln 0.75 = 1.1274969 * 0.2876821 = 0.3243606
    #   image 1, p = 0.5: unknown
    #   image 2, p = 0.5, y = 0, r = 0.1:  e^0.04 * -ln 0.50 = 1.0408108 * 0.6931472 = 0.7214351
    #   image 2, p = 0.25, y = 1, r = 0.3: e^0.28 * -ln 0.25 = 1.3231298 * 1.3862944 = 1.8342474
    #   image 2, p = 0.8, y = 1, r = 0.5:  e^0.20 * -ln 0.80 = 1.2214028 * 0.2231436 = 0.2725481
    #   mean of the five known: 3.4724294 / 5 = 0.6944859
    loss = WeightedBCE(torch.tensor([0.1, 0.3, 0.5], dtype=torch.double), beta=0.4)
    logits = torch.tensor([[P80, P25, P50], [P50, P25, P80]], dtype=torch.double)
    assert_value(loss(logits, torch.tensor([[1, 0, -1], [0, 1, 1]])), 0.6944858894510062)


def test_weights_of_ratio():
    loss = WeightedBCE(torch.tensor([0.1, 0.3, 0.5]), beta=0.4)
    torch.testing.assert_close(loss.positive_weight, torch.tensor([0.36, 0.28, 0.20]).exp())
    torch.testing.assert_close(loss.negative_weight, torch.tensor([0.04, 0.12, 0.20]).exp())
    assert str(loss) == 'WeightedBCE(num_labels=3, beta=0.4)'
    assert not loss.state_dict()  # A checkpoint does not depend on the training set's ratio.
    # At beta = 0 (VOC 2007) every weight is 1: the mean cross-entropy.
    logits, y = torch.randn(4, 3), torch.randint(0, 2, (4, 3))
    torch.testing.assert_close(
        WeightedBCE(torch.rand(3))(logits, y), F.binary_cross_entropy_with_logits(logits, y.float())
    )


def test_partial_bce_by_hand():
    # Image 1: 2 of 4 known, g(0.50) = -4.45 * 0.50 + 5.45 = 3.225:
    #   p = 0.8, y = 1; p = 0.25, y = 0:  3.225 / 4 * (0.2231436 + 0.2876821) = 0.4118532
    # Image 2: 1 of 4 known, g(0.25) = -4.45 * 0.25 + 5.45 = 4.3375:
    #   p = 0.5, y = 1:                   4.3375 / 4 * 0.6931472              = 0.7516315
    # Mean of the images: 0.5817423
    logits = torch.tensor([[P80, P25, P50, P50], [P80, P25, P80, P50]], dtype=torch.double)
    y = torch.tensor([[1, 0, -1, -1], [-1, -1, -1, 1]])
    assert_value(PartialBCE()(logits, y), 0.5817423165405103)
    # An image of which nothing is known adds 0 to the sum and counts as one: 1.1634846 / 3.
    y = torch.cat([y, torch.full((1, 4), -1)])
    assert_value(PartialBCE()(torch.cat([logits, logits[:1]]), y), 2 * 0.5817423165405103 / 3)


def test_partial_bce_scale():
    loss = PartialBCE()
    assert str(loss) == 'PartialBCE(alpha=-4.45, theta=5.45, mu=1.0)'
    scale = loss.scale(torch.tensor([1.0, 0.1, 0.0], dtype=torch.double))
    torch.testing.assert_close(scale, torch.tensor([1.0, 5.005, 5.45], dtype=torch.double), rtol=1e-12, atol=0)
    scale = PartialBCE(alpha=-2.0, theta=4.0, mu=0.5).scale(torch.tensor([0.25]))
    torch.testing.assert_close(scale, torch.tensor([3.0]))  # 4 - 2 * sqrt(0.25)


def test_partial_bce_with_all_known_is_bce():
    logits, y = torch.randn(7, 5, dtype=torch.double), torch.randint(0, 2, (7, 5))
    expected = F.binary_cross_entropy_with_logits(logits, y.double())
    torch.testing.assert_close(PartialBCE()(logits, y), expected, rtol=1e-12, atol=0)


def test_asymmetric_focal_by_hand():
    # gamma+ = 1, gamma- = 2, m = 0.05:
    #   p = 0.8,  y = 1: (1 - 0.8)^1 * -ln 0.8                             = 0.0446287
    #   p = 0.25, y = 0: p^ = 0.20, 0.20^2 * -ln 0.80 = 0.0400 * 0.2231436 = 0.0089257
    #   p = 0.04, y = 0: below the margin                                  = 0
    #   p = 0.5,  y = 0: p^ = 0.45, 0.45^2 * -ln 0.55 = 0.2025 * 0.5978370 = 0.1210620
    #   p = 0.5: unknown
    #   mean of the four known: 0.1746164 / 4 = 0.0436541
    loss = AsymmetricFocal(gamma_pos=1.0, gamma_neg=2.0, margin=0.05)
    logits = torch.tensor([[P80, P25, math.log(0.04 / 0.96), P50, P50]], dtype=torch.double)
    assert_value(loss(logits, torch.tensor([[1, 0, 0, 0, -1]])), 0.043654111242105866)
    assert str(loss) == 'AsymmetricFocal(gamma_pos=1.0, gamma_neg=2.0, margin=0.05)'


def test_asymmetric_focal_without_focus_is_bce():
    logits, y = torch.randn(7, 5, dtype=torch.double), torch.randint(0, 2, (7, 5))
    expected = F.binary_cross_entropy_with_logits(logits, y.double())
    torch.testing.assert_close(AsymmetricFocal(0.0, 0.0, 0.0)(logits, y), expected, rtol=1e-12, atol=0)


def test_asymmetric_focal_gradient_flows_through_the_weight():
    # y = 0, m = 0, gamma- = 4: d/dx of -p^4 ln(1 - p) is p^4 (p - 4 (1 - p) ln(1 - p)), at p = 1/2:
    #   1/16 * (1/2 + 4 * 1/2 * 0.6931472) = 0.1178934. With the weight held constant it would be 1/16 * 1/2 = 0.03125.
    logits = torch.zeros(1, 1, dtype=torch.double, requires_grad=True)
    AsymmetricFocal(0.0, 4.0, 0.0)(logits, torch.zeros(1, 1)).backward()
    assert_value(logits.grad[0, 0], (0.5 + 2 * 0.6931471805599453) / 16)


def test_gradcheck(loss):
    # Away from the margin of the focal loss, p = 0.05, where the second derivative jumps.
    logits = torch.linspace(-2.5, 3.0, 20, dtype=torch.double).view(4, 5).requires_grad_()
    y = torch.tensor([[1, 0, -1, 1, 0], [0, 0, 1, 1, -1], [-1] * 5, [0, 1, 0, 1, 0]])
    assert torch.autograd.gradcheck(lambda x: loss(x, y), logits)


@pytest.mark.parametrize('dtype', [torch.float, torch.double, torch.half, torch.bfloat16])
def test_extremes_are_finite(loss, dtype):
    logits = torch.tensor([[100.0, -100.0, 40.0, -40.0, 0.0]] * 2, dtype=dtype, requires_grad=True)
    value = loss(logits, torch.tensor([[1] * 5, [0] * 5], dtype=torch.int8))
    assert value.dtype == (torch.double if dtype is torch.double else torch.float)
    value.backward()
    assert value.isfinite() and value > 0
    assert logits.grad.dtype == dtype and logits.grad.isfinite().all()


def test_extremes_by_hand():
    # A present label at logit -100 costs 100 and pulls with -1; an absent one at 100 costs 100 and pushes with 1.
    for loss in (WeightedBCE(torch.rand(2)), PartialBCE(), AsymmetricFocal(0.0, 0.0, 0.0)):
        logits = torch.tensor([[-100.0, 100.0]], requires_grad=True)
        value = loss(logits, torch.tensor([[1, 0]]))
        value.backward()
        assert value == 100.0
        assert logits.grad.tolist() == [[-0.5, 0.5]]


def test_unknown_adds_nothing(loss):
    y = torch.tensor([[1, 0, -1, 1, -1], [0, -1, 1, 1, 0], [-1, 0, 0, -1, 1]])
    logits = torch.randn(3, 5)
    values, grads = [], []
    for strange in (0.0, 1e4, math.inf, math.nan):
        x = logits.masked_fill(y < 0, strange).requires_grad_()
        values.append(loss(x, y))
        values[-1].backward()
        grads.append(x.grad)
        assert (x.grad[y < 0] == 0).all() and (x.grad[y >= 0] != 0).any()
    assert all(torch.equal(value, values[0]) for value in values)
    assert all(torch.equal(grad, grads[0]) for grad in grads)


@pytest.mark.parametrize('num_images', [0, 3])
def test_nothing_known_is_zero_with_a_graph(loss, num_images):
    logits = torch.randn(num_images, 5, requires_grad=True)
    value = loss(logits, torch.full((num_images, 5), -1))
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


def test_images_and_labels_are_permutable(loss):
    logits, y = torch.randn(6, 5, dtype=torch.double), torch.randint(-1, 2, (6, 5))
    expected = loss(logits, y)
    torch.testing.assert_close(loss(logits.flip(0), y.flip(0)), expected, rtol=1e-12, atol=0)
    if not isinstance(loss, WeightedBCE):  # Its weights are those of one order of classes.
        torch.testing.assert_close(loss(logits.flip(1), y.flip(1)), expected, rtol=1e-12, atol=0)


def test_same_for_every_type_of_y(loss):
    logits, y = torch.randn(6, 5), torch.randint(-1, 2, (6, 5))
    values = [loss(logits, y.to(dtype)) for dtype in (torch.int8, torch.long, torch.float, torch.half)]
    assert all(torch.equal(value, values[0]) for value in values)


def test_inputs_are_not_changed(loss):
    logits, y = torch.randn(6, 5), torch.randint(-1, 2, (6, 5))
    before = logits.clone(), y.clone()
    loss(logits, y)
    assert torch.equal(logits, before[0]) and torch.equal(y, before[1])


def test_wrong_shapes_and_values(loss):
    with pytest.raises(
        ValueError, match=r"'logits' and 'y' must both have shape \[B, C\] \(got \[2, 5\] and \[2, 4\]\)"
    ):
        loss(torch.zeros(2, 5), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r'\(got \[5\] and \[5\]\)'):
        loss(torch.zeros(5), torch.zeros(5))
    with pytest.raises(ValueError, match=r'2 of 5 values are something else \(got 0.5\)'):
        loss(torch.zeros(1, 5), torch.tensor([[0.5, 1, 0, -1, -2]]))


def test_wrong_arguments():
    with pytest.raises(
        ValueError, match=r"'ratio' must hold one number in \[0, 1\] per class \(got shape \[2\], .*1.5"
    ):
        WeightedBCE(torch.tensor([0.5, 1.5]))
    with pytest.raises(ValueError, match=r'\(got shape \[\]'):
        WeightedBCE(torch.tensor(0.5))
    with pytest.raises(ValueError, match=r"'ratio' was given for 2 classes \(got logits of 3 classes\)"):
        WeightedBCE(torch.tensor([0.5, 0.5]))(torch.zeros(1, 3), torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"'mu' must be positive \(got 0\)"):
        PartialBCE(mu=0)
    with pytest.raises(ValueError, match=r"'gamma_pos' and 'gamma_neg' must not be negative \(got 0.0 and -1\)"):
        AsymmetricFocal(gamma_neg=-1)
    with pytest.raises(ValueError, match=r"'margin' must be a probability below 1 \(got 1\)"):
        AsymmetricFocal(margin=1)


def test_build_loss():
    ratio = torch.tensor([0.5, 0.25])
    assert str(build_loss('weighted_bce', ratio, beta=0.4)) == 'WeightedBCE(num_labels=2, beta=0.4)'
    assert str(build_loss('partial_bce', ratio, mu=2.0)) == 'PartialBCE(alpha=-4.45, theta=5.45, mu=2.0)'
    focal = 'AsymmetricFocal(gamma_pos=0.0, gamma_neg=2.0, margin=0.05)'
    assert str(build_loss('asymmetric_focal', gamma_neg=2.0)) == focal
    with pytest.raises(ValueError, match=r"Unknown loss 'weighted_bec' \(did you mean 'weighted_bce'\?\): choose from"):
        build_loss('weighted_bec', ratio)
    with pytest.raises(ValueError, match=r"Loss 'partial_bce' has no option 'alfa' \(did you mean 'alpha'\?\): it has"):
        build_loss('partial_bce', ratio, alfa=1.0)
    with pytest.raises(ValueError, match=r"Loss 'partial_bce' has no option 'beta'.*\['alpha', 'theta', 'mu'\]"):
        build_loss('partial_bce', ratio, beta=0.4)
    with pytest.raises(ValueError, match="Loss 'weighted_bce' needs 'ratio'"):
        build_loss('weighted_bce', beta=0.4)

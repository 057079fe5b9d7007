"""Class maps and instances of the reduced map, without it."""

import pytest
import torch
from torch.testing import assert_close

from mlsgm_pyg.cells import Cells
from mlsgm_pyg.csac import CSAC
from mlsgm_pyg.reduction import Reduction, Unreduced, build_reduction

CLOSE = {'rtol': 1e-10, 'atol': 1e-10}


def make(num_labels=7, **options):
    torch.manual_seed(0)
    csac = CSAC(6, num_labels, gamma=0.01, max_instances=3, prior=0.1, **options).double()
    torch.nn.init.normal_(csac.classifier.weight, std=0.4)
    reduce = Reduction(10, 6).double()
    torch.nn.init.normal_(reduce.bias)
    return csac, reduce


@pytest.mark.parametrize('pooling', ['mean', 'sum'])
@pytest.mark.parametrize('score_pooling', ['max', 'avg', 'lse', 'gap'])
@pytest.mark.parametrize('num_labels', [1, 7, 90])  # 90: more labels than places.
def test_as_if_the_map_had_been_reduced(pooling, score_pooling, num_labels):
    csac, reduce = make(num_labels, pooling=pooling, score_pooling=score_pooling)
    feature = torch.randn(4, 10, 5, 4, dtype=torch.double, requires_grad=True)
    parameters = [feature, *csac.parameters(), *reduce.parameters()]
    found = []
    for reduced, how in ((reduce(feature), ()), (feature, (reduce,))):
        out = csac(reduced, *how)
        picked, slots = csac.select(reduced, out, *how), csac.slots(reduced, out, *how)
        loss = out.logits.sin().sum() + picked.x.cos().sum() + slots.x.sin().sum()
        found.append((out, picked, slots, torch.autograd.grad(loss, parameters)))
    assert found[0][1].x.shape[1] == 6 and len(found[0][1].x) > 4
    for a, b in zip(found[0][:3], found[1][:3]):
        for name, value in a._asdict().items():
            assert_close(getattr(b, name), value, **CLOSE, msg=name)
    for a, b in zip(found[0][3], found[1][3], strict=True):
        assert_close(b, a, **CLOSE)


@pytest.mark.parametrize('pooling', ['mean', 'sum'])
def test_a_classifier_of_the_whole_map(pooling):
    _, reduce = make()
    csac = CSAC(10, 7, gamma=0.01, max_instances=3, prior=0.1, pooling=pooling, csac_input='whole').double()
    torch.nn.init.normal_(csac.classifier.weight, std=0.4)
    feature = torch.randn(4, 10, 5, 4).double()
    out = csac(feature, reduce)
    assert_close(out.maps, csac.classifier(feature), **CLOSE)
    picked, reduced = csac.select(feature, out, reduce), reduce(feature)
    assert len(picked.x) > 8
    for x, image, label in zip(picked.x, picked.batch, picked.label):  # Eq. 1 on the reduced map.
        weight = torch.ones(5, 4).double() if label < 0 else out.maps[image, label].sigmoid()
        weight = weight / weight.sum() if pooling == 'mean' else weight
        assert_close(x, torch.einsum('xy,dxy->d', weight, reduced[image]), **CLOSE)
    _, usual = make()
    assert_close(csac(feature, usual).maps, out.maps, rtol=0, atol=0)  # Whatever the reduction.


@pytest.mark.parametrize('pooling', ['mean', 'sum'])
@pytest.mark.parametrize('grid', [0, 3])
def test_cells(pooling, grid):
    cells, (_, reduce) = Cells(grid, pooling), make()
    feature = torch.randn(2, 10, 7, 5).double()
    usual = cells.select(reduce(feature), cells(reduce(feature)))
    assert_close(cells.select(feature, cells(feature, reduce), reduce).x, usual.x, **CLOSE)


def test_the_whole_map_is_never_reduced(monkeypatch):
    csac, reduce = make()
    reduced = []
    monkeypatch.setattr(Reduction, 'forward', lambda self, x: reduced.append(x))
    feature = torch.randn(2, 10, 5, 4).double()
    picked = csac.select(feature, csac(feature, reduce), reduce)
    assert not reduced and picked.x.size(1) == 6


def test_without_reduction():
    assert isinstance(build_reduction(10, None), Unreduced) and not list(build_reduction(10, None).parameters())
    assert isinstance(build_reduction(10, 6), Reduction)
    csac, _ = make()
    feature = torch.randn(2, 6, 5, 4).double()
    usual = csac(feature)
    assert_close(csac(feature, Unreduced()).maps, usual.maps, rtol=0, atol=0)
    assert_close(csac.select(feature, usual, Unreduced()).x, csac.select(feature, usual).x, rtol=0, atol=0)


def test_an_empty_batch():
    csac, reduce = make()
    feature = torch.randn(0, 10, 5, 4).double()
    assert csac.select(feature, csac(feature, reduce), reduce).x.shape == (0, 6)

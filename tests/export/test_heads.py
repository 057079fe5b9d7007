import pytest
import torch

import mlsgm_pyg
from mlsgm_pyg import models
from mlsgm_pyg.assignment import AssignmentGraph, all_others
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.csac import Instances, Slots
from mlsgm_pyg.export import Exportable
from mlsgm_pyg.regions import grid_centres

SMALL = {'feature_channels': 12, 'encoder_channels': (16, 8), 'hidden_channels': 16, 'block_channels': (16, 8)}
SMALL |= {'decoder_channels': 8}
OPTIONS = {
    'plain': {},
    'knn': {'label_graph': 'knn', 'label_k': 2},
    'unpruned': {'prune_last': False},
    'one_block': {'block_channels': (8,)},
    'four_blocks': {'block_channels': (16, 16, 16, 8), 'prune_last': False},
    'one_label': {'num_labels': 1},
    'two_labels': {'num_labels': 2},
    'csac_lse': {'score': 'csac', 'score_pooling': 'lse', 'gamma': 0.08},
    'average_avg_sum': {'score': 'average', 'score_pooling': 'avg', 'pooling': 'sum', 'gamma': 0.08},
    'csac_gap': {'score': 'csac', 'score_pooling': 'gap', 'gamma': 0.06},
    'whole_map_csac': {'csac_input': 'whole', 'score': 'average', 'gamma': 0.08},
    'no_reduction': {'feature_channels': None},
    'no_neighbours': {'k': 0},
    'many_neighbours': {'k': 20},
    'no_instances': {'max_instances': 0},
    'all_instances': {'num_labels': 15, 'max_instances': 15, 'gamma': 0.0},
    'many_labels': {'num_labels': 40, 'max_instances': 12},
}


def make(num_labels=6, seed=0, **options):
    torch.manual_seed(seed)
    backbone = Backbone('toy', torch.nn.Conv2d(3, 10, 1), 10)
    model = models.MLSGM(backbone, torch.randn(num_labels, 5), **{**SMALL, **options})
    torch.nn.init.normal_(model.csac.classifier.weight, std=0.4)
    torch.nn.init.constant_(model.csac.classifier.bias, -3)
    return model.double().eval()


def assert_same(model, feature):
    """The padded head gives what the model gives, with its instances in front of the empty slots."""
    with torch.no_grad():
        want, got = model.head(feature), Exportable(model).head(feature)
    torch.testing.assert_close(got['logits'], want.logits, rtol=1e-10, atol=1e-10)
    if want.instances is None:
        assert list(got) == ['logits']
        return [0]
    sizes, valid = want.instances.sizes, got['valid']
    slots = torch.arange(valid.size(1))
    assert torch.equal(valid, slots < torch.tensor(sizes)[:, None])
    assert torch.equal(got['boxes'][valid], want.instances.box) and not got['boxes'][~valid].any()
    assert torch.equal(got['labels'][valid], want.instances.label) and (got['labels'][~valid] == -1).all()
    assert torch.equal(got['scores'][valid], want.instances.score) and not got['scores'][~valid].any()
    best = torch.stack([match.argmax(0) for match in want.match_logits.split(sizes)])
    assert torch.equal(got['best'], best)
    return sizes


@pytest.mark.parametrize('case', OPTIONS)
def test_the_padded_head_is_the_model(case):
    seen = set()
    for seed in range(6):
        model = make(**OPTIONS[case], seed=seed)
        seen.update(assert_same(model, torch.randn(7, 10, 4, 5).double() * (0.4 + seed / 4)))
    if case == 'plain':
        assert 1 in seen and max(seen) > 4  # Images without any class, and of several.
    assert max(seen) > 11 or case not in ('all_instances', 'many_labels')


def test_one_image_and_none_with_a_class():
    assert assert_same(make(gamma=1.0), torch.randn(1, 10, 3, 3).double()) == [1]


def test_tied_and_coincident_centres():
    model = make(num_labels=5, max_instances=12, k=3)
    head, assign = Exportable(model).head, model.ilms.assign
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        count = torch.randint(1, 14, (6,), generator=generator)
        corner = torch.randint(0, 3, (6, 13, 2), generator=generator) / 4
        box = torch.cat([corner, torch.randint(1, 3, (6, 13, 2), generator=generator) / 4], 2).double()
        x = torch.randn(6, 13, 12, generator=generator).double()
        valid = torch.arange(13) < count[:, None]
        slots = Slots(x, box, torch.full((6, 13), -1), valid.double(), valid, grid_centres(box, 4, 4))
        ptr = torch.nn.functional.pad(count.cumsum(0), (1, 0))
        batch = torch.arange(6).repeat_interleave(count)
        own = [value[valid] for value in (x, box, slots.label, slots.score)]
        graph = assign.batch(Instances(*own, batch, ptr, centre=slots.centre[valid]))
        with torch.no_grad():
            want, got = model.match(graph, regular=True).match_logits, head.match(slots)
        torch.testing.assert_close(got[valid], want, rtol=1e-10, atol=1e-10)


def test_what_lies_in_empty_slots_changes_nothing():
    model = make()
    head = Exportable(model).head
    box, x = torch.rand(3, 7, 4).double(), torch.randn(3, 7, 12).double()
    valid = torch.arange(7) < torch.tensor([1, 4, 7])[:, None]
    slots = Slots(x, box, torch.full((3, 7), -1), valid.double(), valid, grid_centres(box, 8, 8))
    real = valid[..., None]
    other = slots._replace(
        x=torch.where(real, x, 1e3 * torch.randn_like(x)),
        box=torch.where(real, box, 5.0),
        centre=torch.where(real, slots.centre, 7),
    )
    with torch.no_grad():
        assert torch.equal(head.match(slots)[valid], head.match(other)[valid])


CASES = {
    'baseline': {},
    'mlp': {},
    'ml_gcn': {'hidden_channels': 7},
    'add_gcn': {'feature_channels': 8},
    'ssgrl': {'joint_channels': 7, 'output_channels': 9},
    'wo_csac': SMALL,
    'wo_csac of one': {**SMALL, 'grid': 0},
    'wo_csac summed': {**SMALL, 'grid': 2, 'pooling': 'sum'},
    'ablation 2': {**SMALL, 'parts': ['csac']},
    'ablation 3': {**SMALL, 'parts': ['csac', 'instance_graph']},
    'ablation 4': {**SMALL, 'parts': ['label_graph']},
    'ablation 5': {**SMALL, 'parts': ['instance_graph', 'label_graph']},
    'ablation 6': {**SMALL, 'parts': ['csac', 'instance_graph', 'label_graph'], 'label_graph': 'knn', 'label_k': 2},
}


@pytest.mark.parametrize('case', CASES)
def test_every_other_model(case, monkeypatch):
    monkeypatch.setattr(models, 'build_backbone', lambda *_: Backbone('toy', torch.nn.Conv2d(3, 10, 1), 10))
    labels = {'num_labels': 6, 'word_vectors': torch.randn(6, 5)}
    labels['co_occurrence'] = mlsgm_pyg.co_occurrence((torch.rand(60, 6) < 0.4).int())
    model = models.build(case.split()[0], **labels, **CASES[case]).double().eval()
    if hasattr(getattr(model, 'csac', None), 'classifier'):
        torch.nn.init.normal_(model.csac.classifier.weight, std=0.4)
    assert_same(model, torch.randn(5, 10, 4, 6).double())


def test_no_model_is_left_out():
    assert {case.split()[0] for case in CASES} | {'ml_sgm'} == set(models.MODELS)


def test_the_model_is_left_as_it_was():
    model = make().train().compile_dense()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    exportable = Exportable(model)
    exportable.head.ilms.decoder.lin.weight.add_(1)
    assert model.training and all(module.compiled for module in model.modules() if hasattr(module, 'compiled'))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not exportable.training and not any(p.requires_grad for p in exportable.parameters())


def test_the_complete_label_graph_is_that_of_the_assignment_graph():
    assert torch.equal(all_others(5).flatten(), AssignmentGraph(5).label_edges[0])
    assert all_others(1).shape == (1, 0)


def test_what_cannot_be_exported():
    with pytest.raises(TypeError, match=r'can be exported: MLSGM, Ablation, MLGCN, PooledLinear.* \(got Conv2d\)'):
        Exportable(torch.nn.Conv2d(3, 3, 1))

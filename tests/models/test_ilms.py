"""ILMS on anyone's graph: what it is given is what it scores, and every form is the same function."""

import copy
import pickle

import pytest
import torch
from torch_geometric.data import Batch, HeteroData
from torch_geometric.loader import DataLoader

from mlsgm_pyg.assignment import AssignmentGraph, relative_boxes
from mlsgm_pyg.csac import Slots
from mlsgm_pyg.export import Exportable
from mlsgm_pyg.models import ILMS, MLSGM
from mlsgm_pyg.regions import grid_centres
from mlsgm_pyg.schema import INSTANCE, LABEL, MATCHES, RELATED
from tests.models.test_ml_sgm import make, make_feature, slow_scores

CLOSE = {'rtol': 1e-10, 'atol': 1e-10}
SIZES = {'encoder_channels': (8,), 'hidden_channels': 6, 'block_channels': (8, 8, 8), 'decoder_channels': 4}


def make_ilms(num_labels=5, words=3, **options):
    torch.manual_seed(0)
    return ILMS(7, torch.randn(num_labels, words), **{**SIZES, **options}).double().eval()


def make_slots(images=4, slots=5):
    """Uneven images in slots, boxes on a grid of 8 x 8."""
    count = torch.tensor([1, slots, 3, 2][:images])
    corner = torch.randint(0, 6, (images, slots, 2)) / 8
    box = torch.cat([corner, torch.full((images, slots, 2), 0.25)], 2).double()
    valid = torch.arange(slots) < count[:, None]
    x = torch.randn(images, slots, 7).double()
    evidence = torch.randn(images, slots, 3).double()  # Of the first three labels.
    return Slots(x, box, torch.full((images, slots), -1), valid.double(), valid, grid_centres(box, 8, 8), evidence)


def as_graphs(ilms, slots):
    """The same instances as graphs, each for itself, through PyG's loader."""
    graphs = []
    for i, valid in enumerate(slots.valid):
        data = HeteroData()
        for name in ('x', 'box', 'centre', *(['evidence'] if ilms.evidence else [])):
            data[INSTANCE][name] = getattr(slots, name)[i, valid]
        graphs.append(ilms.assign(data))
    return next(iter(DataLoader(graphs, batch_size=len(graphs))))


LEVERS = ('product', 'evidence', 'block_residual', 'deep_scores')


@pytest.mark.parametrize('levers', [(), *([lever] for lever in LEVERS), LEVERS])
@pytest.mark.parametrize('options', [{}, {'label_graph': 'knn', 'label_k': 2}, {'checkpoint': True}])
def test_plain_regular_and_padded_are_one_function(levers, options):
    """Forward and gradients, of uneven images."""
    ilms, slots = make_ilms(**dict.fromkeys(levers, True), **options).train(), make_slots()
    graph = as_graphs(ilms, slots)
    results = []
    for form in ('plain', 'regular', 'padded'):
        x = slots.x.clone().requires_grad_()
        if form == 'padded':
            out = ilms.padded(slots._replace(x=x))
            match = out.match_logits[slots.valid]
        else:
            graph[INSTANCE].x = x[slots.valid]
            out = ilms(graph) if form == 'plain' else ilms.regular(graph)
            match = out.match_logits.view(-1, 5)
        loss = out.logits.sin().sum() + out.label_x.cos().sum()
        results.append((out.logits, match, out.label_x, *torch.autograd.grad(loss, [x, *ilms.parameters()])))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, **CLOSE)


def test_residual_adds_what_stays_the_same_size():
    """With the plain block held by tests/nn: here that the model has it, and that it changes something."""
    plain, residual = make_ilms(), make_ilms(block_residual=True)
    graph = as_graphs(plain, make_slots())
    assert all(block.residual for block in residual.blocks)
    assert (plain(graph).logits - residual(graph).logits).abs().max() > 1e-3


def test_the_levers_are_their_formulas():
    """The first layer of a matching edge, and what is added to its score, edge by edge."""
    ilms, slots = make_ilms(**dict.fromkeys(LEVERS, True)), make_slots()
    graph, mlp, words = as_graphs(ilms, slots), ilms.encoder.edges[MATCHES], ilms.word_vectors
    u, v, e = mlp.product[0].weight, mlp.product[1].weight, mlp.evidence.weight[:, 0]
    mean, evidence = words.float().mean(0), slots.evidence[slots.valid]
    first, layer = [], torch.nn.functional.layer_norm
    for i, j in graph[MATCHES].edge_index.t().tolist():
        x, w = graph[INSTANCE].x[i], words[j % 5]
        centred = (w - mean) / (w - mean).norm() * 3**0.5
        s = evidence[i, j % 5] if j % 5 < 3 else 0.0
        h = mlp.first.weight @ torch.cat([x, w]) + mlp.first.bias + (u @ x) * (v @ centred) + e * s
        first.append(layer(h.clamp(min=0), (8,), mlp.norms[0].weight, mlp.norms[0].bias))
    seen = []
    for block in ilms.blocks:
        block.register_forward_pre_hook(lambda block, given: seen.append(given[2][MATCHES]))
    decoded = []
    ilms.decoder.register_forward_hook(lambda decoder, given, out: decoded.append(out))
    out = ilms(graph)
    torch.testing.assert_close(seen[0], torch.stack(first), **CLOSE)
    scores = [edges @ deep.weight[0] + deep.bias for edges, deep in zip(seen, ilms.deep, strict=True)]
    torch.testing.assert_close(out.match_logits, decoded[0] + sum(scores), **CLOSE)


def test_evidence_is_asked_for_and_may_be_passed_over():
    slots, plain = make_slots(), make_ilms()
    ilms = make_ilms(evidence=True)
    graph = as_graphs(ilms, slots)
    assert torch.equal(plain(graph).logits, plain(as_graphs(plain, slots)).logits)
    del graph[MATCHES].edge_attr
    told = r'reads one score a matching edge, .*edge_attr \[E, 1\] \(got none\); AssignmentGraph makes it of data'
    for form in (ilms, ilms.regular):
        with pytest.raises(ValueError, match=told):
            form(graph)
    data = HeteroData({INSTANCE: {'x': torch.randn(2, 7), 'box': torch.rand(2, 4) / 2, 'evidence': torch.zeros(3, 5)}})
    with pytest.raises(ValueError, match=r"'evidence' must hold one row per instance, \[2, C\], .* \(got \[3, 5\]\)"):
        ilms.assign(data)
    data[INSTANCE].evidence = torch.zeros(2, 6)
    with pytest.raises(ValueError, match=r"'evidence' must hold a column a label, 5 at most \(got \[2, 6\]\)"):
        ilms.assign(data)
    data[INSTANCE].evidence = torch.zeros(2, 5)
    with pytest.raises(ValueError, match="'materialize' stores Eq. 4 where these instances bring evidence"):
        AssignmentGraph(5, word_vectors=torch.randn(5, 3), materialize=True)(data)


def rewired(graph, model):
    """Each label hears from others than in the model, equally many."""
    graph[RELATED].edge_index = torch.stack([(graph[RELATED].edge_index[0] + 1) % 6, graph[RELATED].edge_index[1]])


def renumbered(graph, model):
    graph[LABEL].n_id = graph[LABEL].n_id.flip(0)


def of_other_words(graph, model):
    other = AssignmentGraph(6, label_graph='knn', label_k=2, word_vectors=torch.randn(6, 5))
    graph[RELATED].edge_index = other.label_edges


@pytest.mark.parametrize('change', [rewired, renumbered, of_other_words])
def test_a_graph_that_was_changed_is_scored_as_it_is(change):
    model = make(label_graph='knn', label_k=2)
    graph = model.graphs(make_feature(1))[0]
    before = model.match(graph).logits
    change(graph, model)
    best, _ = slow_scores(model, graph)
    torch.testing.assert_close(model.match(graph).logits[0], best, **CLOSE)
    assert (before[0] - best).abs().max() > 1e-6


def test_graphs_with_different_numbers_of_labels():
    graphs = []
    for labels in (3, 5):
        data = HeteroData()
        data[INSTANCE].x, data[INSTANCE].box = torch.randn(2, 7).double(), torch.zeros(2, 4)
        graphs.append(AssignmentGraph(labels, word_vectors=torch.randn(labels, 3))(data))
    with pytest.raises(ValueError) as error:
        make_ilms()(Batch.from_data_list(graphs))
    assert str(error.value) == 'every graph of a batch must have the same number of labels (got [3, 5])'


def test_a_graph_without_what_is_read():
    data = HeteroData()
    data[INSTANCE].x, data[INSTANCE].box = torch.randn(2, 7).double(), torch.zeros(2, 4)
    with pytest.raises(ValueError, match=r"must have edges of \('instance', 'near', 'instance'\), as AssignmentGraph"):
        make_ilms()(data)


def test_a_detectors_boxes_and_any_labels():
    """The example of the guide: regions of any detector in, scores out; the labels may be others each time."""
    ilms, words = make_ilms(), torch.randn(4, 3).double()
    boxes = torch.tensor([[0.0, 0.0, 640.0, 480.0], [10.0, 20.0, 200.0, 300.0], [320.0, 100.0, 639.0, 479.0]])
    data = HeteroData()
    data[INSTANCE].x, data[INSTANCE].box = torch.randn(3, 7).double(), relative_boxes(boxes, height=480, width=640)
    own = ilms(ilms.assign(data.clone()))
    assert own.logits.shape == (1, 5) and own.match_logits.shape == (15,)
    other = AssignmentGraph(4, word_vectors=words)(data.clone())
    same = ILMS(7, words, **SIZES).double().eval()
    same.load_state_dict(
        {key: value for key, value in ilms.state_dict().items() if key != 'word_vectors'}, strict=False
    )
    torch.testing.assert_close(ilms(other).logits, same(same.assign(data.clone())).logits, **CLOSE)


def test_stored_graphs_through_a_loader_are_the_direct_path():
    model, feature = make(), make_feature()
    graphs = model.graphs(feature).to_data_list()
    batch = next(iter(DataLoader(graphs, batch_size=5)))
    torch.testing.assert_close(model.match(batch, regular=True).logits, model.head(feature).logits, rtol=0, atol=1e-12)


def padded(ilms, *tensors):
    return ilms.padded(Slots(*tensors)).logits


@pytest.mark.parametrize('backend', ['aot_eager', pytest.param('inductor', marks=pytest.mark.slow)])
def test_the_padded_form_compiles_whole(backend, request):
    request.addfinalizer(torch._dynamo.reset)
    ilms, slots = make_ilms(), make_slots()
    compiled = torch.compile(lambda *tensors: padded(ilms, *tensors), fullgraph=True, backend=backend)
    with torch.no_grad():
        torch.testing.assert_close(compiled(*slots), padded(ilms, *slots), rtol=1e-9, atol=1e-9)


def test_reset_parameters():
    ilms = make_ilms()
    before = copy.deepcopy(ilms.state_dict())
    ilms.reset_parameters()
    same = [key for key, value in ilms.state_dict().items() if torch.equal(value, before[key])]
    assert all(key == 'word_vectors' or '.norms.' in key or '.norm.' in key for key in same)


class Parent(torch.nn.Module):
    """As Lightning, DDP and every wrapper: loading goes through the parent."""

    def __init__(self, model):
        super().__init__()
        self.model = model


def test_loading_through_a_parent_leaves_nothing_stale():
    model, other = (make(label_graph='knn', label_k=2, seed=seed) for seed in (0, 1))
    feature = make_feature(2)
    with torch.no_grad(), model.fixed_labels():
        model.head(feature)
        Parent(model).load_state_dict(Parent(other).state_dict())
        out = model.head(feature).logits
    with torch.no_grad():
        torch.testing.assert_close(out, other.head(feature).logits, **CLOSE)


def test_a_view_shares_its_weights():
    model, words = make(), torch.randn(2, 5).double()
    model.class_names = list('abcdef')
    view = model.with_labels(['x', 'b', 'y'], torch.cat([words[:1], model.word_vectors[1:2], words[1:]]))
    feature = make_feature(2)
    before = view.head(feature).logits
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.1)
    after = view.head(feature).logits
    assert (after - before).abs().max() > 1e-3
    torch.testing.assert_close(after[:, 1], model.head(feature).logits[:, 1], **CLOSE)
    assert isinstance(view, MLSGM) and model.class_names == list('abcdef') and model.num_labels == 6
    torch.testing.assert_close(copy.deepcopy(view).head(feature).logits, after, **CLOSE)


@pytest.mark.parametrize('unseen_maps', ['none', 'nearest'])
def test_a_view_can_be_exported(unseen_maps):
    model = make(gamma=0.02)
    model.class_names = list('abcdef')
    view = model.with_labels(
        ['x', 'b'], torch.stack([torch.randn(5).double(), model.word_vectors[1]]), unseen_maps=unseen_maps
    )
    feature = make_feature(4)
    with torch.no_grad():
        torch.testing.assert_close(Exportable(view).head(feature)['logits'], view.head(feature).logits, **CLOSE)


@pytest.mark.parametrize('score', ['graph', 'csac', 'average'])
def test_an_exported_view_has_the_labels_asked_for(score):
    model, feature = make(score=score, gamma=0.02), make_feature(3)
    model.class_names = list('abcdef')
    view = model.with_labels(list('fa'))
    with torch.no_grad():
        torch.testing.assert_close(Exportable(view).head(feature)['logits'], view.head(feature).logits, **CLOSE)
    with pytest.raises(ValueError, match='scores the graphs of its own features alone'):
        view.match(model.graphs(feature))


def test_copies_made_where_labels_are_fixed_are_not_stale():
    model, feature = make(), make_feature(2)
    with torch.no_grad(), model.fixed_labels():
        model.head(feature)
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            for p in other.ilms.parameters():
                p.mul_(1.1)
            before = other.head(feature).logits
            torch.testing.assert_close(other.eval().head(feature).logits, before, **CLOSE)


def test_a_hook_on_a_view_is_its_own():
    model, calls = make(), []
    model.class_names = list('abcdef')
    model.with_labels(['a']).ilms.register_forward_pre_hook(lambda *args: calls.append(1))
    model.match(model.graphs(make_feature(1)))
    assert not calls


@pytest.mark.parametrize('store, name', [(INSTANCE, 'x'), (LABEL, 'n_id')])
def test_a_graph_without_features_or_labels(store, name):
    graph = make().graphs(make_feature(1))[0]
    del graph[store][name]
    with pytest.raises(ValueError, match=rf"the graph must have data\['{store}'\].x"):
        make().match(graph)


@pytest.mark.parametrize('name', ['encoder_channels', 'block_channels'])
def test_a_graph_without_layers_is_refused(name):
    with pytest.raises(ValueError, match=rf"'{name}' must hold at least one size \(got none\)"):
        make_ilms(**{name: ()})

import re

import pytest
import torch

from mlsgm_pyg import models
from mlsgm_pyg.assignment import AssignmentGraph
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.models import MLSGM
from mlsgm_pyg.nn import fast
from mlsgm_pyg.schema import INSTANCE, LABEL, MATCHES, NEAR, RELATED
from tests.slow import slow_block, slow_mlp

SMALL = {'feature_channels': 12, 'encoder_channels': (16, 8), 'hidden_channels': 16, 'block_channels': (16, 8)}


def make(num_labels=6, words=5, seed=0, **options):
    """A small model in float64 whose class maps vary enough that some classes pass gamma and some do not."""
    torch.manual_seed(seed)
    backbone = Backbone('toy', torch.nn.Conv2d(3, 10, 1), 10)
    model = MLSGM(backbone, torch.randn(num_labels, words), **{**SMALL, 'decoder_channels': 8, **options})
    torch.nn.init.normal_(model.csac.classifier.weight, std=0.4)
    torch.nn.init.constant_(model.csac.classifier.bias, -3)
    return model.double().eval()


def make_feature(images=5):
    return torch.randn(images, 10, 4, 5).double()


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_are_those_of_table_viii():
    words = torch.zeros(20, 300)
    model = models.build('ml_sgm', num_labels=20, word_vectors=words, weights='none', prune_last=False)
    assert count(model.backbone) == 42_500_160 and count(model.csac.classifier) == 20_500
    assert count(model.ilms.encoder) == 2_333_952
    assert count(model.ilms.blocks) == 12_762_368
    assert count(model.ilms.decoder) == 33_281
    assert count(model) - count(model.csac.reduce) == 57_650_261  # The printed 57.65 M leaves out the 1x1 convolution.
    assert count(model) == 59_748_437


def slow_scores(model, graph):
    """Eq. 2-15 of one image's graph, node by node and edge by edge, with the concatenations written out."""
    words, x, box = model.word_vectors[graph[LABEL].n_id], graph[INSTANCE].x, graph[INSTANCE].box
    edge_index = {key: graph[key].edge_index for key in (NEAR, RELATED, MATCHES)}
    tables = {NEAR: (box, box), RELATED: (words, words), MATCHES: (x, words)}
    nodes = {
        key: torch.stack([slow_mlp(model.ilms.encoder.nodes[key], row) for row in table])
        for key, table in ((INSTANCE, x), (LABEL, words))
    }
    edges = {}
    for key, (source, target) in tables.items():
        rows = [
            slow_mlp(model.ilms.encoder.edges[key], torch.cat([source[i], target[j]])) for i, j in edge_index[key].t()
        ]
        edges[key] = torch.stack(rows) if rows else source.new_zeros(0, model.ilms.encoder.out_channels)
    for block in model.ilms.blocks:
        nodes, edges = slow_block(block, nodes, edge_index, edges)
    scores = torch.full((len(x), len(words)), -torch.inf, dtype=torch.double)
    for (i, j), edge in zip(edge_index[MATCHES].t().tolist(), edges[MATCHES], strict=True):
        scores[i, j] = model.ilms.decoder(edge)
    return scores.max(0).values, scores


@pytest.mark.parametrize('options', [{}, {'label_graph': 'knn', 'label_k': 2}, {'prune_last': False}])
def test_both_forwards_are_the_equations(options):
    model, feature = make(**options), make_feature(3)
    graph = model.graphs(feature)
    quick, plain = model.match(graph, regular=True), model.match(graph)
    for image, single in enumerate(graph.to_data_list()):
        best, scores = slow_scores(model, single)
        at = slice(*graph[INSTANCE].ptr[image : image + 2].tolist())
        torch.testing.assert_close(quick.match_logits[at], scores, rtol=1e-10, atol=1e-10)
        for out in (quick, plain):
            torch.testing.assert_close(out.logits[image], best, rtol=1e-10, atol=1e-10)


def test_edges_that_someone_else_described_are_taken_as_they_are():
    model, feature = make(), make_feature(3)
    graph, usual = model.graphs(feature), model.graphs(feature)
    graph[NEAR].edge_attr = graph[NEAR].edge_attr.flip(1)
    quick, plain = model.match(graph, regular=True), model.match(graph)
    torch.testing.assert_close(quick.logits, plain.logits, rtol=1e-10, atol=1e-10)
    assert (quick.logits - model.match(usual).logits).abs().max() > 1e-6
    del usual[NEAR].edge_attr  # The boxes say the same.
    torch.testing.assert_close(model.match(usual).logits, model.head(feature).logits, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    'options', [{}, {'label_graph': 'knn', 'label_k': 2}, {'prune_last': False}, {'checkpoint': True}]
)
@pytest.mark.parametrize('blocks', [(8,), (16, 8), (16, 16, 8)])
@pytest.mark.parametrize('chunk', [1, 2**22])
def test_fast_equals_plain_forward_and_gradients(options, blocks, chunk, monkeypatch):
    monkeypatch.setattr(fast, 'CHUNK_ELEMENTS', chunk)
    model = make(**options, block_channels=blocks).train()
    graph = model.graphs(make_feature())
    x = graph[INSTANCE].x = graph[INSTANCE].x.detach().requires_grad_()
    parameters = {key: value for key, value in model.named_parameters() if key.startswith('ilms')}
    results = []
    for regular in (True, False):
        out = model.match(graph, regular)
        loss = out.logits.sin().sum() + out.label_x.cos().sum()
        results.append((out, torch.autograd.grad(loss, [x, *parameters.values()], allow_unused=True)))
    (quick, quick_grads), (plain, plain_grads) = results
    close = {'rtol': 1e-10, 'atol': 1e-10}
    torch.testing.assert_close(quick.logits, plain.logits, **close)
    torch.testing.assert_close(quick.match_logits.flatten(), plain.match_logits, **close)
    torch.testing.assert_close(quick.label_x, plain.label_x, **close)
    for name, a, b in zip(['x', *parameters], quick_grads, plain_grads, strict=True):
        assert (a is None) == (b is None), name
        if a is not None:
            torch.testing.assert_close(a, b, **close, msg=name)


def test_a_batch_equals_its_images_one_by_one():
    model, feature = make(), make_feature()
    together = model.head(feature)
    assert together.instances.ptr.diff().unique().numel() > 1  # Images of different size, or the test says little.
    alone = [model.head(feature[i : i + 1]) for i in range(5)]
    for name in ('logits', 'graph_logits', 'csac_logits', 'match_logits'):
        expected = torch.cat([getattr(out, name) for out in alone])
        torch.testing.assert_close(getattr(together, name), expected, rtol=1e-10, atol=1e-10)


def test_permuting_labels_permutes_scores():
    model, feature, order = make(), make_feature(), torch.randperm(6)
    expected = model.head(feature)
    model.word_vectors.copy_(model.word_vectors[order])
    model.csac.classifier.weight.data = model.csac.classifier.weight.data[order]
    out = model.head(feature)
    torch.testing.assert_close(out.logits, expected.logits[:, order], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(out.csac_logits, expected.csac_logits[:, order], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('images, labels', [(1, 6), (3, 1), (1, 1)])
@pytest.mark.parametrize('gamma', [0.2, 1.0])  # At 1 no class passes: M = 0, x^0 alone.
@pytest.mark.parametrize('label_graph', ['complete', 'knn'])
def test_edge_cases(images, labels, gamma, label_graph):
    model = make(labels, gamma=gamma, label_graph=label_graph)
    out = model.head(make_feature(images))
    assert out.logits.shape == (images, labels) and out.logits.isfinite().all()
    if gamma == 1:
        assert out.match_logits.shape == (images, labels)
        torch.testing.assert_close(out.match_logits, out.logits)
    graph = model.graphs(make_feature(images))
    torch.testing.assert_close(model.match(graph).logits, model.match(graph).logits)


@pytest.mark.parametrize('prune_last', [True, False])
def test_every_parameter_trains(prune_last):
    model = make(prune_last=prune_last).train()
    out = model.head(model.features(torch.rand(5, 3, 4, 5).double()))
    (out.logits.square().sum() + out.csac_logits.square().sum()).backward()
    dead = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    expected = {'near', 'related'} if not prune_last else set()
    assert {name.split('___')[1] for name in dead} == expected  # Table VIII's last block has edges nobody reads.


def test_scores():
    model, feature = make(), make_feature()
    out = model.head(feature)
    assert torch.equal(out.logits, out.graph_logits) and torch.equal(out.score('csac'), out.csac_logits)
    best = torch.stack([part.max(0).values for part in out.match_logits.split(out.instances.ptr.diff().tolist())])
    assert torch.equal(best, out.graph_logits)  # Eq. 15.
    average = (out.graph_logits.sigmoid() + out.csac_logits.sigmoid()) / 2
    torch.testing.assert_close(out.score('average').sigmoid(), average)
    model.score = 'average'
    torch.testing.assert_close(model.head(feature).logits.sigmoid(), average)
    with pytest.raises(ValueError, match=r"'score' must be one of graph, csac, average \(got 'best'\)"):
        out.score('best')


def test_own_labels_and_own_edges():
    model = make()
    graph = model.graphs(make_feature(1))
    expected = model.match(graph, regular=True)
    graph[LABEL].x = model.word_vectors.clone()
    torch.testing.assert_close(model.match(graph).logits, expected.logits)
    del graph[LABEL].x
    graph[MATCHES].edge_index = graph[MATCHES].edge_index.flip(1)
    torch.testing.assert_close(model.match(graph).logits, expected.logits)


@pytest.mark.parametrize('options', [{}, {'label_graph': 'knn', 'label_k': 2}])
def test_no_image(options):
    out = make(**options).head(make_feature(0))
    assert out.logits.shape == (0, 6) and out.match_logits.shape == (0, 6) and out.label_x.shape == (0, 6, 8)


@pytest.mark.parametrize('options', [{}, {'label_graph': 'knn', 'label_k': 2}])
def test_a_subgraph(options):
    model, kept = make(**options), torch.tensor([0, 2, 5])
    graph = model.graphs(make_feature(1))[0]
    part = graph.subgraph({LABEL: kept})
    best, _ = slow_scores(model, part)
    torch.testing.assert_close(model.match(part).logits, best[None], rtol=1e-10, atol=1e-10)
    first = graph.subgraph({INSTANCE: torch.tensor([0])})  # Still complete: x^0 with every label.
    regular = model.match(first, regular=True).logits
    torch.testing.assert_close(model.match(first).logits, regular, rtol=1e-10, atol=1e-10)


def test_stored_attributes():
    model, feature = make(), make_feature(2)
    assign = AssignmentGraph(6, word_vectors=model.word_vectors, materialize=True)
    graph = assign.batch(model.csac.select(feature, model.csac(feature)))
    assert graph[MATCHES].edge_attr.shape == (graph[MATCHES].num_edges, 12 + 5)
    torch.testing.assert_close(model.match(graph).logits, model.head(feature).logits, rtol=1e-10, atol=1e-10)


def test_a_graph_that_was_never_collated():
    model = make()
    graph = model.graphs(make_feature(1))
    for regular in (True, False):
        torch.testing.assert_close(model.match(graph[0], regular).logits, model.match(graph, regular).logits)


def test_inference_streams_label_edges(monkeypatch):
    """No tensor of the whole batch's label edges: the widest is a chunk's."""
    monkeypatch.setattr(fast, 'CHUNK_ELEMENTS', 1)
    model, widest = make(num_labels=20), []
    conv = model.ilms.blocks[1].node_conv(RELATED)
    conv.norm.register_forward_hook(lambda module, args, out: widest.append(out.numel()))
    with torch.no_grad():
        model.head(make_feature())
    assert len(widest) == 20 and max(widest) == 5 * 19 * 16  # One target at a time: images x sources x channels.


def test_fixed_labels_are_computed_once_for_all_batches():
    model, features = make(), [make_feature(3), make_feature(2)]
    calls = []
    model.ilms.encoder.edges[RELATED].norms[0].register_forward_hook(lambda *args: calls.append(1))
    with torch.no_grad():
        expected = [model.head(feature).logits for feature in features]
        assert len(calls) == 2
        with model.fixed_labels():
            out = [model.head(feature).logits for feature in features]
            assert len(calls) == 3
        assert model.ilms._fixed_values is None
        model.head(features[0])
        assert len(calls) == 4
    for a, b in zip(out, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('change', ['train', 'eval', 'load_state_dict', 'float', 'to'])
def test_nothing_stale_outlives_a_change(change):
    model, feature = make(), make_feature(2)
    state = {key: 2 * value if value.is_floating_point() else value for key, value in model.state_dict().items()}
    arguments = {'load_state_dict': (state,), 'to': (torch.float32,)}.get(change, ())
    with torch.no_grad(), model.fixed_labels():
        model.head(feature)
        assert model.ilms._fixed_values is not None
        getattr(model, change)(*arguments)
        assert model.ilms._fixed_values is None
        feature = feature.to(model.word_vectors.dtype)
        out = model.eval().head(feature).logits
    with torch.no_grad():
        torch.testing.assert_close(out, model.head(feature).logits)


def test_loaded_word_vectors_bring_their_neighbours():
    model, other = (make(label_graph='knn', label_k=2, seed=seed) for seed in (0, 1))
    assert not torch.equal(model.ilms.sources, other.ilms.sources)
    model.load_state_dict(other.state_dict())
    assert torch.equal(model.ilms.sources, other.ilms.sources)
    feature = make_feature(2)
    torch.testing.assert_close(model.head(feature).logits, other.head(feature).logits)


def test_fixed_labels_let_gradients_pass():
    model, feature = make(), make_feature(2)
    with model.fixed_labels():
        with torch.no_grad():
            model.head(feature)
        model.head(feature).logits.sum().backward()
    assert model.ilms.encoder.edges[RELATED].first.weight.grad.abs().sum() > 0


def test_a_label_that_nothing_matches_is_absent():
    model = make()
    graph = model.graphs(make_feature(1))
    keep = graph[MATCHES].edge_index[1] != 2
    graph[MATCHES].edge_index = graph[MATCHES].edge_index[:, keep]
    probability = model.match(graph).logits.sigmoid()[0]
    assert probability[2] == 0 and (probability[torch.tensor([0, 1, 3, 4, 5])] > 0).all()


def test_bad_arguments():
    backbone = Backbone('toy', torch.nn.Conv2d(3, 10, 1), 10)
    with pytest.raises(ValueError, match=r"'word_vectors' must hold one row a label, \[C, F\] \(got \[3\]\)"):
        MLSGM(backbone, torch.zeros(3))
    with pytest.raises(ValueError, match=r"'score' must be one of graph, csac, average, blend \(got 'x'\)"):
        MLSGM(backbone, torch.zeros(3, 2), score='x')


def test_the_backbones_own_channels():
    assert make(feature_channels=None).ilms.encoder.nodes[INSTANCE].in_channels == (10,)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::UserWarning')  # Dynamo tells of every place that it leaves to Python.
def test_torch_compile_takes_the_model_as_it_is():
    """The kernels are no part of a compiled graph: their PyTorch versions are."""
    model, feature = make(block_channels=(8,)), make_feature(2)
    compiled = torch.compile(model.head, backend='eager')  # Traces, but needs no compiler.
    with torch.no_grad():
        torch.testing.assert_close(compiled(feature).logits, model.head(feature).logits, rtol=1e-10, atol=1e-10)
    torch._dynamo.reset()


def test_bfloat16_is_near():
    wide = {'feature_channels': 64, 'encoder_channels': (64, 64), 'hidden_channels': 64, 'block_channels': (64, 64)}
    model, feature = make(**wide).float(), make_feature().float()
    expected = model.head(feature)
    with torch.autocast('cpu', torch.bfloat16):
        out = model.match(
            model.ilms.assign.batch(expected.instances), regular=True
        )  # The same instances: a threshold is not smooth.
        whole = model.head(feature)
    error = (out.logits.float() - expected.logits).norm() / expected.logits.norm()
    assert 0 < error < 0.1
    assert whole.logits.isfinite().all() and whole.logits.shape == expected.logits.shape


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::UserWarning')  # Dynamo looks at the gradients of all tensors.
@pytest.mark.parametrize('fixed', [True, False])
def test_compiled_parts_are_the_same_function(fixed, request):
    """Several sizes through one kernel, forward and backward."""
    model = make()
    feature = [make_feature(3), make_feature(4)]
    request.addfinalizer(torch._dynamo.reset)
    if fixed:
        with torch.no_grad():
            expected = [model.head(each).logits for each in feature]
            with model.compile_dense().fixed_labels():
                out = [model.head(each).logits for each in feature]
    else:
        results = []
        for _ in range(2):
            model.zero_grad()
            results.append([model.head(each).logits for each in feature])
            sum(each.sin().sum() for each in results[-1]).backward()
            results[-1] += [p.grad for p in model.parameters() if p.grad is not None]
            model.compile_dense()
        expected, out = results
    for a, b in zip(out, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_graph_dropout_drops_instances_and_the_decoders_hidden_layer():
    model, plain = make(graph_dropout=0.5), make()
    plain.load_state_dict(model.state_dict())
    feature = make_feature()
    torch.testing.assert_close(model.head(feature).logits, plain.head(feature).logits)  # Evaluation drops nothing.

    graph = model.graphs(feature)
    model.train()
    dropped = []
    for module in (model.ilms.dropout, model.ilms.decoder.dropout):
        module.register_forward_hook(lambda module, inputs, output: dropped.append((inputs[0], output)))
    model.match(graph, regular=True)
    instances, hidden = dropped
    torch.testing.assert_close(instances[0], graph[INSTANCE].x)
    assert hidden[0].shape == (len(graph[INSTANCE].x), model.num_labels, 8)
    for before, after in dropped:
        kept = after != 0
        assert 0 < kept.double().mean() < 1
        torch.testing.assert_close(after[kept], 2 * before[kept])  # Scaled, so that means stay what they were.


def test_graph_dropout_is_the_same_in_the_plain_form():
    model = make(graph_dropout=0.5).train()
    model.ilms.decoder.dropout.p = 0.0  # Its draw depends on the layout, [T, C] or [E].
    graph = model.graphs(make_feature())
    outputs = []
    for regular in (True, False):
        torch.manual_seed(7)
        outputs.append(model.match(graph, regular).logits)
    torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-10)


def test_graph_gradient_is_the_share_that_csac_and_what_is_before_it_get():
    feature = make_feature()
    model = make()
    grads, logits = {}, []
    for share in (1.0, 0.25, 0.0):
        model.graph_gradient = share
        model.zero_grad()
        logits.append(model.head(feature).graph_logits)
        logits[-1].sin().sum().backward()
        grads[share] = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    for other in logits[1:]:
        torch.testing.assert_close(other, logits[0], rtol=1e-12, atol=1e-12)
    before = [name for name in grads[1.0] if name.startswith(('backbone', 'csac.classifier'))]
    assert any(grads[1.0][name].abs().max() > 0 for name in before)
    for name, full in grads[1.0].items():
        if name.startswith('csac.reduce'):  # See tests/test_csac.py.
            assert grads[0.0][name].abs().max() > 0
            continue
        for share in (0.25, 0.0):
            expected = share * full if name in before else full
            torch.testing.assert_close(grads[share].get(name, torch.zeros_like(full)), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('csac_input', ['reduced', 'whole'])
@pytest.mark.parametrize('score_pooling', ['max', 'gap'])
@pytest.mark.parametrize('share', [0.0, 1.0])
@pytest.mark.parametrize('csac_loss', [False, True])
def test_every_parameter_that_a_mode_should_train_gets_a_gradient(csac_input, score_pooling, share, csac_loss):
    model = make(csac_input=csac_input, score_pooling=score_pooling, graph_gradient=share, gamma=0.02).train()
    out = model(torch.rand(5, 3, 4, 5).double())
    (out.graph_logits.square().sum() + (out.csac_logits.square().sum() if csac_loss else 0)).backward()
    still = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    left_alone = ('backbone', 'csac.classifier') if share == 0 and not csac_loss else ()
    assert still == {name for name, _ in model.named_parameters() if name.startswith(left_alone or 'none')}


@pytest.mark.parametrize('share', [-0.1, 1.5])
def test_graph_gradient_outside_its_range(share):
    with pytest.raises(ValueError, match=re.escape(f"'graph_gradient' must lie in [0, 1] (got {share})")):
        make(graph_gradient=share)

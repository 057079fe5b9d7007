"""Labels never trained: they listen, trained labels keep their scores, and wrong word vectors are refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from mlsgm_pyg import models
from mlsgm_pyg.assignment import AssignmentGraph, label_sources
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.csac import CSAC, ExtendedCSAC
from mlsgm_pyg.labels import nearest_weights
from mlsgm_pyg.models import MLSGM
from mlsgm_pyg.models.ablations import WithoutCSAC
from mlsgm_pyg.schema import INSTANCE, LABEL, MATCHES, NEAR, RELATED
from mlsgm_pyg.semantics import UnknownNames
from tests.slow import slow_edge_update, slow_mlp, slow_node_conv

SMALL = {'feature_channels': 12, 'encoder_channels': (16, 8), 'hidden_channels': 16, 'block_channels': (16, 8)}
NAMES = ['cat', 'dog', 'traffic light', 'zebra', 'cup']
NEW = ['bus', 'bird', 'boat']


def make(kind=MLSGM, **options):
    """A small model in float64 whose class maps vary enough that some classes pass gamma and some do not."""
    torch.manual_seed(0)
    model = kind(Backbone('toy', torch.nn.Conv2d(3, 10, 1), 10), torch.randn(5, 7), **{**SMALL, **options})
    if kind is MLSGM:
        torch.nn.init.normal_(model.csac.classifier.weight, std=0.4)
        torch.nn.init.constant_(model.csac.classifier.bias, -3)
    model.class_names = list(NAMES)
    return model.double().eval()


@pytest.fixture
def feature():
    return torch.randn(4, 10, 4, 5).double()


@pytest.fixture
def words():
    """Word vectors of the new labels."""
    return torch.randn(3, 7).double()


def scores(model, labels, words, feature, **options):
    """Logits by label; `words` are the new labels' by name."""
    trained = dict(zip(NAMES, model.word_vectors))
    rows = torch.stack([{**trained, **words}[label] for label in labels])
    with torch.no_grad():
        out = model.with_labels(labels, rows, **{'unseen_maps': 'none', **options}).head(feature)
    return dict(zip(labels, out.logits.T))


def test_the_trained_labels_alone_have_the_ordinary_scores(feature):
    model = make()
    with torch.no_grad():
        ordinary = model.head(feature)
        same = model.with_labels(NAMES).head(feature)
        some = model.with_labels(['zebra', 'Traffic_Light', 'cat']).head(feature)
    for name in ('logits', 'graph_logits', 'csac_logits', 'match_logits', 'label_x'):
        assert torch.equal(getattr(ordinary, name), getattr(same, name)), name
        assert torch.equal(getattr(ordinary, name)[:, [3, 2, 0]], getattr(some, name)), name
    assert torch.equal(ordinary.instances.label, some.instances.label)  # All trained classes still select.
    assert len(ordinary.instances.label) > 8


@pytest.mark.parametrize('options', [{}, {'label_graph': 'knn', 'label_k': 2}, {'prune_last': False}])
def test_new_labels_listen(feature, words, options):
    """Trained scores stay as they are, and a new label's does not depend on the others that are asked for."""
    model = make(**options)
    words = dict(zip(NEW, words))
    with torch.no_grad():
        ordinary = dict(zip(NAMES, model.head(feature).logits.T))
    together = scores(model, ['bird', 'dog', 'bus', 'cup', 'boat'], words, feature)
    for name in ('dog', 'cup'):
        torch.testing.assert_close(together[name], ordinary[name], rtol=1e-10, atol=1e-10)
    for name in NEW:
        alone = scores(model, [name], words, feature)[name]
        torch.testing.assert_close(together[name], alone, rtol=1e-10, atol=1e-10)
    assert len({round(together[name][0].item(), 6) for name in NEW}) == 3


@pytest.mark.parametrize('unseen_maps', ['none', 'nearest'])
def test_a_permutation_and_a_batch(feature, words, unseen_maps):
    model, words = make(), dict(zip(NEW, words))
    labels = ['bus', 'cat', 'bird', 'zebra', 'boat']
    first = scores(model, labels, words, feature, unseen_maps=unseen_maps)
    other = scores(model, labels[::-1], words, feature, unseen_maps=unseen_maps)
    one_by_one = [scores(model, labels, words, row[None], unseen_maps=unseen_maps) for row in feature]
    for name in labels:
        torch.testing.assert_close(first[name], other[name], rtol=1e-10, atol=1e-10)
        alone = torch.cat([found[name] for found in one_by_one])
        torch.testing.assert_close(first[name], alone, rtol=1e-10, atol=1e-10)


def slow_open_scores(model, graph, trained):
    """Eq. 2-15 of one image, edge by edge; labels from number `trained` on send nothing."""
    words, x, box = model.word_vectors, graph[INSTANCE].x, graph[INSTANCE].box
    similar = torch.nn.functional.normalize(words, dim=1)
    similar = similar @ similar.T
    related = [
        [j, i]
        for i in range(len(words))
        for j in sorted((j for j in range(trained) if j != i), key=lambda j: -similar[i, j])[: trained - 1]
    ]
    index = {NEAR: graph[NEAR].edge_index, RELATED: torch.tensor(related).T}
    index[MATCHES] = torch.cartesian_prod(torch.arange(len(x)), torch.arange(len(words))).T
    heard = index[MATCHES][1] < trained
    tables = {NEAR: (box, box), RELATED: (words, words), MATCHES: (x, words)}
    node, edge = {}, {}
    for key, table in ((INSTANCE, x), (LABEL, words)):
        node[key] = torch.stack([slow_mlp(model.ilms.encoder.nodes[key], row) for row in table])
    for key, (a, b) in tables.items():
        edge[key] = torch.stack(
            [slow_mlp(model.ilms.encoder.edges[key], torch.cat([a[i], b[j]])) for i, j in index[key].T]
        )
    for block in model.ilms.blocks:
        inst, label = node[INSTANCE], node[LABEL]
        near = slow_node_conv(block.node_conv(NEAR), inst, len(x), index[NEAR], edge[NEAR])
        conv, back = block.node_conv(MATCHES, reverse=True), index[MATCHES][:, heard].flip(0)
        from_labels = slow_node_conv(conv, label, len(x), back, edge[MATCHES][heard])
        from_related = slow_node_conv(block.node_conv(RELATED), label, len(words), index[RELATED], edge[RELATED])
        seen = slow_node_conv(block.node_conv(MATCHES), inst, len(words), index[MATCHES], edge[MATCHES])
        parts = {INSTANCE: (inst, near, from_labels), LABEL: (label, from_related, seen)}
        node = {
            key: torch.stack([slow_mlp(block.node_mlps[key], torch.cat(row)) for row in zip(*value)])
            for key, value in parts.items()
        }
        edge = {
            key: slow_edge_update(block.edge_updates[key], node[key[0]], node[key[2]], index[key], edge[key])
            for key in block.update_edges
        }
    return torch.stack([model.ilms.decoder(row) for row in edge[MATCHES]]).view(len(x), len(words))


@pytest.mark.parametrize('unseen_maps', ['none', 'nearest'])
def test_the_scores_are_the_equations(feature, words, unseen_maps):
    model = make()
    rows = torch.cat([words[:1], model.word_vectors[3:4], words[1:2]])
    asked = model.with_labels(['bus', 'zebra', 'bird'], rows, unseen_maps=unseen_maps)
    assert asked.instance_names == [*NAMES, 'bus', 'bird']
    with torch.no_grad():
        graph = asked.graphs(feature[:1])
        expected = slow_open_scores(asked, graph, trained=5)[:, [5, 3, 6]]
        out = asked.head(feature[:1])
    torch.testing.assert_close(out.match_logits, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(out.logits, expected.max(0, keepdim=True).values, rtol=1e-10, atol=1e-10)


def test_convex_combinations_of_the_nearest():
    base = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    found = nearest_weights(torch.tensor([[3.0, 4.0], [-5.0, 0.0]]), base, 2)
    expected = [[3 / 7, 4 / 7, 0], [0, 0, 1]]  # Cosines 0.6, 0.8 and -0.6; then -1, 0 and 1.
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=2e-6)
    assert nearest_weights(base[:, [1, 0]], base, 1).sum(1).tolist() == [1, 1, 1]
    torch.testing.assert_close(nearest_weights(base, base, 9).sum(1), torch.ones(3))
    with pytest.raises(ValueError, match=r"'num_nearest' must be a whole number, at least 1 \(got 0\)"):
        nearest_weights(base, base, 0)


def test_maps_of_new_labels_select_beside_the_trained_ones():
    torch.manual_seed(0)
    csac = CSAC(6, 4, None, gamma=0.0, max_instances=2)
    torch.nn.init.normal_(csac.classifier.weight)
    weights = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 1.0, 0], [0.2, 0.3, 0.4, 0.1]])
    feature = torch.randn(3, 6, 3, 3)
    more = ExtendedCSAC(csac, weights)
    out, plain = more(feature), csac(feature)
    assert torch.equal(out.maps[:, :4], plain.maps)
    classifier = torch.nn.functional.conv2d(feature, (weights @ csac.classifier.weight.flatten(1))[..., None, None])
    bias = weights @ csac.classifier.bias
    torch.testing.assert_close(out.maps[:, 4:], classifier + bias.view(-1, 1, 1))
    found, before = more.select(feature, out), csac.select(feature, plain)
    for image in range(3):
        labels = found.label[found.batch == image].tolist()
        trained = [label for label in labels if label < 4]
        assert trained == before.label[before.batch == image].tolist()  # x^0 and the two best, in their order.
        order = sorted(range(4, 7), key=lambda c: -out.logits[image, c])
        assert [label for label in labels if label >= 4] == order[:2]
        assert found.score[found.batch == image].tolist() == sorted(found.score[found.batch == image], reverse=True)


def test_new_maps_make_instances_and_scores(feature, words):
    model = make(gamma=0.01, max_instances=2)
    rows = torch.cat([words[:2], model.word_vectors[:1]])
    labels = ['bus', 'bird', 'cat']
    none, nearest = (model.with_labels(labels, rows, unseen_maps=how) for how in ('none', 'nearest'))
    with torch.no_grad():
        ordinary, without, with_maps = model.head(feature), none.head(feature), nearest.head(feature)
    assert set(without.instances.label.tolist()) == set(ordinary.instances.label.tolist())
    assert {5, 6} <= set(with_maps.instances.label.tolist())
    assert none.score_names == ('graph',) and without.csac_logits is None
    assert with_maps.csac_logits.shape == (4, 3) and 'average' in nearest.score_names
    assert torch.equal(with_maps.csac_logits[:, 2], ordinary.csac_logits[:, 0])
    assert (
        torch.equal(none.maps(feature)[:, 2], model.maps(feature)[:, 0]) and none.maps(feature)[:, :2].abs().max() == 0
    )
    assert nearest.maps(feature)[:, :2].min() > 0


def test_parameters_are_the_trained_ones_and_all_of_them_learn(feature, words):
    model = make()
    asked = model.with_labels(NEW, words, unseen_maps='nearest')
    mine, theirs = (dict(one.named_parameters()) for one in (asked, model))
    assert mine.keys() == theirs.keys() and all(mine[key] is theirs[key] for key in mine)
    out = asked.train().head(feature)
    (out.logits.square().sum() + out.csac_logits.square().sum()).backward()
    assert all(p.grad is not None for key, p in mine.items() if not key.startswith('backbone.'))
    again = asked.with_labels(['zebra'])
    assert again.trained is model and again.class_names == ['zebra']


def test_word_dropout_acts_in_training_alone(feature):
    model = make(word_dropout=0.5)
    with torch.no_grad():
        assert torch.equal(model.head(feature).logits, make().head(feature).logits)
        model.train()
        graph = model.graphs(feature)
        torch.manual_seed(1)
        fast = model.match(graph, regular=True).logits
        torch.manual_seed(1)
        plain = model.match(graph).logits
        torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-10)
        assert not torch.allclose(fast, model.match(graph).logits)  # Another draw.


def test_other_instances_and_fixed_labels(feature, words):
    model = make(WithoutCSAC)
    asked = model.with_labels(NEW, words, unseen_maps='none')
    with torch.no_grad():
        expected = asked.head(feature).logits
        with asked.fixed_labels():
            for _ in range(2):
                torch.testing.assert_close(asked.head(feature).logits, expected, rtol=1e-10, atol=1e-10)
    with pytest.raises(ValueError, match="unseen_maps='nearest' combines class maps, and this model has none"):
        model.with_labels(NEW, words, unseen_maps='nearest')


@pytest.mark.parametrize(('kind', 'score'), [(MLSGM, 'graph'), (MLSGM, 'average'), (WithoutCSAC, 'graph')])
def test_a_new_label_is_its_nearest_trained_one(feature, words, kind, score):
    """Its score, its box and its map; trained ones are what they are."""
    model = make(kind)
    model.score = score
    view = model.with_labels([*NEW, 'cat'], torch.cat([words, model.word_vectors[NAMES.index('cat')][None]]))
    cosine = torch.nn.functional.cosine_similarity(words[:, None], model.word_vectors[None], dim=-1)
    places = [*cosine.argmax(1).tolist(), NAMES.index('cat')]
    with torch.no_grad():
        expected, found = model.head(feature), view.head(feature)
        torch.testing.assert_close(found.logits, expected.logits[:, places], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(found.match_logits, expected.match_logits[:, places], rtol=1e-10, atol=1e-10)
        assert torch.equal(found.instances.box, expected.instances.box)
        if kind is MLSGM:
            torch.testing.assert_close(view.maps(feature), model.maps(feature)[:, places])
    assert view.class_names == [*NEW, 'cat'] and view.instance_names == NAMES


def test_the_label_graph_of_senders():
    words = torch.tensor([[1.0, 0], [0, 1], [1, 1], [2, 1.9], [-1, 0.1]])
    complete = label_sources(words, num_senders=3)
    assert complete.tolist() == [[2, 1], [2, 0], [0, 1], [2, 0], [1, 2]]
    edges = AssignmentGraph(5, sources=complete).label_edges
    assert edges[1].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4] and torch.equal(edges[0], complete.flatten())
    assert label_sources(words, 'knn', 1, num_senders=3).tolist() == [[2], [2], [0], [2], [1]]
    assert label_sources(words) is None  # All others.


@pytest.fixture
def source(tmp_path):
    """A file of word vectors, and a model in float32 that was trained on some of them."""
    table = np.random.default_rng(0).normal(size=(8, 7)).astype(np.float32)
    path = tmp_path / 'words.npz'
    np.savez(path, names=[*NAMES, *NEW], vectors=table)
    model = make().float()
    model.word_vectors.copy_(torch.from_numpy(table[:5]))
    model.config = {'semantics': {'source': str(path)}, 'data': {'image_size': 8}}
    return model, table, path


def test_vectors_are_looked_up_where_training_found_them(source, feature):
    model, table, path = source
    feature = feature.float()
    own = {'unseen_maps': 'none'}
    asked = model.with_labels(['boat', 'cat', 'bus'], **own)
    assert torch.equal(asked.word_vectors[5:], torch.from_numpy(table[[7, 5]]))
    rows = torch.from_numpy(table[[7, 0, 5]])
    with torch.no_grad():
        given = model.with_labels(['boat', 'cat', 'bus'], rows, **own).head(feature).logits
        assert torch.equal(asked.head(feature).logits, given)
    some = path.with_name('some.npz')  # It need not have the trained labels.
    np.savez(some, names=['bus', 'dog'], vectors=table[[5, 1]])
    asked = model.with_labels(['bus'], semantics=some, **own)
    assert torch.equal(asked.word_vectors[5:], torch.from_numpy(table[[5]]))


def test_predict_says_what_the_model_of_these_labels_says(source):
    model, _, _ = source
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    model.csac.gamma = 0.01
    ordinary = model.predict(image, threshold=0.0)[0]
    same, some = (
        model.predict(image, labels=NAMES, threshold=0.0)[0],
        model.predict(image, labels=['Zebra', 'dog'], maps=True, threshold=0.0)[0],
    )
    assert same == ordinary and sorted(some.labels) == ['Zebra', 'dog'] and some.instances == ordinary.instances
    found = model.predict([image], labels=['bus', 'cat'], maps=True, top_k=2, unseen_maps='none', threshold=0.0)[0]
    p = dict(zip(ordinary.labels, ordinary.probabilities))
    at = dict(zip(found.labels, range(2)))
    assert found.probabilities[at['cat']] == pytest.approx(p['cat'], abs=1e-5)
    assert found.instances == ordinary.instances and found.maps[at['bus']].abs().max() == 0
    assert {one.label for one in found.instances} <= {None, *NAMES} and len(found.instances) > 1
    new = model.predict(image, labels=['bus'], unseen_maps='nearest', threshold=0.0)[0]
    assert 'bus' in [one.label for one in new.instances]
    assert not model.training
    model.train()
    model.predict(image, labels=['bus'], threshold=0.0)
    assert model.training and model.ilms.encoder.training


def test_wrong_labels_and_options(source, words):
    model, _, _ = source

    def message(*args, **options):
        with pytest.raises(ValueError) as error:
            model.with_labels(*args, **options)
        return str(error.value)

    assert message('cat') == "'labels' must be a list of at least one name (got 'cat')"
    assert message([]) == "'labels' must be a list of at least one name (got [])"
    assert message(['bus', ' ']) == "'labels' must be a list of at least one name (got ['bus', ' '])"
    assert message(['bus', 'Bus', 'cat']) == "'labels' must differ (got 'bus', 'Bus')"
    assert message(['bus'], unseen_maps='nearst').startswith(
        "'unseen_maps' must be one of label, none, nearest (got 'nearst')"
    )
    assert message(['bus'], unseen_maps='nearest', num_nearest=2.5).endswith('at least 1 (got 2.5)')
    assert (
        message(['bus'], unseen_maps='nearest', num_nearest=0)
        == "'num_nearest' must be a whole number, at least 1 (got 0)"
    )
    assert message(['bus'], torch.zeros(1, 6)).endswith('expected shape [1, 7] (got [1, 6])')
    other = message(['bus', 'dog'], torch.zeros(2, 7))
    assert other.startswith("'word_vectors' must give the word vectors that the model was trained with: it has others")
    assert other.endswith("for 1 of 1 trained labels, first 'dog'")
    model.score = 'average'
    told = "the score 'average' needs a class map of every label: take unseen_maps='label' or 'nearest', or a"
    assert message(['bus'], unseen_maps='none').startswith(told)
    assert model.with_labels(['cat']).score == 'average'
    with pytest.raises(ValueError, match='scores the graphs of its own features alone'):
        asked = make().with_labels(NEW, words, unseen_maps='none')
        asked.match(make().graphs(torch.randn(1, 10, 4, 5).double()))


def test_word_vectors_from_elsewhere(source, tmp_path):
    model, table, path = source

    def message(labels, **options):
        with pytest.raises(ValueError) as error:
            model.with_labels(labels, **options)
        return error

    unknown = message(['bus', 'unicycle', 'cat', 'quokka'])
    assert unknown.type is UnknownNames and unknown.value.names == ['unicycle', 'quokka']
    assert "has no word vector for 2 of 3 class names: 'unicycle', 'quokka'" in str(unknown.value)
    other = tmp_path / 'other.npz'
    np.savez(other, names=['bus', 'cat', 'dog'], vectors=table[[5, 0, 2]])
    assert str(message(['bus'], semantics=other).value) == (
        f"'{other}' must give the word vectors that the model was trained with: it has others for 1 of 2 trained "
        "labels, first 'dog'"
    )
    np.savez(other, names=['bus'], vectors=table[[5], :4])
    told = f"'{other}' has vectors of 4 numbers; the model was trained on 7 a word"
    assert str(message(['bus'], semantics=other).value) == told
    assert str(message(['bus'], semantics='onehot').value).startswith("'onehot' says nothing of a label")
    lost = str(message(['bus'], semantics=tmp_path / 'lost.npz').value)
    assert lost.startswith("new labels need the file that the model's word vectors came from (semantics=PATH): No file")
    model.config = None
    assert str(message(['bus']).value) == (
        "new labels need word vectors: say where the model's came from (semantics=SOURCE)"
    )


def test_models_whose_labels_are_fixed():
    model = models.build('baseline', num_labels=4, backbone='resnet18', weights='none')
    with pytest.raises(
        ValueError, match="'labels' needs a model that scores words, such as ml_sgm: a PooledLinear has weights"
    ):
        model.predict(Image.new('RGB', (8, 8)), labels=['bus'])
    assert make().with_labels(['cat']).class_names == ['cat']

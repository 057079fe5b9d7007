import pytest
import torch

from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.csac import CSAC
from mlsgm_pyg.knn import knn_edges
from mlsgm_pyg.models import MLSGM, Ablation, WithoutCSAC
from mlsgm_pyg.schema import INSTANCE
from tests.models.test_ml_sgm import slow_scores
from tests.slow import slow_block, slow_mlp

SMALL = {'feature_channels': 12, 'encoder_channels': (16, 8), 'hidden_channels': 16, 'block_channels': (16, 8)}
SMALL['decoder_channels'] = 8
ROWS = {
    2: ['csac'],
    3: ['csac', 'instance_graph'],
    4: ['label_graph'],
    5: ['instance_graph', 'label_graph'],
    6: ['label_graph', 'instance_graph', 'csac'],
}


def make(parts=None, num_labels=6, **options):
    """A row of Table VII, or, without parts, Table IX's 'w/o CASC'; some classes pass gamma and some do not."""
    backbone = Backbone('toy', torch.nn.Conv2d(3, 10, 1), 10)
    kind, options = (WithoutCSAC, options) if parts is None else (Ablation, {'parts': parts, **options})
    model = kind(backbone, torch.randn(num_labels, 5), **SMALL, **options)
    if isinstance(model.csac, CSAC):
        torch.nn.init.normal_(model.csac.classifier.weight, std=0.4)
        torch.nn.init.constant_(model.csac.classifier.bias, -3)
    return model.double().eval()


def slow_stack(stack, x, table, edge_index):
    """Eq. 5-13 of one graph alone, node by node and edge by edge; the last block's edges are never read."""
    node, edge = stack.node_type, stack.edge_type
    x = torch.stack([slow_mlp(stack.encoder.nodes[node], row) for row in x])
    rows = [slow_mlp(stack.encoder.edges[edge], torch.cat([table[i], table[j]])) for i, j in edge_index.t()]
    edges = torch.stack(rows) if rows else x.new_zeros(0, stack.encoder.out_channels)
    for block in stack.blocks:
        new, updated = slow_block(block, {node: x}, {edge: edge_index}, {edge: edges})
        x, edges = new[node], updated.get(edge)
    return x


@pytest.mark.parametrize('options', [{}, {'label_graph': 'knn', 'label_k': 2, 'grid': 2, 'pooling': 'sum'}])
@pytest.mark.parametrize('row', ROWS)
def test_a_row_is_its_equations(row, options):
    model, feature = make(ROWS[row], **options), torch.randn(3, 10, 4, 5).double()
    out = model.head(feature)
    label = None
    if row >= 4:
        source = [(j, i) for i in range(6) for j in range(6) if i != j]
        edges = torch.tensor(source).t() if not options else model.label_edges
        label = slow_stack(model.label_stack, model.word_vectors, model.word_vectors, edges)
        torch.testing.assert_close(out.label_x, label.expand(3, -1, -1), rtol=1e-10, atol=1e-10)
    for image in range(3):
        one = feature[image : image + 1]
        reduced, found = model.csac.reduce(one), model.csac.select(one, model.csac(one))
        x = found.x
        if row == 4:  # The whole image alone.
            pooled = reduced.mean((2, 3)) if not options else reduced.sum((2, 3))
            torch.testing.assert_close(x, pooled, rtol=1e-10, atol=1e-10)
            x = slow_mlp(model.encoder, x[0])[None]
        elif row > 2:
            near = knn_edges(found.centre, found.ptr, 3, found.sizes)
            x = slow_stack(model.instance_stack, x, found.box, near)
        for c in range(6):
            if label is None:
                scores = [model.classifier.weight[c] @ row + model.classifier.bias[c] for row in x]
            else:
                scores = [model.decoder(torch.cat([row, label[c]])) for row in x]
            torch.testing.assert_close(out.logits[image, c], torch.stack(scores).max(), rtol=1e-10, atol=1e-10)


def test_instances_are_those_of_the_row():
    feature = torch.randn(4, 10, 4, 5).double()
    sizes = {row: make(parts).head(feature).instances.ptr.diff() for row, parts in ROWS.items()}
    assert sizes[4].tolist() == [1] * 4 and sizes[5].tolist() == [10] * 4
    for row in (2, 3, 6):
        assert sizes[row].unique().numel() > 1  # CSAC's.
    assert make().head(feature).instances.ptr.diff().tolist() == [10] * 4
    assert make(grid=2).head(feature).instances.ptr.diff().tolist() == [5] * 4


def test_without_csac_is_ml_sgm_on_a_grid():
    model, feature = make(), torch.randn(2, 10, 4, 5).double()
    out, graph = model.head(feature), model.graphs(feature)
    for image, single in enumerate(graph.to_data_list()):
        best, _ = slow_scores(model, single)
        torch.testing.assert_close(out.logits[image], best, rtol=1e-10, atol=1e-10)
    assert isinstance(model, MLSGM) and graph[INSTANCE].num_nodes == 20
    with model.fixed_labels(), torch.no_grad():
        torch.testing.assert_close(model.head(feature).logits, out.logits)


def test_scores():
    model, feature = make(ROWS[6], score='average'), torch.randn(2, 10, 4, 5).double()
    out = model.head(feature)
    assert model.score_names == ('graph', 'csac', 'average') and make(ROWS[5]).score_names == ('graph',)
    mean = (out.graph_logits.sigmoid() + out.csac_logits.sigmoid()) / 2
    torch.testing.assert_close(out.logits.sigmoid(), mean)
    without = make(ROWS[5]).head(feature)
    assert without.csac_logits is None and torch.equal(without.logits, without.graph_logits)
    with pytest.raises(ValueError, match=r"this model has no class maps: its one score is 'graph' \(got 'csac'\)"):
        without.score('csac')


@pytest.mark.parametrize('row', [2, 4, 5, 6, None])
def test_permuting_labels_permutes_scores(row):
    model, feature = make(ROWS.get(row), num_labels=6), torch.randn(3, 10, 4, 5).double()
    order = torch.randperm(6)
    expected = model.head(feature).logits
    with torch.no_grad():
        if row != 2:
            model.word_vectors.copy_(model.word_vectors[order])
        layers = [model.csac.classifier] if isinstance(model.csac, CSAC) else []
        for layer in [*layers, *([model.classifier] if row == 2 else [])]:
            layer.weight.copy_(layer.weight[order])
            layer.bias.copy_(layer.bias[order])
    torch.testing.assert_close(model.head(feature).logits, expected[:, order], rtol=1e-10, atol=1e-10)


def test_loaded_word_vectors_bring_their_neighbours():
    model, other = (make(ROWS[6], label_graph='knn', label_k=2) for _ in range(2))
    assert not torch.equal(model.label_edges, other.label_edges)
    model.load_state_dict(other.state_dict())
    feature = torch.randn(2, 10, 4, 5).double()
    torch.testing.assert_close(model.head(feature).logits, other.head(feature).logits)


def test_errors():
    with pytest.raises(
        ValueError, match=r"'parts' must name some of csac, instance_graph, label_graph \(got none, whi"
    ):
        make([])
    with pytest.raises(ValueError, match=r"'parts' must be one of .* \(got 'label'\) \(did you mean 'label_graph'\?\)"):
        make(['label'])
    with pytest.raises(ValueError, match=r"'score' must be one of graph \(got 'csac'\)"):
        make(ROWS[5], score='csac')

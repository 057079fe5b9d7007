import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.loader import DataLoader

from mlsgm_pyg.assignment import AssignmentGraph, label_sources, most_similar, relative_boxes
from mlsgm_pyg.csac import Instances
from mlsgm_pyg.regions import grid_centres
from mlsgm_pyg.schema import INSTANCE, LABEL, MATCHES, NEAR, RELATED


def make_instances(sizes, channels=6):
    total, ptr = sum(sizes), torch.tensor([0, *sizes]).cumsum(0)
    corner = torch.rand(total, 2).mul(4).floor() / 4
    return Instances(
        x=torch.randn(total, channels),
        box=torch.cat([corner, (torch.rand(total, 2) * (1 - corner)).mul(4).floor() / 4], dim=1),  # Centres coincide.
        label=torch.randint(-1, 5, (total,)),
        score=torch.rand(total),
        batch=torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)),
        ptr=ptr,
    )


def one_by_one(transform, instances, y):
    """Every image's graph through the transform."""
    graphs = []
    for image in range(len(instances.ptr) - 1):
        at, data = slice(*instances.ptr[image : image + 2].tolist()), HeteroData()
        if y is not None:
            data.y = y[image : image + 1]
        for name in ('x', 'box', 'label', 'score', *(['centre'] if instances.centre is not None else [])):
            data[INSTANCE][name] = getattr(instances, name)[at]
        graphs.append(transform(data))
    return graphs


def assert_same(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b)
    else:
        assert a == b


def stores(data):
    return {str(store._key): dict(store.items()) | vars(store).get('_mapping', {}) for store in data.stores}


OPTIONS = [
    {},
    {'k': 1},
    {'label_graph': 'knn', 'label_k': 2},
    {'label_graph': 'knn', 'label_k': 99},
    {'materialize': True},
]


@pytest.mark.parametrize('options', OPTIONS)
@pytest.mark.parametrize('sizes', [[1], [1, 1], [5], [3, 1, 12, 2]])
@pytest.mark.parametrize('with_y', [True, False])
@pytest.mark.parametrize('with_words', [True, False])
def test_a_batch_is_the_collated_transforms_field_by_field(options, sizes, with_y, with_words):
    words = torch.randn(5, 3)
    transform = AssignmentGraph(5, word_vectors=words, **options) if with_words else AssignmentGraph(
        5, k=options.get('k', 3), sources=label_sources(words, options.get('label_graph', 'complete'), 2)
    )  # fmt: skip
    instances, y = make_instances(sizes), torch.randint(-1, 2, (len(sizes), 5)) if with_y else None
    if not with_words:  # CSAC's, on a map's grid.
        instances = instances._replace(centre=grid_centres(instances.box, 4, 4))
    graphs = one_by_one(transform, instances, y)
    batch, expected = transform.batch(instances, y), Batch.from_data_list(graphs)
    assert_same(stores(batch), stores(expected))
    assert batch.num_graphs == expected.num_graphs
    assert_same(batch._slice_dict, expected._slice_dict)
    assert_same(batch._inc_dict, expected._inc_dict)
    for got, graph in zip(batch.to_data_list(), graphs, strict=True):
        assert_same(stores(got), stores(graph))
    assert_same(stores(batch[len(sizes) - 1]), stores(graphs[-1]))
    loaded = next(iter(DataLoader(graphs, batch_size=len(graphs))))
    assert_same(stores(batch), stores(loaded))
    assert str(batch).startswith('HeteroDataBatch(')


def test_edges_by_hand():
    transform = AssignmentGraph(2, k=1)
    assert str(transform) == 'AssignmentGraph(2, k=1, label_graph=complete)'
    data = HeteroData()
    data[INSTANCE].x = torch.zeros(3, 4)
    data[INSTANCE].box = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2]])
    data = transform(data)  # Centres 0.5, 0.1 and 0.6.
    assert data[NEAR].edge_index.tolist() == [[2, 0, 0], [0, 1, 2]]
    expected = torch.tensor([0.5, 0.5, 0.2, 0.2, 0.0, 0.0, 1.0, 1.0])  # Eq. 2: source's box, target's box.
    assert torch.equal(data[NEAR].edge_attr[0], expected)
    assert data[RELATED].edge_index.tolist() == [[1, 0], [0, 1]]
    assert data[MATCHES].edge_index.tolist() == [[0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]]
    assert data[LABEL].n_id.tolist() == [0, 1] and data[LABEL].num_nodes == 2
    data.validate()


def test_materialized_attributes_are_equations_3_and_4():
    words = torch.randn(3, 2)
    batch = AssignmentGraph(3, word_vectors=words, materialize=True).batch(make_instances([2, 3]))
    for key, table in ((RELATED, words.repeat(2, 1)), (MATCHES, batch[INSTANCE].x)):
        for edge, (i, j) in enumerate(batch[key].edge_index.t().tolist()):
            assert torch.equal(batch[key].edge_attr[edge], torch.cat([table[i], words[j % 3]]))


def test_most_similar_labels():
    words = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 3.0], [0.0, 1.0], [-1.0, 0.0]])
    assert most_similar(words, 2).tolist() == [[1, 2], [0, 2], [3, 1], [2, 1], [2, 3]]  # 2 and 3 point the same way.
    assert most_similar(words, 9).shape == (5, 4)
    assert most_similar(words[:1], 3).shape == (1, 0)


def test_one_label_has_no_label_edges():
    assert AssignmentGraph(1).batch(make_instances([2, 1]))[RELATED].edge_index.shape == (2, 0)


def test_gradients_pass_through_the_features():
    instances = make_instances([2, 3])
    x = instances.x.requires_grad_()
    AssignmentGraph(3).batch(instances)[INSTANCE].x.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_other_peoples_instances_keep_their_fields():
    data = HeteroData()
    data[INSTANCE].x, data[INSTANCE].box, data[INSTANCE].name = torch.zeros(1, 2), torch.zeros(1, 4), ['detector']
    assert AssignmentGraph(3)(data)[INSTANCE].name == ['detector']


@pytest.mark.parametrize(
    'options, message',
    [
        ({'label_graph': 'tree'}, r"'label_graph' must be one of complete, knn \(got 'tree'\)"),
        ({'label_graph': 'knn'}, r"'label_graph=knn' and 'materialize' need 'word_vectors' \(got none\)"),
        ({'num_labels': 0}, r"'num_labels' must be a whole number, at least 1 \(got 0\)"),
        ({'num_labels': -1}, r"'num_labels' must be a whole number, at least 1 \(got -1\)"),
        ({'k': -1}, r"'k' must be a whole number, at least 0 \(got -1\)"),
        ({'k': 1.5}, r"'k' must be a whole number, at least 0 \(got 1\.5\)"),
        ({'label_k': -2}, r"'label_k' must be a whole number, at least 0 \(got -2\)"),
        ({'materialize': True}, r"need 'word_vectors'"),
        ({'word_vectors': torch.zeros(2, 3)}, r"'word_vectors' must hold 4 rows, one a label \(got 2\)"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        AssignmentGraph(**{'num_labels': 4, **options})


def test_another_kind_of_graph():
    message = r"the graph must be a HeteroData with data\['instance'\].x and data\['instance'\].box \(got Data\)"
    with pytest.raises(ValueError, match=message):
        AssignmentGraph(4)(Data(x=torch.zeros(2, 3)))


def test_bad_instances():
    data = HeteroData()
    data[INSTANCE].box = torch.zeros(2, 4)
    with pytest.raises(ValueError, match=r"the graph must have data\['instance'\].x \(got \['box'\]\)"):
        AssignmentGraph(4)(data)
    data[INSTANCE].x, data[INSTANCE].box = torch.zeros(3, 2), torch.zeros(2, 4)
    message = (
        r"'box' must hold one \(x, y, w, h\) per instance: expected shape \[3, 4\] for 3 instances \(got \[2, 4\]\)"
    )
    with pytest.raises(ValueError, match=message):
        AssignmentGraph(4)(data)
    data[INSTANCE].box = torch.zeros(3, 4, dtype=torch.long)
    with pytest.raises(ValueError, match=r"parts of the image's size, in \[0, 1\] \(got torch.int64\)"):
        AssignmentGraph(4)(data)
    for bad in (torch.nan, torch.inf):
        data[INSTANCE].box = torch.zeros(3, 4)
        data[INSTANCE].box[1, 2] = bad
        message = rf"'box' must hold finite numbers \(got \[0\.0, 0\.0, {bad}, 0\.0\] for instance 1\)"
        with pytest.raises(ValueError, match=message):
            AssignmentGraph(4)(data)
    data[INSTANCE].x, data[INSTANCE].box = torch.zeros(0, 2), torch.zeros(0, 4)
    with pytest.raises(
        ValueError, match=r"'x' must hold the features of at least one instance, \[N, D\] \(got \[0, 2\]\)"
    ):
        AssignmentGraph(4)(data)


def test_labels_have_their_word_vectors():
    words = torch.randn(3, 2)
    data = HeteroData()
    data[INSTANCE].x, data[INSTANCE].box = torch.zeros(2, 4).double(), torch.zeros(2, 4)
    assert 'x' not in AssignmentGraph(3)(data.clone())[LABEL]
    one = AssignmentGraph(3, word_vectors=words)(data)
    assert torch.equal(one[LABEL].x, words.double())  # In the type of the instances.
    assert torch.equal(
        AssignmentGraph(3, word_vectors=words).batch(make_instances([1, 2]))[LABEL].x, words.repeat(2, 1)
    )


@pytest.mark.parametrize(
    'box', [[30.0, 40.0, 50.0, 60.0], [0.5, 0.5, 0.9, 0.9], [-0.1, 0.0, 0.5, 0.5], [0.9, 0.0, 0.2, 0.1]]
)
def test_pixels_and_corners_are_no_boxes(box):
    """As a detector gives them; neighbours and Eq. 2 would be of something else."""
    data = HeteroData()
    data[INSTANCE].x, data[INSTANCE].box = torch.zeros(2, 4), torch.tensor([[0.0, 0.0, 1.0, 1.0005], box])
    with pytest.raises(ValueError) as error:
        AssignmentGraph(3)(data)
    assert str(error.value) == (
        "'box' must hold (x, y, w, h) within the image, as parts of the image's size; relative_boxes() makes them of "
        f'corners or pixels (got {data[INSTANCE].box[1].tolist()} for instance 1)'
    )


@pytest.mark.parametrize(
    'box_format, box', [('xyxy', [10, 20, 60, 80]), ('xywh', [10, 20, 50, 60]), ('cxcywh', [35, 50, 50, 60])]
)
def test_a_detectors_boxes(box_format, box):
    relative = relative_boxes(torch.tensor([box]).float(), height=200, width=100, box_format=box_format)
    torch.testing.assert_close(relative, torch.tensor([[0.1, 0.1, 0.5, 0.3]]))
    data = HeteroData()
    data[INSTANCE].x, data[INSTANCE].box = torch.zeros(1, 4), relative
    AssignmentGraph(3)(data)
    message = r'within the image, in an image of 50 x 40 pixels \(got \[.*\] for instance 0\)'
    with pytest.raises(ValueError, match=message):
        relative_boxes(torch.tensor([box]).float(), height=40, width=50, box_format=box_format)
    with pytest.raises(ValueError, match=r"'box_format' must be one of xyxy, xywh, cxcywh \(got 'yxyx'\)"):
        relative_boxes(torch.zeros(1, 4), 1, 1, 'yxyx')

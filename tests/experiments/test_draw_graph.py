"""The drawn graph: which edges, and that nodes and lines are where they should be."""

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import draw_graph
from experiments.drawing.boxes import COLOURS, PANEL
from mlsgm_pyg.tagger import Instance, Prediction

SIZE = 400, 320
BOXES = [(0.0, 0.0, 400.0, 320.0), (20.0, 20.0, 80.0, 60.0), (300.0, 200.0, 60.0, 80.0)]


def found(**other):
    names = None, 'dog', 'cat'
    instances = [Instance(name, 0.9, box) for name, box in zip(names, BOXES)]
    match = torch.tensor([[0.2, 0.05], [0.9, 0.02], [0.5, 0.6]])
    near = torch.tensor([[1, 2, 0, 0], [0, 0, 1, 2]])
    boxes = [BOXES[1], BOXES[2]]
    about = {'labels': ['dog', 'cat'], 'probabilities': [0.9, 0.6], 'best': [1, 2], 'boxes': boxes, 'size': SIZE}
    return Prediction(**about | {'instances': instances, 'match': match, 'near': near} | other)


def test_which_edges_are_drawn():
    """Each label's best, whatever its probability, then others from 0.1 on, the strongest first."""
    edges = [(edge.instance, edge.label, edge.is_best) for edge in draw_graph.strongest(found(), 2)]
    assert edges == [(1, 0, True), (2, 1, True), (2, 0, False), (0, 0, False)]
    assert [edge[:2] for edge in draw_graph.strongest(found(), 2, most=1)] == [(1, 0), (2, 1), (2, 0)]
    assert [edge[:2] for edge in draw_graph.strongest(found(), 1)] == [(1, 0), (2, 0), (0, 0)]
    weak = found(match=torch.full((3, 2), 0.01))
    assert len(draw_graph.strongest(weak, 2)) == 2


def test_edges_of_neighbours():
    assert draw_graph.near_pairs(found()) == [(0, 1, True), (0, 2, True)]
    one_way = found(near=torch.tensor([[2, 0, 1], [1, 1, 0]]))
    assert draw_graph.near_pairs(one_way) == [(0, 1, True), (2, 1, False)]
    assert draw_graph.near_pairs(found(near=None)) == []


def near(image, colour, at, radius=4):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    x, y = map(round, at)
    part = np.asarray(image)[max(y - radius, 0) : y + radius + 1, x - radius : x + radius + 1].astype(int)
    return (abs(part - rgb) < 30).all(2).sum()


@pytest.mark.parametrize('orientation', [1, 6])
def test_nodes_and_edges_lie_where_they_are(orientation):
    one = found()
    if orientation == 6:  # Stored (s, t) = (v, W - u) for upright (u, v).
        stored = [
            Instance(i.label, i.score, (b[1], 400 - b[0] - b[2], b[3], b[2])) for i, b in zip(one.instances, BOXES)
        ]
        one = found(instances=stored, size=SIZE[::-1], orientation=6)
    drawn = draw_graph.draw_graph(Image.new('RGB', SIZE, '#808080'), one)
    assert drawn.width == SIZE[0] + PANEL
    for (x, y, w, h), colour in zip(BOXES, ('#222222', *COLOURS)):
        assert near(drawn, colour, (x + w / 2 - 6, y + h / 2 + 6), 1) > 3  # Beside the number.
    assert near(drawn, COLOURS[0], (SIZE[0] + 44, 26)) > 60 and near(drawn, COLOURS[1], (SIZE[0] + 44, 70)) > 60
    middle = (60 + 444) / 2, (50 + 26) / 2  # Of the curve from the dog to its name.
    assert near(drawn, COLOURS[0], middle) > 15
    without = draw_graph.draw_graph(Image.new('RGB', SIZE, '#808080'), one, number=0)
    assert near(without, COLOURS[0], middle) == 0
    assert near(without, '#222222', (130, 105)) > 5  # The kNN edge stays.


@pytest.mark.parametrize('size', [(1, 800), (800, 1), (320, 200)])
def test_any_picture_and_name(size):
    names = ['x' * 100, 'ü']
    one = found(labels=names, instances=[Instance(None, 1.0, (0, 0, *size))] * 3, size=size)
    assert draw_graph.draw_graph(Image.new('RGB', size), one).height >= size[1]


def test_a_model_without_instances_has_no_graph():
    with pytest.raises(ValueError, match=r"needs a prediction made with 'graph=True' by a model that has instances"):
        draw_graph.draw_graph(Image.new('RGB', (9, 9)), found(match=None))

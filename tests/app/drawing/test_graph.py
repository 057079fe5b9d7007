"""The drawn graph: which edges, and that nodes and lines are where they should be."""

import math
import re

import pytest
import torch
from PIL import Image

from mlsgm_pyg.app.drawing import graph
from mlsgm_pyg.app.drawing.boxes import COLOURS
from mlsgm_pyg.tagger import Instance, Prediction
from tests.reader import Reader

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
    edges = [(edge.instance, edge.label, edge.is_best) for edge in graph.strongest(found(), range(2))]
    assert edges == [(1, 0, True), (2, 1, True), (2, 0, False), (0, 0, False)]
    assert [edge[:2] for edge in graph.strongest(found(), [0])] == [(1, 0), (2, 0), (0, 0)]
    assert [edge[:2] for edge in graph.strongest(found(), [1])] == [(2, 1)]
    weak = found(match=torch.full((3, 2), 0.01))
    assert len(graph.strongest(weak, range(2))) == 2
    many = found(match=torch.full((30, 2), 0.5))
    assert len(graph.strongest(many, range(2))) == 2 + graph.EDGES


def test_edges_of_neighbours():
    assert graph.near_pairs(found()) == [(0, 1, True), (0, 2, True)]
    one_way = found(near=torch.tensor([[2, 0, 1], [1, 1, 0]]))
    assert graph.near_pairs(one_way) == [(0, 1, True), (2, 1, False)]
    assert graph.near_pairs(found(near=None)) == []


@pytest.mark.parametrize('orientation', [1, 6])
def test_nodes_and_edges_lie_where_they_are(orientation):
    one = found()
    if orientation == 6:  # Stored (s, t) = (v, W - u) for upright (u, v).
        stored = [
            Instance(i.label, i.score, (b[1], 400 - b[0] - b[2], b[3], b[2])) for i, b in zip(one.instances, BOXES)
        ]
        one = found(instances=stored, size=SIZE[::-1], orientation=6)
    drawn = graph.draw_graph(one)
    dog, cat = COLOURS[:2]
    nodes = re.search('<g class="nodes">(.*?)</g>', drawn)[1]
    assert re.findall(r'cx="([^"]*)" cy="([^"]*)" r="10" fill="([^"]*)"', nodes) == [
        ('330.0', '240.0', cat), ('60.0', '50.0', dog),
    ]  # fmt: skip
    assert re.findall(r'<rect x="([^"]*)" y="([^"]*)"', nodes) == [('190.0', '150.0')]  # The whole picture.
    frames = re.findall(f'<rect x="([^"]*)" y="([^"]*)" width="([^"]*)"[^>]*stroke="{dog}"', drawn)
    assert frames == [('21.5', '21.5', '77.0')]
    curve = r'M([\d.]+) [^"]*C[^"]* ([\d.]+)" fill="none"[^>]* stroke="(#\w{6})" stroke-opacity="(.{4})"'
    assert re.findall(curve, drawn) == [  # From where, to which height.
        ('200.0', '22.0', dog, '0.44'), ('330.0', '22.0', dog, '0.65'), ('330.0', '50.0', cat, '1.00'),
        ('60.0', '22.0', dog, '1.00'),
    ]  # fmt: skip
    assert drawn.count('d="M200.0 160.0L60.0 50.0" stroke="#222222"') == 1
    without = graph.draw_graph(one, labels=[])
    assert '<g class="matches"></g>' in without and 'd="M200.0 160.0L60.0 50.0"' in without  # The kNN edge stays.


def test_a_drawing_stands_alone():
    drawn = graph.draw_graph(found(), Image.new('RGB', SIZE), signs=['✓', '○'])
    (picture,) = Reader(drawn).all('image')
    assert picture['href'].startswith('data:image/jpeg;base64,') and (picture['width'], picture['height']) == (
        '400',
        '320.0',
    )
    words = Reader(drawn).words
    assert {'✓ dog', '90 %', '○ cat', '60 %', 'whole picture', 'dog 0.90', 'cat 0.90'} <= {*words}
    assert 'xmlns="http://www.w3.org/2000/svg"' in drawn and 'style' not in drawn
    assert 'aria-label="3 instances, 2 pairs of neighbours, 4 edges to labels"' in drawn
    assert 'no graph of the instances' in graph.draw_graph(found(near=None))


def test_names_are_text():
    evil = '</text><script>'
    instances = [Instance(None, 1.0, BOXES[0]), Instance(evil, 0.9, BOXES[1]), Instance('cat', 0.9, BOXES[2])]
    drawn = graph.draw_graph(found(labels=[evil, 'cat'], instances=instances), signs=['<i>', ''])
    assert '<script' not in drawn and '<i>' not in drawn and drawn.count('&lt;/text&gt;') == 2


def test_a_label_that_is_not_drawn_lends_no_colour():
    assert graph.colours(found(), [0, 1]) == [graph.DARK, *COLOURS[:2]]
    assert graph.colours(found(), [1]) == [graph.DARK, graph.OTHER, COLOURS[0]]


@pytest.mark.parametrize('size', [(1, 800), (800, 1), (320, 200)])
def test_any_picture_and_name(size):
    one = found(labels=['x' * 100, 'ü'], instances=[Instance(None, 1.0, (0, 0, *size))] * 3, size=size)
    drawn = graph.draw_graph(one, Image.new('RGB', size))
    assert not re.search(r'\b(nan|inf)\b', graph.draw_graph(one))
    assert float(re.search(r'viewBox="0 0 620 ([\d.]+)"', drawn)[1]) >= 400 * size[1] / size[0]


def test_a_model_without_instances_has_no_graph():
    with pytest.raises(ValueError, match=r"needs a prediction made with 'graph=True' by a model that has instances"):
        graph.draw_graph(found(match=None))


def test_nodes_never_lie_on_each_other():
    points = [(50.0, 50.0)] * 11 + [(0.0, 0.0), (200.0, 100.0)]
    placed = graph.apart(points, (200, 100), 12)
    assert placed[0] == (50.0, 50.0)
    distances = [math.dist(a, b) for i, a in enumerate(placed) for b in placed[:i]]
    assert min(distances) >= 12
    assert all(6 <= x <= 194 and 6 <= y <= 94 for x, y in placed)
    far = [(20.0, 20.0), (80.0, 20.0)]
    assert graph.apart(far, (200, 100), 12) == far

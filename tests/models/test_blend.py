"""The blend of both scores: its ends, its middle, and a weight that is found where it helps."""

import pytest
import torch

from mlsgm_pyg.metrics import average_precision
from mlsgm_pyg.models import Output, blend
from mlsgm_pyg.models.output import blended


def test_a_blend_is_the_weighted_mean_of_logits():
    graph, csac = torch.randn(2, 50, 4).double() * 5
    for weight in (0.0, 0.05, 0.5, 0.95, 1.0):
        expected = (1 - weight) * graph + weight * csac
        out = Output(graph, graph_logits=graph, csac_logits=csac, blend=torch.tensor(weight))
        torch.testing.assert_close(out.score('blend'), expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(blended(graph, csac, weight), expected)
    half = blended(graph.bfloat16(), csac.float(), torch.tensor(0.5))  # As the two come under autocast.
    torch.testing.assert_close(half.double(), (graph + csac) / 2, rtol=1e-2, atol=5e-2)
    with pytest.raises(ValueError, match="'score' must be one of graph, csac, average .*'blend'"):
        Output(graph, graph_logits=graph, csac_logits=csac).score('blend')


def test_the_weight_is_the_most_even_one_that_is_not_clearly_worse():
    torch.manual_seed(0)
    y = (torch.rand(400, 3) < 0.3).to(torch.int8)
    noise = torch.randn(2, 400, 3)
    good, other = 3.0 * y + noise[0], 3.0 * y + noise[1]
    assert blend.fit(good, 20 * noise[1], y) == 0.0 and blend.fit(20 * noise[0], good, y) == 1.0
    assert blend.fit(good, other, y) == 0.5  # Two equally good scores whose errors differ.
    assert blend.fit(good, good, y) == 0.5  # It makes no difference.
    weight = blend.fit(good, 2 * noise[1], y)
    scores = {w / 10: float(average_precision(blended(good, 2 * noise[1], w / 10), y).mean()) for w in range(11)}
    assert 0 <= weight <= 0.2 and scores[weight] > scores[0.5]
    hidden = y.clone()
    hidden[::2] = -1
    assert blend.fit(20 * noise[0], good, hidden) == 1.0  # What is unknown does not count.
    wrong = good.clone()
    wrong[::2] = -good[::2]
    assert blend.fit(wrong, 20 * noise[1], hidden) == 0.0
    with pytest.raises(ValueError, match=r'a blend is fitted on images that show something \(got 5, none of which is'):
        blend.fit(good[:5], other[:5], torch.zeros(5, 3, dtype=torch.int8))
    assert 0 <= blend.fit(good[:2], other[:2], torch.tensor([[1, 0, 0], [0, 0, 0]])) <= 1

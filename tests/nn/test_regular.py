"""Chunks of labels; tests/models/test_ml_sgm.py holds the whole fast forward equal to the plain one."""

import pytest
import torch

from mlsgm_pyg.nn import regular
from mlsgm_pyg.nn.label_edges import LabelNeighbors
from mlsgm_pyg.nn.regular import Layout


@pytest.mark.parametrize('limit', [1, 100, 10**9])
def test_chunks_cover_every_label_once_and_keep_the_limit(limit, monkeypatch):
    monkeypatch.setattr(regular, 'CHUNK_ELEMENTS', limit)
    layout = Layout(torch.zeros(2, 0), torch.zeros(3), torch.tensor([0, 3]), LabelNeighbors(7))
    chunks = layout.chunks(channels=2, batch=3)
    assert [row for rows in chunks for row in range(7)[rows]] == list(range(7))
    for rows in chunks:
        size = rows.stop - rows.start
        assert size == 1 or size * 3 * 6 * 2 <= limit


def test_a_gpu_gets_few_chunks():
    ptr = torch.tensor([0, 3], device='meta')
    layout = Layout(torch.zeros(2, 0), torch.zeros(3), ptr, LabelNeighbors(100))
    assert len(layout.chunks(channels=10**6, batch=3)) == 15  # Of 7 labels.
    assert (
        len(
            Layout(layout.near_index, layout.batch, ptr.new_empty(2, device='cpu'), layout.neighbors).chunks(
                channels=10**6, batch=3
            )
        )
        == 100
    )

"""Chunks of labels; tests/models/test_ilms.py holds the whole fast forward equal to the plain one."""

import pytest

from mlsgm_pyg.nn import fast


@pytest.mark.parametrize('limit', [1, 100, 10**9])
def test_chunks_cover_every_label_once_and_keep_the_limit(limit, monkeypatch):
    monkeypatch.setattr(fast, 'CHUNK_ELEMENTS', limit)
    chunks = fast.LabelGraph(7).chunks(channels=2, images=3, few=False)
    assert [row for rows in chunks for row in range(7)[rows]] == list(range(7))
    for rows in chunks:
        size = rows.stop - rows.start
        assert size == 1 or size * 3 * 6 * 2 <= limit


def test_a_gpu_gets_few_chunks():
    graph = fast.LabelGraph(100)
    assert len(graph.chunks(10**6, 3, few=True)) == 15  # Of 7 labels.
    assert len(graph.chunks(10**6, 3, few=False)) == 100

import pytest
import torch

from mlsgm_pyg.statistics import check_co_occurrence, co_occurrence, label_ratio


def test_a_table_made_by_hand():
    y = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0]])
    expected = [[1, 2 / 3, 1 / 3, 0], [2 / 3, 1, 1 / 3, 0], [1, 1, 1, 0], [0, 0, 0, 0]]  # Row: what is there.
    torch.testing.assert_close(co_occurrence(y), torch.tensor(expected))


def test_only_known_labels_count():
    y = torch.randint(-1, 2, (40, 5))
    found = co_occurrence(y)
    for i in range(5):
        for j in range(5):
            rows = [row for row in y.tolist() if row[i] == 1 and row[j] != -1]
            share = sum(row[j] for row in rows) / len(rows)
            assert found[i, j].item() == pytest.approx(share, abs=1e-7), (i, j)
    more = torch.cat([y, torch.full((3, 5), -1)])
    assert torch.equal(co_occurrence(more), found)


def test_permuting_labels_permutes_both_sides():
    y, order = torch.randint(0, 2, (30, 6)), torch.randperm(6)
    assert torch.equal(co_occurrence(y[:, order]), co_occurrence(y)[order][:, order])


def test_errors():
    with pytest.raises(ValueError, match=r"'y' must hold one row an image: expected shape \[n, C\] \(got \[3\]\)"):
        co_occurrence(torch.zeros(3))
    with pytest.raises(ValueError, match=r"'y' must hold 1 .*: 1 of 2 values are something else \(got 2.0\)"):
        co_occurrence(torch.tensor([[2.0, 1.0]]))
    with pytest.raises(ValueError, match=r'each pair of labels: expected shape \[3, 3\] \(got \[3, 2\]\)'):
        check_co_occurrence(torch.zeros(3, 2), 3)
    with pytest.raises(ValueError, match=r'must hold probabilities in \[0, 1\] \(got values in \[0, 7\]\)'):
        check_co_occurrence(torch.tensor([[0.0, 7.0], [1.0, 1.0]]), 2)


def test_label_ratio():
    y = torch.tensor([[1, 0, -1, 1], [1, 1, -1, -1], [0, 1, -1, -1], [0, 1, -1, 0]], dtype=torch.int8)
    assert label_ratio(y).tolist() == [0.5, 0.75, 0.0, 0.5]  # 2 of 4, 3 of 4, nothing known, 1 of 2.
    with pytest.raises(ValueError, match=r"'y' must hold one row an image: expected shape \[n, C\] \(got \[4\]\)"):
        label_ratio(y[0])
    with pytest.raises(ValueError, match=r'1 of 4 values are something else \(got 2\)'):
        label_ratio(torch.tensor([[1, 0, 2, -1]]))

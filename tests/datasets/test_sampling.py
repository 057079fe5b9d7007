import numpy as np
import pytest
import torch

from mlsgm_pyg.datasets import EpochSampler, dev_split, limit_indices
from mlsgm_pyg.datasets.sampling import RUNS, stratify


def test_order_depends_on_seed_and_epoch_only():
    sampler = EpochSampler(50, seed=3)
    first = list(sampler)
    torch.rand(7)  # Random numbers drawn elsewhere change nothing.
    assert list(sampler) == first
    assert sorted(first) == list(range(50)) and first != list(range(50))
    sampler.set_epoch(1)
    second = list(sampler)
    assert second != first and sorted(second) == list(range(50))
    resumed = EpochSampler(50, seed=3)
    resumed.set_epoch(1)
    assert list(resumed) == second
    assert list(EpochSampler(50, seed=4)) != first
    assert list(EpochSampler(50, seed=1)) != list(EpochSampler(50, seed=0))
    assert list(EpochSampler(5, shuffle=False)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize('num, world_size', [(10, 2), (11, 2), (7, 3), (2, 5), (1, 4), (0, 3)])
@pytest.mark.parametrize('shuffle', [True, False])
def test_shares_are_even_and_cover_everything(num, world_size, shuffle):
    samplers = [EpochSampler(num, 1, shuffle, rank, world_size) for rank in range(world_size)]
    shares = [list(sampler) for sampler in samplers]
    assert {len(share) for share in shares} == {len(samplers[0])} == {-(-num // world_size)}
    assert {i for share in shares for i in share} == set(range(num))
    dealt = [i for turn in zip(*shares) for i in turn]  # In turn, the shares are the order of one process.
    assert dealt[:num] == list(EpochSampler(num, 1, shuffle))


@pytest.mark.parametrize('num, world_size', [(1000, 1), (1000, 2), (1003, 3), (7, 2), (2, 5), (0, 3)])
@pytest.mark.parametrize('window', [1, 64, 100, 5000])
def test_a_window_keeps_neighbours_together(num, world_size, window):
    """Each image once but for what fills up the last process; each has its own stretch of runs of neighbours."""
    samplers = [EpochSampler(num, 1, True, rank, world_size, window) for rank in range(world_size)]
    shares = [list(sampler) for sampler in samplers]
    assert shares == [list(sampler) for sampler in samplers]  # Of (seed, epoch) alone.
    assert {len(share) for share in shares} == {-(-num // world_size)} == {len(samplers[0])}
    dealt = [i for share in shares for i in share]
    times = np.bincount(dealt, minlength=num) if num else np.ones(1)
    assert len(times) == max(num, 1) and times.max() - times.min() == (len(dealt) > num)
    run = -(-window // RUNS)
    for share in shares:
        for at in range(0, len(share), window):  # Of few runs, in any order.
            assert len({i // run for i in share[at : at + window]}) <= window // run + 2
    if num == 1000 and window < num:
        assert shares[0] != sorted(shares[0])
        samplers[0].set_epoch(1)
        assert list(samplers[0]) != shares[0]


def test_rank_must_be_one_of_the_processes():
    with pytest.raises(ValueError, match=r"'rank' must lie in \[0, 2\) for that many processes \(got 2\)"):
        EpochSampler(4, rank=2, world_size=2)


def test_limit():
    assert limit_indices(5, None) == limit_indices(5, 5) == limit_indices(5, 9) == [0, 1, 2, 3, 4]
    small, large = limit_indices(100, 10, 7), limit_indices(100, 30, 7)
    assert len(set(small)) == 10 and set(small) < set(large) and small == sorted(small)
    assert limit_indices(100, 10, 8) != small
    with pytest.raises(ValueError, match=r"'limit' must be at least 1 image, or None for all of them \(got 0\)"):
        limit_indices(5, 0)


def test_dev_split():
    train, dev = dev_split(103, 0.1, 5)
    assert len(dev) == 10 and sorted(train + dev) == list(range(103))
    assert (train, dev) == (sorted(train), sorted(dev)) == dev_split(103, 0.1, 5)
    assert dev != dev_split(103, 0.1, 6)[1]
    assert dev_split(4, 0) == ([0, 1, 2, 3], [])
    assert [len(part) for part in dev_split(4, 0.01)] == [3, 1]
    assert [len(part) for part in dev_split(4, 0.99)] == [1, 3]
    with pytest.raises(ValueError, match=r"'dev' must be a fraction of the training images, in \[0, 1\) \(got 1\)"):
        dev_split(4, 1)
    with pytest.raises(ValueError, match=r"'dev' needs at least 2 training images to split \(got 1\)"):
        dev_split(1, 0.1)


def test_parts_have_their_share_of_every_class():
    shares = np.array([0.7, 0.1, 0.2])
    y = np.random.default_rng(0).random((1000, 12)) < np.geomspace(0.005, 0.4, 12)
    parts = np.array(stratify(y, shares))
    assert np.bincount(parts).tolist() == [700, 100, 200]
    counts = np.array([y[parts == part].sum(0) for part in range(3)])
    assert (np.abs(counts - np.outer(shares, y.sum(0))) <= 1.5).all()
    drawn = np.array([[y[rows].sum(0) for rows in np.split(np.random.default_rng(seed).permutation(1000), [700, 800])]
                      for seed in range(20)])  # fmt: skip
    assert (
        np.abs(counts - np.outer(shares, y.sum(0))).max() < np.abs(drawn - np.outer(shares, y.sum(0))).max((1, 2)).min()
    )
    assert stratify(y, shares) == parts.tolist() != stratify(y, shares, seed=1)


def test_rare_classes_are_kept():
    for shown, wanted in [(1, [1, 0, 0]), (2, [1, 0, 1]), (3, [2, 0, 1]), (5, [3, 1, 1])]:
        y = np.zeros((100, 1), bool)
        y[:shown] = True
        parts = np.array(stratify(y, [0.7, 0.1, 0.2]))
        assert np.bincount(parts[:shown], minlength=3).tolist() == wanted
        assert np.bincount(parts).tolist() == [70, 10, 20]
    assert sorted(stratify(np.eye(2), [0.7, 0.1, 0.2])) == [0, 2]  # No part to evaluate on would be no use.
    assert stratify(np.zeros((0, 3)), [0.7, 0.1, 0.2]) == []

"""Which images are used, and in which order: by numbers alone, so that a resumed run equals an uninterrupted one."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

RUNS = 16  # Stretches of neighbours that an order with a window mixes.


def generator(*key: int) -> torch.Generator:
    """A random generator that depends on the given numbers only."""
    return torch.Generator().manual_seed(mix(*key))


def mix(*key: int) -> int:
    """Mixes numbers into one seed in which nearby numbers have nothing in common."""
    return int(np.random.SeedSequence([int(k) % 2**64 for k in key]).generate_state(1, np.uint64)[0] >> 1)


def limit_indices(n: int, limit: int | None, seed: int = 0) -> list[int]:
    """Returns :obj:`limit` of :obj:`n` numbers, drawn by :obj:`seed`, in rising order; a larger limit keeps them.

    :obj:`None`, or a limit of :obj:`n` or more, returns all of them.

    Args:
        n (int): How many there are.
        limit (int, optional): How many are wanted.
        seed (int): Seed of the draw. (default: :obj:`0`)

    Raises:
        ValueError: If the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"'limit' must be at least 1 image, or None for all of them (got {limit})")
    order = torch.randperm(n, generator=generator(seed, 1))
    return order[:limit].sort().values.tolist()


def dev_split(n: int, fraction: float, seed: int = 0) -> tuple[list[int], list[int]]:
    """Splits :obj:`n` numbers, by :obj:`seed`, into train and dev; dev gets the fraction, at least one if it is not 0.

    Both come in rising order; train keeps at least one number.

    Args:
        n (int): How many there are.
        fraction (float): The part that is dev's, in [0, 1).
        seed (int): Seed of the draw. (default: :obj:`0`)

    Raises:
        ValueError: If the fraction is outside of that range, or there are too few numbers.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"'dev' must be a fraction of the training images, in [0, 1) (got {fraction})")
    if fraction > 0 and n < 2:
        raise ValueError(f"'dev' needs at least 2 training images to split (got {n})")
    num = 0 if fraction == 0 else min(max(round(n * fraction), 1), n - 1)
    order = torch.randperm(n, generator=generator(seed, 2))
    return order[num:].sort().values.tolist(), order[:num].sort().values.tolist()


def stratify(y: np.ndarray, shares: Sequence[float], seed: int = 0) -> list[int]:
    """Deals images out to parts so that each part gets its share of them, and of the images of every class: iterative
    stratification (Sechidis, Tsoumakas and Vlahavas, 2011), which deals rare classes first, to parts of fixed sizes.

    Where two parts want a class as much, the one that has less of it gets it: of two images, the parts with the two
    largest shares get one each.

    Args:
        y (numpy.ndarray): What each image shows, :obj:`[N, C]`, bool.
        shares (sequence of float): Of each part; they sum to 1.
        seed (int): Seed of the order in which images are dealt. (default: :obj:`0`)

    Returns:
        list[int]: The number of each image's part.
    """
    y, shares = np.asarray(y, bool), np.asarray(shares, float)
    order = np.random.default_rng([seed, 7]).permutation(len(y))
    room = np.floor(shares * len(y)).astype(int)
    rest = (shares * len(y) - room).round(9)
    room[np.lexsort((room, -rest))[: len(y) - room.sum()]] += 1
    wanted, got = np.outer(y.sum(0), shares), np.zeros((y.shape[1], len(shares)), int)  # Of each class.
    part, left = np.full(len(y), -1), y.sum(0)
    while True:
        todo = order[part[order] < 0]
        if left.any():
            rare = np.where(left > 0, left, len(y) + 1).argmin()
            todo, least, mine = todo[y[todo, rare]], got[rare], wanted[rare]
        else:  # What shows nothing.
            least, mine = np.zeros(len(shares)), room
        if not len(todo):
            return part.tolist()
        for image in todo:
            part[image] = chosen = np.lexsort((-room, least, -mine.round(9), room <= 0))[0]
            shown = y[image]
            wanted[shown, chosen] -= 1
            got[shown, chosen] += 1
            left[shown] -= 1
            room[chosen] -= 1


class EpochSampler(Sampler[int]):
    """An order of :obj:`num` images that depends on (seed, epoch) only, dealt out to the processes in turn.

    (torch's own :class:`~torch.utils.data.DistributedSampler` depends on their sum: two seeds share their orders.)
    Every process gets equally many: where :obj:`num` does not divide, the first images of the order come once more.
    Training has to step in time; :class:`~mlsgm_pyg.metrics.MultiLabelMetrics` counts an image once by its index.

    With a :obj:`window`, images that are neighbours by number are read at about the same time, by the same process, as
    tars and disks like it: random runs of neighbours follow one another, each process has its own stretch of them, and
    the order is random among so many that follow one another, which come from :obj:`RUNS` runs.

    Args:
        num (int): Number of images.
        seed (int): Seed of the order. (default: :obj:`0`)
        shuffle (bool): Random order, another one each epoch; otherwise rising. (default: :obj:`True`)
        rank (int, optional): Number of this process; by default what :obj:`torch.distributed` says, else 0.
        world_size (int, optional): Number of processes; by default what :obj:`torch.distributed` says, else 1.
        window (int): Images among which the order is random; 0: all. (default: :obj:`0`)

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        num: int,
        seed: int = 0,
        shuffle: bool = True,
        rank: int | None = None,
        world_size: int | None = None,
        window: int = 0,
    ):
        group = torch.distributed if torch.distributed.is_available() and torch.distributed.is_initialized() else None
        self.num = num
        self.seed = seed
        self.shuffle = shuffle
        self.window = window
        self.rank = rank if rank is not None else group.get_rank() if group else 0
        self.world_size = world_size if world_size is not None else group.get_world_size() if group else 1
        self.epoch = 0
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"'rank' must lie in [0, {self.world_size}) for that many processes (got {self.rank})")

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.num // self.world_size)

    def __iter__(self) -> Iterator[int]:
        key = generator(self.seed, self.epoch, 3)
        turn = torch.arange(len(self))
        if self.shuffle and self.window:
            run = -(-self.window // RUNS)
            order = (torch.randperm(-(-self.num // run), generator=key)[:, None] * run + torch.arange(run)).flatten()
            mine = order[order < self.num][(turn + self.rank * len(self)) % max(self.num, 1)]
            near = turn // self.window + torch.rand(len(mine), generator=key, dtype=torch.float64)
            return iter(mine[near.argsort()].tolist())
        order = torch.randperm(self.num, generator=key) if self.shuffle else torch.arange(self.num)
        return iter(order[(turn * self.world_size + self.rank) % max(self.num, 1)].tolist())

"""What a model costs: parameters, multiply-adds that torch counts, and seconds in one run for all."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode


def seconds(contestants: dict[str, Callable[[], Any]], quick: bool = False, rounds: int = 3) -> dict[str, float]:
    """Median seconds a call. Contestants take turns, so that a slower minute of the machine meets all of them.

    Args:
        contestants (dict): Name -> what to call.
        quick (bool): One short round. (default: :obj:`False`)
        rounds (int): How often each has its turn. (default: :obj:`3`)
    """
    threads = torch.get_num_threads()
    timers = {name: Timer('fn()', globals={'fn': fn}, num_threads=threads) for name, fn in contestants.items()}
    times: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(1 if quick else rounds):
        for name, timer in timers.items():  # Each measurement warms up, synchronises, and is a median itself.
            times[name].append(timer.blocked_autorange(min_run_time=0.001 if quick else 0.3).median)
    return {name: statistics.median(values) for name, values in times.items()}


def macs(call: Callable[[], Any]) -> int:
    """Multiply-adds of a call without gradients: of its convolutions and matrix products, as torch counts them."""

    def matrix_vector(matrix: Any, vector: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        return 2 * matrix[0] * matrix[1]

    uncounted = {torch.ops.aten.mv: matrix_vector}  # torch leaves these out.
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=uncounted) as counter:
        call()
    return counter.get_total_flops() // 2


def parameters(model: torch.nn.Module) -> dict[str, int]:
    """How many numbers a model has, and how many of them are trained."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {'trained': sum(n for n, trained in sizes if trained), 'all': sum(n for n, _ in sizes)}

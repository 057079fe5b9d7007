"""What a model costs: parameters, multiply-adds that torch counts, and seconds in one run for all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode


class Time(NamedTuple):
    """Seconds a call, of some rounds."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """From the quickest to the slowest round, as a part of the median."""
        return (self.high - self.low) / self.median


def wall(device: torch.device) -> Callable[[], float]:
    """A clock on the wall, read when the device has finished what it was given."""
    if device.type != 'cuda':
        return time.perf_counter

    def read() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return read


def clock(device: torch.device) -> Callable[[], float]:
    """What work on a device is timed with: a CPU's by the CPU seconds of this process, a GPU's by the wall.

    Other processes make a call wait, which the wall counts and CPU seconds do not. These add up over threads, those
    that only wait for others included, so they compare well with one thread alone.
    """
    return time.process_time if device.type == 'cpu' else wall(device)


def seconds(
    contestants: dict[str, Callable[[], Any]],
    quick: bool = False,
    rounds: int = 5,
    read: Callable[[], float] = time.process_time,
    least: float = 0.2,
) -> dict[str, Time]:
    """Seconds a call: median, least and most of some rounds, in which contestants take turns, every other backwards; a
    turn makes so many calls that it takes at least so many seconds. A quick one is one short round."""
    least = 0.001 if quick else least
    number = {name: _calls(fn, read, least) for name, fn in contestants.items()}
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for i in range(1 if quick else rounds):
        for name in list(contestants) if i % 2 == 0 else reversed(contestants):
            times[name].append(_took(contestants[name], read, number[name]) / number[name])
    return {name: Time(statistics.median(each), min(each), max(each)) for name, each in times.items()}


def _took(call: Callable[[], Any], read: Callable[[], float], number: int) -> float:
    started = read()
    for _ in range(number):
        call()
    return read() - started


def _calls(call: Callable[[], Any], read: Callable[[], float], least: float) -> int:
    """How many calls take so long; what they do for the first time is behind them then."""
    number, took = 1, _took(call, read, 1)
    while took < least:
        took = _took(call, read, number)
        if took < least:
            number *= 2
    return number


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


def settle(body: torch.nn.Module, image: torch.Tensor) -> None:
    """Gives random layers the statistics of some images, so that features have the scale of a trained backbone's."""
    for module in body.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        body.train()(image)
    body.eval()

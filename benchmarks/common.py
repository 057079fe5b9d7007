"""What every benchmark shares: its options and its time, fair comparison, peak memory, random models."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch_geometric.data import HeteroData

from benchmarks import page
from mlsgm_pyg.app.common import cost, machine
from mlsgm_pyg.app.common.tables import Table
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.csac import Instances
from mlsgm_pyg.models import MLSGM
from mlsgm_pyg.nn.fast import LabelValues

STORED = ('title', 'columns', 'rows', 'notes')  # Of a table, in a file of results.
INSTANCES = 5  # An image, in every benchmark that does not say otherwise.
MIB = 2**20


class Minutes:
    """The time that a script may take: a case begins only where the longest one so far would still fit.

    Args:
        minutes (float): So many, from now on.
    """

    def __init__(self, minutes: float):
        self.end, self.longest = time.perf_counter() + 60 * minutes, 0.0
        self.left_out: list[str] = []

    def cases(self, cases: Iterable[Any]) -> Iterator[Any]:
        """Those of the cases for which there is time; the others are kept in :attr:`left_out`."""
        for case in cases:
            started = time.perf_counter()
            if started + self.longest > self.end:
                self.left_out.append(' '.join(map(str, case)) if isinstance(case, tuple) else str(case))
                continue
            yield case
            self.longest = max(self.longest, time.perf_counter() - started)


def main(
    name: str,
    about: str,
    measure: Callable[[argparse.Namespace], list[Table]],
    argv: Sequence[str] | None = None,
    options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> int:
    """The command line of a benchmark: measures on every device that is there, prints, and writes if asked to.

    Args:
        name (str): The script's.
        about (str): Its docstring.
        measure (callable): Options with :obj:`device` and :obj:`minutes` (:class:`Minutes`) -> tables.
        argv (sequence of str, optional): The words of the command.
        options (callable, optional): Adds the script's own options to the parser.
    """
    args = parse(name, about, argv, options)
    words = sys.argv[1:] if argv is None else argv
    command = shlex.join(['python', '-m', f'benchmarks.{name}', *(word for word in words if word != '--write')])
    there = [kind for kind in page.devices(name) if kind == 'cpu' or torch.cuda.is_available()]
    minutes, threads = args.minutes, torch.get_num_threads()
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.allow_tf32 = False  # What is called float32 is float32.
    for kind in [args.device] if args.device else there:
        args.device, started = torch.device(kind), time.perf_counter()
        args.minutes = Minutes(minutes)
        torch.manual_seed(0)
        tables = measure(args)
        result = {
            'command': command,
            'hardware': hardware(args.device),
            'commit': machine.commit(),
            'seconds': time.perf_counter() - started,
            'left_out': args.minutes.left_out,
            'tables': [{key: vars(table)[key] for key in STORED} for table in tables],
        }
        print(page.shown(result), end='\n\n')
        if args.write:
            write(page.RESULTS / f'{name}-{kind}.json', result)
    torch.set_num_threads(threads)
    return 0


def parse(name: str, about: str, argv: Sequence[str] | None, options: Callable | None) -> argparse.Namespace:
    """The options that all scripts have, and a script's own."""
    parser = argparse.ArgumentParser(prog=f'python -m benchmarks.{name}', description=about)
    parser.add_argument('--device', choices=page.devices(name), help='default: cpu, then cuda where it is')
    parser.add_argument('--threads', type=int, default=1, help='of the CPU (%(default)s)')
    parser.add_argument('--minutes', type=float, default=600, help='cases that do not fit are left out (%(default)s)')
    parser.add_argument('--quick', action='store_true', help='tiny sizes, some seconds: tries the script, says nothing')
    parser.add_argument('--write', action='store_true', help='put the tables into results/ and benchmarks/README.md')
    if options is not None:
        options(parser)
    args = parser.parse_args(argv)
    if args.write and args.quick:
        parser.error('--quick measures nothing that is worth writing')
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('there is no GPU here')
    return args


def hardware(device: torch.device) -> str:
    """Device, threads and versions in one line."""
    name = machine.processor()
    if device.type == 'cuda':
        name = f'{torch.cuda.get_device_name(device)} beside {name}'
    versions = ', '.join(f'{package} {number}' for package, number in machine.versions().items())
    threads = torch.get_num_threads()
    return f'{name}, {os.cpu_count()} cores, {threads} thread{"s" if threads > 1 else ""}; {versions}'


def write(path: Path, result: dict[str, Any]) -> None:
    """Writes a small JSON file, and the page anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + '\n')
    page.write()


def seconds(
    calls: dict[str, Callable[[], Any]], args: argparse.Namespace, rounds: int = 5, least: float = 0.2
) -> dict[str, cost.Time]:
    """:func:`mlsgm_pyg.app.common.cost.seconds` on the device; a GPU, which is even, needs a tenth of the time."""
    least = least / 10 if args.device.type == 'cuda' else least
    return cost.seconds(calls, args.quick, rounds, cost.clock(args.device), least)


def percent(*times: cost.Time) -> float:
    """The largest spread, in percent of its median."""
    return 100 * max(each.spread for each in times)


def agree(results: dict[str, dict[str, Tensor]], tolerance: float) -> None:
    """That contestants give what the first one gives, tensor by tensor, up to a part of its norm.

    Raises:
        AssertionError: Names the contestant and the tensor.
    """
    (first, expected), *others = results.items()
    for name, found in others:
        for key, value in expected.items():
            scale = max(value.double().norm().item(), 1e-30)
            difference = (found[key].double() - value.double()).norm().item() / scale
            if not difference <= tolerance:
                wanted = f"must be that of '{first}' up to {tolerance} of its norm"
                raise AssertionError(f"'{key}' of '{name}' {wanted} (got {difference:.2g})")


def peak_memory(fn: Callable[[], Any], device: torch.device) -> int:
    """The most bytes that a call holds beyond what was there before it.

    On CUDA the allocator's own count; on the CPU the profiler's record of every allocation and release that torch's
    allocator made, so neither depends on what the process did earlier, as its resident size would.
    """
    if device.type == 'cuda':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        fn()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        fn()
    changes = [(e.start_ns(), e.nbytes()) for e in record.profiler.kineto_results.events() if e.name() == '[memory]']
    held = most = 0
    for _, size in sorted(changes, key=lambda change: change[0]):
        held += size
        most = max(most, held)
    return most


def held_bytes(values: LabelValues) -> int:
    """What is held of labels, in bytes."""
    held = [values.node, *values.word, *values.terms, *(read.tensor for read in values.related.reads)]
    held += [] if values.share is None else [read.tensor for read in values.share.reads]
    return sum({value.data_ptr(): value.nbytes for value in held}.values())


def make_model(num_labels: int, device: torch.device, channels: int = 2048, **options: Any) -> MLSGM:
    """ML-SGM as it stands behind a backbone's map of so many channels, with random weights and word vectors."""
    backbone = Backbone('none', torch.nn.Identity(), channels)
    return MLSGM(backbone, torch.randn(num_labels, 300), **options).to(device)


def make_instances(model: MLSGM, images: int, each: int = INSTANCES) -> Instances:
    """Random instances, equally many in every image, with evidence where the model reads some."""
    words = model.word_vectors
    total, like = images * each, {'device': words.device, 'dtype': words.dtype}
    corner = torch.rand(total, 2, **like) / 2
    return Instances(
        x=torch.randn(total, model.ilms.in_channels, **like),
        box=torch.cat([corner, torch.rand(total, 2, **like) / 2], dim=1),
        label=torch.arange(total, device=words.device) % each - 1,
        score=torch.rand(total, **like),
        batch=torch.arange(images, device=words.device).repeat_interleave(each),
        ptr=torch.arange(images + 1, device=words.device) * each,
        sizes=[each] * images,
        evidence=torch.randn(total, len(words), **like) if model.ilms.evidence else None,
    )


def match(model: MLSGM, graph: HeteroData) -> Tensor:
    """The scores of the model's own graphs in the fast form."""
    return model.match(graph, regular=True).logits


def training_step(model: torch.nn.Module, forward: Callable[[], Tensor], y: Tensor) -> Callable[[], dict[str, Tensor]]:
    """Forward, loss and backward; what an optimiser adds is the same for everyone. It gives the gradients away."""

    def step() -> dict[str, Tensor]:
        torch.nn.functional.binary_cross_entropy_with_logits(forward(), y).backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        model.zero_grad(set_to_none=True)
        return gradients

    return step

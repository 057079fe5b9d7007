"""What every benchmark shares: its options, fair timing, peak memory, and where its tables go."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from experiments import machine
from mlsgm_pyg.backbone import Backbone
from mlsgm_pyg.csac import Instances
from mlsgm_pyg.models import MLSGM

ROOT = Path(__file__).resolve().parents[1]
README = Path(__file__).with_name('README.md')
RESULTS = ROOT / 'results' / 'benchmarks'
INSTANCES = 5  # An image, in every benchmark that does not say otherwise.


@dataclass
class Table:
    """One table of a benchmark.

    Args:
        title (str): What it answers.
        columns (sequence of str): Names of the columns.
        rows (list): One list of cells a row, numbers as they were measured.
        notes (list[str]): What must be known to read it.
    """

    title: str
    columns: Sequence[str]
    rows: list[list[Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [f'**{self.title}**', '', '| ' + ' | '.join(self.columns) + ' |', '|---' * len(self.columns) + '|']
        lines += ['| ' + ' | '.join(map(_cell, row)) + ' |' for row in self.rows]
        return '\n'.join(lines + ['', ' '.join(self.notes)] if self.notes else lines)


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
        measure (callable): Options with a :obj:`device` -> tables.
        argv (sequence of str, optional): The words of the command.
        options (callable, optional): Adds the script's own options to the parser.
    """
    parser = argparse.ArgumentParser(prog=f'python -m benchmarks.{name}', description=about)
    parser.add_argument('--device', choices=('cpu', 'cuda'), help='default: cpu, then cuda where it is')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help='of the CPU (%(default)s)')
    parser.add_argument(
        '--quick', action='store_true', help='tiny sizes, a few seconds: tries the script, says nothing'
    )
    parser.add_argument('--write', action='store_true', help='put the tables into benchmarks/README.md and results/')
    if options is not None:
        options(parser)
    args = parser.parse_args(argv)
    if args.write and args.quick:
        parser.error('--quick measures nothing that is worth writing')
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('there is no GPU here')
    words = sys.argv[1:] if argv is None else argv
    command = shlex.join(['python', '-m', f'benchmarks.{name}', *(word for word in words if word != '--write')])
    torch.set_num_threads(args.threads)
    kinds = [args.device] if args.device else ['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu']
    for kind in kinds:
        args.device, started = torch.device(kind), time.perf_counter()
        torch.manual_seed(0)
        tables = measure(args)
        text = '\n\n'.join(table.markdown() for table in tables)
        about_it = f'{hardware(args.device)}. `{command}`, {time.perf_counter() - started:.0f} s.'
        print(f'{text}\n\n{about_it}\n')
        if args.write:
            write(name, kind, f'{text}\n\n{about_it}', [asdict(table) for table in tables], command)
    if 'cuda' not in kinds:
        print('Not measured on a GPU.')
    return 0


def hardware(device: torch.device) -> str:
    """Device, threads and versions in one line."""
    name = machine.processor()
    if device.type == 'cuda':
        name = f'{torch.cuda.get_device_name(device)} beside {name}'
    versions = ', '.join(f'{package} {number}' for package, number in machine.versions().items())
    return f'{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; {versions}'


def write(name: str, kind: str, text: str, tables: list[dict[str, Any]], command: str) -> None:
    """Puts a section between its marks in README.md, and the same numbers into a small JSON file.

    Raises:
        ValueError: If README.md does not have the marks.
    """
    start, end = f'<!-- {name} {kind} -->', f'<!-- end of {name} {kind} -->'
    page = README.read_text()
    if start not in page or end not in page:
        raise ValueError(f"'{README}' must have the lines '{start}' and '{end}', between which the tables go")
    before, after = page.split(start)[0], page.split(end)[1]
    README.write_text(f'{before}{start}\n{text}\n{end}{after}')
    RESULTS.mkdir(parents=True, exist_ok=True)
    about = {'command': command, 'hardware': hardware(torch.device(kind)), 'commit': machine.commit()}
    (RESULTS / f'{name}-{kind}.json').write_text(json.dumps(about | {'tables': tables}, indent=1) + '\n')


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


def make_model(num_labels: int, device: torch.device, channels: int = 2048, **options: Any) -> MLSGM:
    """ML-SGM as it stands behind a backbone's map of so many channels, with random weights and word vectors."""
    backbone = Backbone('none', torch.nn.Identity(), channels)
    return MLSGM(backbone, torch.randn(num_labels, 300), **options).to(device)


def make_instances(model: MLSGM, images: int, each: int = INSTANCES) -> Instances:
    """Random instances, equally many in every image."""
    total, like = images * each, {'device': model.word_vectors.device, 'dtype': model.word_vectors.dtype}
    device, corner = like['device'], torch.rand(total, 2, **like) / 2
    return Instances(
        x=torch.randn(total, model.csac.in_channels, **like),
        box=torch.cat([corner, torch.rand(total, 2, **like) / 2], dim=1),
        label=torch.arange(total, device=device) % each - 1,
        score=torch.rand(total, **like),
        batch=torch.arange(images, device=device).repeat_interleave(each),
        ptr=torch.arange(images + 1, device=device) * each,
        sizes=[each] * images,
    )


def training_step(model: torch.nn.Module, forward: Callable[[], Tensor], y: Tensor) -> Callable[[], None]:
    """Forward, loss and backward, gradients dropped again; what an optimiser adds is the same for everyone."""

    def step() -> None:
        torch.nn.functional.binary_cross_entropy_with_logits(forward(), y).backward()
        model.zero_grad(set_to_none=True)

    return step


def _cell(value: Any) -> str:
    if value is None:
        return '-'
    if isinstance(value, float):
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
        return f'{value:,.{digits}f}'
    return f'{value:,}' if isinstance(value, int) else str(value)

"""How long until the first line, and what is loaded on the way?"""

from __future__ import annotations

import argparse
import shlex
import statistics
import subprocess
import sys
import time

from benchmarks.common import ROOT, Table, main

HEAVY = ('torch', 'lightning', 'matplotlib', 'sklearn', 'timm')
CODE = {
    'python -m experiments.run --list': "from experiments import run; run.main(['--list'])",
    'python -c "import torch, torch_geometric"': 'import torch, torch_geometric',
    'python -c "import mlsgm_pyg"': 'import mlsgm_pyg',
}


def loaded(code: str) -> list[str]:
    """The heavy modules that some code has loaded at its end."""
    after = f'{code}; import sys; print(*[m for m in {HEAVY} if m in sys.modules], file=sys.stderr)'
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', after], cwd=ROOT, capture_output=True, text=True)
    done.check_returncode()
    return done.stderr.split('\n')[-2].split()


def measure(args: argparse.Namespace) -> list[Table]:
    table = Table('Starting', ('command', 'seconds', 'loads'))
    if args.device.type != 'cpu':
        return [table]
    for command, code in CODE.items():
        words = [sys.executable, *shlex.split(command)[1:]]
        times = []
        for _ in range(1 if args.quick else 7):
            started = time.perf_counter()
            subprocess.run(words, cwd=ROOT, capture_output=True, check=True)
            times.append(time.perf_counter() - started)
        table.rows.append([f'`{command}`', statistics.median(times), ', '.join(loaded(code)) or 'none of these'])
    table.notes.append(f'Median of seven processes; looked for: {", ".join(HEAVY)}.')
    return [table]


if __name__ == '__main__':
    sys.exit(main('startup', __doc__, measure))

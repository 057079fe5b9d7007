"""How many CPU seconds until the first line, and what is loaded on the way?"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import subprocess
import sys
from functools import partial

from benchmarks.common import Table, main, percent
from benchmarks.page import FOLDER
from mlsgm_pyg.app.common import cost

ROOT = FOLDER.parent
HEAVY = ('torch', 'lightning', 'matplotlib', 'sklearn', 'timm')
CODE = {
    'python -m mlsgm_pyg --help': "from mlsgm_pyg.app.cli import main; main(['--help'])",
    'python -m mlsgm_pyg train --rows': "from mlsgm_pyg.app.cli import main; main(['train', '--rows'])",
    'python -m mlsgm_pyg predict no x': "from mlsgm_pyg.app.cli import main; main(['predict', 'no', 'x'])",
    'python -m mlsgm_pyg train no': "from mlsgm_pyg.app.cli import main; main(['train', 'no'])",
    'python -m experiments.run --list': "from experiments import run; run.main(['--list'])",
    'python -c "import torch, torch_geometric"': 'import torch, torch_geometric',
    'python -c "import mlsgm_pyg"': 'import mlsgm_pyg',
    'python -c "from mlsgm_pyg import MLSGM"': 'from mlsgm_pyg import MLSGM',
}


def start(*words: str) -> str:
    """A process of this Python, which may keep bytecode; gives what it says on standard error."""
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONDONTWRITEBYTECODE'}
    words = (sys.executable, *words)
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 2):  # 2: what was named is not there, and was told.
        raise RuntimeError(done.stderr)
    return done.stderr


def loaded(code: str) -> list[str]:
    """The heavy modules that some code has loaded at its end."""
    after = f'{code}; import sys; print(*[m for m in {HEAVY} if m in sys.modules], file=sys.stderr)'
    return start('-W', 'ignore', '-c', after).split('\n')[-2].split()


def of_children() -> float:
    """CPU seconds of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(args: argparse.Namespace) -> list[Table]:
    table = Table('Starting', ('command', 'CPU seconds', 'spread %', 'loads'))
    calls = {command: partial(start, *shlex.split(command)[1:]) for command in CODE}
    for command, time in cost.seconds(calls, args.quick, 5, of_children).items():
        what = ', '.join(loaded(CODE[command])) or 'none of these'
        table.rows.append([f'`{command}`', time.median, percent(time), what])
    table.notes.append(f'Looked for: {", ".join(HEAVY)}. Bytecode is there, from a first run.')
    return [table]


if __name__ == '__main__':
    sys.exit(main('startup', __doc__, measure))

"""The paper: its rows, tables, figures, sweeps, few-shot and zero-shot experiments, run with `python -m` in a clone."""

import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

from mlsgm_pyg.app.cli import NEEDED
from mlsgm_pyg.app.config import FOLDERS

LIBRARY = ('torch', 'torchvision', 'torch_geometric', 'torchmetrics', 'skimage', 'sklearn')

# The benchmarks need less, and say themselves what they lack.
if 'benchmarks' not in sys.modules and (missing := [name for name in (*LIBRARY, *NEEDED) if find_spec(name) is None]):
    raise SystemExit(
        f"the experiments need {', '.join(missing)}, not installed for this Python: 'make run' sets everything up in "
        '.venv (then use .venv/bin/python), or \'pip install -e ".[experiments]"\' in the clone'
    )

warnings.filterwarnings('ignore', r'.*torch\.jit', FutureWarning)  # PyG's, when it is imported.
FOLDERS.append(Path(__file__).parent / 'configs')

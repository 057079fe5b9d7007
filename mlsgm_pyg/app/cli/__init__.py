"""What `mlsgm` is: a verb, and the words that are its own.

Each verb is a file here: it reads its words, calls one function of `mlsgm_pyg.app`, and prints.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

import mlsgm_pyg
from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError, nearest

VERBS = {
    'train': 'train on a folder of photographs, or on embedded digits',
    'predict': 'labels, probabilities and boxes of photographs',
    'check': 'what is in a folder of photographs and labels, before training',
    'report': 'one HTML file on a finished run',
    'compare': 'finished runs side by side',
    'export': 'one ONNX or torch.export file from image to scores and boxes',
    'demo': 'a page in the browser: drop a picture',
    'card': 'the model card of a checkpoint',
}
LIGHT = ('rich',)  # What predict needs beside an ONNX file's own onnxruntime.
NEEDED = ('lightning', 'omegaconf', 'rich', 'jinja2', 'markupsafe', 'filelock', 'matplotlib', 'tensorboard')


def check_packages(verb: str = '', words: Sequence[str] = ()) -> None:
    """Raises:
    ImportError: If what the commands need beside the library is not installed.
    """
    is_drawn = any(word.startswith('--dr') for word in words)  # By matplotlib and jinja2.
    is_light = verb == 'predict' and not is_drawn and any(word.endswith('.onnx') for word in words)
    if missing := [name for name in (LIGHT if is_light else NEEDED) if find_spec(name) is None]:
        raise ImportError(f"the commands need {', '.join(missing)}, not installed here: pip install 'mlsgm_pyg[app]'")


def usage() -> str:
    verbs = '\n'.join(f'  {verb:9}{about}' for verb, about in VERBS.items())
    return f'usage: mlsgm VERB ...     (mlsgm VERB --help says more)\n\n{verbs}'


@cli.door()
def main(argv: list[str]) -> int:
    """Carries out a verb; returns the exit status."""
    verb = argv[0] if argv else ''
    if verb in ('', '-h', '--help'):
        print(usage(), file=sys.stdout if verb else sys.stderr)
        return 0 if verb else 2
    if verb == '--version':
        print(f'mlsgm {mlsgm_pyg.__version__}')
        return 0
    if verb not in VERBS:
        raise ConfigError(f"mlsgm has no verb '{verb}': {nearest(verb, VERBS)}")
    check_packages(verb, argv[1:])
    warnings.filterwarnings('ignore', r'.*torch\.jit', FutureWarning)  # PyG's, when it is imported.
    return import_module(f'{__name__}.{verb}').main(argv[1:])

"""What is said by a command that is a verb of `mlsgm` now."""

from __future__ import annotations

import shlex
import sys


def tell(verb: str) -> None:
    """Ends the process, with the same words as they are given to `mlsgm`."""
    sys.exit(
        f'error: `python -m experiments.{verb}` is `mlsgm {verb}` now: {shlex.join(["mlsgm", verb, *sys.argv[1:]])}'
    )

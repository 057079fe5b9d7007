"""What is said by a command that is a verb of `mlsgm` now."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence


def tell(verb: str, words: Sequence[str] | None = None) -> None:
    """Ends the process, with the same words as they are given to `mlsgm`."""
    command = shlex.join(['mlsgm', verb, *(sys.argv[1:] if words is None else words)])
    print(f'error: this command has moved: {command}', file=sys.stderr)
    sys.exit(2)

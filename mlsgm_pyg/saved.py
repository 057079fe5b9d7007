"""Files that torch.save wrote: their tensors and plain containers, and never anything that they ask to run."""

import os
import re
import warnings
from pathlib import Path
from typing import Any

import torch


def read_saved(path: str | Path) -> Any:
    """Reads a file with :obj:`weights_only=True`, onto the CPU.

    Args:
        path (str or Path): The file.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If that is no path.
        ValueError: If the file cannot be read, or holds anything but tensors and plain containers; in one line.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f'a checkpoint is named by its path, a str or Path (got {path!r})')
    if not os.path.exists(path):  # Not Path(''), which is the folder one is in.
        raise FileNotFoundError(f"there is no checkpoint '{path}'")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'Detected pickle protocol')  # An error follows.
            return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        told = f'{path} is not a readable checkpoint of tensors and plain containers: {_short(error)}'
        raise ValueError(told) from error


def _short(error: Exception) -> str:
    """One line of torch's many, which also say how to run what a file holds."""
    told = ' '.join(str(error).split())
    code = re.search(r'nsupported (?:global: )?GLOBAL (\S+)', told)
    if code:
        return f"it asks to run '{code[1]}', which is never done"
    if isinstance(error, OSError | RuntimeError) and told:  # A file that cannot be opened, or a broken archive.
        return told
    return 'it was not written by torch.save, or is not whole'

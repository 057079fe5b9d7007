"""Models by name on a model hub: `hub:OWNER/NAME` or `hub:OWNER/NAME@REVISION`, through huggingface_hub."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PREFIX = 'hub:'
CHECKPOINT, EXPORTED = 'model.ckpt', 'model.onnx'  #: What a model's files are called there.


def is_name(model: Any) -> bool:
    """Whether something names a model on a hub."""
    return isinstance(model, str | os.PathLike) and os.fspath(model).startswith(PREFIX)


def fetch(name: str | os.PathLike) -> Path:
    """The file of a model on a hub, downloaded if it is not here yet: its checkpoint, or where there is no torch its
    ONNX file. The environment says which hub (HF_ENDPOINT) and who asks (HF_TOKEN).

    Args:
        name (str): `hub:OWNER/NAME`, and `@` and a branch, tag or commit, if it is not the newest.

    Raises:
        ImportError: If huggingface_hub is missing.
        ValueError: If the name is none, there is no such model, or the hub cannot be reached.
    """
    hub = package()
    repo, _, revision = os.fspath(name).removeprefix(PREFIX).partition('@')
    file = CHECKPOINT if find_spec('torch') else EXPORTED
    try:
        return Path(hub.hf_hub_download(repo, file, revision=revision or None, endpoint=endpoint()))
    except Exception as error:
        raise ValueError(f"cannot fetch '{name}': {reason(error, repo, file, revision)}") from error


def endpoint() -> str:
    """The hub's address."""
    return os.environ.get('HF_ENDPOINT') or 'https://huggingface.co'


def package() -> Any:
    """The package huggingface_hub, or how to install it.

    Raises:
        ImportError: If it is missing.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError("a model hub needs the package huggingface_hub: pip install 'mlsgm_pyg[hub]'") from error
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # It tells of every attempt.
    return huggingface_hub


def reason(error: Exception, repo: str, file: str = '', revision: str = '') -> str:
    """Why a hub did not do as it was asked, in one line."""
    from huggingface_hub import errors

    error = error.__cause__ if type(error) is RuntimeError and error.__cause__ else error  # Of one of several files.
    kinds = {
        errors.HFValidationError: "a name is 'OWNER/NAME', and perhaps '@REVISION'",
        errors.GatedRepoError: f"'{repo}' is given to those alone whom its owner lets in: ask there, then set HF_TOKEN",
        errors.RepositoryNotFoundError: f"{endpoint()} has no model '{repo}', or not for you (HF_TOKEN)",
        errors.RevisionNotFoundError: f"'{repo}' has no revision '{revision}'",
        errors.LocalEntryNotFoundError: f'{endpoint()} cannot be reached, and the file is not here yet',
        errors.EntryNotFoundError: f"'{repo}' has no file '{file}'",
    }
    status = getattr(getattr(error, 'response', None), 'status_code', None)
    if status in (401, 403) and not isinstance(error, errors.GatedRepoError | errors.RepositoryNotFoundError):
        return f'{endpoint()} does not let you ({status}): set HF_TOKEN to a token that may'
    told = next((told for kind, told in kinds.items() if isinstance(error, kind)), None)
    return told or f'{endpoint()}: {" ".join(str(error).split())[:200]}'

"""Checkpoints that explain themselves: tensors and plain Python containers, enough to build the model again."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlsgm_pyg import models
from mlsgm_pyg.saved import read_saved

KEY = 'mlsgm_pyg'
FORMAT_VERSION = 1
PREFIX = 'model.'  # Where a LightningModule keeps the model.


def pack(
    model_config: dict[str, Any],
    class_names: list[str],
    word_vectors: Tensor | None = None,
    extra: dict[str, Any] | None = None,
    card: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What a checkpoint carries beside its weights, to be stored under :data:`KEY`.

    Args:
        model_config (dict): The arguments of :func:`mlsgm_pyg.models.build` but for the number of labels and the word
            vectors; plain values only.
        class_names (list[str]): The labels in the order of the scores.
        word_vectors (Tensor, optional): Of the labels, where the model has them. (default: :obj:`None`)
        extra (dict, optional): Anything else that is plain, such as the whole configuration. (default: :obj:`None`)
        card (dict, optional): What people should know of the model, in plain values: what it learned from, its
            metrics, licences, use and limits. (default: :obj:`None`)

    Shapes:
        - **word_vectors:** :math:`(C, F)`
    """
    return {
        'format_version': FORMAT_VERSION,
        'model': dict(model_config),
        'class_names': list(class_names),
        'word_vectors': None if word_vectors is None else word_vectors.detach().cpu(),
        'extra': dict(extra or {}),
        'card': dict(card or {}),
    }


def read(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint file with :obj:`weights_only=True` and checks that this version understands it.

    Args:
        path (str or Path): The file.

    Returns:
        dict: At least :obj:`'state_dict'`, and under :data:`KEY` what :func:`pack` made.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If that is no path.
        ValueError: If the file is not a checkpoint of this project, is damaged, or from a later version.
    """
    checkpoint = read_saved(path)
    if not isinstance(checkpoint, dict) or KEY not in checkpoint or 'state_dict' not in checkpoint:
        raise ValueError(f"{path} is not a checkpoint of mlsgm_pyg: it lacks '{KEY}' or 'state_dict'")
    about, state = checkpoint[KEY], checkpoint['state_dict']
    version = about.get('format_version') if isinstance(about, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(f'{path} has format version {version}; this installation reads {FORMAT_VERSION}')
    about.setdefault('card', {})  # Checkpoints had none at first.
    for name, kind in (('model', dict), ('class_names', list), ('extra', dict), ('card', dict)):
        if not isinstance(about.get(name), kind):
            raise ValueError(
                f"{path} is damaged: '{name}' must be a {kind.__name__} (got {type(about.get(name)).__name__})"
            )
    named = isinstance(state, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    if not named:
        raise ValueError(f"{path} is damaged: 'state_dict' must hold tensors by name")
    if not all(isinstance(name, str) for name in about['class_names']):
        raise ValueError(f"{path} is damaged: 'class_names' must hold names")
    if not isinstance(about['extra'].get('data', {}), dict | type(None)):
        raise ValueError(f"{path} is damaged: 'extra' must hold the configuration's 'data' as a dict")
    return checkpoint


def load(path: str | Path, device: torch.device | str = 'cpu') -> torch.nn.Module:
    """Builds the model of a checkpoint, ready to predict.

    Args:
        path (str or Path): The file.
        device (torch.device or str): Where the model goes. (default: :obj:`'cpu'`)

    Returns:
        The model in evaluation mode, with :obj:`class_names` (list of str), :obj:`config` (the training
        configuration, a dict) and :obj:`card` (what people should know of it, a dict; empty in older checkpoints).

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If that is no path.
        ValueError: If the file is not a checkpoint of this project or its weights do not fit.
    """
    checkpoint = read(path)
    about = checkpoint[KEY]
    options = {**about['model'], 'weights': 'none'}  # All weights are in the checkpoint: nothing to download.
    num_labels = len(about['class_names'])
    together = torch.zeros(num_labels, num_labels)  # A buffer, where a model has it: the weights bring it.
    try:
        model = models.build(
            **options, num_labels=num_labels, word_vectors=about.get('word_vectors'), co_occurrence=together
        )
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:  # The file may say anything.
        raise ValueError(f'{path} describes a model that cannot be built: {error}') from error
    state = {k.removeprefix(PREFIX): v for k, v in checkpoint['state_dict'].items() if k.startswith(PREFIX)}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        told = ' '.join(str(error).split())  # torch's message has many lines.
        raise ValueError(f'{path} does not fit the model that it describes: {told}') from error
    model.class_names, model.config, model.card = about['class_names'], about['extra'], about['card']
    return model.to(device).eval()

"""Checkpoints that explain themselves: tensors and plain Python containers, enough to build the model again."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlsgm_pyg import models
from mlsgm_pyg.datasets.geometry import FIXED_VIEWS
from mlsgm_pyg.decisions import Decisions
from mlsgm_pyg.names import check_names, check_size
from mlsgm_pyg.saved import check_finite, check_types, is_plain, read_saved

KEY = 'mlsgm_pyg'
FORMAT_VERSION = 2
PREFIX = 'model.'  # Where a LightningModule keeps the model.
RELATION = r'^((?!backbone).*\b(?:node_convs|edge_convs|edges))\.(\w+?)__(\w+?)__(\w+?)'
MATCHING = [(r'^reduce\.', 'csac.reduce.'), (r'^(encoder|blocks|decoder|word_vectors)(?=\.|$)', r'ilms.\1')]
ALONE = [(r'^reduce\.', 'csac.reduce.'), (r'^instances\.', 'instance_stack.'), (r'^labels\.', 'label_stack.')]
#: What format 1 called the parameters of a model, as regular expressions, and what they are called now.
RENAMED = {
    name: [
        *rules,
        (RELATION + r'__rev\.', r'\1.<\4___rev_\3___\2>.'),
        (RELATION + r'\.', r'\1.<\2___\3___\4>.'),
        (r'^((?!backbone).*)\bedge_convs\.', r'\1edge_updates.'),
    ]
    for name, rules in {'ml_sgm': MATCHING, 'wo_csac': MATCHING, 'ablation': ALONE}.items()
}


def pack(
    model_config: dict[str, Any],
    class_names: list[str],
    word_vectors: Tensor | None = None,
    extra: dict[str, Any] | None = None,
    card: dict[str, Any] | None = None,
    decisions: Decisions | None = None,
) -> dict[str, Any]:
    """What a checkpoint carries beside its weights, to be stored under :data:`KEY`.

    Args:
        model_config (dict): The arguments of :func:`mlsgm_pyg.models.build` but for the number of labels and the word
            vectors; plain values only.
        class_names (list[str]): The labels in the order of the scores.
        word_vectors (Tensor, optional): Of the labels, where the model has them. (default: :obj:`None`)
        extra (dict, optional): Anything else that is plain, such as the whole configuration. Its :obj:`'data'`, where
            there is one, says how pictures are seen: :obj:`'image_size'` in pixels and, if they are not the defaults,
            :obj:`'test_view'` (:obj:`'resize'`) and :obj:`'test_sizes'` (that size alone). (default: :obj:`None`)
        card (dict, optional): What people should know of the model, in plain values: what it learned from, its
            metrics, licences, use and limits. (default: :obj:`None`)
        decisions (Decisions, optional): Temperature and thresholds, where they were fitted. (default: :obj:`None`)

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
        'decisions': None if decisions is None else decisions.plain(),
    }


def read(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint file with :obj:`weights_only=True` and checks that it is whole and that this version
    understands it.

    Args:
        path (str or Path): The file.

    Returns:
        dict: At least :obj:`'state_dict'`, and under :data:`KEY` what :func:`pack` made. Of format version 1, which is
        named there, the parameters have the names of today.

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
    if type(version) is not int or version not in (1, FORMAT_VERSION):
        raise ValueError(f'{path} has format version {version}; this installation reads 1 and {FORMAT_VERSION}')
    about.setdefault('card', {})  # Checkpoints had none at first.
    about.setdefault('decisions', None)
    try:
        _check_about(about)
        if not isinstance(state, dict) or not all(isinstance(k, str) and is_plain(v) for k, v in state.items()):
            raise ValueError("'state_dict' must hold tensors by name")
        check_finite(state, 'state_dict')
        check_finite(about.get('word_vectors'), 'word_vectors')
    except ValueError as error:
        raise ValueError(f'{path} is damaged: {error}') from error
    if version == 1:
        checkpoint['state_dict'] = _renamed(about['model'], state)
    return checkpoint


def _renamed(options: dict[str, Any], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of format 1 by their names of today; the ways of averaging that are gone gave the same mean."""
    if options.get('backend') in ('segment_csr', 'torch', 'dense'):
        options['backend'] = 'auto'
    out = {}
    for key, value in state.items():
        name = key.removeprefix(PREFIX)
        for old, new in RENAMED.get(options.get('name'), []):
            name = re.sub(old, new, name)
        out[PREFIX + name if key.startswith(PREFIX) else key] = value
    return out


def load(path: str | Path, device: torch.device | str = 'cpu') -> torch.nn.Module:
    """Builds the model of a checkpoint, ready to predict.

    Args:
        path (str or Path): The file.
        device (torch.device or str): Where the model goes. (default: :obj:`'cpu'`)

    Returns:
        The model in evaluation mode, with :obj:`class_names` (list of str), :obj:`config` (the training
        configuration, a dict), :obj:`card` (what people should know of it, a dict; empty in older checkpoints) and
        :obj:`decisions` (a :class:`~mlsgm_pyg.decisions.Decisions`; None where none were fitted).

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If that is no path.
        ValueError: If the file is not a checkpoint of this project, is damaged, or its weights do not fit.
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
    except ImportError:
        raise
    except Exception as error:  # The file may say anything.
        raise ValueError(f'{path} describes a model that cannot be built: {error}') from error
    state = {k.removeprefix(PREFIX): v for k, v in checkpoint['state_dict'].items() if k.startswith(PREFIX)}
    try:
        fill(model, state)
    except ValueError as error:
        raise ValueError(f'{path} does not fit the model that it describes: {error}') from error
    model.class_names, model.config, model.card = about['class_names'], about['extra'], about['card']
    model.decisions = None if about['decisions'] is None else Decisions.of(about['decisions'])
    return model.to(device).eval()


def fill(module: torch.nn.Module, state: dict[str, Tensor]) -> None:
    """Puts weights in the place of a module's own.

    Args:
        module (torch.nn.Module): The module; changed in place.
        state (dict): All its tensors by name.

    Raises:
        ValueError: If names or shapes differ, or weights came as whole numbers; in one line.
    """
    check_types(module, state)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(' '.join(str(error).split())) from error  # torch's message has many lines.


def _check_about(about: dict[str, Any]) -> None:
    for name, kind in (('model', dict), ('class_names', list), ('extra', dict), ('card', dict)):
        if not isinstance(about.get(name), kind):
            raise ValueError(f"'{name}' must be a {kind.__name__} (got {type(about.get(name)).__name__})")
    names, data = about['class_names'], about['extra'].get('data')
    check_names(names)
    if not isinstance(data, dict | None):
        raise ValueError("'extra' must hold the configuration's 'data' as a dict")
    if data is not None:
        _check_view(data)
    if about['decisions'] is not None and Decisions.of(about['decisions']).classes.keys() != {*names}:
        raise ValueError("'decisions' must have a threshold for each of the class names")


def _check_view(data: dict[str, Any]) -> None:
    """Whether a configuration says how pictures are seen; otherwise they would be seen in another way than trained."""
    view, more = data.get('test_view') or 'resize', data.get('test_sizes') or []
    if not isinstance(more, list):
        raise ValueError(f"'data.test_sizes' must be a list of sizes in pixels (got {more!r})")
    for name, sizes in (('image_size', [data.get('image_size')]), ('test_sizes', more)):
        for size in sizes:
            check_size(size, f'data.{name}')
    if view not in FIXED_VIEWS:
        raise ValueError(f"'data.test_view' must be one of {', '.join(FIXED_VIEWS)} (got {view!r})")

"""Where training starts from: another run's weights (`init=RUN`), as of a head that was trained on cached maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlsgm_pyg import checkpoint
from mlsgm_pyg.app.results.groups import chosen_run, find_one
from mlsgm_pyg.models import ImageModel


def start_from(model: ImageModel, options: dict[str, Any], class_names: Sequence[str], path: str | Path) -> None:
    """Gives a model, built with these options, the weights of a checkpoint or of a run, whose last epoch counts (of
    two models that were trained together, that one's); it must be of the same model, labels and word vectors."""
    path = Path(path)
    if path.is_dir():
        folder = path if (path / 'last.ckpt').is_file() else chosen_run(path, options['name']) or find_one(path)
        path = folder / 'last.ckpt'
    if not path.is_file():
        raise ValueError(f"'init': there is no checkpoint '{path}'")
    found = checkpoint.read(path)
    about = found[checkpoint.KEY]
    if (name := about['model'].get('name')) != options['name']:
        raise ValueError(f"'init' must be of model.name={options['name']} ('{path}' is {name})")
    if about['class_names'] != list(class_names):
        raise ValueError(
            f"'init' must have this data set's {len(class_names)} labels in their order ('{path}' has "
            f'{len(about["class_names"])}: {", ".join(about["class_names"][:3])}, ...)'
        )
    words = getattr(model, 'word_vectors', None)
    words = None if words is None else words.clone()
    state = {k.removeprefix(checkpoint.PREFIX): v for k, v in found['state_dict'].items()}
    try:
        checkpoint.fill(model, {k: v for k, v in state.items() if not k.startswith('scores.')})
    except ValueError as error:
        raise ValueError(f"'init': '{path}' does not fit the options of 'model': {error}") from error
    if words is not None and not words.equal(model.word_vectors):
        raise ValueError(f"'semantics.source' must give the word vectors of 'init', '{path}' (got others)")

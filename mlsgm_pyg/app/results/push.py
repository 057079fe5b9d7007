"""A checkpoint and its card on a model hub, where `hub:OWNER/NAME` finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlsgm_pyg import hub
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.results import model_card


def push(checkpoint: Path, name: str, exported: Path | None = None) -> str:
    """Uploads a checkpoint, its model card and perhaps its ONNX file in one commit; makes the repository if need be.

    Args:
        checkpoint (Path): The model.
        name (str): `OWNER/NAME`, of whoever the token (HF_TOKEN) is of.
        exported (Path, optional): What `mlsgm export --format onnx` made of it.

    Returns:
        str: Where it can be looked at.

    Raises:
        ConfigError: If the checkpoint has no card, or the hub cannot be reached or does not take it.
    """
    package, name = hub.package(), name.removeprefix(hub.PREFIX)
    text = page(model_card.read(checkpoint), name).encode()
    files = {'README.md': text, hub.CHECKPOINT: checkpoint, hub.EXPORTED: exported}
    parts = [package.CommitOperationAdd(place, given) for place, given in files.items() if given is not None]
    api = package.HfApi(endpoint=hub.endpoint())
    if package.get_token() is None:
        raise ConfigError(f"cannot push '{name}': there is no token: set HF_TOKEN, or 'hf auth login'")
    try:
        api.create_repo(name, exist_ok=True)
        api.create_commit(name, parts, commit_message='A model of mlsgm_pyg')
    except Exception as error:
        raise ConfigError(f"cannot push '{name}': {hub.reason(error, name)}") from error
    return f'{hub.endpoint()}/{name}'


def page(card: dict[str, Any], name: str) -> str:
    """A card as the hub's README: what it searches by, the card, and how the model is used."""
    package, found, results = hub.package(), card.get('evaluation'), None
    if found and found['metrics']['mAP'] is not None:
        about = {'task_type': 'image-classification', 'dataset_type': card['trained_on']['data']}
        about |= {'dataset_name': card['trained_on']['data'], 'dataset_split': found['split']}
        results = [package.EvalResult(metric_type='mAP', metric_value=found['metrics']['mAP'], **about)]
    data = package.ModelCardData(
        library_name='mlsgm_pyg',
        pipeline_tag='image-classification',
        tags=['multi-label', 'graph-neural-network'],
        model_name=card['name'],
        eval_results=results,
    )
    use = f'## Use it\n\n```bash\nmlsgm predict {hub.PREFIX}{name} PHOTOGRAPHS\n```\n'
    return f'---\n{data.to_yaml()}\n---\n\n{model_card.page(card)}\n{use}'

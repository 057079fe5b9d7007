"""Models by name, `hub:OWNER/NAME`, from a hub on this machine: names that are none, and files that are no model."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.hostile.case import RAN, Case, Result
from tests.hostile.stock import Stock
from tests.model_hub import Hub

NAMES = (
    '', 'x', 'a/b/c', '../x', 'a/..', 'a/b@', 'a/b@v9', 'a/b@../../x', '/etc/passwd', 'a/ b', 'a/[x]', 'a/none',
    'a' * 200, '@', 'a/b@@', 'a/%2e%2e',
)  # fmt: skip


class Runs:
    """A pickle that would run code."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path(RAN),)


FILES = {'nothing': b'', 'HTML': b'<html>', 'a zip without end': b'PK\3\4' + bytes(99), 'code': pickle.dumps(Runs())}


def fetched(name: str, content: bytes | None = None):
    def act(stock: Stock, rng: Any) -> list[str]:
        import os

        from huggingface_hub import constants

        hub = Hub()
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        if content is not None:
            hub.files['a/b', 'model.ckpt'] = content
        os.environ['HF_ENDPOINT'] = hub.url
        constants.HF_HUB_CACHE = str(Path('hub').absolute())
        return ['mlsgm', 'predict', f'hub:{name}', str(stock.photos / 'images' / '0.png'), '--accelerator', 'cpu']

    return act


def inside(result: Result) -> str:
    more = {path.name for path in Path().iterdir()} - {'hub', 'predictions.jsonl'}
    return f'wrong: it wrote {more}' if more else ''


def cases() -> Iterator[Case]:
    for name in NAMES:
        yield Case(f'the name {name[:20]!r}', fetched(name), 'hub:', False, inside)
    for what, content in FILES.items():
        yield Case(f'a model that is {what}', fetched('a/b', content), 'a/b|model.ckpt|checkpoint', False, inside)

"""What attacks are made of: a tiny model, its run, a baseline's run, an exported file and a folder of photographs."""

from __future__ import annotations

import os
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.conftest import MANY, TINY

NAMES = ('red', 'green', 'blue')


class Stock:
    """Files that attacks copy, damage, and give to commands; nothing of it is ever changed.

    Attributes:
        root (Path): Where it lies.
        server: What the part's `scope` gave, such as the address of a server.
    """

    def __init__(self, root: Path):
        self.root, self.server = root, None  # type: tuple[Path, Any]

    @property
    def photos(self) -> Path:
        """A folder of 34 photographs with `labels.csv` (split train and test; red, green, blue)."""
        return self.root / 'photos'

    @cached_property
    def run(self) -> Path:
        """The folder of a finished run of ML-SGM on those."""
        return next((self.root / 'runs' / 'ours').iterdir())

    @cached_property
    def baseline(self) -> Path:
        """The same of the linear baseline."""
        return next((self.root / 'runs' / 'linear').iterdir())

    @property
    def checkpoint(self) -> Path:
        return self.run / 'last.ckpt'

    @property
    def exported(self) -> Path:
        """The model as an ONNX file."""
        return self.root / 'model.onnx'

    @property
    def train(self) -> list[str]:
        """Words of `experiments.run` that train a tiny model on those photographs in a second, into `runs`."""
        return ['digits', *options(self.photos), 'runs_dir=runs']


def options(photos: Path) -> list[str]:
    one = ['data.name=csv', f'data.root={photos}', 'semantics.source=onehot', 'trainer.max_epochs=1', *MANY]
    return [*(word for word in TINY if not word.startswith('trainer.max_epochs')), *one]


def build(root: Path) -> None:
    """Makes the stock; in a process of its own, since training leaves threads."""
    from mlsgm_pyg.app.cli import main
    from mlsgm_pyg.app.config import load as configs
    from mlsgm_pyg.app.training import train

    os.environ['MLSGM_CACHE'] = str(root / 'cache')
    stock = Stock(root)
    photographs(stock.photos)
    given = [*options(stock.photos), f'runs_dir={root / "runs"}']
    train.run(configs.load('digits', [*given, 'name=ours']), command='mlsgm train photos')
    train.run(configs.load('digits_baseline', [*given, 'name=linear']), command='mlsgm train photos')
    if main(['export', str(stock.run), '--format', 'onnx', '--out', str(stock.exported)]):
        raise SystemExit('the stock of attacks could not be exported')


def photographs(folder: Path, number: int = 34) -> None:
    """Writes small pictures and their labels."""
    (folder / 'images').mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = [f'file,split,{",".join(NAMES)}']
    for i in range(number):
        y = (rng.random(3) < 0.5).astype(int)
        noise = rng.integers(0, 156, (24, 24, 3)) + 100 * y
        Image.fromarray(noise.astype(np.uint8)).save(folder / 'images' / f'{i}.png')
        lines.append(f'{i}.png,{"train" if i < 21 else "test"},{",".join(map(str, y))}')
    (folder / 'labels.csv').write_text('\n'.join(lines) + '\n')


def opened(path: Path) -> Any:
    """The first image of a file, closed."""
    with closing(Image.open(path)) as image:
        return image.copy()

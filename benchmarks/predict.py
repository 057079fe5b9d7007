"""How fast is `mlsgm predict`, files to records, beside the bare model's forward on images that lie in memory?

Forward: the model alone, batch after batch, each of the same size, by torch, and with its backbone through ONNX Runtime
where predict has it so. Predict: the whole command but for loading the checkpoint: it lists, reads and resizes the
pictures, makes ONNX Runtime ready, runs the model, maps boxes back and writes records. They take turns. With --images
and --checkpoint it measures a trained model on photographs; without, random ones of both.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import mlsgm_pyg
from benchmarks.common import Table, main, percent
from mlsgm_pyg import checkpoint, fast_backbone, models
from mlsgm_pyg.app.common import cost
from mlsgm_pyg.app.prediction import job
from mlsgm_pyg.app.prediction.inputs import Inputs
from mlsgm_pyg.app.prediction.records import Records
from mlsgm_pyg.datasets import ImageError, read_image
from mlsgm_pyg.decisions import temperature_of
from mlsgm_pyg.scoring import view_of

COLUMNS = (
    'pictures',
    'model',
    'side',
    'batch',
    'workers',
    'forward by torch, pictures/s',
    'as predict has it',
    'predict, pictures/s',
    'of that forward',
    'spread %',
)
OPTIONS = {'name': 'ml_sgm', 'backbone': 'efficientnet_lite0', 'weights': 'none', 'feature_channels': 512}
SMALL = {'name': 'ml_sgm', 'backbone': 'resnet18', 'weights': 'none', 'feature_channels': 16, 'hidden_channels': 8}


def options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--checkpoint', type=Path, metavar='FILE', help='default: random weights, 18 classes')
    add('--images', metavar='DIR', help='default: random pictures of 320 x 240')
    add('--limit', type=int, default=1000, help='pictures (default: %(default)s)')
    add('--batch-size', type=int, default=32, help='default: %(default)s')
    add('--workers', type=int, default=2, help='processes that read pictures (default: %(default)s)')
    add('--rounds', type=int, default=3, help='turns of each (default: %(default)s)')


def make_checkpoint(path: Path, quick: bool) -> Path:
    model_options, names = SMALL if quick else OPTIONS, [f'class {i}' for i in range(18)]
    model = models.build(num_labels=18, word_vectors=torch.randn(18, 50), **model_options)
    state = {checkpoint.PREFIX + key: value for key, value in model.state_dict().items()}
    extra = {'data': {'image_size': 32 if quick else 320}}
    about = checkpoint.pack(model_options, names, model.word_vectors, extra)
    torch.save({'state_dict': state, checkpoint.KEY: about}, path)
    return path


def make_pictures(folder: Path, number: int) -> str:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(number):
        small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        small.resize((320, 240), Image.Resampling.BICUBIC).save(folder / f'{i}.jpg', quality=90)
    return str(folder)


def readable(files: list[str], limit: int) -> list[str]:
    out = []
    for file in files:
        try:
            read_image(file)
        except ImageError:
            continue
        out.append(file)
        if len(out) == limit:
            break
    return out


class Contestants:
    """The two, on the same files.

    Args:
        args (argparse.Namespace): The benchmark's options.
        path (Path): The checkpoint.
        files (list[str]): The pictures.
        folder (Path): Where predict writes.
    """

    def __init__(self, args: argparse.Namespace, path: Path, files: list[str], folder: Path):
        self.model, self.own = mlsgm_pyg.load(path, args.device), mlsgm_pyg.load(path)  # Predict's own.
        self.args, self.path, self.files, self.folder, self.number = args, path, files, folder, 0
        self.view = view_of(self.model)
        views = (self.view(read_image(file))[0] for file in files)
        self.images = torch.stack(list(views)).split(args.batch_size)
        self.engine, self.told = fast_backbone.find(self.model.backbone, self.view.sizes, len(files))

    def torch(self) -> torch.Tensor:
        """The probabilities."""
        return self._forward(self.model.features)

    def quickest(self) -> torch.Tensor:
        """The same as predict has it."""
        return self._forward(self.engine or self.model.features)

    def _forward(self, features: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        with torch.inference_mode(), self.model.fixed_labels():
            batches = (image.to(self.args.device) for image in self.images)
            logits = torch.cat([self.model.head(features(image)).logits for image in batches]).cpu()
        return (logits / temperature_of(self.model)).sigmoid()

    def predict(self) -> Path:
        """The whole command but for loading its checkpoint; gives the records."""
        self.number += 1
        out, names = self.folder / f'{self.number}.jsonl', self.folder / 'files.txt'
        names.write_text('\n'.join(self.files))
        accelerator = 'gpu' if self.args.device.type == 'cuda' else 'cpu'
        how = {'batch_size': self.args.batch_size, 'workers': self.args.workers}
        with _loaded(self.own):
            job.predict(self.path, [names], out, accelerator=accelerator, command='benchmarks.predict', **how)
        return out

    def recorded(self, out: Path) -> torch.Tensor:
        """The probabilities in the records."""
        records = Records(out)
        found = {one['file']: one['probabilities'] for one in records}
        records.close()
        return torch.tensor([[found[file][name] for name in self.model.class_names] for file in self.files])


@contextmanager
def _loaded(model: torch.nn.Module) -> Iterator[None]:
    before = checkpoint.load
    checkpoint.load = lambda *args: model
    try:
        yield
    finally:
        checkpoint.load = before


def measure(args: argparse.Namespace) -> list[Table]:
    if args.quick:
        args.limit, args.batch_size, args.rounds = 6, 2, 1
    table = Table('Predict beside the bare forward', COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        path = args.checkpoint or make_checkpoint(folder / 'random.ckpt', args.quick)
        images = args.images or make_pictures(folder / 'images', args.limit)
        files = readable(list(Inputs([images])), args.limit)
        pair = Contestants(args, path, files, folder)
        calls = {'torch': pair.torch, 'quickest': pair.quickest, 'predict': pair.predict}
        for found in (pair.recorded(pair.predict()), pair.quickest()):
            torch.testing.assert_close(found, pair.torch(), rtol=0, atol=1e-4)
        times = cost.seconds(calls, args.quick, args.rounds, cost.wall(args.device))
    rates = [len(files) / times[name].median for name in calls]
    name, side = f'{type(pair.model).__name__}, {pair.model.backbone.name}', pair.view.sizes[0]
    rates += [rates[-1] / rates[-2], percent(*times.values())]
    table.rows.append([len(files), name, side, args.batch_size, args.workers, *rates])
    table.notes += [f'Maps by {pair.told}.'] if pair.told else []
    table.notes.append(
        'Pictures a second on the wall, as predict has several processes; it starts those that read anew in every turn.'
    )
    return [table]


if __name__ == '__main__':
    sys.exit(main('predict', __doc__, measure, options=options))

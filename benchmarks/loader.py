"""How many images a second does the data loader read, decode and augment?"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from benchmarks.common import Table, main, percent, seconds
from mlsgm_pyg.app.common import cost
from mlsgm_pyg.datasets import CsvDataset, ImageDataset, LabelledImages, Subset, build_view, collate

VIEWS = [('train', 448), ('resize', 448), ('resize', 320)]


def write_photos(folder: Path, count: int, size: tuple[int, int]) -> None:
    """JPEG files with large shapes and fine grain, of about a photograph's number of bytes."""
    (folder / 'images').mkdir()
    rng, names = np.random.default_rng(0), []
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(size, Image.BICUBIC)
        fine = Image.fromarray(rng.integers(0, 256, (size[1] // 2, size[0] // 2, 3), dtype=np.uint8)).resize(size)
        names.append(f'{i}.jpg')
        Image.blend(coarse, fine, 0.15).save(folder / 'images' / names[-1], quality=90)
    lines = ['file,split,a', *(f'{name},train,1' for name in names)]
    (folder / 'labels.csv').write_text('\n'.join(lines) + '\n')


def epochs(source: LabelledImages, view: str, size: int, workers: int, args: argparse.Namespace) -> cost.Time:
    """Seconds an epoch, after one that starts the workers: of the CPU in one process, on the wall with workers."""
    images = ImageDataset(source, build_view(view, size))
    how = {'num_workers': workers, 'persistent_workers': workers > 0}
    loader = DataLoader(images, batch_size=16, collate_fn=collate, **how)

    def epoch() -> None:
        images.set_epoch(0)
        assert sum(len(batch['index']) for batch in loader) == len(source)

    read = cost.wall(torch.device('cpu')) if workers else time.process_time
    return cost.seconds({'': epoch}, args.quick, 5, read)['']


def measure(args: argparse.Namespace) -> list[Table]:
    if args.device.type == 'cuda':
        return [transfer(args)]
    with tempfile.TemporaryDirectory() as name:
        folder, count = Path(args.root or name), 3 if args.quick else args.images
        if not args.root:
            write_photos(folder, count, (60, 48) if args.quick else (640, 480))
        source = CsvDataset(folder, 'train')
        kept = list(range(min(count, len(source))))
        kilobytes = sum((folder / 'images' / source.files[i]).stat().st_size for i in kept) / len(kept) / 1000
        source = Subset(source, kept)
        table = Table(
            f'{len(kept)} JPEG files of {kilobytes:.0f} kB',
            ('view', 'px', 'worker processes', 'images a second', 'spread %'),
        )
        for view, size in VIEWS[:1] if args.quick else VIEWS:
            for workers in (0, 1) if args.quick else (0, 1, 2):
                found = epochs(source, view, 32 if args.quick else size, workers, args)
                table.rows.append([view, size, workers, len(source) / found.median, percent(found)])
    table.notes.append(
        'One thread a process. Without workers, images a CPU second; with workers, which stay alive, a second on the '
        'wall, in which the main process works as well.'
    )
    return [table]


def transfer(args: argparse.Namespace) -> Table:
    """A batch's way to the GPU, from pageable and from pinned memory."""
    batch = torch.randint(0, 256, (2 if args.quick else 64, 3, 448, 448), dtype=torch.uint8)
    pinned = batch.pin_memory()
    times = seconds(
        {
            'pageable': lambda: batch.to(args.device, non_blocking=True),
            'pinned': lambda: pinned.to(args.device, non_blocking=True),
        },
        args,
    )
    rows = [
        [name, 1e3 * time.median, batch.numel() / time.median / 2**30, percent(time)] for name, time in times.items()
    ]
    return Table(f'{len(batch)} images to the GPU', ('memory', 'ms', 'GiB a second', 'spread %'), rows)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--root', help='a folder with images/ and labels.csv, instead of files made for this')
    parser.add_argument('--images', type=int, default=256, help='how many of them (%(default)s)')


if __name__ == '__main__':
    sys.exit(main('loader', __doc__, measure, options=options))

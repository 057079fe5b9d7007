"""Photographs in tar shards -> a Parquet file a shard, a row a photograph, by Ray Data on any number of machines.

python docs/ray_predict.py runs/photos/model.ckpt tars/*.tar --out parts    the same again, also after a kill, goes on

A row of the data set is a shard, and a shard is done when its file is there: it is written aside and renamed, so one
that was begun, or that Ray tries once more, is made anew, and no photograph counts twice. Ray's own checkpoints
(ray.data.checkpoint, tried with 2.60) remember photographs one by one: the run that goes on reads all of them again,
holds all names in memory, and waits for one more processor and 1 GiB; where there was none, for ever.
"""

import argparse
import os
import sys
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import fsspec
import pyarrow
import ray
from pyarrow import parquet

from mlsgm_pyg import Tagger
from mlsgm_pyg.datasets.images import suffixes

TEXTS, NUMBERS = pyarrow.list_(pyarrow.string()), pyarrow.list_(pyarrow.float64())
SCHEMA = pyarrow.schema(
    {
        'file': pyarrow.string(),
        'width': pyarrow.int32(),
        'height': pyarrow.int32(),
        'labels': TEXTS,  # Those that are kept, most probable first, with the next two beside each.
        'probabilities': NUMBERS,
        'boxes': pyarrow.list_(NUMBERS),  # x, y, width, height in pixels; null where a model draws none.
        'error': pyarrow.string(),  # Why the photograph could not be read; null where it could.
    }
)


class ShardTagger:
    """A Tagger for shards: each of Ray's workers makes one, which opens the model, and calls it shard by shard."""

    def __init__(self, model: str, out: Path, **options):
        self.tagger, self.out = Tagger(model, **options), out

    def __call__(self, batch: dict) -> dict[str, list]:
        told = [self.write(str(shard)) for shard in batch['shard']]
        return {'shard': list(batch['shard']), 'photographs': [n for n, _ in told], 'error': [e for _, e in told]}

    def write(self, shard: str) -> tuple[int, str]:
        """Makes a shard's file; how many photographs are in it, and what was wrong with the shard, if anything."""
        names: list[str] = []
        spare = self.out / f'.{uuid.uuid4().hex}.tmp'
        try:
            found = self.tagger(photographs(shard, names)) | {'file': names}
            parquet.write_table(pyarrow.table({name: found[name] for name in SCHEMA.names}, SCHEMA), spare)
            os.replace(spare, part(self.out, shard))
        except (OSError, EOFError, tarfile.TarError) as error:  # The other shards go on.
            spare.unlink(missing_ok=True)
            return 0, f'not done: {error}'
        return len(names), ''


def photographs(shard: str, names: list[str]) -> Iterator[bytes]:
    """The bytes of a shard's photographs, one after the other, while their names are noted; labels are passed over."""
    with fsspec.open(shard) as file, tarfile.open(fileobj=file, mode='r|*') as tar:
        for member in tar:
            if member.isfile() and PurePosixPath(member.name).suffix.lower() in suffixes():
                names.append(member.name)
                yield tar.extractfile(member).read()


def part(out: Path, shard: str) -> Path:
    return out / f'{PurePosixPath(shard).stem}.parquet'


def absolute(place: str) -> str:
    """Workers need not run in this folder; an address stays what it is."""
    return os.path.abspath(place) if os.path.exists(place) else place


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='labels and boxes of photographs in tar shards, by Ray Data')
    parser.add_argument('model', help='a checkpoint, an exported file or hub:OWNER/NAME')
    parser.add_argument('shards', nargs='+', help='tar files: paths, or addresses that fsspec opens (s3://, https://)')
    parser.add_argument('--out', type=Path, required=True, help='a folder that every machine reaches')
    parser.add_argument('--workers', type=int, default=2, help='processes, wherever Ray finds room (default: 2)')
    parser.add_argument('--gpus', type=float, default=0, help='GPUs a worker, such as 1 or 0.25 (default: none)')
    args = parser.parse_args(words)
    args.out.mkdir(parents=True, exist_ok=True)
    out, left = args.out.resolve(), {}
    for shard in map(absolute, args.shards):
        if left.setdefault(part(out, shard), shard) != shard:
            parser.error(f"'{shard}' and '{left[part(out, shard)]}' have the same name, which their files take")
    left = [shard for path, shard in left.items() if not path.exists()]
    print(f'{len(args.shards)} shards, {len(left)} to do')
    if not left:
        return 0

    shards = ray.data.from_items([{'shard': shard} for shard in left], override_num_blocks=len(left))
    told = shards.map_batches(
        ShardTagger,
        fn_constructor_args=[absolute(args.model), out],
        fn_constructor_kwargs={'batch_size': 32, 'device': 'cuda' if args.gpus else 'cpu'},  # 32 photographs at a time
        batch_size=1,  # and a shard.
        compute=ray.data.ActorPoolStrategy(size=args.workers),
        num_gpus=args.gpus,
    )
    broken = 0
    for row in told.iter_rows():  # As they are done.
        broken += bool(row['error'])
        print(f'{row["shard"]}:', row['error'] or f'{row["photographs"]} photographs', flush=True)
    return int(broken > 0)


if __name__ == '__main__':
    sys.exit(main())

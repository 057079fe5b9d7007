"""A data set's photographs in tar shards, each beside its labels: for storage that likes few large files.

python -m experiments.shards ROW FOLDER [--per-shard 1000] [key=value ...]

Writes every split of the row's data set (`photos data.root=...`: of your own) into FOLDER/SPLIT-00000.tar and so on,
which `mlsgm train FOLDER` and WebDataset read. What was broken off goes on by the same command.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import Failed
from mlsgm_pyg.app.common.files import writing
from mlsgm_pyg.app.common.progress import Bar
from mlsgm_pyg.app.common.tables import Table
from mlsgm_pyg.app.common.text import readable


@cli.door('the same command goes on')
def main(argv: list[str]) -> int:
    parser = cli.parser('python -m experiments.shards', __doc__)
    parser.add_argument('row', metavar='ROW', help='whose data set it is')
    parser.add_argument('folder', type=Path, metavar='FOLDER', help='where the shards go')
    parser.add_argument('options', nargs='*', metavar='key=value', help='options of the row')
    parser.add_argument('--per-shard', type=int, default=1000, metavar='N', help='photographs a tar (%(default)s)')
    args = parser.parse_intermixed_args(argv)
    cli.check_least(parser, args, per_shard=1)
    from mlsgm_pyg import datasets  # torch takes seconds: after the words were understood.
    from mlsgm_pyg.app.config import load as configs
    from mlsgm_pyg.app.data.parts import build_source

    data = configs.for_folder(None, args.row, args.options).data
    first = build_source(data, data.train_split)
    others = [] if data.dev else [data.test_split]
    splits = getattr(first, 'splits', None) or dict.fromkeys([data.train_split, *others])
    sources = {split: build_source(data, split) for split in splits}
    number = sum(map(len, sources.values()))
    try:
        with writing(args.folder), Bar('Shards', number, hidden=not sys.stdout.isatty()) as bar:
            datasets.write_shards(sources, args.folder, args.per_shard, bar)
    except datasets.ImageError as error:
        raise Failed(f'{error}; the same command goes on') from error
    Table('', ('split', 'photographs'), [(readable(split), len(source)) for split, source in sources.items()]).print()
    return 0


if __name__ == '__main__':
    sys.exit(main())

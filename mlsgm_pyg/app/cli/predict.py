"""Says what is in pictures, and where: labels, probabilities and boxes in the pictures' own pixels.

mlsgm predict RUN PATH...               files, folders, 'globs', lists (.txt, -)
mlsgm predict RUN PATH... --out x.csv   or .parquet, made from x.jsonl, which is always written
mlsgm predict RUN PATH... --draw DIR    each picture with its boxes, activation and scores
mlsgm predict RUN PATH... --labels a,b  scores of these labels, trained or not (ml_sgm)
mlsgm predict RUN --shards 'tars/{0000..0999}.tar' --out parts     a Parquet part a shard, by any number of processes

A list is a text file (.txt) with a path a line, or - for one on standard input. The same command again goes on where
it stopped: what is done is not done twice. Files that cannot be read are listed with their reasons, at the end and in
the output. Exit status: 0; 1 where no picture at all could be read; 2 where the command itself cannot be carried out;
143 or 130 where it was asked to stop (SIGTERM, Ctrl+C), which it does after the pictures that it is at.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.files import check_places

SUFFIXES = ('.jsonl', '.csv', '.parquet')
OF_FILES = {'files': 'PATH', 'draw': '--draw', 'again': '--again', 'retry': '--retry', 'limit': '--limit'}


def parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.parser('mlsgm predict', __doc__)
    add = parser.add_argument
    add('checkpoint', type=Path, metavar='RUN', help='a run, checkpoint, exported file, or hub:OWNER/NAME')
    add('files', nargs='*', metavar='PATH', help='files, folders, globs, text lists')
    add('--shards', nargs='+', metavar='SHARD', help='instead: tar files or lists, each for a part in the folder --out')
    add('--out', metavar='FILE', help='.jsonl, .csv or .parquet (default: predictions.jsonl; of shards: parts)')
    add('--top-k', type=int, metavar='K', help='at most so many labels a picture (default: all)')
    keep = parser.add_mutually_exclusive_group().add_argument
    keep(
        '--threshold',
        type=cli.within(0, 1),
        metavar='P',
        help='labels of at least this probability (default: fitted ones)',
    )
    keep(
        '--min-precision',
        type=cli.within(0.5, 0.99),
        metavar='P',
        help='only labels of which this part is expected to be right',
    )
    add('--labels', metavar='A,B,...', help='score these labels, trained or not, instead of the trained ones')
    add('--semantics', metavar='SOURCE', help="word vectors of new --labels (default: training's source)")
    add('--unseen-maps', default='label', help="of new --labels: label (the nearest trained one's), none or nearest")
    add('--draw', type=Path, metavar='DIR', help='draw each picture there')
    add('--upright', action='store_true', help='boxes in pixels of the picture turned upright (EXIF), not as stored')
    add('--view', help='instead of the view that the model was tested on: resize or paper')
    add('--image-size', type=int, metavar='S', help='side of the view in pixels, likewise')
    add('--max-pixels', type=int, metavar='N', help='refuse larger pictures, unread (default: 120 million)')
    add('--limit', type=int, metavar='N', help='at most so many pictures now')
    add('--again', action='store_true', help='start over, whatever is done')
    add('--retry', action='store_true', help='try the broken files once more')
    add('--batch-size', type=int, default=32, help='pictures at a time (default: %(default)s)')
    add('--workers', type=int, default=2, help='processes that read pictures (default: %(default)s)')
    add('--accelerator', default='auto', help='cpu, gpu, ... (default: %(default)s)')
    add('--precision', default='32-true', help='such as bf16-mixed (default: %(default)s)')
    args = parser.parse_intermixed_args(argv)
    if args.shards:
        if given := [name for key, name in OF_FILES.items() if getattr(args, key)]:
            parser.error(f'--shards goes without {", ".join(given)}: a part that is there is done')
        args.out = args.out or 'parts'
    else:
        args.out = Path(args.out or 'predictions.jsonl')
        if not args.files:
            parser.error('name pictures (PATH), or --shards')
        if args.out.suffix not in SUFFIXES:
            parser.error(f"--out must end in {', '.join(SUFFIXES)} (got '{args.out}')")
    cli.check_least(parser, args, batch_size=1, limit=1, top_k=1, max_pixels=1, workers=0)
    args.labels = args.labels and [name.strip() for name in args.labels.split(',')]
    if args.labels is None and (args.semantics or args.unseen_maps != 'label'):
        parser.error('--semantics and --unseen-maps are of --labels: name some')
    return args


@cli.door('the same command goes on')
def main(argv: list[str]) -> int:
    given = vars(parse(argv)) | {'command': cli.typed('mlsgm predict', argv), 'console': Console(stderr=True)}
    if given['shards']:
        from mlsgm_pyg.app.prediction.shards import predict_shards as work

        given = {key: value for key, value in given.items() if key not in OF_FILES}
    else:
        out, draw = given['out'], given['draw']
        check_places([out.with_suffix('.jsonl'), out], [draw] if draw else [])
        from mlsgm_pyg.app.prediction.job import predict as work  # torch takes seconds.

        del given['shards']
    job = work(**given)
    print(job.summary())
    return job.status

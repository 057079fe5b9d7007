"""Says what is in pictures, and where: labels, probabilities and boxes in the pictures' own pixels.

python -m experiments.predict CHECKPOINT PATH...               files, folders, 'globs', lists (.txt, -)
python -m experiments.predict CHECKPOINT PATH... --out x.csv   or .parquet, made from x.jsonl, which is always written
python -m experiments.predict CHECKPOINT PATH... --draw DIR    each picture with its boxes, activation and scores
python -m experiments.predict CHECKPOINT PATH... --labels a,b  scores of these labels, trained or not (ml_sgm)

A list is a text file (.txt) with a path a line, or - for one on standard input. The same command again goes on where
it stopped: what is done is not done twice. Files that cannot be read are listed with their reasons, at the end and in
the output. Exit status: 0; 1 where no picture at all could be read; 2 where the command itself cannot be carried out;
143 or 130 where it was asked to stop (SIGTERM, Ctrl+C), which it does after the pictures that it is at.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from pathlib import Path

from experiments.common.signals import Stopped

OUT = 'predictions.jsonl'
SUFFIXES = ('.jsonl', '.csv', '.parquet')


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m experiments.predict', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('checkpoint', type=Path, metavar='CHECKPOINT', help='such as runs/NAME/seed0-.../last.ckpt')
    add('paths', nargs='+', metavar='PATH', help='files, folders, globs, text lists')
    add('--out', type=Path, default=Path(OUT), metavar='FILE', help=f'.jsonl, .csv or .parquet (default: {OUT})')
    add('--top-k', type=int, metavar='K', help='at most so many labels a picture (default: all)')
    add('--threshold', type=float, default=0.0, metavar='P', help='labels of at least this probability (default: 0)')
    add('--labels', metavar='A,B,...', help='score these labels, trained or not, instead of the trained ones')
    add('--semantics', metavar='SOURCE', help="word vectors of new --labels (default: training's source)")
    add(
        '--unseen-maps',
        default='label',
        help="new --labels: label, the nearest trained one's score (default); none or nearest, their own word's",
    )
    add('--draw', type=Path, metavar='DIR', help='draw each picture there')
    add('--upright', action='store_true', help='boxes in pixels of the picture turned upright (EXIF), not as stored')
    add('--view', help='instead of the view that the model was tested on: resize or paper')
    add('--image-size', type=int, metavar='S', help='side of the view in pixels, likewise')
    add('--max-pixels', type=int, metavar='N', help='refuse larger pictures, unread (default: 120 million)')
    add('--again', action='store_true', help='start over, whatever is done')
    add('--retry', action='store_true', help='try the broken files once more')
    add('--batch-size', type=int, default=32, help='pictures at a time (default: %(default)s)')
    add('--workers', type=int, default=2, help='processes that read pictures (default: %(default)s)')
    add('--accelerator', default='auto', help='cpu, gpu, ... (default: %(default)s)')
    add('--devices', default='1', help='how many, or auto (default: %(default)s)')
    add('--num-nodes', type=int, default=1, help='machines, which share a folder (default: %(default)s)')
    add('--precision', default='32-true', help="Lightning's, such as bf16-mixed (default: %(default)s)")
    args = parser.parse_intermixed_args(argv)
    if args.out.suffix not in SUFFIXES:
        parser.error(f"--out must end in {', '.join(SUFFIXES)} (got '{args.out}')")
    for name, least in (('batch_size', 1), ('num_nodes', 1), ('max_pixels', 1), ('workers', 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            parser.error(f'--{name.replace("_", "-")} must be at least {least} (got {value})')
    if not re.fullmatch(r'auto|-?\d+|\d*(,\d*)+', args.devices):
        parser.error(f"--devices must be a number, numbers such as 0,1, or auto (got '{args.devices}')")
    args.labels = args.labels and [name.strip() for name in args.labels.split(',')]
    if args.labels is None and (args.semantics or args.unseen_maps != 'label'):
        parser.error('--semantics and --unseen-maps are of --labels: name some')
    return args


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse(argv)
    command = shlex.join(['python', '-m', 'experiments.predict', *argv])
    try:
        from experiments.prediction import run  # Lightning and torch take seconds.

        return run(args, command)
    except Stopped as stopped:
        if str(stopped):  # Of several processes, the first one speaks.
            print(stopped, file=sys.stderr)
        return stopped.status
    except KeyboardInterrupt:  # Before any picture.
        print('stopped; the same command goes on', file=sys.stderr)
        return 130
    except (ValueError, ImportError) as error:  # A wrong option or checkpoint.
        told = error
    except OSError as error:  # A full disk, a folder that may not be written.
        told = f"cannot go on with '{error.filename or args.out}': {error.strerror or error}"
        told += '; what is done is kept, the same command goes on from there'
    except RuntimeError as error:
        told = _known(error)
        if told is None:
            raise
    print(f'error: {" ".join(str(told).split())}', file=sys.stderr)
    return 2


def _known(error: RuntimeError) -> str | None:
    """What is behind an error that is not this program's mistake, if so."""
    import torch

    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return 'the device has not enough memory: take a smaller --batch-size; what is done is kept'
    if 'DataLoader worker' in str(error):
        return f'a process that reads pictures was ended from outside ({error}); what is done is kept'
    return None


if __name__ == '__main__':
    sys.exit(main())

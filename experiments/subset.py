"""A folder of photographs of some classes alone, from a folder of more: a second data set to try a recipe on.

python -m experiments.subset FROM TO --classes car,bus,cat,dog,train [--train 1500]

Takes, in the order of FROM/labels.csv, the first training photographs that show one of the classes, and all others that
do; writes TO/labels.csv with these columns and TO/images (hard links, or copies where links cannot be made).
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
from pathlib import Path

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.tables import Table

FILE, SPLIT, TRAIN = 'file', 'split', 'train'


def take(rows: list[dict[str, str]], classes: list[str], number: int) -> list[dict[str, str]]:
    """The rows that show one of the classes, with its columns alone; of training rows the first so many (0: all)."""
    shown = [row for row in rows if any(row[name] == '1' for name in classes)]
    train = [row for row in shown if row[SPLIT] == TRAIN][: number or None]
    rest = [row for row in shown if row[SPLIT] != TRAIN]
    return [{key: row[key] for key in (FILE, SPLIT, *classes)} for row in (*train, *rest)]


def write(source: Path, target: Path, classes: list[str], number: int) -> dict[str, int]:
    """Makes the folder; returns how many photographs each split has."""
    with (source / 'labels.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0]) if rows else []
    if missing := [key for key in (FILE, SPLIT) if key not in columns]:
        raise ValueError(f"'{source / 'labels.csv'}' must have the column {missing[0]} (it has {', '.join(columns)})")
    there = [key for key in columns if key not in (FILE, SPLIT)]
    if unknown := [name for name in classes if name not in there]:
        raise ValueError(f"'{source / 'labels.csv'}' has no class {', '.join(unknown)}: it has {', '.join(there)}")
    chosen = take(rows, classes, number)
    if not chosen:
        raise ValueError(f'no photograph shows {", ".join(classes)}')
    if target.exists():
        raise ValueError(f"'{target}' is there already")
    if absent := [row[FILE] for row in chosen if not (source / 'images' / row[FILE]).is_file()]:
        raise ValueError(f"'{source / 'images'}' lacks {len(absent)} of {len(chosen)} photographs, first '{absent[0]}'")
    for row in chosen:
        place = target / 'images' / row[FILE]
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source / 'images' / row[FILE], place)
        except OSError:  # Another disk.
            shutil.copy(source / 'images' / row[FILE], place)
    with (target / 'labels.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, [FILE, SPLIT, *classes])
        writer.writeheader()
        writer.writerows(chosen)
    return {split: sum(row[SPLIT] == split for row in chosen) for split in dict.fromkeys(row[SPLIT] for row in chosen)}


@cli.door()
def main(argv: list[str]) -> int:
    parser = cli.parser('python -m experiments.subset', __doc__)
    parser.add_argument('source', type=Path, metavar='FROM', help='a folder with labels.csv and images/')
    parser.add_argument('target', type=Path, metavar='TO', help='a folder that is not there yet')
    parser.add_argument('--classes', required=True, metavar='A,B,...', help='columns of labels.csv')
    parser.add_argument('--train', type=int, default=0, metavar='N', help='training photographs (default: all)')
    args = parser.parse_args(argv)
    cli.check_least(parser, args, train=0)
    found = write(args.source, args.target, [name.strip() for name in args.classes.split(',')], args.train)
    Table('', ('split', 'photographs'), list(found.items())).print()
    return 0


if __name__ == '__main__':
    sys.exit(main())

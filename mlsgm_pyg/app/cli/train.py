"""Trains on a folder of photographs and their labels, and says which is better there, ML-SGM or its linear baseline.

mlsgm train FOLDER                            the row `photos`: a frozen backbone, minutes
mlsgm train FOLDER --row photos_finetune init=runs/FOLDER    goes on with the backbone
mlsgm train --row digits                      embedded scenes of digits; needs no folder
mlsgm train FOLDER optimizer.lr=5e-4 seed=1   any option (mlsgm train --options lists them)

The labels are read from labels.csv, labels.json, annotations.csv or annotations.json. Parts that it names are kept;
otherwise 70 % of the photographs are trained on, 10 % fit thresholds and the choice, 20 % are reported on. The chosen
model is runs/FOLDER/model.ckpt. The same command goes on where a stopped one was, and reads a finished one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.text import shown


def parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.parser('mlsgm train', __doc__)
    parser.add_argument('words', nargs='*', metavar='FOLDER | key=value', help='the photographs, and options')
    parser.add_argument('--row', default='photos', metavar='NAME', help='a recipe (default: %(default)s); see --rows')
    parser.add_argument('--again', action='store_true', help='train a finished run once more')
    parser.add_argument('--rows', action='store_true', help='list the recipes')
    parser.add_argument('--options', action='store_true', help='list all options, with their defaults')
    args = parser.parse_intermixed_args(argv)
    folders = [word for word in args.words if '=' not in word or Path(word).is_dir()]
    if len(folders) > 1:
        parser.error(f'one folder at a time (got {" ".join(folders)})')
    args.folder = Path(folders[0]) if folders else None
    args.given = [word for word in args.words if word not in folders]
    return args


@cli.door('the same command goes on')
def main(argv: list[str]) -> int:
    args = parse(argv)
    from mlsgm_pyg.app.config import load as configs

    if args.rows:
        print(shown('\n'.join(f'{name:26}{about}' for name, about in configs.rows().items())))
        return 0
    if args.options:
        print('\n'.join(f'{key}={value}' for key, value in configs.leaves(configs.plain(configs.default())).items()))
        return 0
    configs.load(args.row, args.given)  # A wrong word is told before torch is imported.
    if args.folder and not args.folder.is_dir():
        raise ConfigError(f"there is no folder '{args.folder}'")
    from mlsgm_pyg.app.results import answer, run_tables
    from mlsgm_pyg.app.training import choose

    found = choose.beside(args.folder, args.row, args.given, args.again, cli.typed('mlsgm train', argv))
    if found is None:  # Processes beside the first have nothing to print.
        return 0
    if found.answer is None:
        run_tables.show(found.run.result)
    else:
        answer.table(found.ours, found.baseline).print()
        print(answer.sentences(found.answer, found.ours.folder.parents[1]))
    return 0

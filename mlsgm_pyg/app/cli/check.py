"""Checks a folder of photographs and its label file, and prints what one wants to know before training.

mlsgm check FOLDER [data.labels=FILE] [data.images=FOLDER] [semantics.source=SOURCE] [--doubt] [--json FILE]

It opens every image, and lists the labels that a classifier of the other images contradicts: where their feature maps
are there or few, or with --doubt. The exit status is 1 where training as the last line says would stop, 2 for a wrong
label file.
"""

from __future__ import annotations

from pathlib import Path

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.files import check_places, write_json


@cli.door()
def main(argv: list[str]) -> int:
    parser = cli.parser('mlsgm check', __doc__)
    parser.add_argument('folder', type=Path, nargs='?', metavar='FOLDER', help='the folder of the label file')
    parser.add_argument('options', nargs='*', metavar='key=value', help='options, as of mlsgm train')
    parser.add_argument('--doubt', action='store_true', help='look for labels in doubt, however long that takes')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the same numbers there')
    args = parser.parse_intermixed_args(argv)
    if args.folder is None:  # Argparse would ask for options, too.
        parser.error('the following arguments are required: FOLDER')
    check_places([args.json] if args.json else [])
    from mlsgm_pyg.app.data import check_folder, check_tables

    out = check_folder.check(args.folder, args.options, doubts=args.doubt)
    check_tables.show(out)
    if args.json:
        write_json(args.json, out)
    return 1 if out['stops'] else 0

"""How much `mlsgm check` finds: plants wrong labels and near-duplicates into a copy of a folder, and checks the copy.

python -m experiments.plant FOLDER COPY [--limit N] [--wrong 0.02] [--twins 30]    -> results/data_care.json

FOLDER has a labels.csv with a column a class and the parts train and val. In that share of the images one label that is
there becomes one that is not; the twins are changed a little, and lie in the other part.
"""

from __future__ import annotations

import csv
import io
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.files import check_places, write_json

FIRST = 0.05
OTHER = {'train': 'val', 'val': 'train'}


def saved_anew(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, 'JPEG', quality=60)
    return Image.open(file)


def without_border(image: Image.Image) -> Image.Image:
    x, y = round(0.02 * image.width), round(0.02 * image.height)
    return image.crop((x, y, image.width - x, image.height - y))


CHANGES = {
    'JPEG of quality 60': saved_anew,
    'half the size': lambda image: image.resize((image.width // 2, image.height // 2)),
    'a tenth brighter': lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    'without a border of 2 %': without_border,
}


def plant(folder: Path, copy: Path, limit: int, wrong: float, twins: int, seed: int = 0) -> dict[str, Any]:
    """Makes the copy; returns the files with a wrong label, with both classes, and the pairs with their change."""
    rng = np.random.default_rng(seed)
    with open(folder / 'labels.csv', newline='') as file:
        header, *rows = csv.reader(file)
    rows = [rows[i] for i in sorted(rng.permutation(len(rows))[:limit])]
    (copy / 'images').mkdir(parents=True)
    for row in rows:
        shutil.copy(folder / 'images' / row[0], copy / 'images')
    twin_of, made = rng.choice(len(rows), twins, replace=False), []
    for k, i in enumerate(twin_of):
        name, (what, change) = f'twin{k}.jpg', list(CHANGES.items())[k % len(CHANGES)]
        with Image.open(copy / 'images' / rows[i][0]) as image:
            change(image.convert('RGB')).save(copy / 'images' / name, quality=90)
        made.append({'files': sorted([name, rows[i][0]]), 'change': what})
        rows.append([name, OTHER[rows[i][1]], *rows[i][2:]])
    fitting = [i for i, row in enumerate(rows) if {'0', '1'} <= set(row[2:]) and not row[0].startswith('twin')]
    planted = {}
    for i in rng.choice(fitting, round(wrong * len(rows)), replace=False):
        lost, new = (rng.choice([c for c, cell in enumerate(rows[i]) if c > 1 and cell == value]) for value in '10')
        rows[i] = [*rows[i]]
        rows[i][lost], rows[i][new] = '0', '1'
        planted[rows[i][0]] = [header[lost], header[new]]
    with open(copy / 'labels.csv', 'w', newline='') as file:
        csv.writer(file).writerows([header, *rows])
    return {'wrong': planted, 'twins': made}


def found(planted: dict[str, Any], out: dict[str, Any]) -> dict[str, Any]:
    """What of it a check lists."""
    listed = list(dict.fromkeys(one['file'] for one in out['doubt']['labels']))
    first = listed[: round(FIRST * out['images'])]
    entries = [(one['file'], one['label']) for one in out['doubt']['labels']]
    wrong = [(file, label) for file, labels in planted['wrong'].items() for label in labels]
    pairs = {tuple(sorted(pair['files'])) for pair in out['near']}
    twins = {tuple(pair['files']): pair['change'] for pair in planted['twins']}
    return {
        'images': out['images'],
        'wrong_images': len(planted['wrong']),
        'wrong_images_in_first_5_percent_of_images': len(planted['wrong'].keys() & set(first)),
        'wrong_images_in_doubt': len(planted['wrong'].keys() & set(listed)),
        'images_in_doubt': len(listed),
        'wrong_labels': len(wrong),
        'labels_in_doubt': len(entries),
        'wrong_labels_in_first_as_many': len(set(wrong) & set(entries[: len(wrong)])),
        'twins': len(twins),
        'twins_found': {
            what: [sum(pair in pairs for pair, change in twins.items() if change == what), of]
            for what in CHANGES
            if (of := sum(change == what for change in twins.values()))
        },
        'other_pairs': sorted(map(list, pairs - twins.keys())),
    }


@cli.door()
def main(argv: list[str]) -> int:
    parser = cli.parser('python -m experiments.plant', __doc__)
    parser.add_argument('folder', type=Path, metavar='FOLDER')
    parser.add_argument('copy', type=Path, metavar='COPY', help='a folder that is not there yet')
    parser.add_argument('--limit', type=int, default=2700, metavar='N', help='take so many images (%(default)s)')
    parser.add_argument('--wrong', type=float, default=0.02, metavar='SHARE', help='%(default)s')
    parser.add_argument('--twins', type=int, default=30, metavar='N', help='%(default)s')
    parser.add_argument('--out', type=Path, default=Path('results/data_care.json'), metavar='FILE')
    args = parser.parse_args(argv)
    check_places([args.out])
    if args.copy.exists():
        raise ValueError(f"'{args.copy}' is there already: name a new folder")
    from mlsgm_pyg.app.data import check_folder

    planted = plant(args.folder, args.copy, args.limit, args.wrong, args.twins)
    out = found(planted, check_folder.check(args.copy, ['semantics.source=onehot'], doubts=True))
    write_json(args.out, out)
    print(args.out.read_text(), end='')
    return 0


if __name__ == '__main__':
    sys.exit(main())

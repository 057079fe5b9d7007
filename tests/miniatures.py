"""Real formats, small: a few images in the layout of a data set, written by the tests that read it."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

# As the official file has them: not in this project's words.
COCO_CATEGORIES = """
1 person|2 bicycle|3 car|4 motorcycle|5 airplane|6 bus|7 train|8 truck|9 boat|10 traffic light|11 fire hydrant|13 stop sign|14 parking meter
15 bench|16 bird|17 cat|18 dog|19 horse|20 sheep|21 cow|22 elephant|23 bear|24 zebra|25 giraffe|27 backpack|28 umbrella|31 handbag|32 tie
33 suitcase|34 frisbee|35 skis|36 snowboard|37 sports ball|38 kite|39 baseball bat|40 baseball glove|41 skateboard|42 surfboard
43 tennis racket|44 bottle|46 wine glass|47 cup|48 fork|49 knife|50 spoon|51 bowl|52 banana|53 apple|54 sandwich|55 orange|56 broccoli
57 carrot|58 hot dog|59 pizza|60 donut|61 cake|62 chair|63 couch|64 potted plant|65 bed|67 dining table|70 toilet|72 tv|73 laptop|74 mouse
75 remote|76 keyboard|77 cell phone|78 microwave|79 oven|80 toaster|81 sink|82 refrigerator|84 book|85 clock|86 vase|87 scissors
88 teddy bear|89 hair drier|90 toothbrush
"""  # noqa: E501


def photo(path: Path, number: int = 0, size: tuple[int, int] = (40, 32)) -> None:
    """A small JPEG file; its content depends on the number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def coco_categories() -> list[dict]:
    found = [entry.split(' ', 1) for entry in COCO_CATEGORIES.strip().replace('\n', '|').split('|')]
    return [{'supercategory': 'any', 'id': int(number), 'name': name} for number, name in found]


def coco_file(split: str, number: int) -> str:
    return f'COCO_{split}2014_{number:012d}.jpg'


def write_coco(root: Path, split: str, objects: dict[int, list], **changes) -> Path:
    """One split of MS-COCO 2014; :obj:`objects` has a list of (category, iscrowd) for the id of each image.

    Returns:
        The path of the annotations.
    """
    images = [
        {'license': 5, 'file_name': coco_file(split, number), 'height': 32, 'width': 40, 'id': number}
        for number in objects
    ]
    annotations = [
        {
            'segmentation': [],
            'area': 9.5,
            'iscrowd': crowd,
            'image_id': number,
            'bbox': [1, 2, 3, 4],
            'category_id': kind,
        }
        for number, shown in objects.items()
        for kind, crowd in shown
    ]
    for at, annotation in enumerate(annotations):
        annotation['id'] = 1000 + at
    for number in objects:
        photo(root / f'{split}2014' / coco_file(split, number), number)
    path = root / 'annotations' / f'instances_{split}2014.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {'info': {'year': 2014}, 'images': images, 'licenses': [], 'annotations': annotations}
    path.write_text(json.dumps(data | {'categories': coco_categories()} | changes))
    return path


def voc_state(objects: list, name: str) -> int:
    """As the development kit: 1 present, 0 difficult objects only, -1 absent."""
    marks = [difficult for label, difficult in objects if label == name]
    return -1 if not marks else int(0 in marks)


def write_voc(root: Path, year: int, names: list[str], splits: dict[str, dict[str, list]]) -> Path:
    """PASCAL VOC of a year; for each split, a list of (class, difficult) for the number of each image.

    Returns:
        The folder of the year.
    """
    folder = root / 'VOCdevkit' / f'VOC{year}'
    main = folder / 'ImageSets' / 'Main'
    for part in (main, folder / 'Annotations'):
        part.mkdir(parents=True, exist_ok=True)
    for split, images in splits.items():
        (main / f'{split}.txt').write_text(''.join(f'{number}\n' for number in images))
        for name in names:
            lines = [f'{number} {voc_state(objects, name):2d}\n' for number, objects in images.items()]
            (main / f'{name}_{split}.txt').write_text(''.join(lines))
        for at, (number, objects) in enumerate(images.items()):
            photo(folder / 'JPEGImages' / f'{number}.jpg', at)
            items = ''.join(
                f'<object><name>{name}</name><difficult>{hard}</difficult><part><name>head</name></part></object>'
                for name, hard in objects
            )
            (folder / 'Annotations' / f'{number}.xml').write_text(f'<annotation>{items}</annotation>')
    return folder

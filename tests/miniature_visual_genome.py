"""Visual Genome in its official layout, with a few images."""

import json
from pathlib import Path

from tests.miniatures import photo


def vg_objects(images: dict[int, list], version: str = '1.4') -> list[dict]:
    """The content of objects.json; each image has a list of (names, synsets), one an object."""
    data = []
    for number, objects in images.items():
        key = 'id' if version == '1.0' else 'object_id'
        entries = [{'names': names, key: at, 'x': 1, 'y': 2, 'w': 3, 'h': 4} for at, (names, _) in enumerate(objects)]
        if version != '1.0':
            for entry, (_, synsets) in zip(entries, objects, strict=True):
                entry['synsets'] = synsets
        if version == '1.4':
            for entry in entries:
                entry['merged_object_ids'] = []
        data.append({'id' if version == '1.0' else 'image_id': number, 'objects': entries})
    return data


def write_vg(root: Path, images: dict[int, list], version: str = '1.4', extra: tuple[int, ...] = ()) -> Path:
    """The objects file and the images, by turns in both folders, and images that the objects file does not have.

    Returns:
        The path of the objects file.
    """
    for at, number in enumerate([*images, *extra]):
        photo(root / ('VG_100K_2' if at % 2 else 'VG_100K') / f'{number}.jpg', number)
    path = root / 'objects.json'
    path.write_text(json.dumps(vg_objects(images, version)))
    if version == '1.0':
        pairs = {name: synsets[0] for part in images.values() for (name, *_), synsets in part if synsets}
        path.with_name('object_synsets.json').write_text(json.dumps(pairs))
    return path

"""NUS-WIDE in its official layout, with a few images."""

from pathlib import Path

from tests.miniatures import photo

# As the official list has them, without the line ends: not in this project's words.
CONCEPTS = (
    'airport animal beach bear birds boats book bridge buildings cars castle cat cityscape clouds computer coral cow '
    'dancing dog earthquake elk fire fish flags flowers food fox frost garden glacier grass harbor horses house lake '
    'leaf map military moon mountain nighttime ocean person plane plants police protest railroad rainbow reflection '
    'road rocks running sand sign sky snow soccer sports statue street sun sunset surf swimmers tattoo temple tiger '
    'tower town toy train tree valley vehicle water waterfall wedding whales window zebra'
).split()


def write_nus_wide(root: Path, split: str, images: dict[str, set[str]], end: str = '\n') -> Path:
    """One split (Train or Test): the concepts that each image, such as 'actor/0001_2124494179.jpg', shows.

    Returns:
        The path of the list.
    """
    path = root / 'ImageList' / f'{split}Imagelist.txt'
    labels, concepts = root / 'Groundtruth' / 'TrainTestLabels', root / 'ConceptsList'
    for folder in (path.parent, labels, concepts):
        folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(''.join(file.replace('/', '\\') + end for file in images).encode())
    for concept in CONCEPTS:
        column = ''.join(f'{int(concept in shown)}{end}' for shown in images.values())
        (labels / f'Labels_{concept}_{split}.txt').write_bytes(column.encode())
    (concepts / 'Concepts81.txt').write_bytes(''.join(concept + end for concept in CONCEPTS).encode())
    for at, file in enumerate(images):
        photo(root / 'Flickr' / file, at)
    return path

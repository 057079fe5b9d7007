"""Looks at a folder of photographs and its label file: what one wants to know before training."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from mlsgm_pyg.app.common.progress import track
from mlsgm_pyg.app.common.text import counted
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.data import doubt, near
from mlsgm_pyg.datasets.images import ImageError, opened, read_image

ROW = 'photos'  # The row that trains on any folder.
PAIRS = 10
BLOCK = 256
DARK = 32  # Of 255: 12 bits that are stored in 16 reach 16.


class Look(NamedTuple):
    """What is seen in one file."""

    digest: str = ''
    size: tuple[int, int] = (0, 0)  # Width, height, as stored.
    mode: str = ''
    kind: str = ''
    error: str = ''
    small: np.ndarray | None = None  # See `near.small`.
    is_flat: bool = False  # Whether all pixels are equal,
    is_dark: bool = False  # or all below DARK.


def check(
    folder: str | Path, options: Sequence[str] = (), console: Console | None = None, doubts: bool = False
) -> dict[str, Any]:
    """All numbers on a folder, read with some options; see :func:`survey`."""
    out = survey(configs.for_folder(folder, ROW, options), console, doubts)
    return out | {'command': command(out, folder, options)}


def survey(config: DictConfig, console: Console | None = None, doubts: bool = False) -> dict[str, Any]:
    """Everything that is printed, as plain containers, of a config of a `csv` data set; what is wrong in the label file
    is a ValueError with file and line. With :obj:`doubts`, labels in doubt are looked for whatever it takes."""
    from mlsgm_pyg.app.data.parts import fit_split
    from mlsgm_pyg.datasets.csv import CsvDataset, read_rows  # torch takes seconds: after the words were understood.

    data = config.data
    rows, _ = read_rows(Path(data.root) / data.labels)
    whole = CsvDataset(data.root, None, data.labels, data.images, missing='skip')  # Before splits are taken for names.
    names = whole.splits or [data.train_split]  # None of one image alone: which is told.
    parts = [CsvDataset(data.root, name, data.labels, data.images, missing='skip') for name in names]
    split_of = {file: name for name, part in zip(names, parts) for file in part.files}
    looks = look_at(whole.paths, data.num_workers, console)
    y, ignored = {name: part.y.numpy() for name, part in zip(names, parts)}, Counter()
    out = {
        'root': str(data.root),
        'labels': data.labels,
        'images': len(whole),
        'classes': list(whole.class_names),
        'splits': {name: len(part) for name, part in zip(names, parts)},
        'parts': [data.train_split, data.train_split if data.dev else data.test_split],
        'fitted_on': fit_split(data, whole),
        'splits_drawn': all(row.split is None for row in rows),
        'counts': {name: count(part, whole.class_names) for name, part in y.items()},
        'labels_per_image': {name: histogram(part) for name, part in y.items()},
        'pairs': pairs(whole.y.numpy(), whole.class_names),
        'without_positive': {
            name: [label for label, present in zip(whole.class_names, (part == 1).any(0)) if not present]
            for name, part in y.items()
        },
        'broken': {file: look.error for file, look in zip(whole.files, looks) if look.error},
        'sizes': sizes(look for look in looks if not look.error),
        'same_content': same_content(whole.files, whole.y.numpy(), looks, split_of),
        'near': look_alike(whole.files, whole.y.numpy(), looks, split_of),
        'dark': [file for file, look in zip(whole.files, looks) if look.is_dark],
        'flat': [file for file, look in zip(whole.files, looks) if look.is_flat],
        'same_name': same_name(whole.files),
        'not_listed': not_listed(Path(data.root), data.images, [*whole.paths, Path(data.root) / data.labels], ignored),
        'ignored': dict(+ignored),
        'doubt': doubt.find(parts, config, doubts),
        'semantics': vectors(whole.class_names, config.semantics.source),
    }
    return out | {'stops': stops(out, data.on_error)}


def look_at(paths: Iterable[Path], workers: int, console: Console | None = None) -> list[Look]:
    """Opens every image, several at a time."""
    paths = list(paths)
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        found = pool.map(look, paths)
        about = f'Opening {counted(len(paths), "image")}'
        return list(track(found, about, len(paths), console=console or Console(stderr=True)))


def look(path: Path) -> Look:
    try:
        seen = read_image(path)  # All pixels, as training does.
    except ImageError as error:
        return Look(error=error.reason)
    low, high = zip(*seen.getextrema())
    is_flat = low == high
    with opened(path) as image:
        kind = image.size, image.mode, image.format or ''
    with open(path, 'rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    return Look(digest, *kind, '', near.small(seen), is_flat, not is_flat and max(high) < DARK)


def count(y: np.ndarray, names: list[str]) -> dict[str, dict[str, int]]:
    """How many images of a split have, have not, and may have each class."""
    states = {'present': 1, 'absent': 0, 'unknown': -1}
    return {name: {key: int((y[:, c] == value).sum()) for key, value in states.items()} for c, name in enumerate(names)}


def histogram(y: np.ndarray) -> dict[str, int]:
    """Number of present labels -> number of images."""
    return {str(number): images for number, images in sorted(Counter((y == 1).sum(1).tolist()).items())}


def pairs(y: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    """The pairs of classes that correlate most, over the images where both are known.

    `lift` is how much more often they come together than if they had nothing to do with each other.
    """
    present, known = (y == 1).astype(np.float64), (y >= 0).astype(np.float64)
    found = []
    for start in range(0, len(names), BLOCK):  # Whole matrices of 10,000 classes would take gigabytes.
        rows = slice(start, start + BLOCK)
        n, together = known[:, rows].T @ known, present[:, rows].T @ present
        first, second = present[:, rows].T @ known, known[:, rows].T @ present  # One there, the other known.
        spread = np.sqrt(first * (n - first) * second * (n - second))
        correlation = np.divide(n * together - first * second, spread, out=np.zeros_like(n), where=spread > 0)
        a, b = np.nonzero(np.triu(together, start + 1))
        best = np.argsort(-correlation[a, b], kind='stable')[:PAIRS]
        found += [
            {
                'classes': [names[start + i], names[j]],
                'together': int(together[i, j]),
                'second_given_first': together[i, j] / first[i, j],
                'first_given_second': together[i, j] / second[i, j],
                'lift': n[i, j] * together[i, j] / (first[i, j] * second[i, j]),
                'correlation': correlation[i, j],
            }
            for i, j in zip(a[best], b[best])
        ]
    return sorted(found, key=lambda pair: -pair['correlation'])[:PAIRS]


def sizes(looks: Iterable[Look]) -> dict[str, Any]:
    """Smallest, median and largest width, height and shorter side in pixels; how many of each mode and format."""
    looks = list(looks)
    if not looks:
        return {}
    pixels = np.array([look.size for look in looks])
    columns = {'width': pixels[:, 0], 'height': pixels[:, 1], 'shorter side': pixels.min(1)}
    numbers = {
        key: {'smallest': int(column.min()), 'median': float(np.median(column)), 'largest': int(column.max())}
        for key, column in columns.items()
    }
    kinds = {key: dict(Counter(getattr(look, key) for look in looks).most_common()) for key in ('mode', 'kind')}
    return numbers | {'modes': kinds['mode'], 'formats': kinds['kind']}


def same_content(files: list[str], y: np.ndarray, looks: list[Look], split_of: dict[str, str]) -> list[dict[str, Any]]:
    """Groups of files that are equal byte by byte; what is in two splits is trained on and tested on."""
    groups = defaultdict(list)
    for i, found in enumerate(looks):
        if found.digest:
            groups[found.digest].append(i)
    return [
        {
            'files': [files[i] for i in group],
            'across_splits': len({split_of[files[i]] for i in group}) > 1,
            'labels_differ': bool((y[group] != y[group[0]]).any()),
        }
        for group in groups.values()
        if len(group) > 1
    ]


def look_alike(files: list[str], y: np.ndarray, looks: list[Look], split_of: dict[str, str]) -> list[dict[str, Any]]:
    """Pairs of files that look the same, those in two splits first, see :func:`mlsgm_pyg.app.data.near.near`."""
    rows = [i for i, look in enumerate(looks) if look.small is not None]
    parts = [split_of[files[i]] for i in rows]
    pictures = np.array([looks[i].small for i in rows], np.uint8).reshape(-1, 8, 9)
    out = []
    for i, j, bits in near.near(pictures, [looks[i].digest for i in rows], parts):
        differ = bool((y[rows[i]] != y[rows[j]]).any())
        both, splits = [files[rows[i]], files[rows[j]]], [parts[i], parts[j]]
        out.append({'files': both, 'splits': splits, 'labels_differ': differ, 'bits': bits})
    return out


def same_name(files: list[str]) -> list[list[str]]:
    """Files of one name in several folders, or that differ in capitals alone."""
    groups = defaultdict(list)
    for file in files:
        groups[PurePosixPath(file).name.lower()].append(file)
    return [group for group in groups.values() if len(group) > 1]


def not_listed(root: Path, images: str, listed: Iterable[Path], ignored: Counter[str]) -> list[str]:
    """Images in the folder that the label file does not name; what is no image is counted."""
    from mlsgm_pyg.app.data.folder import search

    folder = root / images if (root / images).is_dir() else root
    known = set(map(os.path.realpath, listed))  # Also of links in a circle.
    found = (Path(path) for path in search(folder, known, ignored))
    return sorted(str(path.relative_to(root)) for path in found if os.path.realpath(path) not in known)


def vectors(names: list[str], source: str) -> dict[str, Any]:
    """Which classes have no word vector in a source, or why the source cannot be read."""
    from mlsgm_pyg.semantics import UnknownNames, word_vectors

    lacking, wrong = [], ''
    try:
        word_vectors(names, source)
    except UnknownNames as error:
        lacking = error.names
    except (OSError, ImportError, ValueError) as error:  # The source itself is wrong.
        wrong = str(error)
    return {'source': source, 'without_vector': lacking, 'error': wrong}


def stops(out: dict[str, Any], on_error: str) -> list[str]:
    """Why training would stop, if it would."""
    reasons = []
    if out['broken'] and on_error == 'raise':
        number = len(out['broken'])
        what = 'it' if number == 1 else 'them'
        reasons.append(f'{counted(number, "image")} cannot be read: mend {what}, or skip {what} by data.on_error=skip')
    (train, test), own = out['parts'], out['fitted_on']
    if not any(cell['present'] + cell['absent'] for cell in out['counts'][train].values()):
        reasons.append(f"no image of '{train}' has a known label: nothing to train on")
    if not any(cell['present'] for cell in out['counts'][test].values()):
        everywhere = not any(cell['present'] for part in out['counts'].values() for cell in part.values())
        where = '' if everywhere else f" of '{test}'"
        reasons.append(f'no image{where} shows any class: nothing to evaluate')
    if own and not any(cell['present'] for cell in out['counts'][own].values()):
        reasons.append(f"no image of '{own}' is known to show a class: thresholds cannot be fitted")
    found = out['semantics']
    number = len(found['without_vector'])
    if number:
        reasons.append(
            f"{counted(number, 'class has', 'classes have')} no word vector in '{found['source']}': rename "
            f'{"it" if number == 1 else "them"}, or take semantics.source=onehot'
        )
    return reasons + [found['error']] * bool(found['error'])


def command(out: dict[str, Any], folder: str | Path, options: Sequence[str]) -> str:
    """The command that trains on this folder as it is: what it was looked at with, and what else is needed."""
    lacking = out['semantics']['without_vector'] or out['semantics']['error']
    needed = {'data.on_error': 'skip' if out['broken'] else '', 'semantics.source': 'onehot' if lacking else ''}
    options = [option for option in options if not needed.get(option.partition('=')[0])]
    return shlex.join(['mlsgm', 'train', str(folder), *options, *(f'{key}={x}' for key, x in needed.items() if x)])

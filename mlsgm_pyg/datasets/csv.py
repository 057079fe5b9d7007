"""Any folder of images with a CSV or JSON file of labels."""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch

from mlsgm_pyg.datasets import shards
from mlsgm_pyg.datasets.base import LabelledImages
from mlsgm_pyg.datasets.files import check_once, read_text
from mlsgm_pyg.datasets.sampling import stratify
from mlsgm_pyg.names import nearest, repeated

CELLS = {'1': 'labels', '1.0': 'labels', '0': '', '0.0': '', '-1': 'unknown', '-1.0': 'unknown'}
FIELDS = ['file', 'split', 'labels', 'unknown']
FILE = ('file', 'filename', 'image', 'path')  # What the column, or key, of the images may be called; the first counts.
USUAL = ('labels.csv', 'labels.json', 'annotations.csv', 'annotations.json', shards.INDEX)
#: Parts that are drawn where a label file names none, and the share of the images that each gets.
DRAWN = {'train': 0.7, 'fit': 0.1, 'val': 0.2}


class Row(NamedTuple):
    """One image as the label file has it."""

    where: str  # What a message calls it: file and line.
    file: str
    split: str | None
    labels: dict[str, int]  # Name -> 1, 0 or -1; a name that is not there is absent (0).


class CsvDataset(LabelledImages):
    r"""A folder of images whose labels are written in one file, in one of these forms (UTF-8):

    - **columns:** a CSV with the columns :obj:`file` (or :obj:`filename`, :obj:`image`, :obj:`path`, in any case),
      :obj:`split` (optional) and one for each class, whose cells are 1 (present), 0 (absent) or -1 (unknown);
    - **names:** a CSV with :obj:`file`, :obj:`split` (optional), :obj:`labels` and :obj:`unknown` (optional); the
      last two hold class names separated by ``;``, ``|`` or ``,``;
    - **JSON:** ``{file: [names]}``, or a list of ``{"file": ..., "labels": [names], "unknown": [names],
      "split": ...}``, the last two optional.

    A file is looked for in :obj:`root/images`, then in :obj:`root`. Classes come in the order of the columns, or of
    the alphabet where the file lists names; the classes of all splits count. Without splits in the file, 70 % of the
    images are :obj:`'train'`, 10 % :obj:`'fit'` (thresholds are fitted on it) and 20 % :obj:`'val'`, drawn by
    :obj:`seed` so that each has its share of every class, see :func:`mlsgm_pyg.datasets.sampling.stratify`.

    Args:
        root (str or Path): The folder.
        split (str, optional): The part to read; :obj:`None` reads all images. (default: :obj:`None`)
        labels (str): The label file, relative to :obj:`root`. (default: :obj:`'labels.csv'`)
        images (str): The folder of the images, relative to :obj:`root`. (default: :obj:`'images'`)
        class_names (list[str], optional): Classes in the order wanted: chooses columns; of a file that lists names, it
            must hold all of them.
        seed (int): Seed of the split, where the file has none. (default: :obj:`0`)
        missing (str): :obj:`'raise'` looks for every image at once; :obj:`'skip'` leaves missing ones to whoever reads
            them. (default: :obj:`'raise'`)

    Raises:
        FileNotFoundError: If the label file or an image is not there.
        ValueError: For a label file that cannot be read and anything wrong in it, with file and line; for an image
            that is listed twice, however its name is written; for an unknown split or class.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | None = None,
        labels: str = 'labels.csv',
        images: str = 'images',
        class_names: Sequence[str] | None = None,
        seed: int = 0,
        missing: str = 'raise',
    ):
        self.root = Path(root)
        self.split = split
        path = self.root / labels
        rows, columns = read_rows(path)
        check_files(rows, lambda file: self._path(file, images))
        self.class_names = choose_classes(path, rows, columns, class_names)
        rows, self.splits = choose_split(path, rows, split, seed)  # The names of all splits, which may be drawn.
        self.files = [row.file for row in rows]
        self.paths = [self._path(file, images) for file in self.files]
        folders = tuple(os.path.join(os.path.abspath(folder), '') for folder in (self.root / images, self.root))
        for row, found in zip(rows, self.paths, strict=True):
            if not os.path.abspath(found).startswith(folders):  # What links in them name is their owner's business.
                raise ValueError(f"{row.where}: the image '{row.file}' lies outside of the folder '{self.root}'")
            if missing == 'raise' and not os.path.isfile(found):
                raise FileNotFoundError(
                    f"{row.where}: there is no image '{row.file}' in '{self.root / images}' or '{self.root}'"
                )
        cells = [[row.labels.get(name, 0) for name in self.class_names] for row in rows]
        self.y = torch.tensor(cells, dtype=torch.int8)

    def _path(self, file: str, images: str) -> Path:
        path = self.root / images / file
        return path if os.path.isfile(path) else self.root / file  # Also where no file can be called so.


def find_labels(root: str | Path) -> str:
    """The name of a folder's label file: the first of :data:`USUAL` that is there, in any case.

    Raises:
        FileNotFoundError: If none is there.
    """
    there = {path.name.lower(): path.name for path in sorted(Path(root).iterdir(), reverse=True)}
    found = [there[name] for name in USUAL if name in there]
    if not found:
        usual = f'{", ".join(USUAL[:-1])} or {USUAL[-1]}'
        raise FileNotFoundError(f"there is no label file in '{root}': {usual} (data.labels=NAME takes another)")
    return found[0]


def split_names(path: Path) -> list[str]:
    """The splits that a label file, or the index of shards, names, in its order; none where they are drawn."""
    if path.name == shards.INDEX:
        return shards.split_names(path.parent)
    rows, _ = read_rows(path)
    _check_splits(rows)
    return [name for name in dict.fromkeys(row.split for row in rows) if name is not None]


def read_rows(path: Path) -> tuple[list[Row], list[str] | None]:
    """Reads the label file: its rows, and the class columns where it has them."""
    if path.name == shards.INDEX:
        raise ValueError(f"'{path}' is the index of shards, no label file: take the folder that they were written from")
    try:
        text = read_text(path)
        entries, columns = (read_json if path.suffix.lower() == '.json' else read_csv)(path, text)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no label file '{path}'") from None
    except OSError as error:  # A folder, a pipe, or a file that may not be read.
        raise ValueError(f"the label file '{path}' cannot be read: {error.strerror}") from error
    except csv.Error as error:
        raise ValueError(f"'{path}' is not a valid CSV file: {error}") from error
    if not entries:
        raise ValueError(f"'{path}' lists no images")
    return [read_entry(where, entry) for where, entry in entries.items()], columns


def read_csv(path: Path, text: str) -> tuple[dict[str, dict], list[str] | None]:
    """The lines of a CSV file as entries of a JSON file, each after its place, and the class columns."""
    reader = csv.reader(io.StringIO(text, newline=''), skipinitialspace=True)
    header = usual_names([name.strip() for name in next(filter(any, reader), [])])
    check_header(path, header)
    columns = [name for name in header if name not in ('file', 'split')]
    by_name = 'labels' in columns and set(columns) <= {'labels', 'unknown'}
    entries = {}
    for cells in reader:
        if not any(map(str.strip, cells)):
            continue
        where = f"'{path}', line {reader.line_num}"
        if len(cells) != len(header):
            raise ValueError(f'{where}: expected {len(header)} cells, as in the header (got {len(cells)})')
        cell = dict(zip(header, map(str.strip, cells)))
        split = {'split': cell['split']} if 'split' in header else {}
        if by_name:
            names = {key: [name.strip() for name in re.split('[;|,]', cell[key]) if name.strip()] for key in columns}
        else:
            names = {'labels': [], 'unknown': []}
            for name in columns:
                if cell[name] not in CELLS:
                    raise ValueError(
                        f"{where}, column '{name}': a label is 1 (present), 0 (absent) or -1 (unknown) "
                        f"(got '{cell[name]}')"
                    )
                if key := CELLS[cell[name]]:
                    names[key].append(name)
        entries[where] = {'file': cell['file']} | split | names
    return entries, None if by_name else columns


def usual_names(names: list[str]) -> list[str]:
    """The columns of a header, or the keys of an entry, with those of the image and of its split under our names."""
    lower = [name.lower() for name in names]
    usual = {next((name for name in FILE if name in lower), 'file'): 'file', 'split': 'split'}
    if {'labels'} <= set(lower) <= {*usual, 'labels', 'unknown'}:  # It lists names: no class is called so.
        usual |= {'labels': 'labels', 'unknown': 'unknown'}
    return [usual.get(word, name) for word, name in zip(lower, names)]


def check_header(path: Path, header: list[str]) -> None:
    if 'file' not in header:
        separated = "; is it separated by ','?" if len(header) == 1 and re.search('[;|\t]', header[0]) else ''
        got = ', '.join(map(repr, header)) or 'an empty file'
        raise ValueError(f"'{path}' has no column 'file' (got {got}){separated}")
    if '' in header:
        raise ValueError(f"'{path}' has an empty column name")
    if twins := repeated(header):
        raise ValueError(f"'{path}' has column {twins[0]!r} twice")
    if set(header) <= {'file', 'split'}:
        raise ValueError(f"'{path}' has neither class columns nor a column 'labels'")


def read_json(path: Path, text: str) -> tuple[dict[str, object], None]:
    """The entries of a JSON file, each after its place."""
    try:
        data = json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:  # Also lists in lists without an end.
        raise ValueError(f"'{path}' is not valid JSON: {error}") from error
    if isinstance(data, dict):
        data = [{'file': file, 'labels': labels} for file, labels in data.items()]
    if not isinstance(data, list):
        raise ValueError(f"'{path}' must hold {{file: [names]}} or a list of entries (got {type(data).__name__})")
    return {f"'{path}', entry {number}": entry for number, entry in enumerate(data, start=1)}, None


def unique_keys(pairs: list[tuple[str, object]]) -> dict:
    """Python keeps the last of two equal keys without a word; here they are an error."""
    if twins := repeated(key for key, _ in pairs):
        raise ValueError(f"'{twins[0]}' is there twice")
    return dict(pairs)


def read_entry(where: str, entry: object) -> Row:
    """What a label file says of one image."""
    if isinstance(entry, dict) and all(isinstance(key, str) for key in entry):
        entry = dict(zip(usual_names(list(entry)), entry.values()))
    if not isinstance(entry, dict) or not {'file', 'labels'} <= entry.keys():
        raise ValueError(f"{where}: expected {{'file': ..., 'labels': [...]}} (got {entry!r})")
    for key in entry:
        if key not in FIELDS:
            raise ValueError(f"{where}: unknown key '{key}'{nearest(key, FIELDS)}; there are {', '.join(FIELDS)}")
    file, present, unknown = entry['file'], entry['labels'], entry.get('unknown', [])
    for key, names in {'labels': present, 'unknown': unknown}.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{where}, image '{file}': '{key}' must be a list of names (got {names!r})")
    if both := sorted(set(present) & set(unknown)):
        raise ValueError(f"{where}: '{both[0]}' is both in 'labels' and in 'unknown'")
    if not isinstance(file, str) or not file or re.search('[\\0\\ud800-\\udc7f\\udd00-\\udfff]', file):
        raise ValueError(f"{where}: 'file' must be the name of an image (got {file!r})")
    labels = dict.fromkeys(present, 1) | dict.fromkeys(unknown, -1)
    return Row(where, str(PurePosixPath(file)), entry.get('split'), labels)


def check_files(rows: list[Row], find: Callable[[str], Path]) -> None:
    """Checks that every image is listed once, however its name is written."""
    twins = set(repeated(PurePosixPath(row.file).name for row in rows))
    seen: dict[str, str] = {}
    there: dict[str, Row] = {}
    for row in rows:
        check_once(seen, row.file, row.where, f"the image '{row.file}'")
        if PurePosixPath(row.file).name in twins:  # No other file is looked for on the disk.
            path = os.path.realpath(find(row.file))
            first = there.setdefault(path, row)
            if first is not row:
                raise ValueError(
                    f"{row.where}: the image '{row.file}' is there already as '{first.file}' ({first.where}): "
                    f"both are '{path}'"
                )


def choose_classes(
    path: Path, rows: list[Row], columns: list[str] | None, class_names: Sequence[str] | None
) -> list[str]:
    """The classes: those wanted, or all that the file has."""
    if class_names is None:
        known = columns or sorted({name for row in rows for name in row.labels})
        if not known:
            raise ValueError(f"'{path}' names no class")
        return known
    class_names = list(class_names)
    if repeated(class_names):
        raise ValueError(f"'class_names' holds a name twice (got {class_names})")
    if columns is None:
        for row in rows:
            for name in row.labels:
                if name not in class_names:
                    raise ValueError(f"{row.where}: unknown class '{name}'{nearest(name, class_names)}")
    else:
        for name in class_names:
            if name not in columns:
                raise ValueError(f"'{path}' has no class '{name}'{nearest(name, columns)}; it has {', '.join(columns)}")
    return class_names


def _check_splits(rows: list[Row]) -> bool:
    """Whether a label file names splits; then of every image."""
    named = any(row.split is not None for row in rows)
    for row in rows:
        if named and (not isinstance(row.split, str) or not row.split):
            raise ValueError(
                f"{row.where}: the image '{row.file}' has no split name, but others have (got {row.split!r})"
            )
    return named


def choose_split(path: Path, rows: list[Row], split: str | None, seed: int) -> tuple[list[Row], list[str]]:
    """The rows of one split, and the names of all; where the file has none, they are drawn."""
    if _check_splits(rows):
        parts, source = [row.split for row in rows], ''
    elif len(rows) < 2:
        if split is None:
            return rows, []
        raise ValueError(
            f"'{path}' has no 'split', and a fifth of its images cannot be drawn for 'val': expected at least 2 "
            f'images (got {len(rows)})'
        )
    else:
        shown = [{name for name, value in row.labels.items() if value == 1} for row in rows]
        names = sorted(set().union(*shown))
        y = np.array([[name in there for name in names] for there in shown]).reshape(len(rows), len(names))
        parts = [list(DRAWN)[part] for part in stratify(y, list(DRAWN.values()), seed)]
        source = " (drawn: the file has no 'split')"
    there = sorted(set(parts))
    if split is None:
        return rows, there
    if split not in there:
        only = '; data.dev=0.2 evaluates on a fifth of it, held out' if there == ['train'] else ''
        raise ValueError(
            f"'{path}' has no split '{split}'{nearest(split, there)}; it has {', '.join(there)}{source}{only}"
        )
    return [row for row, part in zip(rows, parts) if part == split], there

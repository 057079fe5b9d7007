"""Any folder of images with a CSV or JSON file of labels."""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch

from mlsgm_pyg.datasets.base import LabelledImages
from mlsgm_pyg.datasets.sampling import dev_split
from mlsgm_pyg.names import nearest

CELLS = {'1': 1, '0': 0, '-1': -1, '1.0': 1, '0.0': 0, '-1.0': -1}
FIELDS = ['file', 'split', 'labels', 'unknown']


class Row(NamedTuple):
    """One image as the label file has it."""

    where: str  # What a message calls it: file and line.
    file: str
    split: str | None
    labels: dict[str, int]  # Name -> 1, 0 or -1; a name that is not there is absent (0).


class CsvDataset(LabelledImages):
    r"""A folder of images whose labels are written in one file, in one of these forms (UTF-8):

    - **columns:** a CSV with the columns :obj:`file`, :obj:`split` (optional) and one for each class, whose cells are
      1 (present), 0 (absent) or -1 (unknown);
    - **names:** a CSV with :obj:`file`, :obj:`split` (optional), :obj:`labels` and :obj:`unknown` (optional); the
      last two hold class names separated by ``;``, ``|`` or ``,``;
    - **JSON:** ``{file: [names]}``, or a list of ``{"file": ..., "labels": [names], "unknown": [names],
      "split": ...}``, the last two optional.

    A file is looked for in :obj:`root/images`, then in :obj:`root`. Classes come in the order of the columns, or of
    the alphabet where the file lists names; the classes of all splits count. Without splits in the file, a fifth of
    the images, drawn by :obj:`seed`, is :obj:`'val'` and the rest :obj:`'train'`.

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
        rows = choose_split(path, rows, split, seed)
        self.files = [row.file for row in rows]
        self.paths = [self._path(file, images) for file in self.files]
        for row, found in zip(rows, self.paths, strict=True):
            if missing == 'raise' and not found.is_file():
                raise FileNotFoundError(
                    f"{row.where}: there is no image '{row.file}' in '{self.root / images}' or '{self.root}'"
                )
        cells = [[row.labels.get(name, 0) for name in self.class_names] for row in rows]
        self.y = torch.tensor(cells, dtype=torch.int8)

    def _path(self, file: str, images: str) -> Path:
        path = self.root / images / file
        return path if path.is_file() else self.root / file


def read_rows(path: Path) -> tuple[list[Row], list[str] | None]:
    """Reads the label file: its rows, and the class columns where it has them."""
    try:
        text = path.read_bytes().decode('utf-8-sig')
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no label file '{path}'") from None
    except OSError as error:  # A folder, or a file that may not be read.
        raise ValueError(f"the label file '{path}' cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path}' is not UTF-8 text: {error}") from error
    try:
        rows, columns = read_json(path, text) if path.suffix.lower() == '.json' else read_csv(path, text)
    except csv.Error as error:
        raise ValueError(f"'{path}' is not a valid CSV file: {error}") from error
    if not rows:
        raise ValueError(f"'{path}' lists no images")
    return rows, columns


def read_csv(path: Path, text: str) -> tuple[list[Row], list[str] | None]:
    reader = csv.reader(io.StringIO(text, newline=''), skipinitialspace=True)
    header = [name.strip() for name in next((cells for cells in reader if any(cells)), [])]
    if 'file' not in header:
        separated = "; is it separated by ','?" if len(header) == 1 and re.search('[;|\t]', header[0]) else ''
        got = ', '.join(map(repr, header)) or 'an empty file'
        raise ValueError(f"'{path}' has no column 'file' (got {got}){separated}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice or '' in header:
        raise ValueError(f"'{path}' has {'an empty column name' if '' in header else f'column {twice[0]!r} twice'}")
    columns = [name for name in header if name not in ('file', 'split')]
    if not columns:
        raise ValueError(f"'{path}' has neither class columns nor a column 'labels'")
    by_name = 'labels' in columns and set(columns) <= {'labels', 'unknown'}
    rows = []
    for cells in reader:
        if not any(map(str.strip, cells)):
            continue
        where = f"'{path}', line {reader.line_num}"
        if len(cells) != len(header):
            raise ValueError(f'{where}: expected {len(header)} cells, as in the header (got {len(cells)})')
        cell = {name: value.strip() for name, value in zip(header, cells, strict=True)}
        if by_name:
            labels = name_labels(where, split_names(cell['labels']), split_names(cell.get('unknown', '')))
        else:
            labels = {name: CELLS.get(cell[name]) for name in columns}
            if None in labels.values():
                name = next(name for name in columns if labels[name] is None)
                raise ValueError(
                    f"{where}, column '{name}': a label is 1 (present), 0 (absent) or -1 (unknown) (got '{cell[name]}')"
                )
        rows.append(Row(where, file_name(where, cell['file']), cell.get('split'), labels))
    return rows, None if by_name else columns


def read_json(path: Path, text: str) -> tuple[list[Row], None]:
    try:
        data = json.loads(text, object_pairs_hook=unique_keys)
    except ValueError as error:
        raise ValueError(f"'{path}' is not valid JSON: {error}") from error
    if isinstance(data, dict):
        data = [{'file': file, 'labels': labels} for file, labels in data.items()]
    if not isinstance(data, list):
        raise ValueError(f"'{path}' must hold {{file: [names]}} or a list of entries (got {type(data).__name__})")
    rows = []
    for number, entry in enumerate(data, start=1):
        where = f"'{path}', entry {number}"
        if not isinstance(entry, dict) or 'file' not in entry or 'labels' not in entry:
            raise ValueError(f"{where}: expected {{'file': ..., 'labels': [...]}} (got {entry!r})")
        for key in entry:
            if key not in FIELDS:
                raise ValueError(f"{where}: unknown key '{key}'{nearest(key, FIELDS)}; there are {', '.join(FIELDS)}")
        for key in ('labels', 'unknown'):
            names = entry.get(key, [])
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"{where}, image '{entry['file']}': '{key}' must be a list of names (got {names!r})")
        labels = name_labels(where, entry['labels'], entry.get('unknown', []))
        rows.append(Row(where, file_name(where, entry['file']), entry.get('split'), labels))
    return rows, None


def unique_keys(pairs: list[tuple[str, object]]) -> dict:
    """Python keeps the last of two equal keys without a word; here they are an error."""
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"'{next(key for key in keys if keys.count(key) > 1)}' is there twice")
    return result


def split_names(cell: str) -> list[str]:
    return [name.strip() for name in re.split('[;|,]', cell) if name.strip()]


def name_labels(where: str, present: list[str], unknown: list[str]) -> dict[str, int]:
    both = sorted(set(present) & set(unknown))
    if both:
        raise ValueError(f"{where}: '{both[0]}' is both in 'labels' and in 'unknown'")
    return dict.fromkeys(present, 1) | dict.fromkeys(unknown, -1)


def file_name(where: str, file: str) -> str:
    if not isinstance(file, str) or not file:
        raise ValueError(f"{where}: 'file' must be the name of an image (got {file!r})")
    return str(PurePosixPath(file))


def check_files(rows: list[Row], find: Callable[[str], Path]) -> None:
    """Checks that every image is listed once, however its name is written."""
    seen: dict[str, Row] = {}
    same_name: dict[str, list[Row]] = {}
    for row in rows:
        if row.file in seen:
            raise ValueError(f"{row.where}: the image '{row.file}' is there already ({seen[row.file].where})")
        seen[row.file] = row
        same_name.setdefault(PurePosixPath(row.file).name, []).append(row)
    for group in same_name.values():
        there: dict[Path, Row] = {}
        for row in group if len(group) > 1 else ():  # No other file is looked for on the disk.
            path = find(row.file).resolve()
            if path in there:
                first = there[path]
                raise ValueError(
                    f"{row.where}: the image '{row.file}' is there already as '{first.file}' ({first.where}): "
                    f"both are '{path}'"
                )
            there[path] = row


def choose_classes(
    path: Path, rows: list[Row], columns: list[str] | None, class_names: Sequence[str] | None
) -> list[str]:
    known = columns if columns is not None else sorted({name for row in rows for name in row.labels})
    if class_names is None:
        if not known:
            raise ValueError(f"'{path}' names no class")
        return list(known)
    class_names = list(class_names)
    if len(set(class_names)) < len(class_names):
        raise ValueError(f"'class_names' holds a name twice (got {class_names})")
    if columns is not None:
        for name in class_names:
            if name not in columns:
                raise ValueError(f"'{path}' has no class '{name}'{nearest(name, columns)}; it has {', '.join(columns)}")
        return class_names
    for row in rows:
        for name in row.labels:
            if name not in class_names:
                raise ValueError(f"{row.where}: unknown class '{name}'{nearest(name, class_names)}")
    return class_names


def choose_split(path: Path, rows: list[Row], split: str | None, seed: int) -> list[Row]:
    """The rows of one split; where the file has none, the seeded one."""
    named = any(row.split is not None for row in rows)
    for row in rows:
        if named and (not isinstance(row.split, str) or not row.split):
            raise ValueError(
                f"{row.where}: the image '{row.file}' has no split name, but others have (got {row.split!r})"
            )
    if split is None:
        return rows
    if named:
        parts = {name: [row for row in rows if row.split == name] for name in sorted({row.split for row in rows})}
        source = ''
    else:
        if len(rows) < 2:
            raise ValueError(
                f"'{path}' has no 'split', and a fifth of its images cannot be drawn for 'val': expected at least 2 "
                f'images (got {len(rows)})'
            )
        train, val = dev_split(len(rows), 0.2, seed)
        parts = {'train': [rows[i] for i in train], 'val': [rows[i] for i in val]}
        source = " (drawn by the seed: the file has no 'split')"
    if split not in parts:
        only = '; data.dev=0.2 evaluates on a fifth of it, held out' if list(parts) == ['train'] else ''
        raise ValueError(
            f"'{path}' has no split '{split}'{nearest(split, list(parts))}; it has {', '.join(parts)}{source}{only}"
        )
    return parts[split]

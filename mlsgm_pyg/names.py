"""Names that people write, such as options and classes: checked, and answered with the nearest one that there is."""

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches

LARGEST_SIDE = 16384  # Of a picture that a model is shown, in pixels.


def nearest(name: object, names: Iterable[str], cutoff: float = 0.5) -> str:
    """The end of a message about an unknown name: :obj:`" (did you mean 'train'?)"`, or nothing if none is near.

    Args:
        name (object): What was written.
        names (iterable of str): What there is.
        cutoff (float): Least similarity in [0, 1], as of :func:`difflib.get_close_matches`. (default: :obj:`0.5`)
    """
    close = get_close_matches(str(name), list(names), n=1, cutoff=cutoff)
    return f' (did you mean {close[0]!r}?)' if close else ''


def check_choice(option: str, value: object, choices: Iterable[str]) -> None:
    """Checks an option that is one of a few names.

    Raises:
        ValueError: If it is none of them; all are named.
    """
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"'{option}' must be one of {', '.join(choices)} (got {value!r}){nearest(value, choices)}")


def check_names(names: object) -> None:
    """Checks the class names that a file of a model says.

    Raises:
        ValueError: If they are not a list of different texts, of one at least.
    """
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("'class_names' must hold names")
    if twins := repeated(names):
        raise ValueError(f"'class_names' must differ (got several of {', '.join(map(repr, twins))})")


def check_size(size: object, name: str) -> None:
    """Checks the side of a model's view that a file says.

    Raises:
        ValueError: If it is no number of pixels that a picture may have.
    """
    if type(size) is not int or not 1 <= size <= LARGEST_SIDE:
        raise ValueError(f"'{name}' must be from 1 to {LARGEST_SIDE} pixels (got {size!r})")


def repeated(names: Iterable[str]) -> list[str]:
    """The names that come more than once."""
    return [name for name, times in Counter(names).items() if times > 1]

"""Names that people write, such as options and classes: checked, and answered with the nearest one that there is."""

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches


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


def repeated(names: Iterable[str]) -> list[str]:
    """The names that come more than once."""
    return [name for name, times in Counter(names).items() if times > 1]

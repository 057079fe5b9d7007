"""Numbers of things in words."""


def counted(number: int, word: str, words: str = '') -> str:
    """'1 picture', '7 pictures', '1 class', '0 classes'.

    Args:
        number (int): How many.
        word (str): One of them.
        words (str): Several of them. (default: with an s)
    """
    return f'{number:,} {word if number == 1 else words or word + "s"}'

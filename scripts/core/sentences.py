"""Numbers with their nouns, and sentences shortened without a cut through a number."""

import re

# A clause ends after a comma, colon, semicolon or full stop, or before a bracket.
ENDS = re.compile(r"[.,:;](?= )| (?=\()")
# A number, or the beginning of a number, at the end of a cut text.
NUMBER = re.compile(r"[-+]?[0-9][0-9.,]*$|[-+]$")
MARK = " …"


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, such as 1 client, or 2 clients.

    Parameters
    ----------
    number : int
        At least 0.
    one : str
        The words after 1, such as "client" or "client has left".
    many : str
        The words after every other number, by default the words after 1 and an s.
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def find_end(text: str, length: int) -> int:
    """Return the position of the last clause end in the first characters of a text, or 0."""
    ends = [match.start() for match in ENDS.finditer(text, 0, length + 1)]
    # A cut inside brackets would leave an open bracket.
    whole = [end for end in ends if text.count("(", 0, end) == text.count(")", 0, end)]
    return max(whole, default=0)


def shorten(text: str, length: int) -> str:
    """Return a text of limited length, cut after a clause or between words.

    Parameters
    ----------
    text : str
        One or more sentences.
    length : int
        Maximum number of characters, at least 3.

    Returns
    -------
    str
        The unchanged text if short enough, else its beginning with an ellipsis. A number is cut
        only if the text is a single number.
    """
    if len(text) <= length:
        return text
    room = length - len(MARK)
    if end := find_end(text, room):
        return text[:end].rstrip() + MARK
    kept = text[:room]
    if text[room] != " " and " " in kept:
        kept = kept.rpartition(" ")[0]
    return (NUMBER.sub("", kept).rstrip() or kept) + MARK

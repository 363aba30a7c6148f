"""Shortens sentences to whole clauses, so that no number is cut."""

import re

# A clause ends behind a comma, colon, semicolon or full stop, or before a bracket.
ENDS = re.compile(r"[.,:;](?= )| (?=\()")
# At the end of a cut text: a number, or the beginning of one.
NUMBER = re.compile(r"[-+]?[0-9][0-9.,]*$|[-+]$")
MARK = " …"


def find_end(text: str, length: int) -> int:
    """Find the last end of a clause in the first characters of a text; 0 without any."""
    ends = [match.start() for match in ENDS.finditer(text, 0, length + 1)]
    # Within brackets, a clause without its end would read as if the bracket had been forgotten.
    whole = [end for end in ends if text.count("(", 0, end) == text.count(")", 0, end)]
    return max(whole, default=0)


def shorten(text: str, length: int) -> str:
    """Shorten a sentence at the end of a clause, or else between two words.

    Parameters
    ----------
    text : str
        One sentence or more.
    length : int
        The most characters of the result, at least 3.

    Returns
    -------
    str
        The text as it is if it is short enough. Else its beginning with an ellipsis. No number is
        cut, unless the text is one number.
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

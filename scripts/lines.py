"""Which lines of a block of a file are plain, judged by its bytes alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEWLINE, QUOTE, DELETE = 0x0A, 0x22, 0x7F
FIRST_PRINTABLE, BEYOND_ASCII = 0x20, 0x80
FIRST_OF_BOM = 0xEF
WINDOW_BYTES = 2**18
LONG_EXPONENT = 5  # digits; the rules of numbers take at most four

Mask = NDArray[np.bool_]
Places = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Lines:
    """Whole lines: the bytes, where each line ends, and which need a look of their own."""

    content: bytes
    ends: Places
    odd: Mask

    def text(self, index: int) -> str:
        """Give the text of a line, without its end."""
        start = int(self.ends[index - 1]) if index else 0
        raw = self.content[start : int(self.ends[index])]
        return raw.decode().removesuffix("\n").removesuffix("\r")

    @property
    def longest(self) -> int:
        """The length of the longest line in bytes."""
        return int(np.diff(self.ends, prepend=0).max(initial=0))

    def without(self, dropped: Mask) -> bytes:
        """Give the bytes of the lines that are not dropped."""
        if not dropped.any():
            return self.content
        kept = np.repeat(~dropped, np.diff(self.ends, prepend=0))
        return np.frombuffer(self.content, np.uint8)[kept].tobytes()


def long_exponents(codes: Bytes) -> Places:
    """Find where an exponent of five or more digits may stand, which the rules refuse."""
    places = np.flatnonzero((codes | 0x20) == ord("e"))
    before = codes[places - 1]
    places = places[((before - np.uint8(ord("0"))) <= 9) | (before == ord("."))]
    if not len(places):
        return np.zeros(0, np.int64)
    # Padded, so that what follows the last bytes can be looked at.
    padded = np.concatenate([codes, np.zeros(LONG_EXPONENT + 2, np.uint8)])
    after = padded[places + 1]
    digits_from = places + 1 + ((after == ord("+")) | (after == ord("-")))
    is_long = np.ones(len(places), np.bool_)
    for step in range(LONG_EXPONENT):
        is_long &= (padded[digits_from + step] - np.uint8(ord("0"))) <= 9
    found: Places = places[is_long]
    return found


def has_empty(content: bytes) -> bool:
    """Return whether a line is empty; Arrow reads lines of which all are empty as blank rows."""
    return content.startswith(b"\n") or b"\n\n" in content


def split_block(content: bytes, separator: str) -> Lines:
    """Find the lines of a block, and those whose bytes are not plain.

    Parameters
    ----------
    content : bytes
        Whole lines of UTF-8.
    separator : str
        What separates the fields of the file.

    Returns
    -------
    Lines
        A line is odd if it is empty, has a quote, a control character or a tab that is not the
        separator, or what may be a byte order mark or a long exponent.
    """
    if b"\r" in content and content.count(b"\r") == content.count(b"\r\n"):
        content = content.replace(b"\r\n", b"\n")
    codes = np.frombuffer(content, np.uint8)
    # One comparison finds what is below a blank or above "~": the difference wraps around.
    unusual = np.flatnonzero(codes - np.uint8(FIRST_PRINTABLE) >= DELETE - FIRST_PRINTABLE)
    found = codes[unusual]
    is_end = found == NEWLINE
    ends = unusual[is_end] + 1
    if not content.endswith(b"\n"):
        ends = np.append(ends, len(content))
    is_odd = ~is_end & (found < BEYOND_ASCII)
    if separator == "\t":
        is_odd &= found != ord(separator)
    suspects = [unusual[is_odd], long_exponents(codes)]
    if b'"' in content:
        suspects.append(np.flatnonzero(codes == QUOTE))
    # Arrow takes a byte order mark off whatever it is given, not only off a whole file.
    odd = codes[np.concatenate([[0], ends[:-1]])] == FIRST_OF_BOM
    odd[np.searchsorted(ends, np.concatenate(suspects), side="right")] = True
    if has_empty(content):
        odd |= np.diff(ends, prepend=0) == 1
    return Lines(content, ends, odd)


def are_calm(content: bytes) -> bool:
    """Say whether lines are ASCII without a quote or control character, and none is too long.

    The lines of such a block need not be told apart before they are parsed.
    """
    codes = np.frombuffer(content, np.uint8)
    n_low = int(np.count_nonzero(codes < FIRST_PRINTABLE))
    if b'"' in content or codes.max() >= DELETE or n_low != np.count_nonzero(codes == NEWLINE):
        return False
    # A line of a megabyte would span a whole window.
    starts = range(0, len(content) - WINDOW_BYTES, WINDOW_BYTES)
    return all(content.find(b"\n", start, start + WINDOW_BYTES) >= 0 for start in starts)


def with_other_count(lines: Lines, separator: str, n_separators: int) -> Mask:
    """Mark the lines that do not have so many separators."""
    places = np.flatnonzero(np.frombuffer(lines.content, np.uint8) == ord(separator))
    counts = np.diff(np.searchsorted(places, lines.ends), prepend=0)
    other: Mask = counts != n_separators
    return other

"""Lines of a CSV file in blocks, and the removal of quotes in bulk."""

import csv
from functools import cached_property

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from scripts.data.csv_reader import MAX_LINE_BYTES, OPEN_RECORDS

TEXT = "\x00text"
# Any line of MAX_LINE_BYTES covers such a window whole.
WINDOW_BYTES = MAX_LINE_BYTES // 2
FIRST_PRINTABLE, DELETE = 32, b"\x7f"
# Bytes are searched in windows that stay in the processor's cache, without new memory.
CACHED_BYTES = 2**20
# Every digit becomes 0 and every exponent e. The rules take exponents of at most four digits.
DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
LONG_EXPONENT = b"e00000"
# The bit in which a letter of ASCII is in lower case, and the codes of an exponent.
LOWER_CASE, LETTER, DIGIT, N_DIGITS, PLUS, MINUS = 0x20, ord("e"), ord("0"), 10, ord("+"), ord("-")
# What makes a line odd, whichever column it is in.
CONTROLS = r"\x00-\x08\x0b-\x1f\x7f"


class UnprovenError(Exception):
    """A block for the rules of rows alone, with the rest of the file."""


class Block(Struct, frozen=True, dict=True):
    """Whole lines of a file, perhaps without the last line end.

    `mark` stands for a separator within quotes, "" if there is none.
    """

    content: bytes
    mark: str = ""

    @cached_property
    def lines(self) -> list[str]:
        """The lines as text, without their ends."""
        text = self.content.decode().removesuffix("\n")
        return [line.removesuffix("\r") for line in text.split("\n")]

    @cached_property
    def has_quotes(self) -> bool:
        """Whether any line has a quote."""
        return b'"' in self.content

    @cached_property
    def codes(self) -> NDArray[np.uint8]:
        """The bytes as numbers."""
        return np.frombuffer(self.content, np.uint8)

    @cached_property
    def n_ends(self) -> int:
        """The number of LF."""
        return self.count("\n")

    def count(self, mark: str) -> int:
        """Count an ASCII character."""
        return int(np.count_nonzero(self.codes == ord(mark)))

    def has_blank_edge(self, separator: str) -> bool:
        """Return whether a space stands at the start or the end of a cell without quotes."""
        if b" " not in self.content:
            return False
        codes = self.codes
        is_edge = np.ones(len(codes) + 2, np.bool_)
        is_edge[1:-1] = (codes == ord(separator)) | (codes == ord("\n"))
        return bool(((codes == ord(" ")) & (is_edge[:-2] | is_edge[2:])).any())

    def is_plain(self, separator: str) -> bool:
        """Return whether the bytes exclude control characters and blanks at the edges of cells.

        The lines end with LF and have no quotes. False leaves the cells to be proven one by one.
        """
        if not self.content.isascii() or DELETE in self.content:
            return False
        n_controls = int(np.count_nonzero(self.codes < FIRST_PRINTABLE))
        return n_controls == self.n_ends and not self.has_blank_edge(separator)

    def check(self) -> None:
        """Check the encoding and the length of the lines.

        Raises
        ------
        UnprovenError
            If a line is wrong. The rules of rows report the line.
        """
        if not self.content.isascii():
            try:
                self.content.decode()
            except UnicodeDecodeError as error:
                raise UnprovenError from error
        starts = range(0, len(self.content) - WINDOW_BYTES, WINDOW_BYTES)
        content = self.content
        if all(content.find(b"\n", start, start + WINDOW_BYTES) >= 0 for start in starts):
            return
        if max(map(len, content.split(b"\n"))) >= MAX_LINE_BYTES:
            raise UnprovenError

    def without_returns(self) -> "Block | None":
        """Return the lines with LF ends, or None if a CR stands elsewhere."""
        if b"\r" not in self.content:
            return self
        if self.count("\r") != self.content.count(b"\r\n"):
            return None
        return Block(self.content.replace(b"\r\n", b"\n"), self.mark)


def has_long_exponent(content: bytes) -> bool:
    """Return whether an exponent may have five digits, beyond the rules but not for Polars."""
    codes = np.frombuffer(content, np.uint8)
    spare = np.empty((3, CACHED_BYTES), np.uint8)
    may_be_one = any(
        has_exponent(codes[start : start + CACHED_BYTES + 1], spare)
        for start in range(0, len(codes), CACHED_BYTES)
    )
    return may_be_one and LONG_EXPONENT in content.translate(DIGITS, b"+-")


def has_exponent(codes: NDArray[np.uint8], spare: NDArray[np.uint8]) -> bool:
    """Return whether an E stands before a digit or a sign, which is seldom.

    `spare` has three rows for the steps between, so that no window touches new memory.
    """
    following, flags = codes[1:], spare[:, : len(codes) - 1].view(np.bool_)
    np.bitwise_or(codes[:-1], LOWER_CASE, out=spare[0, : len(following)])
    is_letter = np.equal(spare[0, : len(following)], LETTER, out=flags[0])
    np.subtract(following, DIGIT, out=spare[1, : len(following)])
    begins_number = np.less(spare[1, : len(following)], N_DIGITS, out=flags[1])
    for sign in (PLUS, MINUS):
        begins_number |= np.equal(following, sign, out=flags[2])
    begins_number &= is_letter
    return bool(begins_number.any())


def simple_pattern(separator: str) -> str:
    """Return the pattern of a line with removable quotes, without a change of any cell."""
    mark = rf"\{separator}" if separator != "\t" else r"\t"
    fields = rf'(?:[^"{mark}]*|"[^"{mark}]*")'
    return rf"^{fields}(?:{mark}{fields})*$"


def are_simple(block: Block, separator: str) -> bool:
    """Return whether all quotes can be removed without a change of any cell."""
    lines = pl.Series(block.lines)
    # The rules reject longer fields in quotes.
    is_short = lines.str.len_chars() <= csv.field_size_limit()
    return bool((lines.str.contains(simple_pattern(separator)) & is_short).all())


def is_calm(separator: str) -> pl.Expr:
    """Return whether a line has no quote or control character, and is no line of blanks."""
    tab = "" if separator == "\t" else r"\t"
    calm = ~pl.col(TEXT).str.contains(rf'["{CONTROLS}{tab}]|^\x{{FEFF}}')
    # A line of tabs alone is an empty line.
    return calm & (pl.col(TEXT).str.strip_chars() != "") if separator == "\t" else calm


def unquote(lines: pl.DataFrame, separator: str) -> pl.DataFrame:
    """Return lines without simple quotes, and with any further quotes as marks of odd lines.

    Raises
    ------
    UnprovenError
        If a record may go beyond its line.
    """
    is_quoted = pl.col(TEXT).str.contains('"', literal=True)
    # The rules reject longer fields in quotes.
    is_short = pl.col(TEXT).str.len_chars() <= csv.field_size_limit()
    is_simple = is_short & pl.col(TEXT).str.contains(simple_pattern(separator))
    is_open = OPEN_RECORDS[separator].fullmatch
    if any(map(is_open, lines.filter(is_quoted & ~is_simple)[TEXT].to_list())):
        raise UnprovenError
    bare = pl.col(TEXT).str.replace_all('"', "", literal=True)
    return lines.with_columns(pl.when(is_quoted & is_simple).then(bare).otherwise(pl.col(TEXT)))

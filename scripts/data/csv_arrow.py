"""Parses plain lines into columns at once, and says which rows are not proven to be right.

Which lines of a block of a file are plain, judged by its bytes alone.
"""

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from scripts.core.config import NumberMarks, Schema
from scripts.data.cells import LARGEST_NUMBER, NUMBER, BadCellError
from scripts.data.csv_reader import ColumnLayout

SMALL_NUMBER = 2**31 - 1
NO_LABEL = -128  # of no spelling, also of none
# Every character that str.strip removes; a text cell with one at an end needs a look of its own.
WHITESPACE = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
NOT_STRIPPED = f"^[{WHITESPACE}]|[{WHITESPACE}]$"
PLAIN_NUMBER = rf"^$|^[ \t]*{NUMBER.pattern}[ \t]*$"

Floats = NDArray[np.float64]


def arrow_schema(schema: Schema) -> pa.Schema:
    """Say how each column of a client table is kept."""
    kinds = dict.fromkeys(schema.columns, pa.large_string())
    kinds |= dict.fromkeys(schema.numeric, pa.float64())
    kinds[schema.target] = pa.int8()
    return pa.schema(kinds)


def column_types(
    layout: ColumnLayout, numbers: pa.DataType, *, as_text: bool
) -> dict[str, pa.DataType]:
    """The type of each column of the schema, by its place in the file."""
    schema = layout.schema
    kinds = dict.fromkeys(schema.columns, pa.large_string())
    if not as_text:
        kinds |= dict.fromkeys(schema.numeric, numbers)
        kinds[schema.target] = pa.dictionary(pa.int32(), pa.string())
    return {str(layout.header.index(name)): kind for name, kind in kinds.items()}


def can_prove(layout: ColumnLayout) -> bool:
    """Say whether the numbers of a file are spelled in a way that can be read at once."""
    schema = layout.schema
    marks = {schema.marks(name) for name in schema.numeric}
    return marks <= {NumberMarks(decimal=schema.decimal)} and layout.separator != schema.decimal


def may_be_whole(content: bytes) -> bool:
    """Say whether there is no fraction, and nothing like 0x1F, which Arrow takes for a number."""
    # One byte is found many times faster than two.
    return b"." not in content and not any(
        mark[1:] in content and mark in content for mark in (b"0x", b"0X")
    )


def parse_lines(content: bytes, layout: ColumnLayout, *, as_text: bool = False) -> pa.Table:
    """Parse lines without quotes; columns of the schema in its order.

    Whole numbers are tried first where there may be nothing else: they are read faster.
    """
    if not as_text and may_be_whole(content):
        with contextlib.suppress(pa.ArrowInvalid):
            return parse_whole(content, layout)
    return parse_as(content, layout, column_types(layout, pa.float64(), as_text=as_text))


def parse_whole(content: bytes, layout: ColumnLayout) -> pa.Table:
    """Parse lines of which all numbers are whole."""
    return parse_as(content, layout, column_types(layout, pa.int64(), as_text=False))


def parse_as(content: bytes, layout: ColumnLayout, types: dict[str, pa.DataType]) -> pa.Table:
    """Parse lines without quotes into columns of some types."""
    parsed = pa_csv.read_csv(
        pa.BufferReader(content),
        pa_csv.ReadOptions(
            column_names=[str(place) for place in range(len(layout.header))],
            block_size=len(content) + 1,
            use_threads=False,
        ),
        pa_csv.ParseOptions(
            delimiter=layout.separator, quote_char=False, double_quote=False, escape_char=False,
            newlines_in_values=False, ignore_empty_lines=False,
        ),
        pa_csv.ConvertOptions(
            column_types=types, include_columns=list(types), null_values=[""],
            strings_can_be_null=False, decimal_point=layout.schema.decimal,
        ),
    )  # fmt: skip
    return parsed.rename_columns(list(layout.schema.columns))


Mask = NDArray[np.bool_]


def find_wrong_numbers(content: bytes, layout: ColumnLayout) -> Mask:
    """Mark the rows that have a cell in a numeric column that does not look like a number."""
    table = parse_lines(content, layout, as_text=True)
    pattern = PLAIN_NUMBER.replace(r"\.", f"[{layout.schema.decimal}]")
    wrong = np.zeros(table.num_rows, np.bool_)
    for name in layout.schema.numeric:
        looks_right = pc.match_substring_regex(table[name], pattern)
        wrong |= ~looks_right.to_numpy()
    return wrong


def compact(values: NDArray[Any], lowest: float, highest: float) -> NDArray[Any]:
    """Give numbers without a blank in half the memory where they are whole and small."""
    if lowest >= -SMALL_NUMBER and highest <= SMALL_NUMBER:
        whole = values.astype(np.int32)
        if np.array_equal(whole, values):
            return whole
    return values + 0.0  # turns -0.0 into 0.0, as parse_number does


def check_numbers(
    column: pa.ChunkedArray, minimum: float | None
) -> tuple[NDArray[Any], Mask | None]:
    """Give the numbers of a column, blanks as NaN, and which are not within the limits."""
    values: NDArray[Any] = column.to_numpy()
    lowest = -LARGEST_NUMBER if minimum is None else max(minimum, -LARGEST_NUMBER)
    if not column.null_count:
        found_lowest, found_highest = float(values.min()), float(values.max())
        if found_lowest >= lowest and found_highest <= LARGEST_NUMBER:
            return compact(values, found_lowest, found_highest), None
    within = (values >= lowest) & (values <= LARGEST_NUMBER)
    return values + 0.0, ~(within | column.is_null().to_numpy())


def read_labels(column: pa.ChunkedArray, layout: ColumnLayout) -> tuple[NDArray[np.int8], Mask]:
    """Give the labels as numbers, and which cells are none; each spelling is judged once."""
    encoded = column.chunk(0)
    parse = layout.parsers[layout.schema.target]
    meanings = np.full(len(encoded.dictionary), NO_LABEL, np.int8)
    for place, spelling in enumerate(encoded.dictionary.to_pylist()):
        # A line of tabs alone is an empty line, which only the rules of rows tell from a client.
        if layout.separator == "\t" and not spelling.strip():
            continue
        with contextlib.suppress(BadCellError):
            meanings[place] = parse(spelling)
    values = meanings[encoded.indices.to_numpy()]
    return values, values == NO_LABEL


def find_blank_ends(column: pa.ChunkedArray, content: bytes) -> Mask | None:
    """Mark the text cells from which str.strip would take something."""
    if not content.isascii():
        return np.asarray(pc.match_substring_regex(column, NOT_STRIPPED).to_numpy())
    # Lines with other blanks than this one are odd, and not here.
    if b" " not in content:
        return None
    return np.asarray(pc.not_equal(column, pc.ascii_trim_whitespace(column)).to_numpy())


def check_values(table: pa.Table, layout: ColumnLayout, content: bytes) -> tuple[pa.Table, Mask]:
    """Give the columns as they are kept, and which rows are not proven to be right."""
    schema = layout.schema
    unproven = np.zeros(table.num_rows, np.bool_)
    columns: dict[str, Any] = {}
    for name in schema.columns:
        column = table[name]
        if name in schema.numeric:
            columns[name], outside = check_numbers(column, schema.minimums.get(name))
            if outside is not None:
                unproven |= outside
        elif name == schema.target:
            columns[name], wrong = read_labels(column, layout)
            unproven |= wrong
        else:
            columns[name] = column
            blank_ends = find_blank_ends(column, content)
            if blank_ends is not None:
                unproven |= blank_ends
            if name in schema.ids:
                unproven |= pc.equal(column, "").to_numpy()
    return pa.table(columns), unproven


NEWLINE, QUOTE, DELETE = 0x0A, 0x22, 0x7F
FIRST_PRINTABLE, BEYOND_ASCII = 0x20, 0x80
FIRST_OF_BOM = 0xEF
WINDOW_BYTES = 2**18
LONG_EXPONENT = 5  # digits; the rules of numbers take at most four
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

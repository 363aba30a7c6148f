"""Hides the separators within quotes of a table's lines, so that lines can be split at the others.

A byte of the table stands for each hidden separator: one that the lines do not have.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

MARKS = b"^~`{}\\#$@!?<>[]=_"
QUOTE, LINE_END = ord('"'), ord("\n")


def within_quotes(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return for each byte whether an odd number of quotes stands before it in its line."""
    within = np.logical_xor.accumulate(codes == QUOTE)
    ends = np.flatnonzero(codes == LINE_END)
    is_open = within[ends]
    if is_open.any():
        # A line whose quote is not closed must not turn the following lines around.
        starts = np.append(0, ends + 1)
        lengths = np.diff(np.append(starts, len(codes)))
        within ^= np.repeat(np.append(False, is_open), lengths)
    return within


def hide(content: bytes, separator: str) -> tuple[bytes, str]:
    """Replace the separators within quotes.

    Parameters
    ----------
    content : bytes
        Whole lines.
    separator : str
        The separator of the table.

    Returns
    -------
    tuple of bytes and str
        The lines, and the character for a hidden separator, "" if none is hidden.
    """
    mark = next((code for code in MARKS if code not in content), None)
    if b'"' not in content or mark is None:
        return content, ""
    codes = np.frombuffer(content, np.uint8)
    is_hidden = within_quotes(codes) & (codes == ord(separator))
    if not is_hidden.any():
        return content, ""
    return np.where(is_hidden, np.uint8(mark), codes).tobytes(), chr(mark)


def show(table: pl.DataFrame, mark: str, separator: str) -> pl.DataFrame:
    """Return cells of text with the separators that were hidden."""
    if not mark:
        return table
    return table.with_columns(pl.col(pl.String).str.replace_all(mark, separator, literal=True))

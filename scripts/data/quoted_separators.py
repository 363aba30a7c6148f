"""Hides the separators within quotes of a table's lines, so that lines can be split at the others.

A byte of the table stands for each hidden separator: one that the lines do not have.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scripts.data.polars_lines import Block

MARKS = b"^~`{}\\#$@!?<>[]=_"
QUOTE, LINE_END = ord('"'), ord("\n")


def within_quotes(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return for each byte whether an odd number of quotes stands before in the line."""
    within = np.logical_xor.accumulate(codes == QUOTE)
    ends = np.flatnonzero(codes == LINE_END)
    is_open = within[ends]
    if is_open.any():
        # A line whose quote is not closed must not turn the following lines around.
        starts = np.append(0, ends + 1)
        lengths = np.diff(np.append(starts, len(codes)))
        within ^= np.repeat(np.append(False, is_open), lengths)
    return within


def hide(block: Block, separator: str) -> Block:
    """Replace the separators within quotes.

    Parameters
    ----------
    block : Block
        Whole lines.
    separator : str
        The separator of the table.

    Returns
    -------
    Block
        The lines, with the character for a hidden separator as their mark if any is hidden.
    """
    if not block.has_quotes:
        return block
    mark = next((code for code in MARKS if code not in block.content), None)
    is_hidden = within_quotes(block.codes) & (block.codes == ord(separator))
    if mark is None or not is_hidden.any():
        return block
    return Block(np.where(is_hidden, np.uint8(mark), block.codes).tobytes(), chr(mark))


def show(table: pl.DataFrame, mark: str, separator: str) -> pl.DataFrame:
    """Return cells of text with the hidden separators."""
    if not mark:
        return table
    return table.with_columns(pl.col(pl.String).str.replace_all(mark, separator, literal=True))

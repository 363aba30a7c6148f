"""Reads a file a block at a time: what is proven plain at once, the rest by the rules of rows.

Nothing is accepted here that the rules of `reading` and `cells` would not accept with the same
values. What cannot be proven by the bytes of a line and the values found in it is read again, line
by line, by those rules; they alone reject, and refuse.
"""

import hashlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from scripts.core import progress
from scripts.core.config import Schema
from scripts.data import csv_arrow, csv_reader
from scripts.data.csv_arrow import Lines, Mask
from scripts.data.csv_reader import MAX_LINE_BYTES, OPEN_RECORDS, ColumnLayout, RefusedFileError
from scripts.data.read_report import FileReading

# What is made of so much stays in the processor's cache.
BLOCK_BYTES = 2**18


class UnprovenError(Exception):
    """A block that only the rules of rows can read, with all that follows it."""


def parse_what_parses(block: Lines, layout: ColumnLayout) -> tuple[pa.Table | None, Mask]:
    """Parse the plain lines whose fields are as many and as numeric as they should be."""
    left_out = block.odd.copy()
    if left_out.all():
        return None, left_out
    try:
        return csv_arrow.parse_lines(block.without(left_out), layout), left_out
    except pa.ArrowInvalid:
        left_out |= csv_arrow.with_other_count(block, layout.separator, len(layout.header) - 1)
    places = np.flatnonzero(~left_out)
    try:
        left_out[places[csv_arrow.find_wrong_numbers(block.without(left_out), layout)]] = True
        return csv_arrow.parse_lines(block.without(left_out), layout), left_out
    except pa.ArrowInvalid:
        return None, np.ones_like(left_out)


def read_calm(content: bytes, layout: ColumnLayout) -> pa.Table | None:
    """Read lines that need no look of their own, all whole numbers; None if one is not proven."""
    if (
        layout.separator == "\t"
        or not csv_arrow.may_be_whole(content)
        or not csv_arrow.are_calm(content)
    ):
        return None
    if csv_arrow.has_empty(content):
        return None
    try:
        parsed = csv_arrow.parse_whole(content, layout)
    except pa.ArrowInvalid:
        return None
    table, wrong = csv_arrow.check_values(parsed, layout, content)
    return None if wrong.any() else table


def read_plain(block: Lines, layout: ColumnLayout) -> tuple[pa.Table, Mask]:
    """Read the lines that are proven right; mark those that are not, among all lines."""
    parsed, unproven = parse_what_parses(block, layout)
    if parsed is None:
        return csv_arrow.arrow_schema(layout.schema).empty_table(), unproven
    places = np.flatnonzero(~unproven)
    table, wrong = csv_arrow.check_values(parsed, layout, block.content)
    if wrong.any():
        unproven[places[wrong]] = True
        table = table.filter(pa.array(~wrong))
    return table, unproven


def merge_rows(
    table: pa.Table, unproven: Mask, rows: dict[int, dict[str, Any]], layout: ColumnLayout
) -> pa.Table:
    """Put the rows that were read one by one between those that were read at once."""
    if not rows:
        return table
    kinds = csv_arrow.arrow_schema(layout.schema)
    one_by_one = pa.Table.from_pylist(list(rows.values()), schema=kinds)
    order = np.argsort(np.concatenate([np.flatnonzero(~unproven), list(rows)]), kind="stable")
    return pa.concat_tables([table.cast(kinds), one_by_one]).take(pa.array(order))


def has_open_quote(block: Lines, separator: str) -> bool:
    """Say whether a record may go beyond its line."""
    if b'"' not in block.content:
        return False
    texts = (block.text(int(index)) for index in np.flatnonzero(block.odd))
    return any('"' in text and OPEN_RECORDS[separator].fullmatch(text) for text in texts)


def read_block(content: bytes, number: int, layout: ColumnLayout, found: FileReading) -> pa.Table:
    """Read whole lines, of which `number` is the first; what is rejected goes to `found`.

    Raises
    ------
    UnprovenError
        If only the rules of rows can say where its records end, or why it is refused.
    """
    calm = read_calm(content, layout)
    if calm is not None:
        found.n_rows += calm.num_rows
        return calm
    try:
        content.isascii() or content.decode()
    except UnicodeDecodeError as error:
        raise UnprovenError from error
    block = csv_arrow.split_block(content, layout.separator)
    if block.longest >= MAX_LINE_BYTES or has_open_quote(block, layout.separator):
        raise UnprovenError
    table, unproven = read_plain(block, layout)
    found.n_rows += len(unproven) - int(unproven.sum())
    rows = {}
    for index in map(int, np.flatnonzero(unproven)):
        row = csv_reader.read_record(number + index, block.text(index), layout, found)
        if row is not None:
            rows[index] = row
    return merge_rows(table, unproven, rows, layout)


def iterate_blocks(handle: BinaryIO) -> Iterator[bytes]:
    """Yield whole lines, about a megabyte at a time; the last one may lack its end."""
    rest = b""
    while content := handle.read(BLOCK_BYTES):
        whole = rest + content
        cut = whole.rfind(b"\n") + 1
        if cut:
            yield whole[:cut]
        rest = whole[cut:]
        if len(rest) > MAX_LINE_BYTES:
            break  # a line too long, wherever it ends
    if rest:
        yield rest


def read_unproven(
    handle: BinaryIO, number: int, layout: ColumnLayout, found: FileReading, sha: "hashlib._Hash"
) -> pa.Table:
    """Read the rest of a file, from what has been hashed on, by the rules of rows alone."""
    handle.seek(found.n_bytes)

    def iterate() -> Iterator[tuple[int, str]]:
        for line_number in count(number):
            text = csv_reader.read_line(handle, line_number, found, sha)
            if text is None:
                return
            yield line_number, text

    rows = csv_reader.read_records(iterate(), layout, found)
    return pa.table(rows, schema=csv_arrow.arrow_schema(layout.schema))


def read_parts(
    handle: BinaryIO,
    schema: Schema,
    found: FileReading,
    *,
    needs_label: bool,
) -> Iterator[pa.Table]:
    """Read a file in parts, hashing every byte that is used.

    Parameters
    ----------
    handle : file
        The file.
    schema : Schema
        The columns.
    found : FileReading
        Its account, which is kept.
    needs_label : bool
        Whether a row without a label is rejected.

    Yields
    ------
    pyarrow.Table
        The rows that can be right, in their order.

    Raises
    ------
    RefusedFileError
        If the file cannot be right as a whole, which may show late.
    """
    sha = hashlib.sha256()
    first = csv_reader.read_line(handle, 1, found, sha, schema.encoding)
    layout = csv_reader.read_layout(first, schema, found, needs_label=needs_label)
    number = 2
    for block in iterate_blocks(handle) if csv_arrow.can_prove(layout) else ():
        try:
            part = read_block(block, number, layout, found)
        except UnprovenError:
            break
        n_lines = block.count(b"\n")
        sha.update(block)
        found.n_bytes += len(block)
        progress.advance(len(block), n_lines)
        number += n_lines
        yield part
    # Nothing is left where every block was proven.
    yield read_unproven(handle, number, layout, found, sha)
    found.sha256 = sha.hexdigest()


def read_file(
    path: Path, folder: Path, schema: Schema, *, needs_label: bool = True
) -> tuple[FileReading, list[pa.Table]]:
    """Read one file strictly, as `reading.read_file` does, into Arrow tables.

    Parameters
    ----------
    path, folder : Path
        The CSV file, and the folder it belongs to.
    schema : Schema
        The columns.
    needs_label : bool
        Whether a row without a label is rejected.

    Returns
    -------
    tuple of FileReading and list of pyarrow.Table
        What was found, and the rows that can be right: text, numbers with NaN for a blank, and
        the target as 0 or 1. Numbers may be whole in one table and floats in the next.
    """
    found = csv_reader.new_reading(path, schema)
    try:
        with csv_reader.open_file(path, folder) as handle:
            return found, list(read_parts(handle, schema, found, needs_label=needs_label))
    except RefusedFileError as error:
        csv_reader.refuse(found, error)
        return found, [csv_arrow.arrow_schema(schema).empty_table()]

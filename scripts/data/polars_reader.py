"""Reads large CSV files with Polars, a block of lines at a time, and proves every row.

Nothing is accepted here that the rules of `csv_reader` and `cells` would not accept with the same
values. A line that is not proven right goes to these rules. They alone reject rows and refuse
files.
"""

import codecs
import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, count, pairwise
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import polars as pl
from msgspec import Struct, field
from msgspec.structs import replace

from scripts.core import progress
from scripts.core.config import Schema
from scripts.data import (
    csv_reader,
    polars_lines,
    polars_numbers,
    polars_proofs,
    quoted_separators,
)
from scripts.data.csv_reader import MAX_LINE_BYTES, ColumnLayout, RefusedFileError
from scripts.data.polars_lines import TEXT, Block, UnprovenError
from scripts.data.polars_proofs import PROVEN, Kinds
from scripts.data.read_report import FileReading

BLOCK_BYTES = 2**23
LINE, CELLS = "\x00line", "\x00cells"
# A cell that is no number, a line with too many fields, lines of which all are empty.
UNPARSABLE = (pl.exceptions.ComputeError, pl.exceptions.SchemaError, pl.exceptions.NoDataError)


class ByteSource(Protocol):
    """A source of bytes."""

    def read(self, n_bytes: int, /) -> bytes:
        """Read up to a number of bytes."""


def table_kinds(schema: Schema) -> dict[str, Any]:
    """Return the type of each column of a schema, for rows read singly."""
    kinds: dict[str, Any] = dict.fromkeys(schema.file_columns, pl.String)
    kinds |= dict.fromkeys((*schema.numeric, *schema.date_cells), pl.Float64)
    return kinds | ({schema.target: pl.Int8} if schema.target else {})


def make_table(columns: dict[str, list[Any]], schema: Schema) -> pl.DataFrame:
    """Return rows read by the rules as a table, with null for a missing number."""
    kinds = table_kinds(schema)
    table = pl.DataFrame({name: columns[name] for name in kinds}, schema=kinds)
    names = (*schema.numeric, *schema.date_cells)
    return table.with_columns(pl.col(name).fill_nan(None) for name in names)


def empty_table(schema: Schema) -> pl.DataFrame:
    """Return a table without rows."""
    return make_table({name: [] for name in schema.file_columns}, schema)


def split_like(column: pl.Series, values: pl.Series) -> pl.Series:
    """Return values in chunks as of a column, since unequal chunks would copy the table."""
    ends = list(accumulate(column.chunk_lengths(), initial=0))
    parts = [values.slice(start, end - start) for start, end in pairwise(ends)]
    return pl.concat(parts, rechunk=False) if len(parts) > 1 else values


class BlockReader(Struct):
    """Reads blocks of a file, with the column types of the blocks before.

    `kinds` are the types of the numeric columns. `is_typed` is False once a block had cells that
    are no numbers: the next blocks are then parsed as text at once.
    """

    layout: ColumnLayout
    reading: FileReading
    kinds: Kinds = field(default_factory=dict)
    is_typed: bool = True

    def __post_init__(self) -> None:
        plain = [n for n in self.schema.numeric if not polars_proofs.needs_text(self.layout, n)]
        self.kinds = self.kinds or dict.fromkeys(plain, pl.Int64)

    @property
    def schema(self) -> Schema:
        """The columns to read."""
        return self.layout.schema

    def read(self, block: Block, number: int) -> pl.DataFrame:
        """Read whole lines strictly.

        Parameters
        ----------
        block : Block
            The lines.
        number : int
            The line number of the first.

        Returns
        -------
        polars.DataFrame of shape (n_rows, n_columns)
            The accepted rows in their order. The report gets the number of rows and the rejected
            rows.

        Raises
        ------
        UnprovenError
            If only the rules can tell where the records end, or why the file is refused.
        """
        block.check()
        marked = quoted_separators.hide(block, self.layout.separator)
        parsed = self.parse_typed(marked) if self.is_typed else None
        if parsed is None:
            parsed = self.parse_text(marked)
        return self.add_accepted(parsed, block, number)

    def add_accepted(self, parsed: pl.DataFrame, block: Block, number: int) -> pl.DataFrame:
        """Return the proven rows, joined in order with rows accepted by the rules."""
        proven = parsed[PROVEN] & ~polars_proofs.find_erased(parsed, self.layout)
        if self.layout.erased is not None:
            parsed = parsed.with_columns(proven.alias(PROVEN))
        n_proven = int(proven.sum())
        self.reading.n_rows += n_proven
        if n_proven == parsed.height:
            return parsed.drop(PROVEN)
        rows: dict[int, dict[str, Any]] = {}
        for index in (~proven).arg_true().to_list():
            row = csv_reader.read_record(
                number + index, block.lines[index], self.layout, self.reading
            )
            if row is not None:
                rows[index] = row
        fine = parsed.with_row_index(LINE).filter(PROVEN).drop(PROVEN)
        return merge_rows(fine, rows, self.schema)

    def parse_typed(self, block: Block) -> pl.DataFrame | None:
        """Parse lines into typed columns with proofs, or return None if the bytes are not plain."""
        plain = self.plain_content(block)
        if plain is None:
            return None
        parsed = self.parse_as(plain, self.kinds)
        if parsed is None and pl.Int64 in self.kinds.values():
            self.kinds = dict.fromkeys(self.kinds, pl.Float64)
            parsed = self.parse_as(plain, self.kinds)
        self.is_typed = parsed is not None
        return parsed

    def plain_content(self, block: Block) -> Block | None:
        """Return lines without quotes and with LF ends, or None if more would have to change."""
        plain = block.without_returns()
        if plain is None or plain.content.startswith(codecs.BOM_UTF8):
            return None
        if not block.has_quotes:
            return plain
        if not polars_lines.are_simple(block, self.layout.separator):
            return None
        return Block(plain.content.replace(b'"', b""), plain.mark)

    def parse_as(self, block: Block, kinds: Kinds) -> pl.DataFrame | None:
        """Parse lines with the given types of numbers, or return None if a cell does not fit."""
        layout, schema = self.layout, self.schema
        if pl.Float64 in kinds.values() and polars_lines.has_long_exponent(block.content):
            return None
        types: dict[str, Any] = {}
        for place, name in enumerate(layout.header):
            is_bare = name == schema.target != "" and polars_proofs.has_bare_labels(schema)
            types[f"c{place}"] = kinds.get(name, pl.Int8 if is_bare else pl.String)
        try:
            table = pl.read_csv(
                block.content, has_header=False, schema=types, separator=layout.separator,
                quote_char=None, empty_string_is_null=False,
                decimal_comma=schema.decimal == "," != layout.separator,
            )  # fmt: skip
        except UNPARSABLE:
            return None
        # A line may have fewer fields, which Polars fills, or be empty: only the sums tell.
        n_lines = block.n_ends + (not block.content.endswith(b"\n"))
        n_separators = n_lines * (len(layout.header) - 1)
        if table.height != n_lines or block.count(layout.separator) != n_separators:
            return None
        places = {name: f"c{layout.place(name)}" for name in schema.file_columns}
        table = table.select(pl.col(place).alias(name) for name, place in places.items())
        is_plain = block.is_plain(layout.separator)
        shown = quoted_separators.show(table, block.mark, layout.separator)
        return self.prove(shown, is_plain=is_plain)

    def prove(self, table: pl.DataFrame, *, is_plain: bool) -> pl.DataFrame:
        """Return typed columns in the stored form, with the proof of each row.

        `is_plain` is the result of `Block.is_plain` for the lines.
        """
        schema = self.schema
        proofs = [
            polars_proofs.prove_text(pl.col(name), is_id=name in schema.ids, is_plain=is_plain)
            for name in (*schema.ids, *schema.categorical, *schema.status_columns)
        ]
        columns: list[pl.Expr | pl.Series] = []
        for name in schema.numeric:
            value, proof = self.prove_number(pl.col(name), table.schema[name])
            columns.append(value.alias(name))
            proofs.append(proof)
        if schema.target:
            labels = polars_proofs.classify(table[schema.target], self.layout)
            columns.append(labels)
            table = table.with_columns(labels.is_not_null().alias(PROVEN))
            proofs.append(pl.col(PROVEN))
        table, found = self.parse_days(table)
        if self.layout.separator == "\t":
            proofs.append(polars_proofs.has_cell(table, schema))
        return table.with_columns(*columns, pl.all_horizontal(*proofs, *found).alias(PROVEN))

    def parse_days(self, table: pl.DataFrame) -> tuple[pl.DataFrame, list[pl.Series]]:
        """Return columns of dates as days, and the proof of each."""
        days, proofs = [], []
        for name, date_format in self.schema.date_cells.items():
            is_needed = name == self.schema.as_of
            column, proof = polars_proofs.parse_day(table[name], date_format, is_needed=is_needed)
            days.append(split_like(table[name], column))
            proofs.append(split_like(table[name], proof))
        return table.with_columns(days), proofs

    def prove_number(self, cell: pl.Expr, kind: pl.DataType) -> tuple[pl.Expr, pl.Expr]:
        """Return a numeric cell in the stored form, and whether the cell is proven."""
        name = cell.meta.output_name()
        minimum = self.schema.minimums.get(name)
        if kind == pl.String:
            return polars_numbers.parse_number(cell, self.schema.marks(name), minimum)
        is_whole = kind == pl.Int64
        proof = polars_numbers.prove_number(cell, minimum, is_whole=is_whole)
        value = cell if is_whole else polars_numbers.without_minus(cell)
        return value, proof.fill_null(value=True)

    def split(self, block: Block) -> pl.DataFrame:
        """Split lines into cells of text, with whether each line has the cells of the header."""
        separator, n_fields = self.layout.separator, len(self.layout.header)
        lines = pl.DataFrame({TEXT: pl.Series(block.lines, dtype=pl.String)})
        if block.has_quotes:
            lines = polars_lines.unquote(lines, separator)
        parts = pl.col(TEXT).str.splitn(separator, n_fields).alias(CELLS)
        cells = lines.select(parts, polars_lines.is_calm(separator).alias(PROVEN)).unnest(CELLS)
        last = pl.col(f"field_{n_fields - 1}")
        is_whole = last.is_not_null() & ~last.str.contains(separator, literal=True)
        cells = cells.with_columns(pl.col(PROVEN) & is_whole)
        return quoted_separators.show(cells, block.mark, separator)

    def parse_text(self, block: Block) -> pl.DataFrame:
        """Parse lines into cells of text, and return typed columns with the proof of each row."""
        layout, schema = self.layout, self.schema
        columns, proofs = [], [pl.col(PROVEN)]
        for name in schema.file_columns:
            cell = pl.col(f"field_{layout.place(name)}")
            if name in schema.numeric:
                minimum = schema.minimums.get(name)
                value, proof = polars_numbers.parse_number(cell, schema.marks(name), minimum)
            elif name == schema.target != "" or name in schema.date_cells:
                value, proof = cell, cell.is_not_null()
            else:
                value, proof = cell, polars_proofs.prove_text(cell, is_id=name in schema.ids)
            columns.append(value.alias(name))
            proofs.append(proof.fill_null(value=False))
        table = self.split(block).select(
            *columns, pl.all_horizontal(proofs).fill_null(value=False).alias(PROVEN)
        )
        if schema.target:
            # Odd lines have anything where the label should be: only proven ones are judged.
            cells_of_labels = table.select(pl.when(PROVEN).then(pl.col(schema.target))).to_series()
            labels = polars_proofs.classify(cells_of_labels.alias(schema.target), layout)
            table = table.with_columns(labels, pl.col(PROVEN) & labels.is_not_null())
        table, found = self.parse_days(table)
        return table.with_columns(pl.all_horizontal(pl.col(PROVEN), *found)) if found else table


def merge_rows(fine: pl.DataFrame, rows: dict[int, dict[str, Any]], schema: Schema) -> pl.DataFrame:
    """Return numbered rows, joined in order with rows read singly."""
    if not rows:
        return fine.drop(LINE)
    columns = {name: [row[name] for row in rows.values()] for name in schema.file_columns}
    numbers = pl.Series(LINE, list(rows), dtype=fine.schema[LINE])
    others = make_table(columns, schema).insert_column(0, numbers)
    return pl.concat([fine, others], how="vertical_relaxed").sort(LINE).drop(LINE)


def iterate_blocks(handle: ByteSource) -> Iterator[bytes]:
    """Yield whole lines, about BLOCK_BYTES at a time, the last line perhaps without end."""
    rest = b""
    while content := handle.read(BLOCK_BYTES):
        cut = content.rfind(b"\n") + 1
        if cut:
            # Slices of a view: each copy of the bytes touches new memory.
            yield b"".join((rest, memoryview(content)[:cut]))
            rest = b""
        rest += content[cut:]
        if len(rest) > MAX_LINE_BYTES:
            break  # a line too long, wherever it ends
    if rest:
        yield rest


def read_rest(
    handle: BinaryIO,
    number: int,
    layout: ColumnLayout,
    reading: FileReading,
    sha: "hashlib._Hash",
) -> pl.DataFrame:
    """Read the remaining lines by the rules alone."""
    handle.seek(reading.n_bytes)

    def lines() -> Iterator[tuple[int, str]]:
        """Yield the remaining lines with their numbers."""
        for line_number in count(number):
            text = csv_reader.read_line(handle, line_number, reading, sha)
            if text is None:
                return
            yield line_number, text

    return make_table(csv_reader.read_records(lines(), layout, reading), layout.schema)


def text_layout(layout: ColumnLayout) -> ColumnLayout:
    """Return the layout of a file with every column as text."""
    names = tuple(layout.parsers)
    texts = Schema(ids=(), numeric=(), categorical=names, target="")
    return replace(layout, schema=texts)


def read_after_header(
    handle: BinaryIO, reader: BlockReader, sha: "hashlib._Hash"
) -> Iterator[pl.DataFrame]:
    """Read the lines of a file behind the first line, like `read_blocks`.

    Yields
    ------
    polars.DataFrame of shape (n_rows, n_columns)
        Accepted rows in their order.
    """
    reading, number = reader.reading, 2
    for content in iterate_blocks(handle) if polars_proofs.can_prove(reader.layout) else ():
        block = Block(content)
        try:
            table = reader.read(block, number)
        except UnprovenError:
            break
        sha.update(content)
        reading.n_bytes += len(content)
        progress.advance(len(content), block.n_ends)
        number += block.n_ends
        yield table
    # Nothing is left where every block was proven.
    yield read_rest(handle, number, reader.layout, reading, sha)
    reading.sha256 = sha.hexdigest()


def read_blocks(
    handle: BinaryIO,
    schema: Schema,
    reading: FileReading,
    *,
    as_text: bool = False,
    needs_label: bool = True,
) -> Iterator[pl.DataFrame]:
    """Read a file in blocks, with the SHA-256 of every parsed byte.

    Parameters
    ----------
    handle : file
        The file.
    schema : Schema
        The columns.
    reading : FileReading
        Its report, which is filled.
    as_text : bool
        Whether every column of the file is read as text.
    needs_label : bool
        Whether a row without a label is rejected.

    Yields
    ------
    polars.DataFrame of shape (n_rows, n_columns)
        Accepted rows in their order: text, numbers with null for a missing one, the target as 0 or
        1, or `cells.UNLABELLED`. Numbers may be integers in one part and floats in the next.

    Raises
    ------
    RefusedFileError
        If the file is refused, perhaps after the first parts.
    """
    sha = hashlib.sha256()
    first = csv_reader.read_line(handle, 1, reading, sha, schema.encoding)
    layout = csv_reader.read_layout(
        first, schema, reading, as_text=as_text, needs_label=needs_label
    )
    layout = text_layout(layout) if as_text else layout
    yield from read_after_header(handle, BlockReader(layout, reading), sha)


def read_file(
    path: Path, folder: Path, schema: Schema, *, as_text: bool = False, needs_label: bool = True,
    keep: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
) -> tuple[FileReading, list[pl.DataFrame]]:  # fmt: skip
    """Read a file strictly, as `csv_reader.read_file` does, into tables of Polars.

    Parameters
    ----------
    path, folder : Path
        The CSV file, and the folder it belongs to.
    schema : Schema
        The columns.
    as_text : bool
        Return every column of the file as text, for the inference of a schema.
    needs_label : bool
        Whether a row without a label is rejected.
    keep : callable, optional
        Returns a block of rows as it is kept. It is called while the block is in the processor's
        cache.

    Returns
    -------
    tuple of FileReading and list of polars.DataFrame
        The report, and the accepted rows in parts, none for a refused file.
    """
    reading = csv_reader.new_reading(path, schema)
    try:
        with csv_reader.open_file(path, folder) as handle:
            blocks = read_blocks(handle, schema, reading, as_text=as_text, needs_label=needs_label)
            filled = (block for block in blocks if block.height)
            parts = list(filled if keep is None else map(keep, filled))
    except RefusedFileError as error:
        csv_reader.refuse(reading, error)
        return reading, []
    return reading, parts


def has_fractions(numbers: pl.Series) -> bool:
    """Return whether any number is not whole."""
    return bool(((numbers != numbers.floor()) | numbers.is_infinite()).any())


def fractional_columns(table: pl.DataFrame) -> set[str]:
    """Return the columns of floats with fractions."""
    return {column.name for column in table if column.dtype == pl.Float64 and has_fractions(column)}


def cast_numbers(table: pl.DataFrame, fractional: set[str]) -> pl.DataFrame:
    """Return a table with floats in columns with fractions, and integers in all other columns."""
    return table.with_columns(
        pl.col(name).cast(pl.Float64 if name in fractional else pl.Int64)
        for name, kind in table.schema.items()
        if kind in (pl.Float64, pl.Int64)
    )


def unite(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return parts as a single table, with integers in columns without fractions."""
    fractional = set[str]().union(*map(fractional_columns, parts))
    return pl.concat([cast_numbers(part, fractional) for part in parts], rechunk=False)


def read_files(
    paths: Sequence[Path], schema: Schema, *, needs_label: bool = True
) -> tuple[pl.DataFrame, list[FileReading]]:
    """Read files strictly, in the order given, into a table of Polars.

    Parameters
    ----------
    paths : sequence of Path
        CSV files.
    schema : Schema
        The columns.
    needs_label : bool
        Whether a row without a label is rejected.

    Returns
    -------
    tuple of polars.DataFrame of shape (n_rows, n_columns) and list of FileReading
        The accepted rows. A numeric column holds integers if all its numbers are whole.
    """
    readings, parts = [], [empty_table(schema)]
    for path in paths:
        reading, tables = read_file(path, path.parent, schema, needs_label=needs_label)
        readings.append(reading)
        parts += tables
    return unite(parts), readings

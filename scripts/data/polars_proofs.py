"""Proofs of rows parsed by Polars against the rules of `cells`, as expressions of Polars."""

import contextlib
import functools
from typing import Any

import numpy as np
import polars as pl
import pyarrow.compute as pc
from numpy.typing import NDArray

from scripts.core.config import ISO_FORMAT, Schema
from scripts.core.dates import ISO_DATE, NO_DAY
from scripts.data.cells import BadCellError, day_of, name_client
from scripts.data.csv_reader import ColumnLayout

# The column of proofs beside those of a schema.
PROVEN = "\x00proven"
# Blanks at an end, which the rules strip, and control characters, which they reject.
UNPLAIN_TEXT = r"^\s|[\x00-\x08\x0a-\x1f\x7f]|\s$"
# More spellings of the labels than this are no labels but another column.
MAX_SPELLINGS = 100
ISO_CELL = f"^{ISO_DATE.pattern}$".replace(r"\d", "[0-9]")
ISO_LENGTH, FIRST_DAY = len("2026-03-31"), "0001-01-01"
# The four words of a text's view: the length, then the bytes.
VIEW_WORDS = 4
MONTHS, NO_END_YEAR = 12, 9999
# A day of this year or an earlier one may stand for no date.
LAST_FIRST_YEAR = 1901
# A number that no sum with others makes possible.
IMPOSSIBLE = -(10**6)
BARE_LABELS = {"0", "1"}

Days = NDArray[np.int32]
Kinds = dict[str, type[pl.Int64] | type[pl.Float64]]


def can_prove(layout: ColumnLayout) -> bool:
    """Return whether all formats of a file's cells have proofs."""
    # A column alone has empty lines for empty cells, and only the rules tell them apart.
    return len(layout.header) > 1


def needs_text(layout: ColumnLayout, name: str) -> bool:
    """Return whether the numbers of a column have marks lost outside of text."""
    marks = layout.schema.marks(name)
    is_marked = bool(marks.thousands or marks.percent or marks.currency)
    return is_marked or marks.decimal == layout.separator


def prove_text(text: pl.Expr, *, is_id: bool, is_plain: bool = False) -> pl.Expr:
    """Return whether a text has no outer blanks, and is filled if an identifier.

    `is_plain` means that the bytes of the lines have proven the former already.
    """
    plain = pl.lit(value=True) if is_plain else ~text.str.contains(UNPLAIN_TEXT)
    return plain & (text != "") if is_id else plain


def find_erased(table: pl.DataFrame, layout: ColumnLayout) -> pl.Series:
    """Return a mask of the proven rows of erased clients."""
    ids = layout.schema.client_ids
    if layout.erased is None or not ids:
        return pl.repeat(value=False, n=table.height, eager=True)
    # A client of many rows is hashed once.
    clients = table.filter(PROVEN).select(ids).unique()
    matched = layout.erased.match([name_client(row) for row in clients.iter_rows()])
    erased = clients.filter(pl.Series(matched, dtype=pl.Boolean))
    joined = table.select(ids).join(
        erased.with_columns(pl.lit(value=True).alias(PROVEN)), on=ids, how="left",
        maintain_order="left",
    )  # fmt: skip
    return joined[PROVEN].fill_null(value=False)


def has_cell(table: pl.DataFrame, schema: Schema) -> pl.Expr:
    """Return whether any cell of a typed row is not empty: a line of tabs alone is no row."""
    return pl.any_horizontal(
        pl.col(name) != "" if table.schema[name] == pl.String else pl.col(name).is_not_null()
        for name in schema.file_columns
    )


def label_classes(spellings: pl.Series, layout: ColumnLayout) -> dict[str, int]:
    """Return the class of each spelling of a label, judged once by the rules."""
    parse = layout.parsers[layout.schema.target]
    classes: dict[str, int] = {}
    distinct = spellings.unique().drop_nulls()
    for spelling in distinct.head(MAX_SPELLINGS).to_list():
        # A line of tabs alone is an empty line: the rules tell it from a client without a label.
        if layout.separator == "\t" and not spelling.strip():
            continue
        # A text without a proof is left to the rules of rows.
        with contextlib.suppress(BadCellError):
            classes[spelling] = parse(spelling)
    return classes


def classify_bare(labels: pl.Series, layout: ColumnLayout) -> pl.Series:
    """Return labels parsed as integers as classes, with missing labels by the rules."""
    missing: dict[str, int] = {}
    if labels.null_count():
        missing = label_classes(pl.Series([""]), layout)
        labels = labels.fill_null(missing.get("", pl.lit(None)))
    lowest = min([0, *missing.values()])
    return labels.set(~labels.is_between(lowest, 1), None)


def classify(labels: pl.Series, layout: ColumnLayout) -> pl.Series:
    """Return labels as classes, null for an unknown label."""
    if labels.dtype != pl.String:
        return classify_bare(labels, layout)
    classes = label_classes(labels, layout)
    return labels.replace_strict(
        list(classes), list(classes.values()), default=None, return_dtype=pl.Int8
    )


def has_bare_labels(schema: Schema) -> bool:
    """Return whether the labels are 0 and 1, and parse as integers."""
    return set(schema.labels) == BARE_LABELS


@functools.cache
def digit_tables() -> tuple[Days, Days, Days]:
    """Return the numbers of two bytes: of two digits, a dash and a ten, a digit and a dash.

    The place of two bytes is the number that a little-endian machine reads. All other bytes have a
    number that makes a date impossible.
    """
    pairs, dashes, units = (np.full(2**16, IMPOSSIBLE, np.int32) for _ in range(3))
    for ten in range(10):
        dashes[ord("-") + 256 * (ord("0") + ten)] = 10 * ten
        units[ord("0") + ten + 256 * ord("-")] = ten
        for unit in range(10):
            pairs[ord("0") + ten + 256 * (ord("0") + unit)] = 10 * ten + unit
    return pairs, dashes, units


@functools.cache
def month_tables() -> tuple[Days, Days]:
    """Return the day before each month since year 0, counted from 1970-01-01, and the days."""
    first = np.arange("0000-01", "10000-02", dtype="datetime64[M]").astype("datetime64[D]")
    starts = first.astype(np.int64).astype(np.int32)
    return starts[:-1] - 1, np.diff(starts)


def parse_iso_days(cells: pl.Series) -> Days | None:
    """Return the days of cells if all cells are ISO dates, or None."""
    if not len(cells) or cells.null_count():
        return None
    texts: Any = cells.rechunk().to_arrow(compat_level=pl.CompatLevel.newest())
    # Of a short text a view has the length and the bytes themselves, in 16 bytes.
    words = np.frombuffer(texts.buffers()[1], "<u4").reshape(-1, VIEW_WORDS)
    views = words[texts.offset : texts.offset + len(texts)]
    if (views[:, 0] != ISO_LENGTH).any():
        return None
    century, year, ten, month, day = views.view("<u2")[:, 2:7].T.copy()
    pairs, dashes, units = digit_tables()
    years, days = 100 * pairs.take(century) + pairs.take(year), pairs.take(day)
    months = dashes.take(ten) + units.take(month)
    # A day such as 1900-01-01 or 9999-12-31 stands for no date.
    if (
        years.min() <= LAST_FIRST_YEAR
        or years.max() >= NO_END_YEAR
        or months.min() < 1
        or months.max() > MONTHS
        or days.min() < 1
    ):
        return None
    places = years * MONTHS + months - 1
    starts, lengths = month_tables()
    return None if (days > lengths.take(places)).any() else starts.take(places) + days


def judge_days(texts: pl.Series, date_format: str) -> tuple[pl.Series, pl.Series]:
    """Return the day of each text as a float, and whether the text is proven to be a date."""
    if date_format == ISO_FORMAT:
        # The rules know no year 0.
        is_iso = texts.str.contains(ISO_CELL) & (texts >= FIRST_DAY)
        days = texts.str.head(ISO_LENGTH).str.to_date(ISO_FORMAT, strict=False)
        numbers = days.to_physical().cast(pl.Float64)
        is_date = is_iso & numbers.is_not_null()
        return pl.select(pl.when(is_date).then(numbers)).to_series(), is_date
    known: list[float | None] = []
    for text in texts.to_list():
        # A text that is no date stays without a day.
        known.append(None)
        with contextlib.suppress(ValueError):
            known[-1] = day_of(text, date_format)
    numbers = pl.Series(known, dtype=pl.Float64)
    return numbers, numbers.is_not_null()


def is_constant(cells: pl.Series) -> bool:
    """Return whether all cells are equal."""
    if not len(cells) or cells.null_count() or cells[0] != cells[-1]:
        return False
    return bool((cells == cells[0]).all())


def are_no_days(texts: pl.Series) -> pl.Series:
    """Return whether each text is empty or stands for no date."""
    return (texts == "") | texts.str.contains(f"^(?:{NO_DAY})$")


def parse_day(
    cells: pl.Series, date_format: str, *, is_needed: bool
) -> tuple[pl.Series, pl.Series]:
    """Return the day of each cell, counted from 1970-01-01, and whether the day is proven.

    Parameters
    ----------
    cells : polars.Series of shape (n_rows,)
        Cells of text.
    date_format : str
        As for `cells.parse_day`.
    is_needed : bool
        Whether an empty cell goes to the rules, which reject it.

    Returns
    -------
    tuple of polars.Series and polars.Series
        Floats, null for an empty cell; and flags.
    """
    if len(cells) > 1 and is_constant(cells):
        # The day of an extract is the same in all of its rows.
        days, proven = parse_day(cells.head(1), date_format, is_needed=is_needed)
        return days.new_from_index(0, len(cells)), proven.new_from_index(0, len(cells))
    if date_format == ISO_FORMAT and (found := parse_iso_days(cells)) is not None:
        proven = pl.Series(PROVEN, np.ones(len(cells), np.bool_))
        return pl.Series(cells.name, found.astype(np.float64)), proven
    # Many clients share a day: each of the different texts is judged once.
    encoded = pc.dictionary_encode(cells.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()))
    texts = pl.Series(encoded.dictionary, dtype=pl.String)
    days, proofs = judge_days(texts, date_format)
    is_none = are_no_days(texts)
    days, proofs = days.set(is_none, None), proofs & ~is_none if is_needed else proofs | is_none
    places = pl.Series(encoded.indices, dtype=pl.UInt32)
    proven = proofs.gather(places).fill_null(value=False)
    return days.gather(places).alias(cells.name), proven.alias(PROVEN)

"""Columns of today's clients that are no features: names and texts for people, read by the key."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from msgspec import UNSET

from scripts.core.config import NumberMarks, Schema
from scripts.core.dates import parse_date
from scripts.data import client_dates, csv_reader, dataset, dated_files, table_reader
from scripts.data.arrays import Floats
from scripts.data.cells import BadCellError, parse_number

# A longer text is cut: a list has no room for it.
MAX_TEXT = 200
# Texts of the records are joined by this character.
SEPARATOR = "\0"
# A number in such a form is a code: 007 is not 7.
CODE = re.compile(r"[+-]?0\d")
# The name of a client and the day of a row, in rows of all files.
CLIENT, DAY = "\x00client", "\x00day"


def choose_columns(
    names: Sequence[str], shown: Sequence[str], schema: Schema, features: Collection[str]
) -> tuple[str, ...]:
    """Return the columns to keep beside the features: names for people, and columns shown.

    Parameters
    ----------
    names, shown : sequence of str
        `schema.names` and `worklist.columns` of the config.
    schema : Schema
        The columns of the dataset.
    features : collection of str
        The features of the model that scores, which a scoring keeps anyway.
    """
    known = {*features, *schema.client_ids, schema.target}
    known |= {schema.as_of} if schema.date else set()
    return tuple(name for name in dict.fromkeys([*names, *shown]) if name not in known)


def reading_schema(schema: Schema, columns: Sequence[str]) -> Schema:
    """Return the schema of the kept columns: client, day and label, then texts."""
    return msgspec.structs.replace(
        schema, ids=schema.client_ids, numeric=(), categorical=tuple(columns), ignore=(),
        minimum={}, percent=(), inferred=(), dates=UNSET, changes=UNSET, ratios=UNSET,
        currency=UNSET, leaving=UNSET,
    )  # fmt: skip


def present_columns(path: Path, schema: Schema, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the kept columns of a file."""
    header = csv_reader.peek_header(path, schema)
    return tuple(name for name in columns if name in header)


def read_parts(path: Path, schema: Schema, wanted: "pd.Series[str]") -> Iterable[pd.DataFrame]:
    """Return the rows of a file in parts, of a large file those of the wanted clients only."""
    if table_reader.are_large([path]):
        # By the first identifier: of a name made of several ones the caller looks at the rest.
        parts: Iterable[pd.DataFrame] = table_reader.import_polars().iterate_chosen(
            path, schema, wanted
        )
        return parts
    _, columns = csv_reader.read_file(path, path.parent, schema, needs_label=False)
    return [pd.DataFrame(columns)]


def read_file(
    path: Path, schema: Schema, columns: Sequence[str], clients: pd.DataFrame
) -> Iterator[pd.DataFrame]:
    """Yield the rows of today's clients in a file: CLIENT, DAY and the kept columns it has."""
    present = present_columns(path, schema, columns)
    plan = dated_files.plan_file(path, reading_schema(schema, present), has_outcomes=True)
    is_other_day = plan.day is not None and plan.day not in set(clients[DAY])
    if not present or plan.refused is not None or is_other_day:
        return
    for part in read_parts(path, plan.schema, clients[schema.client_ids[0]]):
        rows = part.reset_index(drop=True)
        rows[CLIENT] = dataset.client_names(rows, schema)
        rows[DAY] = 0 if not schema.date else rows[schema.as_of] if plan.day is None else plan.day
        # Many clients may have the same first identifier.
        is_todays = dataset.are_among(rows[CLIENT], clients[CLIENT])
        yield rows.loc[is_todays, [CLIENT, DAY, *present]]


def name_clients(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return identifiers, name and day of today's clients, the day counted from 1970-01-01."""
    clients = table[list(schema.client_ids)].reset_index(drop=True)
    clients[CLIENT] = dataset.client_names(clients, schema)
    clients[DAY] = 0
    if schema.date:
        days = table[schema.as_of].to_numpy()
        found, places = np.unique(days, return_inverse=True)
        numbers = [client_dates.iso_day(str(day)) for day in found.tolist()]
        clients[DAY] = np.array(numbers, np.int64)[places]
    return clients


def join(clients: pd.DataFrame, rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the kept columns of each client's row of today, "" for a missing row."""
    last = rows.drop_duplicates([CLIENT, DAY], keep="last")
    joined = clients[[CLIENT, DAY]].merge(last, on=[CLIENT, DAY], how="left")
    return joined.reindex(columns=list(columns)).astype("str").fillna("")


def read(
    paths: Sequence[Path], schema: Schema, columns: Sequence[str], table: pd.DataFrame
) -> pd.DataFrame:
    """Read the kept columns of today's clients out of the input files.

    Parameters
    ----------
    paths : sequence of Path
        The CSV files in their order.
    schema : Schema
        The columns of the dataset.
    columns : sequence of str
        The kept columns.
    table : pandas.DataFrame of shape (n_clients, n_columns)
        Today's clients.

    Returns
    -------
    pandas.DataFrame of shape (n_clients, n_kept)
        Texts, "" for a blank or where no file has the column. Of several rows of a client, those of
        the client's day count, and of them the last one.
    """
    clients = name_clients(table, schema)
    parts = [part for path in paths for part in read_file(path, schema, columns, clients)]
    empty = pd.DataFrame({CLIENT: pd.Series(dtype="str"), DAY: pd.Series(dtype="int64")})
    rows = pd.concat([part.astype({DAY: "int64"}) for part in parts]) if parts else empty
    return join(clients, rows, columns)


def shorten(text: str) -> str:
    """Return a text without the separator of the records, cut if it is long."""
    text = text.replace(SEPARATOR, " ")
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def as_iso(text: str, date_format: str) -> str:
    """Return a date in the ISO format, sortable as text, and any unreadable text unchanged."""
    try:
        return parse_date(text, date_format).isoformat() if text else ""
    except ValueError:
        return text


def find_numbers(texts: Sequence[str], parse: Callable[[str], float]) -> Floats | None:
    """Return texts as numbers, NaN for a blank, or None for any text without a number."""
    if not any(texts) or any(map(CODE.match, texts)):
        return None
    try:
        return np.array([parse(text) for text in texts], np.float64)
    except BadCellError:
        return None


def parse_numbers(texts: Sequence[str], marks: NumberMarks) -> tuple[Floats, list[str]]:
    """Return texts as numbers, NaN for blanks and unreadable texts, and the unreadable texts.

    Parameters
    ----------
    texts : sequence of str
        The cells of a column.
    marks : NumberMarks
        The number format.

    Returns
    -------
    tuple of numpy.ndarray of shape (n_texts,) and list of str
        The numbers, and the different texts that are no numbers.
    """
    known: dict[str, float] = {}
    wrong: list[str] = []
    for text in dict.fromkeys(texts):
        try:
            known[text] = parse_number(text, None, marks)
        except BadCellError:
            known[text] = math.nan
            wrong.append(text)
    return np.array([known[text] for text in texts], np.float64), wrong


def convert(table: pd.DataFrame, names: Collection[str], schema: Schema) -> dict[str, Any]:
    """Return kept columns as arrays: of numbers if possible, otherwise of texts.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_clients, n_kept)
        The result of `read`.
    names : collection of str
        The names for people, which stay texts.
    schema : Schema
        With the marks of numbers, and the formats of dates.

    Returns
    -------
    dict of str to numpy.ndarray of shape (n_clients,)
        By column.
    """
    converted: dict[str, Any] = {}
    for name in table:
        texts: list[str] = table[name].tolist()
        marks = schema.marks(str(name))
        numbers = None
        if name in schema.date_formats:
            date_format = schema.date_formats[str(name)]
            texts = [as_iso(text, date_format) for text in texts]
        elif name not in names:
            numbers = find_numbers(texts, partial(parse_number, minimum=None, marks=marks))
        shown = np.array([shorten(text) for text in texts], object) if numbers is None else numbers
        converted[str(name)] = shown
    return converted

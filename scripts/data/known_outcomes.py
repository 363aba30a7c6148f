"""The records of outcome files, and their places among the rows of clients."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct, field
from numpy.typing import NDArray

from scripts.core.config import Schema
from scripts.data import dated_rows
from scripts.data.read_report import FileReading

# More days than any two dates are apart. Shifts take a fifth of the time of divisions.
SPAN_BITS = 23
SPAN = 2**SPAN_BITS
KEY, DAY, LEFT = "key", "day", "left"
NO_RECORDS = {KEY: "str", DAY: "int64", LEFT: "bool"}
Flags = NDArray[np.bool_]
Days = NDArray[np.int64]


def no_records() -> pd.DataFrame:
    """Return an empty table of records."""
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in NO_RECORDS.items()})


class KnownOutcomes(Struct, frozen=True):
    """The records of outcome files.

    `records` has a row per client and day, in the columns KEY, DAY (counted from 1970-01-01) and
    LEFT; of a client in no client table there may be several. `complete_until` is the day up to
    which all outcomes are known, None if unknown. `n_strangers` records are of clients in no client
    table. Further `n_future` records are of a day to come, and left out. `n_contradicted` records
    are left out for a later one that says the opposite of the same client and day. `extract_days`
    are the days of the extracts, without smaller additions, sorted.
    """

    records: pd.DataFrame = field(default_factory=no_records)
    complete_until: int | None = None
    readings: Sequence[FileReading] = ()
    n_strangers: int = 0
    n_future: int = 0
    n_contradicted: int = 0
    extract_days: tuple[int, ...] = ()


class RowPlaces(Struct, frozen=True):
    """The client's number and the day of each row and record, joined to a sortable number."""

    rows: Days
    records: Days
    is_known: Flags


def join_places(numbers: Days, days: Days) -> Days:
    """Return client and day as a number in the order of clients, then of days."""
    joined: Days = numbers << SPAN_BITS
    joined += days
    joined += SPAN // 2
    return joined


def find_clients(table: pd.DataFrame, names: "pd.Series[str]", schema: Schema) -> Days:
    """Return the numbers of the named clients in rows by client, -1 for an unknown client."""
    is_first = dated_rows.is_first(table)
    known, wanted = (
        pa.array(column.astype("str"), pa.large_string())
        for column in (table[schema.client_key][is_first], names)
    )
    # The names are fewer than the clients, so the clients are looked for among them.
    whole = wanted.combine_chunks() if isinstance(wanted, pa.ChunkedArray) else wanted
    encoded = pc.dictionary_encode(whole)
    places = np.asarray(pc.index_in(known, value_set=encoded.dictionary).fill_null(-1))
    of_names = np.full(len(encoded.dictionary), -1, np.int64)
    found = np.flatnonzero(places >= 0)
    of_names[places[found]] = found
    numbers: Days = of_names[np.asarray(encoded.indices)]
    return numbers


def locate(table: pd.DataFrame, records: pd.DataFrame, schema: Schema) -> RowPlaces:
    """Return the places of rows by client and of records, perhaps of unknown clients.

    Records may have the numbers of their clients in the rows already.
    """
    numbers = table[dated_rows.NUMBER].to_numpy(np.int64)
    if dated_rows.NUMBER in records:
        found = records[dated_rows.NUMBER].to_numpy(np.int64)
    else:
        found = find_clients(table, records[KEY], schema)
    return RowPlaces(
        join_places(numbers, table[schema.as_of].to_numpy(np.int64)),
        join_places(found, records[DAY].to_numpy(np.int64)),
        found >= 0,
    )


def day_of(places: Days) -> Days:
    """Return the day of each place."""
    days: Days = (places & (SPAN - 1)) - SPAN // 2
    return days


def day_at(places: Days, chosen: Days, index: Days) -> NDArray[np.float64]:
    """Return the day of the chosen record of each row, NaN for a different client's record.

    An index of -1, or behind the end, chooses none.
    """
    if not len(chosen):
        return np.full(len(places), np.nan)
    found = chosen.take(index, mode="clip")
    is_same = found >> SPAN_BITS == places >> SPAN_BITS
    return np.where(is_same & (index >= 0) & (index < len(chosen)), day_of(found), np.nan)

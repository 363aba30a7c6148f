"""Dated rows as an ingestion keeps them: all of them by client, or some as a dataset by day."""

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import pandas as pd
from msgspec import Struct

from scripts.core.config import Schema
from scripts.data import client_dates, csv_writer, dataset, dated_rows
from scripts.data.dated_rows import Flags, Labels


def as_dataset(table: pd.DataFrame, schema: Schema, chosen: Flags | None = None) -> pd.DataFrame:
    """Return rows in the columns of a dataset, by day and client, the day as an ISO date.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_rows, n_columns)
        Rows by client and day, with the derived columns.
    schema : Schema
        The schema by which the rows were read.
    chosen : numpy.ndarray of shape (n_rows,), optional
        Which rows are returned, by default all.
    """
    days = table[schema.as_of].to_numpy(np.int64)
    # By client they are already.
    rows = dated_rows.order_by_day(days, chosen)
    wanted = client_dates.dataset_schema(schema)
    names = [name for name in wanted.columns if name in table and name != schema.as_of]
    columns = {name: table[name].array.take(rows) for name in names}
    columns[schema.as_of] = dated_rows.format_days(days[rows])
    return dataset.make_table(columns, wanted)


class DatedTable(Protocol):
    """Rows by client and day with the derived columns, in the columns of pandas or Polars."""

    @property
    def places(self) -> pd.DataFrame:
        """Return key, day, own label, OF_TEST and NUMBER of each row."""

    def select(self, chosen: Flags, labels: Labels | None = None) -> pd.DataFrame:
        """Return some rows as a dataset, with other labels than their own."""

    def encode(self, chosen: Flags, labels: Labels) -> Iterable[bytes]:
        """Encode some rows with their labels as the file of a dataset."""


class PandasRows(Struct, frozen=True):
    """Rows by client and day with the derived columns, as a table of pandas."""

    table: pd.DataFrame
    schema: Schema

    @property
    def places(self) -> pd.DataFrame:
        """Return key, day, own label, OF_TEST and NUMBER of each row."""
        return self.table

    def select(self, chosen: Flags, labels: Labels | None = None) -> pd.DataFrame:
        """Return some rows as a dataset, with other labels than their own."""
        own = {} if labels is None else {self.schema.target: labels}
        return as_dataset(self.table.assign(**own), self.schema, chosen)

    def encode(self, chosen: Flags, labels: Labels) -> Iterable[bytes]:
        """Encode some rows with their labels as the file of a dataset."""
        return csv_writer.encode_table(self.select(chosen, labels))
